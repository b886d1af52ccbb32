"""The report of a run: whole, honest, and every number out of a file."""

import copy
import csv
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from retrace.cli import main
from retrace.errors import InputError
from retrace.files import write_csv
from retrace.runs import locks, run
from retrace.runs.report import files as report_files
from retrace.runs.report.as_html import html
from retrace.runs.report.as_markdown import card
from retrace.runs.report.command import compose, figures, report
from retrace.runs.report.document import Checklist, Item, Paragraph
from retrace.runs.report.files import Files
from retrace.runs.run import WORKSPACE, Run
from tests.published import beat_run, keep
from tests.report_reader import nodes, problems, words
from tests.scratch import commit_all
from tests.scratch import run as git
from tests.sources import ROOT

PUBLISHED = run.all_published(ROOT)
# How many parts the items of the checklist have, of those that have several.
PARTS = {3: 3, 5: 2, 6: 3, 8: 3, 9: 3, 12: 7, 18: 6, 20: 3, 23: 2, 27: 3}
ITEMS = [
    f"{number}{letter}"
    for number in range(1, 28)
    for letter in ("abcdefg"[: PARTS[number]] if number in PARTS else [""])
]


@pytest.fixture(autouse=True)
def _only_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a developer's cache holds beside the store changes no test."""
    monkeypatch.setattr("retrace.runs.cache.dvc", lambda root, *_: str(root / ".no_cache"))


def _read(root: Path, lock: locks.Lock, name: str) -> bytes:
    """A file that a report names, looked for in the simplest way."""
    if root != ROOT or name.startswith(("recipes/", "stages/")):
        return (root / name).read_bytes()
    outs = locks.outs(lock)
    out = next(out for out in outs if name == out or name.startswith(f"{out}/"))
    content = _stored(outs[out])
    if name == out:
        return content
    found = {each["relpath"]: each["md5"] for each in json.loads(content)}
    return _stored(found[name.removeprefix(f"{out}/")])


def _stored(md5: str) -> bytes:
    return (ROOT / "store/files/md5" / md5[:2] / md5[2:]).read_bytes()


def _page(root: Path, own: Run) -> str:
    return html(compose(Files(root, own)))


def _problems(root: Path, own: Run) -> list[str]:
    return problems(_page(root, own), partial(_read, root, own.lock))


@pytest.fixture(scope="module")
def default() -> str:
    """The page of the published default run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("retrace.runs.cache.dvc", lambda root, *_: str(root / ".no_cache"))
        return _page(ROOT, run.published(ROOT, "synthetic"))


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Path]:
    """A repository whose workspace holds the default run."""
    folder = ROOT / "recipes/synthetic"
    lock = run.read_lock(folder)
    shutil.copytree(folder, tmp_path / "recipes/synthetic")
    shutil.copy(ROOT / "recipes/synthetic.yaml", tmp_path / "recipes")
    (tmp_path / "stages").mkdir()
    for name in (report_files.SOURCES, report_files.POPULATIONS):
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copy(folder / "dvc.lock", tmp_path)
    paths = (
        "data/split.csv data/waveforms/segments.csv data/filtered/records.csv "
        "plots/test/scores.json plots/test/predictions.csv plots/test/examples.png "
        "plots/train/curves.png plots/robustness/robustness.json models/checkpoint/config.json "
        "models/checkpoint/weights.safetensors"
    )
    for name in paths.split():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(_read(ROOT, lock, name))
    shutil.copytree(folder / "train", tmp_path / "metrics/train")
    yield tmp_path


def _last(root: Path) -> Run:
    return replace(run.published(root, "synthetic"), name=WORKSPACE)


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_number_of_a_published_run_stands_in_the_file_that_it_names(name: str) -> None:
    assert _problems(ROOT, run.published(ROOT, name)) == []


def test_so_does_every_number_of_the_workspace(workspace: Path) -> None:
    assert _problems(workspace, _last(workspace)) == []


def test_a_number_that_was_typed_in_is_found(default: str) -> None:
    lock = run.published(ROOT, "synthetic").lock
    typed = default.replace("It supports decisions", "It reached 0.99 and supports decisions", 1)
    edited = re.sub(r"(overall/accuracy/value[^>]*>)0\.850", r"\g<1>0.950", default, count=1)

    for page in (typed, edited):
        assert page != default
        assert len(problems(page, partial(_read, ROOT, lock))) == 1


def test_the_card_has_no_number_that_the_page_has_not(default: str) -> None:
    own = compose(Files(ROOT, run.published(ROOT, "synthetic")))
    there = set(re.findall(r"\d[\d,.]*\d|\d", words(default)))
    written = re.sub(r"!\[.*?\]\(.*?\)|\(#[a-z-]+\)", "", card(own, "synthetic"))

    assert set(re.findall(r"\d[\d,.]*\d|\d", written)) <= there


@pytest.mark.parametrize("name", ["synthetic", "mitdb_ds1_ds2", "cinc2017_efficientnet"])
def test_all_items_of_the_checklist_are_answered_once(name: str) -> None:
    document = compose(Files(ROOT, run.published(ROOT, name)))
    blocks = [block for section in document.sections for block in section.blocks]
    [checklist] = [block for block in blocks if isinstance(block, Checklist)]
    items = [item for item in checklist.items if isinstance(item, Item)]

    assert [item.number for item in items] == ITEMS
    assert {item.answer for item in items} <= {"reported", "partly", "not done", "not applicable"}
    assert all(item.text for item in items)


def test_of_every_data_set_is_told_who_was_recorded() -> None:
    sources, populations = (
        yaml.safe_load((ROOT / name).read_text())
        for name in (report_files.SOURCES, report_files.POPULATIONS)
    )

    assert populations.keys() == sources.keys()
    assert len({tuple(entry) for entry in populations.values()}) == 1


def test_a_link_within_the_page_leads_somewhere(default: str) -> None:
    there = set(re.findall(r' id="([^"]+)"', default))

    assert set(re.findall(r'href="#([^"]+)"', default)) <= there


def test_the_page_needs_no_internet_and_no_script(default: str) -> None:
    assert not re.search(r"<(script|link|iframe|object)|@import|url\(", default)
    assert set(re.findall(r'src="(\w+):', default)) == {"data"}
    assert "default-src 'none'" in default


def test_a_page_can_be_mailed() -> None:
    for name in PUBLISHED:
        assert len(_page(ROOT, run.published(ROOT, name))) < 3_000_000


def test_synthetic_runs_are_stamped_at_the_top_and_beside_the_scores(default: str) -> None:
    top, scores = default.split('id="scores"')

    assert "SYNTHETIC DATA" in top and "SYNTHETIC DATA" in scores
    assert "SYNTHETIC" not in _page(ROOT, run.published(ROOT, "mitdb_ds1_ds2"))


def test_so_are_runs_tested_on_patients_that_they_know() -> None:
    stamps = [
        block
        for block in compose(Files(ROOT, run.published(ROOT, "mitdb_intra_patient"))).blocks
        if isinstance(block, Paragraph) and block.kind == "stamp"
    ]
    own = run.published(ROOT, "mitdb_intra_patient").scores["split"]["note"]

    assert [block.text[0].shown for block in stamps] == [own]  # type: ignore[union-attr]
    assert own.startswith("INTRA-PATIENT")


def test_it_is_said_that_unknown_patients_may_stand_on_both_sides() -> None:
    said = words(_page(ROOT, run.published(ROOT, "cinc2017_efficientnet")))

    assert "Patients are unknown: recordings of one person may stand in training and test" in said
    assert "does not tell whose a recording is" in said


def test_a_patient_on_both_sides_is_found_in_the_split_itself(workspace: Path) -> None:
    assert "no patient of the test part stands in training" in words(
        _page(workspace, _last(workspace))
    )

    split = workspace / "data/split.csv"
    rows = split.read_text().splitlines()
    own = next(index for index, row in enumerate(rows) if row.endswith("test"))
    rows[own] = rows[own].removesuffix("test") + "train"
    split.write_text("\n".join(rows) + "\n")

    assert "these scores flatter" in words(_page(workspace, _last(workspace)))


def test_of_people_who_may_be_on_both_sides_it_is_not_said_that_they_are_not(
    workspace: Path,
) -> None:
    with (workspace / "data/split.csv").open(newline="") as stream:
        trained = {row["segment_id"] for row in csv.DictReader(stream) if row["subset"] == "train"}
    path = workspace / "data/waveforms/segments.csv"
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    next(row for row in rows if row["segment_id"] in trained)["patient_id"] = ""
    write_csv(path, list(rows[0]), [list(row.values()) for row in rows])
    said = words(_page(workspace, _last(workspace)))

    assert "no known patient of the test part stands in training" in said
    assert "whether those are of the same people is not known" in said


def test_a_report_that_names_one_s_own_patients_says_so_at_the_top(workspace: Path) -> None:
    own = _last(workspace)
    lock = copy.deepcopy(own.lock)
    for stage in lock.values():
        params: Any = stage.get("params", {}).get("params.yaml", {})
        if "dataset.name" in params:
            params["dataset.name"] = "wfdb_folder"
        elif "name" in params.get("dataset", {}):
            params["dataset"]["name"] = "wfdb_folder"
        if "datasets.synthetic" in params:
            params["datasets.wfdb_folder"] = params.pop("datasets.synthetic")
    top, _ = _page(workspace, replace(own, lock=lock)).split('id="scores"')

    assert "names their records and patients as the files do" in top


def test_of_an_experiment_the_lock_of_its_commit_is_among_the_files(tmp_path: Path) -> None:
    made = run.published(ROOT, "synthetic")
    (tmp_path / "store").symlink_to(ROOT / "store")
    shutil.copytree(
        ROOT / "stages", tmp_path / "stages", ignore=shutil.ignore_patterns("*.py", "sources")
    )
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics/test.json").write_text(json.dumps(made.metrics))
    shutil.copy(ROOT / "recipes/synthetic/dvc.lock", tmp_path)
    (tmp_path / ".gitignore").write_text("/store\n")
    commit_all(tmp_path)
    commit = git(tmp_path, "git", "rev-parse", "HEAD").strip()
    git(tmp_path, "git", "update-ref", "refs/exps/ab/" + "0" * 38 + "/mine", commit)
    (tmp_path / "dvc.lock").write_text("of another run\n")

    page = report(tmp_path, "mine")[0].read_text()

    def read(name: str) -> bytes:
        if name == f"{commit[:10]}:dvc.lock":
            return git(tmp_path, "git", "show", name).encode()
        assert name != "dvc.lock"
        return _read(ROOT, made.lock, name)

    assert f'data-kind="path" title="{commit[:10]}:dvc.lock"' in page
    assert problems(page, read) == []


def test_every_patient_has_a_row_with_what_was_right(workspace: Path) -> None:
    page = _page(workspace, _last(workspace))
    shown = re.findall(r'data-kind="among"[^>]*>(p\d+)<', page)
    rows = (workspace / "plots/test/predictions.csv").read_text().splitlines()[1:]

    assert shown == list(dict.fromkeys(row.split(",")[1] for row in rows))


def test_people_who_are_not_known_are_not_counted_as_none(workspace: Path) -> None:
    for name in ("data/filtered/records.csv", "data/waveforms/segments.csv"):
        with (workspace / name).open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        write_csv(
            workspace / name,
            list(rows[0]),
            [[value if key not in ("patient_id", "sex") else "" for key, value in row.items()]
             for row in rows],
        )  # fmt: skip
    scores = json.loads((workspace / "plots/test/scores.json").read_text())
    scores["counts"]["patients"] = None
    (workspace / "plots/test/scores.json").write_text(json.dumps(scores))
    said = words(_page(workspace, _last(workspace)))

    assert "recordings were read; whose they are is not known" in said
    assert "women" not in said and "known patients" not in said
    assert _problems(workspace, _last(workspace)) == []


def test_the_figures_are_those_of_the_run(workspace: Path) -> None:
    found = {
        each.name: each.content for each in figures(compose(Files(workspace, _last(workspace))))
    }

    assert found["plots/test/examples.png"] == (workspace / "plots/test/examples.png").read_bytes()
    assert "plots/test/calibration.png" not in found  # was not there


def test_what_a_published_run_does_not_have_is_said_and_how_to_get_it(tmp_path: Path) -> None:
    own = beat_run("made_up", 3.0, "ds1_ds2")
    keep(tmp_path, own)
    shutil.copytree(
        ROOT / "stages",
        tmp_path / "stages",
        ignore=shutil.ignore_patterns("*.py"),
        dirs_exist_ok=True,
    )
    said = words(_page(tmp_path, run.published(tmp_path, "made_up")))

    assert "The figure with examples is no part of the published run" in said
    assert "The answers of this run are not at hand: rebuild it." in said


def test_what_a_class_is_called_cannot_become_html(tmp_path: Path) -> None:
    folder = tmp_path / "recipes/synthetic"
    shutil.copytree(ROOT / "recipes/synthetic", folder)
    shutil.copy(ROOT / "recipes/synthetic.yaml", folder.parent)
    shutil.copytree(
        ROOT / "stages",
        tmp_path / "stages",
        ignore=shutil.ignore_patterns("*.py"),
        dirs_exist_ok=True,
    )
    scores = json.loads((folder / "scores.json").read_text())
    scores["classes"]['<b onclick="x">'] = copy.deepcopy(scores["classes"]["AF"])
    (folder / "scores.json").write_text(json.dumps(scores))

    own = run.published(tmp_path, "synthetic")
    page = _page(tmp_path, own)

    assert "<b onclick" not in page + card(compose(Files(tmp_path, own)), "synthetic")
    assert '<b onclick="x">' in words(page)


def test_an_experiments_name_is_one_word_to_a_shell() -> None:
    own = replace(run.published(ROOT, "synthetic"), name="a;$(id)")

    assert "dvc exp apply 'a;$(id)'\n" in card(compose(Files(ROOT, own)), "x")


def test_the_verb_writes_both_pages_and_the_figures_of_the_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)

    main(["report", "synthetic", "--output", str(tmp_path)])

    markdown = (tmp_path / "synthetic.md").read_text()
    linked = re.findall(r"!\[.*?\]\((.*?)\)", markdown)
    assert (tmp_path / "synthetic.html").read_text().startswith("<!doctype html>")
    assert len(linked) == 7 and all((tmp_path / path).is_file() for path in linked)
    assert "synthetic.html" in capsys.readouterr().out


def test_a_run_that_is_not_there_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="neither a recipe nor an experiment"):
        report(ROOT, "no_such_run", tmp_path / "reports")
    with pytest.raises(InputError, match="no run of it is published"):
        report(ROOT, "heartbeat_gru", tmp_path / "reports")

    assert not (tmp_path / "reports").exists()


def test_a_damaged_file_is_one_sentence(workspace: Path) -> None:
    (workspace / "plots/robustness/robustness.json").write_text("{")

    with pytest.raises(InputError, match=r"robustness\.json: not JSON"):
        _page(workspace, _last(workspace))


def test_the_markup_is_whole(default: str) -> None:
    assert sum(1 for _ in nodes(default)) > 500  # the reader fails where an element stays open
