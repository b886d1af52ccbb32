"""The test part, opened once: every score with its interval, its baselines and its counts."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retrace.errors import InputError
from retrace.scoring import scores
from retrace.scoring.calibration import ece_of_resamples
from retrace.scoring.headline import headline, notes
from retrace.scoring.intervals import FEW, LEVEL, Where, measure, share
from retrace.scoring.subgroups import compare

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Evaluation:
    """headline: at most twelve flat numbers. scores: the tree of everything, ready for JSON."""

    headline: dict[str, float]
    scores: dict[str, Any]


@dataclass(frozen=True)
class _Test:
    """The test part as arrays over its n answers, each for a record or a beat."""

    y: Integers  # (n,) class numbers
    p: Floats  # (n, classes) calibrated
    raw: Floats  # (n, classes) before temperature scaling
    classes: tuple[str, ...]
    thresholds: Floats  # (classes,)
    rivals: dict[str, Integers]  # what each baseline answers, (n,)

    @property
    def here(self) -> NDArray[np.bool_]:
        return scores.present(self.y, len(self.classes))

    def matrix(self, predicted: Integers, weights: Floats) -> Floats:
        return scores.confusion(self.y, predicted, len(self.classes), weights)


def evaluate(
    *,
    record_ids: Sequence[str],
    patient_ids: Sequence[str | None],
    ages: Sequence[float | None],
    sexes: Sequence[str | None],
    y: ArrayLike,
    probabilities: ArrayLike,
    raw_probabilities: ArrayLike,
    classes: Sequence[str],
    thresholds: ArrayLike,
    resamples: int,
    seed: int,
    segments: int | None = None,
    unit: scores.Unit = "record",
) -> Evaluation:
    """Score n answers of the test part, one for each of its records or, by `unit`, of its beats.

    record_ids, patient_ids, ages (years), sexes ("F", "M"): n each; None where unknown. Of beats
    record_ids name the recordings, so that they repeat.
    y: (n,) class numbers. probabilities, raw_probabilities: (n, classes) after and before
    temperature scaling. thresholds: (classes,), fitted on validation. segments: how many
    segments the n answers were joined from, for the record.
    Raises InputError for lengths that differ and values that cannot be scored.
    """
    labels, p = scores.check(y, probabilities, len(classes))
    _, raw = scores.check(y, raw_probabilities, len(classes))
    cuts = np.asarray(thresholds, dtype=np.float64)
    lengths = [len(record_ids), len(patient_ids), len(ages), len(sexes)]
    if set(lengths) != {len(labels)} or cuts.shape != (len(classes),):
        raise InputError(
            f"{len(labels)} labels, but {lengths} record ids, patient ids, ages and sexes, and "
            f"thresholds of shape {cuts.shape} for {len(classes)} classes: give one each"
        )
    rivals = {"majority": np.full(len(labels), np.bincount(labels).argmax())}
    if (oracle := _recognise(patient_ids, labels, len(classes))) is not None:
        rivals["patient_oracle"] = oracle
    test = _Test(labels, p, raw, tuple(classes), cuts, rivals)
    # A publisher's own cut beats have no record beside themselves.
    alone = unit == "beat" and len(set(record_ids)) == len(labels)
    # Where a patient is unknown the record stands for itself; the tag keeps the names apart.
    groups: list[Hashable] = [
        ("patient", patient) if patient is not None else ("record", record)
        for patient, record in zip(patient_ids, record_ids, strict=True)
    ]
    tree: dict[str, Any] = {} if unit == "record" else {"unit": unit}
    tree |= {
        "counts": {
            "answers": len(labels),
            "records": None if alone else len(set(record_ids)),
            "patients": None if None in patient_ids else len(set(patient_ids)),
            "segments": segments,
        },
        "bootstrap": {
            "unit": _drawn(patient_ids, "beats" if alone else "records"),
            "groups": len(set(groups)),
            "resamples": resamples,
            "level": LEVEL,
        },
    }
    tree |= measure(groups, lambda w: _all_scores(test, w), resamples=resamples, seed=seed)
    _count(tree, test, patient_ids)
    tree["subgroups"] = compare(
        labels,
        p.argmax(axis=1),
        classes,
        groups=groups,
        patients=patient_ids,
        ages=ages,
        sexes=sexes,
        unit=unit,
        resamples=resamples,
        seed=seed,
    )
    tree["notes"] = notes(tree)
    return Evaluation(headline(tree), tree)


def _recognise(patients: Sequence[str | None], y: Integers, n_classes: int) -> Integers | None:
    """Each patient's most frequent class; None unless some known patient has several records."""
    if None in patients or len(set(patients)) == len(patients):
        return None
    _, who = np.unique(np.array(patients, dtype=str), return_inverse=True)
    table = np.zeros((who.max() + 1, n_classes), dtype=np.int64)
    np.add.at(table, (who, y), 1)
    return np.asarray(table.argmax(axis=1)[who])


def _drawn(patients: Sequence[str | None], instead: str) -> str:
    if None not in patients:
        return "patients"
    known = any(patient is not None for patient in patients)
    return f"patients, and {instead} where the patient is unknown" if known else instead


def _all_scores(test: _Test, weights: Floats) -> dict[Where, Floats]:
    return _own(test, weights) | _at_thresholds(test, weights) | _beside(test, weights)


def _own(test: _Test, weights: Floats) -> dict[Where, Floats]:
    matrix = test.matrix(test.p.argmax(axis=1), weights)
    rates, areas = scores.rates(matrix), scores.aurocs(test.y, test.p, weights)
    found: dict[Where, Floats] = {
        ("overall", "accuracy"): scores.accuracy(matrix),
        ("overall", "f1_macro"): scores.macro(rates.f1, test.here),
    }
    columns = scores.challenge_columns(test.classes)
    if columns and test.here[columns].any():
        challenge = scores.challenge_f1(rates.f1, test.here, columns)
        found["overall", "challenge_f1"] = challenge
    for name, wanted in scores.F1_OF_BEATS.items():
        columns = scores.columns_of(wanted, test.classes)
        if columns and test.here[columns].any():
            found["overall", name] = scores.macro(rates.f1[..., columns], test.here[columns])
    if scores.NORMAL in test.classes:
        minority = scores.sensitivity_minority(rates.sensitivity, test.here, test.classes)
        found["overall", "sensitivity_minority"] = minority
    found |= {
        ("overall", "sensitivity_macro"): scores.macro(rates.sensitivity, test.here),
        ("overall", "auroc_macro"): scores.macro(areas, test.here),
        ("overall", "ece"): ece_of_resamples(test.p, test.y, weights),
        ("overall", "ece_uncalibrated"): ece_of_resamples(test.raw, test.y, weights),
    }
    for c, name in enumerate(test.classes):
        found["classes", name, "sensitivity"] = rates.sensitivity[:, c]
        found["classes", name, "ppv"] = rates.ppv[:, c]
        found["classes", name, "f1"] = rates.f1[:, c]
        found["classes", name, "auroc"] = areas[:, c]
    if {"AF", "Noise"} <= set(test.classes):
        noise, af = test.classes.index("Noise"), test.classes.index("AF")
        alarms = scores.ratio(matrix[:, noise, af], matrix[:, noise].sum(axis=-1))
        found[("false_af_on_noise",)] = alarms
    return found


def _at_thresholds(test: _Test, weights: Floats) -> dict[Where, Floats]:
    """Each class on its own: found and right alarms when `p >= threshold` raises one."""
    found: dict[Where, Floats] = {}
    for c, name in enumerate(test.classes):
        alarm = (test.p[:, c] >= test.thresholds[c]).astype(np.int64)
        matrix = scores.confusion((test.y == c).astype(np.int64), alarm, 2, weights)
        rates = scores.rates(matrix)
        found["at_thresholds", name, "sensitivity"] = rates.sensitivity[:, 1]
        found["at_thresholds", name, "ppv"] = rates.ppv[:, 1]
    return found


def _beside(test: _Test, weights: Floats) -> dict[Where, Floats]:
    """What answers without looking at the signal score, and how far above them we are.

    The gain is paired (both answer the same resample), so its interval says whether we are above
    a baseline even where the two intervals overlap.
    """
    own = scores.rates(test.matrix(test.p.argmax(axis=1), weights)).f1
    found: dict[Where, Floats] = {}
    for name, predicted in test.rivals.items():
        matrix = test.matrix(predicted, weights)
        f1 = scores.macro(scores.rates(matrix).f1, test.here)
        found["baselines", name, "accuracy"] = scores.accuracy(matrix)
        found["baselines", name, "f1_macro"] = f1
        found["baselines", name, "f1_macro_gain"] = scores.macro(own, test.here) - f1
    return found


def _count(tree: dict[str, Any], test: _Test, patients: Sequence[str | None]) -> None:
    """Write the numbers behind the rates into the tree: support, patients, k of n."""
    for c, name in enumerate(test.classes):
        entry, mine = tree["classes"][name], np.flatnonzero(test.y == c)
        owners = {patients[int(row)] for row in mine}
        entry["support"] = len(mine)
        entry["patients"] = None if None in owners else len(owners)
        alone = tree["at_thresholds"][name]
        answered = int((test.p.argmax(axis=1) == c).sum())
        flagged = int((test.p[:, c] >= test.thresholds[c]).sum())
        for place, score, n in (
            (entry, "sensitivity", len(mine)),
            (entry, "ppv", answered),
            (alone, "sensitivity", len(mine)),
            (alone, "ppv", flagged),
        ):
            if 0 < n < FEW:
                place[score] = share(place[score], n)
        alone["threshold"] = round(float(test.thresholds[c]), 6)
    if "false_af_on_noise" in tree:
        n = tree["classes"]["Noise"]["support"]
        tree["false_af_on_noise"] = share(tree["false_af_on_noise"], n)
    tree["baselines"]["majority"]["class"] = test.classes[int(test.rivals["majority"][0])]
