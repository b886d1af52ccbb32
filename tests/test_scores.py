"""Scores against scikit-learn, and what happens at their edges."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from sklearn import metrics

from retrace.errors import InputError
from retrace.scoring import scores

RHYTHMS = ("NSR", "AF", "Other", "Noise")
Case = tuple[NDArray[np.int64], NDArray[np.float64]]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Labels and probabilities with many ties, on a grid of sixths."""
    n = draw(st.integers(4, 40))
    y = draw(hnp.arrays(np.int64, n, elements=st.integers(0, 3)))
    parts = draw(hnp.arrays(np.float64, (n, 4), elements=st.integers(0, 5)))
    return y, (parts + 1) / (parts + 1).sum(axis=1, keepdims=True)


@given(cases())
def test_scores_are_those_of_scikit_learn(case: Case) -> None:
    y, p = case
    here = np.unique(y)
    oracle: dict[str, float] = {
        "f1_macro": metrics.f1_score(y, p.argmax(1), labels=here, average="macro"),
        "accuracy": metrics.accuracy_score(y, p.argmax(1)),
        "sensitivity_macro": metrics.recall_score(y, p.argmax(1), labels=here, average="macro"),
        "log_loss": -metrics.log_loss(y, p, labels=range(4)),
    }
    for name, value in oracle.items():
        assert scores.score(name, y, p, RHYTHMS) == pytest.approx(value), name


@given(cases(), st.data())
def test_weights_count_records_as_often_as_they_are_repeated(case: Case, data: Any) -> None:
    """A resample by weights equals the records written down one by one, ties included."""
    y, p = case
    weights = data.draw(hnp.arrays(np.int64, (3, len(y)), elements=st.integers(0, 3)))
    confusions = scores.confusion(y, p.argmax(1), 4, weights.astype(float))
    areas = scores.aurocs(y, p, weights.astype(float))
    for k, counts in enumerate(weights):
        rows = np.repeat(np.arange(len(y)), counts)
        np.testing.assert_array_equal(
            confusions[k],
            metrics.confusion_matrix(y[rows], p[rows].argmax(1), labels=range(4))
            if len(rows)
            else np.zeros((4, 4)),
        )
        for c in range(4):
            mine = y[rows] == c
            if mine.any() and not mine.all():
                assert areas[k, c] == pytest.approx(metrics.roc_auc_score(mine, p[rows, c]))
            else:
                assert np.isnan(areas[k, c])


def test_rates_by_hand() -> None:
    """The third class has an alarm and no example: its PPV is 0, the rest does not exist."""
    rates = scores.rates(np.array([[[6.0, 2, 0], [1, 3, 1], [0, 0, 0]]]))
    np.testing.assert_allclose(rates.sensitivity[0], [6 / 8, 3 / 5, np.nan])
    np.testing.assert_allclose(rates.ppv[0], [6 / 7, 3 / 5, 0])
    np.testing.assert_allclose(rates.f1[0], [12 / 15, 6 / 10, np.nan])


def test_a_class_without_examples_leaves_the_average_but_its_alarms_still_cost() -> None:
    y = np.array([0, 0, 1, 1])
    perfect, alarm = np.eye(3)[[0, 0, 1, 1]], np.eye(3)[[0, 2, 1, 1]]
    assert scores.score("f1_macro", y, perfect, ("N", "S", "V")) == 1.0
    assert scores.score("f1_macro", y, alarm, ("N", "S", "V")) == pytest.approx((2 / 3 + 1) / 2)


def test_a_resample_that_lost_a_class_has_no_macro_score() -> None:
    values = np.array([[0.5, np.nan], [0.5, 0.7]])
    np.testing.assert_allclose(scores.macro(values, np.array([True, True])), [np.nan, 0.6])


def test_challenge_f1_is_the_mean_of_three_whatever_their_order() -> None:
    y = np.array([0, 1, 2, 3, 3])
    p = np.eye(4)[[0, 1, 2, 3, 1]]
    classes = ("Noise", "Other", "NSR", "AF")
    # F1: Other 2/3 (one false alarm), NSR 1, AF 2/3 (one of two missed); Noise has no term.
    assert scores.score("challenge_f1", y, p, classes) == pytest.approx((2 / 3 + 1 + 2 / 3) / 3)


def test_equal_answers_rank_nothing() -> None:
    p = np.full((6, 4), 0.25)
    assert scores.score("auroc_macro", np.array([0, 1, 2, 3, 0, 1]), p, RHYTHMS) == 0.5


def test_sensitivity_minority_weighs_the_rare_classes_by_seven_tenths() -> None:
    """Half of N found, all of V, none of F; S has no example and takes no part."""
    y = np.array([0, 0, 2, 3])
    p = np.eye(4)[[0, 1, 2, 0]]
    found = scores.score("sensitivity_minority", y, p, tuple("NSVF"))
    assert found == pytest.approx(0.3 * 0.5 + 0.7 * 0.5)
    everything_rare = np.eye(4)[[1, 1, 2, 3]]
    assert scores.score("sensitivity_minority", y, everything_rare, tuple("NSVF")) == 0.7
    with pytest.raises(InputError, match="needs the class N; got NSR, AF, Other, Noise"):
        scores.score("sensitivity_minority", y, p, RHYTHMS)
    with pytest.raises(InputError, match="examples of N and of another class"):
        scores.score("sensitivity_minority", np.zeros(4, int), p, tuple("NSVF"))


def test_a_certain_mistake_costs_much_but_not_everything() -> None:
    value = scores.score("log_loss", np.array([0, 1]), np.eye(4)[[0, 0]], RHYTHMS)
    assert -20 < value < -10


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("mean", [[0.5, 0.5], [0.9, 0.1]]),
        ("max", [[0.8 / 1.5, 0.7 / 1.5], [0.9, 0.1]]),
        ("median", [[0.4, 0.6], [0.9, 0.1]]),
    ],
)
def test_windows_are_joined_into_records(rule: str, expected: list[list[float]]) -> None:
    """Records come in the order of their first window, although their windows are mixed."""
    p = [[0.8, 0.2], [0.9, 0.1], [0.3, 0.7], [0.4, 0.6]]
    names, joined = scores.aggregate(["b", "a", "b", "b"], p, rule)
    assert names == ["b", "a"]
    np.testing.assert_allclose(joined, expected)


def test_a_median_of_nothing_falls_back_to_the_mean() -> None:
    _, joined = scores.aggregate(["a"] * 3, np.eye(3), "median")
    np.testing.assert_allclose(joined, [[1 / 3] * 3])


@given(cases(), st.sampled_from(scores.JOINS))
def test_joined_answers_are_probabilities(case: Case, rule: str) -> None:
    y, p = case
    _, joined = scores.aggregate([f"r{label}" for label in y], p, rule)
    np.testing.assert_allclose(joined.sum(axis=1), 1)


GOOD_Y, GOOD_P = np.array([0, 1]), np.eye(4)[[0, 1]]


@pytest.mark.parametrize(
    ("y", "p", "sentence"),
    [
        (GOOD_Y, GOOD_P * np.nan, "8 of 8 values are NaN or infinite"),
        (GOOD_Y, GOOD_P[:1], r"shape \(1, 4\) for labels of shape \(2,\)"),
        (GOOD_Y[:0], GOOD_P[:0], "at least one record"),
        (GOOD_Y + 3, GOOD_P, r"label 4: outside 0\.\.3"),
        (GOOD_Y / 2, GOOD_P, "integers"),
        (GOOD_Y, GOOD_P * 7, "do not sum to 1"),
    ],
)
def test_what_cannot_be_scored_is_refused(y: Any, p: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        scores.score("accuracy", y, p, RHYTHMS)


def test_a_score_that_does_not_exist_is_refused_with_its_remedy() -> None:
    with pytest.raises(InputError, match=r"expected f1_macro, .*; got 'f2'"):
        scores.score("f2", GOOD_Y, GOOD_P, RHYTHMS)
    with pytest.raises(InputError, match="needs the classes NSR, AF and Other; got N, S, V, F"):
        scores.score("challenge_f1", GOOD_Y, GOOD_P, tuple("NSVF"))
    with pytest.raises(InputError, match="needs an example of NSR, AF or Other"):
        scores.score("challenge_f1", np.array([3, 3]), GOOD_P, RHYTHMS)
    with pytest.raises(InputError, match="two classes; all are AF"):
        scores.score("auroc_macro", np.array([1, 1]), GOOD_P, RHYTHMS)
    with pytest.raises(InputError, match="expected mean, max, median; got 'vote'"):
        scores.aggregate(["a", "b"], GOOD_P, "vote")
