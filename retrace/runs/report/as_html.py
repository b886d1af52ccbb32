"""A report as one HTML file that needs nothing else: no script, no address, figures inside.

Every value stands in an element whose `data-source` names its file and its place there.
"""

import base64
import re
from html import escape
from itertools import zip_longest

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
from retrace.runs.report.style import CSS
from retrace.runs.report.values import (
    HASHES,
    Node,
    Ref,
    Small,
    Text,
    Value,
    plain,
    score,
    span,
)

WIDE = 900  # pixels: such a figure is scrolled on a phone, and not shrunk until nobody can read it


def html(document: Document) -> str:
    """The whole page."""
    body = "\n".join(
        [
            f'<header><p class="eyebrow">Report and model card</p><h1>{_text(document.title)}</h1>'
            f"<p>{_text(document.lead)}</p></header>",
            *map(_block, document.blocks),
            "<nav><ol>",
            *(
                f'<li><a href="#{anchor(section.title)}">{escape(section.title)}</a></li>'
                for section in document.sections
            ),
            "</ol></nav>",
            *(
                f'<section id="{anchor(section.title)}"><h2>{escape(section.title)}</h2>\n'
                + "\n".join(map(_block, section.blocks))
                + "</section>"
                for section in document.sections
            ),
            f"<footer><p>{_text(document.foot)}</p></footer>",
        ]
    )
    # No address is ever asked: the browser itself would refuse.
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(plain(document.title))}: report</title>
<style>{CSS}</style>
</head>
<body>
{body}
</body>
</html>
"""


def anchor(title: str) -> str:
    """The id of a section."""
    return re.sub(r"[^a-z]+", "-", title.lower()).strip("-")


def _text(text: Text) -> str:
    return "".join(map(_part, text))


def _part(part: str | Value | Ref | Small) -> str:
    if isinstance(part, str):
        return escape(part, quote=False)
    if isinstance(part, Small):
        return f"<small>{_text(part.text)}</small>"
    if isinstance(part, Ref):
        return f'<a href="#{anchor(part.section)}">{escape(part.section)}</a>'
    shown, source = escape(part.shown, quote=False), escape(part.source)
    where = f'data-source="{source}" data-kind="{part.kind}" title="{source}"'
    if part.kind in HASHES:
        return f'<span class="hash" {where}>{shown}</span>'
    if part.shown.startswith("https://"):
        return f'<a href="{escape(part.shown)}" {where}>{shown}</a>'
    return f"<span {where}>{shown}</span>"


def _block(block: Block) -> str:
    match block:
        case Paragraph():
            kind = f' class="{block.kind}"' if block.kind else ""
            return f"<p{kind}>{_text(block.text)}</p>"
        case Heading():
            return f"<h3>{_text(block.title)}</h3>"
        case Bullets():
            return f"<ul>{''.join(f'<li>{_text(item)}</li>' for item in block.items)}</ul>"
        case Facts():
            rows = (f"<dt>{_text(name)}</dt><dd>{_text(what)}</dd>" for name, what in block.rows)
            return f'<dl class="facts">{"".join(rows)}</dl>'
        case Headline():
            return f'<dl class="headline">{"".join(map(_big, block.scores))}</dl>'
        case Grid():
            return _grid(block)
        case Picture():
            return _picture(block)
        case Commands():
            return "<pre>" + "\n".join(map(_text, block.lines)) + "</pre>"
        case Checklist():
            return "\n".join(map(_item, block.items))


def _big(named: tuple[str, Node]) -> str:
    name, entry = named
    between = span(entry)
    more = f'<dd class="span">{_text(between)}</dd>' if between else ""
    return f'<div><dt>{escape(name)}</dt><dd class="big">{_text(score(entry))}</dd>{more}</div>'


def _grid(grid: Grid) -> str:
    header, *rows = grid.rows
    caption = f"<caption>{_text(grid.caption)}</caption>" if grid.caption else ""
    head = "".join(f'<th scope="col">{_text(cell)}</th>' for cell in header)
    scale = '<th scope="col" class="bar">0 to 1</th>' if grid.bars else ""
    lines = []
    for row, entry in zip_longest(rows, grid.bars):
        first, *others = row
        cells = "".join(
            f'<td class="number">{_text(cell)}</td>'
            if _is_figure(cell)
            else f"<td>{_text(cell)}</td>"
            for cell in others
        )
        bar = f'<td class="bar">{_bar(entry)}</td>' if grid.bars else ""
        lines.append(f'<tr><th scope="row">{_text(first)}</th>{cells}{bar}</tr>')
    return (
        f'<div class="wide" tabindex="0"><table>{caption}<thead><tr>{head}{scale}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _is_figure(cell: Text) -> bool:
    return any(isinstance(part, Value) and part.kind == "number" for part in cell)


def _bar(entry: Node | None) -> str:
    """A score between 0 and 1 with its interval, drawn; the figures stand beside it."""
    if entry is None or entry.value["value"] is None:
        return ""
    value, low, high = (entry.value[key] for key in ("value", "low", "high"))
    low, high = (value if end is None else end for end in (low, high))
    return f'<i aria-hidden="true" style="--value:{value};--low:{low};--high:{high}"></i>'


def _picture(picture: Picture) -> str:
    data = base64.b64encode(picture.content).decode("ascii")
    caption = f"<figcaption>{_text(picture.caption)}</figcaption>" if picture.caption else ""
    width = int.from_bytes(picture.content[16:20], "big")  # as the head of a PNG has it
    wide = ' class="wide" tabindex="0"' if width > WIDE else ""
    return (
        f'<figure{wide}><img alt="{escape(picture.alt)}" data-source="{escape(picture.name)}" '
        f'src="data:image/png;base64,{data}">{caption}</figure>'
    )


def _item(item: Item | str) -> str:
    if isinstance(item, str):
        return f"<h3>{escape(item)}</h3>"
    kind = item.answer.replace(" ", "-")
    return (
        f'<div class="item"><span class="number">{item.number}</span><b>{escape(item.topic)}</b>'
        f'<span class="answer {kind}">{item.answer}</span><p>{_text(item.text)}</p></div>'
    )
