"""One model on two splits of the same data: found by what it is, and shown side by side."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from retrace.runs.compare import compare
from retrace.runs.locks import hashes
from retrace.runs.page import CHECKPOINT, readme
from retrace.runs.publish import renew
from retrace.runs.run import Run
from retrace.runs.siblings import beside, siblings, side_by_side
from retrace.runs.summary import summary
from tests.published import beat_run, keep

INTRA = beat_run("random_beats", 5.0, "intra_patient")
INTER = beat_run("new_patients", 2.0, "ds1_ds2")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    keep(tmp_path, INTRA, INTER)
    return tmp_path


def _as(one: Run, run_name: str, **model: Any) -> Run:
    """The same run with other values in the section `model`."""
    lock: Any = copy.deepcopy(one.lock)
    for stage in ("train", "export", "evaluate", "robustness"):
        lock[stage]["params"]["params.yaml"]["model"] |= model
    return replace(one, name=run_name, lock=lock)


def test_the_sibling_is_the_same_model_on_another_split(root: Path) -> None:
    same_split, other_model = replace(INTRA, name="again"), _as(INTER, "other", name="gru")
    other_options = _as(INTER, "features", features=["rr_ratio"])
    keep(root, same_split, other_model, other_options)

    assert [one.name for one in siblings(root, INTRA)] == ["new_patients"]
    assert {one.name for one in siblings(root, INTER)} == {"random_beats", "again"}


def test_of_several_siblings_the_one_made_most_alike_comes_first(root: Path) -> None:
    keep(root, beat_run("a_hasty_one", 1.0, "ds1_ds2", lr=1.0, epochs=1))

    assert [one.name for one in siblings(root, INTRA)] == ["new_patients", "a_hasty_one"]


def test_both_scores_stand_side_by_side_and_the_flattering_one_is_stamped() -> None:
    rows, reading = side_by_side(INTER, INTRA)

    assert rows[0] == ["score", "intra_patient INTRA-PATIENT", "ds1_ds2"]
    accuracy = next(row for row in rows if row[0] == "accuracy")
    for one, shown in zip((INTRA, INTER), accuracy[1:], strict=True):
        own = one.scores["overall"]["accuracy"]
        assert shown == "{value:.3f} ({low:.3f} to {high:.3f})".format(**own)
    assert {"f1_macro_nsv", "veb_sensitivity", "sveb_ppv"} <= {row[0] for row in rows}
    assert "Not only the split" not in reading


def test_what_differs_beside_the_split_is_said() -> None:
    _, reading = side_by_side(INTRA, beat_run("x", 2.0, "ds1_ds2", lr=1.0))

    assert "Not only the split differs: lr." in reading


def test_without_a_sibling_that_is_said(root: Path) -> None:
    rows, reading = beside(root, _as(INTER, "alone", name="gru"))

    assert rows == [] and "No run of this model on another split of synthetic" in reading


def test_the_page_of_a_run_shows_split_sibling_and_ec57(root: Path) -> None:
    text = readme(root, "random_beats", INTRA, [CHECKPOINT])

    assert "**INTRA-PATIENT: 8 of 8**" in text
    assert "| score | intra_patient INTRA-PATIENT | ds1_ds2 |" in text
    for convention in ("papers", "bxb"):
        for peaks in ("annotated", "detected"):
            assert f"| {convention} | {peaks} | 0:00 | " in text
            assert f"| {convention} | {peaks} | 5:00 | " in text
    assert "| papers | annotated | 0:00 | without 202 |" in text
    assert "Convention papers: atrial escape beats (e) count as N" in text
    assert "| 203 | " in text  # of each record


def test_the_page_of_a_run_follows_when_its_sibling_is_published(root: Path) -> None:
    page = root / "recipes/random_beats/README.md"
    (root / "recipes/new_patients/dvc.lock").unlink()
    renew(root, INTRA)
    assert "No run of this model on another split" in page.read_text()

    keep(root, replace(INTER, name="newer_patients"))
    md5 = hashes(INTRA.lock["train"], "outs")["models/checkpoint"]
    (root / "store/files/md5" / md5[:2]).mkdir(parents=True)
    (root / "store/files/md5" / md5[:2] / md5[2:]).touch()
    renew(root, INTRA)

    assert "| score | intra_patient INTRA-PATIENT | ds1_ds2 |" in page.read_text()
    assert "retrace recipe random_beats --trained" in page.read_text()  # it is in the store


def test_the_page_of_a_run_whose_model_was_kept_out_gives_its_hash(root: Path) -> None:
    renew(root, INTRA)

    text = (root / "recipes/random_beats/README.md").read_text()
    assert "--trained" not in text and INTRA.cost["weights_sha256"] in text


def test_the_table_of_all_runs_has_one_line_a_run_with_the_siblings_adjacent(root: Path) -> None:
    keep(root, _as(INTER, "another", name="gru"))
    trees = replace(_as(INTRA, "trees", name="forest"), cost={**INTRA.cost, "parameters": None})
    keep(root, trees)

    lines = compare(root, []).splitlines()

    rows = [line.split() for line in lines[1 : lines.index("")]]
    assert [row[0] for row in rows] == ["new_patients", "random_beats", "trees", "another"]
    assert [line.count("INTRA-PATIENT") for line in lines[1:5]] == [0, 1, 1, 0]
    own = INTRA.scores["overall"]["f1_macro_nsv"]
    assert "{value:.3f} ({low:.3f} to {high:.3f})".format(**own) in lines[2]
    # Which scores were measured on the same beats.
    at = lines[0].index("test part")
    assert [line[at] for line in lines[1:5]] == ["A", "B", "B", "A"]
    assert lines[3][lines[0].index("parameters") :].startswith("-")


def test_the_same_table_in_markdown_leads_to_the_pages(root: Path) -> None:
    header, _, *rows = compare(root, form="md", published=True).splitlines()

    assert header.startswith("| run | data set | model | split | stamp | test part |")
    assert rows[0].startswith("| [new_patients](recipes/new_patients/README.md) | synthetic |")
    assert "| INTRA-PATIENT |" in rows[1]


def test_named_runs_show_their_split_and_stamp(root: Path) -> None:
    said = compare(root, ["random_beats", "new_patients"])

    split = next(line for line in said.splitlines() if line.startswith("split"))
    assert split.split() == ["split", "intra_patient", "INTRA-PATIENT", "ds1_ds2"]
    assert "WARNING: not the same test part" in said
    assert "sveb_sensitivity" in said and "test beats" in said


def test_the_summary_of_the_workspace_shows_both_splits(root: Path) -> None:
    last = beat_run("mine", 4.0, "intra_patient", lr=0.5)
    keep(root, last)
    for kept, shown in {
        "dvc.lock": "dvc.lock",
        "metrics.json": "metrics/test.json",
        "scores.json": "plots/test/scores.json",
    }.items():
        (root / shown).parent.mkdir(parents=True, exist_ok=True)
        (root / shown).write_bytes((root / "recipes/mine" / kept).read_bytes())
    (root / "params.yaml").write_text("seed: 9\n", encoding="utf-8")

    said = summary(root)

    assert "INTRA-PATIENT: 8 of 8" in said
    assert "intra_patient INTRA-PATIENT" in said and "Not only the split differs: lr." in said
    assert "veb_sensitivity" in said and "without 202" in said
