"""RR features have the values that their definitions give, and depend on the intervals alone."""

import hashlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

from retrace.errors import InputError
from retrace.signals.features import RR_FEATURES, rr_features
from tests.processor import without_features

FS = 1000.0
RHYTHMS = st.lists(st.integers(250, 1800), min_size=2, max_size=60)


def peaks(intervals: ArrayLike) -> NDArray[np.int64]:
    """The sample indices at 1,000 Hz of beats with these intervals in ms."""
    return np.concatenate([[300], 300 + np.cumsum(intervals)])


def features(intervals: ArrayLike) -> dict[str, float]:
    return dict(zip(RR_FEATURES, rr_features(peaks(intervals), FS).tolist(), strict=True))


def disorder(seed: int) -> NDArray[np.int64]:
    """Intervals as in atrial fibrillation: each independent of all others."""
    return np.random.default_rng(seed).integers(450, 1150, 500)


def test_there_are_ten() -> None:
    assert len(set(RR_FEATURES)) == len(RR_FEATURES) == len(features([800, 900])) == 10


def test_a_constant_rhythm_has_a_rate_and_no_variation() -> None:
    found = features([800] * 30)
    assert [found.pop(name) for name in ("rr_median", "rr_min", "rr_max")] == [0.8, 0.8, 0.8]
    assert math.isnan(found.pop("drr_autocorrelation"))  # of no change there is none
    assert set(found.values()) == {0.0}


def test_bigeminy_has_the_values_of_its_two_intervals() -> None:
    found = features([1000, 600] * 20 + [1000])
    mean = (20 * 600 + 21 * 1000) / 41
    variance = (20 * (600 - mean) ** 2 + 21 * (1000 - mean) ** 2) / 40
    assert found["rr_min"] == 0.6
    assert found["rr_max"] == found["rr_median"] == 1
    assert found["rr_cv"] == pytest.approx(math.sqrt(variance) / mean)
    assert found["rmssd"] == pytest.approx(400 / mean)
    assert found["drr_median"] == pytest.approx(0.4)
    assert found["drr_entropy"] == 1  # bit: shorter or longer, as often
    assert found["drr_autocorrelation"] == pytest.approx(-39 / 40)
    assert found["sample_entropy"] < 0.1  # what comes next is known


def test_one_premature_beat_moves_the_share_and_not_the_median() -> None:
    found = features([800] * 10 + [480, 1120] + [800] * 12)
    assert found["irregular"] == pytest.approx(2 / 24)
    assert found["drr_median"] == 0
    assert found["rr_min"] == 0.48
    assert found["rr_max"] == 1.12


@pytest.mark.parametrize("seed", range(3))
def test_the_same_intervals_in_order_and_in_disorder(seed: int) -> None:
    wild = disorder(seed)
    rising = np.sort(wild)
    found, calm = features(wild), features(np.concatenate([rising[::2], rising[1::2][::-1]]))
    # What forgets the order of the intervals is the same, what looks at it tells them apart.
    for name in ("rr_median", "rr_min", "rr_max", "rr_cv"):
        assert found[name] == calm[name]
    assert found["drr_autocorrelation"] == pytest.approx(-0.5, abs=0.1)
    assert found["irregular"] > 0.4 > 0.05 > calm["irregular"]
    for name in ("rmssd", "drr_median", "drr_entropy", "sample_entropy"):
        assert found[name] > 4 * calm[name]


def test_sample_entropy_is_that_of_the_definition() -> None:
    rr = disorder(9)[:40] / FS
    r, n = 0.1 * rr.mean(), len(rr) - 1
    pairs = [(i, j) for i in range(n) for j in range(i)]
    one = sum(abs(rr[i] - rr[j]) <= r for i, j in pairs)
    two = sum(abs(rr[i] - rr[j]) <= r and abs(rr[i + 1] - rr[j + 1]) <= r for i, j in pairs)
    expected = -math.log((two + 0.5) / (one + 0.5))
    assert features(disorder(9)[:40])["sample_entropy"] == pytest.approx(expected)


@given(RHYTHMS, st.integers(0, 10**6))
def test_when_a_recording_began_does_not_matter(intervals: list[int], shift: int) -> None:
    found = rr_features(peaks(intervals), FS)
    assert np.array_equal(rr_features(peaks(intervals) + shift, FS), found, equal_nan=True)


@given(RHYTHMS, st.sampled_from([0.25, 0.5, 2, 4]))
def test_a_slower_heart_changes_the_times_and_not_the_shares(
    intervals: list[int], factor: float
) -> None:
    found, slower = (rr_features(peaks(intervals), fs) for fs in (FS, FS / factor))
    found[:3] *= factor
    assert np.allclose(slower, found, equal_nan=True)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_fewer_than_three_beats_have_no_features(count: int) -> None:
    assert np.isnan(rr_features(np.arange(count) * 300, 300)).all()


@pytest.mark.parametrize("wrong", [[5, 5, 9], [9, 5, 1], [[1, 2], [3, 4]]])
def test_peaks_that_do_not_ascend_are_refused(wrong: ArrayLike) -> None:
    with pytest.raises(InputError, match="one ascending list"):
        rr_features(wrong, 300)


@pytest.mark.parametrize("fs", [0, -1, math.nan])
def test_a_rate_that_is_none_is_refused(fs: float) -> None:
    with pytest.raises(InputError, match="must be above 0"):
        rr_features([1, 2, 3], fs)


def test_bytes_do_not_depend_on_the_cpu() -> None:
    assert without_features("tests.test_features") == digest()


def digest() -> str:
    """Of many rhythms; `bytes do not depend on the CPU` calls it twice."""
    rows = [rr_features(peaks(disorder(seed)[: 3 + 4 * seed]), FS) for seed in range(60)]
    return hashlib.sha256(np.array(rows).tobytes()).hexdigest()
