"""How well the version in production does: on its test part, on the newest labelled recordings, and
by the feedback; each score with its interval over persons."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrace.deploy.predictor import Predictor
from retrace.errors import InputError
from retrace.files import read_csv
from retrace.runs import answers as counts
from retrace.runs.answers import Answers
from retrace.runs.models import CARD
from retrace.service import parts, reanswered, registry, uploaded
from retrace.service.measured import common, deviation, of_counts, scored
from retrace.service.parts import Part
from retrace.service.tables_models import Version
from retrace.service.truths import Labelled, of_part, unit
from retrace.service.uploaded import Progress

if TYPE_CHECKING:
    from retrace.service.state import Service

TEST, VALIDATION = "test.npz", "validation.npz"  # the parts of a version's run, beside its model


def evaluate(
    service: Service, model: str, *, newest: int, progress: Progress | None = None
) -> dict[str, Any]:
    """What is known of the version in production, as JSON.

    newest: so many of the newest labelled recordings are answered; not those of persons whom the
    version was trained on.

    "version": its number, "version_id"; "test" and "newest": what `scored` says, or {"missing": a
    sentence}, test with "from", where it was taken from; "feedback": of the answers of this
    version, how many staff have judged ("given") and found wrong ("wrong"), by the latest on each
    segment; "deviation": newest minus test, {"classes": those compared, "scores": see `deviation`},
    or {"missing"}.

    Raises InputError where no version is in production, or its file is gone or damaged.
    """
    with service.database.read() as session:
        version = registry.production(session, model)
        if version is None:
            raise InputError(
                f"model {model}: no version is in production, so there is nothing to evaluate: "
                f"promote one with POST /registry/{model}/promote"
            )
        said = reanswered.latest(session, model, version=version.weights[:12])
    predictor = registry.predictor(service.settings, version)
    reference, test = _test(service, version, predictor)
    now = uploaded.newest(
        service,
        predictor,
        label_map(predictor.card.dataset, version.params, version.lock),
        most=newest,
        without=version.data.get("recordings") or (),
        progress=progress,
    )
    wrong = sum(one.label != one.answered for one in said)
    return {
        "version": version.number,
        "version_id": version.id,
        "test": test,
        "newest": scored(now),
        "feedback": {"given": len(said), "wrong": wrong},
        "deviation": _deviation(reference, now),
    }


def label_map(dataset: str, params: str, lock: str = "") -> dict[str, str | None]:
    """The class of each symbol of a beat, by a params.yaml or, where that has none, a dvc.lock."""
    import yaml  # of the extra `train`, with what reads a dvc.lock

    from retrace.runs.locks import flat, params_of, parse

    above = f"datasets.{dataset}.labels."
    tree = yaml.safe_load(params)
    trees = [flat(tree if isinstance(tree, dict) else {}), *map(params_of, parse(lock).values())]
    for values in trees:
        if found := {key: name for key, name in values.items() if key.startswith(above)}:
            return {key.removeprefix(above): name for key, name in found.items()}
    return {}


def _test(
    service: Service, version: Version, predictor: Predictor
) -> tuple[Answers | None, dict[str, Any]]:
    """The version on its test part: answered again where that is here, else as it was published."""
    settings, card = service.settings, predictor.card
    sources: dict[str, Callable[[], Part]] = {
        "registry": lambda: parts.load(registry.path(settings, version.id) / TEST),
        "data": lambda: parts.from_run(settings.root, card, "test"),
    }
    why = ""
    for name, read in sources.items():
        try:
            part = read()
            if part.split != card.hashes.get("split"):
                raise InputError(f"{TEST}: of another run: take that of the version's own")
            found = of_part(predictor, part)
            return found.answers, scored(found) | {"from": name}
        except InputError as error:
            why = str(error)
    published = _published(version, settings.root / "recipes" / version.model)
    if published is not None:
        return published, of_counts(published) | {
            "unit": unit(predictor),
            "from": "published counts",
        }
    return None, {"missing": why}


def _published(version: Version, folder: Path) -> Answers | None:
    """How often the published run in this folder answered what; None where that is not its run."""
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        if card["hashes"]["weights"] != version.weights:
            return None
        rows = [list(row.values()) for row in read_csv(folder / counts.FILE)]
        return counts.read(rows, card["classes"])
    except (OSError, ValueError, KeyError, TypeError, InputError):
        return None


def _deviation(reference: Answers | None, now: Labelled) -> dict[str, Any]:
    if reference is None or not now.told:
        return {"missing": "it needs both the test part and newest labelled recordings"}
    if not (here := common(reference, now.answers)):
        return {"missing": "the test part and the newest recordings have no class in common"}
    return {"classes": here, "scores": deviation(reference, now.answers)}
