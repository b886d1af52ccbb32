"""Scores of labelled answers with their intervals, and how far they lie from others."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from retrace.runs.answers import Answers
from retrace.runs.paired import known
from retrace.scoring import scores
from retrace.scoring.intervals import FEW, Floats, Where, draw, leaf, measure, middle, share
from retrace.scoring.subgroups import BANDS, ENOUGH, SEXES, age_band
from retrace.service.truths import Labelled

RESAMPLES = 2000
# Of fewer persons no interval is told. In a simulation one of nominal 95 % covers the true accuracy
# in 84 of 100 cases with five persons, in 89 with eight, in 92 with twenty.
LEAST = 8


def scored(labelled: Labelled, *, seed: int = 0, resamples: int = RESAMPLES) -> dict[str, Any]:
    """The scores of labelled answers, as JSON; {"missing": why, "left_out"} where there is none.

    "unit", "segments", "recordings", "persons" (None: unknown), "support" of each class,
    "confusion" (rows: true), "scores": {metric: {"value", "low", "high"}} for those of
    `paired.known`, "classes": {class: {"sensitivity", "ppv"}}, "subgroups" by sex and age with the
    same of each, "note" where there is no interval, "left_out": {reason: how many}.
    Macro averages are over the classes that have an example. Intervals: a bootstrap over persons.
    """
    if not labelled.told:
        return {"missing": nothing(labelled), "left_out": dict(labelled.left_out)}
    return {
        "unit": labelled.unit,
        "recordings": len(labelled.told),
        **of_counts(labelled.answers, seed=seed, resamples=resamples),
        "subgroups": _subgroups(labelled, seed, resamples),
        "left_out": dict(labelled.left_out),
    }


def deviation(
    reference: Answers, now: Answers, *, seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, dict[str, float | None]]:
    """{metric: {"value", "low", "high"}}: the score now minus that of the reference.

    Of the classes that both have, see `common`: a mean over others is another score. The persons
    of each are drawn by themselves. Accuracy also depends on how frequent the classes are.
    """
    here = common(reference, now)
    one_of_each = np.diag([float(name in here) for name in now.classes])[np.newaxis]
    metrics = known(Answers(now.classes, (("", ""),), one_of_each))
    drawn = [
        _resamples(each, [seed, side], resamples) for side, each in enumerate((reference, now))
    ]
    found = {}
    for name, metric in metrics.items():
        before, after = (metric(each.matrices.sum(axis=0)[np.newaxis]) for each in (reference, now))
        interval = None
        if min(len(reference.groups), len(now.groups)) >= LEAST:
            interval = middle(metric(drawn[1]) - metric(drawn[0]))
        found[name] = leaf(float(after[0] - before[0]), interval)
    return found


def common(one: Answers, other: Answers) -> list[str]:
    """The classes of which both have examples."""
    here = [each.matrices.sum(axis=(0, 2)) > 0 for each in (one, other)]
    return [name for place, name in enumerate(one.classes) if here[0][place] and here[1][place]]


def few(persons: int) -> str:
    """Why there is no interval."""
    return f"{persons} persons: an interval needs at least {LEAST}, of fewer it would be too narrow"


def of_counts(answers: Answers, *, seed: int = 0, resamples: int = RESAMPLES) -> dict[str, Any]:
    """What follows from confusion matrices of persons."""
    size, groups = len(answers.classes), answers.groups
    flat = answers.matrices.reshape(len(groups), -1)
    metrics, support = known(answers), answers.matrices.sum(axis=(0, 2)).astype(int).tolist()
    enough = len(groups) >= LEAST

    def statistic(weights: Floats) -> dict[Where, Floats]:
        drawn = (weights @ flat).reshape(-1, size, size)
        found: dict[Where, Floats] = {
            ("scores", name): metric(drawn) for name, metric in metrics.items()
        }
        rates = scores.rates(drawn)
        for place, name in enumerate(answers.classes):
            if support[place]:
                found["classes", name, "sensitivity"] = rates.sensitivity[:, place]
            found["classes", name, "ppv"] = rates.ppv[:, place]
        return found

    # Of a single group no interval is drawn.
    drawn_from = groups if enough else [""] * len(groups)
    tree = measure(drawn_from, statistic, resamples=resamples if enough else 1, seed=seed)
    for place, name in enumerate(answers.classes):
        if 0 < support[place] < FEW:
            of_class = tree["classes"][name]
            of_class["sensitivity"] = share(of_class["sensitivity"], support[place])
    unknown = any(kind != "patient" for kind, _ in groups)
    return {
        "segments": sum(support),
        "persons": None if unknown else len(groups),
        "support": dict(zip(answers.classes, support, strict=True)),
        "confusion": answers.matrices.sum(axis=0).astype(int).tolist(),
        **tree,
        **({} if enough else {"note": few(len(groups))}),
    }


def _subgroups(labelled: Labelled, seed: int, resamples: int) -> dict[str, Any]:
    """The same for women and men and for each age band, where recordings say it."""
    found: dict[str, Any] = {}
    for attribute, order in {"sex": SEXES, "age": BANDS}.items():
        own = [one.sex if attribute == "sex" else age_band(one.age) for one in labelled.told]
        groups = {}
        for value in order:
            told = tuple(one for one, its in zip(labelled.told, own, strict=True) if its == value)
            if told:
                answers = replace(labelled, told=told).answers
                groups[value] = of_counts(answers, seed=seed, resamples=resamples)
        if groups:
            unknown = [one for one, its in zip(labelled.told, own, strict=True) if its not in order]
            found[attribute] = {
                "groups": groups,
                "unknown": sum(len(one.y) for one in unknown),
                "note": _verdict(groups),
            }
    return found


def _verdict(groups: Mapping[str, dict[str, Any]]) -> str:
    if any(one["persons"] is None for one in groups.values()):
        return "No fairness verdict: the persons are unknown, recordings cannot stand for them."
    small = [
        f"{name} ({one['persons']})" for name, one in groups.items() if one["persons"] < ENOUGH
    ]
    if small:
        return f"No fairness verdict: fewer than {ENOUGH} persons in {', '.join(small)}."
    return "Compare the intervals, and the classes each group has, before any verdict."


def _resamples(answers: Answers, seed: list[int], resamples: int) -> Floats:
    """Confusion matrices (resamples, classes, classes) of persons drawn with replacement."""
    size, groups = len(answers.classes), len(answers.groups)
    weights = draw(np.random.default_rng([*seed, *b"deviation"]), resamples, groups)
    flat = answers.matrices.reshape(groups, -1)
    return np.asarray((weights @ flat).reshape(-1, size, size))


def nothing(labelled: Labelled) -> str:
    why = "; ".join(f"{count} {reason}" for reason, count in labelled.left_out.items())
    return f"nothing to judge by ({why or 'no labelled recording, or no feedback'})"
