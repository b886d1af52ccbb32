"""A report as Markdown: the model card that stands beside a model."""

from pathlib import PurePosixPath

from retrace.runs.report.as_html import anchor
from retrace.runs.report.document import (
    Block,
    Bullets,
    Checklist,
    Commands,
    Document,
    Facts,
    Grid,
    Heading,
    Headline,
    Item,
    Paragraph,
    Picture,
)
from retrace.runs.report.values import HASHES, Ref, Small, Text, Value, cell, plain
from retrace.runs.words import markdown


def card(document: Document, figures: str) -> str:
    """The whole card. figures: the folder of its figures, from where it lies."""
    parts = [
        f"# {_text(document.title)}",
        _text(document.lead),
        *(_block(block, figures) for block in document.blocks),
    ]
    for section in document.sections:
        parts += [f"## {section.title}", *(_block(block, figures) for block in section.blocks)]
    parts.append(_text(document.foot))
    return "\n\n".join(part for part in parts if part) + "\n"


def _text(text: Text) -> str:
    return "".join(map(_part, text))


def _part(part: str | Value | Ref | Small) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, Small):
        return _text(part.text)
    if isinstance(part, Ref):
        return f"[{part.section}](#{anchor(part.section)})"
    if part.shown.startswith("https://"):
        return f"<{part.shown}>"
    # A class may be called anything: what is shown must not be read as HTML.
    return f"`{part.shown}`" if part.kind in HASHES else part.shown.replace("<", "&lt;")


def _block(block: Block, figures: str) -> str:
    match block:
        case Paragraph():
            words = _text(block.text)
            return f"> **{words}**" if block.kind == "stamp" else words
        case Heading():
            return f"### {_text(block.title)}"
        case Bullets():
            return "\n".join(f"- {_text(item)}" for item in block.items)
        case Facts():
            return markdown([["", ""], *([_text(name), _text(what)] for name, what in block.rows)])
        case Headline():
            rows = [[name, _text(cell(entry))] for name, entry in block.scores]
            return markdown([["score", "value (95 % interval)"], *rows])
        case Grid():
            table = markdown([[_text(each) for each in row] for row in block.rows])
            captioned = block.caption and not block.bars  # there it tells of the bars
            return f"{_text(block.caption)}\n\n{table}" if captioned else table
        case Picture():
            caption = f"\n\n{_text(block.caption)}" if block.caption else ""
            return f"![{block.alt}]({figures}/{PurePosixPath(block.name).name}){caption}"
        case Commands():
            return "\n".join(["```sh", *map(plain, block.lines), "```"])
        case Checklist():
            return _checklist(block)


def _checklist(checklist: Checklist) -> str:
    parts: list[str] = []
    rows: list[list[str]] = []
    for item in [*checklist.items, ""]:
        if isinstance(item, Item):
            rows.append([item.number, item.topic, f"{item.answer}: {_text(item.text)}"])
            continue
        if rows:
            parts.append(markdown([["item", "topic", "answer"], *rows]))
            rows = []
        parts += [f"### {item}"] if item else []
    return "\n\n".join(parts)
