"""What became of a sweep: its trials and the epochs of each."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

# stopped: by the scheduler, since others were better at the same epoch; failed: see `why`.
State = Literal["waiting", "running", "stopped", "finished", "failed"]


@dataclass(frozen=True)
class Trial:
    """One choice of values, and how its training went so far.

    number: from 1, in the order in which trials were proposed. values: by the dotted keys of
    params.yaml that the space names. rows: one for each epoch, as `tracking.Row`.
    seconds: of its training so far. why: what ended a failed one, in a sentence. kept: the epoch,
    from 1, whose weights the training keeps; None where it does not say.
    """

    number: int
    state: State
    values: Mapping[str, Any]
    rows: Sequence[Mapping[str, float]] = ()
    seconds: float = 0.0
    why: str = ""
    kept: int | None = None

    def best(self, score: str) -> tuple[int, float] | None:
        """The epoch, from 1, that the training keeps (a gain below `min_delta` is none; of trees
        that of the lowest loss), else that of the highest val_<score>; and that score.

        None before the first.
        """
        if self.kept is not None:
            return self.kept, self.rows[self.kept - 1][f"val_{score}"]
        values = [row.get(f"val_{score}", math.nan) for row in self.rows]
        known = [(value, -number) for number, value in enumerate(values, 1) if value == value]
        if not known:
            return None
        value, number = max(known)
        return -number, value


@dataclass(frozen=True)
class Sweep:
    """A sweep so far.

    name: its folder below runs/sweeps. space: the name of its file. score: of the validation part,
    by which trials are compared. max_epochs: of a trial that is never stopped. searcher, seed: what
    proposed the trials. fixed: params that the sweep itself sets in every trial (epochs, threads,
    train.score), by dotted key: with a trial's values they make the line that repeats it.
    """

    name: str
    space: str
    score: str
    max_epochs: int
    searcher: str
    seed: int
    fixed: Mapping[str, Any]
    trials: Sequence[Trial]

    def ranked(self) -> list[Trial]:
        """Trials that have an epoch, the best first; of equals the earlier one."""
        found = [(trial, trial.best(self.score)) for trial in self.trials]
        known = [(best[1], -trial.number, trial) for trial, best in found if best is not None]
        return [trial for *_, trial in sorted(known, key=lambda item: item[:2], reverse=True)]
