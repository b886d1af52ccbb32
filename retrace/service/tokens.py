"""Tokens: what is signed, what is checked, and what is only a secret (RFC 8725, RFC 9068)."""

import hashlib
import hmac
import re
import secrets
import time
from dataclasses import dataclass
from typing import Any

import jwt

from retrace.service.problems import Problem
from retrace.service.settings import Settings
from retrace.service.tables import new_id

ALGORITHM = "HS256"
ISSUER = "retrace"
AUDIENCE = "retrace-service"
TYPES = {"access": "at+jwt", "internal": "internal+jwt"}
INTERNAL_SECONDS = 60
LEEWAY = 5  # s between two clocks
LONGEST = 4096  # characters, of any token
REFUSED = "no valid token or key: log in at /auth/token, or send an API key as X-API-Key"
SHAPE = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{43}", re.ASCII)
ID = re.compile(r"[0-9a-f]{32}", re.ASCII)


@dataclass(frozen=True)
class Claims:
    """What an access token says: whose it is, of which login, until when (s since 1970)."""

    user_id: str
    login_id: str
    expires: int


def refused() -> Problem:
    """401 in the same words whatever was wrong: who guesses learns nothing."""
    return Problem(401, REFUSED, WWW_Authenticate="Bearer")


def issue(settings: Settings, user_id: str, login_id: str) -> str:
    """An access token of a login, valid for `settings.access_minutes`."""
    more = {"sub": user_id, "sid": login_id}
    return _signed(settings, "access", AUDIENCE, settings.access_minutes * 60, more)


def check(settings: Settings, token: str) -> Claims:
    """What the access token says. Raises Problem (401) for any that `issue` did not make."""
    claims = _claims(settings, "access", AUDIENCE, token)
    if claims["exp"] - claims["iat"] > settings.access_minutes * 60:
        raise refused()
    if not all(_is_id(claims.get(name)) for name in ("sub", "sid")):
        raise refused()
    return Claims(claims["sub"], claims["sid"], claims["exp"])


def internal(settings: Settings, audience: str) -> str:
    """A token for a call to the process `audience` of this service, valid for a minute."""
    return _signed(settings, "internal", audience, INTERNAL_SECONDS, {})


def check_internal(settings: Settings, audience: str, token: str) -> None:
    """Raises Problem (401) for a token that `internal` did not make for `audience`."""
    _claims(settings, "internal", audience, token)


def opaque() -> str:
    """A secret of 256 bits, as 43 characters of base64url."""
    return secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """What is stored in place of a secret: 64 hex digits of its SHA-256.

    No salt and no slow hash: nobody guesses 256 random bits.
    """
    return hashlib.sha256(secret.encode()).hexdigest()


def same(secret: str, stored: str) -> bool:
    """Whether `stored` is the `digest` of `secret`; takes as long wherever they differ."""
    return hmac.compare_digest(digest(secret), stored)


def _key(settings: Settings, purpose: str, audience: str) -> bytes:
    """A key for this use alone: what is signed for one is worth nothing for another."""
    secret = settings.secret.get_secret_value().encode()
    return hmac.digest(secret, f"retrace {purpose} token for {audience}".encode(), "sha256")


def _signed(
    settings: Settings, purpose: str, audience: str, seconds: float, more: dict[str, str]
) -> str:
    at = int(time.time())
    claims: dict[str, Any] = {"iss": ISSUER, "aud": audience, "iat": at, "exp": at + int(seconds)}
    return jwt.encode(
        claims | {"jti": new_id()} | more,
        _key(settings, purpose, audience),
        ALGORITHM,
        headers={"typ": TYPES[purpose]},
    )


def _claims(settings: Settings, purpose: str, audience: str, token: str) -> dict[str, Any]:
    """The claims of a token of this purpose and audience, of the right types and times."""
    if len(token) > LONGEST or not SHAPE.fullmatch(token):
        raise refused()
    try:
        found = jwt.decode_complete(
            token,
            _key(settings, purpose, audience),
            [ALGORITHM],
            options={"require": ["iss", "aud", "iat", "exp", "jti"]},
            issuer=ISSUER,
            audience=audience,
            leeway=LEEWAY,
        )
    except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError, RecursionError):
        raise refused() from None
    claims: dict[str, Any] = found["payload"]
    # PyJWT takes a list of audiences, times as text, and headers that it does not know.
    if (
        found["header"] != {"alg": ALGORITHM, "typ": TYPES[purpose]}
        or type(claims["aud"]) is not str
        or type(claims["iat"]) is not int
        or type(claims["exp"]) is not int
        or not _is_id(claims["jti"])
    ):
        raise refused()
    return claims


def _is_id(value: object) -> bool:
    return isinstance(value, str) and ID.fullmatch(value) is not None
