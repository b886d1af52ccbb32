"""A model that other processes hold: PREDICTOR_URL, by the Open Inference Protocol."""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from logging import getLogger
from math import ceil
from typing import Any

import httpx2
import numpy as np
from numpy.typing import NDArray

from retrace.deploy.card import Card
from retrace.errors import InputError
from retrace.service.problems import Problem
from retrace.service.protocol_tensors import (
    BINARY,
    HEAD,
    TYPE,
    Floats,
    Malformed,
    NotFinite,
    pack,
    parameters,
    unpack,
)

LOG = getLogger(__name__)
CONNECT = 2.0  # s
PATIENCE, LONGEST = 10.0, 60.0  # s for an answer, one more for each segment, and at most
KEPT = httpx2.Limits(max_connections=100, max_keepalive_connections=32, keepalive_expiry=4.0)
REST = 3.0  # s in which a server that failed is asked nothing
HASH = re.compile("[0-9a-f]{12,64}")  # a version as Retrace names it; Triton's are 1, 2, ...
AWAY = "the predictor does not answer at present: send the request again later"
# The server closed a connection that it had kept, or stopped: nothing was answered.
DROPPED = (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError)


class _Unusable(Exception):
    """No answer, or none that can be trusted, and why. rest: leave the server alone for a while,
    which what one user sends must never bring about."""

    def __init__(self, why: str, *, rest: bool = False) -> None:
        super().__init__(why)
        self.rest = rest


@dataclass
class _Replica:
    """One of the servers. binary: it knows the extension. versions: of the model, as it declares;
    None: not looked at since it was last away. told: the hash of its weights, when it was last
    looked at."""

    url: str
    binary: bool = False
    versions: list[str] | None = None
    told: bool | None = None
    rests_until: float = 0.0  # on the monotonic clock

    @property
    def name(self) -> str:
        """Its address without a password."""
        url = httpx2.URL(self.url)
        return f"{url.host}:{url.port or url.scheme}"


class RemoteNetwork:
    """The network `name` of one or several servers (url: joined by commas) with its local card.

    The servers take turns; one that fails is left out for some seconds. What they answer is as
    the local session's, bit for bit, where they run the same file on the same kind of processor.
    Nothing is asked before the first batch. Calls block, from any thread: not for the event loop.

    Raises InputError for an address that is none, and Problem 503 where no server answers, or what
    they answer is not what this model can have answered; `logits` raises InputError for segments
    that the model has no answer to, as the local session does.
    """

    card: Card

    def __init__(self, url: str, name: str, card: Card) -> None:
        self.card, self._name = card, name
        self._replicas = [_Replica(one) for one in addresses("PREDICTOR_URL", url)]
        self._turns = count()
        self._client = httpx2.Client(timeout=_timeout(0), limits=KEPT, trust_env=False)

    def logits(self, X: NDArray[Any], features: NDArray[Any] | None) -> NDArray[np.float32]:
        """Of one batch of segments X (n, *card.shape) and the k features (n, k) beside them."""
        tensors = {"segments": np.asarray(X, np.float32)}
        if self.card.features and features is not None:
            tensors["features"] = np.asarray(features, np.float32)
        for replica in self._awake():
            try:
                return self._answer(replica, tensors)
            except _Unusable as error:
                LOG.warning("predictor %s, model %s: %s", replica.name, self._name, error)
                replica.versions = None
                if error.rest:
                    replica.rests_until = time.monotonic() + REST
        raise Problem(503, AWAY, Retry_After=f"{ceil(REST)}")

    @property
    def weights(self) -> str:
        """Whether they are those of the card: "checked", "not checked" where a server tells no hash
        (Triton's versions are 1, 2, ...), "not asked yet" before the first batch."""
        told = [one.told for one in self._replicas if one.told is not None]
        return ("checked" if all(told) else "not checked") if told else "not asked yet"

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    def _awake(self) -> Iterator[_Replica]:
        """The servers that do not rest, beginning with the one whose turn it is."""
        turn, now = next(self._turns) % len(self._replicas), time.monotonic()
        for replica in self._replicas[turn:] + self._replicas[:turn]:
            if replica.rests_until <= now:
                yield replica

    def _answer(self, replica: _Replica, tensors: dict[str, Floats]) -> Floats:
        if replica.versions is None:
            self._look(replica)
        head: dict[str, Any] = {"outputs": [{"name": "logits"}]}
        if replica.binary:
            head["outputs"][0]["parameters"] = {"binary_data": True}
        content, headers = pack("inputs", head, tensors, replica.binary)
        place = f"/v2/models/{self._name}/infer"
        timeout = _timeout(len(tensors["segments"]))
        response = self._asked(
            replica, "POST", place, content=content, headers=headers, timeout=timeout
        )
        try:
            message = unpack("outputs", response.content, response.headers.get(HEAD))
        except NotFinite:
            raise self._unanswered() from None
        except Malformed as error:
            raise _Unusable(f"malformed answer ({error})") from None
        version = message.head.get("model_version")
        if version is not None and version not in (replica.versions or ()):
            raise _Unusable(f"answered by version {str(version)[:70]}")
        logits, shape = message.tensors.get("logits"), (len(tensors["segments"]), self._classes)
        if logits is None or logits.shape != shape:
            raise _Unusable(f"no logits of shape {shape}")
        return logits

    def _unanswered(self) -> InputError:
        return InputError(
            f"model {self._name}: gives no {self._classes} finite logits, one for each class; the "
            "segments must be such as its signal domain tells: send others"
        )

    @property
    def _classes(self) -> int:
        return len(self.card.classes)

    def _look(self, replica: _Replica) -> None:
        """Learn what the server knows; _Unusable where its model is not the one of the card."""
        server = _object(self._asked(replica, "GET", "/v2"))
        said = _object(self._asked(replica, "GET", f"/v2/models/{self._name}"))
        wanted = {"segments": self.card.shape}
        if self.card.features:
            wanted["features"] = (len(self.card.features),)
        if _shapes(said.get("inputs")) != wanted or _shapes(said.get("outputs")) != {
            "logits": (self._classes,)
        }:
            raise _Unusable("its model takes or answers other tensors", rest=True)
        versions = [str(one) for one in said.get("versions") or []]
        replica.told = self._compare(said, versions)
        replica.binary = BINARY in (server.get("extensions") or [])
        replica.versions = versions

    def _compare(self, said: dict[str, Any], versions: list[str]) -> bool:
        """Whether the server tells the hash of its weights; _Unusable where they are others."""
        weights = self.card.hashes.get("weights", "")
        try:
            told = parameters(said).get("retrace")
        except Malformed:
            told = None
        if told is not None:
            if told != {"weights": weights, "int8": self.card.int8}:
                raise _Unusable("its model has other weights", rest=True)
            return True
        hashes = [one for one in versions if HASH.fullmatch(one)]
        if hashes and not any(weights.startswith(one) for one in hashes):
            raise _Unusable("its model has other weights, by its versions", rest=True)
        return bool(hashes)

    def _asked(self, replica: _Replica, method: str, path: str, **sent: Any) -> httpx2.Response:
        """The server's answer of status 200; asked once more where the connection was dropped."""
        try:
            try:
                response = self._client.request(method, replica.url + path, **sent)
            except DROPPED:
                response = self._client.request(method, replica.url + path, **sent)
        except httpx2.HTTPError as error:
            raise _Unusable(f"{type(error).__name__}: {error}", rest=True) from None
        if response.status_code in (400, 422) and method == "POST":
            raise self._unanswered()
        if response.status_code != 200:
            raise _Unusable(f"{path}: status {response.status_code}")
        return response


def _timeout(segments: int) -> httpx2.Timeout:
    return httpx2.Timeout(min(PATIENCE + segments, LONGEST), connect=CONNECT)


def addresses(setting: str, text: str) -> list[str]:
    """The addresses in a setting; InputError for what is none."""
    found = [one.strip().rstrip("/") for one in text.split(",") if one.strip()]
    for one in found:
        try:
            url = httpx2.URL(one)
        except httpx2.InvalidURL:
            url = httpx2.URL("")
        if url.scheme not in ("http", "https") or not url.host:
            raise InputError(f"{setting}: not an address; it is http://host:port: correct it")
    if not found:
        raise InputError(f"{setting}: empty; it is http://host:port: give one")
    return found


def _object(response: httpx2.Response) -> dict[str, Any]:
    try:
        found = response.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise _Unusable("its metadata is no JSON object")
    return found


def _shapes(tensors: Any) -> dict[str, tuple[int, ...]] | None:
    """Tensors of metadata by name, without the dimension that is the batch's; None for others."""
    try:
        if any(one["datatype"] != TYPE for one in tensors):
            return None
        return {one["name"]: tuple(one["shape"][1:]) for one in tensors}
    except (TypeError, KeyError):
        return None
