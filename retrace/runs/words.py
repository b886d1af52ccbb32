"""Figures and names as people read them: columns, Markdown tables, durations, likely names."""

import difflib
from collections.abc import Sequence


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text with each column as wide as its widest cell; never wrapped, so it greps."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """The same as a Markdown table; the first row is its header. A | in a cell is no border."""
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    header, *body = [f"| {' | '.join(row)} |" for row in escaped]
    return "\n".join([header, "|---" * len(rows[0]) + "|", *body])


def duration(seconds: float) -> str:
    """45 s, 12 min, 1 h 10 min."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def meant(name: str, known: Sequence[str]) -> str:
    """What a mistyped or shortened name may have meant, as the end of a sentence; without a guess
    the names there are."""
    parts = [each for each in known if len(name) > 2 and name in each]
    if close := parts[:4] or difflib.get_close_matches(name, known):
        return f"did you mean {' or '.join(close)}?"
    return f"there are {some(known)}: name one"


def some(names: Sequence[str], most: int = 12) -> str:
    """Names in a row; of many only the first, and how many more there are."""
    more = [f"and {len(names) - most} more"] if len(names) > most else []
    return ", ".join([*names[:most], *more])
