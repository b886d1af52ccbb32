"""Two convolutions, each pooled by overlapping threes, and four linear layers: "CNN-4".

The fourth experiment with it: a learning rate that halves every ten epochs. The original ends in
softmax; here, as everywhere, logits leave the network.
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
    hidden: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)],
    slope: Annotated[float, Field(ge=0, lt=1)],
    dropout: Annotated[float, Field(ge=0, lt=1)],
) -> nn.Module:
    """A network from (batch, leads, samples) to (batch, n_classes) logits.

    InputError: a window too short for it.

    channels: of each convolution. kernel: samples of each. hidden: widths of the linear layers.
    slope: of their leaky ReLU below 0. dropout: of the flattened features.
    """
    leads, samples = shape
    least = 1
    for _ in channels:
        least = 2 * least + kernel
    require_samples(samples, least, "cnn4")
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise([leads, *channels]):
        layers += [nn.Conv1d(n_in, n_out, kernel), nn.ReLU(), nn.MaxPool1d(3, stride=2)]
        samples = (samples - kernel - 2) // 2 + 1
    layers += [nn.Flatten(), nn.Dropout(dropout)]
    for n_in, n_out in pairwise([channels[-1] * samples, *hidden]):
        layers += [nn.Linear(n_in, n_out), nn.LeakyReLU(slope)]
    return nn.Sequential(*layers, nn.Linear(hidden[-1], n_classes))
