"""Versions of models for tests: a repository with linear models, and what a training leaves."""

import hashlib
import json
from pathlib import Path
from typing import Any

from retrace.runs import models
from retrace.runs.hashes import md5
from tests.heartbeats import MITBIH
from tests.linear_model import CARD, write_model

SPLIT = "c157a79031e1c40f85931829bc5fc552"
LOCK = f"""stages:
  segment:
    deps:
    - path: data/raw
      hash: md5
      md5: 84762602881dd7ca930a2950f4262792.dir
  train:
    deps:
    - path: data/split.csv
      hash: md5
      md5: {SPLIT}
"""


def publish(root: Path, name: str, weights: str = "0", score: float = 0.5) -> Path:
    """A published run with a linear model, as `retrace publish` and `dvc pull` leave it; its file.

    weights: a hex digit, of which the SHA-256 of its weights consists. score: on validation.
    """
    folder = root / "recipes" / name
    (folder / "train").mkdir(parents=True, exist_ok=True)
    given: dict[str, Any] = {"hashes": {"weights": weights * 64}, "temperature": _warm(weights)}
    path = write_model(folder / models.FILE, MITBIH, **given)
    (folder / models.CARD).write_text(json.dumps(CARD | {"domain": MITBIH.to_dict()} | given))
    (folder / models.POINTER).write_text(f"outs:\n- md5: {md5(path)}\n  size: 1\n")
    (folder / "dvc.lock").write_text(LOCK)
    (folder / "train/metrics.json").write_text(json.dumps({"val_f1_macro": score}))
    (folder / "metrics.json").write_text(json.dumps({"f1_macro": 0.4}))
    return path


def new(home: Path, model: str, weights: str, score: float | None = 0.5, **changes: Any) -> Any:
    """What a training leaves to become a version: files below HOME, `registry.New`."""
    from retrace.service import registry

    folder = home / "trainings" / f"{model}_{weights}.out"
    folder.mkdir(parents=True)
    given = {"hashes": {"weights": weights * 64}, "temperature": _warm(weights)}
    path = write_model(folder / models.FILE, MITBIH, **given)
    said: dict[str, Any] = {
        "model": model,
        "source": "training",
        "files": folder,
        "weights": weights * 64,
        "file": hashlib.sha256(path.read_bytes()).hexdigest(),
        "commit": "d4506ed36d17a7cd16949d806205768cd2907fd3",
        "data": {"kind": "recipe", "recordings": [], "persons": 0, "raw": "", "split": SPLIT},
        "metrics": {"validation": {"val_f1_macro": score}, "test": {"f1_macro": 0.9}},
        "comparison": None,
        "params": "lr: 0.001\n",
        "lock": LOCK,
    }
    return registry.New(**said | changes)


def train(service: Any, model: str, weights: str, score: float | None = 0.5, **changes: Any) -> int:
    """Register such a version; its number."""
    from retrace.service import registry

    one = new(service.settings.home, model, weights, score, **changes)
    version_id = registry.place(service.settings.home, one)
    with service.database.write() as session:
        return registry.register(session, version_id, one).number


def _warm(weights: str) -> float:
    """A temperature of its own for each: answers show which version gave them."""
    return 1.0 + int(weights, 16)
