"""What is written down while a training goes on: its history, DVCLive curves, a resume point."""

import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dvclive.live import Live

from retrace.learning.checkpoint import save_weights
from retrace.learning.classifier import Classifier, Network
from retrace.learning.engine import Callback, Checkpoint, Trainer

Row = dict[str, float]
# Is told the number of an epoch, from 1, and its row as soon as it ends. Whatever it does with
# that, the training's result stays as it is: trackers listen, and sweeps.
Listener = Callable[[int, Row], None]


class History(Callback):
    """The epochs so far, the best of them, and when to stop.

    The score of the validation part decides: an epoch is better if it gains more than
    `min_delta`; after `patience` epochs without a better one the training ends. The best
    weights are kept in `folder` as best-<epoch>.safetensors. `seconds` is what all epochs took,
    those before a training was broken off as well.
    """

    def __init__(self, folder: Path, score: str, patience: int, min_delta: float) -> None:
        self.folder, self.score = folder, score
        self._patience, self._min_delta = patience, min_delta
        self.rows: list[Row] = []
        self.best_epoch = -1
        self.seconds = 0.0
        self._since = time.monotonic()

    @property
    def best(self) -> float:
        """The score of the best epoch."""
        return self.rows[self.best_epoch][self.score] if self.best_epoch >= 0 else -math.inf

    @property
    def best_weights(self) -> Path:
        """The file that holds the weights of the best epoch."""
        return self.folder / f"best-{self.best_epoch:04d}.safetensors"

    @property
    def finished(self) -> bool:
        """Whether patience has run out."""
        return len(self.rows) - 1 - self.best_epoch >= self._patience

    def take(self, rows: list[Row], best_epoch: int, seconds: float) -> None:
        """The history of what was fitted as a whole."""
        self.rows, self.best_epoch, self.seconds = rows, best_epoch, seconds

    def forget(self) -> None:
        """Remove the folder: the training is kept elsewhere, or nobody wants it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def tell(self, listener: Listener) -> None:
        """All epochs so far."""
        for number, row in enumerate(self.rows, start=1):
            listener(number, row)

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        # A training killed after its last epoch has nothing left to do but to be kept.
        trainer.should_stop = bool(self.rows) and self.finished
        self._since = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        assert isinstance(pl_module, Classifier) and isinstance(pl_module.network, Network)
        self.rows.append(
            {
                "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
                "train_loss": pl_module.train_loss(),
                **pl_module.epoch_scores,
            }
        )
        value = self.rows[-1][self.score]
        if value > self.best + (self._min_delta if self.best_epoch >= 0 else 0):
            self.best_epoch = len(self.rows) - 1
            if trainer.is_global_zero:
                save_weights(self.best_weights, pl_module.network)
        trainer.should_stop = self.finished
        now = time.monotonic()
        self.seconds, self._since = self.seconds + now - self._since, now

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "best_epoch": self.best_epoch, "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows, self.best_epoch = state_dict["rows"], state_dict["best_epoch"]
        self.seconds = state_dict["seconds"]


class Telling(Callback):
    """Tells a listener of each epoch; after a break also of those before it."""

    def __init__(self, history: History, listener: Listener) -> None:
        self._history, self._listener = history, listener

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        if trainer.is_global_zero:
            self._history.tell(self._listener)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        if trainer.is_global_zero:
            self._listener(len(self._history.rows), self._history.rows[-1])


class DvcLiveCurves(Callback):
    """Each epoch's row to DVCLive; a resumed training replays the rows it had.

    Nothing is left for DVCLive to decide: it must not edit dvc.yaml, make experiments or
    write times into files whose hash dvc.lock keeps.
    """

    def __init__(self, folder: Path, history: History) -> None:
        self._folder, self._history = folder, history
        self._live: Live | None = None

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        if trainer.is_global_zero:
            self._live = self._replayed()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        if self._live is not None:
            _log(self._live, self._history.rows[-1])

    def close(self) -> None:
        """Write the summary: the best epoch's row.

        A training that was killed after its last epoch never starts again, hence the replay.
        """
        live = self._live or self._replayed()
        live.summary.clear()
        live.summary.update(
            {
                "epochs": len(self._history.rows),
                "best_epoch": self._history.best_epoch + 1,
                **self._history.rows[self._history.best_epoch],
            }
        )
        live.make_summary()
        try:
            live.end()
        except FileNotFoundError as error:
            # Its last act is to remove a sign for editors, which all workers of a queue share:
            # another one was faster.
            if Path(error.filename).name != "DVCLIVE_STEP_COMPLETED":
                raise

    def _replayed(self) -> Live:
        shutil.rmtree(self._folder, ignore_errors=True)
        live = Live(str(self._folder), dvcyaml=None, save_dvc_exp=False, report=None)
        for row in self._history.rows:
            _log(live, row)
        return live


def _log(live: Live, row: Row) -> None:
    for name, value in row.items():
        live.log_metric(name, value)
    live.next_step()


class ResumePoint(Checkpoint):
    """The whole state of the training after each epoch, in a file replaced in one step.

    It is a `Checkpoint` so that Lightning calls it after all other callbacks. Best weights that
    no resume point names any more are removed after the new one stands.
    """

    def __init__(self, history: History) -> None:
        self._folder, self._history = history.folder, history
        self._folder.mkdir(parents=True, exist_ok=True)

    @property
    def path(self) -> Path | None:
        """The resume point of an earlier, broken-off run, if there is one."""
        path = self._folder / "last.ckpt"
        return path if path.is_file() else None

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        part = self._folder / "last.ckpt.part"
        try:
            trainer.save_checkpoint(part)
        except OSError:  # a full disk
            part.unlink(missing_ok=True)
            raise
        if trainer.is_global_zero:
            part.replace(self._folder / "last.ckpt")
            for old in self._folder.glob("best-*.safetensors"):
                if old != self._history.best_weights:
                    old.unlink()
