"""The data that a trial is trained on: those of the repository, or others where a space varies how
recordings are filtered, cut and transformed. Each kind is made once, by the stages themselves.
"""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from retrace.errors import InputError
from retrace.files import read_csv
from retrace.learning.data import Segments, load_segments
from retrace.params import Params

Tree = Mapping[str, Any]
# Each stage, what it writes below data/, and the sections of params.yaml that decide its bytes.
STAGES = {
    "bandpass": ("filtered", ("bandpass",)),
    "segment": ("waveforms", ("bandpass", "segment")),
    "cwt": ("scalograms", ("bandpass", "segment", "cwt")),
    "split": ("split.csv", ("bandpass", "segment")),
}
SECTIONS = ("bandpass", "segment", "cwt")


class Files(NamedTuple):
    """Where the segments of a trial lie."""

    array: Path
    table: Path
    split: Path

    def load(self, params: Params) -> Segments:
        """Them, without the test part: no subset is called so."""
        segments = load_segments(*self, params.classes, params.model.features)
        return replace(segments, subsets=np.where(segments.subsets == "test", "", segments.subsets))


def own(root: Path, source: str) -> Files:
    """The repository's own data; source: "waveforms" or "scalograms"."""
    data = root / "data"
    return Files(data / source / "X.npy", data / "waveforms/segments.csv", data / "split.csv")


def is_own(tree: Tree, base: Tree) -> bool:
    """Whether the repository's data, made with the params `base`, are those for `tree`."""
    same = all(tree[name] == base[name] for name in SECTIONS)
    # Where the repository's model takes waveforms its scalograms are an empty array.
    return same and tree["model"]["input"] in ("waveforms", base["model"]["input"])


class Prepared:
    """Makes what is asked for, one kind after another; `root` has the data of `base`.

    folder: for what is made. base: the tree of the repository's params.yaml.
    """

    def __init__(self, root: Path, folder: Path, base: Tree) -> None:
        self._root, self._folder, self._base = root, folder, base
        self._broken: dict[str, str] = {}
        self._stored: dict[str, Any] = {}

    def files(self, tree: Tree) -> Files:
        """The data for these params; InputError in the words of the stage that refused them."""
        source = tree["model"]["input"]
        segments = self._made("segment", tree)
        self._same_division(split := self._made("split", tree), tree)
        array = self._made("cwt", tree) if source == "scalograms" else segments
        return Files(array / "X.npy", segments / "segments.csv", split)

    def stored(self, tree: Tree, params: Params) -> list[Any]:
        """The segments in Ray's object store, for nodes that do not see the files: [reference]."""
        import ray

        files = self.files(tree)
        key = json.dumps([list(map(str, files)), params.model.features])
        if key not in self._stored:
            segments = files.load(params)
            self._stored[key] = ray.put(replace(segments, X=np.asarray(segments.X)))
        return [self._stored[key]]

    def _made(self, stage: str, tree: Tree) -> Path:
        """What a stage writes for these params."""
        out, sections = STAGES[stage]
        mine = {name: tree[name] for name in sections}
        if all(tree[name] == self._base[name] for name in sections) and (
            stage != "cwt" or self._base["model"]["input"] == "scalograms"
        ):
            return self._root / "data" / out
        key = hashlib.sha256(json.dumps(mine, sort_keys=True).encode()).hexdigest()[:12]
        place = self._folder / f"{stage}-{key}"
        found = place / "data" / out
        if not found.exists():
            self._run(stage, place, tree)
        return found

    def _run(self, stage: str, place: Path, tree: Tree) -> None:
        if place.name in self._broken:
            raise InputError(self._broken[place.name])
        data = place / "data"
        data.mkdir(parents=True, exist_ok=True)
        needed = {"raw": self._root / "data/raw"} if stage == "bandpass" else {}
        if stage in ("segment", "split"):
            needed["filtered"] = self._made("bandpass", tree)
        if stage in ("cwt", "split"):
            needed["waveforms"] = self._made("segment", tree)
        for name, path in needed.items():
            (data / name).unlink(missing_ok=True)
            (data / name).symlink_to(path.resolve())
        (place / "params.yaml").write_text(yaml.safe_dump(dict(tree), sort_keys=False), "utf-8")
        done = subprocess.run(
            [sys.executable, "-m", f"stages.{stage}"],
            cwd=place,
            env=os.environ | {"PYTHONPATH": str(self._root)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            why = f"{stage}: {said[-1].removeprefix('error: ')}"
            self._broken[place.name] = why
            raise InputError(why)

    def _same_division(self, split: Path, tree: Tree) -> None:
        """Trials are only compared on the same recordings, and none may train on the test part."""
        theirs = self._root / "data/split.csv"
        if split == theirs or split.read_bytes() == theirs.read_bytes():
            return
        table = self._made("segment", tree) / "segments.csv"
        by_beat = tree["split"]["method"] == "intra_patient"  # then the record does not decide
        if by_beat or _divided(split, table) != _divided(
            theirs, self._root / "data/waveforms/segments.csv"
        ):
            raise InputError(
                "split: other recordings would be in train, val and test than in data/split.csv, "
                "and scores on them are not compared: keep segment.window and segment.hop, or set "
                "split.method to one that names the recordings"
            )


def _divided(split: Path, table: Path) -> dict[str, list[str]]:
    """The subsets in which each record stands."""
    found: dict[str, set[str]] = {}
    owners = {row["segment_id"]: row["record_id"] for row in read_csv(table)}
    for row in read_csv(split):
        found.setdefault(owners[row["segment_id"]], set()).add(row["subset"])
    return {record: sorted(subsets) for record, subsets in found.items()}
