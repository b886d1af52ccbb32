"""Drift: quiet without it, found where it is, and never more sure than so few persons allow."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import comb

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from retrace.errors import InputError
from retrace.runs.paired import holm
from retrace.scoring.drift import LEAST, MIX, Row, Sample, compare, westfall_young

Floats = NDArray[np.float64]
CLASSES = ("N", "S", "V")
NAMES = ("a", "b", "c", "d")


def drawn(
    rng: np.random.Generator,
    persons: int,
    *,
    each: int = 1,
    own: float = 0.0,
    shift: float = 0.0,
    mix: Sequence[float] = (0.8, 0.1, 0.1),
) -> Sample:
    """Recordings of new persons. own: how far persons lie apart; shift: of the number "a"."""
    groups = [name for name in rng.random(persons).tolist() for _ in range(each)]
    features = {}
    for name in NAMES:
        middle = np.repeat(rng.normal(0, own, persons) if own else np.zeros(persons), each)
        features[name] = middle + rng.normal(size=persons * each) + shift * (name == "a")
    counts = rng.multinomial(60, mix, size=persons * each).astype(np.float64)
    return Sample(features, counts, CLASSES, groups)


def by_name(rows: list[Row]) -> dict[str, Row]:
    return {row.name: row for row in rows}


def alone(sample: Sample) -> Sample:
    """The same as if each recording were another person's."""
    return replace(sample, groups=[(id(sample), row) for row in range(len(sample.groups))])


def alarms(make: Callable[[np.random.Generator], tuple[Sample, Sample]], looks: int) -> int:
    """In how many looks something is found."""
    rng = np.random.default_rng(0)
    return sum(
        any(row.drifted for row in compare(*make(rng), seed=look, permutations=299))
        for look in range(looks)
    )


def test_without_drift_one_look_in_twenty_at_most_is_a_false_alarm() -> None:
    def nothing(rng: np.random.Generator) -> tuple[Sample, Sample]:
        return drawn(rng, 15), drawn(rng, 12)

    assert alarms(nothing, 150) <= 13  # more than that in 1 % of such tests


def test_many_recordings_of_few_persons_are_no_evidence() -> None:
    def nothing(rng: np.random.Generator) -> tuple[Sample, Sample]:
        return tuple(drawn(rng, 10, each=6, own=2.0) for _ in range(2))  # type: ignore[return-value]

    def permuted_by_recording(rng: np.random.Generator) -> tuple[Sample, Sample]:
        return tuple(map(alone, nothing(rng)))  # type: ignore[return-value]

    assert alarms(nothing, 60) <= 7
    assert alarms(permuted_by_recording, 60) > 30


def test_a_planted_shift_is_found_where_it_is() -> None:
    rng = np.random.default_rng(1)

    rows = by_name(compare(drawn(rng, 25), drawn(rng, 25, shift=2.0)))

    assert [name for name, row in rows.items() if row.drifted] == ["a"]
    assert rows["a"].psi > 2 * rows["a"].chance
    assert rows["a"].words.startswith("median ") and "of 25 persons, now " in rows["a"].words


def test_another_mix_of_patients_is_found() -> None:
    rng = np.random.default_rng(1)

    rows = by_name(compare(drawn(rng, 20), drawn(rng, 20, mix=(0.5, 0.1, 0.4))))

    assert [name for name, row in rows.items() if row.drifted] == [MIX]
    assert rows[MIX].statistic == rows[MIX].psi
    assert "V 10.3% of the answers, now 4" in rows[MIX].words


def test_no_division_of_so_few_persons_can_say_more() -> None:
    ten = np.arange(10.0)
    counts = np.ones((5, 3))
    before, now = (
        Sample({"a": part}, counts, CLASSES, [str(n) for n in part]) for part in (ten[:5], ten[5:])
    )

    (row, _) = compare(before, now, permutations=20_000)

    # Of five and five as far apart as can be, only the mirror image is as unlike.
    assert row.statistic == 1
    assert row.p == pytest.approx(2 / comb(10, 5), rel=0.3)


def test_fewer_persons_are_told_so_and_nothing_drifts() -> None:
    rng = np.random.default_rng(0)

    rows = compare(drawn(rng, 40), drawn(rng, LEAST - 1, each=30, shift=50.0))

    assert not any(row.drifted for row in rows)
    assert all(row.p == row.corrected == 1 and "fewer than 5 persons" in row.words for row in rows)
    with pytest.raises(InputError, match=r"0 beside them; each side needs at least 5: wait"):
        compare(drawn(rng, 40), drawn(rng, 0))


def test_a_number_that_few_persons_have_does_not_spoil_the_others() -> None:
    rng = np.random.default_rng(0)
    before, now = drawn(rng, 20), drawn(rng, 20, shift=3.0)
    now.features["b"][3:] = np.nan
    now.features["c"][:] = np.nan

    rows = by_name(compare(before, now))

    assert rows["a"].drifted
    assert rows["b"].persons == (20, 3) and rows["c"].persons == (20, 0)
    assert not rows["b"].drifted and "known" in rows["c"].words


def test_a_person_counts_once_however_often_he_is_recorded() -> None:
    rng = np.random.default_rng(3)
    before, now = drawn(rng, 15), drawn(rng, 10)
    again = [*range(10), *[0] * 40]
    often = Sample(
        {name: values[again] for name, values in now.features.items()},
        now.mix[again],
        CLASSES,
        [now.groups[row] for row in again],
    )

    assert compare(before, often) == compare(before, now)


def test_who_is_on_both_sides_belongs_to_the_reference() -> None:
    rng = np.random.default_rng(3)
    before, now = drawn(rng, 15), drawn(rng, 10, shift=3.0)
    shared = replace(now, groups=[*before.groups[:3], *now.groups[3:]])

    rows = compare(before, shared)

    assert {row.persons for row in rows} == {(15, 7)}


def test_the_statistics_are_those_of_the_books() -> None:
    rng = np.random.default_rng(5)
    before, now = drawn(rng, 40), drawn(rng, 30, shift=0.5)
    before.features["d"][:], now.features["d"][:] = 1.0, [0.5] * 15 + [1.0] * 15  # many ties

    rows = by_name(compare(before, now))

    for name in NAMES:
        expected = ks_2samp(before.features[name], now.features[name]).statistic
        assert rows[name].statistic == pytest.approx(expected)
    # Below the reference, equal to it, above it; and half a person more in each.
    first, second = np.array([0.5, 40.5, 0.5]) / 41.5, np.array([15.5, 15.5, 0.5]) / 31.5
    psi = ((second - first) * np.log(second / first)).sum()
    assert rows["d"].psi == pytest.approx(float(psi))


def test_p_values_are_corrected_for_all_numbers_at_once() -> None:
    rng = np.random.default_rng(0)
    statistics = np.abs(rng.normal(size=(500, 6)))
    statistics[:, 1] = statistics[:, 0]  # the same number twice costs nothing
    statistics[0] = [3.2, 3.2, 1.0, 2.2, 0.1, 2.9]

    p, corrected = westfall_young(statistics)

    assert all(one <= held <= 1 for one, held in zip(p, corrected, strict=True))
    assert all(held <= most + 1e-12 for held, most in zip(corrected, holm(p), strict=True))
    assert corrected[0] == corrected[1] < holm(p)[0]


def test_a_seed_repeats_it() -> None:
    rng = np.random.default_rng(0)
    before, now = drawn(rng, 12, each=2), drawn(rng, 9, each=3)

    assert compare(before, now, seed=4) == compare(before, now, seed=4)
    assert compare(before, now, seed=4) != compare(before, now, seed=5)
