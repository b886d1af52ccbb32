"""What a sweep hears from Ray Tune, into its journal and onto its board."""

import shutil
from collections.abc import Callable
from typing import Any

from ray import tune

from retrace.learning.sweep.halving import Halving
from retrace.learning.sweep.journal import Journal
from retrace.learning.sweep.trials import Task

_KILLED = (
    "its process was ended from outside, most often for want of memory: fewer trials at once "
    "(--concurrent), or a smaller batch_size, need less"
)


class Watch(tune.Callback):
    """changed: called after each event. missed: takes what trackers were not told."""

    def __init__(
        self,
        journal: Journal,
        task: Task,
        halving: Halving,
        missed: set[str],
        changed: Callable[[], None],
    ) -> None:
        self._journal, self._task, self._halving = journal, task, halving
        self._missed, self._changed = missed, changed
        self._failed: dict[int, str] = {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._journal.running(trial.config["number"])
        self._changed()

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        number = trial.config["number"]
        self._missed.update(result.get("missed", []))
        if why := result.get("failed"):
            self._failed[number] = why
        elif result["rows"]:
            self._journal.trained(number, result["rows"], result["kept"], result["seconds"])
            self._changed()

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        number = trial.config["number"]
        if why := self._failed.get(number):
            self._journal.ended(number, "failed", why)
        else:
            stopped = number in self._halving.stopped
            self._journal.ended(number, "stopped" if stopped else "finished")
        self._clear(number)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._journal.ended(trial.config["number"], "failed", _KILLED)
        self._clear(trial.config["number"])

    def _clear(self, number: int) -> None:
        shutil.rmtree(self._task.place(number) / "resume", ignore_errors=True)
        self._changed()
