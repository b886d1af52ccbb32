"""A beat laid out in rows as an image, 2D convolutions, and multi-head attention between them.

The attention is that of Vaswani et al., "Attention Is All You Need", NeurIPS 2017, behind a gate
that starts closed, as in Zhang et al., "Self-Attention Generative Adversarial Networks", ICML 2019.
"""

import math
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from retrace.models._waveforms import require_heads, require_samples
from retrace.padding import real_samples

INPUT = "waveforms"

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
}


def build(
    shape: tuple[int, ...],
    n_classes: int,
    *,
    hidden: Annotated[int, Field(ge=1)],
    layers: Annotated[int, Field(ge=1, le=8)],
    attention: bool,
    heads: Annotated[int, Field(ge=1)],
    activation: Literal["relu", "sigmoid", "tanh", "leaky_relu", "gelu"],
) -> nn.Module:
    """A network from (batch, leads, samples) to (batch, n_classes) logits.

    InputError: a window too short for it, or a width that its heads cannot share.

    hidden: channels of every block and width of the linear layer. layers: blocks behind the
    stem; the first, the third, ... is pooled, and followed by attention of `heads` heads if
    `attention`. activation: between the two linear layers.

    The original's image is 16 x 12 whatever the window; here `image_size` chooses it. There
    attention also looks at the zeros that complete a short beat; here it does not.
    """
    if attention:
        require_heads(hidden, heads, "conv_attention")
    leads, samples = shape
    pools = (layers + 1) // 2
    require_samples(samples, 4**pools, "conv_attention")
    return _ConvAttention(
        leads,
        image_size(samples, pools),
        hidden,
        layers,
        heads if attention else 0,
        _ACTIVATIONS[activation](),
        n_classes,
    )


def image_size(samples: int, pools: int) -> tuple[int, int]:
    """Rows and columns of the image that holds `samples`, row by row, with zeros at its end.

    Both are multiples of 2**pools, so that every pooling halves them exactly; the columns are the
    most that do not exceed the square root of `samples`, the rows as many as are needed. 187
    samples make 16 x 12 with one and with two poolings.
    """
    unit = 2**pools
    columns = math.isqrt(samples) // unit * unit
    return math.ceil(samples / columns / unit) * unit, columns


class _ConvAttention(nn.Module):
    def __init__(
        self,
        leads: int,
        size: tuple[int, int],
        hidden: int,
        layers: int,
        heads: int,
        activation: nn.Module,
        n_classes: int,
    ) -> None:
        super().__init__()
        self.size = size
        pools = (layers + 1) // 2
        self.stem = _conv_block(leads, hidden)
        self.blocks = nn.ModuleList(_conv_block(hidden, hidden) for _ in range(layers))
        self.attention = nn.ModuleList(
            GatedAttention(hidden, heads) for _ in range(pools if heads else 0)
        )
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(hidden * math.prod(size) // 4**pools, hidden),
            activation,
            nn.Linear(hidden, n_classes),
        )

    def forward(self, waveforms: Tensor) -> Tensor:
        features = self.stem(self._image(waveforms))
        real = self._image(real_samples(waveforms)[:, None].to(waveforms.dtype))
        for number, block in enumerate(self.blocks):
            features = block(features)
            if number % 2 == 0:
                features = functional.max_pool2d(features, 2)
                real = functional.max_pool2d(real, 2)  # a cell with any signal in it counts
                if self.attention:
                    features = self.attention[number // 2](features, real > 0)
        logits: Tensor = self.head(features)
        return logits

    def _image(self, waveforms: Tensor) -> Tensor:
        missing = math.prod(self.size) - waveforms.shape[-1]
        image: Tensor = functional.pad(waveforms, (0, missing)).unflatten(-1, self.size)
        return image


def _conv_block(n_in: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(n_out, n_out, 3, padding=1),
        nn.ReLU(),
    )


class GatedAttention(nn.Module):
    """Every cell of an image asks all real ones; the answer is let in by a gate that learns."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.project = nn.Conv2d(channels, 3 * channels, 1)  # queries, keys and values
        self.out = nn.Conv2d(channels, channels, 1)
        self.gate = nn.Parameter(torch.zeros(()))

    def forward(self, features: Tensor, real: Tensor) -> Tensor:
        """features: (batch, channels, rows, columns). real: (batch, 1, rows, columns) bool."""
        cells = self.project(features).flatten(2).unflatten(1, (3, self.heads, -1))
        query, key, value = cells.transpose(-1, -2).unbind(1)  # (batch, heads, cells, depth)
        mask = real.flatten(2).unsqueeze(1)  # (batch, 1, 1, cells)
        heard = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        answer: Tensor = self.out(heard.transpose(-1, -2).reshape_as(features))
        return features + self.gate * answer
