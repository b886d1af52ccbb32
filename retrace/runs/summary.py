"""The last page of a run: what it scored, where its plots are, and what it reproduced."""

import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from retrace.errors import InputError
from retrace.runs import locks
from retrace.scoring.evaluation import table


def show(root: Path) -> None:
    """Print the summary of the workspace's run."""
    scores = root / "plots/test/scores.json"
    lock = root / "dvc.lock"
    if not scores.is_file() or not lock.is_file():
        raise InputError(
            "plots/test/scores.json: missing; a summary needs a finished run: run dvc repro, or "
            "dvc pull for the published one"
        )
    console = Console()
    rows = table(json.loads(scores.read_text(encoding="utf-8")))
    console.print("Test part")
    console.print(_table(rows))
    console.print(
        "\nplots/test/              confusion, ROC, PR, calibration, examples: PNG and CSV"
        "\nplots/test/scores.json   every score with its 95 % interval"
        "\nplots/train/             learning curves"
        "\ndvc plots show           one page with all of them\n"
    )
    reference = locks.committed(root)
    if reference is None:
        return
    verdicts = locks.compare(locks.parse(lock.read_text(encoding="utf-8")), reference[0])
    console.print(f"Against {reference[1]}")
    console.print(_table([["stage", ""], *([v.stage, str(v)] for v in verdicts)]))
    if any(verdict.stage == "train" and verdict.state != "same" for verdict in verdicts):
        console.print(
            "\nThe data stages give the same bytes on every x86-64 machine; training does so on "
            "one machine with the same threads. Elsewhere its scores agree within their intervals."
        )


def _table(rows: list[list[str]]) -> Table:
    made = Table(box=None, pad_edge=False)  # a frame would hide what is copied into a note
    for name in rows[0]:
        made.add_column(name, justify="left")
    for row in rows[1:]:
        made.add_row(*row)
    return made
