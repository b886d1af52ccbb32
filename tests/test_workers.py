"""Work that is spread over processes: the results, the order and the errors of one process."""

import os
import pickle
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from retrace import workers
from retrace.errors import InputError
from retrace.synthesis import synthesise
from retrace.workers import AHEAD, BATCH, spread
from stages import bandpass, cwt, segment
from tests.chores import die, home, square
from tests.sources import ROOT
from tests.train_small import small_params

STAGES = (bandpass, segment, cwt)


def built(folder: Path) -> dict[str, bytes]:
    """What the three stages make of the recordings in the current folder."""
    for stage in STAGES:
        stage.main()
    return files_of(folder, "filtered", "waveforms", "scalograms")


def files_of(folder: Path, *names: str) -> dict[str, bytes]:
    """The files in these folders below data/."""
    files = [path for name in names for path in sorted((folder / "data" / name).iterdir())]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with params.yaml and synthetic recordings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    settings = small_params(tmp_path, {"synthetic.patients": 16})
    (tmp_path / "data/raw").mkdir(parents=True)
    synthesise(tmp_path / "data/raw", **settings.synthetic.model_dump())
    return tmp_path


def test_stages_write_the_same_bytes_for_any_number_of_workers(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "BATCH", 20_000)  # so that there is something to share
    found = []
    for number in ("1", "2", "4"):
        monkeypatch.setenv("RETRACE_WORKERS", number)
        found.append(built(folder))

    assert len(found[0]) == 9
    assert found[1] == found[0] and found[2] == found[0]


def test_the_first_error_in_order_is_the_one_that_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RETRACE_WORKERS", "2")
    monkeypatch.setattr(workers, "BATCH", 1)

    def items() -> Iterator[int]:
        yield from range(14)
        raise InputError("cannot be read")  # long before 13 has been worked on

    with spread() as mapped:
        results = mapped(square, items())
        assert [next(results) for _ in range(13)] == [n * n for n in range(13)]
        with pytest.raises(InputError, match="13 brings bad luck"):
            next(results)


def test_an_item_that_cannot_be_read_is_told_after_those_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RETRACE_WORKERS", "2")

    def items() -> Iterator[int]:
        yield 3
        raise InputError("cannot be read")

    with spread() as mapped:
        results = mapped(square, items())
        assert next(results) == 9
        with pytest.raises(InputError, match="cannot be read"):
            next(results)


def test_a_bad_record_is_the_same_sentence_and_leaves_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = []
    small_params(folder, {"bandpass.high": 70})
    for number in ("1", "2"):
        monkeypatch.setenv("RETRACE_WORKERS", number)
        with pytest.raises(InputError) as raised:
            bandpass.main()
        said.append(str(raised.value))

    assert said[0] == said[1]
    assert "bandpass.high is 70 Hz" in said[0]
    assert [path.name for path in (folder / "data").iterdir()] == ["raw"]


def test_what_is_read_ahead_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETRACE_WORKERS", "2")
    drawn = []

    def items() -> Iterator[bytes]:
        for number in range(24):
            drawn.append(number)
            yield bytes(BATCH)

    with spread() as mapped:
        next(mapped(len, items()))

    assert len(drawn) <= AHEAD * 2 + 1


@pytest.mark.parametrize(("budget", "most"), [(0, 3), (7 * BATCH // 2, 4)])
def test_big_items_are_under_way_by_their_bytes_and_one_for_each_worker(
    monkeypatch: pytest.MonkeyPatch, budget: int, most: int
) -> None:
    monkeypatch.setattr(workers, "BUDGET", budget)
    submitted: list[object] = []
    answered: list[object] = []

    def submit(_: object, batch: list[bytes]) -> Callable[[], workers.Answer]:
        submitted.append(batch)

        def answer() -> workers.Answer:
            under_way.append(len(submitted) - len(answered))
            answered.append(batch)
            return [len(batch)], None

        return answer

    under_way: list[int] = []
    items = (bytes(BATCH) for _ in range(12))

    results = list(workers._in_order(workers.Pool(2, submit), len, items))

    assert results == [1] * 12 and max(under_way) == most


def test_a_function_that_cannot_be_sent_is_an_error_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RETRACE_WORKERS", "2")

    with pytest.raises((AttributeError, pickle.PicklingError)), spread() as mapped:
        list(mapped(lambda item: item, [1]))


def test_little_work_stays_in_this_process_and_much_leaves_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RETRACE_WORKERS", raising=False)
    monkeypatch.setattr(workers, "_cpus", lambda: 2)

    with spread() as mapped:
        assert set(mapped(home, [b""] * 10)) == {os.getpid()}
    monkeypatch.setattr(workers, "PATIENCE", -1)
    with spread() as mapped:
        first, *others = mapped(home, [b""] * 10)

    assert first == os.getpid() and os.getpid() not in others and len(others) == 9


def test_a_worker_that_is_killed_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETRACE_WORKERS", "2")

    with pytest.raises(InputError, match="RETRACE_WORKERS below 2"), spread() as mapped:
        list(mapped(die, [1]))


def test_a_folder_too_deep_for_sockets_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETRACE_WORKERS", "2")
    monkeypatch.setattr(tempfile, "tempdir", "/" + "t" * 100)

    with pytest.raises(InputError, match=r"TMPDIR is .* set a shorter one"), spread() as mapped:
        list(mapped(square, [1]))


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", "²"])
def test_a_number_of_workers_that_is_none_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("RETRACE_WORKERS", text)

    with pytest.raises(InputError, match=f"RETRACE_WORKERS is '{text}' but must be"), spread():
        pass


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_their_driver(how: signal.Signals) -> None:
    driver = subprocess.Popen(
        [sys.executable, "-m", "tests.chores"],
        cwd=ROOT,
        env=os.environ | {"RETRACE_WORKERS": "2"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert driver.stdout is not None
    assert {driver.stdout.readline() for _ in range(50)}  # they are at work
    # Ctrl-C reaches every process of a terminal; a driver is killed alone.
    os.killpg(driver.pid, how) if how is signal.SIGINT else driver.kill()

    driver.communicate(timeout=300)  # returns when the last of them has let go of its other end
