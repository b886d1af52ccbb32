"""EfficientNet on scalograms: torchvision's own b0 to b7, and a nano for small machines.

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019.
"""

import tempfile
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from retrace.errors import InputError
from retrace.sources import obtain
from retrace.vision import import_torchvision

INPUT = "scalograms"

_NANO_WIDTH, _NANO_DEPTH = 0.35, 0.4
_RGB = 3


def build(
    shape: tuple[int, ...],
    n_classes: int,
    *,
    variant: Literal["nano", "b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7"],
    pretrained: bool,
    weights_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None,
    image_size: Annotated[int, Field(ge=32, le=1024)],
    square: bool,
    dropout: Annotated[float, Field(ge=0, lt=1)],
) -> nn.Module:
    """A network from (batch, leads, scales, frames) to (batch, n_classes) logits.

    pretrained: start from ImageNet weights (b0 to b7), obtained and checked by
    `retrace.sources`; it is an error when they cannot be had, never a silent random start.
    weights_sha256: of their file; None checks the 8 digits that torchvision publishes.
    image_size: pixels of the image's height, its scales. square: whether the width, time, has
    as many, or as many as keep the scalogram's proportions.
    """
    if pretrained and variant == "nano":
        raise InputError(
            "params.yaml: models.efficientnet.pretrained: true; nano was never trained on "
            "ImageNet: set it to false, or variant to b0 ... b7"
        )
    import_torchvision()
    from torchvision.models import get_model

    network: Any
    if variant == "nano":
        network = _nano(dropout)
    else:
        network = get_model(f"efficientnet_{variant}", weights=None, dropout=dropout)
    if pretrained:
        _load_imagenet(network, variant, weights_sha256)
    _adapt_stem(network, leads=shape[0])
    head = network.classifier[1]
    network.classifier[1] = _fresh_linear(head.in_features, n_classes)
    width = image_size if square else round(image_size * shape[2] / shape[1])
    return _Resized(network, (image_size, width))


class _Resized(nn.Module):
    """Scalograms are stretched to an image of (height, width) pixels."""

    def __init__(self, network: nn.Module, size: tuple[int, int]) -> None:
        super().__init__()
        self.network = network
        self.size = size

    def forward(self, scalograms: Tensor) -> Tensor:
        images = functional.interpolate(scalograms, self.size, mode="bilinear")
        logits: Tensor = self.network(images)
        return logits


def _nano(dropout: float) -> Any:
    """b0's blocks at a third of their width and fewer of them: .33 M parameters."""
    from torchvision.models.efficientnet import EfficientNet, MBConvConfig

    block = partial(MBConvConfig, width_mult=_NANO_WIDTH, depth_mult=_NANO_DEPTH)
    return EfficientNet(
        [  # expansion, kernel, stride, channels in and out, repeats: those of b0
            block(1, 3, 1, 32, 16, 1),
            block(6, 3, 2, 16, 24, 2),
            block(6, 5, 2, 24, 40, 2),
            block(6, 3, 2, 40, 80, 3),
            block(6, 5, 1, 80, 112, 3),
            block(6, 5, 2, 112, 192, 4),
            block(6, 3, 1, 192, 320, 1),
        ],
        dropout=dropout,
    )


def _adapt_stem(network: Any, leads: int) -> None:
    """Replace the first convolution by one on `leads` channels.

    Each lead gets the mean of the three RGB kernels, so that what was learnt on images is kept;
    3 / leads keeps the size of the response, as if the lead were shown as a grey image.
    """
    old = network.features[0][0]
    new = nn.Conv2d(
        leads,
        old.out_channels,
        kernel_size=3,
        stride=old.stride,
        padding=old.padding,
        bias=False,
    )
    with torch.no_grad():
        mean = old.weight.mean(dim=1, keepdim=True)
        new.weight.copy_(mean.repeat(1, leads, 1, 1) * (_RGB / leads))
    network.features[0][0] = new


def _fresh_linear(n_features: int, n_classes: int) -> nn.Linear:
    """The head as torchvision starts it."""
    head = nn.Linear(n_features, n_classes)
    bound = n_classes**-0.5
    nn.init.uniform_(head.weight, -bound, bound)
    nn.init.zeros_(head.bias)
    return head


def _load_imagenet(network: Any, variant: str, sha256: str | None) -> None:
    from torchvision.models import get_model_weights

    url = get_model_weights(f"efficientnet_{variant}").IMAGENET1K_V1.url
    prefix = url.rsplit("-", 1)[1].removesuffix(".pth")  # the first 8 digits of the SHA-256
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.pth"
        obtain(url, path, sha256=sha256, sha256_prefix=prefix)
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
