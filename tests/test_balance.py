"""Rare classes: weights, losses, the sampler and oversampling."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from retrace.errors import InputError
from retrace.learning import oversampling
from retrace.learning.balance import class_weights, epoch_order, focal_loss, loss_function
from retrace.learning.checkpoint import flat
from retrace.learning.data import Segments
from retrace.learning.oversampling import METHODS, enlarged
from tests.train_small import load, small_beats, small_segments

both = pytest.mark.parametrize("method", METHODS)


@pytest.fixture
def beats(tmp_path: Path) -> Segments:
    small_beats(tmp_path)
    return load(tmp_path, ["rr_ratio"])


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


@both
def test_every_class_gets_as_many_training_segments_as_the_largest(
    beats: Segments, method: str
) -> None:
    before, after = (
        np.bincount(data.labels[data.rows("train")]) for data in (beats, enlarged(beats, method, 1))
    )

    assert before.max() > before.min()
    assert after.tolist() == [before.max()] * 4


@both
def test_what_was_there_stays_and_what_is_made_is_of_the_training_part(
    beats: Segments, method: str
) -> None:
    result, n = enlarged(beats, method, 1), len(beats.X)

    np.testing.assert_array_equal(result.X[:n], beats.X)
    np.testing.assert_array_equal(result.features[:n], beats.features)
    for subset in ("val", "test"):
        np.testing.assert_array_equal(result.rows(subset), beats.rows(subset))
    assert set(result.subsets[n:]) == {"train"} and set(result.patient_ids[n:]) == {None}
    assert result.segment_ids[n] == result.record_ids[n] == f"{method}_000001"
    for field in dataclasses.fields(result):
        if field.name != "classes":
            assert len(getattr(result, field.name)) == len(result.X), field.name


def test_oversampling_adds_copies_with_their_features(beats: Segments) -> None:
    result, n = enlarged(beats, "oversample", 1), len(beats.X)
    known = {
        (row.tobytes(), int(label))
        for row, label in zip(flat(beats.X, beats.features), beats.labels, strict=True)
    }

    made = flat(result.X[n:], result.features[n:])

    assert all(
        (row.tobytes(), int(label)) in known
        for row, label in zip(made, result.labels[n:], strict=True)
    )


def test_smote_makes_points_between_two_training_segments_of_the_class(beats: Segments) -> None:
    result, n = enlarged(beats, "smote", 1), len(beats.X)
    train = beats.rows("train")
    points = flat(beats.X, beats.features).astype(np.float64)

    for point, label in list(
        zip(flat(result.X[n:], result.features[n:]), result.labels[n:], strict=True)
    )[::20]:
        of_class = points[train[beats.labels[train] == label]]
        along = of_class[None] - of_class[:, None]  # from each to each
        length = np.maximum((along**2).sum(axis=-1), 1e-12)
        share = ((point - of_class[:, None]) * along).sum(axis=-1) / length
        away = of_class[:, None] + np.clip(share, 0, 1)[..., None] * along - point
        assert np.abs(away).max(axis=-1).min() < 1e-5


def test_smote_leaves_padding_at_zero(beats: Segments) -> None:
    X = np.array(beats.X)
    X[..., 20:] = 0

    result = enlarged(dataclasses.replace(beats, X=X), "smote", 1)

    assert not result.X[..., 20:].any() and result.X[len(X) :, :, :20].any(axis=-1).all()


def test_scalograms_keep_their_type_and_stay_magnitudes(tmp_path: Path) -> None:
    small_segments(tmp_path)
    segments = load(tmp_path)
    segments.labels[segments.rows("train")[8:]] = 0

    result = enlarged(segments, "smote", 1)

    assert result.X.dtype == np.float16 and result.X.shape[1:] == segments.X.shape[1:]
    assert len(result.X) > len(segments.X) and result.X.min() >= 0


@both
def test_a_seed_decides_what_is_made(beats: Segments, method: str) -> None:
    first, again, other = (enlarged(beats, method, seed).X for seed in (1, 1, 2))

    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_class_of_two_segments_is_mixed_from_these_two(beats: Segments) -> None:
    few = _with_few(beats, 2)

    result = enlarged(few, "smote", 1)

    counts = np.bincount(result.labels[result.rows("train")])
    assert counts[3] == counts[0]


def test_a_class_of_one_segment_can_be_copied_and_not_mixed(beats: Segments) -> None:
    few = _with_few(beats, 1)

    with pytest.raises(InputError, match=r"class Noise has one training segment.*oversample"):
        enlarged(few, "smote", 1)
    assert enlarged(few, "oversample", 1)


def test_a_class_without_training_segments_gets_none(beats: Segments) -> None:
    result = enlarged(_with_few(beats, 0), "smote", 1)

    assert not (result.labels[result.rows("train")] == 3).any()


@both
def test_what_would_not_fit_in_memory_is_refused(
    beats: Segments, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oversampling, "_MOST", 30_000)

    with pytest.raises(InputError, match=rf"{method}; 4\d\d segments of 24 values would take"):
        enlarged(beats, method, 1)


@both
def test_classes_that_are_equal_stay_as_they_are(tmp_path: Path, method: str) -> None:
    small_segments(tmp_path)
    segments = load(tmp_path)

    assert len(enlarged(segments, method, 1).X) == len(segments.X)


def _with_few(beats: Segments, n: int) -> Segments:
    """Only the first n training segments of the last class are left."""
    labels = beats.labels.copy()
    train = beats.rows("train")
    labels[train[labels[train] == 3][n:]] = 0
    return dataclasses.replace(beats, labels=labels)
