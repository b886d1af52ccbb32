"""The models of a predictor, and what each answers by the Open Inference Protocol."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from retrace.deploy.predictor import BATCH, NUMBERS
from retrace.deploy.session import Session
from retrace.errors import InputError
from retrace.runs import models
from retrace.service.protocol_tensors import TYPE, Floats, Message
from retrace.service.settings import Settings

ANSWER = "logits"
MOST = 4096  # segments in a request


class Refused(Exception):
    """A request that is not answered: a status and one sentence."""

    def __init__(self, status: int, why: str, **headers: str) -> None:
        super().__init__(why)
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


@dataclass(frozen=True)
class Served:
    """A published model. session: None where it cannot answer, and `why_not` says why."""

    name: str
    session: Session | None
    why_not: str = ""

    @property
    def ready(self) -> Session:
        """Its session; Refused 503 where it has none."""
        if self.session is None:
            raise Refused(503, self.why_not, Retry_After="60")
        return self.session

    @property
    def version(self) -> str:
        """The first 12 hex digits of its weights' SHA-256."""
        return self.ready.card.hashes.get("weights", "")[:12]

    @property
    def inputs(self) -> dict[str, tuple[int, ...]]:
        """The shapes of what it takes, without their first dimension."""
        card = self.ready.card
        beside = {"features": (len(card.features),)} if card.features else {}
        return {"segments": card.shape, **beside}

    def described(self) -> dict[str, Any]:
        """Its metadata; `parameters` tell the gateway whether it is the model that it means."""
        card = self.ready.card
        return {
            "name": self.name,
            "versions": [self.version],
            "platform": "onnxruntime_onnx",
            "inputs": [_described(name, shape) for name, shape in self.inputs.items()],
            "outputs": [_described(ANSWER, (len(card.classes),))],
            "parameters": {"retrace": {"weights": card.hashes.get("weights"), "int8": card.int8}},
        }

    def answered(self, message: Message) -> Floats:
        """Logits of the segments in a request; Refused for tensors that are not its own."""
        card, given = self.ready.card, message.tensors
        if given.keys() != self.inputs.keys():
            raise Refused(400, f"{self.name}: takes the tensors {' and '.join(self.inputs)}")
        count = len(given["segments"])
        if count > MOST:
            raise Refused(413, f"{count} segments; a request has at most {MOST}: send several")
        for name, shape in self.inputs.items():
            if given[name].shape != (count, *shape):
                raise Refused(400, f"{name}: shape; it must be {[count, *shape]}")
        step = max(1, min(BATCH, NUMBERS // math.prod(card.shape)))  # as where it answers locally
        parts = []
        for start in range(0, count, step):
            rows = slice(start, start + step)
            beside = given["features"][rows] if card.features else None
            parts.append(self.ready.logits(given["segments"][rows], beside))
        return np.concatenate(parts)


def served(settings: Settings) -> dict[str, Served]:
    """The models that the settings name, else those whose file is here; some may not be ready."""
    here = sorted(path.parent.name for path in settings.root.glob(f"recipes/*/{models.FILE}"))
    named = [name.strip() for name in settings.models.split(",") if name.strip()]
    return {name: _served(name, settings) for name in named or here}


def _served(name: str, settings: Settings) -> Served:
    try:
        return Served(name, Session(models.find(settings.root, name)))
    except InputError as error:
        return Served(name, None, str(error))


def _described(name: str, shape: tuple[int, ...]) -> dict[str, Any]:
    return {"name": name, "datatype": TYPE, "shape": [-1, *shape]}
