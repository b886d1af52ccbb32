"""dvc.lock files side by side: which stages wrote the same bytes."""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Lock = Mapping[str, Any]


@dataclass(frozen=True)
class Verdict:
    """What became of one stage: "same", "different" or "not run", and what differs."""

    stage: str
    state: str
    differing: tuple[str, ...] = ()

    def __str__(self) -> str:
        what = f": {', '.join(self.differing)}" if self.differing else ""
        return f"{self.state}{what}"


def parse(text: str) -> Lock:
    """The stages of a dvc.lock."""
    stages: Lock = (yaml.safe_load(text) or {}).get("stages") or {}
    return stages


def committed(root: Path) -> tuple[Lock, str] | None:
    """The dvc.lock of the last commit, or without Git that of the published default run.

    Returns it with the words that name it, or None where there is neither.
    """
    shown = subprocess.run(
        ["git", "show", "HEAD:./dvc.lock"], cwd=root, capture_output=True, text=True, check=False
    )
    if shown.returncode == 0:
        return parse(shown.stdout), "the committed dvc.lock"
    published = root / "recipes" / "synthetic" / "dvc.lock"
    if published.is_file():
        return parse(published.read_text(encoding="utf-8")), str(published.relative_to(root))
    return None


def compare(ours: Lock, theirs: Lock) -> list[Verdict]:
    """Each stage of `theirs`: whether `ours` wrote the same outs, with the same params."""
    verdicts = []
    for stage, there in theirs.items():
        here = ours.get(stage)
        if here is None:
            verdicts.append(Verdict(stage, "not run"))
            continue
        outs, expected = _outs(here), _outs(there)
        differing = [path for path in expected if outs.get(path) != expected[path]]
        if here.get("params") != there.get("params"):
            differing.append("params")
        verdicts.append(Verdict(stage, "different" if differing else "same", tuple(differing)))
    return verdicts


def _outs(stage: Mapping[str, Any]) -> dict[str, str]:
    return {out["path"]: out.get("md5", "") for out in stage.get("outs", [])}
