"""Tables of single beats, in the layout of Kaggle's `shayanfazeli/heartbeat`.

A row is a beat: 187 samples at 125 Hz, which is 1.5 s, and its label, 0 to 4 or 0 to 1. It starts
at the R peak, lasts 1.2 median RR of the 10 s around it, was scaled to 0 to 1 (so that its unit is
not mV), and is completed with zeros. Neither patient nor recording is named.
Kachuee, Fazeli and Sarrafzadeh, "ECG heartbeat classification: a deep transferable representation",
IEEE ICHI 2018, https://arxiv.org/abs/1805.00794.

The .csv files have no header, and their last column is the label, written as a float. Their Parquet
twins (.parq) call that column `target`.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrace.errors import InputError
from retrace.signals.records import Record

SAMPLES = 187
_FS = 125.0
_TARGET = "target"
_CHUNK = 4096  # rows in memory at a time
_PARTS = ("train", "test")
_AGAIN = "put the published file in its place"
Rows = NDArray[np.float64]


def tables(folder: Path, forms: Sequence[Mapping[str, str]]) -> list[tuple[Path, str]]:
    """The files of the first of `forms` that lies in `folder`, and what each of them holds.

    A form maps file names to contents. Empty where none is there; raises InputError where one is
    there in part.
    """
    for form in forms:
        missing = [name for name in form if not (folder / name).is_file()]
        if len(missing) < len(form):
            if missing:
                raise InputError(
                    f"{missing[0]} is missing; {', '.join(form)} belong together: put it beside "
                    "the others"
                )
            return [(folder / name, content) for name, content in form.items()]
    return []


def read_beats(path: Path, labels: Mapping[str, str | None], content: str) -> Iterator[Record]:
    """Yield a record for each row whose label is not left out, named by `content` and its number.

    content: what the file holds, "train" or "test" where the publisher has divided the beats. A row
    has the number of its line, from 1. Memory holds a few thousand rows.

    Raises InputError, which names file and line, for a row that is not 187 numbers from 0 to 1 and
    a label of the map.
    """
    classes = {float(key): name for key, name in labels.items() if key.isdecimal()}
    number = 0
    for rows in _read(path):
        _check(path.name, number + 1, rows, list(classes))
        beats = rows[:, :SAMPLES].astype(np.float32)
        for beat, code in zip(beats, rows[:, SAMPLES].tolist(), strict=True):
            number += 1
            if (label := classes[code]) is not None:
                yield Record(
                    record_id=f"{content}_{number:05d}",
                    fs=_FS,
                    leads=("II",),
                    signal=beat[None],
                    label=label,
                    part=content if content in _PARTS else None,
                    cut=True,
                )
    if number == 0:
        raise InputError(f"{path.name}: empty; a row is needed for each beat: {_AGAIN}")


def _check(name: str, first: int, rows: Rows, codes: list[float]) -> None:
    """Refuse rows, of which the first has the number `first`, with a wrong sample or label."""
    right = (rows[:, :SAMPLES] >= 0) & (rows[:, :SAMPLES] <= 1)  # neither is true of NaN
    known = np.isin(rows[:, SAMPLES], codes)
    whole = right.all(axis=1) & known
    if whole.all():
        return
    row = int(whole.argmin())
    if not right[row].all():
        column = int(right[row].argmin())
        raise InputError(
            f"{name}, line {first + row}: sample {column + 1} is {rows[row, column]:g}; each must "
            f"be a number from 0 to 1: {_AGAIN}"
        )
    raise InputError(
        f"{name}, line {first + row}: label {rows[row, SAMPLES]:g}; the map has "
        f"{', '.join(f'{code:g}' for code in codes)}: {_AGAIN}, or add the label to labels under "
        "datasets in params.yaml"
    )


def _read(path: Path) -> Iterator[Rows]:
    """The rows (k, 188) of a .csv or .parq file, piece by piece; an empty cell is NaN."""
    try:
        from pyarrow import ArrowException
    except ImportError:
        raise InputError(
            f"{path.name}: it is read by pyarrow, which is not installed: run `make`"
        ) from None
    if path.stat().st_size == 0:
        return
    try:
        for batch in _parquet(path) if path.suffix == ".parq" else _csv(path):
            columns = [column.to_numpy(zero_copy_only=False) for column in batch]
            yield np.stack(columns, axis=1).astype(np.float64)
    except (ArrowException, OSError, ValueError) as error:
        if path.suffix != ".parq":
            _find_fault(path)
        raise InputError(f"{path.name}: cannot be read whole ({error}): {_AGAIN}") from None


def _csv(path: Path) -> Iterator[Any]:
    from pyarrow import csv, float64

    names = [str(column) for column in range(SAMPLES + 1)]
    with csv.open_csv(
        path,
        csv.ReadOptions(use_threads=False, column_names=names),
        csv.ParseOptions(ignore_empty_lines=False),  # a row has the number of its line
        csv.ConvertOptions(column_types=dict.fromkeys(names, float64())),
    ) as reader:
        yield from reader


def _find_fault(path: Path) -> None:
    """Name the first line that is no row of numbers: pyarrow does not always say which it is."""
    with path.open(encoding="utf-8-sig", errors="replace") as stream:
        for number, line in enumerate(stream, start=1):
            cells = line.strip().split(",")
            try:
                if len(cells) == len([float(cell) for cell in cells]) == SAMPLES + 1:
                    continue
                fault = f"{len(cells)} values; expected {SAMPLES} samples and a label"
            except ValueError as error:
                fault = f"{str(error)[:80]}; all must be numbers"
            raise InputError(f"{path.name}, line {number}: {fault}: {_AGAIN}")


def _parquet(path: Path) -> Iterator[Any]:
    from pyarrow.parquet import ParquetFile

    with ParquetFile(path) as file:
        # Pandas keeps its row labels in a column of such a name.
        names = [n for n in file.schema_arrow.names if not n.startswith("__index_level_")]
        if names.count(_TARGET) != 1 or len(names) != SAMPLES + 1:
            raise InputError(
                f"{path.name}: {len(names)} columns, {names.count(_TARGET)} of them {_TARGET}; "
                f"expected {SAMPLES} of samples and one {_TARGET} with the label: {_AGAIN}"
            )
        names.sort(key=_TARGET.__eq__)  # the samples in their order, then the label
        for batch in file.iter_batches(_CHUNK, columns=names):
            yield batch.select(names)
