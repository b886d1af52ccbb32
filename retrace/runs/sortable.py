"""A comparison as one page of HTML: it sorts itself, asks nothing of the internet, fits a phone."""

from collections.abc import Mapping
from html import escape
from string import Template
from typing import Any

from retrace.runs.comparison import LOWER_IS_BETTER, Comparison
from retrace.runs.run import Run
from retrace.scoring.tables import number, span

_PAGE = Template("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Runs side by side</title>
<style>
:root { color-scheme: light dark; --ink: #1a2430; --soft: #5b6875; --line: #dbe1e7; --paper: #fff;
  --bar: #7fa9d4; --dot: #1f5f9e; --warn: #9a5b00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e9ee; --soft: #9aa7b4; --line: #323c46;
  --paper: #161b20; --bar: #4a7196; --dot: #8fc1f2; --warn: #e2a94f; } }
body { margin: 0 auto; padding: 1.25rem; max-width: 110rem; background: var(--paper);
  color: var(--ink); font: 15px/1.45 system-ui, sans-serif; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .45rem .8rem .45rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child { position: sticky; left: 0; z-index: 1; background: var(--paper);
  white-space: normal; min-width: 15rem; overflow-wrap: anywhere; }
thead th { vertical-align: bottom; white-space: normal; }
button { all: unset; cursor: pointer; font-weight: 600; }
button:focus-visible { outline: 2px solid var(--dot); }
[aria-sort=ascending] button::after { content: " \\25b2"; }
[aria-sort=descending] button::after { content: " \\25bc"; }
small { display: block; color: var(--soft); font-size: .8rem; font-weight: 400; }
.stamp { display: block; color: var(--warn); white-space: nowrap; }
.span { display: block; position: relative; width: 5.5rem; height: 3px; margin: .3rem 0 .15rem;
  background: var(--line); border-radius: 2px; }
.span i { position: absolute; top: 0; height: 3px; background: var(--bar); }
.span b { position: absolute; top: -2px; width: 3px; height: 7px; margin-left: -1px;
  background: var(--dot); }
li { margin: .3rem 0; max-width: 60rem; overflow-wrap: anywhere; } .same { color: var(--soft); }
@media (max-width: 600px) { body { padding: .75rem; font-size: 14px; }
  th:first-child { min-width: 8.5rem; } ul { padding-left: 1.1rem; } }
</style>
<h1>Runs side by side</h1>
<div class="wide"><table>
<thead><tr>$header</tr></thead>
<tbody>
$rows
</tbody>
</table></div>
$pairs
<h2>How to read it</h2>
<ul>
$notes
</ul>
<script>
for (const button of document.querySelectorAll("thead button")) button.onclick = () => {
  const head = button.parentElement, place = head.cellIndex, body = document.querySelector("tbody");
  const first = head.dataset.first, other = {ascending: "descending", descending: "ascending"};
  const order = head.ariaSort ? other[head.ariaSort] : first;
  for (const each of head.parentElement.cells) each.ariaSort = null;
  head.ariaSort = order;
  const key = row => row.cells[place].dataset.key;
  const rows = [...body.rows].sort((a, b) => {
    // Scores of another test part are no rivals.
    const part = "score" in head.dataset ? a.dataset.part.localeCompare(b.dataset.part) : 0;
    const [x, y] = [key(a), key(b)];
    if (part) return part;
    if (x === "" || y === "") return (x === "") - (y === "");
    const apart = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
    return order === "ascending" ? apart : -apart;
  });
  body.append(...rows);
};
</script>
</html>""")


def page(shown: Comparison) -> str:
    """The page; without its few lines of script it is the same table, not sortable."""
    names = ["run", "test part", *_scores(shown), "parameters", "training"]
    header = "".join(_head(name, score=name in shown.scores) for name in names)
    return _PAGE.substitute(
        header=header,
        rows="\n".join(_row(shown, one) for one in shown.runs),
        pairs=_pairs(shown),
        notes="\n".join(f"<li>{escape(note)}</li>" for note in shown.notes),
    )


def _scores(shown: Comparison) -> list[str]:
    return list(dict.fromkeys([*shown.shown, *shown.scores]))


def _head(name: str, *, score: bool) -> str:
    falling = score and name not in LOWER_IS_BETTER
    first = "descending" if falling else "ascending"
    return (
        f'<th scope="col" data-first="{first}"{" data-score" if score else ""}>'
        f'<button type="button">{_broken(name)}</button></th>'
    )


def _broken(name: str) -> str:
    """A name that may be broken where its words meet."""
    return escape(name).replace("_", "_<wbr>")


def _row(shown: Comparison, one: Run) -> str:
    stamp = f'<span class="stamp">{escape(one.stamp)}</span>' if one.stamp else ""
    how = _broken(f"{one.dataset} {one.split}, {one.model}")
    cells = [
        f'<th scope="row" data-key="{escape(one.name)}">{_broken(one.name)}'
        f"<small>{how}{stamp}</small></th>",
        _cell(part := shown.parts[one.test_part]),
        *(_score(one.scores["overall"].get(name)) for name in _scores(shown)),
        _cell(one.parameters, one.cost.get("parameters", "")),
        _cell(one.training, one.cost.get("training_seconds", "")),
    ]
    return f'<tr data-part="{part}">{"".join(cells)}</tr>'


def _cell(text: str, key: Any = None) -> str:
    return f'<td data-key="{escape(str(text if key is None else key))}">{escape(text)}</td>'


def _score(entry: Mapping[str, Any] | None) -> str:
    if entry is None or entry["value"] is None:
        return _cell("-", "")
    return (
        f'<td data-key="{entry["value"]}">{number(entry)}{_bar(entry)}'
        f"<small>{span(entry)}</small></td>"
    )


def _bar(entry: Mapping[str, Any]) -> str:
    """Value and interval between 0 and 1, drawn."""
    low, high = entry["low"], entry["high"]
    if low is None or not 0 <= low <= high <= 1:
        return ""
    return (
        f'<span class="span"><i style="left:{low:.1%};width:{high - low:.1%}"></i>'
        f'<b style="left:{entry["value"]:.1%}"></b></span>'
    )


def _pairs(shown: Comparison) -> str:
    if not shown.pairs:
        return ""
    said = (
        f"<li{'' if pair.shown else ' class=same'}>{escape(str(pair))}</li>" for pair in shown.pairs
    )
    return "<h2>In pairs</h2>\n<ul>\n" + "\n".join(said) + "\n</ul>"
