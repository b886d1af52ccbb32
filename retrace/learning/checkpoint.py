"""A trained network on disk: safetensors and config.json, read without pickle."""

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import nn

from retrace.errors import InputError
from retrace.files import new_file, write_json
from retrace.learning.classifier import with_scaling

FORMAT = 1
WEIGHTS = "weights.safetensors"


def build(
    name: str, shape: tuple[int, ...], n_classes: int, options: dict[str, Any]
) -> nn.Sequential:
    """The network of retrace/models/<name>.py with its input scaling in front."""
    module = importlib.import_module(f"retrace.models.{name}")
    return with_scaling(module.build(shape, n_classes, **options), shape)


def save(folder: Path, network: nn.Module, config: dict[str, Any]) -> None:
    """Write weights.safetensors and config.json into an existing folder."""
    save_weights(folder / WEIGHTS, network)
    write_json(folder / "config.json", {"format": FORMAT, **config})


def load(folder: Path) -> tuple[nn.Sequential, dict[str, Any]]:
    """The network in evaluation mode, and its config: classes, domain, temperature, ..."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        options = dict(config["model"]["options"])
        if "pretrained" in options:
            options["pretrained"] = False  # its weights are in the checkpoint
        network = build(
            config["model"]["name"], tuple(config["shape"]), len(config["classes"]), options
        )
        load_weights(folder / WEIGHTS, network)
    except (OSError, ValueError, KeyError, SafetensorError, RuntimeError) as error:
        raise InputError(
            f"{folder}: not a readable checkpoint ({error}); it must be what the train stage "
            "wrote: run dvc repro train, or dvc pull"
        ) from None
    return network.eval(), config


def save_weights(path: Path, network: nn.Module) -> None:
    """The state of the network as safetensors; contiguous, so that equal weights are equal
    bytes. A full disk raises OSError, which `save_file` hides in an error of its own."""
    state = {name: value.contiguous().cpu() for name, value in network.state_dict().items()}
    with new_file(path) as part:
        part.write_bytes(to_bytes(state))


def load_weights(path: Path, network: nn.Module) -> None:
    """Every tensor must be there and fit."""
    network.load_state_dict(load_file(path))


def logits(
    network: nn.Module, X: NDArray[Any], rows: NDArray[np.int64], batch_size: int
) -> NDArray[np.float64]:
    """The outputs (len(rows), n_classes) of the network in evaluation mode."""
    device = next(network.parameters()).device
    network.eval()
    parts = []
    with torch.inference_mode():
        for start in range(0, len(rows), batch_size):
            block = np.asarray(X[rows[start : start + batch_size]], np.float32)
            parts.append(network(torch.from_numpy(block).to(device)).double().cpu().numpy())
    return np.concatenate(parts)
