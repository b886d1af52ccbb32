"""A comparison in colour, no wider than the terminal."""

import io

from rich.console import Console
from rich.table import Table
from rich.text import Text

from retrace.runs.comparison import Comparison, side_by_side
from retrace.runs.run import Run
from retrace.scoring.tables import Rows, number

SCORE = 15  # columns of a score with its interval and its margin


def draw(shown: Comparison, *, few: bool, width: int | None = None) -> str:
    """Text with the escape codes of a terminal; width: in characters, that of stdout by default."""
    console = Console(
        file=io.StringIO(),
        force_terminal=True,
        width=width,
        highlight=False,
        markup=False,  # a param may hold [brackets]
        emoji=False,
    )
    if few:
        for each in side_by_side(shown):
            console.print(each if isinstance(each, str) else _table(each), end="\n\n")
    else:
        _many(console, shown)
    for pair in shown.pairs:
        console.print(Text(str(pair), style="green" if pair.shown else "dim"))
    if shown.pairs:
        console.print()
    for note in shown.notes:
        console.print(Text(note, style="dim"))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().rstrip("\n")


def _table(rows: Rows) -> Table:
    table = Table(*rows[0], box=None, header_style="bold", padding=(0, 2, 0, 0))
    for row in rows[1:]:
        table.add_row(*row)
    return table


def _many(console: Console, shown: Comparison) -> None:
    """Two lines for each run: what it is, and below it how it was made."""
    names = max(len(text) for one in shown.runs for text in (one.name, _how(one)))
    room = max(1, (console.width - names - 10) // SCORE)
    scores = shown.shown[:room]
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("run", min_width=min(names, console.width // 2))
    table.add_column("part")
    for name in scores:
        table.add_column(name)
    for one in shown.runs:
        what = Text(one.name).append(f"\n{_how(one)}", style="dim")
        if one.stamp:
            what.append(f" {one.stamp}", style="yellow")
        table.add_row(what, shown.parts[one.test_part], *(_score(one, name) for name in scores))
    console.print(table)
    if left := shown.shown[room:]:
        console.print(Text(f"No room for {', '.join(left)}: --format csv has all.", style="dim"))
    console.print()


def _how(one: Run) -> str:
    return f"{one.dataset} {one.split}, {one.model}"


def _score(one: Run, name: str) -> Text:
    entry = one.scores["overall"].get(name)
    text = Text(number(entry) or "-")
    if entry and entry["low"] is not None:
        text.append(f"\n{entry['low']:.3f}-{entry['high']:.3f}", style="dim")
    return text
