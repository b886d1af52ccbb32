"""What a user sees while a network is trained: two bars and a line per epoch."""

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from retrace.learning.engine import Callback, Trainer
from retrace.learning.tracking import History, Row


class EpochTable(Callback):
    """Bars for epochs and batches with the remaining time, and a table row for each epoch.

    Where there is no terminal for bars, long epochs say now and then how far they are.
    """

    _EVERY = 60.0  # s

    def __init__(self, history: History) -> None:
        self._history = history
        self._console = Console()
        self._bars: Progress | None = None
        self._started = self._said = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        if not trainer.is_global_zero:
            return
        done = len(self._history.rows)
        if done:
            self._console.print(f"resuming after epoch {done}")
        self._bars = Progress(
            TextColumn("{task.description:>6}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._epoch = self._bars.add_task("epoch", total=trainer.max_epochs, completed=done)
        self._batch = self._bars.add_task("batch", total=int(trainer.num_training_batches))
        self._bars.start()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        self._started = self._said = time.monotonic()
        if self._bars is not None:
            self._bars.reset(self._batch)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._bars is None:
            return
        self._bars.advance(self._batch)
        now = time.monotonic()
        if self._bars.disable and now - self._said >= self._EVERY:
            self._said = now
            of = int(trainer.num_training_batches)
            spent = f"{now - self._started:.0f} s"
            number = len(self._history.rows) + 1
            self._console.print(f"epoch {number}: {batch_idx + 1} of {of} batches in {spent}")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        if self._bars is None:
            return
        row = self._history.rows[-1]
        if len(self._history.rows) == 1:
            self._console.print(" epoch  " + "  ".join(f"{name:>12}" for name in row) + "    time")
        self._console.print(self._line(row, time.monotonic() - self._started))
        self._bars.advance(self._epoch)

    def _line(self, row: Row, seconds: float) -> str:
        number = len(self._history.rows)
        mark = "*" if self._history.best_epoch == number - 1 else " "
        values = "  ".join(f"{value:12.5g}" for value in row.values())
        return f"{number:5d}{mark}  {values}  {seconds:5.1f}s"

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        self._stop()

    def on_exception(self, trainer: Trainer, pl_module: Any, exception: Any) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._bars is not None:
            self._bars.stop()
