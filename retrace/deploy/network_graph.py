"""A PyTorch network as an ONNX graph."""

import tempfile
import warnings
from pathlib import Path

import onnx
import torch

from retrace.learning.classifier import Network


def network_graph(
    network: Network, shape: tuple[int, ...], n_features: int, opset: int
) -> onnx.ModelProto:
    """The network in evaluation mode, for any number of segments of `shape` at a time.

    By PyTorch's first exporter: the newer one takes half a minute for a GRU, and leaves paths of
    the exporting machine in the file.
    """
    names = ["segments", "features"] if n_features else ["segments"]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other batches than the example: tests/ try them
        path = Path(folder) / "model.onnx"
        torch.onnx.export(
            network.eval(),
            (torch.zeros(2, *shape), torch.zeros(2, n_features)),
            path,
            input_names=names,
            output_names=["logits"],
            dynamic_axes={name: {0: "batch"} for name in [*names, "logits"]},
            opset_version=opset,
            dynamo=False,
        )
        return onnx.load(path)
