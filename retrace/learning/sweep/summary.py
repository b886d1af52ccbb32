"""The end of a sweep in words: its best trials, what was stopped when, and the line to go on."""

import io
from collections import Counter
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from retrace.learning.sweep import cells
from retrace.learning.sweep.repeat import command
from retrace.learning.sweep.results import Sweep

BEST = 10  # so many trials are named
HONEST = (
    "The best score is the best of many looks at one validation part, so it flatters; the test "
    "part was not looked at."
)


def summary(sweep: Sweep) -> str:
    """All of it as plain text; the last line is a command."""
    parts = [f"Sweep {sweep.name}: {head(sweep)}"]
    if best := cells.winner(sweep):
        parts.append(table(best_trials(sweep)))
    parts.append("\n".join([ends(sweep), *failures(sweep), cost(sweep)]))
    if best:
        parts.append(f"{HONEST} To train trial {best.number} as an experiment and to test it:")
        parts.append(command(sweep, best))
    else:
        parts.append("No trial has a score: there is none to repeat.")
    return "\n\n".join(parts)


def head(sweep: Sweep) -> str:
    """What was searched, and by which score."""
    return (
        f"{cells.count(len(sweep.trials), 'trial')} of the space {sweep.space}, proposed by "
        f"{sweep.searcher} (seed {sweep.seed}), compared by val_{sweep.score}"
    )


def best_trials(sweep: Sweep) -> list[list[str]]:
    """The best trials with their values, as rows of text, the header first."""
    ranked = sweep.ranked()
    columns = cells.varied(sweep.trials)
    names = [column.label for column in columns]
    rows = [["trial", f"val_{sweep.score}", "at epoch", "epochs", "state", *names]]
    for trial in ranked[:BEST]:
        epoch, value = cells.top(sweep, trial)
        own = [column.text(trial) for column in columns]
        epochs = f"{len(trial.rows)}/{sweep.max_epochs}"
        rows.append([str(trial.number), cells.figure(value), str(epoch), epochs, trial.state, *own])
    return rows


def ends(sweep: Sweep) -> str:
    """How many trials came to which end, and when those were stopped that others beat."""
    counts = Counter(trial.state for trial in sweep.trials)
    said = [
        f"{counts[state]} {state}"
        for state in ("finished", "failed", "running", "waiting")
        if counts[state]
    ]
    if stopped := stops(sweep):
        when = ", ".join(f"{count} after epoch {epoch}" for epoch, count in stopped)
        said.insert(0, f"{counts['stopped']} stopped early ({when})")
    return "; ".join(said) or "no trial was begun"


def stops(sweep: Sweep) -> list[tuple[int, int]]:
    """Epochs after which the scheduler stopped trials, and how many it stopped there."""
    return sorted(Counter(len(t.rows) for t in sweep.trials if t.state == "stopped").items())


def failures(sweep: Sweep) -> list[str]:
    """A line for each reason for which trials failed, with their numbers."""
    reasons: dict[str, list[str]] = {}
    for trial in sweep.trials:
        if trial.state == "failed":
            reasons.setdefault(trial.why, []).append(str(trial.number))
    return [
        f"trial{'s' if len(numbers) > 1 else ''} {', '.join(numbers)} failed: {why}"
        for why, numbers in reasons.items()
    ]


def cost(sweep: Sweep) -> str:
    """Epochs and time spent, beside what all trials would have cost if none had been stopped."""
    spent = sum(len(trial.rows) for trial in sweep.trials)
    whole = sum(sweep.max_epochs for trial in sweep.trials if trial.state != "waiting")
    share = f" ({100 * spent / whole:.0f} %)" if whole else ""
    seconds = sum(trial.seconds for trial in sweep.trials)
    return (
        f"{cells.count(spent, 'epoch')} of at most {whole:,}{share}; the trials' own time adds up "
        f"to {cells.clock(seconds)}"
    )


def table(rows: Sequence[Sequence[str]], *, markdown: bool = False) -> str:
    """Rows of text, the header first, in columns that are never wrapped: it greps."""
    drawn = Table(box=box.MARKDOWN if markdown else None, pad_edge=markdown)
    for name in rows[0]:
        drawn.add_column(Text(name), no_wrap=True)
    for row in rows[1:]:
        drawn.add_row(*map(Text, row))
    console = Console(file=io.StringIO(), width=10_000, color_system=None)
    console.print(drawn)
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines() if line.strip())
