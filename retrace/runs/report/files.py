"""The files of one run, wherever they lie, and their values by name."""

import csv
import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import yaml

from retrace.errors import InputError
from retrace.files import read_csv
from retrace.runs import answers, experiments, ledger, run
from retrace.runs.cache import Cache
from retrace.runs.report.values import Node, Table, Value
from retrace.runs.run import METRICS, ROBUSTNESS, SCORES, WEIGHTS, WORKSPACE, Run

# Where a published run keeps what its stages wrote elsewhere.
KEPT = {
    METRICS: "metrics.json",
    SCORES: "scores.json",
    ROBUSTNESS: "robustness.json",
    "metrics/train/metrics.json": "train/metrics.json",
    "plots/test/confusion.png": "confusion.png",
    "plots/train/curves.png": "curves.png",
    "plots/robustness/robustness.png": "robustness.png",
}
SPLIT, SEGMENTS = "data/split.csv", "data/waveforms/segments.csv"
CONFIG = "models/checkpoint/config.json"
# Of the repository: what is published of each data set.
SOURCES, POPULATIONS = "stages/sources.yaml", "stages/populations.yaml"


class Files:
    """What a run left, by the path at which its stages wrote it.

    A file that is neither in the workspace, nor beside a published run, nor in DVC's cache or the
    repository's store is None, and so is what would have been read from it.
    """

    def __init__(self, root: Path, own: Run) -> None:
        self.root, self.run, self.name = root, own, own.name
        self.published = run.is_published(root, own.name)
        self.folder = f"recipes/{own.name}/" if self.published else ""
        self.used: dict[str, str] = {}  # SHA-256 of each file that was read, by its name
        self._cache = Cache(root)

    @property
    def title(self) -> Value:
        """The run's name."""
        own = f"refs/exps/*/*/{self.name}" if self.run.commit else "dvc.lock"
        return Value(self.name, self.folder.rstrip("/") or own, "name")

    def read(self, path: str) -> tuple[str, bytes] | None:
        """A file of the run: the name that it goes by, and its bytes."""
        if self.published and path in KEPT:
            return self.open(f"{self.folder}{KEPT[path]}")
        if self.name == WORKSPACE:
            return self.open(path)
        content = self._cache.read(self.run.lock, path)
        return None if content is None else self._note(path, content)

    def open(self, name: str) -> tuple[str, bytes] | None:
        """The same of a file of the repository."""
        path = self.root / name
        return self._note(name, path.read_bytes()) if path.is_file() else None

    def _note(self, name: str, content: bytes) -> tuple[str, bytes]:
        self.used[name] = hashlib.sha256(content).hexdigest()
        return name, content

    @cached_property
    def scores(self) -> Node:
        """Every score as {value, low, high}."""
        if (found := _json(self.read(SCORES))) is None:
            raise InputError(
                f"{self.name}: its {SCORES} is not in DVC's cache; a report is made of it: run dvc "
                f"exp apply {self.name} and dvc repro, then retrace report"
            )
        return found

    @cached_property
    def robustness(self) -> Node | None:
        """The score under noise."""
        return _json(self.read(ROBUSTNESS))

    @cached_property
    def training(self) -> Node | None:
        """What the training said at its end."""
        return _json(self.read("metrics/train/metrics.json"))

    @cached_property
    def card(self) -> Node | None:
        """What the model says of itself: signal, temperature, thresholds."""
        return _json(self.open(f"{self.folder}model.json")) or _json(self.read(CONFIG))

    @cached_property
    def lock(self) -> Node:
        """Params and hashes by stage."""
        name = f"{self.folder}dvc.lock"
        if self.published or self.name == WORKSPACE:
            self.open(name)
        elif (commit := self.run.commit) and (own := experiments.file(self.root, commit, name)):
            name, _ = self._note(f"{commit[:10]}:{name}", own.encode())  # as git show takes it
        return Node({"stages": self.run.lock}, name)["stages"]

    @cached_property
    def params(self) -> Mapping[str, Node]:
        """The params that its stages used, by dotted key."""
        found: dict[str, Node] = {}
        for stage in self.lock.values():
            if "params" in stage:
                found |= _flat(stage["params"]["params.yaml"])
        return found

    def out(self, path: str) -> Node | None:
        """What the lock says of an output: md5, size."""
        outs = (out for stage in self.lock.values() if "outs" in stage for out in stage["outs"])
        return next((out for out in outs if out["path"].value == path), None)

    @cached_property
    def cost(self) -> Node | None:
        """What the training took."""
        return self._made("cost.json")

    @cached_property
    def environment(self) -> Node | None:
        """Where it was trained."""
        return self._made("environment.json")

    def _made(self, file: str) -> Node | None:
        if self.published:
            return _json(self.open(f"{self.folder}{file}"))
        weights = self.read(WEIGHTS)
        others = [self.root / "recipes" / name for name in run.all_published(self.root)]
        digest = self.used[weights[0]] if weights else ""
        made = run.made_in(self.root, digest, *others)
        name = (made / file).relative_to(self.root).as_posix() if made else ""
        return _json(self.open(name)) if name else None

    @cached_property
    def segments(self) -> Table | None:
        """Segments, each with its subset, label, record and patient."""
        split, segments = self._table(SPLIT), self._table(SEGMENTS)
        if split is None or segments is None:
            return None
        subset = {row["segment_id"]: row["subset"] for row in split.rows}
        rows = [
            {**row, "subset": subset.get(row["segment_id"], ""), "segments": "1"}
            for row in segments.rows
        ]
        return Table(f"{split.file} + {segments.file}", rows)

    @cached_property
    def records(self) -> Table | None:
        """The recordings that were read."""
        return self._table(answers.RECORDS)

    @cached_property
    def answers(self) -> Table | None:
        """How often each class was answered as each, by record and patient; right: yes or no."""
        if (found := self._table(f"{self.folder}{answers.FILE}", own=True)) is None:
            predictions = self._table(answers.PREDICTIONS)
            if predictions is None or self.records is None:
                return None
            counted = answers.count(predictions.rows, self.records.rows)
            rows = [dict(zip(answers.COLUMNS, map(str, row), strict=True)) for row in counted]
            found = Table(f"{predictions.file} + {self.records.file}", rows)
        return Table(found.file, [{**row, "right": _right(row)} for row in found.rows])

    def _table(self, path: str, *, own: bool = False) -> Table | None:
        if (found := self.open(path) if own else self.read(path)) is None:
            return None
        lines = found[1].decode("utf-8").splitlines()
        return Table(found[0], list(csv.DictReader(lines)))

    @cached_property
    def readings(self) -> Value | None:
        """How many published models were scored on this test part."""
        name = ledger.LEDGER.as_posix()
        if self.open(name) is None:
            return None
        rows = read_csv(self.root / ledger.LEDGER)
        found = Table(name, rows).different("weights_sha256", test_part=ledger.part(self.run))
        return None if found.shown == "0" else found

    def repository(self, name: str) -> Node:
        """A YAML file of the repository, which describes what is published elsewhere."""
        found = self.open(name)
        if found is None:
            raise InputError(f"{name}: missing; a report needs it: restore it from Git")
        return Node(yaml.safe_load(found[1]), name)


def _right(row: Mapping[str, str]) -> str:
    return "yes" if row["actual"] == row["predicted"] else "no"


def _json(found: tuple[str, bytes] | None) -> Node | None:
    if found is None:
        return None
    try:
        return Node(json.loads(found[1]), found[0])
    except ValueError as error:
        raise InputError(f"{found[0]}: not JSON ({error}): restore it from Git") from None


def _flat(node: Node, below: str = "") -> dict[str, Node]:
    found: dict[str, Node] = {}
    for key, each in node.items():
        if isinstance(each.value, Mapping) and each.value:
            found |= _flat(each, f"{below}{key}.")
        else:
            found[f"{below}{key}"] = each
    return found
