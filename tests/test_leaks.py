"""Each kind of leak is planted and must be caught; the code that is used must not be accused."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from retrace.errors import InputError
from retrace.files import read_csv, write_csv
from retrace.learning import checkpoint
from retrace.learning.balance import class_weights
from retrace.learning.classifier import Network
from retrace.learning.data import Segments
from retrace.learning.leaks import (
    copied,
    crossing,
    looks_beyond_training,
    made_outside_training,
    neighbours,
    report,
)
from retrace.learning.oversampling import METHODS, enlarged
from retrace.learning.splits import divide
from tests.train_small import load, run, small_beats

Fit = Callable[[Segments], Sequence[NDArray[Any]]]
RECORDS = [
    {"record_id": f"r{i}", "patient_id": f"p{i // 2}", "same_as": "", "part": ""} for i in range(30)
]
CNN = {"channels": [4], "kernel": 5, "hidden": 8, "dropout": 0.0}


@pytest.fixture
def beats(tmp_path: Path) -> Segments:
    small_beats(tmp_path)
    return load(tmp_path, ["rr_ratio"])


def _accused(fit: Fit, beats: Segments) -> bool:
    def fitted(
        X: NDArray[Any], features: NDArray[Any], labels: NDArray[Any]
    ) -> Sequence[NDArray[Any]]:
        return fit(dataclasses.replace(beats, X=X, features=features, labels=labels))

    return looks_beyond_training(
        fitted, beats.subsets.tolist(), beats.X, beats.features, beats.labels
    )


def _all_are_training(beats: Segments) -> Segments:
    return dataclasses.replace(beats, subsets=np.full(len(beats.X), "train"))


def _standardised(beats: Segments) -> list[NDArray[Any]]:
    network = checkpoint.build("simple_cnn", beats.X.shape[1:], 4, CNN, 1)
    assert isinstance(network, Network)
    network.fit(beats)
    return [buffer.numpy() for name, buffer in network.named_buffers() if "running" not in name]


def _weights(beats: Segments) -> list[NDArray[Any]]:
    return [class_weights(beats.labels[beats.rows("train")], 4, "inverse")]


def _made(method: str) -> Fit:
    def fit(beats: Segments) -> list[NDArray[Any]]:
        result, n = enlarged(beats, method, 1), len(beats.X)
        return [result.X[n:], result.features[n:], result.labels[n:]]

    return fit


FITS: dict[str, Fit] = {
    "scaling": _standardised,
    "class weights": _weights,
    **{method: _made(method) for method in METHODS},
}


@pytest.mark.parametrize("kind", FITS)
def test_what_is_fitted_before_training_sees_the_training_part_alone(
    kind: str, beats: Segments
) -> None:
    assert not _accused(FITS[kind], beats)


@pytest.mark.parametrize("kind", FITS)
def test_what_is_fitted_before_the_split_is_caught(kind: str, beats: Segments) -> None:
    assert _accused(lambda segments: FITS[kind](_all_are_training(segments)), beats)


@pytest.mark.parametrize("method", METHODS)
def test_what_was_made_before_the_split_is_caught_by_its_name(method: str, beats: Segments) -> None:
    result = enlarged(_all_are_training(beats), method, 1)
    subsets = divide(
        "intra_patient",
        [str(label) for label in result.labels],
        result.record_ids,
        [],
        folds=5,
        fold=0,
        val=0.2,
        seed=1,
    )

    outside = made_outside_training(result.segment_ids, subsets)

    assert outside and all(name.startswith(f"{method}_0") for name in outside)
    honest = enlarged(beats, method, 1)
    assert made_outside_training(honest.segment_ids, honest.subsets.tolist()) == []


def test_copies_made_before_the_split_are_caught_by_their_values(beats: Segments) -> None:
    result = enlarged(_all_are_training(beats), "oversample", 1)
    shuffled = np.random.default_rng(0).permutation(len(result.X)) % 5 == 0
    honest = enlarged(beats, "oversample", 1)

    assert copied(result.X, np.where(shuffled, "test", "train").tolist()) > 10
    assert copied(honest.X, honest.subsets.tolist()) == 0


def test_a_patient_on_two_sides_is_named() -> None:
    patients = ["a", "a", "b", "b", "c", "c"]

    assert crossing(patients, ["train", "train", "val", "val", "test", "unused"]) == []
    assert crossing(patients, ["train", "test", "val", "val", "train", "val"]) == ["a", "c"]


def test_neighbours_on_two_sides_are_counted_in_time_within_a_record() -> None:
    records = ["r", "r", "r", "r", "s", "s"]
    starts = [3.0, 0.0, 2.0, 1.0, 4.0, 5.0]  # in time: rows 1, 3, 2, 0; then 4, 5

    assert neighbours(records, starts, ["test", "train", "train", "train", "val", "val"]) == 1
    assert neighbours(records, starts, ["train", "train", "test", "test", "val", "val"]) == 2
    assert neighbours(records, starts, ["train"] * 4 + ["test"] * 2) == 0
    assert neighbours(records, starts, ["unused", "train", "train", "train", "val", "unused"]) == 0


def _split(method: str, beats: Segments) -> tuple[Any, ...]:
    labels = [str(label) for label in beats.labels]
    subsets = divide(method, labels, beats.record_ids, RECORDS, folds=5, fold=0, val=0.2, seed=1)
    patients = [f"p{int(record[1:]) // 2}" for record in beats.record_ids]
    return method, patients, beats.record_ids, beats.starts, subsets


def test_a_stratified_split_lets_nothing_through(beats: Segments) -> None:
    assert report(*_split("stratified", beats)) == "on two sides: no patient and no record"


def test_a_split_of_beats_says_what_it_lets_through(beats: Segments) -> None:
    said = report(*_split("intra_patient", beats))

    assert "14 patients or records (p0, p1, p10, ...)" in said
    assert "intra_patient flatter" in said


def test_a_stratified_split_with_a_planted_patient_is_refused(beats: Segments) -> None:
    method, patients, records, starts, subsets = _split("stratified", beats)
    other = "test" if subsets[0] != "test" else "train"

    with pytest.raises(InputError, match=r"on two sides: 1 patients .* and 1 pairs .*: a leak"):
        report(method, patients, records, starts, [other, *subsets[1:]])


def _relabel(table: Path, rows: NDArray[np.int64]) -> None:
    """Give these segments, all but the first, the class of the one before."""
    found = read_csv(table)
    labels = [found[row]["label"] for row in rows]
    for row, label in zip(rows[1:], labels[:-1], strict=True):
        found[row]["label"] = label
    write_csv(table, list(found[0]), [list(row.values()) for row in found])


@pytest.mark.parametrize(
    "changes",
    [
        {"model.name": "simple_cnn", "train.imbalance": "smote", "epochs": 2},
        {"model.name": "xgboost", "train.imbalance": "inverse"},
        {"model.name": "random_forest", "train.imbalance": "oversample"},
        {"model.name": "random_forest", "train.imbalance": "effective"},
    ],
    ids=lambda changes: changes["model.name"],
)
def test_a_whole_training_gives_the_same_bytes_with_another_test_part(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    """And other bytes with another validation part, which chooses the epoch and calibrates."""
    kept = []
    for change in (None, "test", "val"):
        folder = tmp_path / str(change)
        folder.mkdir()
        small_beats(folder)
        if change:
            segments = load(folder)
            X = np.array(segments.X)
            X[segments.rows(change)] = 1 - 2 * X[segments.rows(change)]
            np.save(folder / "X.npy", X)
            _relabel(folder / "segments.csv", segments.rows(change))
        run(
            folder,
            changes
            | {
                "model.input": "waveforms",
                "model.aggregate": "none",
                "model.features": ["rr_ratio"],
                "segment.anchor": "beat",
            },
        )
        files = sorted((folder / "checkpoint").iterdir())
        kept.append([file.read_bytes() for file in files])
    untouched, other_test, other_val = kept

    assert untouched == other_test
    assert untouched != other_val
    assert json.loads(untouched[0])["classes"]
