"""Files are whole or not there."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrace.errors import InputError
from retrace.files import (
    NpyReader,
    NpyWriter,
    new_file,
    new_folder,
    read_csv,
    write_csv,
    write_json,
)


@given(parts=st.lists(st.integers(0, 5), max_size=6))
def test_a_streamed_npy_file_is_the_array(
    tmp_path_factory: pytest.TempPathFactory, parts: list[int]
) -> None:
    path = tmp_path_factory.mktemp("npy") / "X.npy"
    blocks = [np.full((k, 2, 3), i, np.float32) for i, k in enumerate(parts)]

    with NpyWriter(path, (2, 3), np.float32) as writer:
        for block in blocks:
            writer.append(block)

    whole = np.concatenate([np.empty((0, 2, 3), np.float32), *blocks])
    np.testing.assert_array_equal(np.load(path), whole)
    reader = NpyReader(path)
    np.testing.assert_array_equal(reader.rows(1, 4), whole[1:4])


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    with pytest.raises(ZeroDivisionError), new_file(path) as part:
        part.write_text("half of the new")
        raise ZeroDivisionError

    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_text() == "old"


def test_a_failure_leaves_the_old_folder_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").touch()

    with pytest.raises(ZeroDivisionError), new_folder(tmp_path / "out") as part:
        (part / "new").touch()
        raise ZeroDivisionError

    assert [str(f.relative_to(tmp_path)) for f in tmp_path.rglob("*")] == ["out", "out/old"]


def test_a_table_comes_back_as_written(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", ("a", "b"), [(0.1, None), ("x,y", 3)])

    assert (tmp_path / "t.csv").read_bytes() == b'a,b\n0.1,\n"x,y",3\n'
    assert read_csv(tmp_path / "t.csv")[0] == {"a": "0.1", "b": ""}


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", ("a",), [])

    with pytest.raises(InputError, match="no column label"):
        read_csv(tmp_path / "t.csv", ("a", "label"))


def test_json_refuses_what_json_does_not_know(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"x": float("nan")})

    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    (tmp_path / ".out.1.part").mkdir()

    with new_folder(tmp_path / "out"):
        pass

    assert [file.name for file in tmp_path.iterdir()] == ["out"]
