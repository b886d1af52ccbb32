"""The test part of a beat classifier: at the annotated beats, and at those that are detected."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from retrace.files import read_csv, write_csv
from retrace.learning.answers import Answers, annotated, answer
from retrace.learning.beat_scores import beat_scores
from retrace.learning.checkpoint import Model
from retrace.learning.data import Segments, load_segments
from retrace.learning.detected import detected
from retrace.learning.separation import separation
from retrace.learning.strips import examples
from retrace.scoring.evaluation import evaluate
from retrace.signals.domain import NAMED, SignalDomain
from retrace.signals.plan import Plan
from retrace.signals.recordings import Recordings, recordings_writer
from retrace.signals.records import Record
from retrace.signals.segments import write_segments

FS, CLASSES = 360.0, ["N", "S", "V", "F", "Q"]
LABELS = {"N": "N", "j": "N", "A": "S", "V": "V", "F": "F", "/": "Q"}
WINDOW = NAMED["mitbih360"][2]
DOMAIN = SignalDomain(FS, ("MLII",), 0.5, 50, 3, 187 / FS, "beat", "none", beat=WINDOW)
CONFIG: dict[str, Any] = {
    "classes": CLASSES,
    "temperature": 1.0,
    "thresholds": [0.5] * 5,
    "aggregate": "none",
    "model": {"name": "width", "options": {}, "features": []},
    "domain": DOMAIN.to_dict(),
}
DRAWS = {"resamples": 100, "seed": 7}


class Width:
    """What a student learns first: a wide complex is a V, any other an N."""

    def probabilities(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        width = (X / X.max(axis=1, keepdims=True) > 0.5).mean(axis=1)
        return np.eye(5)[np.where(width > 0.15, 2, 0)] * 0.9 + 0.02


MODEL = cast(Model, Width())


def recording(name: str, patient: str, symbols: str, noise: float = 0.01) -> Record:
    """A beat every .8 s from .1 s on, of which V are twice as high and three times as wide."""
    samples = np.rint((0.1 + 0.8 * np.arange(len(symbols))) * FS).astype(np.int64)
    time = np.arange(round((0.8 * len(symbols) + 1) * FS))
    signal = np.random.default_rng(int(name)).normal(0, noise, len(time))
    for sample, symbol in zip(samples, symbols, strict=True):
        height, width = (2.0, 0.045) if symbol == "V" else (1.0, 0.015)
        signal += height * np.exp(-(((time - sample) / (width * FS)) ** 2) / 2)
    return replace(
        Record(name, FS, ("MLII",), signal[None].astype(np.float32), patient, 60.0, "F"),
        beats=np.concatenate([[10], samples]),  # a rhythm, then the beats
        symbols=("+", *symbols),
    )


USUAL = "N" * 12 + "V" + "N" * 6 + "V" + "N" * 10
RECORDS = [
    recording("100", "a", USUAL + "AFj"),
    recording("101", "b", USUAL + "VV"),
    recording("102", "c", "N" + "/" * 20),
    recording("201", "d", USUAL),
    recording("202", "d", "N" * 30 + "AN"),
]


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five recordings, cut into beats; nothing is divided yet."""
    folder = tmp_path_factory.mktemp("clinic")
    for name in ("filtered", "waveforms", "scalograms"):
        (folder / name).mkdir()
    with recordings_writer(folder / "filtered") as writer:
        for record in RECORDS:
            writer.append(record)
    plan = Plan("beat", None, 187 / FS, 1.0, "drop", "error", "none", WINDOW, LABELS)
    write_segments(Recordings(folder / "filtered"), folder / "waveforms", plan)
    np.save(folder / "scalograms/X.npy", np.empty(0, np.float16))
    write_csv(folder / "scalograms/frequencies.csv", ("scale", "frequency"), ())
    return folder


def divided(clinic: Path, test: Sequence[str], share: int = 1) -> Segments:
    """The recordings in `test` are the test part, or every `share`th of their beats; 102 is in
    none, and all else is train."""
    rows = read_csv(clinic / "waveforms/segments.csv")
    subsets = [
        "unused"
        if row["record_id"] == "102" and "102" not in test
        else "test"
        if row["record_id"] in test and n % share == 0
        else "train"
        for n, row in enumerate(rows)
    ]
    split = [(row["segment_id"], row["label"], s) for row, s in zip(rows, subsets, strict=True)]
    write_csv(clinic / "split.csv", ("segment_id", "label", "subset"), split)
    waveforms = clinic / "waveforms"
    return load_segments(
        waveforms / "X.npy", waveforms / "segments.csv", clinic / "split.csv", CLASSES, []
    )


def asked(clinic: Path, segments: Segments) -> Answers:
    return answer(MODEL, CONFIG, segments, clinic / "filtered/records.csv")


def scored(clinic: Path, segments: Segments, method: str = "stratified") -> dict[str, Any]:
    records = Recordings(clinic / "filtered")
    tree = beat_scores(
        asked(clinic, segments), segments, MODEL, CONFIG, DOMAIN, records, method=method, **DRAWS
    )
    found: dict[str, Any] = json.loads(json.dumps(tree, allow_nan=False))
    return found


def test_every_beat_of_the_test_part_has_an_answer_and_a_row(clinic: Path, tmp_path: Path) -> None:
    segments = divided(clinic, ["100", "101"])
    found = asked(clinic, segments)
    assert found.unit == "beat"
    assert len(found.y) == len(segments.rows("test")) == 2 * len(USUAL) + 5 - 2  # two at an edge
    found.write(tmp_path / "predictions.csv", segments)
    rows = read_csv(tmp_path / "predictions.csv")
    columns = ["segment_id", "record_id", "sample", "symbol", "actual", "predicted"]
    assert list(rows[0]) == [*columns, *(f"p_{name}" for name in CLASSES)]
    last = rows[len(USUAL) + 1]
    sample = str(RECORDS[0].beats[-1])
    assert [last[name] for name in columns[1:]] == ["100", sample, "j", "N", "N"]
    tree = evaluate(**found.scored, resamples=100, seed=1).scores
    assert tree["counts"] | {"records": 2, "patients": 2} == tree["counts"]


def test_a_beat_that_was_not_cut_counts_as_missed(clinic: Path) -> None:
    segments = divided(clinic, ["100", "101"])
    (one, other) = annotated(
        asked(clinic, segments), segments, Recordings(clinic / "filtered"), whole=True
    )
    assert (one.record_id, other.patient_id) == ("100", "b")
    assert len(one.reference.samples) == len(one.test.samples) + 1
    cells = scored(clinic, segments)["ec57"]["papers"]["cells"]
    assert cells["No"] == 2
    assert (cells["Vv"], cells["Sn"], cells["Fn"]) == (6, 1, 1)


def test_detected_beats_are_answered_as_annotated_ones_are(clinic: Path) -> None:
    segments = divided(clinic, ["100", "101"])
    records = Recordings(clinic / "filtered")
    (one, other) = detected(MODEL, CONFIG, DOMAIN, records, {"100", "101"})
    assert one.test.symbols.count("V") == 2 and other.test.symbols.count("V") == 4
    marked = annotated(asked(clinic, segments), segments, records, whole=True)
    for found, known in zip((one, other), marked, strict=True):
        np.testing.assert_allclose(found.test.samples, known.test.samples, atol=2)
        assert found.test.symbols == known.test.symbols
        assert found.probabilities is not None
        assert found.probabilities.shape == (len(found.test.samples), 5)


def test_a_recording_with_nothing_to_detect_has_all_its_beats_missed(clinic: Path) -> None:
    silent = replace(RECORDS[0], signal=np.zeros_like(RECORDS[0].signal))
    (one,) = detected(MODEL, CONFIG, DOMAIN, [silent], {"100"})
    assert not len(one.test.samples) and len(one.reference.samples) == len(USUAL) + 3


def test_reports_name_convention_and_peaks_and_the_headline_alone_is_full(clinic: Path) -> None:
    ec57 = scored(clinic, divided(clinic, ["100", "101"]))["ec57"]
    assert list(ec57) == ["papers", "bxb", "papers_detected", "bxb_detected"]  # none lasts 5:00
    for name, report in ec57.items():
        assert report["protocol"]["convention"] in name
        assert ("records" in report) == (name == "papers")
        assert f"Convention {report['protocol']['convention']}" in report["notes"][0]
        assert report["protocol"]["peaks"] in report["notes"][0]
        assert {"gross", "average", "counts"} <= set(report)
    # The junctional escape beat is the only one on which the two do not agree.
    beats = {name: ec57[name]["counts"]["beats"]["S"] for name in ("papers", "bxb")}
    assert beats == {"papers": 1, "bxb": 2}


def test_paced_records_are_left_out_of_whole_ones_alone(clinic: Path) -> None:
    whole = scored(clinic, divided(clinic, ["101", "102"]))
    assert whole["ec57"]["papers"]["protocol"]["paced_left_out"] == ["102"]
    half = scored(clinic, divided(clinic, ["101", "102"], share=2), "intra_patient")
    assert half["ec57"]["papers"]["protocol"]["paced_left_out"] == []
    assert half["ec57"]["papers"]["counts"]["beats"]["Q"] == 10


def test_random_beats_are_stamped_and_held_against_themselves(clinic: Path) -> None:
    found = scored(clinic, divided(clinic, ["100", "101"], share=2), "intra_patient")
    split = found["split"]
    assert (split["method"], split["stamp"]) == ("intra_patient", "intra-patient")
    assert (split["shared_patients"], split["test_patients"]) == (2, 2)
    assert list(found["ec57"]) == ["papers", "bxb"]
    for report in found["ec57"].values():
        assert report["notes"][0].startswith("INTRA-PATIENT: 2 of 2 test patients")
        assert "without" not in report
        assert report["gross"]["qrs_sensitivity"]["value"] == 1


def test_the_stamp_is_measured_and_not_declared(clinic: Path) -> None:
    apart = separation(divided(clinic, ["100", "101"]), "intra_patient")
    assert (apart.stamp, apart.shared, apart.whole) == (None, [], True)
    shared = separation(divided(clinic, ["100"], share=2), "stratified")
    assert (shared.stamp, shared.shared, shared.whole) == ("intra-patient", ["a"], False)


def test_unknown_patients_are_stamped(clinic: Path) -> None:
    segments = divided(clinic, ["100", "101"])
    found = separation(replace(segments, patient_ids=[None] * len(segments.X)), "published")
    assert found.stamp == "intra-patient"
    assert found.to_dict()["shared_patients"] is None
    assert "patients are unknown" in found.note


def test_one_patient_of_many_is_noted_and_scored_without(clinic: Path) -> None:
    """As 201 and 202 of MIT-BIH, one patient on either side of ds1_ds2."""
    segments = divided(clinic, ["100", "101", "202"])
    many = replace(segments, subsets=np.where(segments.subsets == "unused", "test", "train"))
    assert separation(many, "ds1_ds2").apart == {"232": ["232"]}
    rows = np.flatnonzero(np.array(segments.record_ids) == "202")
    few = segments.subsets.copy()
    few[rows[5:]] = "unused"  # so that they are less than a tenth
    found = separation(replace(segments, subsets=few), "ds1_ds2")
    assert (found.stamp, found.shared_records) == (None, ["202"])
    assert found.apart == {"202": ["202"], "202 and 232": ["202", "232"]}
    assert "here 202" in found.note


def test_the_strip_of_a_beat_shows_its_neighbours_and_what_was_seen(clinic: Path) -> None:
    segments = divided(clinic, ["100", "101"])
    strips = examples(
        asked(clinic, segments),
        segments,
        DOMAIN,
        waveforms=clinic / "waveforms",
        scalograms=clinic / "scalograms",
        records=Recordings(clinic / "filtered"),
    )
    assert [(s.actual, s.predicted) for s in strips] == [
        ("N", "N"),
        ("S", "N"),
        ("V", "V"),
        ("F", "N"),
    ]
    premature = strips[2]
    assert premature.record_id.startswith("101 at 0:") and not premature.scaled
    assert premature.waveform.shape == (1, 2 * 540)
    assert premature.seen is not None
    first, last = (round(second * FS) for second in premature.seen)
    wave = premature.waveform[0]
    assert last - first == 187 and wave[first:last].max() == wave.max()


def test_beats_that_their_publisher_cut_are_scored_without_recordings(tmp_path: Path) -> None:
    """As Kaggle's: no time, no annotation, no patient."""
    with recordings_writer(tmp_path) as writer:
        for n in range(4):
            writer.append(
                Record(f"b{n}", 125.0, ("?",), np.full((1, 187), n, np.float32), label="N")
            )
    segments = Segments(
        X=np.random.default_rng(0).random((4, 1, 187), np.float32),
        features=np.empty((4, 0), np.float32),
        segment_ids=[f"b{n}_000" for n in range(4)],
        record_ids=[f"b{n}" for n in range(4)],
        patient_ids=[None] * 4,
        starts=[0.0] * 4,
        samples=[None] * 4,
        symbols=[None] * 4,
        labels=np.array([0, 0, 2, 1]),
        subsets=np.array(["train", "test", "test", "val"]),
        classes=CLASSES,
    )
    found = answer(MODEL, CONFIG, segments, tmp_path / "records.csv")
    tree = beat_scores(
        found, segments, MODEL, CONFIG, DOMAIN, Recordings(tmp_path), method="published", **DRAWS
    )
    assert tree["split"]["stamp"] == "intra-patient" and tree["ec57"] == {}
    np.save(tmp_path / "X.npy", segments.X)
    write_csv(tmp_path / "frequencies.csv", ("scale", "frequency"), ())
    strips = examples(
        found,
        segments,
        replace(DOMAIN, fs=125.0, normalise="range"),
        waveforms=tmp_path,
        scalograms=tmp_path,
        records=Recordings(tmp_path),
    )
    assert {strip.waveform.shape for strip in strips} == {(1, 187)}
    assert all(strip.scaled and strip.seen is None for strip in strips)


class Unlike:
    """Answers by the one number that stands beside the waveform, which must be the likeness."""

    def probabilities(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.eye(5)[np.where(X[:, -1] < 0.95, 2, 0)] * 0.9 + 0.02


def test_detected_beats_come_with_the_features_that_the_model_asks_for() -> None:
    config = CONFIG | {"model": CONFIG["model"] | {"features": ["likeness"]}}

    (found,) = detected(cast(Model, Unlike()), config, DOMAIN, RECORDS, {"101"})

    assert found.test.symbols.count("V") == RECORDS[1].symbols.count("V")
