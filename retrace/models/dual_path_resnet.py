"""Two residual paths on one stem, of short and of long kernels, each with attention in time.

Nothing is pooled before the end: both paths work at the full length, so that the cost grows with
the window, 300 million multiplications for 187 samples.
"""

from itertools import pairwise
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from retrace.models._waveforms import ResidualBlock

INPUT = "waveforms"


def build(
    shape: tuple[int, ...],
    n_classes: int,
    *,
    stem: Annotated[int, Field(ge=1)],
    channels: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)],
    local_kernel: Literal[3, 5, 7, 9, 11],
    global_kernel: Literal[3, 5, 7, 9, 11, 13, 15],
    reduction: Annotated[int, Field(ge=1)],
    dropout: Annotated[float, Field(ge=0, lt=1)],
) -> nn.Module:
    """A network from (batch, leads, samples) to (batch, n_classes) logits.

    stem: channels of the first convolution. channels: of each residual block. local_kernel,
    global_kernel: samples of the two paths' convolutions. reduction: how many times fewer
    channels attention has inside.
    """
    return _DualPath(
        shape[0],
        [stem, *channels],
        (local_kernel, global_kernel),
        max(1, channels[-1] // reduction),
        dropout,
        n_classes,
    )


class _DualPath(nn.Module):
    def __init__(
        self,
        leads: int,
        channels: list[int],
        kernels: tuple[int, int],
        inner: int,
        dropout: float,
        n_classes: int,
    ) -> None:
        super().__init__()
        width = 2 * channels[-1]
        self.stem = _conv_norm_relu(leads, channels[0], 7)
        self.paths = nn.ModuleList(
            nn.Sequential(
                *(
                    ResidualBlock(n_in, n_out, kernel=kernel, norm_skip=True)
                    for n_in, n_out in pairwise(channels)
                ),
                _TemporalAttention(channels[-1], inner),
            )
            for kernel in kernels
        )
        self.head = nn.Sequential(
            _conv_norm_relu(width, width, 1),
            nn.AdaptiveAvgPool1d(1),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(width, n_classes),
        )

    def forward(self, waveforms: Tensor) -> Tensor:
        features = self.stem(waveforms)
        both = torch.cat([path(features) for path in self.paths], dim=1)
        logits: Tensor = self.head(both)
        return logits


class _TemporalAttention(nn.Module):
    """Weighs every channel at every sample by what the channels say there."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.weigh = nn.Sequential(
            _conv_norm_relu(channels, inner, 1), nn.Conv1d(inner, channels, 1), nn.Sigmoid()
        )

    def forward(self, features: Tensor) -> Tensor:
        weighed: Tensor = features * self.weigh(features)
        return weighed


def _conv_norm_relu(n_in: int, n_out: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv1d(n_in, n_out, kernel, padding=kernel // 2), nn.BatchNorm1d(n_out), nn.ReLU()
    )
