"""Runs side by side: the figures of each, what differs, and when they cannot be compared."""

import copy
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from retrace.errors import InputError
from retrace.runs import run
from retrace.runs.compare import compare, page
from retrace.runs.run import Run
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


def _row(text: str, start: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(start))


def test_a_row_holds_a_score_and_its_interval_for_each_run() -> None:
    scores: Any = copy.deepcopy(PUBLISHED.scores)
    scores["overall"]["f1_macro"] = {"value": 0.5, "low": 0.4, "high": 0.6}
    own = PUBLISHED.scores["overall"]["f1_macro"]

    row = _row(page([PUBLISHED, replace(PUBLISHED, scores=scores)]), "f1_macro  ")

    assert row.split("  ")[-1] == "0.500 (0.400 to 0.600)"
    assert "{value:.3f} ({low:.3f} to {high:.3f})".format(**own) in row


def test_the_data_the_model_its_size_and_its_cost_are_shown() -> None:
    said = page([PUBLISHED])

    assert _row(said, "model").endswith(PUBLISHED.model)
    assert f"{PUBLISHED.cost['parameters']:,}" in _row(said, "parameters")
    assert PUBLISHED.machine in _row(said, "training")
    assert str(PUBLISHED.metrics["n_records"]) in _row(said, "test records")


def test_what_is_not_known_of_a_pulled_run_is_said_so() -> None:
    assert "unknown" in _row(page([replace(PUBLISHED, cost={})]), "training")


def test_only_params_that_differ_are_listed() -> None:
    said = page([PUBLISHED, _other({"lr": 0.5, "later": {"knob": 1}})])

    table = said.split("params that differ")[1].splitlines()
    assert [line.split() for line in table[1:3]] == [
        ["later.knob", "-", "1"],
        ["lr", str(PUBLISHED.params["lr"]), "0.5"],
    ]
    assert "seed" not in said


def test_runs_on_the_same_test_part_carry_no_warning() -> None:
    said = page([PUBLISHED, _other({"lr": 0.5}, cwt="0" * 32)])

    assert "WARNING" not in said and "Same test part" in said


@pytest.mark.parametrize("stage", ["fetch", "split"])
def test_other_recordings_or_another_split_are_not_comparable(stage: str) -> None:
    said = page([PUBLISHED, _other({}, **{stage: "0" * 32})])

    assert "WARNING: not the same test part: synthetic | other" in said


def test_a_run_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/mine.yaml").touch()

    with pytest.raises(InputError, match="recipe 'x': unknown; there are mine"):
        compare(tmp_path, ["x"])
    with pytest.raises(InputError, match="recipe mine: no run of it is published"):
        compare(tmp_path, ["mine"])


def test_the_readme_has_the_table_of_all_published_runs() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = re.search(r"<!-- compare -->\n(.*?)\n<!-- /compare -->", text, re.DOTALL)

    assert table is not None
    assert table[1].strip() == compare(ROOT, [], as_markdown=True)
