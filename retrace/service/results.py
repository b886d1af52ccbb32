"""What a training leaves: a folder that the registry takes, and what is known of it.

model.onnx, params.yaml and dvc.lock; validation.npz and test.npz (see `parts`) and reference.json
(see `observations`) where the run has such; result.json, which stands there last.
"""

import hashlib
import json
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from retrace.deploy.predictor import Predictor
from retrace.errors import InputError
from retrace.files import new_folder, read_csv, write_json
from retrace.service import observations, parts, training_data

RESULT, MODEL, PARAMS, LOCK = "result.json", "model.onnx", "params.yaml", "dvc.lock"
FILES = (MODEL, PARAMS, LOCK, "validation.npz", "test.npz", "reference.json")


def read(out: Path) -> dict[str, Any] | None:
    """What `write` returned for this folder; None where it was not written."""
    with suppress(FileNotFoundError):
        found: dict[str, Any] = json.loads((out / RESULT).read_text(encoding="utf-8"))
        return found
    return None


def write(tree: Path, out: Path, progress: Callable[[float], None]) -> dict[str, Any]:
    """Write the folder `out`, whole or not at all, of the finished run in `tree`; returns what is
    known of the run. progress: as of `worktree.train`."""
    with new_folder(out) as folder:
        copied = {MODEL: tree / "models/model.onnx", PARAMS: tree / PARAMS, LOCK: tree / LOCK}
        for name, source in copied.items():
            (folder / name).write_bytes(source.read_bytes())
        predictor = Predictor(folder / MODEL)
        with suppress(InputError):  # a part too large to be kept; monitoring says what is missing
            parts.save(folder / "validation.npz", parts.from_run(tree, predictor.card, "val"))
            parts.save(folder / "test.npz", parts.from_run(tree, predictor.card, "test"))
        with suppress(InputError):  # of data that are no recordings
            found = observations.reference(tree, predictor, progress=lambda _: progress(1.0))
            write_json(folder / "reference.json", found)
        result = _result(tree, folder)
        write_json(folder / RESULT, result)
    return result


def _result(tree: Path, folder: Path) -> dict[str, Any]:
    from retrace.runs import locks  # of the extra `train`, which a gateway need not have
    from retrace.runs.run import weights

    lock = (tree / LOCK).read_text(encoding="utf-8")
    outs = locks.outs(locks.parse(lock))
    data: dict[str, Any] = {"raw": outs["data/raw"], "split": outs["data/split.csv"]}
    if (tree / "data/raw/own").is_dir():
        data |= training_data.trained_on(tree) | {"validation": _without_own(tree)}
    return {
        "validation": _json(tree / "metrics/train/metrics.json"),
        "test": _json(tree / "metrics/test.json"),
        "weights": weights(tree),
        "file": hashlib.sha256((folder / MODEL).read_bytes()).hexdigest(),
        "commit": _commit(tree),
        "dvc.lock": lock,
        "data": data,
    }


def _without_own(tree: Path) -> str:
    """The MD5 of split.csv without the own recordings, and with DS1 to train on, as it was dealt:
    that of MIT-BIH's own split in dvc.lock. By it the registry knows the same validation part."""
    own = {row["record_id"] for row in read_csv(tree / "own" / training_data.PERSONS)}
    kept, trained = (f",{subset}\n".encode() for subset in ("kept", "train"))
    digest = hashlib.md5(usedforsecurity=False)
    with (tree / "data/split.csv").open("rb") as stream:
        for line in stream:
            if line.split(b",")[0].rpartition(b"_")[0].decode() not in own:
                digest.update(line.removesuffix(kept) + trained if line.endswith(kept) else line)
    return digest.hexdigest()


def _json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _commit(tree: Path) -> str:
    said = subprocess.run(
        ["git", "-C", str(tree), "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    )
    return said.stdout.strip()
