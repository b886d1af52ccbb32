"""A patient stays on one side, a class keeps its share."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrace.errors import InputError
from retrace.learning.splits import SUBSETS, groups, stratified


def _draw(seed: int, segments: int, patients: int) -> tuple[list[str], list[str]]:
    generator = np.random.default_rng(seed)
    labels = generator.choice(["NSR", "AF", "Other"], segments, p=[0.5, 0.3, 0.2])
    groups = generator.integers(patients, size=segments)
    return labels.tolist(), [f"p{group}" for group in groups]


@settings(max_examples=30)
@given(seed=st.integers(0, 1000))
def test_no_patient_stands_on_two_sides(seed: int) -> None:
    labels, groups = _draw(seed, segments=300, patients=40)

    subsets = stratified(labels, groups, folds=5, fold=0, val=0.2, seed=seed)

    sides: dict[str, set[str]] = {}
    for group, subset in zip(groups, subsets, strict=True):
        sides.setdefault(group, set()).add(subset)
    assert all(len(side) == 1 for side in sides.values())


def test_shares_are_kept_within_a_hundredth_when_groups_allow_it() -> None:
    labels, _ = _draw(0, segments=1000, patients=1)
    subsets = np.array(
        stratified(labels, [str(i) for i in range(1000)], folds=5, fold=0, val=0.2, seed=3)
    )

    for subset, share in zip(SUBSETS, (0.6, 0.2, 0.2), strict=True):
        inside = subsets == subset
        assert abs(inside.mean() - share) < 0.01
        for label in set(labels):
            has = np.array(labels) == label
            assert abs(has[inside].mean() - has.mean()) < 0.01


def test_shares_stay_close_with_whole_patients() -> None:
    labels, groups = _draw(1, segments=400, patients=80)
    subsets = np.array(stratified(labels, groups, folds=5, fold=0, val=0.2, seed=3))

    for label in set(labels):
        has = np.array(labels) == label
        for subset in SUBSETS:
            assert abs(has[subsets == subset].mean() - has.mean()) < 0.05


@settings(max_examples=30)
@given(seed=st.integers(0, 1000))
def test_a_rare_class_stands_in_every_subset(seed: int) -> None:
    labels, groups = _draw(seed, segments=120, patients=30)
    for rare in (3, 17, 31, 44):
        labels[rare] = "Noise"
        groups[rare] = f"q{rare}"

    subsets = stratified(labels, groups, folds=5, fold=0, val=0.2, seed=seed)

    assert {s for s, label in zip(subsets, labels, strict=True) if label == "Noise"} == set(SUBSETS)


def test_the_seed_decides() -> None:
    labels, groups = _draw(0, segments=200, patients=50)
    first = stratified(labels, groups, folds=5, fold=0, val=0.2, seed=1)

    assert first == stratified(labels, groups, folds=5, fold=0, val=0.2, seed=1)
    assert first != stratified(labels, groups, folds=5, fold=0, val=0.2, seed=2)


def test_a_class_of_two_patients_cannot_be_split() -> None:
    labels = ["NSR"] * 20 + ["AF"] * 8
    groups = [f"p{i}" for i in range(20)] + ["q1"] * 4 + ["q2"] * 4

    with pytest.raises(InputError, match="class AF: 2 patients"):
        stratified(labels, groups, folds=5, fold=0, val=0.2, seed=0)


def test_each_fold_is_the_test_part_once() -> None:
    labels, patients = _draw(0, segments=300, patients=60)
    parts = [
        {
            i
            for i, subset in enumerate(
                stratified(labels, patients, folds=5, fold=k, val=0.2, seed=1)
            )
            if subset == "test"
        }
        for k in range(5)
    ]

    assert sorted(i for part in parts for i in part) == list(range(300))
    assert all(abs(len(part) - 60) < 6 for part in parts)


def test_a_class_that_a_fold_lacks_is_named_with_the_folds_that_have_it() -> None:
    labels = ["NSR"] * 40 + ["AF"] * 3
    patients = [f"p{i}" for i in range(43)]
    folds = []
    for fold in range(5):
        try:
            stratified(labels, patients, folds=5, fold=fold, val=0.2, seed=0)
        except InputError as error:
            assert "class AF" in str(error)
            folds = [
                int(k)
                for k in str(error)
                .split("split.fold to one of ")[1]
                .split(", another")[0]
                .split(", ")
            ]

    assert len(folds) == 3
    for fold in folds:
        assert "test" in stratified(labels, patients, folds=5, fold=fold, val=0.2, seed=0)[40:]


def _record(record_id: str, patient_id: str = "", same_as: str = "") -> dict[str, str]:
    return {"record_id": record_id, "patient_id": patient_id, "same_as": same_as}


def test_copies_and_patients_who_share_one_stand_together() -> None:
    group_of = groups(
        [
            _record("a"),
            _record("b", same_as="a"),
            _record("c", "P"),
            _record("d", "Q"),
            _record("e", "Q", same_as="c"),
            _record("f"),
        ]
    )

    assert group_of["a"] == group_of["b"]
    assert group_of["c"] == group_of["d"] == group_of["e"]
    assert len({group_of[name] for name in "acf"}) == 3
