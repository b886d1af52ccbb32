"""Values that know which file they come from: the only way a number gets into a report."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from retrace.runs.words import duration

NONE = "–"
HASHES = ("hash", "sha256")  # kinds that are written as code


@dataclass(frozen=True)
class Value:
    """What is shown, and where it stands.

    source: "path#/json/pointer", "path" of a file or folder, or of a table
    "path#sum(column)?column=value&..." and "path#different(column)?...". kind: how it is written:
    "number", "text", "duration", "megabytes", "hash"; "key" and "param" (the end of the pointer),
    "among" (the column's values); of the path itself "name", "path", "head" (its first comment) and
    "sha256".
    """

    shown: str
    source: str
    kind: str = "text"


@dataclass(frozen=True)
class Ref:
    """A section of the report, by its title."""

    section: str


@dataclass(frozen=True)
class Small:
    """What belongs to the words before it, and gives way to them."""

    text: "Text"


Text = tuple[str | Value | Ref | Small, ...]


@dataclass(frozen=True)
class Node:
    """A value somewhere in a file, and its JSON pointer (RFC 6901) there."""

    value: Any
    file: str
    pointer: str = ""

    def __getitem__(self, key: str | int) -> "Node":
        escaped = str(key).replace("~", "~0").replace("/", "~1")
        return Node(self.value[key], self.file, f"{self.pointer}/{escaped}")

    def get(self, *keys: str) -> "Node | None":
        """What stands below these keys; None where it is not there, or null."""
        found = self
        for key in keys:
            if not isinstance(found.value, Mapping) or key not in found.value:
                return None
            found = found[key]
        return None if found.value is None else found

    def __contains__(self, key: object) -> bool:
        return key in self.value

    def __iter__(self) -> Iterator["Node"]:
        return (self[index] for index in range(len(self.value)))

    def items(self) -> Iterator[tuple[str, "Node"]]:
        """The values below, by key."""
        return ((key, self[key]) for key in self.value)

    def values(self) -> Iterator["Node"]:
        """The values below."""
        return (self[key] for key in self.value)

    @property
    def source(self) -> str:
        """Where it stands."""
        return f"{self.file}#{self.pointer}"

    def text(self, kind: str = "text") -> Value:
        """As it stands: a list joined by commas, "none" for null, yes and no."""
        return Value(_plain(self.value), self.source, kind)

    def number(self) -> Value:
        """A number as it was set, without zeros behind the point."""
        return Value(f"{self.value:.10g}", self.source, "number")

    def name(self, key: str) -> Value:
        """One of its keys."""
        return Value(key, self[key].source, "key")

    def decimal(self, digits: int = 3) -> Value:
        """With so many digits; a dash for null."""
        shown = NONE if self.value is None else f"{self.value:.{digits}f}"
        return Value(shown, self.source, "number")

    def count(self) -> Value:
        """A whole number; a dash for null."""
        return Value(NONE if self.value is None else f"{self.value:,}", self.source, "number")

    def duration(self) -> Value:
        """Seconds, as 45 s, 12 min, 1 h 10 min."""
        return Value(duration(self.value), self.source, "duration")

    def megabytes(self) -> Value:
        """Bytes, as 1.3 MB."""
        return Value(f"{self.value / 1e6:.1f} MB", self.source, "megabytes")


@dataclass(frozen=True)
class Table:
    """Rows of a CSV file, or of several joined: "one.csv + other.csv"."""

    file: str
    rows: Sequence[Mapping[str, str]]

    def sum(self, column: str, **where: str) -> Value:
        """A column's sum over the rows that have these values."""
        found = sum(int(row[column]) for row in self.rows if _has(row, where))
        return Value(f"{found:,}", f"{self.file}#sum({column}){_query(where)}", "number")

    def different(self, column: str, **where: str) -> Value:
        """How many values, empty ones aside, the column has in the rows that have these values."""
        found = len({row[column] for row in self.rows if _has(row, where)} - {""})
        return Value(f"{found:,}", f"{self.file}#different({column}){_query(where)}", "number")

    def values(self, column: str) -> list[str]:
        """What stands in a column, each once, in the order of the rows."""
        return list(dict.fromkeys(row[column] for row in self.rows))


def _has(row: Mapping[str, str], where: Mapping[str, str]) -> bool:
    return all(row[column] == value for column, value in where.items())


def _query(where: Mapping[str, str]) -> str:
    return "?" + "&".join(f"{column}={value}" for column, value in where.items()) if where else ""


def text(template: str, *parts: Value | Ref | Small | Text) -> Text:
    """Words with values in the place of each {}."""
    words = template.split("{}")
    found: list[str | Value | Ref | Small] = [words[0]]
    for part, more in zip(parts, words[1:], strict=True):
        found += [*(part if isinstance(part, tuple) else (part,)), more]
    return tuple(word for word in found if word != "")


def listed(values: Sequence[Value]) -> Text:
    """Values in a row, with commas between."""
    return text(", ".join("{}" for _ in values), *values)


def plain(text: Text) -> str:
    """The words alone."""
    return "".join(map(_words, text))


def _words(part: str | Value | Ref | Small) -> str:
    match part:
        case Value():
            return part.shown
        case Ref():
            return part.section
        case Small():
            return plain(part.text)
        case _:
            return part


def score(entry: Node | None) -> Text:
    """A score as k/n where examples are few, else with three digits; a dash where there is none."""
    if entry is None:
        return (NONE,)
    if "k" in entry:
        return text("{}/{}", entry["k"].count(), entry["n"].count())
    return (entry["value"].decimal(),)


def span(entry: Node | None) -> Text:
    """Its interval, "low to high"; nothing where there is none."""
    if entry is None or entry["low"].value is None:
        return ()
    return text("{} to {}", entry["low"].decimal(), entry["high"].decimal())


def cell(entry: Node | None) -> Text:
    """A score with its interval."""
    between = span(entry)
    return text("{} {}", score(entry), Small(text("({})", between))) if between else score(entry)


def _plain(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_plain, value)) or "none"
    return str(value)
