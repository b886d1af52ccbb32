"""Temperature, thresholds and calibration error: what goes in is found again."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from retrace.errors import InputError
from retrace.scoring import calibration


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_a_known_temperature_is_recovered(temperature: float) -> None:
    """Labels drawn from softmax(logits), then logits made too sure by the temperature."""
    rng = np.random.default_rng(2)
    logits = rng.normal(0, 2, size=(8000, 4))
    y = (calibration.softmax(logits).cumsum(axis=1) < rng.random((8000, 1))).sum(axis=1)
    found = calibration.fit_temperature(logits * temperature, y)
    assert found == pytest.approx(temperature, rel=0.05)
    before = calibration.ece(calibration.softmax(logits * temperature), y)
    after = calibration.ece(calibration.softmax(logits * temperature, found), y)
    assert after < 0.02
    assert after < before or temperature == 1.0


def test_the_temperature_stops_where_everything_is_right_or_wrong() -> None:
    logits = np.eye(3)
    assert calibration.fit_temperature(logits, [0, 1, 2]) == pytest.approx(0.1, rel=1e-3)
    assert calibration.fit_temperature(logits, [1, 2, 0]) == pytest.approx(10, rel=1e-3)


def test_softmax_survives_large_logits_and_changes_no_decision() -> None:
    logits = np.array([[1000.0, 999.0, -1000.0]])
    np.testing.assert_allclose(
        calibration.softmax(logits), [[1 / (1 + np.exp(-1)), 1 / (1 + np.e), 0]]
    )
    assert calibration.softmax(logits, 50.0).argmax() == 0


def test_logits_that_are_not_finite_are_refused() -> None:
    with pytest.raises(InputError, match="1 of them NaN or infinite"):
        calibration.fit_temperature([[0.0, np.nan]], [0])
    with pytest.raises(InputError, match="temperature: 0"):
        calibration.softmax([[0.0, 1.0]], 0)


@given(
    hnp.arrays(np.int64, 25, elements=st.integers(0, 2)),
    hnp.arrays(np.float64, (25, 3), elements=st.integers(1, 6)),
)
def test_no_threshold_has_a_better_f1(y: NDArray[np.int64], parts: NDArray[np.float64]) -> None:
    p = parts / parts.sum(axis=1, keepdims=True)
    thresholds = calibration.fit_thresholds(p, y, 3)
    for c, threshold in enumerate(thresholds):
        if not (y == c).any():
            assert threshold == 0.5
            continue
        best = max(f1_score(y == c, p[:, c] >= cut) for cut in np.unique(p[:, c]))
        assert f1_score(y == c, p[:, c] >= threshold) == pytest.approx(best)


def test_a_threshold_keeps_its_distance_from_both_sides() -> None:
    p = np.array([0.1, 0.2, 0.6, 0.8])
    thresholds = calibration.fit_thresholds(np.stack([1 - p, p], axis=1), [0, 0, 1, 1], 2)
    np.testing.assert_allclose(thresholds, [0.6, 0.4])


def test_neighbouring_floats_are_still_told_apart() -> None:
    low = 0.5
    high = float(np.nextafter(low, 1))
    p = np.array([low, high])
    threshold = calibration.fit_thresholds(np.stack([1 - p, p], axis=1), [0, 1], 2)[1]
    assert list(p >= threshold) == [False, True]


def test_calibration_error_by_hand() -> None:
    """Five bins: .6 right once of two (bin .4 to .6), .9 right once of two, .7 right."""
    top = np.array([0.6, 0.6, 0.9, 0.9, 0.7])
    p = np.stack([top, 1 - top], axis=1)
    y = np.array([0, 1, 0, 1, 0])
    expected = (abs(1 - 1.2) + abs(1 - 1.8) + abs(1 - 0.7)) / 5
    assert calibration.ece(p, y, bins=5) == pytest.approx(expected)
    table = calibration.reliability(p, y, bins=5)
    assert [(b.count, b.accuracy) for b in table] == [(2, 0.5), (1, 1.0), (2, 0.5)]
    assert [b.confidence for b in table] == pytest.approx([0.6, 0.7, 0.9])


def test_a_confidence_of_one_is_in_the_last_bin() -> None:
    (only,) = calibration.reliability(np.eye(3), [0, 1, 1])
    assert (only.high, only.count) == (1.0, 3)
    assert calibration.ece(np.eye(3), [0, 1, 1]) == pytest.approx(1 / 3)


@given(hnp.arrays(np.int64, (4, 30), elements=st.integers(0, 3)), st.integers(0, 99))
def test_weights_are_repetitions(weights: NDArray[np.int64], seed: int) -> None:
    rng = np.random.default_rng(seed)
    p, y = rng.dirichlet(np.ones(3), size=30), rng.integers(0, 3, 30)
    found = calibration.ece_of_resamples(p, y, weights.astype(float))
    for counts, value in zip(weights, found, strict=True):
        rows = np.repeat(np.arange(30), counts)
        if len(rows):
            assert value == pytest.approx(calibration.ece(p[rows], y[rows]))


def test_the_bins_of_the_table_make_up_the_error() -> None:
    rng = np.random.default_rng(0)
    p, y = rng.dirichlet(np.ones(4), size=500), rng.integers(0, 4, 500)
    table = calibration.reliability(p, y)
    gap = sum(b.count * abs(b.accuracy - b.confidence) for b in table) / 500
    assert calibration.ece(p, y) == pytest.approx(gap)
    assert all(a.high <= b.low + 1e-12 for a, b in pairwise(table))
