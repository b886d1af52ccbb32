"""dvc.lock files side by side: which stages wrote the same bytes."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from retrace.runs.commands import at_head

Lock = Mapping[str, Any]
PARAMS = "params.yaml"


# The same in C where PyYAML was built with it, six times as fast: comparisons read many locks.
_Safe = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Safe):  # type: ignore[misc, valid-type]
    """PyYAML to which 1e-05, as DVC writes it, is the number that it is to DVC."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


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

    @property
    def what(self) -> tuple[str, ...]:
        """What differs, in words."""
        return (*self.outs, *(f"param {key}" for key in self.params))

    def __str__(self) -> str:
        return f"{self.state}: {', '.join(self.what)}" if self.what else self.state


def parse(text: str) -> Lock:
    """The stages of a dvc.lock."""
    stages: Lock = (yaml.load(text, _Loader) or {}).get("stages") or {}
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
    written = outs(theirs)
    return [
        _verdict(stage, ours[stage], there, written) if stage in ours else Verdict(stage, "not run")
        for stage, there in theirs.items()
    ]


def _verdict(stage: str, here: Lock, there: Lock, written: Collection[str]) -> Verdict:
    found, expected = hashes(here, "outs"), hashes(there, "outs")
    params, wanted = params_of(here), params_of(there)
    other = tuple(path for path in expected if found.get(path) != expected[path])
    changed = tuple(key for key in wanted if key not in params or params[key] != wanted[key])
    # A knob that came later, at a value that leaves the bytes as they were, harms no old run.
    later = [f"param {key}" for key in params if key not in wanted]
    now, then = code(here, written), code(there, written)
    other_code = [
        path for path in sorted(now.keys() | then.keys()) if now.get(path) != then.get(path)
    ]
    state = "different" if other or changed else "same"
    return Verdict(stage, state, other, changed, (*other_code, *later))


def code(stage: Lock, written: Collection[str]) -> dict[str, str]:
    """Path and MD5 of a stage's deps that no stage writes, `written` being what they write."""
    return {
        path: md5
        for path, md5 in hashes(stage, "deps").items()
        if not any(path == out or path.startswith(f"{out}/") for out in written)
    }


def outs(lock: Lock) -> dict[str, str]:
    """Path and MD5 of all that the stages write; every other dep is code or configuration."""
    return {path: md5 for stage in lock.values() for path, md5 in hashes(stage, "outs").items()}


def hashes(stage: Mapping[str, Any], kind: str) -> dict[str, str]:
    """Path and MD5 of a stage's "outs" or "deps"."""
    return {item["path"]: item.get("md5", "") for item in stage.get(kind, [])}


def megabytes(lock: Lock, paths: Collection[str]) -> float:
    """How large these outs are together; 0 where no stage wrote them."""
    outs = [out for stage in lock.values() for out in stage.get("outs", [])]
    return sum(int(out["size"]) for out in outs if out["path"] in paths) / 1e6


def params_of(stage: Mapping[str, Any]) -> dict[str, Any]:
    """A stage's params by dotted key."""
    return flat(stage.get("params", {}).get(PARAMS, {}))


def flat(tree: Mapping[str, Any], below: str = "") -> dict[str, Any]:
    """The values of a tree of mappings by dotted key; a list is one value."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{below}{key}.")
        else:
            found[f"{below}{key}"] = value
    return found
