"""Every published reading of a test part: how often it was looked at can be counted."""

import hashlib
from pathlib import Path

from retrace.files import read_csv, write_csv
from retrace.runs.run import Run

LEDGER = Path("recipes/ledger.csv")
COLUMNS = ("run", "dataset", "split", "test_part", "weights_sha256", "accuracy", "f1_macro")


def enter(root: Path, name: str, last: Run) -> None:
    """Note that this run read its test part, once for each model that did."""
    scores = [str(last.metrics[score]) for score in ("accuracy", "f1_macro")]
    line = [name, last.dataset, last.split, part(last), last.cost["weights_sha256"], *scores]
    lines = [list(row.values()) for row in _rows(root)]
    if line not in lines:
        write_csv(root / LEDGER, COLUMNS, [*lines, line])


def readings(root: Path, one: Run) -> int:
    """How many models were published that had been scored on the test part of this run."""
    mine = (row for row in _rows(root) if row["test_part"] == part(one))
    return len({row["weights_sha256"] for row in mine})


def _rows(root: Path) -> list[dict[str, str]]:
    return read_csv(root / LEDGER, COLUMNS) if (root / LEDGER).is_file() else []


def part(one: Run) -> str:
    """The test part, as the ledger names it: its records, whatever was answered for."""
    *records, _ = one.test_part
    return hashlib.sha256(" ".join(records).encode()).hexdigest()[:12]
