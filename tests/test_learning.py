"""What surrounds a network while it is trained: order, weights, augmentation, scaling."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from retrace.errors import InputError
from retrace.files import NpyReader
from retrace.learning import checkpoint
from retrace.learning.augmentation import Augmentation
from retrace.learning.balance import class_weights, epoch_order, focal_loss, loss_function
from retrace.learning.classifier import InputScaling, Plateau
from retrace.learning.data import EpochSampler, SegmentData, Segments, load_segments
from tests.train_small import CLASSES, NANO, run, small_segments

OFF = Augmentation(noise=0, shift=0, scale=0, time_mask=0, frequency_mask=0)
STRONG = Augmentation(noise=0.1, shift=0.5, scale=0.5, time_mask=0.3, frequency_mask=0.3)


@pytest.fixture
def segments(tmp_path: Path) -> Segments:
    small_segments(tmp_path)
    return _load(tmp_path)


def _load(folder: Path) -> Segments:
    array, table, split = (folder / name for name in ("X.npy", "segments.csv", "split.csv"))
    return load_segments(array, table, split, list(CLASSES))


def test_inverse_weights_make_classes_count_alike() -> None:
    labels = np.repeat([0, 1, 2], [70, 20, 10])

    weights = class_weights(labels, 3, "inverse")

    np.testing.assert_allclose(weights * [70, 20, 10], 100 / 3)


def test_effective_weights_lie_between_none_and_inverse() -> None:
    labels = np.repeat([0, 1], [5000, 50])
    ratios = [
        weights[1] / weights[0]
        for weights in (class_weights(labels, 2, m) for m in ("none", "effective", "inverse"))
    ]

    assert ratios[0] == 1 < ratios[1] < ratios[2] == pytest.approx(100)


def test_focal_loss_without_focus_is_cross_entropy(monkeypatch: pytest.MonkeyPatch) -> None:
    logits = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    target = torch.arange(20) % 4
    sharp = focal_loss(logits * 50, target)
    monkeypatch.setattr("retrace.learning.balance._FOCAL_GAMMA", 0.0)

    torch.testing.assert_close(focal_loss(logits, target), functional.cross_entropy(logits, target))
    assert torch.isfinite(sharp)


def test_the_loss_knows_the_weights_of_the_labels_it_is_given() -> None:
    logits, target = torch.randn(8, 2), torch.tensor([0, 1] * 4)
    loss = loss_function(np.repeat([0, 1], [9, 1]), 2, imbalance="inverse", label_smoothing=0.0)

    expected = functional.cross_entropy(logits, target, weight=torch.tensor([1.0, 9.0]))
    torch.testing.assert_close(loss(logits, target), expected)


def test_an_epoch_sees_every_segment_once_in_an_order_of_its_own() -> None:
    labels = np.arange(50) % 3
    orders = [epoch_order(labels, balanced=False, seed=1, epoch=e) for e in (0, 0, 1)]

    assert sorted(orders[0].tolist()) == list(range(50))
    assert orders[0].tolist() == orders[1].tolist() != orders[2].tolist()


def test_a_balanced_epoch_draws_rare_classes_as_often() -> None:
    labels = np.repeat([0, 1], [900, 100])

    drawn = labels[epoch_order(labels, balanced=True, seed=1, epoch=0)]

    assert 0.4 < drawn.mean() < 0.6


@given(world=st.integers(1, 4), epoch=st.integers(0, 3))
def test_devices_share_an_epoch_without_overlap(
    tmp_path_factory: pytest.TempPathFactory, world: int, epoch: int
) -> None:
    folder = tmp_path_factory.mktemp("s")
    small_segments(folder)
    data = _load(folder)
    samplers = [
        EpochSampler(data, balanced=False, seed=1, rank=rank, world=world) for rank in range(world)
    ]
    for sampler in samplers:
        sampler.set_epoch(epoch)

    seen = [key for sampler in samplers for key in sampler]

    assert len({len(list(sampler)) for sampler in samplers}) == 1
    assert len(seen) == len(set(seen)) and {key[0] for key in seen} == {epoch}


def test_augmentation_is_decided_by_its_key_alone() -> None:
    segment = np.random.default_rng(0).uniform(0, 1, (1, 8, 40)).astype(np.float32)
    before = segment.copy()

    first, again, other = (STRONG(segment, key) for key in ([1, 2, 3], [1, 2, 3], [1, 2, 4]))

    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    np.testing.assert_array_equal(segment, before)


def test_augmentation_that_is_off_changes_nothing() -> None:
    segment = np.random.default_rng(0).normal(size=(2, 100)).astype(np.float32)

    np.testing.assert_array_equal(OFF(segment, [1, 2, 3]), segment)


def test_a_shift_turns_time_and_nothing_else() -> None:
    segment = np.arange(80, dtype=np.float32).reshape(1, 2, 40)
    shifted = Augmentation(0, 0.5, 0, 0, 0)(segment, [1, 2, 3])

    by = int(np.argmin(shifted[0, 0]))
    assert by > 0
    np.testing.assert_array_equal(shifted, np.roll(segment, by, axis=-1))


def test_masks_blank_whole_frames_and_whole_scales() -> None:
    segment = np.ones((1, 20, 40), np.float32)
    blank = Augmentation(0, 0, 0, 0.5, 0.5)(segment, [0, 0, 1]) == 0

    frames, scales = blank[0].all(axis=0), blank[0].all(axis=1)
    assert 0 < frames.sum() <= 20 and 0 < scales.sum() <= 10
    np.testing.assert_array_equal(blank[0], frames[None] | scales[:, None])


def test_a_scalogram_stays_a_magnitude() -> None:
    segment = np.full((1, 8, 40), 1e-3, np.float32)
    segment[0, 0] = 5

    assert STRONG(segment, [0, 0, 0]).min() >= 0


def test_training_and_validation_never_see_the_test_part(tmp_path: Path) -> None:
    small_segments(tmp_path)
    split = tmp_path / "split.csv"
    split.write_text(split.read_text().replace("s7,Noise,train", "s7,Noise,test"))
    data = _load(tmp_path)
    module = SegmentData(data, batch_size=4, seed=0, balanced=False, augment=OFF, workers=0)

    loaders = (module.train_dataloader(), module.val_dataloader())
    rows = [{int(row) for batch in loader for row in batch[2]} for loader in loaders]

    assert 7 in data.rows("test") and 7 not in rows[0] | rows[1]
    assert not rows[0] & rows[1]


def test_loader_processes_send_arrays_and_need_no_shared_memory(segments: Segments) -> None:
    module = SegmentData(segments, batch_size=4, seed=0, balanced=False, augment=OFF, workers=2)
    here = SegmentData(segments, batch_size=4, seed=0, balanced=False, augment=OFF, workers=0)

    batches = list(module.train_dataloader())

    assert all(isinstance(part, np.ndarray) for batch in batches for part in batch)
    for batch, same in zip(batches, here.train_dataloader(), strict=True):
        np.testing.assert_array_equal(batch[0], same[0])


def test_a_split_of_other_segments_is_refused(tmp_path: Path) -> None:
    small_segments(tmp_path)
    split = tmp_path / "split.csv"
    split.write_text(split.read_text().replace("s7,", "s8,"))

    with pytest.raises(InputError, match="not the segments of"):
        _load(tmp_path)


def test_a_class_without_a_segment_is_named(tmp_path: Path) -> None:
    small_segments(tmp_path)
    array, table, split = (tmp_path / name for name in ("X.npy", "segments.csv", "split.csv"))

    with pytest.raises(InputError, match="class Pause: no segment has it"):
        load_segments(array, table, split, [*CLASSES, "Pause"])


def test_a_truncated_array_is_one_sentence(tmp_path: Path) -> None:
    small_segments(tmp_path)
    path = tmp_path / "X.npy"
    path.write_bytes(path.read_bytes()[:-100])

    with pytest.raises(InputError, match=r"X\.npy: not a whole \.npy file"):
        _load(tmp_path)
    with pytest.raises(InputError, match=r"X\.npy: not a whole \.npy file"):
        NpyReader(path)


def test_a_training_that_diverges_says_what_to_do(tmp_path: Path) -> None:
    small_segments(tmp_path)

    with pytest.raises(InputError, match=r"training diverged in epoch 1: .*lower lr"):
        run(tmp_path, {"lr": 1e18, "train.clip": 0, "train.optimiser": "sgd"})


def test_input_scaling_is_fitted_on_the_rows_it_is_given(segments: Segments) -> None:
    X = np.array(segments.X)
    X[segments.rows("val")] = 100
    scaling = InputScaling(X.shape[1:])

    scaling.fit(X, segments.rows("train"))

    out = scaling(torch.from_numpy(X[segments.rows("train")].astype(np.float32)))
    torch.testing.assert_close(out.mean(dim=(0, 3)), torch.zeros(1, 8), atol=1e-4, rtol=0)
    torch.testing.assert_close(
        out.std(dim=(0, 3), correction=0), torch.ones(1, 8), atol=1e-3, rtol=0
    )


def test_a_plateau_lowers_the_rate_after_its_patience_and_keeps_its_state() -> None:
    plateau, resumed = Plateau(0.1, 1), Plateau(0.1, 1)
    for value in (0.5, 0.5):
        plateau.step(value)
    resumed.restore(plateau.state())

    resumed.step(0.4)

    assert (plateau.factor, resumed.factor) == (1.0, 0.1)


def test_a_checkpoint_comes_back_to_equal_logits(tmp_path: Path, segments: Segments) -> None:
    network = checkpoint.build("efficientnet", (1, 8, 16), 4, NANO)
    config = {
        "classes": list(CLASSES),
        "model": {"name": "efficientnet", "options": NANO | {"pretrained": True}},
        "shape": [1, 8, 16],
    }
    rows = segments.rows("val")
    expected = checkpoint.logits(network, segments.X, rows, 8)

    checkpoint.save(tmp_path, network, config)
    loaded, read = checkpoint.load(tmp_path)

    np.testing.assert_array_equal(checkpoint.logits(loaded, segments.X, rows, 8), expected)
    assert read["classes"] == list(CLASSES)


@pytest.mark.parametrize("damage", ["weights", "config", "classes"])
def test_a_damaged_checkpoint_is_one_sentence(tmp_path: Path, damage: str) -> None:
    config = {
        "classes": list(CLASSES),
        "model": {"name": "efficientnet", "options": NANO},
        "shape": [1, 8, 16],
    }
    network = checkpoint.build("efficientnet", (1, 8, 16), 4, NANO)
    checkpoint.save(tmp_path, network, config)
    if damage == "weights":
        path = tmp_path / "weights.safetensors"
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "config":
        (tmp_path / "config.json").write_text("{")
    else:
        (tmp_path / "config.json").write_text(json.dumps(config | {"classes": ["a", "b"]}))

    with pytest.raises(InputError, match="not a readable checkpoint"):
        checkpoint.load(tmp_path)
