"""What stands on disk, byte for byte, against what a dvc.lock says of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retrace.runs import locks
from retrace.runs.hashes import md5


@dataclass(frozen=True)
class Found:
    """A stage as it is found, in words. changed: which of its outs are not what it wrote. why: what
    keeps it from being the result of the present code, params and inputs."""

    changed: tuple[str, ...] = ()
    why: tuple[str, ...] = ()


def found(root: Path, lock: locks.Lock, params: Mapping[str, Any]) -> dict[str, Found]:
    """Every stage of the workspace's own lock; params: those of params.yaml, by dotted key."""
    written = locks.outs(lock)
    here = {path: md5(root / path) for path in written}
    stages = {}
    for name, stage in lock.items():
        outs = locks.hashes(stage, "outs")
        why = [f"{path} is missing" for path in outs if not here[path]]
        since = [*_stale(root, stage, written, here), *_other(stage, params)]
        if since:
            why.append(f"{', '.join(since)} changed since it ran")
        other = [path for path in outs if here[path] not in ("", written[path])]
        changed = [f"{path} (changed since the stage wrote it)" for path in other]
        stages[name] = Found(tuple(changed), tuple(why))
    return stages


def changed_code(root: Path, lock: locks.Lock, stage: str) -> list[str]:
    """The files of a stage's code that are not as they were when it ran."""
    code = locks.code(lock[stage], locks.outs(lock))
    return [path for path, then in code.items() if md5(root / path) != then]


def _stale(
    root: Path, stage: locks.Lock, written: Mapping[str, str], here: Mapping[str, str]
) -> list[str]:
    """The deps that are not as they were when the stage ran.

    What another stage wrote counts as that stage left it: bytes that changed later are held
    against that one alone. params.yaml counts by its values, not by its bytes.
    """
    found = []
    for dep, then in locks.hashes(stage, "deps").items():
        if dep in written:
            now = written[dep]
        elif folder := next((path for path in written if dep.startswith(f"{path}/")), ""):
            now = md5(root / dep) if here[folder] == written[folder] else then
        else:
            now = then if dep == locks.PARAMS else md5(root / dep)
        if now != then:
            found.append(dep)
    return found


def _other(stage: locks.Lock, params: Mapping[str, Any]) -> list[str]:
    """The params with which the stage ran and that params.yaml has otherwise, or not at all."""
    ran = locks.params_of(stage).items()
    return [f"param {key}" for key, then in ran if key not in params or params[key] != then]
