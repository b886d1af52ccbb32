"""Is a rebuilt run the published one? The same bytes, or the same result, or neither."""

import copy
from dataclasses import replace
from typing import Any

import pytest

from retrace.runs import run
from retrace.runs.disk import Found
from retrace.runs.locks import params_of
from retrace.runs.run import Run
from retrace.runs.verify import judge
from tests.sources import ROOT

PUBLISHED = run.published(ROOT, "synthetic")


def _with_outs(*paths: str) -> Run:
    """The published run with other bytes at these outs."""
    lock: Any = copy.deepcopy(PUBLISHED.lock)
    for stage in lock.values():
        for out in stage["outs"]:
            if out["path"] in paths:
                out["md5"] = "0" * 32
    return replace(PUBLISHED, lock=lock)


def _retrained(**metrics: float) -> Run:
    """As another machine trains it: other weights, other scores."""
    other = _with_outs("models/checkpoint", "plots/train", "metrics/test.json", "plots/test")
    return replace(other, metrics={**PUBLISHED.metrics, **metrics})


def _said(ours: Run, theirs: Run = PUBLISHED) -> tuple[bool, str]:
    judgement = judge(ours, theirs)
    return judgement.verified, "\n".join(judgement.lines)


def test_the_same_bytes_are_verified_with_a_line_for_each_stage() -> None:
    verified, said = _said(PUBLISHED)

    assert verified and said.endswith("every stage wrote the bytes of the published run synthetic")
    assert said.count("same") == len(PUBLISHED.lock)


def test_another_training_with_scores_inside_the_intervals_is_verified_and_said_to_be_another() -> (
    None
):
    low = PUBLISHED.scores["overall"]["f1_macro"]["low"]

    verified, said = _said(_retrained(f1_macro=low))

    assert verified and "verified within intervals" in said
    assert "different bytes: models/checkpoint, plots/train" in said
    assert "split" in said and f"{low:.3f}" in said


@pytest.mark.parametrize("score", ["f1_macro", "auroc_macro", "ece", "f1_macro_majority"])
def test_a_score_outside_its_interval_is_not_verified(score: str) -> None:
    entry = PUBLISHED.entry(score)
    assert entry is not None

    for value in (entry["low"] - 0.01, entry["high"] + 0.01):
        verified, said = _said(_retrained(**{score: value}))

        assert not verified and f"not verified: {score}: not within" in said
        assert said.count("OUTSIDE") == 1


def test_other_test_records_are_not_verified() -> None:
    verified, said = _said(_retrained(n_records=PUBLISHED.metrics["n_records"] + 1))

    assert not verified and "not verified: n_records" in said


def test_a_missing_score_is_not_verified() -> None:
    ours = _retrained()
    metrics = {name: value for name, value in ours.metrics.items() if name != "f1_macro"}

    assert not judge(replace(ours, metrics=metrics), PUBLISHED).verified


def test_a_score_that_lies_outside_its_own_interval_agrees_with_itself() -> None:
    scores: Any = copy.deepcopy(PUBLISHED.scores)
    scores["overall"]["ece"] |= {"low": 0.5, "high": 0.6}

    assert judge(_retrained(), replace(PUBLISHED, scores=scores)).verified


@pytest.mark.parametrize("path", ["data/raw", "data/scalograms", "data/split.csv"])
def test_other_bytes_from_a_data_stage_are_not_verified_whatever_the_scores(path: str) -> None:
    verified, said = _said(_with_outs(path, "models/checkpoint", "metrics/test.json"))

    assert not verified and f"different: {path}" in said


def test_another_param_is_not_verified_and_named() -> None:
    lock: Any = copy.deepcopy(_retrained().lock)
    lock["train"]["params"]["params.yaml"]["lr"] = 7

    verified, said = _said(replace(PUBLISHED, lock=lock))

    assert not verified and "param lr" in said


def test_changed_code_and_params_that_came_later_are_named_and_decide_nothing() -> None:
    lock: Any = copy.deepcopy(PUBLISHED.lock)
    lock["train"]["params"]["params.yaml"]["train"]["later"] = 1
    for dep in lock["cwt"]["deps"]:
        if dep["path"] in ("stages/cwt.py", "data/waveforms"):
            dep["md5"] = "0" * 32

    verified, said = _said(replace(PUBLISHED, lock=lock))

    assert verified
    assert "Changed since it was published: stages/cwt.py, param train.later" in said


def test_of_a_stage_that_did_not_run_nothing_can_be_told() -> None:
    lock = {stage: entry for stage, entry in PUBLISHED.lock.items() if stage != "cwt"}

    judgement = judge(replace(PUBLISHED, lock=lock), PUBLISHED)

    assert judgement.status == 2 and "cannot be told: cwt: not run" in judgement.lines[-1]


def test_a_stage_that_ran_with_other_code_has_not_run() -> None:
    found = {"cwt": Found(why=("stages/cwt.py changed since it ran",))}

    judgement = judge(PUBLISHED, PUBLISHED, found)

    assert judgement.status == 2
    assert "not run: stages/cwt.py changed since it ran" in judgement.lines[0]


@pytest.mark.parametrize(("stage", "path"), [("cwt", "data/scalograms"), ("later", "models/x")])
def test_what_was_changed_by_hand_is_not_verified_though_both_locks_agree(
    stage: str, path: str
) -> None:
    ours: Any = {**PUBLISHED.lock, "later": {"outs": [{"path": "models/x", "md5": "0" * 32}]}}
    found = {
        stage: Found(changed=(f"{path} (changed)",)),
        "train": Found(why=("data/split.csv changed",)),
    }

    judgement = judge(replace(PUBLISHED, lock=ours), PUBLISHED, found)

    assert judgement.status == 1 and f"not verified: {stage}: not what the" in judgement.lines[-1]
    assert f"different: {path} (changed)" in judgement.lines[0]


def test_a_param_that_is_not_the_recipes_is_named_with_every_stage_that_reads_it() -> None:
    judgement = judge(PUBLISHED, PUBLISHED, keys=["threads", "models.gru.hidden"])

    rows = [line.split(maxsplit=1) for line in judgement.lines[0].splitlines()]
    assert judgement.status == 1
    assert {row[0] for row in rows if row[1] == "different: param threads"} == {
        name for name, stage in PUBLISHED.lock.items() if "threads" in params_of(stage)
    }
    assert "read by no stage: models.gru.hidden" in "\n".join(judgement.lines)


def test_a_model_that_was_pulled_is_not_taken_for_a_rebuilt_one() -> None:
    _, said = _said(replace(PUBLISHED, cost={}, environment={}))

    assert "pulled, not trained here" in said
