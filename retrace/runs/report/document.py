"""What a report is made of, before it is HTML or Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass

from retrace.runs.report.values import Node, Text


@dataclass(frozen=True)
class Paragraph:
    """Words. kind: "", "stamp" (a warning nobody may miss) or "note"."""

    text: Text
    kind: str = ""


@dataclass(frozen=True)
class Heading:
    """Of a part of a section."""

    title: Text


@dataclass(frozen=True)
class Bullets:
    """Sentences below each other."""

    items: Sequence[Text]


@dataclass(frozen=True)
class Facts:
    """Names and what they are."""

    rows: Sequence[tuple[Text, Text]]


@dataclass(frozen=True)
class Headline:
    """The few scores to be read first, each with its name."""

    scores: Sequence[tuple[str, Node]]


@dataclass(frozen=True)
class Grid:
    """A table: the first row is its header, the first column names its rows.

    bars: the scores of a last column, drawn as intervals between 0 and 1; one for each row.
    """

    rows: Sequence[Sequence[Text]]
    caption: Text = ()
    bars: Sequence[Node | None] = ()


@dataclass(frozen=True)
class Picture:
    """A figure of the run, by its name. content: a PNG. alt: what it shows, for those who do not
    see it."""

    name: str
    content: bytes
    alt: str
    caption: Text = ()


@dataclass(frozen=True)
class Commands:
    """Lines for a shell."""

    lines: Sequence[Text]


@dataclass(frozen=True)
class Item:
    """An item of a checklist. answer: "reported", "partly", "not done" or "not applicable"."""

    number: str
    topic: str
    answer: str
    text: Text


@dataclass(frozen=True)
class Checklist:
    """Items under their headings."""

    items: Sequence[Item | str]


Block = Paragraph | Heading | Bullets | Facts | Headline | Grid | Picture | Commands | Checklist


@dataclass(frozen=True)
class Section:
    """Blocks under a title."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Document:
    """A report. lead: what it is, in a line. blocks: those before its sections. foot: below all."""

    title: Text
    lead: Text
    blocks: Sequence[Block]
    sections: Sequence[Section]
    foot: Text
