"""What is said of a recording: rates, episodes, limits, and each format read back."""

import csv
import io
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wfdb
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

from retrace.deploy import annotations, plot, strips
from retrace.deploy.answers import STATEMENT, Answer
from retrace.deploy.formats import as_csv, as_json
from retrace.deploy.judged import Judged, Limits
from retrace.deploy.readers.common import FileRecording
from retrace.deploy.report import as_text, clock
from retrace.deploy.summary import summary
from retrace.errors import InputError
from retrace.signals.domain import SignalDomain

AAMI = ("N", "S", "V", "F", "Q")
RHYTHMS = ("NSR", "AF", "Other", "Noise")
MODEL = {"name": "gru", "dataset": "mitdb", "split": "ds1_ds2", "weights": "ab12"}
FS = 250.0


def _probabilities(names: str | list[str], classes: tuple[str, ...], p: float) -> NDArray[Any]:
    rest = (1 - p) / (len(classes) - 1)
    rows = np.full((len(names), len(classes)), rest)
    rows[np.arange(len(names)), [classes.index(name) for name in names]] = p
    return rows


def _beats(letters: str, times: ArrayLike | None = None, p: float = 0.9, **given: Any) -> Answer:
    """Beats a second apart, or at `times` (s)."""
    seconds = np.arange(len(letters)) + 0.5 if times is None else np.asarray(times)
    samples = np.rint(seconds * FS).astype(np.int64)
    fields: dict[str, Any] = {
        "name": "100",
        "fs": FS,
        "seconds": float(seconds[-1] + 0.5) if len(letters) else 0.0,
        "unit": "beat",
        "samples": samples,
        "span": 0.6,
        "classes": AAMI,
        "probabilities": _probabilities(letters, AAMI, p),
        "together": None,
        "peaks": samples,
        "peaks_from": "detector",
    }
    return Answer(**fields | given)


def _windows(names: list[str], hop: float = 10, span: float = 10, **given: Any) -> Answer:
    probabilities = _probabilities(names, RHYTHMS, 0.7)
    fields: dict[str, Any] = {
        "name": "A00001",
        "fs": FS,
        "seconds": hop * (len(names) - 1) + span,
        "unit": "window",
        "samples": np.rint(np.arange(len(names)) * hop * FS).astype(np.int64),
        "span": float(span),
        "classes": RHYTHMS,
        "probabilities": probabilities,
        "together": probabilities.mean(axis=0) if names else None,
        "peaks": np.empty(0, np.int64),
        "peaks_from": "nobody",
    }
    return Answer(**fields | given)


def _summary(answer: Answer, **limits: float) -> dict[str, Any]:
    return summary(Judged(answer, Limits(**limits)))


def _text(answer: Answer, **limits: float) -> str:
    return "".join(as_text(Judged(answer, Limits(**limits)), MODEL))


# --- the summary ------------------------------------------------------------------------------


def test_heart_rate_is_that_of_the_rhythm_and_of_its_slowest_and_fastest_ten_seconds() -> None:
    slow, fast = np.arange(0, 60, 1.0), np.arange(60, 70, 0.5)  # 60, then 120 a minute
    times = np.concatenate([slow, fast, np.arange(70, 130, 1.0)])

    rate = _summary(_beats("N" * len(times), times))["heart_rate"]

    assert (rate["lowest"], rate["highest"]) == (60, pytest.approx(120, abs=6))
    assert rate["mean"] == pytest.approx(60 * (len(times) - 1) / 129, abs=0.1)


def test_a_beat_that_is_marked_twice_is_one() -> None:
    twice = _beats("N" * 60, np.repeat(np.arange(30.0), 2), peaks_from="annotations")

    assert _summary(twice)["heart_rate"]["highest"] == 60


def test_a_pause_longer_than_a_stretch_lowers_the_heart_rate() -> None:
    times = np.concatenate([np.arange(0, 30, 1.0), np.arange(60, 90, 1.0)])

    assert _summary(_beats("N" * 60, times))["heart_rate"]["lowest"] < 20


@pytest.mark.parametrize(("found_by", "highest"), [("detector", 60), ("annotations", 300)])
def test_peaks_that_were_detected_in_a_bad_signal_make_no_heart_rate(
    found_by: str, highest: float
) -> None:
    times = np.concatenate([np.arange(0, 10, 1.0), np.arange(10, 20, 0.2), np.arange(20, 30, 1.0)])
    quality = ((0.0, "good"), (10.0, "noise"), (20.0, "good"))
    answer = _beats("N" * len(times), times, quality=quality, peaks_from=found_by)

    assert _summary(answer)["heart_rate"]["highest"] == pytest.approx(highest, rel=0.1)


def test_without_peaks_there_is_no_heart_rate() -> None:
    assert _summary(_windows(["NSR"]))["heart_rate"] is None
    assert "heart rate  not known" in _text(_windows(["NSR"]))


def test_ectopic_burden_couplets_and_runs() -> None:
    ectopic = _summary(_beats("NVNVVNVVVVNSNNNNNNNN"))["ectopic"]

    assert ectopic["v_share"] == 7 / 20
    assert ectopic["s_share"] == 1 / 20
    assert (ectopic["v_couplets"], ectopic["v_runs"], ectopic["v_longest_run"]) == (1, 1, 4)


def test_a_beat_without_an_answer_ends_a_run() -> None:
    whole = _beats("NVVVVN")
    between = int(whole.samples[2] + FS / 2)

    assert _summary(whole)["ectopic"]["v_runs"] == 1
    broken = replace(whole, left_out=((between, "a lead does not change in it"),))
    assert _summary(broken)["ectopic"]["v_runs"] == 0
    assert _summary(broken)["ectopic"]["v_couplets"] == 2
    assert _summary(broken)["left_out"] == {"a lead does not change in it": 1}


def test_the_longest_af_is_the_longest_unbroken_one() -> None:
    names = ["AF", "NSR", "AF", "AF", "AF", "Noise", "AF", "AF"]

    af = _summary(_windows(names))["af"]

    assert (af["longest_start"], af["longest_seconds"]) == (20, 30)
    assert (af["share"], af["episodes"]) == (6 / 8, 3)
    assert "longest episode 0:00:30.000, from 0:00:20.000" in _text(_windows(names))


def test_windows_that_overlap_are_one_episode_and_no_longer_than_the_recording() -> None:
    af = _summary(_windows(["NSR", "AF", "AF"], hop=5, span=10, seconds=18.0))["af"]

    assert (af["longest_start"], af["longest_seconds"]) == (5, 13)


def test_a_window_without_an_answer_ends_an_episode() -> None:
    whole = _windows(["AF"] * 4)
    gap = replace(
        whole,
        samples=whole.samples[[0, 1, 3]],
        probabilities=whole.probabilities[:3],
        left_out=((int(whole.samples[2]), "a lead does not change in it"),),
    )

    assert _summary(gap)["af"]["longest_seconds"] == 20


def test_beats_do_not_tell_af() -> None:
    assert _summary(_beats("NNN"))["af"] is None
    assert "AF          not known" in _text(_beats("NNN"))


def test_signal_quality_names_what_is_wrong() -> None:
    quality = ((0.0, "good"), (10.0, "flat"), (20.0, "good"), (30.0, "noise"), (40.0, "flat"))

    said = _text(_beats("N" * 45, quality=quality))

    assert "good in 2 of 5 ten-second stretches; 2 flat; 1 noise" in said


# --- the two limits ---------------------------------------------------------------------------


def test_without_a_threshold_nothing_is_flagged_and_it_says_why() -> None:
    said = _text(_beats("NVVV"))

    assert "flagged     nothing, for no --threshold was given" in said
    assert "the clinic sets it" in said
    assert _summary(_beats("NVVV"))["flagged"] is None


@pytest.mark.parametrize(
    ("classes", "normal"), [(AAMI, "N"), (RHYTHMS, "NSR"), (("abnormal", "normal"), "normal")]
)
def test_what_is_likely_anything_but_normal_is_flagged(
    classes: tuple[str, ...], normal: str
) -> None:
    healthy = np.array([0.9, 0.5, 0.3])
    rest = np.repeat((1 - healthy)[:, None] / (len(classes) - 1), len(classes), axis=1)
    rest[:, classes.index(normal)] = healthy
    answer = _beats("NNN", classes=classes, probabilities=rest)

    assert Judged(answer, Limits(threshold=0.5)).flagged.tolist() == [False, True, True]


def test_a_threshold_needs_a_class_that_is_normal() -> None:
    answer = _beats("NN", classes=("left", "right"), probabilities=np.full((2, 2), 0.5))

    with pytest.raises(InputError, match=r"none is N, NSR or normal: leave --threshold out"):
        Judged(answer, Limits(threshold=0.5))


@pytest.mark.parametrize("limit", [-0.1, 1.1, float("nan"), float("inf")])
@pytest.mark.parametrize("option", ["threshold", "reject"])
def test_a_limit_is_a_probability(option: str, limit: float) -> None:
    with pytest.raises(InputError, match=f"--{option} .*from 0 to 1"):
        Limits(**{option: limit})


def test_what_is_uncertain_is_shown_and_counted_apart_but_part_of_no_event() -> None:
    answer = _beats("VVVN")
    answer.probabilities[1] = [0.05, 0.05, 0.45, 0.4, 0.05]

    found = _summary(answer, reject=0.5)

    assert found["classes"]["V"] == 2
    assert found["uncertain"] == 1
    assert found["ectopic"]["v_share"] == pytest.approx(2 / 3, abs=1e-6)
    assert (found["ectopic"]["v_runs"], found["ectopic"]["v_couplets"]) == (0, 0)
    assert "Ventricular       0.450        uncertain" in _text(answer, reject=0.5)


def test_a_beat_that_is_surely_abnormal_is_flagged_though_its_class_is_uncertain() -> None:
    answer = _beats("V")
    answer.probabilities[0] = [0.05, 0.05, 0.45, 0.4, 0.05]

    assert "flagged, uncertain" in _text(answer, threshold=0.9, reject=0.5)
    assert _summary(answer, threshold=0.9, reject=0.5)["flagged"] == 1


# --- formats ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0:00:00.000"), (59.9996, "0:01:00.000"), (360_000.5, "100:00:00.500")],
)
def test_times_are_those_of_a_clock(seconds: float, said: str) -> None:
    assert clock(seconds) == said


def test_text_has_a_line_for_each_beat_in_words() -> None:
    lines = _text(replace(_beats("NSVFQ"), left_out=((3, "cut off"),))).splitlines()

    assert lines[3].split() == ["0:00:00.012", "no", "answer", "cut", "off"]
    assert [line.split()[1] for line in lines[4:9]] == [
        "Normal",
        "Supraventricular",
        "Ventricular",
        "Fusion",
        "Unknown",
    ]
    assert lines[4].startswith("0:00:00.500  Normal            0.900")


@pytest.mark.parametrize("answer", [_beats("NSV"), _windows(["AF", "Noise"])])
def test_a_diagnosis_is_only_ever_denied(answer: Answer) -> None:
    judged = Judged(answer, Limits(0.5, 0.5))
    for said in ("".join(as_text(judged, MODEL)), "".join(as_json(judged, MODEL))):
        assert STATEMENT in said
        assert "diagnos" not in said.replace(STATEMENT, "").lower()


def _strict(text: str) -> dict[str, Any]:
    def refuse(name: str) -> None:
        raise AssertionError(name)

    found: dict[str, Any] = json.loads(text, parse_constant=refuse)
    return found


def test_json_is_a_line_for_each_recording_with_the_documented_keys() -> None:
    answer = replace(_beats("NVS"), left_out=((3, "cut off"),), quality=((0.0, "good"),))
    line = "".join(as_json(Judged(answer, Limits(0.5)), MODEL))

    assert line.count("\n") == 1
    found = _strict(line)
    assert found["recording"] == "100"
    assert found["model"] == MODEL
    assert found["classes"]["V"] == "Ventricular"
    assert [segment["class"] for segment in found["segments"]] == ["N", "V", "S"]
    assert [segment["flagged"] for segment in found["segments"]] == [False, True, True]
    assert [segment["seconds"] for segment in found["segments"]] == [0.5, 1.5, 2.5]
    assert {segment["uncertain"] for segment in found["segments"]} == {None}
    assert found["left_out"] == [{"sample": 3, "seconds": 0.012, "reason": "cut off"}]
    assert found["quality"] == [{"seconds": 0.0, "signal": "good"}]
    for segment in found["segments"]:
        assert sum(segment["probabilities"]) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("answer", [_beats(""), _windows([])])
def test_a_recording_without_a_segment_is_still_an_answer(answer: Answer) -> None:
    judged = Judged(answer, Limits(0.5, 0.5))

    assert _strict("".join(as_json(judged, MODEL)))["segments"] == []
    assert STATEMENT in "".join(as_text(judged, MODEL))


def test_csv_has_one_header_for_all_recordings() -> None:
    answer = replace(_beats("NV"), left_out=((3, "cut off"),))
    text = "".join(
        line
        for number in range(2)
        for line in as_csv(Judged(answer, Limits(0.5)), MODEL, first=number == 0)
    )

    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["class"] for row in rows] == ["", "N", "V"] * 2
    assert [row["left_out"] for row in rows[:2]] == ["cut off", ""]
    assert [row["flagged"] for row in rows[:3]] == ["", "false", "true"]
    assert float(rows[2]["p_V"]) == float(rows[2]["probability"]) == 0.9


def test_ready_segments_have_a_number_and_no_time() -> None:
    judged = Judged(_beats("NVVV"), Limits(), placed=False)

    assert "\n2       Ventricular" in "".join(as_text(judged, MODEL))
    found = _strict("".join(as_json(judged, MODEL)))
    assert {segment["seconds"] for segment in found["segments"]} == {None}
    assert (found["fs"], found["summary"]["heart_rate"], found["summary"]["ectopic"]) == (None,) * 3


def test_a_name_cannot_break_a_line() -> None:
    answer = replace(_beats("N"), name="a{0}\n\x1b[31mb\udcff")

    said = "".join(as_text(Judged(answer, Limits()), MODEL))

    assert said.startswith(r"a{0}\n\x1b[31mb\udcff: ")
    said.encode()


# --- WFDB annotations -------------------------------------------------------------------------


def _read(path: Path) -> wfdb.Annotation:
    return wfdb.rdann(str(path.with_suffix("")), path.suffix[1:])


def test_beats_are_read_back_where_they_are_with_their_probability(tmp_path: Path) -> None:
    times = [0.4, 1.4, 2.2, 300.0, 301.0, 2000.0]  # steps that need a skip, and a long one
    answer = _beats("NSVFQN", times)

    found = _read(annotations.write(Judged(answer, Limits(0.5)), tmp_path))

    assert found.fs == FS
    assert found.sample.tolist() == answer.samples.tolist()
    assert found.symbol == ["N", "S", "V", "F", "Q", "N"]
    assert found.num.tolist() == [90] * 6
    assert found.aux_note == ["", "flagged", "flagged", "flagged", "flagged", ""]


def test_an_uncertain_beat_is_unclassifiable_and_one_without_an_answer_no_beat(
    tmp_path: Path,
) -> None:
    answer = replace(_beats("NV", p=0.6), left_out=((500, "cut off"),))

    found = _read(annotations.write(Judged(answer, Limits(None, 0.7)), tmp_path))

    assert found.symbol == ["Q", "Q", '"']
    assert found.aux_note == [
        "uncertain, perhaps N",
        "uncertain, perhaps V",
        "no answer: cut off",
    ]


def test_windows_are_the_changes_of_rhythm(tmp_path: Path) -> None:
    answer = _windows(["NSR", "NSR", "AF", "AF", "Noise", "Other"])

    found = _read(annotations.write(Judged(answer, Limits()), tmp_path))

    assert found.symbol == ["+"] * 4
    assert found.aux_note == ["(N", "(AFIB", "(NOISE", "(OTHER"]
    assert (found.sample / FS).tolist() == [0, 20, 40, 50]
    assert found.num.tolist() == [70] * 4


def test_an_annotation_file_denies_to_be_a_diagnosis(tmp_path: Path) -> None:
    path = annotations.write(Judged(_beats("N"), Limits()), tmp_path)

    assert STATEMENT.encode() in path.read_bytes()  # as a comment at 0:00, which wfdb leaves out


@pytest.mark.parametrize("fs", [128.0, 250.5, 977.0])
def test_annotations_carry_their_rate(tmp_path: Path, fs: float) -> None:
    answer = replace(_beats("NN"), fs=fs)

    assert _read(annotations.write(Judged(answer, Limits()), tmp_path)).fs == fs


def test_classes_that_are_no_beats_and_segments_without_a_time_are_refused(tmp_path: Path) -> None:
    foreign = _beats("NN", classes=("normal", "abnormal"), probabilities=np.array([[0.9, 0.1]] * 2))
    with pytest.raises(InputError, match="no symbol of a beat"):
        annotations.write(Judged(foreign, Limits()), tmp_path)
    with pytest.raises(InputError, match="came without one"):
        annotations.write(Judged(_beats("N"), Limits(), placed=False), tmp_path)
    assert not list(tmp_path.iterdir())


@given(
    st.lists(
        st.tuples(
            st.integers(0, 1 << 22) | st.integers(0, 3),
            st.sampled_from(sorted(annotations.BEATS.values())),
            st.integers(0, 100),
            st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=9),
        ),
        max_size=30,
    )
)
def test_any_marks_are_read_back(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Any]
) -> None:
    samples = np.cumsum([0, *(step for step, _, _, _ in steps)])[1:].tolist()
    marks = [(sample, *mark[1:]) for sample, mark in zip(samples, steps, strict=True)]
    path = tmp_path_factory.mktemp("marks") / "a.retrace"
    path.write_bytes(annotations.encode(iter(marks), FS))

    found = wfdb.rdann(str(path.with_suffix("")), "retrace", return_label_elements=["label_store"])

    read = zip(found.sample, found.label_store, found.num, found.aux_note, strict=True)
    assert [tuple(mark) for mark in read] == marks


# --- the picture ------------------------------------------------------------------------------


@dataclass(kw_only=True)
class _Recording(FileRecording):
    signal: NDArray[np.float32]

    def piece(self, start: int, stop: int, rows: tuple[int, ...]) -> NDArray[Any]:
        return self.signal[list(rows), start:stop]


def _recording(answer: Answer) -> _Recording:
    """One lead with a spike at each segment."""
    samples = round(answer.seconds * answer.fs)
    signal = np.random.default_rng(1).normal(0, 0.05, (1, samples)).astype(np.float32)
    signal[:, answer.samples] = 1.0
    return _Recording(
        name=answer.name,
        path=Path("x"),
        fs=answer.fs,
        leads=("II",),
        samples=samples,
        signal=signal,
    )


DOMAIN = SignalDomain(FS, ("II",), 0.5, 50.0, 3, 0.6, "beat", "none")


def _size(path: Path) -> tuple[int, int]:
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n")
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def test_the_strip_is_drawn_at_the_scale_of_ecg_paper(tmp_path: Path) -> None:
    answer = _beats("NNNVNNNNNNNNNNN")

    plot.draw(tmp_path / "a.png", Judged(answer, Limits(0.5)), _recording(answer), None, DOMAIN)

    paper = plot.LEFT + 10 * 25 + plot.RIGHT  # mm
    assert _size(tmp_path / "a.png")[0] == pytest.approx(paper / 25.4 * 110, abs=1)


def test_a_short_recording_with_gaps_is_drawn_too(tmp_path: Path) -> None:
    answer = _windows(["AF"], seconds=1.5)
    recording = _recording(answer)
    recording.signal[:, 100:200] = np.nan

    plot.draw(tmp_path / "a.png", Judged(answer, Limits(0.2, 0.9)), recording, None, DOMAIN)

    assert _size(tmp_path / "a.png")[0] > 1000


def test_rows_show_what_is_flagged_and_else_the_beginning() -> None:
    letters = ["N"] * 300
    letters[100] = letters[103] = letters[299] = "V"
    answer = _beats("".join(letters))

    starts, title = strips.choose(Judged(answer, Limits(0.5)))
    assert starts == [96, 290]
    assert title == "3 beats flagged"
    starts, title = strips.choose(Judged(answer, Limits()))
    assert starts == [0, 10, 20]
    assert "no --threshold given" in title


@pytest.mark.parametrize(
    ("seconds", "rows"), [(0.4, 1), (10.0, 1), (20.004, 2), (24.0, 3), (9e4, 3)]
)
def test_every_row_of_the_beginning_has_something_to_show(seconds: float, rows: int) -> None:
    assert len(strips.choose(Judged(_beats("N", seconds=seconds), Limits()))[0]) == rows


def test_of_much_that_is_flagged_the_most_probable_is_shown() -> None:
    answer = _beats("V" * 300, p=0.6)
    answer.probabilities[200] = [0.0, 0.0, 1.0, 0.0, 0.0]

    starts, title = strips.choose(Judged(answer, Limits(0.5)))

    assert len(starts) == strips.ROWS
    assert any(start <= 200.5 < start + 10 for start in starts)
    assert title.startswith("300 beats flagged; ")


def test_a_flagged_window_is_shown_whole() -> None:
    answer = _windows(["NSR", "AF", "NSR"], hop=30, span=30)

    assert strips.choose(Judged(answer, Limits(0.5)))[0] == [30, 40, 50]


def test_a_plot_without_matplotlib_or_png_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"name it a\.png"):
        plot.check(Path("a.pdf"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install matplotlib"):
        plot.check(Path("a.png"))
