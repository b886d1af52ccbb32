"""The networks on waveforms: their sizes as published, and that they do what they say."""

import importlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from retrace import registry
from retrace.errors import InputError
from retrace.models.conv_attention import GatedAttention, image_size

RECURRENT = {
    "hidden": 168,
    "layers": 2,
    "dropout": 0.425,
    "attention": True,
    "heads": 4,
    "attention_dropout": 0.358,
}
# Parameters with 187 samples of one lead and five classes, and the settings that have as many.
REFERENCE: dict[str, tuple[int, dict[str, Any]]] = {
    "baseline_cnn": (363_525, {"channels": [32, 64], "kernel": 5, "hidden": 128, "dropout": 0.0}),
    "cnn4": (
        94_865,
        {
            "channels": [32, 16],
            "kernel": 3,
            "hidden": [120, 60, 20],
            "slope": 0.001,
            "dropout": 0.2,
        },
    ),
    "conv_attention": (
        325_062,
        {"hidden": 64, "layers": 1, "attention": True, "heads": 8, "activation": "leaky_relu"},
    ),
    "dual_path_resnet": (
        1_684_357,
        {
            "stem": 32,
            "channels": [64, 128, 256],
            "local_kernel": 3,
            "global_kernel": 7,
            "reduction": 8,
            "dropout": 0.3,
        },
    ),
    "enhanced_cnn": (
        193_541,
        {
            "channels": (32, 256),
            "kernels": (5, 7),
            "hidden": 512,
            "dropout": 0.4525,
            "momentum": 0.01,
        },
    ),
    "gru": (370_949, RECURRENT),
    # No count is published: four gates for a GRU's three, 4/3 of its recurrent part.
    "lstm": (370_949 + (86_184 + 170_352) // 3, RECURRENT),
    "resnet1d": (441_157, {"stem": 32, "channels": [32, 64, 128, 256], "kernel": 3}),
    "simple_cnn": (388_101, {"channels": [32, 64], "kernel": 5, "hidden": 128, "dropout": 0.2}),
}
SHORTEST = {
    "baseline_cnn": 16,
    "cnn4": 13,
    "conv_attention": 4,
    "enhanced_cnn": 20,
    "simple_cnn": 4,
}
every_model = pytest.mark.parametrize("name", REFERENCE)
both_recurrent = pytest.mark.parametrize("name", ["gru", "lstm"])


def _build(
    name: str, shape: tuple[int, int] = (1, 187), n_classes: int = 5, **changes: Any
) -> nn.Module:
    torch.manual_seed(0)
    options = REFERENCE[name][1] | changes
    built: nn.Module = importlib.import_module(f"retrace.models.{name}").build(
        shape, n_classes, **options
    )
    return built


def _without_dropout(name: str, shape: tuple[int, int] = (1, 187)) -> nn.Module:
    off: dict[str, Any] = {key: 0.0 for key in REFERENCE[name][1] if "dropout" in key}
    return _build(name, shape, **off)


def _beats(n: int, leads: int = 1, samples: int = 187, seed: int = 1) -> Tensor:
    return torch.rand(n, leads, samples, generator=torch.Generator().manual_seed(seed))


def _labels(n: int) -> Tensor:
    return torch.arange(n) % 5


def _parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def _open_gates(network: nn.Module) -> nn.Module:
    """Attention behind a closed gate neither hears nor learns."""
    for module in network.modules():
        if isinstance(module, GatedAttention):
            nn.init.ones_(module.gate)
    return network


def test_every_network_on_waveforms_is_tested_here() -> None:
    on_waveforms = {
        name
        for name in registry.names("models")
        if registry.model_input(name) == "waveforms" and registry.is_network(name)
    }

    assert on_waveforms == set(REFERENCE)


@every_model
def test_the_number_of_parameters_is_the_published_one(name: str) -> None:
    count, options = REFERENCE[name]
    registry.options("models", name)(**options)  # params.yaml may say so

    assert _parameters(_build(name)) == count


def test_cnn4_has_a_smaller_last_layer_for_two_classes() -> None:
    assert _parameters(_build("cnn4", n_classes=2)) == 94_865 - 3 * (20 + 1)


@every_model
@pytest.mark.parametrize("shape", [(1, 93), (2, 187), (3, 260), (2, 360)])
def test_logits_have_a_row_for_each_beat(name: str, shape: tuple[int, int]) -> None:
    network = _build(name, shape).eval()

    assert network(_beats(2, *shape)).shape == (2, 5)


@pytest.mark.parametrize("name", SHORTEST)
def test_a_window_that_is_too_short_is_refused(name: str) -> None:
    least = SHORTEST[name]

    assert _build(name, (1, least)).eval()(_beats(2, 1, least)).shape == (2, 5)
    with pytest.raises(InputError, match=rf"{least - 1} samples; {name} needs at least {least}:"):
        _build(name, (1, least - 1))


@pytest.mark.parametrize("name", ["conv_attention", "gru", "lstm"])
def test_a_width_that_heads_cannot_share_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=rf"models.{name}.hidden: 30; must be a multiple of"):
        _build(name, hidden=30, heads=4)

    assert _build(name, hidden=30, heads=4, attention=False)


@every_model
def test_a_seed_decides_the_weights(name: str) -> None:
    first, second = _build(name).state_dict(), _build(name).state_dict()

    assert all(torch.equal(first[key], second[key]) for key in first)


def _keep_statistics(norm: Any, inputs: tuple[Tensor]) -> None:
    """Make those of this batch the ones that evaluation uses, at once and without n - 1."""
    others = [axis for axis in range(inputs[0].ndim) if axis != 1]
    norm.momentum = 0.0
    norm.running_mean.copy_(inputs[0].mean(dim=others))
    norm.running_var.copy_(inputs[0].var(dim=others, correction=0))


@every_model
def test_evaluation_uses_the_network_that_was_trained(name: str) -> None:
    network, beats = _without_dropout(name), _beats(16)
    with torch.no_grad():
        hooks = [
            module.register_forward_pre_hook(_keep_statistics)
            for module in network.modules()
            if isinstance(module, nn.BatchNorm1d)
        ]
        trained = network.train()(beats)
        for hook in hooks:
            hook.remove()
        evaluated = network.eval()(beats)

    torch.testing.assert_close(trained, evaluated, atol=1e-4, rtol=1e-3)


@every_model
def test_the_gradient_reaches_every_parameter(name: str) -> None:
    # In evaluation mode: batch norm would cancel the biases before it.
    network = _open_gates(_without_dropout(name)).eval()

    functional.cross_entropy(network(_beats(8)), _labels(8)).backward()

    still = [key for key, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


@every_model
def test_a_beat_gets_the_same_answer_alone_and_in_company(name: str) -> None:
    network, beats = _open_gates(_build(name)).eval(), _beats(7)
    beats[2:, :, 100:] = 0

    with torch.no_grad():
        together, alone = network(beats), torch.cat([network(beat[None]) for beat in beats])

    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


@every_model
def test_thirty_two_random_beats_can_be_learnt_by_heart(name: str) -> None:
    network, beats, labels = _without_dropout(name, (1, 24)), _beats(32, 1, 24), _labels(32)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.005)

    for _ in range(300):
        optimiser.zero_grad()
        logits = network(beats)
        if learnt := bool((logits.argmax(dim=1) == labels).all()):
            break
        functional.cross_entropy(logits, labels).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()

    assert learnt


@both_recurrent
def test_zeros_behind_a_beat_change_nothing(name: str) -> None:
    network, beats = _build(name, (2, 187), hidden=16, heads=2).eval(), _beats(4, 2, 120)

    with torch.no_grad():
        bare, padded = network(beats), network(functional.pad(beats, (0, 67)))
        behind = network(functional.pad(beats, (0, 67), value=0.01))

    torch.testing.assert_close(padded, bare)
    assert (behind - bare).abs().max() > 1e-4  # what is not zero is signal, and counts


@both_recurrent
def test_the_last_real_state_asks_all_before_it(name: str) -> None:
    """The plain way: attention among all states, then the row of the last real one."""
    network: Any = _build(name, hidden=16, heads=2).eval()
    beats = _beats(1, 1, 50)

    with torch.no_grad():
        states, _ = network.recurrent(beats.transpose(1, 2))
        among_all, _ = network.attention(states, states, states)
        expected = network.head(states[:, -1] + among_all[:, -1])
        answer = network(functional.pad(beats, (0, 40)))

    torch.testing.assert_close(answer, expected)


@both_recurrent
@pytest.mark.parametrize("layers", [1, 2])
def test_dropout_acts_with_one_layer_too(name: str, layers: int) -> None:
    network = _build(name, hidden=16, layers=layers, attention=False, dropout=0.5).train()
    beats = _beats(2)

    assert not torch.equal(network(beats), network(beats))


def test_attention_does_not_hear_padding() -> None:
    torch.manual_seed(0)
    block = _open_gates(GatedAttention(8, 2))
    image, real = torch.rand(1, 8, 3, 4), torch.ones(1, 1, 3, 4, dtype=torch.bool)
    real[..., 2, :] = False
    other = image.clone()
    other[:, :, 2] += 1.0

    with torch.no_grad():
        first, second = block(image, real), block(other, real)
        unmasked = block(image, torch.ones_like(real)), block(other, torch.ones_like(real))

    torch.testing.assert_close(first[:, :, :2], second[:, :, :2])
    assert (unmasked[0] - unmasked[1])[:, :, :2].abs().max() > 1e-3


def test_attention_answers_as_written_in_the_paper() -> None:
    """softmax(k'q / sqrt(depth)) over the cells, head by head, from the definition."""
    torch.manual_seed(0)
    block: Any = _open_gates(GatedAttention(8, 2))
    image = torch.rand(1, 8, 2, 3)

    with torch.no_grad():
        answer = block(image, torch.ones(1, 1, 2, 3, dtype=torch.bool))
        query, key, value = block.project(image)[0].reshape(3, 2, 4, 6)
        weights = torch.einsum("hdq,hdk->hqk", query, key).div(math.sqrt(4)).softmax(dim=-1)
        heard = torch.einsum("hqk,hdk->hdq", weights, value).reshape(1, 8, 2, 3)
        expected = image + block.out(heard)

    torch.testing.assert_close(answer, expected)


def test_a_cell_is_real_if_any_signal_is_in_it() -> None:
    network: Any = _build("conv_attention").eval()
    seen: list[Tensor] = []
    network.attention[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1]))
    beats = _beats(2)
    beats[1, :, 101:] = 0  # row 8 of 12 samples each, its fifth is the last with signal

    network(beats)

    cells = seen[0].squeeze(1)  # two rows and two columns each
    assert bool(cells[0].all())
    assert cells[1].sum(dim=1).tolist() == [6, 6, 6, 6, 3, 0, 0, 0]


def test_the_gate_of_attention_starts_closed() -> None:
    with_attention, without = _build("conv_attention"), _build("conv_attention", attention=False)
    without.load_state_dict(
        {key: value for key, value in with_attention.state_dict().items() if "attention" not in key}
    )
    beats = _beats(3)

    gates = [p.item() for key, p in with_attention.named_parameters() if "gate" in key]

    assert gates == [0.0]
    assert torch.equal(with_attention(beats), without(beats))
    assert not torch.equal(_open_gates(with_attention)(beats), without(beats))


def test_a_beat_has_the_same_image_however_its_window_was_completed() -> None:
    short, full = _build("conv_attention", (1, 187)), _build("conv_attention", (1, 192))
    beats = _beats(3)

    with torch.no_grad():
        torch.testing.assert_close(
            _open_gates(short)(beats), _open_gates(full)(functional.pad(beats, (0, 5)))
        )


@pytest.mark.parametrize("pools", [1, 2])
def test_187_samples_make_the_image_of_the_original(pools: int) -> None:
    assert image_size(187, pools) == (16, 12)


@given(st.integers(1, 3), st.integers(0, 5000))
def test_an_image_holds_the_window_and_every_pooling_halves_it(pools: int, more: int) -> None:
    samples = 4**pools + more
    rows, columns = image_size(samples, pools)

    assert rows % 2**pools == columns % 2**pools == 0
    assert 0 <= rows * columns - samples < columns * 2**pools


@pytest.mark.parametrize(("layers", "cells"), [(1, 8 * 6), (2, 8 * 6), (3, 4 * 3)])
def test_every_other_block_is_pooled(layers: int, cells: int) -> None:
    network: Any = _build("conv_attention", layers=layers)

    assert network.head[1].in_features == 64 * cells
    assert len(network.attention) == (layers + 1) // 2
    assert network(_beats(2)).shape == (2, 5)


@every_model
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.filterwarnings("ignore:Exporting a model to ONNX")
def test_onnx_gives_the_same_logits_for_any_number_of_beats(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="PyTorch writes ONNX through it")
    runtime = pytest.importorskip("onnxruntime")
    network, beats, file = _open_gates(_build(name)).eval(), _beats(5), tmp_path / "model.onnx"
    beats[1:, :, 90:] = 0

    torch.onnx.export(
        network,
        (beats[:1],),
        file,
        input_names=["input"],
        output_names=["output"],
        dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}},
        opset_version=18,
        dynamo=False,  # the newer exporter takes half a minute for a GRU
    )
    session = runtime.InferenceSession(file, providers=["CPUExecutionProvider"])

    for batch in (beats, beats[:1]):
        (logits,) = session.run(None, {"input": batch.numpy()})
        with torch.no_grad():
            np.testing.assert_allclose(logits, network(batch), atol=1e-5)
