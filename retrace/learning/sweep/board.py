"""What a user sees while a sweep runs: a table that lives, or a line for each ended trial."""

import itertools
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.table import Table
from rich.text import Text

from retrace.learning.sweep import cells
from retrace.learning.sweep.results import Sweep, Trial

COLUMNS = ("trial", "state", "epoch", "best score", "loss", "time")  # then the params
ENDED = ("stopped", "finished", "failed")
_STYLES = {"waiting": "dim", "running": "cyan", "stopped": "dim", "finished": "", "failed": "red"}


class Board:
    """The trials of a sweep: those that run, and of the others the best, as many as fit.

    Use it as a context manager. Where there is no terminal, each trial that ended is a line.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()
        self._sweep: Sweep | None = None
        self._said: set[int] = set()
        self._live: Live | None = None

    def __enter__(self) -> "Board":
        if self._console.is_terminal:
            self._live = Live(self, console=self._console, refresh_per_second=1)
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            # A summary follows a whole sweep; of one that was broken off this is what is left.
            self._live.transient = error is None
            self._live.stop()

    def show(self, sweep: Sweep) -> None:
        """The sweep as it stands now."""
        self._sweep = sweep
        if self._live is not None:
            return
        for trial in sweep.trials:
            if trial.state in ENDED and trial.number not in self._said:
                self._said.add(trial.number)
                self._console.print(Text(line(sweep, trial)), soft_wrap=True)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self._sweep is not None:
            yield drawn(self._sweep, options.max_width, options.size.height)


def line(sweep: Sweep, trial: Trial) -> str:
    """What became of a trial: its end, its best score beside that of the best, its values."""
    said = f"trial {trial.number} {trial.state} after epoch {len(trial.rows)} of {sweep.max_epochs}"
    if trial.why:
        said += f": {trial.why}"
    if best := trial.best(sweep.score):
        said += f"; {sweep.score} {best[1]:.4f}"
        if first := cells.winner(sweep):
            beside = f"best {cells.top(sweep, first)[1]:.4f}, trial {first.number}"
            said += f" ({'best so far' if first is trial else beside})"
    values = zip(cells.labels(list(trial.values)), trial.values.values(), strict=True)
    return "; ".join([said, ", ".join(f"{name} {cells.short(value)}" for name, value in values)])


def drawn(sweep: Sweep, width: int, height: int) -> Group:
    """Head, table and foot in at most `height` lines of `width` columns."""
    ranked = sweep.ranked()
    begun = {trial.number for trial in ranked}
    others = [trial for trial in sweep.trials if trial.number not in begun]
    order = [*ranked, *sorted(others, key=lambda trial: trial.state != "running")]
    room = max(3, height - 6)  # two lines of the head, the header, two of the foot, the cursor's
    running = [trial.number for trial in order if trial.state == "running"][: room - 1]
    best = [trial.number for trial in order if trial.number not in running][: room - len(running)]
    shown = [trial for trial in order if trial.number in {*best, *running}]

    first = cells.winner(sweep)
    grid = _grid(sweep, shown)
    widths = [max(map(len, column)) + 2 for column in zip(*grid, strict=True)]
    fitting = sum(end <= width + 2 for end in itertools.accumulate(widths))
    left_out = grid[0][fitting:]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in grid[0][:fitting]:
        left = name == "state" or name not in COLUMNS
        table.add_column(Text(name), justify="left" if left else "right", no_wrap=True)
    for trial, row in zip(shown, grid[1:], strict=True):
        style = "bold green" if trial is first else _STYLES[trial.state]
        table.add_row(*map(Text, row[:fitting]), style=style)

    hidden = len(order) - len(shown)
    more = f"{cells.count(hidden, 'trial')} more" if hidden else ""
    narrow = f"no room for {', '.join(left_out)}" if left_out else ""
    failed = [trial for trial in sweep.trials if trial.state == "failed"]
    foot = [("dim", "; ".join(filter(None, [more, narrow])))]
    foot += [("red", f"trial {trial.number} failed: {trial.why}") for trial in failed[-1:]]
    return Group(
        *(_one_line(said) for said in _head(sweep)),
        table,
        *(_one_line(said, style) for style, said in foot if said),
    )


def _one_line(said: str, style: str = "") -> Text:
    return Text(said, style=style, no_wrap=True, overflow="ellipsis")


def _head(sweep: Sweep) -> list[str]:
    trials, states = sweep.trials, [trial.state for trial in sweep.trials]
    counts = [
        f"{states.count(state)} {state}"
        for state in ("waiting", "running", *ENDED)
        if state in states
    ]
    epochs = sum(len(trial.rows) for trial in trials)
    return [
        f"Sweep {sweep.name}: {sweep.space}, {sweep.searcher}, seed {sweep.seed}; score: "
        f"val_{sweep.score}",
        f"{cells.count(len(trials), 'trial')}: {', '.join(counts) or 'none yet'}; "
        f"{cells.count(epochs, 'epoch')}",
    ]


def _grid(sweep: Sweep, shown: Sequence[Trial]) -> list[list[str]]:
    """The cells of the table, its header first."""
    params = cells.varied(sweep.trials)
    rows = [[*COLUMNS, *(param.label for param in params)]]
    for trial in shown:
        best = trial.best(sweep.score)
        loss = trial.rows[-1].get("val_loss") if trial.rows else None
        rows.append(
            [
                str(trial.number),
                trial.state,
                f"{len(trial.rows)}/{sweep.max_epochs}",
                cells.figure(best and best[1]),
                cells.figure(loss),
                cells.clock(trial.seconds),
                *(param.text(trial) for param in params),
            ]
        )
    return rows
