"""Training a network, from segments on disk to a checkpoint with its calibration."""

import hashlib
import json
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from retrace.errors import InputError
from retrace.files import new_folder, write_json
from retrace.learning import checkpoint
from retrace.learning.augmentation import Augmentation
from retrace.learning.balance import loss_function
from retrace.learning.classifier import Classifier, InputScaling, per_record
from retrace.learning.data import SegmentData, Segments
from retrace.learning.engine import MisconfigurationException, Trainer, lightning_version
from retrace.learning.progress import EpochTable
from retrace.learning.tracking import DvcLiveCurves, History, ResumePoint
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


def run_key(params: Params, inputs: list[Path]) -> str:
    """A name for "this training": a hash of its params and of the bytes of its inputs.

    inputs: data files and source files. A resume point is only ever used by the training that
    would write the same one.
    """
    digest = hashlib.sha256(json.dumps(params.model_dump(), sort_keys=True).encode())
    digest.update(str(torch.__version__).encode())
    for path in inputs:
        digest.update(path.name.encode())
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:16]


def train(
    params: Params, segments: Segments, domain: SignalDomain, folders: Folders, key: str
) -> History:
    """Train, keep the best epoch, fit temperature and thresholds on validation, write it all.

    Broken off at any moment and called again, it goes on after the last finished epoch and ends
    with the same bytes (on one machine, with the same `threads`).
    """
    _prepare(params)
    run = folders.runs / key
    shape = tuple(segments.X.shape[1:])
    options = params.model_options
    network = checkpoint.build(params.model.name, shape, len(segments.classes), options)
    scaling = network[0]
    assert isinstance(scaling, InputScaling)
    scaling.fit(segments.X, segments.rows("train"))
    if len(shape) == 3:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if params.train.compile:
        network.compile()
    settings = params.train
    stop = settings.early_stopping
    history = History(run / "resume", f"val_{settings.score}", stop.patience, stop.min_delta)
    resume = ResumePoint(run / "resume", history)
    curves = DvcLiveCurves(folders.curves, history)
    trainer = _trainer(params, [history, curves, EpochTable(history), resume])
    started = time.monotonic()
    trainer.fit(
        _module(params, network, segments),
        datamodule=SegmentData(
            segments,
            batch_size=params.batch_size,
            seed=params.seed,
            balanced=settings.imbalance == "sampler",
            augment=Augmentation(**settings.augment.model_dump()),
            workers=settings.workers,
        ),
        ckpt_path=resume.path,
        weights_only=True,
    )
    seconds = time.monotonic() - started
    if trainer.is_global_zero:
        curves.close()
        with new_folder(folders.plots) as folder:
            best, name = history.best_epoch, history.score
            draw_curves(folder / "curves.png", history.rows, score=name, best_epoch=best)
        checkpoint.load_weights(history.best_weights, network)
        network = network.cpu().float()
        config = _config(params, segments, domain, shape, history)
        with new_folder(folders.checkpoint) as folder:
            checkpoint.save(folder, network, config | _calibrate(params, network, segments))
        cost = _cost(network, segments, history, seconds)
        weights = (folders.checkpoint / checkpoint.WEIGHTS).read_bytes()
        # How `retrace publish` knows which run the weights in the workspace come from.
        cost["weights_sha256"] = hashlib.sha256(weights).hexdigest()
        write_json(run / "cost.json", cost)
        write_json(run / "environment.json", environment())
        resume.remove()
    return history


def _prepare(params: Params) -> None:
    torch.set_num_threads(params.threads)
    torch.manual_seed(params.seed)


def _trainer(params: Params, callbacks: list[Any]) -> Trainer:
    settings = params.train
    precision = settings.precision
    if precision == "auto":
        on_gpu = settings.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
        precision = "bf16-mixed" if on_gpu and torch.cuda.is_bf16_supported() else "32-true"
    try:
        return Trainer(
            accelerator=settings.accelerator,
            devices=settings.devices,
            num_nodes=settings.nodes,
            strategy=settings.strategy,
            precision=precision,
            max_epochs=params.epochs,
            gradient_clip_val=settings.clip or None,
            callbacks=callbacks,
            logger=False,
            enable_checkpointing=True,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            deterministic="warn",
        )
    except (ValueError, RuntimeError, MisconfigurationException) as error:
        raise InputError(
            f"params.yaml: train: {error}; accelerator, devices, nodes, strategy and precision "
            "must be ones that Lightning knows and this machine has: set them to auto, 1"
        ) from None


def _module(params: Params, network: torch.nn.Module, segments: Segments) -> Classifier:
    labels = segments.labels[segments.rows("train")]
    return Classifier(
        network,
        loss_function(
            labels,
            len(segments.classes),
            imbalance=params.train.imbalance,
            label_smoothing=params.train.label_smoothing,
        ),
        params.train,
        lr=params.lr,
        weight_decay=params.weight_decay,
        epochs=params.epochs,
        seed=params.seed,
        record_ids=segments.record_ids,
        classes=segments.classes,
        rule=params.model.aggregate,
    )


def _config(
    params: Params,
    segments: Segments,
    domain: SignalDomain,
    shape: tuple[int, ...],
    history: History,
) -> dict[str, Any]:
    return {
        "classes": segments.classes,
        "model": {"name": params.model.name, "options": params.model_options},
        "shape": list(shape),
        "domain": domain.to_dict(),
        "aggregate": params.model.aggregate,
        "seed": params.seed,
        "best_epoch": history.best_epoch + 1,
        "validation": history.rows[history.best_epoch],
    }


def _calibrate(params: Params, network: torch.nn.Module, segments: Segments) -> dict[str, Any]:
    """Temperature and one-versus-rest thresholds, fitted on the validation part."""
    rows = segments.rows("val")
    logits = checkpoint.logits(network, segments.X, rows, params.batch_size)
    labels = segments.labels[rows]
    temperature = fit_temperature(logits, labels)
    y, probabilities = per_record(
        [segments.record_ids[row] for row in rows],
        labels,
        softmax(logits, temperature),
        params.model.aggregate,
    )
    thresholds = fit_thresholds(probabilities, y, len(segments.classes))
    return {"temperature": temperature, "thresholds": [float(value) for value in thresholds]}


def _cost(
    network: torch.nn.Module, segments: Segments, history: History, seconds: float
) -> dict[str, Any]:
    """Wall-clock figures; they never stand in a file whose hash dvc.lock keeps."""
    rows = segments.rows("val")[:64]
    started = time.monotonic()
    checkpoint.logits(network, segments.X, rows, 1)
    each = (time.monotonic() - started) / len(rows)
    return {
        "training_seconds": round(seconds, 1),
        "epochs": len(history.rows),
        "train_segments": len(segments.rows("train")),
        "parameters": sum(p.numel() for p in network.parameters()),
        "prediction_ms_per_segment": round(each * 1e3, 3),
    }


def environment() -> dict[str, str]:
    """What a result depends on beside code, data and params: machine and versions."""
    cuda = torch.cuda.is_available()
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "gpu": torch.cuda.get_device_name() if cuda else "none",
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": str(torch.get_num_threads()),
        "torch": str(torch.__version__),
        "lightning": lightning_version,
        "numpy": np.__version__,
    }
