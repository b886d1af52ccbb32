"""Convolutions that keep the length, each pooled, and two linear layers.

The original flattens to a fixed 64 x 46 and so breaks with another window, and does not read its
own setting of the kernel; here the size follows the window and the kernel is what is set.
"""

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from retrace.models._waveforms import require_samples

INPUT = "waveforms"


def build(
    shape: tuple[int, ...],
    n_classes: int,
    *,
    channels: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)],
    kernel: Literal[3, 5, 7, 9, 11],
    hidden: Annotated[int, Field(ge=1)],
    dropout: Annotated[float, Field(ge=0, lt=1)],
) -> nn.Module:
    """A network from (batch, leads, samples) to (batch, n_classes) logits.

    InputError: a window too short for it.

    channels: of each convolution. kernel: samples of each. hidden: width of the linear layer.
    """
    leads, samples = shape
    require_samples(samples, 2 ** len(channels), "simple_cnn")
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise([leads, *channels]):
        layers += [nn.Conv1d(n_in, n_out, kernel, padding=kernel // 2), nn.ReLU(), nn.MaxPool1d(2)]
        samples //= 2
    return nn.Sequential(
        *layers,
        nn.Flatten(),
        nn.Linear(channels[-1] * samples, hidden),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, n_classes),
    )
