"""The models that are served: which there are, and which of them can answer."""

import logging
import math
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from retrace.deploy.answers import word
from retrace.deploy.card import Card, read_card
from retrace.deploy.predictor import Predictor
from retrace.errors import InputError
from retrace.runs import models
from retrace.service.problems import AWAY, Problem
from retrace.service.settings import Settings

if TYPE_CHECKING:
    from retrace.service.remote import RemoteNetwork

FIRST = "mitdb_ds1_ds2"  # answers where none is named and the settings name none
BRIEF = 1e-3  # s; what takes less is answered between other requests, without a thread
LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Model:
    """A model. version: the first 12 hex digits of its weights' SHA-256, "" where it is not known.
    card, predictor: None where it cannot answer, and `why_not` says why. brief: so many segments
    are answered in a millisecond. network: of other processes, None: this one answers. number: of
    its version in the registry, None where it is in none."""

    name: str
    version: str = ""
    card: Card | None = None
    predictor: Predictor | None = None
    why_not: str | None = None
    brief: int = 0
    network: "RemoteNetwork | None" = None
    number: int | None = None

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
    """Every published model of `settings.root`, or those that the settings name, and the models
    that were trained here; the version of each that is in production, as `follower` brings it.

    One that is missing, damaged or not pulled is listed with its reason. Whatever becomes of the
    files later: a model answers with what was read here, where its hash was checked. With
    `settings.predictor_url` another process answers, and the files need not be here.

    trained: names of models that the registry has.

    Attributes:
        default: the model that answers where none is named; None where there is none at all.
        published: those of `settings.root` that are served, as they were opened at the start.
        suspended: the models that must not answer at present, each with a sentence why.
        valid_until: on the monotonic clock; what is suspended is not known for certain any longer.

    Raises InputError for a name in the settings that no published run has, and no trained model.
    """

    def __init__(self, settings: Settings, trained: Collection[str] = ()) -> None:
        published = sorted(
            path.parent.name for path in (settings.root / "recipes").glob(f"*/{models.POINTER}")
        )
        self._named = [name.strip() for name in settings.models.split(",") if name.strip()]
        for name in self._named:
            if name not in published and name not in trained:
                raise InputError(
                    f"RETRACE_MODELS: {name!r} is no published model; there are "
                    f"{', '.join(published) or 'none'}: name those to serve, or none for all"
                )
        served = [name for name in self._named or published if name in published]
        self.published: Mapping[str, Model] = {name: _model(name, settings) for name in served}
        self._unserved = set(published).difference(served)
        self._putting = Lock()
        self._models, self.default = dict(self.published), self._first(self.published)
        self.suspended: Mapping[str, str] = {}
        self.valid_until = math.inf
        for model in self:
            LOG.info("model %s: %s", model.name, model.why_not or f"version {model.version}")

    def __iter__(self) -> Iterator[Model]:
        yield from self._models.values()

    def serves(self, name: str) -> bool:
        """Whether a model of the registry is served: all but the published ones that the settings
        leave out."""
        return name not in self._unserved

    def put(self, model: Model) -> None:
        """Let this model answer in place of the one of its name; answers under way keep theirs."""
        with self._putting:
            found = {**self._models, model.name: model}
            self._models, self.default = found, self._first(found)

    def get(self, name: str | None) -> Model:
        """The model of this name, None: the default; Problem 404 where there is none, 503 where it
        cannot answer, or must not."""
        model = self.listed(name)
        if time.monotonic() > self.valid_until:
            raise Problem(503, AWAY, Retry_After="5")
        if why := self.suspended.get(model.name):
            raise Problem(503, why, Retry_After="60")
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

    def _first(self, here: Collection[str]) -> str | None:
        """Of these models the first that the settings name, else FIRST, else the first published
        one, else the first trained one."""
        order = (*self._named, FIRST, *self.published, *sorted(here))
        return next((name for name in order if name in here), None)


def _model(name: str, settings: Settings) -> Model:
    try:
        if settings.predictor_url:
            remote = network(name, settings)
            return ready(name, Predictor(remote), remote)
        return ready(name, Predictor(models.find(settings.root, name)))
    except (InputError, OSError) as error:
        return Model(name, why_not=str(error).replace(f"{settings.root}/", ""))


def ready(name: str, predictor: Predictor, remote: "RemoteNetwork | None" = None) -> Model:
    """A model that can answer, by this predictor. remote: its network, where others hold it."""
    version = predictor.card.hashes.get("weights", "")[:12]
    brief = 0 if remote else _brief(predictor)
    return Model(name, version, predictor.card, predictor, brief=brief, network=remote)


def network(name: str, settings: Settings) -> "RemoteNetwork":
    """A published model at PREDICTOR_URL, with its card; nothing is asked yet. Raises InputError or
    OSError where the card is damaged or missing."""
    from retrace.service.remote import RemoteNetwork

    folder = settings.root / "recipes" / name
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
