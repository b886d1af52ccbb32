"""Two convolutions without padding, each pooled, and two linear layers; no norm.

The flattened size follows the window. `channels` takes as many layers as it names, and `dropout`
acts before the last layer, so that a search over depth and width needs no model of its own.
"""

from itertools import pairwise
from typing import Annotated

from pydantic import Field
from torch import nn

from retrace.models._waveforms import require_samples

INPUT = "waveforms"


def build(
    shape: tuple[int, ...],
    n_classes: int,
    *,
    channels: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)],
    kernel: Annotated[int, Field(ge=1)],
    hidden: Annotated[int, Field(ge=1)],
    dropout: Annotated[float, Field(ge=0, lt=1)],
) -> nn.Module:
    """A network from (batch, leads, samples) to (batch, n_classes) logits.

    InputError: a window too short for it.

    channels: of each convolution. kernel: samples of each. hidden: width of the linear layer.
    """
    leads, samples = shape
    least = 1
    for _ in channels:
        least = 2 * least + kernel - 1
    require_samples(samples, least, "baseline_cnn")
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise([leads, *channels]):
        layers += [nn.Conv1d(n_in, n_out, kernel), nn.ReLU(), nn.MaxPool1d(2)]
        samples = (samples - kernel + 1) // 2
    return nn.Sequential(
        *layers,
        nn.Flatten(),
        nn.Linear(channels[-1] * samples, hidden),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, n_classes),
    )
