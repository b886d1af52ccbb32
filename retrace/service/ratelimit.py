"""How often one account, or one address, may ask."""

import hashlib
import ipaddress
import math
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from threading import Lock
from typing import TYPE_CHECKING, Literal

from fastapi import Request

from retrace.errors import InputError
from retrace.service.access import principal
from retrace.service.problems import Problem
from retrace.service.settings import Settings

if TYPE_CHECKING:
    from retrace.service.state import Service

Name = Literal["predict", "train", "login", "account", "forgot"]
SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
LARGEST = 100_000  # accounts and addresses that are counted at a time


class Limits:
    """Counts what was asked, in windows that begin with the first request in them.

    (The library `limits` starts a thread for its clock every 10 ms, in which it goes through all
    it has counted: 45 us a request at 2,000/s, and 1.5 ms once 100,000 addresses have asked.)
    Raises InputError for a limit that is not written as "180/minute".
    """

    def __init__(self, settings: Settings) -> None:
        most, span = _read("login", settings.login_limit)
        self._windows: dict[Name, _Windows] = {
            "predict": _Windows(*_read("predict", settings.predict_limit)),
            "train": _Windows(*_read("train", settings.train_limit)),
            "login": _Windows(most, span),
            # Of passwords that many addresses try on one account. A single address, which "login"
            # holds back, cannot use this up and so keep the owner out; it takes more than ten.
            "account": _Windows(10 * most, span),
            # Of mails to one account. A token is good for an hour: where strangers used these up,
            # the last one that they had sent still works for the owner.
            "forgot": _Windows(most, "day" if span == "day" else "hour"),
        }

    def count(self, name: Name, *who: str) -> None:
        """Count one more of `who`. Raises Problem (429) where that is one too many."""
        windows = self._windows[name]
        wait = windows.count(who)
        if wait is not None:
            raise Problem(429, f"more than {windows.text}: wait {wait} s", Retry_After=str(wait))

    def count_account(self, email: str) -> None:
        """Count one more attempt to log in to this account, which need not exist."""
        self.count("account", _account(email))

    def mails(self, email: str) -> bool:
        """Count one more mail that is asked for this account, which need not exist: whether it is
        none too many."""
        return self._windows["forgot"].count((_account(email),)) is None


def limited(name: Name) -> Callable[..., Awaitable[None]]:
    """A dependency that counts a request before its work begins: `Depends(limited("predict"))`.

    "predict" and "train" count by account, "login" by route and client address; 429 with
    Retry-After over the limit.
    """

    async def by_account(request: Request) -> None:
        service: Service = request.app.state.service
        who = await principal(request)
        service.limits.count(name, who.user_id)

    async def by_address(request: Request) -> None:
        service: Service = request.app.state.service
        # Not `request.url`: the Host, which the client names, has a part in it.
        service.limits.count(name, request.scope["path"], address(request))

    return by_address if name == "login" else by_account


def address(request: Request) -> str:
    """Where a request comes from; of IPv6 the first half, since whoever has one has them all."""
    host = request.client.host if request.client else ""
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return host
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else host


def _account(email: str) -> str:
    """What stands for an account, of one length."""
    return hashlib.sha256(email.encode()).hexdigest()


def _read(name: Name, text: str) -> tuple[int, str]:
    """The number and the span of a limit."""
    found = re.fullmatch(rf"([1-9][0-9]{{0,8}})/({'|'.join(SECONDS)})", text, re.ASCII)
    if not found:
        raise InputError(
            f"RETRACE_{name.upper()}_LIMIT: {text!r}; it is a number and a span, as in "
            "180/minute: correct it"
        )
    return int(found[1]), found[2]


class _Windows:
    """The windows of one limit, those first that began first."""

    def __init__(self, most: int, span: str) -> None:
        self.text, self._most, self._seconds = f"{most}/{span}", most, SECONDS[span]
        self._counts: OrderedDict[tuple[str, ...], list[float]] = OrderedDict()  # start, number
        self._lock = Lock()

    def count(self, who: tuple[str, ...]) -> int | None:
        """Count one more; where that is one too many, the seconds until it is not."""
        at = time.monotonic()
        with self._lock:
            window = self._counts.get(who)
            if window is None or at >= window[0] + self._seconds:
                self._begin(who, at)
                return None
            window[1] += 1
            if window[1] <= self._most:
                return None
            return math.ceil(window[0] + self._seconds - at)

    def _begin(self, who: tuple[str, ...], at: float) -> None:
        self._counts.pop(who, None)
        while self._counts:
            start = next(iter(self._counts.values()))[0]
            if at < start + self._seconds and len(self._counts) < LARGEST:
                break
            self._counts.popitem(last=False)
        self._counts[who] = [at, 1]
