"""The published models that are served: which there are, and which of them can answer."""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from retrace.deploy.answers import word
from retrace.deploy.card import Card, read_card
from retrace.deploy.predictor import Predictor
from retrace.errors import InputError
from retrace.runs import models
from retrace.service.problems import Problem
from retrace.service.settings import Settings

if TYPE_CHECKING:
    from retrace.service.remote import RemoteNetwork

FIRST = "mitdb_ds1_ds2"  # answers where none is named and the settings name none
BRIEF = 1e-3  # s; what takes less is answered between other requests, without a thread
LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Model:
    """A published model. version: the first 12 hex digits of its weights' SHA-256, "" where it is
    not known. card, predictor: None where it cannot answer, and `why_not` says why. brief: so many
    segments are answered in a millisecond. network: of other processes, None: this one answers."""

    name: str
    version: str = ""
    card: Card | None = None
    predictor: Predictor | None = None
    why_not: str | None = None
    brief: int = 0
    network: "RemoteNetwork | None" = None

    @property
    def usable(self) -> Predictor:
        """Its predictor; Problem 503 where it has none."""
        if self.predictor is None:
            raise Problem(503, f"{self.why_not}; the others can answer", Retry_After="60")
        return self.predictor

    @cached_property
    def head(self) -> dict[str, Any]:
        """What every answer says of the model: name, version, origin, and its signal's domain."""
        assert self.card is not None
        card = self.card
        said = {"name": self.name, "version": self.version, "network": card.model}
        said |= {"dataset": card.dataset, "split": card.split}
        said["note"] = card.note
        return {
            "model": said,
            "domain": card.domain.to_dict() | {"name": card.domain.name},
            "unit": card.unit,
            "classes": {name: word(name) for name in card.classes},
        }


class Models:
    """Every published model of `settings.root`, or those that the settings name.

    One that is missing, damaged or not pulled is listed with its reason. Whatever becomes of the
    files later: a model answers with what was read here, where its hash was checked. With
    `settings.predictor_url` another process answers, and the files need not be here.

    Raises InputError for a name in the settings that no published run has.
    """

    def __init__(self, settings: Settings) -> None:
        published = sorted(
            path.parent.name for path in (settings.root / "recipes").glob(f"*/{models.POINTER}")
        )
        named = [name.strip() for name in settings.models.split(",") if name.strip()]
        for name in named:
            if name not in published:
                raise InputError(
                    f"RETRACE_MODELS: {name!r} is no published model; there are "
                    f"{', '.join(published) or 'none'}: name those to serve, or none for all"
                )
        self._models = {name: _model(name, settings) for name in named or published}
        self.default = named[0] if named else FIRST if FIRST in published else None
        if self.default is None and published:
            self.default = published[0]
        for model in self:
            LOG.info("model %s: %s", model.name, model.why_not or f"version {model.version}")

    def __iter__(self) -> Iterator[Model]:
        yield from self._models.values()

    def get(self, name: str | None) -> Model:
        """The model of this name, None: the default; Problem 404 where there is none, 503 where it
        cannot answer."""
        model = self.listed(name)
        _ = model.usable
        return model

    def listed(self, name: str | None) -> Model:
        """The same of one that may not be able to answer."""
        wanted = name or self.default
        if wanted is None:
            raise Problem(
                503, "no model is published here: run dvc pull, then start the service again"
            )
        if wanted not in self._models:
            raise Problem(
                404, f"model {_short(wanted)}: not served; GET /models lists those that are"
            )
        return self._models[wanted]


def _model(name: str, settings: Settings) -> Model:
    folder = settings.root / "recipes" / name
    try:
        network = _network(name, folder, settings) if settings.predictor_url else None
        predictor = Predictor(network or models.find(settings.root, name))
    except (InputError, OSError) as error:
        return Model(name, why_not=str(error).replace(f"{settings.root}/", ""))
    version = predictor.card.hashes.get("weights", "")[:12]
    brief = 0 if network else _brief(predictor)
    return Model(name, version, predictor.card, predictor, brief=brief, network=network)


def _network(name: str, folder: Path, settings: Settings) -> "RemoteNetwork":
    from retrace.service.remote import RemoteNetwork

    # What is no UTF-8 becomes \xNN, which no JSON has: the card is refused as any damaged one.
    text = (folder / models.CARD).read_text(encoding="utf-8", errors="backslashreplace")
    card = read_card(name, text, "restore it from Git")
    return RemoteNetwork(settings.predictor_url, name, card)


def _brief(predictor: Predictor) -> int:
    """How many segments take no longer than `BRIEF`, by the faster of some attempts."""
    card = predictor.card
    X = np.zeros((1, *card.shape), np.float32)
    features = np.zeros((1, len(card.features)), np.float32)
    took = []
    for _ in range(5):
        begun = time.perf_counter()
        predictor.probabilities(X, features)
        took.append(time.perf_counter() - begun)
    return int(BRIEF / min(took))


def _short(name: str) -> str:
    return repr(name if len(name) <= 100 else name[:100] + "...")
