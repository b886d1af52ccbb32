"""A patient stays on one side, a class keeps its share."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from retrace.errors import InputError
from retrace.learning.leaks import crossing, neighbours
from retrace.learning.splits import DS1, DS2, PACED, SUBSETS, divide, groups, stratified


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
    labels = ["NSR"] * 80 + ["AF"] * 6
    patients = [f"p{i // 2}" for i in range(86)]
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
        assert "test" in stratified(labels, patients, folds=5, fold=fold, val=0.2, seed=0)[80:]


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


def _mitdb(beats: int) -> tuple[list[str], list[str], list[dict[str, str]]]:
    """Labels and records of `beats` beats of each of MIT-BIH's records, and records.csv."""
    names = sorted((*DS1, *DS2, *PACED))
    records = [_record(name, "201" if name == "202" else name) for name in names]
    labels = np.random.default_rng(0).choice(["N", "S", "V"], len(names) * beats, p=[0.8, 0.1, 0.1])
    return labels.tolist(), [name for name in names for _ in range(beats)], records


def _divided(method: str, **other: Any) -> tuple[list[str], list[str], NDArray[np.str_]]:
    labels, owners, records = _mitdb(200)
    options = {"folds": 5, "fold": 0, "val": 0.1, "seed": 1} | other
    return labels, owners, np.array(divide(method, labels, owners, records, **options))


def test_ds1_trains_and_ds2_tests() -> None:
    _, owners, subsets = _divided("ds1_ds2")

    where = {owner: subsets[np.array(owners) == owner] for owner in set(owners)}
    assert {owner for owner, theirs in where.items() if "test" in theirs} == set(DS2)
    assert {owner for owner, theirs in where.items() if "unused" in theirs} == set(PACED)
    assert all(len(set(theirs)) == 1 for theirs in where.values())
    assert (subsets == "val").sum() == pytest.approx(0.1 * 44 * 200, rel=0.15)


def test_ds1_and_ds2_share_one_patient_and_no_other() -> None:
    _, owners, subsets = _divided("ds1_ds2")
    _, _, records = _mitdb(1)
    group_of = groups(records)

    assert crossing([group_of[owner] for owner in owners], subsets.tolist()) == ["patient 201"]


def test_random_beats_keep_shares_and_set_neighbours_apart() -> None:
    labels, owners, subsets = _divided("intra_patient")

    for subset, share in (("test", 0.2), ("val", 0.1), ("train", 0.7)):
        assert (subsets == subset).mean() == pytest.approx(share, abs=0.001)
        inside = np.array(labels)[subsets == subset]
        assert (inside == "S").mean() == pytest.approx((np.array(labels) == "S").mean(), abs=0.001)
    starts = [float(number) for number in range(len(owners))]
    assert neighbours(owners, starts, subsets.tolist()) > 1000


def test_each_fold_of_random_beats_is_the_test_part_once() -> None:
    seen = np.zeros(48 * 200, int)
    for fold in range(5):
        seen += _divided("intra_patient", fold=fold)[2] == "test"

    assert (seen == 1).all()


def test_ds1_ds2_is_for_mit_bih_alone() -> None:
    with pytest.raises(InputError, match="record A00001 is none of MIT-BIH's"):
        divide("ds1_ds2", ["N"], ["A00001"], [_record("A00001")], folds=5, fold=0, val=0.1, seed=1)


def test_the_publisher_s_test_part_stays_the_test_part() -> None:
    parts = ["train"] * 300 + ["test"] * 100
    names = [f"{part}_{i}" for i, part in enumerate(parts)]
    records = [_record(name) | {"part": part} for name, part in zip(names, parts, strict=True)]
    labels = np.random.default_rng(0).choice(["N", "S"], 400).tolist()

    subsets = divide("published", labels, names, records, folds=5, fold=0, val=0.1, seed=1)

    assert [subset == "test" for subset in subsets] == [part == "test" for part in parts]
    assert subsets.count("val") == pytest.approx(40, abs=1)


def test_without_a_published_test_part_the_remedy_is_said() -> None:
    with pytest.raises(InputError, match="names no test part: set it to stratified"):
        divide("published", ["N"], ["a"], [_record("a")], folds=5, fold=0, val=0.1, seed=1)


def test_a_class_too_rare_for_random_beats_is_named() -> None:
    labels = ["N"] * 50 + ["F"] * 2
    owners = ["a"] * 52
    with pytest.raises(InputError, match="class F: 2 segments"):
        divide("intra_patient", labels, owners, [_record("a")], folds=5, fold=0, val=0.1, seed=1)


def test_the_share_of_val_is_of_what_is_used() -> None:
    _, owners, subsets = _divided("ds1_ds2", val=0.2)

    used = np.array([owner not in PACED for owner in owners])
    assert (subsets == "val").sum() == pytest.approx(0.2 * used.sum(), rel=0.1)


def test_a_class_that_cannot_stand_in_val_is_named() -> None:
    labels, owners, records = _mitdb(200)
    rare = [("F" if owner == "101" and i % 200 == 0 else x)
            for i, (x, owner) in enumerate(zip(labels, owners, strict=True))]  # fmt: skip

    with pytest.raises(InputError, match="no segment of class F is left for"):
        divide("ds1_ds2", rare, owners, records, folds=5, fold=0, val=0.1, seed=1)
