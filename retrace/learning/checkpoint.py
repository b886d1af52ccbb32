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
from retrace.learning.classifier import Network
from retrace.learning.estimators import Estimator

FORMAT = 1
WEIGHTS = "weights.safetensors"
_SMALLEST = 1e-7  # probability: forests say 0, of which there is no logarithm


Model = Network | Estimator


def build(
    name: str, shape: tuple[int, ...], n_classes: int, options: dict[str, Any], n_features: int
) -> Model:
    """What retrace/models/<name>.py builds; a network gets its input scaling in front."""
    built = importlib.import_module(f"retrace.models.{name}").build(shape, n_classes, **options)
    return Network(built, shape, n_features, n_classes) if isinstance(built, nn.Module) else built


def save(folder: Path, model: Model, config: dict[str, Any]) -> None:
    """Write weights.safetensors and config.json into an existing folder."""
    save_weights(folder / WEIGHTS, model)
    write_json(folder / "config.json", {"format": FORMAT, **config})


def load(folder: Path) -> tuple[Model, dict[str, Any]]:
    """The model, ready to answer, and its config: classes, domain, temperature, ..."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        options = dict(config["model"]["options"])
        if "pretrained" in options:
            options["pretrained"] = False  # its weights are in the checkpoint
        model = build(
            config["model"]["name"],
            tuple(config["shape"]),
            len(config["classes"]),
            options,
            len(config["model"].get("features", [])),
        )
        load_weights(folder / WEIGHTS, model)
    except (OSError, ValueError, KeyError, SafetensorError, RuntimeError) as error:
        raise InputError(
            f"{folder}: not a readable checkpoint ({error}); it must be what the train stage "
            "wrote: run dvc repro train, or dvc pull"
        ) from None
    return model, config


def save_weights(path: Path, model: Model) -> None:
    """The state of the model as safetensors; contiguous, so that equal weights are equal bytes.
    A full disk raises OSError, which `save_file` hides in an error of its own."""
    state: dict[str, Any]
    if isinstance(model, nn.Module):
        state = {name: value.contiguous().cpu() for name, value in model.state_dict().items()}
    else:
        state = {name: torch.from_numpy(value) for name, value in model.state().items()}
    with new_file(path) as part:
        part.write_bytes(to_bytes(state))


def load_weights(path: Path, model: Model) -> None:
    """Every tensor must be there and fit."""
    state = load_file(path)
    if isinstance(model, nn.Module):
        model.load_state_dict(state)
        model.eval()
    else:
        model.restore({name: value.numpy() for name, value in state.items()})


def logits(
    model: Model,
    X: NDArray[Any],
    features: NDArray[np.float32],
    rows: NDArray[np.int64],
    batch_size: int,
) -> NDArray[np.float64]:
    """What the model says of rows of X (n, ...) and of features (n, k): (len(rows), n_classes).

    For a network its outputs in evaluation mode; for an estimator the logarithm of its
    probabilities, which a temperature scales in the same way.
    """
    if isinstance(model, nn.Module):
        model.eval()
        device = next(model.parameters()).device
    parts = []
    with torch.inference_mode():
        for start in range(0, len(rows), batch_size):
            mine = rows[start : start + batch_size]
            block, beside = np.asarray(X[mine], np.float32), features[mine]
            if isinstance(model, nn.Module):
                tensors = (torch.from_numpy(array).to(device) for array in (block, beside))
                parts.append(model(*tensors).double().cpu().numpy())
            else:
                probabilities = model.probabilities(flat(block, beside))
                parts.append(np.log(np.clip(probabilities, _SMALLEST, 1)))
    return np.concatenate(parts)


def flat(X: NDArray[Any], features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Segments and the features beside them as rows of numbers, as estimators take them."""
    return np.concatenate([np.asarray(X, np.float32).reshape(len(X), -1), features], axis=1)
