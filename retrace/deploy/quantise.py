"""The same network with weights of 8 bits: a quarter of the size."""

import logging
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

Batch = dict[str, NDArray[np.float32]]

# What is computed with 8 bits, and what hands such values on. Not additions and choices: the mask
# of an attention says -inf, of which 8 bits know nothing.
_STATIC = ["Conv", "Gemm", "MatMul", "MaxPool", "Relu", "Flatten"]


def quantise(path: Path, batches: Iterable[Batch]) -> onnx.ModelProto:
    """The network in the file `path`, with 8 bits where that is known to keep its answers.

    batches: what the network may be given, from which the ranges of its values are taken. A
    recurrent network finds the ranges anew in each answer; ONNX Runtime has no GRU of 8 bits, so
    that of a GRU the weights alone are. Weights use 7 bits of the 8: with all, sums overflow on
    processors without 8-bit instructions of their own.
    """
    recurrent = any(node.op_type in ("GRU", "LSTM") for node in onnx.load(path).graph.node)
    weights = {"weight_type": QuantType.QInt8, "per_channel": True, "reduce_range": True}
    with tempfile.TemporaryDirectory() as folder, _quiet():
        simple, out = Path(folder) / "simple.onnx", Path(folder) / "int8.onnx"
        # What is computed of weights alone becomes a weight, which 8 bits can hold.
        quant_pre_process(path, simple, skip_symbolic_shape=True)
        if recurrent:
            quantize_dynamic(simple, out, **weights)
        else:
            quantize_static(
                simple,
                out,
                _Reader(batches),
                op_types_to_quantize=_STATIC,
                activation_type=QuantType.QUInt8,
                extra_options={"CalibMovingAverage": True},  # an outlier stretches no range
                **weights,
            )
        quantised = onnx.load(out)
    _shrink_gru(quantised.graph)
    return quantised


@contextmanager
def _quiet() -> Iterator[None]:
    """Without ONNX Runtime's advice on the console."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, batches: Iterable[Batch]) -> None:
        self._batches = iter(batches)

    def get_next(self) -> Batch | None:
        return next(self._batches, None)


def _shrink_gru(graph: onnx.GraphProto) -> None:
    """Keep the weights of every GRU as int8, a scale for each row, and widen them at its door."""
    weights = {tensor.name: tensor for tensor in graph.initializer}
    for node in [node for node in graph.node if node.op_type == "GRU"]:
        for name in node.input[1:3]:  # W and R: (1, 3 x hidden, inputs or hidden)
            values = numpy_helper.to_array(weights[name])
            scale = np.abs(values).max(axis=(0, 2)).clip(1e-12) / np.float32(127)
            rounded = np.round(values / scale[None, :, None]).astype(np.int8)
            graph.initializer.remove(weights[name])
            graph.initializer.append(numpy_helper.from_array(rounded, f"{name}_int8"))
            graph.initializer.append(numpy_helper.from_array(scale, f"{name}_scale"))
            widen = helper.make_node(
                "DequantizeLinear", [f"{name}_int8", f"{name}_scale"], [name], axis=1
            )
            graph.node.insert(0, widen)
