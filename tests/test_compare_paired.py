"""Whether one run is better than another: what is known beforehand must come out."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from retrace.errors import InputError
from retrace.files import read_csv
from retrace.runs import answers, paired, run
from retrace.runs.answers import Answers, count, read
from retrace.runs.paired import Difference, against_best, differences, holm
from retrace.scoring.intervals import bootstrap
from tests.sources import ROOT

CLASSES = ("N", "S")
DRAWS: dict[str, Any] = {"seed": 7, "resamples": 2000}


def _answers(right: NDArray[np.int64], wrong: NDArray[np.int64]) -> Answers:
    """right, wrong: how many answers of each patient and class, (patients, 2)."""
    matrices = np.zeros((len(right), 2, 2))
    for c in range(2):
        matrices[:, c, c], matrices[:, c, 1 - c] = right[:, c], wrong[:, c]
    return Answers(CLASSES, tuple(("patient", str(n)) for n in range(len(right))), matrices)


def difference(one: Answers, other: Answers, name: str, **draws: Any) -> Difference:
    """Of two runs alone."""
    return differences({"one": one, "other": other}, name, **draws)["one", "other"]


def _runs(rng: np.random.Generator, *skills: float, patients: int = 22) -> list[Answers]:
    """Runs that answer 100 beats of each class right by their skill, and by how hard the patient
    is for all of them."""
    hard = rng.normal(0, 0.15, (patients, 1))
    found = []
    for skill in skills:
        chance = np.clip(skill + hard + rng.normal(0, 0.02, (patients, 2)), 0.02, 0.98)
        right = rng.binomial(100, chance)
        found.append(_answers(right, 100 - right))
    return found


@pytest.mark.parametrize("name", run.all_published(ROOT))
def test_the_counted_answers_of_a_published_run_give_its_own_scores(name: str) -> None:
    one = run.published(ROOT, name)
    rows = read_csv(ROOT / "recipes" / name / answers.FILE, answers.COLUMNS)

    counted = read([list(row.values()) for row in rows], list(one.scores["classes"]))

    assert len(counted.groups) == one.scores["bootstrap"]["groups"]
    for score in paired.known(counted):
        published = one.scores["overall"][score]["value"]
        assert paired.score(counted, score) == pytest.approx(published, abs=1e-6), score


def test_the_same_draws_give_the_published_intervals() -> None:
    one = run.published(ROOT, "mitdb_ds1_ds2")
    rows = read_csv(ROOT / "recipes/mitdb_ds1_ds2" / answers.FILE)
    counted = read([list(row.values()) for row in rows], list(one.scores["classes"]))
    known, flat = paired.known(counted), counted.matrices.reshape(len(counted.groups), -1)

    drawn = bootstrap(
        counted.groups,
        lambda weights: {s: f((weights @ flat).reshape(-1, 5, 5)) for s, f in known.items()},
        resamples=one.scores["bootstrap"]["resamples"],
        seed=one.params["seed"],
    )

    for score, interval in drawn.items():
        assert interval is not None
        entry = one.scores["overall"][score]
        assert interval == pytest.approx((entry["low"], entry["high"]), abs=1e-6)


def test_a_run_is_not_better_than_itself() -> None:
    (own,) = _runs(np.random.default_rng(0), 0.8)

    found = difference(own, own, "accuracy", **DRAWS)

    assert found.value == 0 and found.interval == (0, 0) and found.p == 1


def test_turned_round_the_difference_changes_its_sign_alone() -> None:
    one, other = _runs(np.random.default_rng(1), 0.8, 0.77)

    there = difference(one, other, "f1_macro", **DRAWS)
    back = difference(other, one, "f1_macro", **DRAWS)

    assert there.interval is not None and back.interval is not None
    assert back.value == -there.value and back.p == there.p
    assert back.interval == pytest.approx((-there.interval[1], -there.interval[0]))


def test_what_is_hard_for_both_drops_out() -> None:
    one, other = _runs(np.random.default_rng(2), 0.72, 0.68)

    found = difference(one, other, "accuracy", **DRAWS)

    alone = bootstrap(
        one.groups,
        lambda weights: {"accuracy": weights @ one.matrices.trace(axis1=1, axis2=2) / (22 * 200)},
        **DRAWS,
    )["accuracy"]
    assert found.interval is not None and alone is not None
    assert found.interval[0] > 0 and found.p < 0.01
    # Each run's own interval is wider than the difference is large: apart they show nothing.
    assert alone[1] - alone[0] > 2 * (found.interval[1] - found.interval[0])
    assert alone[0] < paired.score(other, "accuracy")


def test_equal_runs_are_told_apart_no_more_often_than_p_says() -> None:
    rng = np.random.default_rng(3)
    found = []
    for seed in range(200):
        one, other = _runs(rng, 0.8, 0.8)
        found.append(difference(one, other, "accuracy", seed=seed, resamples=400).p)

    assert 0.01 < np.mean(np.array(found) < 0.05) < 0.12


def test_p_counts_every_pair_since_the_best_was_found_among_them() -> None:
    best, *others = _runs(np.random.default_rng(4), 0.9, 0.7, 0.7, 0.7)

    pairs = against_best({"best": best} | dict(zip("abc", others, strict=True)), "accuracy", seed=7)

    least = 2 / (paired.RESAMPLES + 1)  # what a pair alone would have: no draw says otherwise
    assert [pair.p for pair in pairs] == pytest.approx([6 * least] * 3)


def test_holm_raises_each_p_by_how_many_are_left() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0]) and holm([]) == []


def test_every_run_is_held_against_the_best_and_said_in_words() -> None:
    low, best, near = _runs(np.random.default_rng(9), 0.6, 0.8, 0.795)

    pairs = against_best({"low": low, "best": best, "near": near}, "accuracy", seed=7)

    assert [(pair.best, pair.other) for pair in pairs] == [("best", "near"), ("best", "low")]
    assert str(pairs[0]).startswith("no difference shown between best and near: 0.0")
    assert str(pairs[1]).startswith("best is better than low by 0.")
    assert "] in accuracy, p < 0.001" in str(pairs[1])


def test_one_patient_alone_says_nothing_of_others() -> None:
    one, other = _runs(np.random.default_rng(5), 0.9, 0.5, patients=1)

    (pair,) = against_best({"one": one, "other": other}, "accuracy", seed=7)

    assert pair.difference.interval is None and not pair.shown
    assert "with no interval: too few patients" in str(pair)


@pytest.mark.parametrize(("patients", "least"), [(2, 0.5), (5, 0.0625)])
def test_a_few_patients_prove_little_however_sure_their_draws_are(
    patients: int, least: float
) -> None:
    right, wrong = np.full((patients, 2), 90), np.full((patients, 2), 10)
    one, other = _answers(right, wrong), _answers(wrong, right)

    found = difference(one, other, "accuracy", **DRAWS)
    assert found.p == least  # that of a toss of a coin for each patient

    same_but_one = replace(other, matrices=one.matrices.copy())
    same_but_one.matrices[0] = other.matrices[0]
    assert difference(one, same_but_one, "accuracy", **DRAWS).p == 1


def test_a_score_that_does_not_exist_is_not_compared() -> None:
    none = np.zeros((3, 1), dtype=np.int64)
    alone = np.hstack([none, none + 5])  # nobody has a normal beat
    one = _answers(alone, alone)

    assert "sensitivity_minority" not in paired.known(one)
    assert not np.isnan([paired.score(one, name) for name in paired.known(one)]).any()


def test_answers_are_counted_for_each_record_and_joined_by_patient() -> None:
    beats = [("201", "N", "N"), ("201", "N", "S"), ("202", "S", "S"), ("201", "N", "N")]
    names = ("record_id", "actual", "predicted")
    people = [{"record_id": name, "patient_id": "7"} for name in ("201", "202")]

    rows = count([dict(zip(names, beat, strict=True)) for beat in beats], people)

    assert rows == [
        ("7", "201", "N", "N", 2),
        ("7", "201", "N", "S", 1),
        ("7", "202", "S", "S", 1),
    ]
    joined = read(rows, CLASSES)
    assert joined.groups == (("patient", "7"),)
    assert joined.matrices.tolist() == [[[2, 1], [0, 1]]]
    unknown = read(count([dict(zip(names, beat, strict=True)) for beat in beats], []), CLASSES)
    assert unknown.groups == (("record", "201"), ("record", "202"))


@pytest.mark.parametrize("row", [("7", "201", "N", "X", "1"), ("7", "201", "N", "N", "many")])
def test_what_is_no_count_of_two_classes_is_a_sentence(row: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match=r"answers\.csv: record 201: .* restore it from Git"):
        read([row], CLASSES)


def test_other_examples_are_no_rivals() -> None:
    one, other = _runs(np.random.default_rng(6), 0.9, 0.5)
    more = replace(other, matrices=other.matrices + 1)

    assert one.same_test_part(other) and not one.same_test_part(more)
