"""A trial: what a worker of Ray does."""

import shutil
import tempfile
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray import tune

from retrace import registry
from retrace.errors import InputError
from retrace.learning.data import Segments
from retrace.learning.sweep import checks
from retrace.learning.sweep.halving import EPOCH
from retrace.learning.sweep.plan import TOKEN
from retrace.learning.sweep.prepared import Files, is_own, own
from retrace.learning.sweep.searchers import SCORE
from retrace.learning.trackers import tracked
from retrace.learning.tracking import Row
from retrace.learning.training import fit, history_of
from retrace.params import Params, checked


@dataclass(frozen=True)
class Task:
    """What all trials of a sweep have in common.

    root, folder: of the repository and the sweep, on the driver's node. token: what TOKEN holds.
    base: the tree of params.yaml, of which the repository's data are. key: of the sweep. parent:
    its run in MLflow. data: the actor that is a `Prepared`.
    """

    root: Path
    folder: Path
    token: str
    base: Mapping[str, Any]
    key: str
    name: str
    parent: str | None
    data: Any

    @property
    def here(self) -> bool:
        """Whether this node sees the repository's and the sweep's files."""
        try:
            return (self.folder / TOKEN).read_text(encoding="utf-8") == self.token
        except OSError:
            return False

    def place(self, number: int) -> Path:
        """A trial's folder. Where the sweep's is not to be seen it is in this node's own."""
        above = self.folder if self.here else Path(tempfile.gettempdir()) / f"retrace-{self.token}"
        return above / "trials" / f"{number:04d}"


def run(config: dict[str, Any], task: Task) -> None:
    """Train one trial and report each epoch; what goes wrong is reported too."""
    number, place = config["number"], task.place(config["number"])
    place.mkdir(parents=True, exist_ok=True)
    try:
        _train(config, task, place)
    except InputError as error:
        why = str(error)
    except MemoryError:
        why = "out of memory: a smaller batch_size or model needs less"
    except Exception as error:
        said = str(error).strip().split("\n")[0]
        why = f"{type(error).__name__}: {said}; all of it stands in {place / 'error.txt'}"
        (place / "error.txt").write_text(traceback.format_exc(), encoding="utf-8")
    else:
        return
    tune.report({"number": number, "failed": why, EPOCH: 0, SCORE: 0.0})


def _train(config: dict[str, Any], task: Task, place: Path) -> None:
    number, known = config["number"], config["known"]
    tree = checks.lay(task.base, config["values"])
    params = checked(tree)
    segments = _segments(task, tree, params)
    history = history_of(params, place / "resume")
    network = registry.is_network(params.model.name)  # others tell of their rounds at the end
    told = -1  # how many epochs the driver knows; none of them if it was not told anything yet

    def report() -> None:
        """Blocks until the scheduler has decided; SystemExit where it stops the trial."""
        nonlocal told
        rows = history.rows
        tune.report(
            {
                EPOCH: len(rows) if network else params.epochs,
                SCORE: rows[history.best_epoch][history.score],
                "rows": rows[max(told, known) :],
                "kept": history.best_epoch + 1,
                "seconds": history.seconds,
                "missed": tracker.missed,
            }
        )
        told = len(rows)

    def listen(epoch: int, row: Row) -> None:
        tracker.epoch(epoch, row)
        if epoch == len(history.rows) and epoch > known:
            report()

    stopped = None
    name = f"{task.name}/trial_{number:03d}"
    with tracked(params, f"{task.key}-{number}", parent=task.parent, name=name) as tracker:
        try:
            fit(params, segments, history, listen)
            if told < 0:  # it was broken off after its last epoch
                report()
        except SystemExit as error:
            stopped = error
    if not task.here:
        shutil.rmtree(place)  # elsewhere the driver does: a sweep broken off looks alike from here
    if stopped:
        raise stopped


def _segments(task: Task, tree: Mapping[str, Any], params: Params) -> Segments:
    if task.here and is_own(tree, task.base):
        return own(task.root, params.model.input).load(params)
    asked = task.data.files.remote(tree) if task.here else task.data.stored.remote(tree, params)
    try:
        answer = ray.get(asked)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    if isinstance(answer, Files):
        return answer.load(params)
    segments: Segments = ray.get(answer[0])
    return segments
