"""CACHET-CADB's short file: its patients are rebuilt and checked, its filter is not run again."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from retrace import params
from retrace.datasets import cachet_cadb
from retrace.datasets.cachet_cadb import BLOCKS, CODES, FILE, WINDOWS, records
from retrace.errors import InputError
from retrace.learning.splits import groups, stratified
from retrace.signals.filters import bandpass, filtered
from retrace.signals.records import Record, unusable
from tests.sources import ROOT

LABELS = {"2": "NSR", "1": "AF", "4": "Other", "3": "Noise"}
SAMPLES = 20  # of a window, to keep the files small; all else is as published


@pytest.fixture(autouse=True)
def short_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cachet_cadb, "SAMPLES", SAMPLES)


def published() -> dict[str, NDArray[np.float64]]:
    """The two arrays: a signal that counts its samples, and the labels of the blocks in turn."""
    codes = [
        code
        for _, counts in BLOCKS
        for code, count in zip(CODES, counts, strict=True)
        for _ in range(count)
    ]
    labels = np.repeat(np.array(codes, np.float64), SAMPLES)
    return {"signal": np.arange(len(labels)) / 1000, "labels": labels}


def write(folder: Path, arrays: dict[str, NDArray[Any]]) -> Path:
    with h5py.File(folder / FILE, "w") as file:
        for name, values in arrays.items():
            file[name] = values
    return folder / FILE


def test_every_window_is_a_record_of_its_patient(tmp_path: Path) -> None:
    write(tmp_path, published())

    found = list(records(tmp_path, labels=LABELS))

    assert Counter(r.label for r in found) == {"AF": 747, "NSR": 615, "Noise": 221, "Other": 19}
    assert Counter(r.patient_id for r in found) == {
        patient: sum(counts) for patient, counts in BLOCKS if sum(counts)
    }
    ids = [r.record_id for r in found]
    assert (ids[0], ids[19], ids[20], ids[-1]) == ("P4_000", "P4_019", "P3_000", "P23_013")
    assert len(set(ids)) == WINDOWS == 1602
    assert {(r.fs, r.leads, r.band) for r in found} == {(1024, ("ECG",), (0.5, 40.0, 3))}
    assert found[0].signal.dtype == np.float32
    whole = np.concatenate([r.signal for r in found], axis=1)
    assert np.array_equal(whole[0], published()["signal"].astype(np.float32))


def test_the_classes_stand_in_the_order_of_the_other_data_sets() -> None:
    committed = yaml.safe_load((ROOT / "params.yaml").read_text())["datasets"]

    classes = [list(committed[name]["labels"].values()) for name in ("cachet_cadb", "cinc2017")]
    assert classes[0] == classes[1]
    assert committed["cachet_cadb"]["labels"] == LABELS


def _window(number: int) -> slice:
    return slice(number * SAMPLES, (number + 1) * SAMPLES)


def _relabelled(number: int, label: float) -> dict[str, NDArray[Any]]:
    arrays = published()
    arrays["labels"][_window(number)] = label
    return arrays


def _other_order() -> dict[str, NDArray[Any]]:
    """As if the first two patients had been written the other way round."""
    arrays = published()
    rows = arrays["labels"][: 159 * SAMPLES].copy()
    arrays["labels"][: 159 * SAMPLES] = np.roll(rows, 139 * SAMPLES)
    return arrays


def _half_a_window() -> dict[str, NDArray[Any]]:
    arrays = published()
    arrays["labels"][SAMPLES + 12 : 2 * SAMPLES] = 2
    return arrays


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        (_other_order(), r"windows 0 to 19 are AF 20, .*patient P4 has AF 7, NSR 6, Noise 7, "),
        (_relabelled(1601, 2), "patient P23 has AF 0, NSR 4, Noise 10, Other 0"),
        (_relabelled(25, 5), "record P3_005: label 5; the published ones are 1 AF, 2 NSR"),
        (_relabelled(25, 1.5), "record P3_005: label 1.5"),
        (_relabelled(25, np.nan), "record P3_005: label nan"),
        (_half_a_window(), "record P4_001: its label changes from 1 to 2 at sample 12"),
        ({"signal": published()["signal"]}, "no array 'labels'; it must hold signal and labels"),
        (
            published() | {"labels": published()["labels"][:-1]},
            r"'labels' has the shape \(32039,\)",
        ),
        (published() | {"signal": np.zeros((1602, SAMPLES))}, r"'signal' has the shape \(1602, 20"),
        (published() | {"signal": np.zeros(32040, np.float32)}, "'signal'.* 32040 float64 values"),
        (published() | {"signal": np.zeros(32040, "S8")}, "'signal'.* 32040 float64 values"),
    ],
)
def test_another_file_is_refused_before_the_first_record(
    arrays: dict[str, NDArray[Any]], words: str, tmp_path: Path
) -> None:
    write(tmp_path, arrays)

    with pytest.raises(InputError, match=f"{words}.*run dvc repro --force fetch"):
        next(records(tmp_path, labels=LABELS))


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04", "cut"])
def test_no_whole_hdf5_file_is_one_sentence(content: bytes | str | None, tmp_path: Path) -> None:
    if content == "cut":
        content = write(tmp_path, published()).read_bytes()[:-SAMPLES]
    if isinstance(content, bytes):
        (tmp_path / FILE).write_bytes(content)

    with pytest.raises(InputError, match=r"hdf5: (no such|not a whole HDF5) file.*repro --force"):
        next(records(tmp_path, labels=LABELS))


def test_a_damaged_structure_ends_in_a_sentence_or_in_records(tmp_path: Path) -> None:
    whole = write(tmp_path, published()).read_bytes()
    structure = np.flatnonzero(np.frombuffer(whole[:2048], np.uint8))  # in front of the arrays
    generator = np.random.default_rng(9)
    refused = 0
    for _ in range(100):
        damaged = bytearray(whole)
        for place in generator.choice(structure, 4):
            damaged[place] = generator.integers(256)
        (tmp_path / FILE).write_bytes(damaged)
        try:
            next(records(tmp_path, labels=LABELS))
        except InputError as error:
            assert "run dvc repro --force fetch" in str(error)
            refused += 1
    assert refused > 50


def _soft_link(file: h5py.File, other: Path) -> None:
    file["signal"] = h5py.SoftLink("/labels")


def _external_link(file: h5py.File, other: Path) -> None:
    file["signal"] = h5py.ExternalLink(other, "signal")


def _external_storage(file: h5py.File, other: Path) -> None:
    file.create_dataset("signal", (32040,), np.float64, external=[(other, 0, 32040 * 8)])


def _virtual(file: h5py.File, other: Path) -> None:
    layout = h5py.VirtualLayout((32040,), np.float64)
    layout[:] = h5py.VirtualSource(other, "signal", (32040,))
    file.create_virtual_dataset("signal", layout)


def _packed(file: h5py.File, other: Path) -> None:
    file.create_dataset("signal", (32040,), np.float64, compression="gzip")


def _group(file: h5py.File, other: Path) -> None:
    file.create_group("signal")


@pytest.mark.parametrize(
    "make", [_soft_link, _external_link, _external_storage, _virtual, _packed, _group]
)
def test_a_file_that_leads_elsewhere_is_not_followed(
    make: Callable[[h5py.File, Path], None], tmp_path: Path
) -> None:
    (tmp_path / "secret").mkdir()
    other = write(tmp_path / "secret", published())
    with h5py.File(tmp_path / FILE, "w") as file:
        file["labels"] = published()["labels"]
        make(file, other)

    with pytest.raises(InputError, match="'signal' is no plain array in the file itself"):
        next(records(tmp_path, labels=LABELS))


def test_a_label_outside_the_map_names_its_record(tmp_path: Path) -> None:
    write(tmp_path, published())
    three = {code: name for code, name in LABELS.items() if name != "Other"}

    with pytest.raises(InputError, match="record P2_069: label '4'; the map has 2, 1, 3: add it"):
        list(records(tmp_path, labels=three))


def test_a_sample_that_is_no_number_is_found(tmp_path: Path) -> None:
    arrays = published()
    arrays["signal"][SAMPLES + 3] = np.nan
    write(tmp_path, arrays)
    first, second, *_ = records(tmp_path, labels=LABELS)

    assert not unusable(first, "error")
    with pytest.raises(InputError, match="record P4_001: 1 samples are no numbers"):
        unusable(second, "error")


@pytest.mark.parametrize("fold", range(5))
def test_a_patient_stands_on_one_side(fold: int, tmp_path: Path) -> None:
    write(tmp_path, published())
    found = list(records(tmp_path, labels=LABELS))
    settings = params.load(ROOT / "params.yaml").split.model_dump(exclude={"method"})
    of_record = groups(
        [{"record_id": r.record_id, "patient_id": str(r.patient_id), "same_as": ""} for r in found]
    )

    sides = [of_record[r.record_id] for r in found]
    subsets = stratified([str(r.label) for r in found], sides, **settings | {"fold": fold})

    # Windows that overlap are of one patient, so that they stand on one side with it.
    assert sides == [f"patient {r.patient_id}" for r in found]
    pairs = set(zip(sides, subsets, strict=True))
    assert len(pairs) == len(set(sides)) == 23
    assert set(subsets) == {"train", "val", "test"}


def _filtered_by_its_publisher() -> Record:
    noise = np.random.default_rng(3).normal(size=(1, 10_240)).astype(np.float32)
    signal = bandpass(noise, fs=1024, low=0.5, high=40, order=3)
    return Record("P4_000", 1024, ("ECG",), signal, band=(0.5, 40.0, 3))


def test_the_published_band_is_not_filtered_again() -> None:
    record = _filtered_by_its_publisher()

    assert filtered(record, low=0.5, high=40, order=3) is record


@pytest.mark.parametrize(
    ("low", "high", "order"), [(0.5, 50, 3), (0.1, 40, 3), (0.5, 10, 3), (0.5, 40, 4)]
)
def test_another_filter_than_the_published_one_is_refused(
    low: float, high: float, order: int
) -> None:
    with pytest.raises(
        InputError, match=r"record P4_000: .*low to 0\.5, high to 40 and order to 3"
    ):
        filtered(_filtered_by_its_publisher(), low=low, high=high, order=order)
