"""A candidate against the version in production, both asked the same: by pairs of persons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import select

from retrace.deploy.predictor import Predictor
from retrace.errors import InputError
from retrace.runs.paired import RESAMPLES, differences, known, score
from retrace.service import parts, reanswered, registry, uploaded
from retrace.service.evaluations import VALIDATION, label_map
from retrace.service.measured import LEAST, few, nothing
from retrace.service.tables import Recording
from retrace.service.tables_models import Version
from retrace.service.truths import Labelled, Told, kept_out, of_part
from retrace.service.uploaded import Progress

if TYPE_CHECKING:
    from retrace.service.state import Service

NEWEST = 100  # labelled recordings that both answer
TOLD = "f1_macro"  # of what a comparison says in words

Side = Callable[[Predictor, str], Labelled]  # what a model answers there; "candidate", "production"


def candidate(
    service: Service,
    model: str,
    candidate: Predictor,
    new_data: dict[str, Any],
    out: Path,
    params: str,
    *,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """How far a candidate is above the version in production, as JSON.

    new_data: what it was trained on, as `registry.New.data`; out: the folder with the validation
    part of its run; params: its params.yaml.

    "against": the number of the version in production, None where none is. Then, each by itself:
    "validation", the candidate's validation part, where both have the same one, so that neither was
    trained on it (on which both chose their best epoch); "newest", the newest labelled recordings
    of the persons who are kept out of every training; "feedback". What `paired` says, or
    {"missing": a sentence}, also where the version in production cannot answer: a candidate may be
    the remedy. The test part is not looked at.

    Raises InputError where the candidate was trained on a person who is kept out.
    """
    _check_persons(service, new_data)
    with service.database.read() as session:
        version = registry.production(session, model)
    if version is None:
        return _missing(None, f"no version of {model} is in production to compare with")
    try:
        production = registry.predictor(service.settings, version)
    except InputError as error:
        return _missing(version, str(error))
    if production.card.classes != candidate.card.classes:
        return _missing(version, "the version in production answers other classes")
    trained = {*(new_data.get("recordings") or ()), *(version.data.get("recordings") or ())}
    symbols = label_map(candidate.card.dataset, params)
    both = {"candidate": candidate, "production": production}

    def newest(name: str, share: Progress | None) -> Labelled:
        return uploaded.newest(
            service,
            both[name],
            symbols,
            most=NEWEST,
            without=trained,
            only_kept_out=True,
            progress=share,
        )

    def feedback(name: str, share: Progress | None) -> Labelled:
        return reanswered.feedback(service, both[name], model, without=trained, progress=share)

    found: dict[str, Any] = {"against": version.number}
    found["validation"] = _validation(service, both, version, new_data, out)
    sides = [(side, name) for side in (newest, feedback) for name in both]
    asked = {
        (side.__name__, name): side(name, uploaded.shared(progress, done, len(sides)))
        for done, (side, name) in enumerate(sides)
    }
    for side in ("newest", "feedback"):
        found[side] = paired(asked[side, "candidate"], asked[side, "production"])
    return found


def words(comparison: dict[str, Any] | None) -> str:
    """What a comparison says, in a sentence; "" where nothing could be compared."""
    said = []
    comparison = comparison or {}
    for side in ("validation", "newest", "feedback"):
        if found := comparison.get(side, {}).get("scores", {}).get(TOLD):
            p = "no p of so few persons" if found["p"] is None else f"p = {found['p']:.2g}"
            values = f"{found['candidate']:.3f} against {found['production']:.3f}"
            said.append(f"on {side} {TOLD} {values} of version {comparison['against']} ({p})")
    return "; ".join(said)


def paired(
    candidate: Labelled, production: Labelled, *, seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, Any]:
    """The scores of two models on what both have answered, as JSON; {"missing", "left_out"} where
    there is nothing.

    "segments", "persons" (None: unknown), "support", "scores": {metric: {"candidate", "production",
    "difference" (candidate minus production), "low", "high", "p"}}, "left_out": {reason: how many},
    "note" where persons are too few for an interval. Both answer for the same draw of persons.
    """
    one, other, alone = _common(candidate, production)
    left_out = dict(Counter(candidate.left_out) | Counter(production.left_out) | alone)
    if not one.told:
        return {"missing": nothing(replace(one, left_out=left_out)), "left_out": left_out}
    runs = {"candidate": one.answers, "production": other.answers}
    groups = one.answers.groups
    enough = len(groups) >= LEAST
    found = {}
    for name in known(one.answers):
        (each,) = differences(runs, name, seed=seed, resamples=resamples if enough else 1).values()
        low, high = each.interval if each.interval and enough else (None, None)
        found[name] = {
            "candidate": round(score(one.answers, name), 6),
            "production": round(score(other.answers, name), 6),
            "difference": round(each.value, 6),
            "low": None if low is None else round(low, 6),
            "high": None if high is None else round(high, 6),
            "p": round(each.p, 6) if enough else None,
        }
    support = one.answers.matrices.sum(axis=(0, 2)).astype(int).tolist()
    unknown = any(kind != "patient" for kind, _ in groups)
    return {
        "segments": sum(support),
        "persons": None if unknown else len(groups),
        "support": dict(zip(one.classes, support, strict=True)),
        "scores": found,
        "left_out": left_out,
        **({} if enough else {"note": few(len(groups))}),
    }


def _missing(version: Version | None, why: str) -> dict[str, Any]:
    """Why nothing can be compared with this version."""
    sides = {side: {"missing": why} for side in ("validation", "newest", "feedback")}
    return {"against": version and version.number, **sides}


def _check_persons(service: Service, data: dict[str, Any]) -> None:
    """Refuse a training that has seen whom no training may see."""
    trained = set(data.get("recordings") or ())
    with service.database.read() as session:
        rows = session.execute(select(Recording.id, Recording.person))
        wrong = [key for key, person in rows if key in trained and person and kept_out(person)]
    if wrong:
        raise InputError(
            f"training: recording {wrong[0]} is of a person who is kept out of every training, to "
            "compare models on: train again without"
        )


def _validation(
    service: Service,
    both: dict[str, Predictor],
    version: Version,
    new_data: dict[str, Any],
    out: Path,
) -> dict[str, Any]:
    its, ours = (data.get("validation") or data.get("split") for data in (version.data, new_data))
    if its is None or its != ours:
        return {
            "missing": "the version in production has another validation part, and may have been "
            "trained on this one"
        }
    candidate, production = both.values()
    try:
        part = parts.load(out / VALIDATION)
        answers = of_part(candidate, part)
        if production.card.domain != candidate.card.domain:
            # It is asked for the same segments as its own run has cut them.
            part = parts.load(registry.path(service.settings, version.id) / VALIDATION)
        return paired(answers, of_part(production, part))
    except InputError as error:
        return {"missing": str(error)}


def _common(one: Labelled, other: Labelled) -> tuple[Labelled, Labelled, Counter[str]]:
    """Both reduced to the segments that both have answered; and how many only one has."""
    alone: Counter[str] = Counter()
    theirs = {told.key: told for told in other.told}
    pairs = [(told, theirs.pop(told.key)) for told in one.told if told.key in theirs]
    matched = [_of_both(*pair) for pair in pairs]
    answers = len(one) + len(other) - sum(len(mine.y) + len(its.y) for mine, its in matched)
    if answers:
        alone["answers of one of both models alone"] = answers
    kept = [pair for pair in matched if len(pair[0].y)]
    return (
        replace(one, told=tuple(mine for mine, _ in kept)),
        replace(other, told=tuple(its for _, its in kept)),
        alone,
    )


def _of_both(one: Told, other: Told) -> tuple[Told, Told]:
    _, mine, its = np.intersect1d(one.places, other.places, return_indices=True)
    same = one.y[mine] == other.y[its]
    return _rows(one, mine[same]), _rows(other, its[same])


def _rows(told: Told, rows: Any) -> Told:
    return replace(told, places=told.places[rows], y=told.y[rows], predicted=told.predicted[rows])
