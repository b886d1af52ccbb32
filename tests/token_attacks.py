"""Tokens that should open nothing: each made from a good one, by whoever holds it (RFC 8725)."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.testclient import TestClient

from retrace.service import tokens
from retrace.service.tables import new_id
from tests.serving import PASSWORD, SECRET, Person

Headers = list[tuple[str, str | bytes]]


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def key(secret: str = SECRET, label: str = "retrace access token for retrace-service") -> bytes:
    return hmac.digest(secret.encode(), label.encode(), "sha256")


def signed(header: object, payload: bytes, by: bytes, method: str = "sha256") -> str:
    """A JWS, whatever it says."""
    text = f"{encoded(json.dumps(header).encode())}.{encoded(payload)}"
    return f"{text}.{encoded(hmac.digest(by, text.encode(), method))}"


@dataclass(frozen=True)
class World:
    """A service with accounts, and all that an attacker might hold of them."""

    client: TestClient
    people: dict[str, Person]
    access: str
    refresh: str
    key: str
    claims: dict[str, Any]

    def forged(
        self, *leave_out: str, by: bytes | None = None, header: object = None, **changes: Any
    ) -> str:
        """The access token anew with other claims or headers, signed as the service signs it."""
        claims = {k: v for k, v in (self.claims | changes).items() if k not in leave_out}
        header = {"alg": "HS256", "typ": "at+jwt"} | (header if isinstance(header, dict) else {})
        return signed(header, json.dumps(claims).encode(), key() if by is None else by)

    def resigned(self, header: object, method: str = "sha256") -> str:
        """The claims as they are under exactly this header."""
        return signed(header, json.dumps(self.claims).encode(), key(), method)

    def payload(self, payload: bytes) -> str:
        return signed({"alg": "HS256", "typ": "at+jwt"}, payload, key())


def bearer(token: str | bytes) -> Headers:
    return [("Authorization", b"Bearer " + (token.encode() if isinstance(token, str) else token))]


def cut(token: str) -> tuple[str, str, str]:
    head, payload, signature = token.split(".")
    return head, payload, signature


def unsigned(world: World, alg: str) -> str:
    head = encoded(json.dumps({"alg": alg, "typ": "at+jwt"}).encode())
    return f"{head}.{cut(world.access)[1]}."


def raised(world: World) -> str:
    """The signature of a staff's token under the claims of the admin."""
    head, _, signature = cut(world.access)
    claims = world.claims | {"sub": world.people["admin"].id}
    return f"{head}.{encoded(json.dumps(claims).encode())}.{signature}"


def flipped(world: World) -> str:
    head, payload, signature = cut(world.access)
    return f"{head}.{payload}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"


def last_bits(world: World) -> str:
    """The same 256 bits of signature, with other bits behind them, which stand for nothing."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return world.access[:-1] + alphabet[alphabet.index(world.access[-1]) ^ 1]


def own_key(world: World) -> str:
    """Signed with the key that the header brings along."""
    mine = b"m" * 32
    jwk = {"kty": "oct", "k": encoded(mine)}
    return world.forged(by=mine, header={"jwk": jwk})


TOKENS: dict[str, Callable[[World], str | bytes]] = {
    # The algorithm is fixed.
    "none": lambda w: unsigned(w, "none"),
    "None": lambda w: unsigned(w, "nOnE"),
    "none, signed": lambda w: w.resigned({"alg": "none", "typ": "at+jwt"}),
    "HS384": lambda w: w.resigned({"alg": "HS384", "typ": "at+jwt"}, "sha384"),
    "HS512": lambda w: w.resigned({"alg": "HS512", "typ": "at+jwt"}, "sha512"),
    "HS512 over SHA-256": lambda w: w.resigned({"alg": "HS512", "typ": "at+jwt"}),
    "RS256": lambda w: w.resigned({"alg": "RS256", "typ": "at+jwt"}),
    "ES256": lambda w: w.resigned({"alg": "ES256", "typ": "at+jwt"}),
    "small hs256": lambda w: w.resigned({"alg": "hs256", "typ": "at+jwt"}),
    "list of algorithms": lambda w: w.resigned({"alg": ["HS256"], "typ": "at+jwt"}),
    "no algorithm": lambda w: w.resigned({"typ": "at+jwt"}),
    "empty header": lambda w: w.resigned({}),
    "header no object": lambda w: w.resigned(["HS256"]),
    # The type tells it from every other token; no other header is known.
    "typ JWT": lambda w: w.resigned({"alg": "HS256", "typ": "JWT"}),
    "no typ": lambda w: w.resigned({"alg": "HS256"}),
    "typ of internal calls": lambda w: w.forged(header={"typ": "internal+jwt"}),
    "jwk": own_key,
    "jwk beside the right key": lambda w: w.forged(header={"jwk": {"kty": "oct", "k": "AA"}}),
    "jku": lambda w: w.forged(header={"jku": "http://127.0.0.1:9/keys"}),
    "x5u": lambda w: w.forged(header={"x5u": "http://127.0.0.1:9/chain"}),
    "x5c": lambda w: w.forged(header={"x5c": ["MIIB"]}),
    "kid, a path": lambda w: w.forged(by=b"", header={"kid": "../../../dev/null"}),
    "kid, SQL": lambda w: w.forged(header={"kid": "' UNION SELECT 'k"}),
    "crit": lambda w: w.forged(header={"crit": ["exp"]}),
    "b64": lambda w: w.forged(header={"b64": False, "crit": ["b64"]}),
    "zip": lambda w: w.forged(header={"zip": "DEF"}),
    "nested": lambda w: signed(
        {"alg": "HS256", "typ": "at+jwt", "cty": "JWT"}, w.access.encode(), key()
    ),
    # The key serves this alone.
    "empty key": lambda w: w.forged(by=b""),
    "the secret itself": lambda w: w.forged(by=SECRET.encode()),
    "another secret": lambda w: w.forged(by=key(SECRET[::-1])),
    "key of internal calls": lambda w: w.forged(
        by=key(label="retrace internal token for retrace-service")
    ),
    "internal token": lambda w: tokens.internal(
        w.client.app.state.service.settings,  # type: ignore[attr-defined]
        tokens.AUDIENCE,
    ),
    "no signature": lambda w: w.access.rpartition(".")[0] + ".",
    "short signature": lambda w: w.access[:-5],
    "flipped bit": flipped,
    "last bits": last_bits,
    "other claims": raised,
    # Every claim is needed, and of one type.
    **{
        f"no {name}": lambda w, name=name: w.forged(name)  # type: ignore[misc]
        for name in ("iss", "aud", "exp", "iat", "jti", "sub", "sid")
    },
    "expired": lambda w: w.forged(iat=int(time.time()) - 120, exp=int(time.time()) - 60),
    "exp true": lambda w: w.forged(exp=True),
    "exp text": lambda w: w.forged(exp=str(w.claims["exp"])),
    "exp fraction": lambda w: w.forged(exp=w.claims["exp"] + 0.5),
    "exp null": lambda w: w.forged(exp=None),
    "exp huge": lambda w: w.forged(exp=2**70),
    "exp infinite": lambda w: w.forged(exp=float("inf")),
    "exp not a number": lambda w: w.forged(exp=float("nan")),
    "exp negative": lambda w: w.forged(exp=-1),
    "exp list": lambda w: w.forged(exp=[w.claims["exp"]]),
    "good for ten years": lambda w: w.forged(exp=w.claims["iat"] + 315_360_000),
    "iat to come": lambda w: w.forged(iat=int(time.time()) + 60, exp=int(time.time()) + 90),
    "iat true": lambda w: w.forged(iat=True),
    "iat text": lambda w: w.forged(iat=str(w.claims["iat"])),
    "iat huge": lambda w: w.forged(iat=10**400),
    "nbf to come": lambda w: w.forged(nbf=int(time.time()) + 60),
    "another issuer": lambda w: w.forged(iss="elsewhere"),
    "issuer list": lambda w: w.forged(iss=["retrace"]),
    "another audience": lambda w: w.forged(aud="retrace-trainer"),
    "audience list": lambda w: w.forged(aud=["elsewhere", "retrace-service"]),
    "audience null": lambda w: w.forged(aud=None),
    "jti number": lambda w: w.forged(jti=1),
    "sub of somebody else": lambda w: w.forged(sub=w.people["admin"].id),
    "sub number": lambda w: w.forged(sub=1),
    "sub of nobody": lambda w: w.forged(sub=new_id()),
    "sub with a NUL": lambda w: w.forged(sub=w.claims["sub"][:-1] + "\0"),
    "sub in capitals": lambda w: w.forged(sub=w.claims["sub"].upper()),
    "sid of nobody": lambda w: w.forged(sid=new_id()),
    "sid null": lambda w: w.forged(sid=None),
    "sid object": lambda w: w.forged(sid={"$ne": ""}),
    "claims a list": lambda w: w.payload(json.dumps([w.claims]).encode()),
    "claims null": lambda w: w.payload(b"null"),
    "claims no JSON": lambda w: w.payload(b"{'sub': 1}"),
    "claims no UTF-8": lambda w: w.payload(b'{"sub": "\xff"}'),
    "claims deep": lambda w: w.payload(b"[" * 2500),
    "claims empty": lambda w: w.payload(b""),
    # One shape.
    "empty": lambda w: "",
    "dots": lambda w: "..",
    "two parts": lambda w: w.access.rpartition(".")[0],
    "four parts": lambda w: w.access + ".AAAA",
    "five parts, as encrypted": lambda w: w.access + ".AAAA.AAAA",
    "JSON form": lambda w: json.dumps(
        dict(zip(("protected", "payload", "signature"), cut(w.access), strict=True))
    ),
    "padded": lambda w: w.access + "=",
    "blank inside": lambda w: w.access.replace(".", ". "),
    "blank before": lambda w: " " + w.access,
    "tab inside": lambda w: w.access.replace(".", ".\t"),
    "quoted": lambda w: f'"{w.access}"',
    "comma": lambda w: f"{w.access},{w.access}",
    "other letters": lambda w: w.access.encode() + "é".encode("latin-1"),
    "full stop that looks alike": lambda w: w.access.replace(".", "．").encode(),
    "standard base64": lambda w: w.access[:-1] + "+",
    "too long": lambda w: w.forged(jti=new_id(), more="x" * 4096),
    # Other secrets of the same account.
    "refresh token": lambda w: w.refresh,
    "refresh token's secret": lambda w: w.refresh.partition(".")[2],
    "login": lambda w: w.claims["sid"],
    "digest of a key": lambda w: hashlib.sha256(w.key.encode()).hexdigest(),
    "key cut": lambda w: w.key[:-1],
    "key and more": lambda w: w.key + "A",
    "key in capitals": lambda w: w.key.upper(),
    "unknown key": lambda w: f"rk_{'A' * 43}",
    "password": lambda w: PASSWORD,
}
REQUESTS: dict[str, Callable[[World], Headers]] = {
    "nothing": lambda w: [],
    "no scheme": lambda w: [("Authorization", w.access)],
    "basic": lambda w: [
        (
            "Authorization",
            "Basic " + base64.b64encode(f"{w.people['staff'].email}:{PASSWORD}".encode()).decode(),
        )
    ],
    "another scheme": lambda w: [("Authorization", f"JWT {w.access}")],
    "scheme alone": lambda w: [("Authorization", "Bearer")],
    "scheme twice": lambda w: [("Authorization", f"Bearer Bearer {w.access}")],
    "twice": lambda w: bearer(w.access) + bearer(w.access),
    "good and bad": lambda w: bearer(w.access) + bearer("x"),
    "token and key": lambda w: [*bearer(w.access), ("X-API-Key", w.key)],
    "two keys": lambda w: [("X-API-Key", w.key), ("X-API-Key", w.key)],
    "token as key": lambda w: [("X-API-Key", w.access)],
    "bearer as key": lambda w: [("X-API-Key", f"Bearer {w.key}")],
    "cookie": lambda w: [("Cookie", f"access_token={w.access}; Authorization=Bearer {w.access}")],
    "other headers": lambda w: [
        ("Proxy-Authorization", f"Bearer {w.access}"),
        ("X-Authorization", f"Bearer {w.access}"),
        ("X-User", w.people["admin"].id),
    ],
}
