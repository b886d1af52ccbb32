"""A disk that is full or locked is one sentence, and what was begun is gone."""

import errno
import os
from pathlib import Path

import pytest
from torch import nn

from retrace.errors import reported
from retrace.files import write_csv
from retrace.learning.checkpoint import save_weights
from retrace.learning.classifier import Network
from tests.scratch import copy_repository, run

FULL = Path("/dev/full")  # every write to it fails as on a full disk
needs_full = pytest.mark.skipif(not FULL.exists(), reason="no /dev/full on this system")


@needs_full
def test_a_stage_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    folder = copy_repository(tmp_path)
    numbers = range(30)
    columns = ("segment_id", "record_id", "start", "label")
    rows = [(i, i, 0, "ABC"[i % 3]) for i in numbers]
    write_csv(folder / "data/waveforms/segments.csv", columns, rows)
    people = ("record_id", "patient_id", "same_as")
    write_csv(folder / "data/filtered/records.csv", people, [(i, i, None) for i in numbers])
    # The stage writes beside its output first: there it finds the full disk.
    script = "ln -s /dev/full data/.split.csv.$$.part; exec sh stages/python.sh -m stages.split"
    before = sorted(folder.glob("data/**/*"))

    said = run(folder, "sh", "-c", 'sh -c "$0"; echo exit code $?', script)

    assert said.startswith("error: the disk is full")
    assert said.splitlines()[1:] == ["exit code 1"]
    assert sorted(folder.glob("data/**/*")) == before


@needs_full
def test_weights_that_do_not_fit_are_reported_as_a_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    (tmp_path / f".{path.name}.{os.getpid()}.part").symlink_to(FULL)

    with pytest.raises(OSError) as raised:
        save_weights(path, Network(nn.Linear(100, 100), (1, 100), 0, 5))

    assert raised.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


def test_what_another_user_owns_is_named_with_the_remedy(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended, reported():
        raise PermissionError(errno.EACCES, "Permission denied", "data/raw")

    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith("error: data/raw: Permission denied;") and "chown" in said
    assert said.count("\n") == 1


def test_other_faults_of_the_system_keep_their_traceback() -> None:
    with pytest.raises(ChildProcessError), reported():
        raise ChildProcessError(errno.ECHILD, "No child processes")
