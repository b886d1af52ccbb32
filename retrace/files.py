"""Files that are either whole or not there: write beside, then rename."""

import csv
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import DTypeLike, NDArray

from retrace.errors import InputError


def _sibling(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name}.{os.getpid()}.part")


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """A temporary sibling of `path`, renamed to it on success and removed on failure."""
    part = _sibling(path)
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A temporary empty sibling folder, which takes the place of `path` on success."""
    part = _sibling(path)
    for left in path.parent.glob(f".{path.name}.*.part"):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    part.mkdir()
    try:
        yield part
        shutil.rmtree(path, ignore_errors=True)
        part.rename(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


class CsvWriter:
    """Append rows to a table with LF line ends; None becomes an empty field, floats keep every
    digit. Use it as a context manager."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self._stream = path.open("w", newline="", encoding="utf-8")
        self._writer = csv.writer(self._stream, lineterminator="\n")
        self._writer.writerow(columns)

    def append(self, rows: Iterable[Sequence[Any]]) -> None:
        """Add `rows`, each with a value for every column."""
        self._writer.writerows(["" if value is None else value for value in row] for row in rows)

    def __enter__(self) -> "CsvWriter":
        return self

    def __exit__(self, *error: object) -> None:
        self._stream.close()


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a whole table; the format is that of `CsvWriter`."""
    with new_file(path) as part, CsvWriter(part, columns) as table:
        table.append(rows)


def read_csv(path: Path, columns: Sequence[str] = ()) -> list[dict[str, str]]:
    """Read a table with a header row; every name in `columns` must be one of its columns."""
    return list(each_row(path, columns))


def each_row(path: Path, columns: Sequence[str] = ()) -> Iterator[dict[str, str]]:
    """The same, a row at a time."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            found = reader.fieldnames or []
            if missing := [name for name in columns if name not in found]:
                raise InputError(
                    f"{path}: no column {', '.join(missing)}; the first line names the columns, "
                    f"found {', '.join(found) or 'nothing'}: add what is missing"
                )
            yield from reader
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; the table is needed: write it there") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a UTF-8 CSV table ({error}): save it as one") from None


def write_json(path: Path, value: Mapping[str, Any] | Sequence[Any]) -> None:
    """Write JSON that is the same for the same value; NaN and infinity are refused."""
    with new_file(path) as part:
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
        part.write_text(text + "\n", encoding="utf-8")


def _not_whole(path: Path, why: str) -> InputError:
    return InputError(
        f"{path}: not a whole .npy file ({why}); it must be what its stage wrote: run dvc repro, "
        "or dvc checkout"
    )


class NpyReader:
    """Read rows of an `.npy` file in order: memory holds only what was asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with path.open("rb") as stream:
                np.lib.format.read_magic(stream)
                shape, _, self.dtype = np.lib.format.read_array_header_1_0(stream)
                self._offset = stream.tell()
        except (OSError, ValueError) as error:
            raise _not_whole(path, str(error)) from None
        self.shape: tuple[int, ...] = shape
        needed = self._offset + int(np.prod(shape, dtype=np.int64)) * self.dtype.itemsize
        if path.stat().st_size != needed:
            raise _not_whole(path, f"{path.stat().st_size} bytes instead of {needed}")

    def __len__(self) -> int:
        return self.shape[0]

    def rows(self, start: int, stop: int) -> NDArray[Any]:
        """Rows start:stop, an array of shape (stop - start, *row_shape)."""
        stop = max(start, min(stop, len(self)))
        row_shape = self.shape[1:]
        values = int(np.prod(row_shape, dtype=np.int64))
        flat: NDArray[Any] = np.fromfile(
            self._path,
            self.dtype,
            count=(stop - start) * values,
            offset=self._offset + start * values * self.dtype.itemsize,
        )
        return flat.reshape(stop - start, *row_shape)

    def mapped(self) -> NDArray[Any]:
        """The whole array, mapped into memory: for rows in any order."""
        array: NDArray[Any] = np.load(self._path, mmap_mode="r", allow_pickle=False)
        return array


class NpyWriter:
    """Append rows to an `.npy` file whose length is not known beforehand.

    The header is written with room for any length and overwritten on closing, so that a data
    set of any size passes through in bounded memory. Use it as a context manager.
    """

    def __init__(self, path: Path, row_shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self._path = path
        self._row_shape = row_shape
        self._dtype = np.dtype(dtype)
        self._rows = 0
        self._stream: BinaryIO = path.open("wb")
        self._write_header()

    @property
    def rows(self) -> int:
        """How many rows stand in the file so far."""
        return self._rows

    def append(self, rows: NDArray[Any]) -> None:
        """Add `rows`, an array of shape (k, *row_shape)."""
        if rows.shape[1:] != self._row_shape:
            raise ValueError(f"rows of shape {rows.shape[1:]}, expected {self._row_shape}")
        self._stream.write(np.ascontiguousarray(rows, self._dtype).tobytes())
        self._rows += len(rows)

    def _write_header(self) -> None:
        # NumPy pads this header for a first axis of up to 21 digits: its length never changes.
        np.lib.format.write_array_header_1_0(
            self._stream,
            {
                "descr": np.lib.format.dtype_to_descr(self._dtype),
                "fortran_order": False,
                "shape": (self._rows, *self._row_shape),
            },
        )

    def __enter__(self) -> "NpyWriter":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Write the final length into the header and close the file."""
        with self._stream:
            self._stream.seek(0)
            self._write_header()
