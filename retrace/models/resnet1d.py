"""A residual network in one dimension: the stem halves the length twice, the blocks keep it."""

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from retrace.models._waveforms import ResidualBlock

INPUT = "waveforms"


def build(
    shape: tuple[int, ...],
    n_classes: int,
    *,
    stem: Annotated[int, Field(ge=1)],
    channels: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)],
    kernel: Literal[3, 5, 7, 9, 11],
) -> nn.Module:
    """A network from (batch, leads, samples) to (batch, n_classes) logits.

    stem: channels of the first convolution. channels: of each residual block. kernel: samples of
    their convolutions.
    """
    return nn.Sequential(
        nn.Conv1d(shape[0], stem, 7, stride=2, padding=3),
        nn.BatchNorm1d(stem),
        nn.ReLU(),
        nn.MaxPool1d(3, stride=2, padding=1),
        *(
            ResidualBlock(n_in, n_out, kernel=kernel, norm_skip=False)
            for n_in, n_out in pairwise([stem, *channels])
        ),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(channels[-1], n_classes),
    )
