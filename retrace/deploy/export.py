"""A checkpoint as one self-contained ONNX file that answers as the checkpoint does."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from torch import nn

from retrace import sources
from retrace.deploy.network_graph import network_graph
from retrace.deploy.quantise import Batch, quantise
from retrace.deploy.tree_graph import tree_graph
from retrace.errors import InputError
from retrace.learning import checkpoint
from retrace.learning.checkpoint import Model
from retrace.learning.classifier import per_record
from retrace.learning.data import Segments
from retrace.params import Params
from retrace.scoring.calibration import softmax
from retrace.scoring.scores import score
from retrace.signals.domain import SignalDomain

FORMAT, KEY = 1, "retrace"  # of the metadata, and where in the file they stand
OPSET = 18
TOLERANCE = 1e-4  # a hundred times what float32 sums in another order differ by
CALIBRATION, BATCH = 512, 64  # segments of the training part

Floats = NDArray[np.float64]
Card = dict[str, Any]


def export(
    model: Model, segments: Segments, card: Card, params: Params, path: Path, int8: Path
) -> dict[str, Any]:
    """Write the model as the file `path`, and with 8 bits into the folder `int8` if it can be.

    card: the metadata, from `describe`. Returns what metrics/export.json says. Both files answer
    the whole validation part; InputError where the first does not answer as the model.
    """
    rows = segments.rows("val")
    save(path, graph(model, segments.X.shape[1:], segments.features.shape[1]), card)
    logits = answers(path, segments, rows, params.threads)
    expected = checkpoint.logits(model, segments.X, segments.features, rows, BATCH)
    error = compare(expected, logits)

    def scores(logits: Floats) -> dict[str, float]:
        y, probabilities = per_record(
            [segments.record_ids[row] for row in rows],
            segments.labels[rows],
            softmax(logits, card["temperature"]),
            card["aggregate"],
        )
        names = ("accuracy", "f1_macro")
        return {name: round(score(name, y, probabilities, card["classes"]), 6) for name in names}

    quantised = None
    if isinstance(model, nn.Module):
        small = int8 / "model.onnx"
        draw = _draw(segments.rows("train"), params.seed)
        save(small, quantise(path, _batches(segments, draw)), card | {"int8": True})
        said = answers(small, segments, rows, params.threads)
        equal = float((said.argmax(axis=1) == logits.argmax(axis=1)).mean())
        quantised = {"bytes": small.stat().st_size, **scores(said), "equal_labels": round(equal, 6)}
    return {
        "opset": OPSET,
        "largest_relative_error": float(f"{error:.1e}"),
        "labels_compared": len(rows),
        "float": {"bytes": path.stat().st_size, **scores(logits)},
        "int8": quantised,
    }


def describe(
    params: Params, config: dict[str, Any], domain: SignalDomain, hashes: dict[str, str]
) -> Card:
    """What a model file says of itself: what it takes, what it answers, what it was made from.

    config: of the checkpoint. domain: of the segments. hashes: SHA-256 of "data", "split" and
    "weights".
    """
    return {
        "format": FORMAT,
        "model": config["model"]["name"],
        "dataset": params.dataset.name,
        "split": params.split.method,
        "classes": config["classes"],
        "domain": domain.to_dict(),
        "hop": params.segment.hop,
        "short": params.segment.short,
        "aggregate": config["aggregate"],
        "features": params.model.features,
        "temperature": config["temperature"],
        "thresholds": config["thresholds"],
        "int8": False,
        "hashes": hashes | {"params": digest(_text(_shaping(params)).encode())},
    }


def manifest(raw: Path) -> bytes:
    """The list of a data set's files with their SHA-256; of one that was made here, a new list."""
    listed = raw / sources.MANIFEST
    return listed.read_bytes() if listed.is_file() else sources.pin(raw).encode()


def digest(content: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def graph(model: Model, shape: tuple[int, ...], n_features: int) -> onnx.ModelProto:
    """From segments (batch, *shape) and features (batch, n_features) to logits (batch, classes)."""
    if isinstance(model, nn.Module):
        return network_graph(model, shape, n_features, OPSET)
    return tree_graph(model, shape, n_features, OPSET)


def save(path: Path, model: onnx.ModelProto, card: Card) -> None:
    """Write the model with its card and nothing else of its making: equal models, equal bytes."""
    model.producer_name, model.producer_version = "retrace", ""
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {KEY: _text(card)})
    path.write_bytes(model.SerializeToString(deterministic=True))


def answers(path: Path, segments: Segments, rows: NDArray[np.int64], threads: int) -> Floats:
    """What ONNX Runtime says of rows: logits (len(rows), n_classes)."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    parts = [session.run(["logits"], batch)[0] for batch in _batches(segments, rows)]
    return np.concatenate(parts).astype(np.float64)


def compare(expected: Floats, logits: Floats) -> float:
    """The largest difference from expected logits (n, n_classes), over the largest of its row.

    Over each logit itself it would measure chance: some of them are next to 0. InputError where it
    exceeds `TOLERANCE`, or where another class is the most probable in any row.
    """
    largest = np.abs(expected).max(axis=1).clip(1e-12)
    error = float((np.abs(logits - expected).max(axis=1) / largest).max())
    other = int((logits.argmax(axis=1) != expected.argmax(axis=1)).sum())
    if not error <= TOLERANCE or other:  # NaN is no agreement
        raise InputError(
            f"models/model.onnx: {other} of {len(expected)} labels are not the checkpoint's, and "
            f"logits differ by {error:.1e} of a row's largest; no label may, and logits by at most "
            f"{TOLERANCE}: install what requirements.lock names (make setup), then dvc repro export"
        )
    return error


def _batches(segments: Segments, rows: NDArray[np.int64]) -> Iterator[Batch]:
    for start in range(0, len(rows), BATCH):
        mine = rows[start : start + BATCH]
        batch = {"segments": np.asarray(segments.X[mine], np.float32)}
        if segments.features.shape[1]:
            batch["features"] = segments.features[mine]
        yield batch


def _draw(rows: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    size = min(CALIBRATION, len(rows))
    return np.random.default_rng(seed).choice(rows, size, replace=False)


def _shaping(params: Params) -> dict[str, Any]:
    """The params that shaped the model; where its recordings came from, "data" tells."""
    others = {"fetch", "synthetic", "datasets", "models", "evaluate", "robustness"}
    if params.model.input == "waveforms":
        others.add("cwt")
    options = {"datasets": params.dataset_options, "models": params.model_options}
    return params.model_dump(exclude=others) | options


def _text(value: dict[str, Any]) -> str:
    """JSON that is the same for the same value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
