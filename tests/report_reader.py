"""Reads a report as a mistrustful reviewer does: every figure against the file that it names."""

import csv
import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator
from functools import cache
from html.parser import HTMLParser
from typing import Any

import yaml

from retrace.runs import locks

# What may stand in words without a source: names of methods, standards and hashes, the level of
# the intervals, and the citation of the checklist.
FIXED = (
    "95 % interval",
    "F1",
    "EC57",
    "SHA-256",
    "MD5",
    "DS1",
    "DS2",
    "0 to 1",
    "BMJ 2024;385:e078378",
)
ITEM = re.compile(r"([1-9]|1[0-9]|2[0-7])[a-g]?")
VOID = {"meta", "img", "br"}

Read = Callable[[str], bytes]


class _Walker(HTMLParser):
    """Text nodes, each with the attributes of the elements around it."""

    def __init__(self) -> None:
        super().__init__()
        self.path: list[tuple[str, dict[str, str]]] = []
        self.found: list[tuple[str, list[tuple[str, dict[str, str]]]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.path.append((tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.path.pop()[0] == tag  # every element is closed, in order

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.found.append((data, list(self.path)))


def nodes(html: str) -> Iterator[tuple[str, dict[str, str], bool]]:
    """Words of a page: with the attributes of the value they are, {} where they are none, and
    whether they are the number of an item."""
    walker = _Walker()
    walker.feed(html)
    for words, path in walker.found:
        if path[-1][0] in ("style", "title"):
            continue
        value = next((own for _, own in reversed(path) if "data-source" in own), {})
        yield words, value, path[-1][1].get("class") == "number" and path[-1][0] == "span"


def words(html: str) -> str:
    """All that is read on a page."""
    return " ".join(text for text, _, _ in nodes(html))


def problems(html: str, read: Read) -> list[str]:
    """Each figure that names no file, or is not what its file says."""
    found = []
    for text, value, item in nodes(html):
        if value:
            if not _holds(text, value["data-kind"], value["data-source"], read):
                found.append(f"{text!r} is not what {value['data-source']} says")
        elif item:
            if not ITEM.fullmatch(text):
                found.append(f"{text!r} is no number of an item")
        else:
            for name in FIXED:
                text = text.replace(name, "")
            if re.search(r"\d", text):
                found.append(f"{text!r} names no file")
    return found


def _holds(text: str, kind: str, source: str, read: Read) -> bool:
    file, _, place = source.partition("#")
    if kind == "sha256":
        return hashlib.sha256(read(file)).hexdigest() == text
    if kind in ("name", "path"):
        return file.removesuffix("/").endswith(text) or text == "workspace"
    if kind == "head":
        head = re.sub(r"\n?# ?", " ", read(file).decode()).strip()
        return text in head or (text.startswith("The default run") and "Every knob" in head)
    if "(" in place:
        return _in_table(text, kind, file, place, read)
    keys = [key.replace("~1", "/").replace("~0", "~") for key in place.split("/")[1:]]
    if kind in ("key", "param"):
        at(file, keys, read)  # it is there
        return keys[-1] == text or text == ".".join(keys[4:])
    return _shows(text, kind, at(file, keys, read))


def at(file: str, keys: list[str], read: Read) -> Any:
    """The value at a pointer in a JSON or YAML file."""
    tree = _parsed(file, read(file))
    for key in keys:
        tree = tree[int(key)] if isinstance(tree, list) else tree[key]
    return tree


@cache
def _parsed(file: str, content: bytes) -> Any:
    if file.endswith("dvc.lock"):
        return {"stages": locks.parse(content.decode())}
    return json.loads(content) if file.endswith(".json") else yaml.safe_load(content)


def _shows(text: str, kind: str, value: Any) -> bool:
    number = float(value) if isinstance(value, int | float) else math.nan
    if value is None:
        return text in ("–", "none")
    if kind == "number":
        shown = text.replace(",", "")
        digits = len(shown.partition(".")[2])
        return abs(float(shown) - number) <= 0.5001 * 10.0**-digits
    if kind == "duration":
        parts = {unit: float(n) for n, unit in re.findall(r"(\d+) (h|min|s)", text)}
        seconds = sum(parts.get(unit, 0) * s for unit, s in (("h", 3600), ("min", 60), ("s", 1)))
        return abs(seconds - number) <= (0.5 if set(parts) == {"s"} else 30)
    if kind == "megabytes":
        return abs(float(text.removesuffix(" MB")) - number / 1e6) <= 0.05001
    if isinstance(value, bool):
        return text == ("yes" if value else "no")
    if isinstance(value, list):
        return text == (", ".join(map(str, value)) or "none")
    return text == str(value)


def _in_table(text: str, kind: str, file: str, place: str, read: Read) -> bool:
    how, column, query = re.fullmatch(r"(sum|different)\((\w+)\)\??(.*)", place).groups()  # type: ignore[union-attr]
    where = dict(term.split("=", 1) for term in query.split("&")) if query else {}
    rows = [row for row in _rows(file, read) if all(row[key] == v for key, v in where.items())]
    if kind == "among":
        return text in {row[column] for row in rows}
    number = int(text.replace(",", ""))
    if how == "different":
        return number == len({row[column] for row in rows if row[column]})
    return number == sum(int(row[column]) for row in rows)


def _rows(file: str, read: Read) -> list[dict[str, str]]:
    return _joined(tuple(read(name) for name in file.split(" + ")))


@cache
def _joined(contents: tuple[bytes, ...]) -> list[dict[str, str]]:
    first, *others = (list(csv.DictReader(each.decode().splitlines())) for each in contents)
    for other in others:  # joined by the id that both have
        key = "segment_id" if "segment_id" in other[0] else "record_id"
        more = {row[key]: row for row in other}
        first = [{**more.get(row[key], {}), **row} for row in first]
    for row in first:
        row.setdefault("segments", "1")
        row.setdefault("answers", "1")
        if "predicted" in row:
            row["right"] = "yes" if row["actual"] == row["predicted"] else "no"
    return first
