"""Beats cut out of recordings: around their peak, as long as they last, never over an end."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from retrace.errors import InputError
from retrace.files import read_csv
from retrace.signals.beats import BLOCK, cut_beats, likeness, rhythm
from retrace.signals.domain import NAMED, BeatWindow, SignalDomain
from retrace.signals.plan import Plan
from retrace.signals.records import Record
from retrace.signals.segments import write_segments

MITBIH, KAGGLE = NAMED["mitbih360"][2], NAMED["kaggle125"][2]


def _ramp(n: int) -> NDArray[np.float32]:
    return np.arange(1, n + 1, dtype=np.float32)[None]


def _cut(n: int, peaks: list[int], window: BeatWindow = MITBIH, **other: Any) -> Any:
    options: dict[str, Any] = {"rate": 360.0, "samples": 187, "normalise": "none"} | other
    return cut_beats(_ramp(n), 360.0, np.array(peaks), window=window, **options)


def test_a_beat_of_mitbih360_has_93_samples_on_either_side_of_its_peak() -> None:
    (beat,) = _cut(1000, [500]).windows

    assert beat[0, 93] == 501
    assert beat.shape == (1, 187)
    assert (beat[0, 0], beat[0, -1]) == (501 - 93, 501 + 93)


@given(peaks=st.lists(st.integers(0, 999), min_size=1, max_size=20, unique=True))
def test_windows_over_an_end_are_left_out_and_no_others(peaks: list[int]) -> None:
    peaks = sorted(peaks)

    rows = _cut(1000, peaks).rows

    assert [peaks[row] for row in rows] == [peak for peak in peaks if 93 <= peak <= 1000 - 94]


def test_a_beat_of_kaggle125_lasts_six_fifths_of_the_median_rr_of_its_ten_seconds() -> None:
    # 10 s with a beat every 0.8 s, then 10 s with one every 0.5 s
    peaks = [*range(0, 3600, 288), *range(3600, 7200, 180)]
    beats = _cut(9000, peaks, KAGGLE, rate=125.0)

    lasting = [int(np.flatnonzero(beat[0])[-1]) + 1 for beat in beats.windows]
    seconds = np.array(peaks)[beats.rows] / 360

    assert set(np.array(lasting)[seconds < BLOCK]) == {round(1.2 * 0.8 * 125)}
    assert set(np.array(lasting)[seconds >= BLOCK]) == {round(1.2 * 0.5 * 125)}


def test_a_beat_of_kaggle125_starts_at_its_peak() -> None:
    t = np.arange(3600) / 360
    peaks = np.arange(180, 3600, 360)
    signal = np.exp(-(((t[None] - peaks[:, None] / 360) / 0.02) ** 2)).sum(axis=0)[None]

    beats = cut_beats(
        signal.astype(np.float32), 360, peaks, rate=125, samples=187, window=KAGGLE,
        normalise="range",
    )  # fmt: skip

    assert (beats.windows[:, 0].argmax(axis=-1) == 0).mean() > 0.5  # to the nearest sample
    assert (beats.windows[:, 0, :2].max(axis=-1) == 1).all()
    assert beats.windows.min() == 0


def test_a_long_rr_fills_the_window_and_no_more() -> None:
    beats = _cut(9000, [0, 1000, 2000, 3000], KAGGLE, rate=125.0)

    assert (beats.windows[:, 0, -1] > 0).all()


def test_a_lead_that_is_off_is_told_apart() -> None:
    signal = np.random.default_rng(0).normal(size=(2, 3000)).astype(np.float32)
    signal[1, 900:1100] = 0.2

    beats = cut_beats(
        signal, 360, np.array([500, 1000, 1500]), rate=360, samples=187, window=MITBIH,
        normalise="none",
    )  # fmt: skip

    assert (beats.rows.tolist(), beats.flat.tolist()) == ([0, 2], [1])


def test_rhythm_tells_a_premature_beat_at_any_rate() -> None:
    beats = np.arange(0, 30) * 300
    beats[15] -= 100

    fast, slow = rhythm(beats, 360.0), rhythm(2 * beats, 360.0)

    np.testing.assert_allclose(fast[15, :2], [200 / 360, 400 / 360])
    assert fast[15, 2] == pytest.approx(2 / 3, abs=0.01)
    assert fast[16, 2] == pytest.approx(4 / 3, abs=0.01)
    np.testing.assert_allclose(fast[5], [300 / 360, 300 / 360, 1])
    np.testing.assert_allclose(slow[:, 2], fast[:, 2])


def test_the_first_and_the_last_beat_have_one_interval() -> None:
    found = rhythm(np.array([0, 360, 1080]), 360.0)

    np.testing.assert_allclose(found[:, 0], [1, 1, 2])
    np.testing.assert_allclose(found[:, 1], [1, 2, 2])
    assert np.isnan(rhythm(np.array([5]), 360.0)).all()


def test_a_beat_that_differs_is_unlike_the_usual_one() -> None:
    t = np.linspace(-1, 1, 187)
    narrow, wide = np.exp(-((t / 0.05) ** 2)), -np.exp(-((t / 0.3) ** 2))
    beats = np.stack([narrow * gain for gain in (1, 1.1, 0.9, 1, 1)] + [wide])[:, None]

    found = likeness(beats.astype(np.float32))

    np.testing.assert_allclose(found[:5], 1, atol=1e-5)
    assert found[5] < -0.3


PLAN = Plan(
    anchor="beat",
    fs=None,
    window=0.52,
    hop=1,
    short="drop",
    flat="error",
    normalise="none",
    beat=MITBIH,
    labels={"N": "N", "V": "V", "Q": None},
)


def _record(**fields: Any) -> Record:
    signal = np.random.default_rng(0).normal(size=(1, 3600)).astype(np.float32)
    given: dict[str, Any] = {
        "beats": np.array([20, 400, 700, 800, 1100, 1500]),
        "symbols": ("N", "N", "+", "V", "Q", "N"),
    }
    return Record("a", 360, ("MLII",), signal, patient_id="p", **given | fields)


def test_beats_carry_their_peak_symbol_class_and_rhythm(tmp_path: Path) -> None:
    counts = write_segments([_record()], tmp_path, PLAN)

    rows = read_csv(tmp_path / "segments.csv")
    assert [(row["sample"], row["symbol"], row["label"]) for row in rows] == [
        ("400", "N", "N"),
        ("800", "V", "V"),
        ("1500", "N", "N"),
    ]
    assert float(rows[1]["rr_previous"]) == pytest.approx(400 / 360)
    assert float(rows[1]["rr_next"]) == pytest.approx(300 / 360)  # Q is a beat, if left out
    assert float(rows[0]["start"]) == pytest.approx((400 - 93) / 360)
    assert np.load(tmp_path / "X.npy").shape == (3, 1, 187)
    assert counts.labels == {"N": 2, "V": 1}


def test_a_beat_that_the_map_does_not_have_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="record a: beat symbol 'F'; the map has N, V, Q: add it"):
        write_segments([_record(symbols=("N", "N", "+", "V", "F", "N"))], tmp_path, PLAN)


def test_windows_of_a_recording_without_a_label_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"record a: has no label.*segment\.anchor to beat"):
        write_segments([_record()], tmp_path, replace(PLAN, anchor="start"))


def test_without_annotations_beats_are_found_and_get_the_recording_s_label(tmp_path: Path) -> None:
    t = np.arange(20 * 360) / 360
    signal = sum(np.exp(-(((t - second) / 0.02) ** 2)) for second in np.arange(0.5, 20))
    record = Record("a", 360, ("II",), np.asarray(signal, np.float32)[None], label="normal")

    write_segments([record], tmp_path, PLAN)

    rows = read_csv(tmp_path / "segments.csv")
    assert 18 <= len(rows) <= 20
    assert {row["label"] for row in rows} == {"normal"}
    assert [float(row["rr_ratio"]) for row in rows] == pytest.approx([1] * len(rows), abs=0.02)


def test_a_beat_that_its_publisher_cut_stays_as_it_is(tmp_path: Path) -> None:
    signal = np.random.default_rng(0).uniform(size=(1, 187)).astype(np.float32)
    record = Record("train_0", 125, ("II",), signal, label="V")

    write_segments([record], tmp_path, replace(PLAN, window=1.496, beat=KAGGLE))

    np.testing.assert_array_equal(np.load(tmp_path / "X.npy")[0], signal)
    (row,) = read_csv(tmp_path / "segments.csv")
    assert (row["label"], row["rr_previous"]) == ("V", "")


@pytest.mark.parametrize("name", NAMED)
def test_a_named_domain_is_known_by_its_numbers(name: str) -> None:
    fs, samples, beat = NAMED[name]
    domain = SignalDomain(fs, ("MLII",), 0.5, 50, 3, samples / fs, "beat", "range", beat=beat)

    assert domain.name == name
    assert replace(domain, fs=fs + 1).name is None


def test_a_beat_that_is_left_out_still_counts_in_the_rhythm_of_its_neighbours() -> None:
    peaks = [40, 400, 800, 1100, 1500]  # the first lies too near the start to be cut

    beats = _cut(2000, peaks)

    np.testing.assert_array_equal(beats.rows, [1, 2, 3, 4])
    np.testing.assert_allclose(beats.features[:, :3], rhythm(np.array(peaks), 360.0)[1:])
    assert beats.features[0, 0] == pytest.approx(1.0)


def test_the_last_beat_of_kaggle125_is_left_out_and_the_one_before_completed() -> None:
    beats = _cut(3000, [0, 900, 1800, 2700], KAGGLE, rate=125.0)

    assert beats.rows.tolist() == [0, 1, 2]


def test_each_block_of_ten_seconds_has_its_own_median() -> None:
    # One long pause between two blocks belongs to neither.
    peaks = [*range(0, 3400, 200), *range(4000, 7000, 200)]
    beats = _cut(9000, peaks, KAGGLE, rate=125.0)

    lasting = {int(np.flatnonzero(beat[0])[-1]) + 1 for beat in beats.windows}
    assert lasting == {round(1.2 * 200 / 360 * 125)}


def test_a_beat_that_is_flat_for_as_long_as_it_lasts_is_flat() -> None:
    signal = np.random.default_rng(0).normal(size=(1, 3600)).astype(np.float32)
    signal[:, 700:1100] = 0.5
    peaks = np.array([0, 360, 720, 1080, 1440, 1800])

    beats = cut_beats(
        signal, 360, peaks, rate=360, samples=800, window=BeatWindow(0.0, 1.0), normalise="none"
    )

    assert beats.flat.tolist() == [2]


def test_a_short_recording_that_is_no_window_is_named_with_the_remedy(tmp_path: Path) -> None:
    signal = np.random.default_rng(0).uniform(size=(1, 187)).astype(np.float32)
    record = Record("train_0", 125, ("II",), signal, label="V")

    with pytest.raises(InputError, match=r"record train_0: 187 samples.*segment\.window to 1\.496"):
        write_segments([record], tmp_path, PLAN)


@pytest.mark.parametrize("method", ["window", "range", "record"])
def test_a_published_beat_s_padding_is_no_signal(tmp_path: Path, method: str) -> None:
    signal = np.random.default_rng(0).uniform(0.2, 1, (1, 187)).astype(np.float32)
    signal[:, 120:] = 0
    record = Record("train_0", 125, ("II",), signal, label="V")
    plan = replace(PLAN, window=1.496, beat=KAGGLE, normalise=method)

    write_segments([record], tmp_path, plan)

    (beat,) = np.load(tmp_path / "X.npy")
    assert not beat[:, 120:].any()
    assert (beat[0, :120] != 0).sum() >= 118


def test_a_map_that_leaves_everything_out_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none of the 1 recordings has a beat"):
        write_segments([_record()], tmp_path, replace(PLAN, labels=dict.fromkeys("NVQ")))


def test_beats_at_an_end_or_without_a_class_are_counted(tmp_path: Path) -> None:
    counts = write_segments([_record()], tmp_path, PLAN)

    assert counts.unused == 2  # one at the start, one Q
    assert "2 beats at an end or without a class" in counts.summary()
