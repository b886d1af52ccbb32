"""What is in an annotation file (.atr) beside the times of the beats: symbols, rhythms, notes.

Format: https://physionet.org/physiotools/wag/annot-5.htm
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from retrace.deploy.readers.common import opened, refusal
from retrace.errors import InputError
from retrace.signals.records import BEATS

LARGEST = 2 << 20  # bytes; two days of beats with a word or two for each take a quarter of it
# The symbols of the codes 0 to 41; those that have none are blanks.
SYMBOLS = ' NLRaVFJASEj/Q~ | sT*D"=pB^t+u?![]en@xf()r'
RHYTHM, LAST, SKIP, AUX = 28, 41, 59, 63
_RHYTHM_NAME = re.compile(rb"(\([A-Z0-9]{1,10})\0*")
_RESOLUTION = re.compile(rb"## time resolution: [\d.]+\0*")


def read(path: Path) -> bytes:
    """The content of an annotation file; InputError where it is too large."""
    with opened(path) as stream:
        content = stream.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise refusal(path, f"more than {LARGEST} bytes of annotations: divide the recording")
    return content


def counts(content: bytes) -> dict[str, int]:
    """How many there are of each symbol; a rhythm counts under its name, as "(AFIB".

    Raises InputError where the file is damaged.
    """
    found: Counter[str] = Counter()
    code = 0
    for kind, raw in _items(content):
        if kind <= LAST:
            code = kind
            found[SYMBOLS[code]] += 1
        elif kind == AUX and code == RHYTHM and (name := _RHYTHM_NAME.fullmatch(raw[2:])):
            found["+"] -= 1
            found[name[1].decode()] += 1
        elif kind == AUX and _RESOLUTION.fullmatch(raw[2:]):
            found[SYMBOLS[code]] -= 1  # it tells the unit of time, and labels nothing
    return {symbol: found[symbol] for symbol in sorted(found) if symbol != " " and found[symbol]}


def beats(content: bytes) -> list[str]:
    """The symbols of the beats, in the order of time. Raises InputError as `counts`."""
    symbols = (SYMBOLS[code] for code, _ in _items(content) if code <= LAST)
    return [symbol for symbol in symbols if symbol in BEATS]


def labelled(found: dict[str, int]) -> bool:
    """Whether a beat or a rhythm is among these symbols."""
    return any(symbol in BEATS or (symbol.startswith("(") and len(symbol) > 1) for symbol in found)


def without_notes(content: bytes) -> bytes:
    """The same annotations without free text: names of rhythms and the time resolution stay.

    Raises InputError where the file is damaged.
    """
    parts: list[bytes] = []
    code = 0
    for kind, raw in _items(content):
        if kind <= LAST:
            code = kind
        known = _RHYTHM_NAME if code == RHYTHM else _RESOLUTION
        if kind != AUX or known.fullmatch(raw[2:]):
            parts.append(raw)
    return b"".join([*parts, bytes(2)])


def _items(content: bytes) -> Iterator[tuple[int, bytes]]:
    """The annotations and what belongs to them, each with its code and its own bytes."""
    place = 0
    while place + 2 <= len(content):
        word = content[place] | content[place + 1] << 8
        if word == 0:
            return
        code = word >> 10
        length = 2
        if code == SKIP:
            length = 6
        elif code == AUX:
            length += (word & 1023) + (word & 1)
        if place + length > len(content) or LAST < code < SKIP:
            break
        yield code, content[place : place + length]
        place += length
    raise InputError(
        "annotations that cannot be read; they must be whole and of known kinds: obtain the file "
        "again"
    )
