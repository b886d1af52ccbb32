"""The segments of a part of a run, in a file of their own: they outlast the run's work tree."""

import hashlib
import json
import lzma
import math
import zipfile
import zlib
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from retrace.deploy.card import Card
from retrace.deploy.plausible import check_domain
from retrace.errors import InputError
from retrace.files import new_file, read_csv
from retrace.signals.plan import BEAT_FEATURES

WAVEFORMS, SPLIT = Path("data/waveforms"), Path("data/split.csv")
RECORDS = Path("data/filtered/records.csv")
# What zipfile raises of an archive that is damaged, beside what any file may.
DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, RuntimeError)
LARGEST = 2 << 30  # bytes of a part, which stands in memory: MIT-BIH's test part has 40 MB

Subset = Literal["val", "test"]


@dataclass(frozen=True, eq=False)
class Part:
    """n segments with their true classes, in the order of the run's tables.

    X: (n, *card.shape). features: of beats (n, 4), named by `plan.BEAT_FEATURES`, else (n, 0):
    another model than the run's own may ask for others of them. labels, records: n. persons, sexes:
    n, "" where the data set does not say, ages: (n,) years, likewise NaN. split: SHA-256 of the
    run's split.csv.
    """

    X: NDArray[Any]
    features: NDArray[np.float32]
    labels: NDArray[np.str_]
    records: NDArray[np.str_]
    persons: NDArray[np.str_]
    ages: NDArray[np.float64]
    sexes: NDArray[np.str_]
    split: str


def from_run(root: Path, card: Card, subset: Subset) -> Part:
    """The part of the run whose data lie in `root`/data.

    Raises InputError where they are not those that the model of this card was made from, or are
    larger than LARGEST.
    """
    try:
        check_run(root, card)
        return _read(root, card, subset)
    except (OSError, ValueError, KeyError, InputError) as error:
        raise InputError(
            f"data: the {subset} part of the model's own run is not here ({reason(root, error)}): "
            "run its recipe, then dvc pull"
        ) from None


def _read(root: Path, card: Card, subset: Subset) -> Part:
    split = read_csv(root / SPLIT, ("segment_id", "subset"))
    features = BEAT_FEATURES if card.unit == "beat" else ()
    columns = ("segment_id", "record_id", "label", *features)
    segments = read_csv(root / WAVEFORMS / "segments.csv", columns)
    X = np.load(array_of(root, card), mmap_mode="r", allow_pickle=False)
    if [row["segment_id"] for row in split] != [row["segment_id"] for row in segments] or len(
        X
    ) != len(split):
        raise InputError("split.csv, segments.csv and X.npy are of different runs")
    people = {
        row["record_id"]: row
        for row in read_csv(root / RECORDS, ("record_id", "patient_id", "age", "sex"))
    }
    rows = [number for number, row in enumerate(split) if row["subset"] == subset]
    size = len(rows) * math.prod(X.shape[1:]) * X.itemsize
    if not rows or size > LARGEST:
        raise InputError(f"{len(rows)} segments, {size} bytes; from 1 to {LARGEST} are kept")
    chosen = [segments[row] for row in rows]
    owners = [people[row["record_id"]] for row in chosen]
    told = [[float(row[name] or "nan") for name in features] for row in chosen]
    return Part(
        X=X[rows],
        features=np.array(told, np.float32).reshape(len(rows), len(features)),
        labels=np.array([row["label"] for row in chosen]),
        records=np.array([row["record_id"] for row in chosen]),
        persons=np.array([owner["patient_id"] for owner in owners]),
        ages=np.array([float(owner["age"] or "nan") for owner in owners]),
        sexes=np.array([owner["sex"] for owner in owners]),
        split=_digest(root / SPLIT, stamp(root / SPLIT)),
    )


def save(path: Path, part: Part) -> None:
    """Write it as .npz, whole or not at all."""
    with new_file(path) as unfinished, unfinished.open("wb") as stream:
        np.savez(stream, **vars(part))


def load(path: Path) -> Part:
    """What `save` wrote. Raises InputError where it is missing, damaged, or larger than LARGEST."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = {f"{field.name}.npy" for field in fields(Part)}
            if set(archive.namelist()) != names:
                raise ValueError("other arrays than those of a part")
            if sum(one.file_size for one in archive.infolist()) > LARGEST + (64 << 20):
                raise ValueError(f"more than {LARGEST} bytes")
            found: dict[str, Any] = {}
            for one in archive.infolist():
                with archive.open(one) as stream:
                    _check_size(stream, one.file_size)
                with archive.open(one) as stream:
                    found[one.filename.removesuffix(".npy")] = np.lib.format.read_array(
                        stream, allow_pickle=False
                    )
        part = Part(**found | {"split": str(found["split"])})
        lengths = {len(values) for name, values in vars(part).items() if name != "split"}
        if lengths != {len(part.X)} or part.features.ndim != 2:
            raise ValueError("arrays of different lengths")
    except (OSError, ValueError, TypeError, EOFError, *DAMAGED) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise InputError(
            f"{path.name}: no part of a run that can be read ({why}); it must be what the "
            "training wrote: train again"
        ) from None
    return part


def _check_size(stream: IO[bytes], size: int) -> None:
    """Refuse an array whose header promises more than the file holds, before memory is taken."""
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0
    if version != (1, 0):
        read = np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    if dtype.hasobject or math.prod(shape) * dtype.itemsize > size:
        raise ValueError("an array that is larger than its file")


def array_of(root: Path, card: Card) -> Path:
    """The segments of the run in `root`/data."""
    return root / ("data/scalograms" if card.domain.representation else WAVEFORMS) / "X.npy"


def check_run(root: Path, card: Card) -> None:
    """Refuse data of another split than that of the model's run, or of another domain.

    Raises InputError, OSError or ValueError; see `reason`.
    """
    split = root / SPLIT
    if _digest(split, stamp(split)) != card.hashes.get("split"):
        raise InputError("data/split.csv is of another run")
    text = array_of(root, card).with_name("domain.json").read_text(encoding="utf-8")
    check_domain("its segments", json.loads(text), card)


def reason(root: Path, error: Exception) -> str:
    """What is wrong with the data of a run, in words that name no folder of the server."""
    if isinstance(error, OSError):
        return f"{Path(str(error.filename)).name}: {error.strerror}"
    return str(error).replace(f"{root}/", "")


def stamp(path: Path) -> tuple[int, int, int]:
    """What changes when a file does."""
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


@lru_cache(maxsize=4)
def _digest(path: Path, stamp: tuple[int, ...]) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
