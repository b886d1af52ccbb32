"""Have the recordings that come drifted away from those that the model was tested on?

What is looked at are recordings whose person is known, each once, with its latest answer by the
version in production. Segments that come cut, and recordings of nobody, are left out and counted:
nobody knows how many persons they are, and a hundred recordings of one person are no hundred
witnesses. So are persons that the version was trained on, of whom it is too sure.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from retrace.deploy.predictor import Predictor
from retrace.errors import InputError
from retrace.files import write_json
from retrace.scoring.drift import LEAST, MIX, Row, Sample, compare, without
from retrace.service import observations, registry
from retrace.service.observing import Progress, answered, left_out, observe
from retrace.service.problems import Problem
from retrace.service.state import Service
from retrace.service.tables import Prediction
from retrace.service.tables_models import Version

# In a version's folder of the registry: observations of its test part, and the id of the answer up
# to which the service's own are the reference. The second goes before the first.
TESTED, ADOPTED = "reference.json", "reference_answers.json"
MOST = 1000  # recordings of a reference
WHAT = {**observations.FEATURES, MIX: "share of each class in a person's answers"}


def look(service: Service, model: str, *, newest: int, progress: Progress) -> dict[str, Any]:
    """Compare the newest recordings with the reference of the version in production, as JSON.

    newest: how many recordings at most. Those that were not observed yet are, and what is observed
    is kept. The JSON has: version (its number), reference {"from", "persons"}, current {"persons",
    "recordings", "since"}, left_out {reason: count}, rows (`drift.Row` and "what" it is, the least
    p first), drifted (None where it cannot be told) and sentence. Where nothing drifts, one look in
    twenty says that something does.
    Raises Problem 404 where no version is in production, InputError where its file is not usable.
    """
    version, predictor = _in_production(service, model)
    classes = predictor.card.classes
    found: dict[str, Any] = {"version": version.number, "reference": None, "current": None}
    found |= {"left_out": {}, "rows": [], "drifted": None}
    try:
        source, reference, until = _reference(
            service, version, predictor, lambda share: progress(0.5 * share)
        )
    except InputError as error:
        return found | {
            "sentence": f"no reference to compare with: {error}, or let the first answers of the "
            "service be the reference"
        }
    later = [] if until is None else [Prediction.id > until]
    chosen = answered(service, version, *later).order_by(Prediction.id.desc()).limit(newest)
    seen = observe(service, chosen, lambda share: progress(0.5 + 0.5 * share))
    current = without(seen.sample(classes), set(reference.groups))
    before, now = len(set(reference.groups)), len(set(current.groups))
    found["reference"] = {"from": source, "persons": before}
    found["current"] = {
        "persons": now,
        "recordings": len(current.groups),
        "since": min(seen.times).isoformat() if seen.times else None,
    }
    found["left_out"] = {
        "recordings of persons in the reference": len(seen.persons) - len(current.groups),
        "recordings that cannot be read": seen.unread,
        **left_out(service, version, later),
    }
    if min(before, now) < LEAST:
        return found | {
            "sentence": f"drift cannot be told: recordings of {now} persons, and of {before} in "
            f"the reference; each side needs {LEAST}"
        }
    rows = sorted(compare(reference, current), key=lambda row: (row.corrected, row.p))
    return found | {
        "rows": [_shown(row) for row in rows],
        "drifted": any(row.drifted for row in rows),
        "sentence": _sentence(rows, before, now),
    }


def adopt(service: Service, model: str, *, first: int, progress: Progress) -> dict[str, Any]:
    """Let the first recordings that the version in production answered be its reference from now
    on, in place of its test part: whoever says so holds that nothing had drifted until then.

    first: how many, at most MOST. Only the id of the last of their answers is kept: a recording
    that is deleted leaves the reference too. Returns version, from, persons and until (a time).
    Raises Problem as `look`, InputError where they are of fewer than LEAST persons.
    """
    version, _ = _in_production(service, model)
    chosen = answered(service, version).order_by(Prediction.id).limit(min(first, MOST))
    seen = observe(service, chosen, progress)
    persons = len(set(seen.persons))
    if persons < LEAST:
        raise InputError(
            f"{model}: recordings of {persons} persons so far; a reference needs {LEAST}: wait for "
            "more, with the field person"
        )
    folder = registry.path(service.settings, version.id)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_json(folder / ADOPTED, {"until": max(seen.ids)})
    until = max(seen.times).isoformat()
    return {"version": version.number, "from": _own(until), "persons": persons, "until": until}


def discard(service: Service, model: str) -> None:
    """Let the test part be the reference of the version in production again; Problem as `look`."""
    version = _version(service, model)
    (registry.path(service.settings, version.id) / ADOPTED).unlink(missing_ok=True)


def _in_production(service: Service, model: str) -> tuple[Version, Predictor]:
    version = _version(service, model)
    return version, registry.predictor(service.settings, version)


def _version(service: Service, model: str) -> Version:
    with service.database.read() as session:
        version = registry.production(session, model)
    if version is None:
        raise Problem(404, f"{model}: no version is in production: GET /registry lists the models")
    return version


def _reference(
    service: Service, version: Version, predictor: Predictor, progress: Progress
) -> tuple[str, Sample, str | None]:
    """What the reference is, its recordings, and the id of the answer behind which the current side
    begins (None: with the first)."""
    folder = registry.path(service.settings, version.id)
    classes = predictor.card.classes
    if (adopted := folder / ADOPTED).is_file():
        until = str(_read(adopted)["until"])
        chosen = answered(service, version, Prediction.id <= until).limit(MOST)
        seen = observe(service, chosen.order_by(Prediction.id.desc()), progress)
        last = max(seen.times).isoformat() if seen.times else "nobody is left"
        return _own(last), seen.sample(classes), until
    if not (tested := folder / TESTED).is_file():
        made = observations.reference(service.settings.root, predictor, progress=progress)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_json(tested, made)
    said = _read(tested)
    # No uploader's person is called so: theirs are text.
    persons = [int(person) for person in said["persons"]]
    return str(said["from"]), observations.sample(said["observations"], classes, persons), None


def _own(until: str) -> str:
    return f"the first answers of the service, until {until}"


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise InputError(
            f"{path.name}: damaged; it is made anew once it is gone: remove it"
        ) from None
    return found


def _shown(row: Row) -> dict[str, Any]:
    """A row as JSON."""
    said = {
        name: round(value, 6) if isinstance(value, float) else value
        for name, value in asdict(row).items()
    }
    return said | {"what": WHAT[row.name]}


def _sentence(rows: Sequence[Row], before: int, now: int) -> str:
    sides = f"{now} persons now, {before} in the reference"
    found = [f"{row.name} ({row.words}; {_p(row.corrected)})" for row in rows if row.drifted]
    if found:
        return f"drift in {'; '.join(found)}: {sides}"
    return f"no drift shown: {sides}"


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"
