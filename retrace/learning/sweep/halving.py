"""ASHA: trials that are worse than most were at the same epoch are stopped.

Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020.
"""

from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from retrace.learning.sweep.journal import ENDED, Journal
from retrace.learning.sweep.searchers import SCORE

EPOCH = "epoch"
_NOBODY: Any = None  # ASHA asks nothing of the controller


class Halving(ASHAScheduler):
    """Ray Tune's, which knows trials by their numbers: so it goes on where a sweep was broken off.

    It sees the best score so far, as the searcher does and as the training keeps it. stopped: the
    numbers of those that it ended before their last epoch.
    """

    def __init__(
        self, journal: Journal, score: str, max_epochs: int, grace: int, reduction: float
    ) -> None:
        super().__init__(
            time_attr=EPOCH,
            metric=SCORE,
            mode="max",
            max_t=max_epochs,
            grace_period=grace,
            reduction_factor=reduction,
        )
        self.stopped: set[int] = set()
        self._max_epochs = max_epochs
        self._replay(journal, f"val_{score}")

    def _replay(self, journal: Journal, score: str) -> None:
        rows: dict[int, list[dict[str, float]]] = {}
        for event in journal.events:
            number = int(event["trial"])
            if "point" in event:
                rows[number] = []
                self._add(number)
            elif "rows" in event:
                rows[number] += event["rows"]
                best = rows[number][event["kept"] - 1][score]
                self._judge(number, {EPOCH: len(rows[number]), SCORE: best})
        for trial in journal.trials:
            if trial.number in self.stopped and trial.state not in ENDED:
                journal.ended(trial.number, "stopped")  # it was killed before it could say so

    def _add(self, number: int) -> None:
        super().on_trial_add(_NOBODY, _numbered(number))

    def _judge(self, number: int, result: dict[str, Any]) -> str:
        decision: str = super().on_trial_result(_NOBODY, _numbered(number), result)
        if decision == TrialScheduler.STOP and result[EPOCH] < self._max_epochs:
            self.stopped.add(number)
        return decision

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        if str(trial.config["number"]) not in self._trial_info:
            self._add(trial.config["number"])

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        if result.get("failed"):
            return str(TrialScheduler.CONTINUE)
        return self._judge(trial.config["number"], result)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Nothing more to learn: the last result was seen."""

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """Likewise."""

    def save(self, checkpoint_path: str) -> None:
        """The journal has it all."""

    def restore(self, checkpoint_path: str) -> None:
        """Likewise."""


def _numbered(number: int) -> Any:
    """A trial, as far as ASHA looks at it."""
    return SimpleNamespace(trial_id=str(number))
