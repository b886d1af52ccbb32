"""What surrounds a network while it is trained: order, weights, augmentation, scaling."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from retrace.errors import InputError
from retrace.files import NpyReader
from retrace.learning import checkpoint
from retrace.learning.augmentation import Augmentation
from retrace.learning.classifier import InputScaling, Plateau
from retrace.learning.data import EpochSampler, SegmentData, Segments, load_segments
from retrace.padding import real_samples
from tests.train_small import CLASSES, NANO, load, run, small_segments

OFF = Augmentation(noise=0, shift=0, scale=0, time_mask=0, frequency_mask=0)
STRONG = Augmentation(noise=0.1, shift=0.5, scale=0.5, time_mask=0.3, frequency_mask=0.3)


@pytest.fixture
def segments(tmp_path: Path) -> Segments:
    small_segments(tmp_path)
    return load(tmp_path)


@given(world=st.integers(1, 4), epoch=st.integers(0, 3))
def test_devices_share_an_epoch_without_overlap(
    tmp_path_factory: pytest.TempPathFactory, world: int, epoch: int
) -> None:
    folder = tmp_path_factory.mktemp("s")
    small_segments(folder)
    data = load(folder)
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


def test_augmentation_leaves_padding_alone() -> None:
    segment = np.random.default_rng(0).normal(size=(2, 100)).astype(np.float32)
    segment[:, 60:] = 0

    changed = STRONG(segment, [1, 2, 3])

    assert not changed[:, 60:].any()
    np.testing.assert_array_equal(changed[:, :60], STRONG(segment[:, :60], [1, 2, 3]))


def test_scaling_leaves_padding_at_zero() -> None:
    X = np.random.default_rng(0).uniform(0.2, 1, (8, 2, 50)).astype(np.float32)
    X[4:, :, 30:] = 0
    scaling = InputScaling(X.shape[1:])
    scaling.fit(X, np.arange(8))

    scaled = scaling(torch.from_numpy(X))

    assert real_samples(scaled).sum(dim=1).tolist() == [50] * 4 + [30] * 4


def test_padding_does_not_count_in_the_scaling() -> None:
    X = np.random.default_rng(0).uniform(0.2, 1, (64, 2, 50)).astype(np.float32)
    whole, padded = InputScaling(X.shape[1:]), InputScaling((2, 80))

    whole.fit(X, np.arange(64))
    padded.fit(np.pad(X, ((0, 0), (0, 0), (0, 30))), np.arange(64))

    torch.testing.assert_close(padded.mean, whole.mean)
    torch.testing.assert_close(padded.deviation, whole.deviation)


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
    data = load(tmp_path)
    module = SegmentData(data, batch_size=4, seed=0, balanced=False, augment=OFF, workers=0)

    loaders = (module.train_dataloader(), module.val_dataloader())
    rows = [{int(row) for batch in loader for row in batch[3]} for loader in loaders]

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
        load(tmp_path)


def test_a_class_without_a_segment_is_named(tmp_path: Path) -> None:
    small_segments(tmp_path)
    array, table, split = (tmp_path / name for name in ("X.npy", "segments.csv", "split.csv"))

    with pytest.raises(InputError, match="class Pause: no segment has it"):
        load_segments(array, table, split, [*CLASSES, "Pause"], [])


def test_a_truncated_array_is_one_sentence(tmp_path: Path) -> None:
    small_segments(tmp_path)
    path = tmp_path / "X.npy"
    path.write_bytes(path.read_bytes()[:-100])

    with pytest.raises(InputError, match=r"X\.npy: not a whole \.npy file"):
        load(tmp_path)
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
    network = checkpoint.build("efficientnet", (1, 8, 16), 4, NANO, 0)
    config = {
        "classes": list(CLASSES),
        "model": {"name": "efficientnet", "options": NANO | {"pretrained": True}},
        "shape": [1, 8, 16],
    }
    rows = segments.rows("val")
    expected = checkpoint.logits(network, segments.X, segments.features, rows, 8)

    checkpoint.save(tmp_path, network, config)
    loaded, read = checkpoint.load(tmp_path)

    np.testing.assert_array_equal(
        checkpoint.logits(loaded, segments.X, segments.features, rows, 8), expected
    )
    assert read["classes"] == list(CLASSES)


@pytest.mark.parametrize("damage", ["weights", "config", "classes"])
def test_a_damaged_checkpoint_is_one_sentence(tmp_path: Path, damage: str) -> None:
    config = {
        "classes": list(CLASSES),
        "model": {"name": "efficientnet", "options": NANO},
        "shape": [1, 8, 16],
    }
    network = checkpoint.build("efficientnet", (1, 8, 16), 4, NANO, 0)
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
