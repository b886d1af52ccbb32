"""Runs side by side: the figures of each, what differs, and when they cannot be compared."""

import copy
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from retrace import cli
from retrace.errors import InputError
from retrace.files import write_csv
from retrace.runs import answers, forms, ledger, run
from retrace.runs.compare import compare
from retrace.runs.comparison import Comparison, letters, sort
from retrace.runs.run import Run
from tests.published import CLASSES, beat_run, keep
from tests.sources import ROOT

PUBLISHED = run.published(ROOT, "synthetic")


def _other(params: dict[str, Any], **hashes: str) -> Run:
    """A run named `other`, with other params of train and other hashes of outs."""
    lock: Any = copy.deepcopy(PUBLISHED.lock)
    for stage in ("train", "export"):
        lock[stage]["params"]["params.yaml"] |= params
    for stage, md5 in hashes.items():
        lock[stage]["outs"][0]["md5"] = md5
    return replace(PUBLISHED, name="other", lock=lock)


def _scored(name: str, value: float | None, **hashes: str) -> Run:
    """A run that has this macro-F1, or none, and this calibration error."""
    scores: Any = copy.deepcopy(PUBLISHED.scores)
    scores["overall"]["f1_macro"] = {"value": value, "low": None, "high": None}
    scores["overall"]["ece"] = {"value": value, "low": None, "high": None}
    return replace(_other({}, **hashes), name=name, scores=scores)


def _page(runs: Sequence[Run]) -> str:
    return forms.write(Comparison(runs, letters(runs), [], [], []), "text", few=True)


def _row(text: str, start: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(start))


def test_a_row_holds_a_score_and_its_interval_for_each_run() -> None:
    scores: Any = copy.deepcopy(PUBLISHED.scores)
    scores["overall"]["f1_macro"] = {"value": 0.5, "low": 0.4, "high": 0.6}
    own = PUBLISHED.scores["overall"]["f1_macro"]

    row = _row(_page([PUBLISHED, replace(PUBLISHED, scores=scores)]), "f1_macro  ")

    assert row.split("  ")[-1] == "0.500 (0.400 to 0.600)"
    assert "{value:.3f} ({low:.3f} to {high:.3f})".format(**own) in row


def test_the_data_the_model_its_size_and_its_cost_are_shown() -> None:
    said = _page([PUBLISHED])

    assert _row(said, "model").endswith(PUBLISHED.model)
    assert f"{PUBLISHED.cost['parameters']:,}" in _row(said, "parameters")
    assert PUBLISHED.machine in _row(said, "training")
    assert str(PUBLISHED.metrics["n_records"]) in _row(said, "test records")


def test_what_is_not_known_of_a_pulled_run_is_said_so() -> None:
    assert "unknown" in _row(_page([replace(PUBLISHED, cost={})]), "training")


def test_only_params_that_differ_are_listed() -> None:
    said = _page([PUBLISHED, _other({"lr": 0.5, "later": {"knob": 1}})])

    table = said.split("params that differ")[1].splitlines()
    assert [line.split() for line in table[1:3]] == [
        ["later.knob", "-", "1"],
        ["lr", str(PUBLISHED.params["lr"]), "0.5"],
    ]
    assert "seed" not in said


def test_runs_on_the_same_test_part_carry_no_warning() -> None:
    said = _page([PUBLISHED, _other({"lr": 0.5}, cwt="0" * 32)])

    assert "WARNING" not in said and "Same test part" in said


@pytest.mark.parametrize("stage", ["fetch", "split"])
def test_other_recordings_or_another_split_are_not_comparable(stage: str) -> None:
    said = _page([PUBLISHED, _other({}, **{stage: "0" * 32})])

    assert "WARNING: not the same test part: synthetic | other" in said
    assert sorted(_row(said, "test part").split()[2:]) == ["A", "B"]


def test_sorted_by_a_score_the_best_of_each_test_part_comes_first() -> None:
    here = [_scored(name, value) for name, value in (("c", None), ("a", 0.2), ("b", 0.9))]
    there = _scored("z", 0.95, split="0" * 32)

    by_f1, by_error = (
        [one.name for one in sort([*here, there], name)] for name in ("f1_macro", "ece")
    )

    assert by_f1 in (["b", "a", "c", "z"], ["z", "b", "a", "c"])  # parts apart
    assert [name for name in by_error if name != "z"] == ["a", "b", "c"]  # least is best


def test_a_run_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/mine.yaml").touch()

    with pytest.raises(InputError, match="run 'x': unknown; there are mine, workspace"):
        compare(tmp_path, ["x"])
    with pytest.raises(InputError, match="recipe mine: no run of it is published"):
        compare(tmp_path, ["mine"])


# Two made-up models on the 8 patients of one test part, and a third whose answers were not kept.
BETTER, WORSE, SILENT = "better", "worse", "silent"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, right in {BETTER: 90, WORSE: 60, SILENT: 80}.items():
        keep(tmp_path, replace(beat_run(name, 4.0, "ds1_ds2"), name=name))
        if name != SILENT:
            rows = [
                row
                for patient in range(8)
                for row in (
                    (patient, patient, "N", "N", right + patient),
                    (patient, patient, "N", "V", 110 - right - patient),
                    (patient, patient, "V", "V", 10),
                )
            ]
            write_csv(tmp_path / "recipes" / name / answers.FILE, answers.COLUMNS, rows)
    return tmp_path


def test_runs_of_one_test_part_are_held_against_the_best_of_it(root: Path) -> None:
    said = compare(root, published=True)

    assert "better is better than worse by 0." in said and "] in f1_macro, p = 0.008" in said
    assert "Not paired: silent: published without answers.csv" in said
    assert "In pairs: all runs answer for the same draws of whole patients (10,000" in said
    assert "The best run was found on the very test part that judges it" in said


def test_it_is_said_how_many_models_have_read_the_test_part(root: Path) -> None:
    for name in ("first", "second", "second"):
        made = beat_run(name, 4.0, "ds1_ds2")
        ledger.enter(root, name, replace(made, cost={**made.cost, "weights_sha256": name}))

    said = compare(root, published=True)

    assert "which up to 2 published models have read: on new patients expect less" in said


def test_the_pairs_are_in_the_score_by_which_runs_are_sorted_where_that_can_be(root: Path) -> None:
    assert "] in accuracy, p" in compare(root, [WORSE, BETTER], sort="accuracy")

    said = compare(root, [WORSE, BETTER], sort="auroc_macro")

    assert "] in f1_macro, p" in said and "auroc_macro does not follow from counted" in said


def test_a_score_that_no_run_has_is_a_sentence_that_lists_those_there_are(root: Path) -> None:
    with pytest.raises(InputError, match=r"--sort f2: no run has this score; there are accuracy, "):
        compare(root, sort="f2", published=True)


def test_answers_of_a_class_that_the_run_does_not_have_leave_it_unpaired(root: Path) -> None:
    row = ("0", "0", "N", "W", "3")
    write_csv(root / "recipes" / WORSE / answers.FILE, answers.COLUMNS, [row])

    said = compare(root, [BETTER, WORSE])

    assert "Not paired: worse: answers.csv: record 0: N, W, 3; two of the classes" in said
    assert all(name in said for name in CLASSES)


def test_the_readme_has_the_table_of_all_published_runs() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = re.search(r"<!-- compare -->\n(.*?)\n<!-- /compare -->", text, re.DOTALL)

    said = compare(ROOT, form="md", published=True)

    assert table is not None
    assert table[1].strip() == said.split("\n\n")[0]


def test_the_command_says_what_it_takes(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "dvc.yaml").touch()
    monkeypatch.chdir(root)

    cli.main(["compare", "--published", "--format", "csv", "--sort", "accuracy"])

    assert len(capsys.readouterr().out.splitlines()) == 4
