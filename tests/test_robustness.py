"""What gets worse is the signal before the band-pass, and the score is of the same segments."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import wfdb
from numpy.typing import NDArray

from retrace.errors import InputError
from retrace.files import read_csv, write_csv
from retrace.learning.data import Segments, load_segments
from retrace.learning.robustness import (
    CONDITIONS,
    Condition,
    OtherLeads,
    answer_worse,
    predictions,
)
from retrace.signals.domain import BeatWindow, SignalDomain
from retrace.signals.filters import filtered
from retrace.signals.noise import noise_for, strength
from retrace.signals.plan import Plan
from retrace.signals.records import Record, read_wfdb
from retrace.signals.segments import pieces, write_segments
from retrace.synthesis import synthesise

FS = 128.0
MITDB = Path(os.environ.get("RETRACE_MIRROR", "")) / "physionet.org/files/mitdb/1.0.0"
WINDOWS = Plan("start", None, 5.0, 5.0, "pad", "error", "none", BeatWindow(0.5, None), {})
BEATS = replace(WINDOWS, anchor="beat", window=0.5, labels={"N": "N", "A": "S", "V": "V"})
JOINED: dict[str, Any] = {"aggregate": "mean", "temperature": 1.0}
CLEAN, INVERTED, LOUD, LEAD = 0, -4, -3, -1  # places among the conditions


class Listener:
    """A model that is no network: it keeps what it is asked and says what it is told to."""

    def __init__(self, classes: int = 2) -> None:
        self.classes = classes
        self.asked: list[NDArray[np.float32]] = []

    def probabilities(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        self.asked.append(X.copy())
        return np.full((len(X), self.classes), 1 / self.classes)


class Heard(NamedTuple):
    """rows: (conditions, segments, samples and features), NaN where nothing was asked."""

    segments: Segments
    rows: NDArray[np.float32]
    logits: NDArray[np.float64]


def domain(plan: Plan, order: int = 3) -> SignalDomain:
    return SignalDomain(FS, ("II",), 0.5, 40, order, plan.window, plan.anchor, "none")


def no_lead(record: Record) -> None:
    return None


def heard(
    folder: Path,
    records: Sequence[Record],
    plan: Plan,
    *,
    other: Any = no_lead,
    order: int = 3,
    features: Sequence[str] = (),
    again: Iterable[Record] | None = None,
) -> Heard:
    """Cut the records as the stages do, then listen to what the model is asked."""
    passed = (filtered(record, low=0.5, high=40, order=order) for record in records)
    write_segments(passed, folder, plan)
    table = read_csv(folder / "segments.csv")
    ids = [(row["segment_id"], row["label"], "test") for row in table]
    write_csv(folder / "split.csv", ("segment_id", "label", "subset"), ids)
    classes = sorted({row["label"] for row in table})
    segments = load_segments(
        folder / "X.npy", folder / "segments.csv", folder / "split.csv", classes, list(features)
    )
    model: Any = Listener(len(classes))
    logits = answer_worse(
        model,
        segments,
        segments.rows("test"),
        records if again is None else again,
        other,
        plan=plan,
        domain=domain(plan, order),
        features=features,
        seed=7,
    )
    asked = np.full((*logits.shape[:2], np.concatenate(model.asked).shape[1]), np.nan, np.float32)
    start, given = 0, ~np.isnan(logits[..., 0])
    everything = np.concatenate(model.asked)
    for record_id in dict.fromkeys(segments.record_ids):
        mine = np.array(segments.record_ids) == record_id
        for number in range(len(CONDITIONS)):
            spots = np.flatnonzero(mine & given[number])
            asked[number, spots] = everything[start : start + len(spots)]
            start += len(spots)
    return Heard(segments, asked, logits)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    folder = tmp_path_factory.mktemp("raw")
    synthesise(folder, seed=3, patients=4, records_per_patient=2, fs=FS, duration=20.0, noise=0.2)
    rows = read_csv(folder / "labels.csv")
    return [
        replace(
            read_wfdb(folder / row["record_id"]), label=row["label"], patient_id=row["patient_id"]
        )
        for row in rows
    ]


def place(kind: str, snr: int) -> int:
    return CONDITIONS.index(Condition(kind, snr))


def test_the_clean_signal_is_what_the_stages_cut(tmp_path: Path, recordings: list[Record]) -> None:
    found = heard(tmp_path, recordings, WINDOWS)

    assert (found.rows[CLEAN] == found.segments.X[:, 0]).all()


@pytest.mark.parametrize("kind", ["baseline wander", "muscle", "electrode motion"])
def test_noise_comes_before_the_band_pass(
    tmp_path: Path, recordings: list[Record], kind: str
) -> None:
    record = recordings[0]
    noisy = record.signal + strength(record, 0) * noise_for(record, kind, seed=7)
    whole = filtered(record.with_signal(noisy.astype(np.float32)), low=0.5, high=40, order=3)

    found = heard(tmp_path, recordings[:2], WINDOWS)

    wanted = pieces(whole, WINDOWS, FS).windows[:, 0]
    assert found.rows[place(kind, 0), : len(wanted)] == pytest.approx(wanted, abs=1e-5)
    assert np.abs(found.rows[CLEAN, : len(wanted)] - wanted).max() > 0.02


def test_noise_passes_a_publishers_filter_as_ours(tmp_path: Path, recordings: list[Record]) -> None:
    published = [replace(record, band=(0.5, 40, 3)) for record in recordings[:2]]

    found = heard(tmp_path, published, WINDOWS)

    heart = found.rows[CLEAN].var()
    left = found.rows[place("baseline wander", -6)] - found.rows[CLEAN]
    assert left.var() < 0.2 * heart  # four times the heart's power came in


def test_sign_and_gain_are_exact(tmp_path: Path, recordings: list[Record]) -> None:
    found = heard(tmp_path, recordings[:2], WINDOWS)

    assert (found.rows[INVERTED] == -found.rows[CLEAN]).all()
    ratio = (found.rows[LOUD] ** 2).sum() / (found.rows[CLEAN] ** 2).sum()
    assert 10 * np.log10(ratio) == pytest.approx(6)
    assert (found.rows[LOUD] ** 2).sum() / (found.rows[LOUD + 1] ** 2).sum() == pytest.approx(
        10**1.2
    )


def test_beats_keep_their_place_and_rhythm_but_not_their_likeness(
    tmp_path: Path, recordings: list[Record]
) -> None:
    columns = ["rr_previous", "rr_next", "rr_ratio", "likeness"]
    records = [replace(record, label=None) for record in recordings]

    found = heard(tmp_path, records, BEATS, features=columns)

    features = found.rows[:-1, :, -4:]
    assert (features[CLEAN] == found.segments.features).all()
    assert (features[..., :3] == features[CLEAN, :, :3]).all()
    noisy = features[place("electrode motion", -6), :, 3]
    assert noisy.mean() < features[CLEAN, :, 3].mean() - 0.1


def test_beats_that_nobody_annotated_are_found_in_the_clean_signal(
    tmp_path: Path, recordings: list[Record]
) -> None:
    bare = [replace(record, beats=np.empty(0, np.int64), symbols=()) for record in recordings]

    found = heard(tmp_path, bare, BEATS)

    assert (found.rows[CLEAN] == found.segments.X[:, 0]).all()
    assert not np.isnan(found.logits[:-1]).any()


def test_the_padding_of_a_cut_beat_stays_zero(tmp_path: Path, recordings: list[Record]) -> None:
    heights = recordings[0].signal[:, :64] - recordings[0].signal[:, :64].min()
    heights[:, 48:] = 0
    beats = [
        Record(f"beat {n}", FS, ("II",), heights * np.float32(1 + n), label="NS"[n], cut=True)
        for n in range(2)
    ]

    found = heard(tmp_path, beats, BEATS, order=0)

    assert (found.rows[:-1, :, 48:] == 0).all()
    assert (found.rows[place("muscle", 0), :, :47] != found.rows[CLEAN, :, :47]).mean() > 0.9


def _two_leads(folder: Path, flat: bool = False) -> Record:
    seconds = np.arange(round(20 * FS)) / FS
    first, second = (np.sin(2 * np.pi * f * seconds) for f in (5, 9))
    signals = np.stack([first, 0 * second if flat else second], axis=1)
    wfdb.wrsamp(
        "r1", FS, ["mV", "mV"], ["II", "V5"], signals, fmt=["16", "16"], write_dir=str(folder)
    )
    return replace(read_wfdb(folder / "r1", ["II"]), label="N")


def test_the_wrong_lead_is_the_other_one_of_the_same_recording(
    tmp_path: Path, recordings: list[Record]
) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    alone = replace(recordings[0], label="S")

    found = heard(tmp_path, [_two_leads(raw), alone], WINDOWS, other=OtherLeads(raw))

    spectrum = np.abs(np.fft.rfft(found.rows[LEAD, 1]))
    assert np.fft.rfftfreq(640, 1 / FS)[spectrum.argmax()] == pytest.approx(9, abs=0.2)
    # One has another lead, one has none: that is scored on the first alone.
    y, predicted, _ = predictions(found.logits, found.segments, found.segments.rows("test"), JOINED)
    assert (predicted >= 0).sum(axis=1).tolist() == [2] * (len(CONDITIONS) - 1) + [1]
    assert y.tolist() == [0, 1]


@pytest.mark.skipif(not (MITDB / "114.dat").is_file(), reason="RETRACE_MIRROR holds no MIT-BIH")
@pytest.mark.parametrize(("number", "lead"), [("100", "V5"), ("114", "V5"), ("231", "V1")])
def test_the_other_lead_of_a_real_recording_is_taken_by_its_name(number: str, lead: str) -> None:
    record = read_wfdb(MITDB / number, ["MLII"])

    other = OtherLeads(MITDB)(record)

    assert other is not None and other.leads == (lead,)
    assert (other.signal == read_wfdb(MITDB / number, [lead]).signal).all()


@pytest.mark.parametrize("why", ["flat", "another recording of that name"])
def test_a_lead_that_is_none_is_not_taken(tmp_path: Path, why: str) -> None:
    record = _two_leads(tmp_path, flat=why == "flat")
    if why != "flat":
        record = record.with_signal(record.signal[:, ::-1])

    assert OtherLeads(tmp_path)(record) is None


def test_a_recording_that_has_gone_is_one_sentence(
    tmp_path: Path, recordings: list[Record]
) -> None:
    with pytest.raises(InputError, match=r"_000 and 3 more: data/raw does not give"):
        heard(tmp_path, recordings[:2], WINDOWS, again=recordings[:1])
