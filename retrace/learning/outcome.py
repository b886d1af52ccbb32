"""What a training leaves behind, whatever was trained."""

import hashlib
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from retrace.files import new_folder, write_json
from retrace.learning import checkpoint
from retrace.learning.checkpoint import Model
from retrace.learning.classifier import per_record
from retrace.learning.data import Segments
from retrace.learning.engine import lightning_version
from retrace.learning.tracking import History
from retrace.params import Params
from retrace.scoring.calibration import fit_temperature, fit_thresholds, softmax
from retrace.scoring.curves import draw_curves
from retrace.signals.domain import SignalDomain


@dataclass(frozen=True)
class Folders:
    """Where a training reads and writes."""

    checkpoint: Path
    curves: Path
    plots: Path
    runs: Path


def keep(
    params: Params,
    model: Model,
    segments: Segments,
    domain: SignalDomain,
    history: History,
    folders: Folders,
    run: Path,
) -> None:
    """Write the trained model with its calibration, its curves, and what it cost.

    run: the folder of this training, for what depends on the machine.
    """
    with new_folder(folders.plots) as folder:
        draw_curves(
            folder / "curves.png",
            history.rows,
            score=history.score,
            best_epoch=history.best_epoch,
        )
    config = _config(params, segments, domain, history) | _calibrate(params, model, segments)
    with new_folder(folders.checkpoint) as folder:
        checkpoint.save(folder, model, config)
    weights = (folders.checkpoint / checkpoint.WEIGHTS).read_bytes()
    # How `retrace publish` knows which run the weights in the workspace come from.
    sha256 = hashlib.sha256(weights).hexdigest()
    write_json(run / "cost.json", _cost(model, segments, history) | {"weights_sha256": sha256})
    write_json(run / "environment.json", _environment(model))


def _config(
    params: Params, segments: Segments, domain: SignalDomain, history: History
) -> dict[str, Any]:
    return {
        "classes": segments.classes,
        "model": {
            "name": params.model.name,
            "options": params.model_options,
            "features": params.model.features,
        },
        "shape": list(segments.X.shape[1:]),
        "domain": domain.to_dict(),
        "aggregate": params.model.aggregate,
        "seed": params.seed,
        "best_epoch": history.best_epoch + 1,
        "validation": history.rows[history.best_epoch],
    }


def _calibrate(params: Params, model: Model, segments: Segments) -> dict[str, Any]:
    """Temperature and one-versus-rest thresholds, fitted on the validation part."""
    rows = segments.rows("val")
    labels = segments.labels[rows]
    logits = checkpoint.logits(model, segments.X, segments.features, rows, params.batch_size)
    temperature = fit_temperature(logits, labels)
    y, probabilities = per_record(
        [segments.record_ids[row] for row in rows],
        labels,
        softmax(logits, temperature),
        params.model.aggregate,
    )
    thresholds = fit_thresholds(probabilities, y, len(segments.classes))
    return {"temperature": temperature, "thresholds": [float(value) for value in thresholds]}


def _cost(model: Model, segments: Segments, history: History) -> dict[str, Any]:
    """Wall-clock figures; they never stand in a file whose hash dvc.lock keeps."""
    rows = segments.rows("val")[:64]
    started = time.monotonic()
    checkpoint.logits(model, segments.X, segments.features, rows, 1)
    each = (time.monotonic() - started) / len(rows)
    if isinstance(model, nn.Module):
        size = sum(p.numel() for p in model.parameters())
    else:
        size = model.size
    return {
        "training_seconds": round(history.seconds, 1),
        "epochs": len(history.rows),
        "train_segments": len(segments.rows("train")),
        "parameters": size,
        "prediction_ms_per_segment": round(each * 1e3, 3),
    }


def _environment(model: Model) -> dict[str, str]:
    """What a result depends on beside code, data and params: machine and versions."""
    on_gpu, (library, version) = False, ("lightning", lightning_version)
    if isinstance(model, nn.Module):
        on_gpu = torch.cuda.is_available()
    else:
        library, version = model.library
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "gpu": torch.cuda.get_device_name() if on_gpu else "none",
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": str(torch.get_num_threads()),
        "torch": str(torch.__version__),
        library: version,
        "numpy": np.__version__,
    }
