"""A linear model in a file, as the export stage would write it, and recordings in memory."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from retrace.signals.apply import prepare
from retrace.signals.domain import SignalDomain
from retrace.signals.records import Record
from tests.heartbeats import heartbeat

CARD: dict[str, Any] = {
    "format": 1,
    "model": "linear",
    "dataset": "mitdb",
    "split": "ds1_ds2",
    "classes": ["N", "S", "V"],
    "hop": 10.0,
    "short": "pad",
    "aggregate": "none",
    "features": [],
    "temperature": 1.5,
    "thresholds": [0.5, 0.5, 0.5],
    "int8": False,
    "hashes": {"weights": "0" * 64},
}


@dataclass
class Memory:
    """A recording that is not on disk."""

    signal: NDArray[np.float32]
    fs: float
    leads: tuple[str, ...]
    beats: NDArray[np.int64] | None
    samples: int
    name: str = "a"
    path: Path = Path("a")
    age: float | None = None
    sex: str | None = None
    most: int = 0  # samples that were asked for at once

    def read(self, start: int, stop: int, rows: tuple[int, ...]) -> NDArray[np.float32]:
        self.most = max(self.most, stop - start)
        return self.signal[list(rows), start:stop]


def memory(record: Record, beats: NDArray[np.int64] | None = None) -> Memory:
    return Memory(record.signal, record.fs, record.leads, beats, record.signal.shape[1])


def shape_of(domain: SignalDomain) -> tuple[int, ...]:
    form, leads = domain.representation, max(1, len(domain.leads))
    return (leads, form.scales, form.frames) if form else (leads, domain.samples)


def write_model(path: Path, domain: SignalDomain, **changes: Any) -> Path:
    """A linear model with random weights, as the export stage would write it."""
    card = CARD | {"domain": domain.to_dict()} | changes
    rng, classes = np.random.default_rng(0), len(card["classes"])
    shape, features = shape_of(domain), len(card["features"])
    size = int(np.prod(shape))
    weights = {"w": rng.normal(0, size**-0.5, (size, classes)), "u": rng.normal(size=(4, classes))}
    nodes = [
        helper.make_node("Flatten", ["segments"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["shape" if features else "logits"]),
    ]
    inputs = [helper.make_tensor_value_info("segments", TensorProto.FLOAT, ["batch", *shape])]
    if features:
        told = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", features])
        inputs.append(told)
        nodes.append(helper.make_node("MatMul", ["features", "u"], ["rhythm"]))
        nodes.append(helper.make_node("Add", ["shape", "rhythm"], ["logits"]))
    weights["u"] = weights["u"][:features]
    graph = helper.make_graph(
        nodes,
        "linear",
        inputs,
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", classes])],
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"retrace": json.dumps(card)})
    onnx.save(model, path)
    return path


def beats_of(domain: SignalDomain) -> NDArray[np.float32]:
    record = heartbeat(60, 360, ("MLII",))
    return prepare(record, domain, hop=1.0, short="pad", peaks=record.beats).X
