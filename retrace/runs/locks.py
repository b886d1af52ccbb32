"""dvc.lock files side by side: which stages wrote the same bytes."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from retrace.runs.commands import at_head

Lock = Mapping[str, Any]


@dataclass(frozen=True)
class Verdict:
    """What became of one stage: "same", "different" or "not run", and what differs.

    outs, params: the paths and dotted keys in which it differs. since: what else has changed and
    decides nothing: its code, and params that the other lock did not have yet.
    """

    stage: str
    state: str
    outs: tuple[str, ...] = ()
    params: tuple[str, ...] = ()
    since: tuple[str, ...] = ()

    def __str__(self) -> str:
        what = [*self.outs, *(f"param {key}" for key in self.params)]
        return f"{self.state}: {', '.join(what)}" if what else self.state


def parse(text: str) -> Lock:
    """The stages of a dvc.lock."""
    stages: Lock = (yaml.safe_load(text) or {}).get("stages") or {}
    return stages


def committed(root: Path) -> tuple[Lock, str] | None:
    """The dvc.lock of the last commit, or without Git that of the published default run.

    Returns it with the words that name it, or None where there is neither.
    """
    if (text := at_head(root, "dvc.lock")) is not None:
        return parse(text), "the committed dvc.lock"
    published = root / "recipes" / "synthetic" / "dvc.lock"
    if published.is_file():
        return parse(published.read_text(encoding="utf-8")), "recipes/synthetic/dvc.lock"
    return None


def compare(ours: Lock, theirs: Lock) -> list[Verdict]:
    """Each stage of `theirs`: whether `ours` wrote the same outs, with the same params."""
    made = _made(theirs)
    return [
        _verdict(stage, ours[stage], there, made) if stage in ours else Verdict(stage, "not run")
        for stage, there in theirs.items()
    ]


def _verdict(stage: str, here: Lock, there: Lock, made: set[str]) -> Verdict:
    outs, expected = hashes(here, "outs"), hashes(there, "outs")
    params, wanted = params_of(here), params_of(there)
    other = tuple(path for path in expected if outs.get(path) != expected[path])
    changed = tuple(key for key in wanted if key not in params or params[key] != wanted[key])
    # A knob that came later, at a value that leaves the bytes as they were, harms no old run.
    later = [f"param {key}" for key in params if key not in wanted]
    code, before = _code(here, made), _code(there, made)
    other_code = [
        path for path in sorted(code.keys() | before.keys()) if code.get(path) != before.get(path)
    ]
    state = "different" if other or changed else "same"
    return Verdict(stage, state, other, changed, (*other_code, *later))


def changed_code(root: Path, lock: Lock, stage: str) -> list[str]:
    """The files of a stage's code that are not as they were when it ran."""
    code = _code(lock[stage], _made(lock))
    return [path for path, md5 in code.items() if _md5(root / path) != md5]


def _code(stage: Lock, made: set[str]) -> dict[str, str]:
    """Path and MD5 of a stage's deps that no stage writes, `made` being what they write."""
    return {
        path: md5
        for path, md5 in hashes(stage, "deps").items()
        if not any(path == out or path.startswith(f"{out}/") for out in made)
    }


def _md5(path: Path) -> str:
    """As DVC computes it."""
    if not path.is_file():
        return ""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _made(lock: Lock) -> set[str]:
    """The paths that the stages themselves write; every other dep is code or configuration."""
    return {path for stage in lock.values() for path in hashes(stage, "outs")}


def hashes(stage: Mapping[str, Any], kind: str) -> dict[str, str]:
    """Path and MD5 of a stage's "outs" or "deps"."""
    return {item["path"]: item.get("md5", "") for item in stage.get(kind, [])}


def params_of(stage: Mapping[str, Any]) -> dict[str, Any]:
    """A stage's params by dotted key."""
    return flat(stage.get("params", {}).get("params.yaml", {}))


def flat(tree: Mapping[str, Any], below: str = "") -> dict[str, Any]:
    """The values of a tree of mappings by dotted key; a list is one value."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{below}{key}.")
        else:
            found[f"{below}{key}"] = value
    return found
