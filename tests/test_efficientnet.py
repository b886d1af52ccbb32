"""EfficientNet as torchvision builds it, with a stem for ECG leads."""

from pathlib import Path
from typing import Any

import pytest
import torch

from retrace.models import efficientnet
from retrace.vision import import_torchvision
from tests.train_small import NANO


def _parameters(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("leads", [1, 2, 3])
def test_logits_have_a_row_for_each_scalogram(leads: int) -> None:
    network = efficientnet.build((leads, 10, 20), 5, **NANO).eval()

    assert network(torch.rand(3, leads, 10, 20)).shape == (3, 5)


def test_b7_has_the_published_size() -> None:
    with torch.device("meta"):
        network = efficientnet.build((1, 40, 80), 4, **NANO | {"variant": "b7"})

    # 63.79 M of backbone with one input channel instead of three, and a head of four classes.
    assert _parameters(network) == 63_786_960 - 64 * 2 * 9 + 2560 * 4 + 4


def test_nano_is_small() -> None:
    assert _parameters(efficientnet.build((1, 40, 80), 4, **NANO)) < 1_000_000


@pytest.mark.parametrize(("square", "size"), [(True, (40, 40)), (False, (40, 375))])
def test_a_scalogram_is_stretched_to_a_square_or_keeps_its_proportions(
    square: bool, size: tuple[int, int]
) -> None:
    options = NANO | {"image_size": 40, "square": square}
    network: Any = efficientnet.build((1, 40, 375), 4, **options)
    seen: list[tuple[int, ...]] = []
    network.network.register_forward_pre_hook(lambda _, images: seen.append(images[0].shape))

    network(torch.rand(2, 1, 40, 375))

    assert seen == [(2, 1, *size)]


@pytest.mark.parametrize("leads", [1, 2])
def test_imagenet_weights_are_kept_and_the_stem_is_their_mean_over_rgb(
    monkeypatch: pytest.MonkeyPatch, leads: int
) -> None:
    import_torchvision()
    from torchvision.models import get_model

    original = get_model("efficientnet_b0", weights=None)
    asked: dict[str, str] = {}

    def obtain(url: str, destination: Path, *, sha256: str | None, sha256_prefix: str) -> str:
        asked.update(url=url, prefix=sha256_prefix, pinned=str(sha256))
        torch.save(original.state_dict(), destination)
        return ""

    monkeypatch.setattr(efficientnet, "obtain", obtain)
    options = NANO | {"variant": "b0", "pretrained": True, "weights_sha256": "ab" * 32}
    adapted: Any = efficientnet.build((leads, 40, 80), 4, **options)
    adapted.eval()
    original.eval()

    assert asked["url"].endswith(f"efficientnet_b0_rwightman-{asked['prefix']}.pth")
    assert asked["pinned"] == "ab" * 32
    # A grey picture: the same in every channel. The stem must answer to it as it did to RGB.
    grey = torch.rand(2, 1, 32, 32)
    stem, rgb = adapted.network.features[0], original.features[0]
    torch.testing.assert_close(
        stem(grey.repeat(1, leads, 1, 1)), rgb(grey.repeat(1, 3, 1, 1)), atol=1e-5, rtol=1e-4
    )
    body = adapted.network.features[1:]
    for there, here in zip(original.features[1:].parameters(), body.parameters(), strict=True):
        assert torch.equal(there, here)
