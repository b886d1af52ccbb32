"""One comparison in every form: the same figures, whoever or whatever reads it."""

import csv
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from retrace.runs import forms, ledger, run, terminal, words
from retrace.runs.comparison import Comparison, letters
from retrace.runs.paired import Difference, Pair
from tests.sources import ROOT

NAMES = ("mitdb_ds1_ds2", "mitdb_ds1_ds2_cnn4", "mitdb_intra_patient")
RUNS = [run.published(ROOT, name) for name in NAMES]
PAIR = Pair(*NAMES[:2], "f1_macro", Difference(0.124, (0.052, 0.174), 0.0004), 0.0008)
SHOWN = Comparison(RUNS, letters(RUNS), [PAIR], NAMES[:2], ["Read <it> & weep."])


def _write(form: str, *, few: bool = False) -> str:
    return forms.write(SHOWN, form, few=few)


def test_csv_has_every_score_of_every_run_and_its_pair() -> None:
    rows = list(csv.DictReader(io.StringIO(_write("csv"))))

    assert [row["run"] for row in rows] == list(NAMES)
    entry = RUNS[1].scores["overall"]["sensitivity_macro"]
    found = [rows[1][f"sensitivity_macro{end}"] for end in ("", "_low", "_high")]
    assert [float(value) for value in found] == [entry[key] for key in ("value", "low", "high")]
    assert (rows[1]["best"], rows[1]["behind"], rows[1]["p"]) == (NAMES[0], "0.124", "0.0008")
    assert rows[0]["best"] == "" and rows[2]["stamp"] == "INTRA-PATIENT"


def test_json_has_the_same_with_params_pairs_and_notes() -> None:
    tree = json.loads(_write("json"))

    assert [one["test_part"] for one in tree["runs"]] == ["A", "A", "B"]
    assert (
        tree["runs"][0]["scores"]["f1_macro"]["low"] == RUNS[0].scores["overall"]["f1_macro"]["low"]
    )
    assert tree["runs"][1]["params"]["model.name"] == "cnn4"
    assert tree["pairs"][0] | {"sentence": ""} == {
        "best": NAMES[0], "other": NAMES[1], "score": "f1_macro", "value": 0.124, "low": 0.052,
        "high": 0.174, "p": 0.0008, "shown": True, "sentence": "",
    }  # fmt: skip
    assert tree["notes"] == ["Read <it> & weep."]


def test_markdown_leads_to_the_pages_of_published_runs() -> None:
    said = _write("md")

    assert f"| [{NAMES[0]}](recipes/{NAMES[0]}/README.md) |" in said
    assert f"| {NAMES[2]} | mitdb |" in said and f"- {PAIR}" in said


def test_a_bar_in_a_cell_is_no_border_of_a_table() -> None:
    assert words.markdown([["a|b"], ["c"]]).splitlines()[0] == "| a\\|b |"


def test_runs_that_answer_for_records_and_for_beats_are_no_rivals() -> None:
    beats = RUNS[0]
    of_records = {key: own for key, own in beats.scores.items() if key != "unit"}
    records = replace(beats, name="of_records", scores=of_records)

    assert sorted(letters([beats, records]).values()) == ["A", "B"]


def test_the_ledger_knows_every_published_run_by_its_test_part() -> None:
    for name in run.all_published(ROOT):
        assert ledger.readings(ROOT, run.published(ROOT, name)) > 0


class _Page(HTMLParser):
    """Of a page its cells by row, and whatever it would load from elsewhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loaded += [str(value) for key, value in attrs if key in ("src", "href")]
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append(dict(attrs).get("data-key") or "")


def test_html_asks_nothing_of_the_internet_and_sorts_by_whole_numbers() -> None:
    text = _write("html")
    page = _Page(text)

    assert not page.loaded and "http" not in text and "@import" not in text and "url(" not in text
    assert [row[0] for row in page.rows[1:]] == list(NAMES)
    scores = {float(row[2]) for row in page.rows[1:]}
    assert scores == {one.scores["overall"]["accuracy"]["value"] for one in RUNS}
    assert page.rows[1][-2:] == [
        str(RUNS[0].cost["parameters"]), str(RUNS[0].cost["training_seconds"])
    ]  # fmt: skip
    assert "<li>Read &lt;it&gt; &amp; weep.</li>" in text and "INTRA-PATIENT" in text


@pytest.mark.parametrize("few", [True, False])
@pytest.mark.parametrize("width", [80, 160])
def test_a_terminal_s_width_is_kept_and_the_sorted_score_stays(few: bool, width: int) -> None:
    said = re.sub(r"\x1b\[[\d;]*m", "", terminal.draw(SHOWN, few=few, width=width))

    assert max(map(len, said.splitlines())) <= width
    assert "0.948" in said and " ".join(str(PAIR).split()[:4]) in said
    if not few:
        assert ("No room for" in said) == (width == 80)


def test_text_is_the_table_then_the_pairs_then_how_to_read_them() -> None:
    table, pairs, notes = _write("text").split("\n\n")

    assert len(table.splitlines()) == 4
    assert pairs == str(PAIR) and notes == "Read <it> & weep."
