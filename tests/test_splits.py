"""A patient stays on one side, a class keeps its share."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrace.errors import InputError
from retrace.learning.splits import SUBSETS, stratified


def _draw(seed: int, segments: int, patients: int) -> tuple[list[str], list[str]]:
    generator = np.random.default_rng(seed)
    labels = generator.choice(["NSR", "AF", "Other"], segments, p=[0.5, 0.3, 0.2])
    groups = generator.integers(patients, size=segments)
    return labels.tolist(), [f"p{group}" for group in groups]


@settings(max_examples=30)
@given(seed=st.integers(0, 1000))
def test_no_patient_stands_on_two_sides(seed: int) -> None:
    labels, groups = _draw(seed, segments=300, patients=40)

    subsets = stratified(labels, groups, val=0.2, test=0.2, seed=seed)

    sides: dict[str, set[str]] = {}
    for group, subset in zip(groups, subsets, strict=True):
        sides.setdefault(group, set()).add(subset)
    assert all(len(side) == 1 for side in sides.values())


def test_shares_are_kept_within_a_hundredth_when_groups_allow_it() -> None:
    labels, _ = _draw(0, segments=1000, patients=1)
    subsets = np.array(stratified(labels, [str(i) for i in range(1000)], val=0.2, test=0.2, seed=3))

    for subset, share in zip(SUBSETS, (0.6, 0.2, 0.2), strict=True):
        inside = subsets == subset
        assert abs(inside.mean() - share) < 0.01
        for label in set(labels):
            has = np.array(labels) == label
            assert abs(has[inside].mean() - has.mean()) < 0.01


def test_shares_stay_close_with_whole_patients() -> None:
    labels, groups = _draw(1, segments=400, patients=80)
    subsets = np.array(stratified(labels, groups, val=0.2, test=0.2, seed=3))

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

    subsets = stratified(labels, groups, val=0.2, test=0.2, seed=seed)

    assert {s for s, label in zip(subsets, labels, strict=True) if label == "Noise"} == set(SUBSETS)


def test_the_seed_decides() -> None:
    labels, groups = _draw(0, segments=200, patients=50)
    first = stratified(labels, groups, val=0.2, test=0.2, seed=1)

    assert first == stratified(labels, groups, val=0.2, test=0.2, seed=1)
    assert first != stratified(labels, groups, val=0.2, test=0.2, seed=2)


def test_a_class_of_two_patients_cannot_be_split() -> None:
    labels = ["NSR"] * 20 + ["AF"] * 8
    groups = [f"p{i}" for i in range(20)] + ["q1"] * 4 + ["q2"] * 4

    with pytest.raises(InputError, match="class AF: 2 patients"):
        stratified(labels, groups, val=0.2, test=0.2, seed=0)
