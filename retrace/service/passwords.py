"""Passwords: which are accepted, and argon2id for keeping them."""

import base64
import secrets
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

from retrace.errors import InputError
from retrace.service.problems import Problem

SHORTEST, LONGEST = 12, 256  # characters
AT_ONCE = 2  # each takes 64 MiB and about 0.1 s of a core
WAITING = 16  # more would hold all threads of the server
# argon2id as RFC 9106 recommends it where memory is limited.
HASHER = PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)

_places = threading.BoundedSemaphore(AT_ONCE + WAITING)
_running = threading.BoundedSemaphore(AT_ONCE)


def _encoded(size: int) -> str:
    return base64.b64encode(secrets.token_bytes(size)).decode().rstrip("=")


# What the password of an account that does not exist is held against: the same work, never right.
NOBODY = (
    f"$argon2id$v=19$m={HASHER.memory_cost},t={HASHER.time_cost},p={HASHER.parallelism}"
    f"${_encoded(HASHER.salt_len)}${_encoded(HASHER.hash_len)}"
)

ROWS = ("1234567890" * 3, "abcdefghijklmnopqrstuvwxyz" * 2, "qwertyuiopasdfghjklzxcvbnm" * 2)
# What is left of the commonest long passwords without digits and signs, and once if repeated.
WORDS = """
password passwort pass motdepasse contrasena administrator admin root welcome letmein default user
guest login access iloveyou iloveu changeme trustno monkey dragon sunshine princess football secret
baseball superman batman master shadow michael charlie test testing hello computer internet abc
abcd xyz qwertyuiop qwerty qwert qwer qwe asdfghjkl asdf asd zxcvbnm zxc qazwsxedc qazwsx qaz wsx
qweasdzxc retrace hospital doctor nurse cardiology
"""
COMMON = frozenset(WORDS.split())


def check(password: str, email: str) -> None:
    """Refuse a password that is short, long, the account's address, or one of the commonest.

    Raises InputError; which signs it is made of is nobody's business.
    """
    text = unicodedata.normalize("NFKC", password)
    if not SHORTEST <= len(text) <= LONGEST:
        raise InputError(
            f"password: {len(text)} characters; it has {SHORTEST} to {LONGEST}: a few words in a "
            "row are easy to remember"
        )
    lowered = text.lower()
    if lowered in (email.lower(), email.lower().partition("@")[0]):
        raise InputError("password: the address itself; everybody knows that: choose another one")
    letters = _unit("".join(filter(str.isalpha, lowered)))
    if (
        len(_unit(lowered)) <= 4
        or letters in COMMON
        or any(lowered in row or lowered[::-1] in row for row in ROWS)
    ):
        raise InputError("password: one of the first that are tried: choose a less common one")


def hashed(password: str) -> str:
    """The password as argon2id keeps it, with a salt. Raises Problem (503) where too many wait."""
    with _turn():
        return HASHER.hash(unicodedata.normalize("NFKC", password))


def verified(digest: str, password: str) -> bool:
    """Whether it is the password that `hashed` made `digest` of. Raises Problem (503) likewise."""
    with _turn():
        try:
            return HASHER.verify(digest, unicodedata.normalize("NFKC", password))
        except (VerificationError, InvalidHashError):
            return False


@contextmanager
def _turn() -> Iterator[None]:
    """A place among those that hash; the memory of all of them together is bounded by it."""
    if not _places.acquire(blocking=False):
        raise Problem(503, "too many log in at the same time: try again", Retry_After="1")
    try:
        with _running:
            yield
    finally:
        _places.release()


def _unit(text: str) -> str:
    """The shortest text that `text` repeats."""
    return text[: (text + text).find(text, 1)] if text else text
