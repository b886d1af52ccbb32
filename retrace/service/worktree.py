"""A training at work: DVC in a work tree of its own.

Below HOME/trainings: ID.out what came of it, until it is registered; ID.log what DVC said, kept
where it failed; ID.own the own recordings that it is to learn from, until it begins; `runs` where
one that was interrupted goes on; `cache` DVC's cache. Where own recordings are learned from, the
cache is in the work tree. That is removed whatever becomes of it, and neither the repository's own
work tree nor its cache is touched.
"""

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from retrace.errors import InputError
from retrace.service import results
from retrace.service.settings import Settings
from retrace.service.training import OWN
from retrace.sources import pin

TARGETS = ("export", "evaluate")  # the test score is shown, nothing is chosen by it
FOLDER, OUT, LOG, RUNS = "trainings", ".out", ".log", "runs"
KEPT = 7 * 86_400.0  # s; then what was interrupted is not resumed, and what failed is not asked for
LOOK = 0.25  # s between looks at DVC
GRACE = 4.0  # s for DVC to end when it is told to; a worker that must stop has ten
GB = 2**20  # in KB, the unit of ulimit
# Linux counts what a process may write to; of the address space (-v) CUDA only reserves far more.
BOUNDED = 'ulimit -d "$0" && exec "$@"'
FULL = re.compile(r"MemoryError|bad_alloc|can't allocate memory")  # Python, C++, PyTorch
ID = re.compile(r"[0-9a-f]{32}")
STAGE = re.compile(r"[Ss]tage '(\w+)'")  # how DVC's lines name the stage that it comes to
EPOCH = re.compile(r"^ *(\d+)[* ] +\d", re.MULTILINE)  # and a row of the table of epochs
# What DVC and the stages need not know, and what of that they do.
OURS, SHARED = ("RETRACE_", "DATABASE_URL", "PREDICTOR_URL", "TRAINER_URL"), ("RETRACE_MIRROR",)

Progress = Callable[[float], None]


def train(
    settings: Settings, name: str, text: str, progress: Progress, own: Path | None = None
) -> dict[str, Any]:
    """Run the pipeline on params `text` up to `TARGETS`, and return what came of it.

    name: of its files. progress: called now and then with the share of the stages that are done;
    what it raises ends the training. own: a folder of own recordings, which is moved into the work
    tree. Waits while another training of this folder runs.

    Returns validation and test scores, the SHA-256 of weights and model file, the commit, the
    dvc.lock and what it was trained on; HOME/trainings/ID.out then holds the files of `results`. A
    training that came so far before is not done again. Raises InputError for one that fails, takes
    longer than `settings.training_hours` or more memory than `settings.training_gigabytes`.
    """
    folder = settings.home.absolute() / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    out, log = folder / f"{name}{OUT}", folder / f"{name}{LOG}"
    if (found := results.read(out)) is not None:
        return found
    with _alone(folder, progress) as left:
        tree = folder / name
        try:
            _clone(settings.root.absolute(), tree)
            (tree / "params.yaml").write_text(text, encoding="utf-8")
            (folder / RUNS).mkdir(exist_ok=True)
            (tree / RUNS).symlink_to(folder / RUNS)
            if own is None:
                lines = f"[cache]\n    dir = {folder / 'cache'}\n"
                (tree / ".dvc/config.local").write_text(lines, encoding="utf-8")
            else:
                own.rename(tree / OWN)
                manifest = tree / "stages/sources/collected.sha256"
                manifest.write_text(pin(tree / OWN), encoding="utf-8")
            _repro(tree, log, settings, left, progress)
            found = results.write(tree, out, progress)
            log.unlink()
            return found
        except InputError:  # what DVC said may be asked for
            raise
        except BaseException:
            log.unlink(missing_ok=True)
            raise
        finally:
            shutil.rmtree(tree, ignore_errors=True)
            if own is not None:
                shutil.rmtree(own, ignore_errors=True)


def sweep(settings: Settings, wanted: Callable[[], Collection[str]]) -> None:
    """Remove what killed processes have left, and what is older than KEPT.

    wanted: the ids of the trainings that wait or run, whose files stay.
    """
    folder = settings.home.absolute() / FOLDER
    if not folder.is_dir():
        return
    with suppress(_Busy), _alone(folder, _busy):
        pass  # what is removed on the way is all
    here = [path for path in folder.iterdir() if ID.fullmatch(path.name.lstrip(".")[:32])]
    known = wanted()  # later than the look: what was seen and is not wanted is over
    for path in here:
        name = path.name.lstrip(".")
        if name[:32] not in known and name != name[:32] and path.suffix != LOG:
            shutil.rmtree(path, ignore_errors=True)
    for path in (*folder.glob(f"*{LOG}"), *folder.glob(f"{RUNS}/*")):
        with suppress(OSError):  # a training that writes there; another account's
            newest = max(one.lstat().st_mtime for one in (path, *path.rglob("*")))
            if newest < time.time() - KEPT:
                path.unlink() if path.is_file() else shutil.rmtree(path, ignore_errors=True)


class _Busy(Exception):
    """Somebody else trains."""


def _busy(share: float) -> None:
    raise _Busy


@contextmanager
def _alone(folder: Path, progress: Progress) -> Iterator[IO[str]]:
    """The folder's only training. Yields the file that its processes hold locked while they live.

    Who has the turn finds that file locked only where a worker was killed and left its processes
    behind: these are ended, and work trees that were left are removed.
    """
    with (folder / ".turn").open("a+") as turn, (folder / ".processes").open("a+") as left:
        while not _locked(turn):
            progress(0.0)
            time.sleep(LOOK)
        while not _locked(left):
            left.seek(0)
            with suppress(ValueError, ProcessLookupError):
                os.killpg(int(left.read()), signal.SIGKILL)
            progress(0.0)
            time.sleep(LOOK)
        left.truncate(0)
        for path in folder.iterdir():
            if ID.fullmatch(path.name):
                shutil.rmtree(path, ignore_errors=True)
        yield left


def _locked(stream: IO[str]) -> bool:
    """Lock a file until it is closed here and in every process that has inherited it; False where
    it is another's."""
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _clone(root: Path, tree: Path) -> None:
    """The last commit of a repository as a work tree of its own, but for the bundled store."""
    for command in (
        ["clone", "--quiet", "--shared", "--no-checkout", str(root), str(tree)],
        ["-C", str(tree), "sparse-checkout", "set", "--no-cone", "/*", "!/store/"],
        ["-C", str(tree), "checkout", "--quiet"],
    ):
        done = subprocess.run(["git", *command], capture_output=True, text=True, check=False)
        if done.returncode:
            raise InputError(
                f"training: git {command[0]}: {done.stderr.strip()[:300]}; the service must be "
                "able to clone its repository: correct that on the server"
            )


def _repro(tree: Path, log: Path, settings: Settings, left: IO[str], progress: Progress) -> None:
    """`dvc repro` up to TARGETS; its processes end with this function, however that ends."""
    import yaml  # of the extra `train`, which a gateway need not have

    stages = list(yaml.safe_load((tree / "dvc.yaml").read_text(encoding="utf-8"))["stages"])
    stages = stages[: max(map(stages.index, TARGETS)) + 1]
    epochs = yaml.safe_load((tree / "params.yaml").read_text(encoding="utf-8"))["epochs"]
    deadline = time.monotonic() + settings.training_hours * 3600
    memory = f"{settings.training_gigabytes * GB:.0f}"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            ["sh", "-c", BOUNDED, memory, sys.executable, "-m", "dvc", "repro", *TARGETS],
            cwd=tree,
            env=_environment() | {"DVC_SITE_CACHE_DIR": str(tree / ".dvc/tmp/site")},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=[left.fileno()],
        )
        left.write(str(process.pid))
        left.flush()
        try:
            while process.poll() is None:
                progress(_share(log, stages, epochs))
                if time.monotonic() > deadline:
                    raise InputError(
                        f"training: took longer than {settings.training_hours:g} h, the limit of "
                        "the service: ask for fewer epochs, or raise RETRACE_TRAINING_HOURS"
                    )
                time.sleep(LOOK)
        finally:
            _end(process)
    if process.returncode and FULL.search(_text(log)):
        raise InputError(
            f"training: needs more memory than {settings.training_gigabytes:g} GB, the limit of "
            "the service: ask for less data or smaller batches, or raise RETRACE_TRAINING_GIGABYTES"
        )
    if process.returncode:
        raise InputError(f"training: {_why(log)}")


def _environment() -> dict[str, str]:
    """Ours without its secrets, as if the environment of this process were activated."""
    ours = {
        name: value
        for name, value in os.environ.items()
        if name in SHARED or not name.startswith(OURS)
    }
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return ours | {"VIRTUAL_ENV": sys.prefix, "PATH": path, "DVC_NO_ANALYTICS": "1"}


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End DVC and its stages; nothing where they have ended."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)


def _share(log: Path, stages: list[str], epochs: float) -> float:
    """How many of the stages lie behind the last one that DVC has named, and of training how many
    of the epochs."""
    text = _text(log)
    named = [found for found in STAGE.finditer(text) if found[1] in stages]
    if not named:
        return 0.0
    rows = EPOCH.findall(text, named[-1].end()) if named[-1][1] == "train" else []
    part = min(int(rows[-1]) / epochs, 1.0) if rows else 0.0
    return (stages.index(named[-1][1]) + part) / len(stages)


def _why(log: Path) -> str:
    """What the stage that failed said, else what DVC said last."""
    lines = [line.strip() for line in _text(log).splitlines() if line.strip()]
    said = [line for line in lines if line.startswith("error: ")] or lines[-1:] or ["no reason"]
    return said[-1].removeprefix("error: ")[:500]


def _text(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")
