"""The bootstrap: what it draws, how wide it is, and that it covers."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from retrace.errors import InputError
from retrace.scoring import intervals

Floats = NDArray[np.float64]


def mean_of(values: Floats) -> Callable[[Floats], dict[str, Floats]]:
    return lambda weights: {"mean": (weights @ values) / weights.sum(axis=1)}


def test_whole_groups_are_drawn() -> None:
    """Records of one patient come together, and as many patients come as there are."""
    seen: list[Floats] = []

    def statistic(weights: Floats) -> dict[str, Floats]:
        seen.append(weights)
        return {"size": weights.sum(axis=1)}

    intervals.bootstrap(["a", "b", "a", "c", "b"], statistic, resamples=200, seed=0)
    weights = np.concatenate(seen)
    assert weights.shape == (200, 5)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 2])
    np.testing.assert_array_equal(weights[:, 1], weights[:, 4])
    np.testing.assert_array_equal(weights[:, [0, 1, 3]].sum(axis=1), 3)
    # A group drawn from three with replacement is missing in (2/3)^3 of the resamples.
    assert (weights[:, 0] == 0).mean() == pytest.approx(8 / 27, abs=0.1)


def test_the_interval_is_the_quantiles_of_brute_force_resampling() -> None:
    rng = np.random.default_rng(5)
    patients, values = rng.integers(0, 30, 200), rng.normal(size=200)
    found = intervals.bootstrap(list(patients), mean_of(values), resamples=4000, seed=1)["mean"]
    rows = [np.flatnonzero(patients == patient) for patient in np.unique(patients)]
    means = [
        values[np.concatenate([rows[g] for g in rng.integers(0, len(rows), len(rows))])].mean()
        for _ in range(4000)
    ]
    assert found is not None
    np.testing.assert_allclose(found, np.quantile(means, [0.025, 0.975]), atol=0.012)


def test_the_size_of_a_block_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.arange(10.0)
    once = intervals.bootstrap(range(10), mean_of(values), resamples=50, seed=3)
    monkeypatch.setattr(intervals, "BLOCK", 70)
    assert intervals.bootstrap(range(10), mean_of(values), resamples=50, seed=3) == once
    assert intervals.bootstrap(range(10), mean_of(values), resamples=50, seed=4) != once


def test_patients_cover_where_records_do_not() -> None:
    """Share of right answers, with patients who differ: the truth (.7) lies within about 95 %.

    Drawing records as if they were independent gives intervals that are far too sure.
    """
    rng = np.random.default_rng(11)
    patient = np.repeat(np.arange(40), 10)
    hits = {"patients": 0, "records": 0}
    for seed in range(150):
        skill = rng.beta(1.4, 0.6, size=40)
        right = (rng.random(400) < skill[patient]).astype(float)
        for unit, groups in (("patients", patient), ("records", np.arange(400))):
            found = intervals.bootstrap(list(groups), mean_of(right), resamples=200, seed=seed)
            interval = found["mean"]
            assert interval is not None
            hits[unit] += interval[0] <= 0.7 <= interval[1]
    assert 0.87 <= hits["patients"] / 150 <= 0.99
    assert hits["records"] / 150 < 0.75


def test_one_patient_gives_no_interval() -> None:
    assert intervals.bootstrap(["a"] * 9, mean_of(np.arange(9.0)), resamples=20, seed=0) == {
        "mean": None
    }


def test_a_score_that_seldom_exists_gives_no_interval() -> None:
    assert intervals.middle(np.array([0.5, np.nan, np.nan])) is None
    assert intervals.middle(np.array([0.5, 0.5, np.nan])) == (0.5, 0.5)


def test_exact_intervals_are_those_of_the_tables() -> None:
    assert intervals.exact(0, 12) == pytest.approx((0, 0.2646), abs=1e-4)
    assert intervals.exact(3, 7) == pytest.approx((0.0990, 0.8159), abs=1e-4)
    assert intervals.exact(12, 12) == pytest.approx((0.7354, 1), abs=1e-4)
    with pytest.raises(InputError, match="3 of 2"):
        intervals.exact(3, 2)


def test_a_share_of_few_takes_the_wider_interval() -> None:
    none = intervals.share({"value": 0.0, "low": 0.0, "high": 0.0}, 12)
    assert (none["k"], none["n"], none["low"]) == (0, 12, 0)
    assert none["high"] == pytest.approx(0.2646, abs=1e-4)
    wide = intervals.share({"value": 0.5, "low": 0.01, "high": 0.99}, 10)
    assert (wide["k"], wide["low"], wide["high"]) == (5, 0.01, 0.99)


def test_scores_are_measured_into_a_tree() -> None:
    groups, right = range(100), np.arange(100) % 4 > 0

    def statistic(weights: Floats) -> dict[intervals.Where, Floats]:
        share = (weights @ right) / weights.sum(axis=1)
        return {("overall", "accuracy"): share, ("classes", "AF", "ppv"): share * np.nan}

    tree = intervals.measure(groups, statistic, resamples=300, seed=0)
    found = tree["overall"]["accuracy"]
    assert found["value"] == 0.75
    assert 0.6 < found["low"] < 0.72 < 0.78 < found["high"] < 0.9
    assert tree["classes"]["AF"]["ppv"] == {"value": None, "low": None, "high": None}


def test_no_resamples_are_refused() -> None:
    with pytest.raises(InputError, match="at least 1"):
        intervals.bootstrap(["a", "b"], mean_of(np.ones(2)), resamples=0, seed=0)
