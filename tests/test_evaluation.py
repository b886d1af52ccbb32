"""The whole test part: what is written, and what its numbers mean."""

import json
from typing import Any

import numpy as np
import pytest
from sklearn import metrics

from retrace.errors import InputError
from retrace.scoring import evaluation
from retrace.scoring.calibration import ece, softmax
from retrace.scoring.subgroups import age_band
from retrace.scoring.tables import table

CLASSES = ("NSR", "AF", "Other", "Noise")


def part(n: int = 240, patients: int = 40, seed: int = 0) -> dict[str, Any]:
    """A plausible test part: virtual answers, right most of the time."""
    rng = np.random.default_rng(seed)
    y = rng.choice(4, size=n, p=[0.45, 0.25, 0.25, 0.05])
    logits = rng.normal(size=(n, 4))
    logits[np.arange(n), y] += 2
    who = rng.integers(0, patients, n)
    return {
        "record_ids": [f"r{row}" for row in range(n)],
        "patient_ids": [f"p{number}" for number in who],
        "ages": list(30.0 + who),
        "sexes": ["FM"[number % 2] for number in who],
        "y": y,
        "probabilities": softmax(logits, 0.8),
        "raw_probabilities": softmax(logits, 0.3),
        "classes": CLASSES,
        "thresholds": np.array([0.4, 0.3, 0.5, 0.2]),
        "resamples": 200,
        "seed": 7,
    }


def leaves(tree: Any) -> list[dict[str, Any]]:
    if isinstance(tree, dict):
        if "value" in tree:
            return [tree]
        return [leaf for branch in tree.values() for leaf in leaves(branch)]
    return []


def test_every_score_has_its_value_and_an_interval_and_is_json() -> None:
    found = evaluation.evaluate(**part())
    json.dumps([found.scores, found.headline], allow_nan=False)
    scores = leaves(found.scores)
    assert len(scores) > 40
    for leaf in scores:
        assert leaf["low"] <= leaf["high"]
    for name in ("accuracy", "f1_macro", "sensitivity_macro", "auroc_macro", "challenge_f1"):
        leaf = found.scores["overall"][name]
        assert leaf["low"] < leaf["value"] < leaf["high"]


def test_the_values_are_those_of_scikit_learn() -> None:
    given = part()
    y, p = given["y"], given["probabilities"]
    tree = evaluation.evaluate(**given).scores
    report = metrics.classification_report(
        y, p.argmax(1), labels=range(4), target_names=CLASSES, output_dict=True
    )
    for c, name in enumerate(CLASSES):
        entry = tree["classes"][name]
        assert entry["sensitivity"]["value"] == pytest.approx(report[name]["recall"], abs=1e-6)
        assert entry["ppv"]["value"] == pytest.approx(report[name]["precision"], abs=1e-6)
        assert entry["f1"]["value"] == pytest.approx(report[name]["f1-score"], abs=1e-6)
        assert entry["support"] == report[name]["support"]
        area = metrics.roc_auc_score(y == c, p[:, c])
        assert entry["auroc"]["value"] == pytest.approx(area, abs=1e-6)
        alarm, alone = p[:, c] >= given["thresholds"][c], tree["at_thresholds"][name]
        recall = metrics.recall_score(y == c, alarm)
        assert alone["sensitivity"]["value"] == pytest.approx(recall, abs=1e-6)
        assert alone["ppv"]["value"] == pytest.approx(metrics.precision_score(y == c, alarm), 1e-5)
    overall = tree["overall"]
    assert overall["ece"]["value"] == pytest.approx(ece(p, y), abs=1e-6)
    raw = ece(given["raw_probabilities"], y)
    assert overall["ece_uncalibrated"]["value"] == pytest.approx(raw, abs=1e-6)
    f1 = metrics.f1_score(y, p.argmax(1), average="macro")
    assert overall["f1_macro"]["value"] == pytest.approx(f1, abs=1e-6)


def test_the_headline_is_short_and_flat() -> None:
    headline = evaluation.evaluate(**part()).headline
    assert len(headline) <= 12
    assert all(isinstance(value, int | float) for value in headline.values())
    assert headline["f1_macro_low"] < headline["f1_macro"] < headline["f1_macro_high"]
    assert headline["f1_macro"] > headline["f1_macro_majority"]
    assert (headline["n_records"], headline["n_patients"]) == (240, 40)


def test_the_same_seed_gives_the_same_bytes() -> None:
    once, again = (json.dumps(evaluation.evaluate(**part()).scores) for _ in range(2))
    assert once == again
    assert json.dumps(evaluation.evaluate(**part() | {"seed": 8}).scores) != once


def test_a_model_that_only_knows_the_patient_gains_nothing_over_the_oracle() -> None:
    """Answers that are each patient's usual class: right in 5 of 6, and worth nothing."""
    y = np.array([0, 0, 0, 0, 0, 1] * 5 + [1, 1, 1, 1, 1, 0] * 5)
    patients = [f"p{row // 6}" for row in range(60)]
    usual = np.eye(4)[np.repeat([0, 1], 30)]
    given = part(60) | {"y": y, "patient_ids": patients, "probabilities": usual}
    tree = evaluation.evaluate(**given).scores
    oracle = tree["baselines"]["patient_oracle"]
    assert oracle["accuracy"]["value"] == pytest.approx(5 / 6, abs=1e-6)
    assert oracle["f1_macro_gain"] == {"value": 0, "low": 0, "high": 0}
    assert tree["baselines"]["majority"]["f1_macro_gain"]["low"] > 0.2
    assert any("recognised the patient" in note for note in tree["notes"])


def test_patients_of_one_record_have_no_oracle() -> None:
    given = part(60)
    alone = given | {"patient_ids": given["record_ids"]}
    assert "patient_oracle" not in evaluation.evaluate(**alone).scores["baselines"]


def test_unknown_patients_leave_records_as_the_unit() -> None:
    found = evaluation.evaluate(**part() | {"patient_ids": [None] * 240})
    assert found.scores["bootstrap"]["unit"] == "records"
    assert found.scores["bootstrap"]["groups"] == 240
    assert found.scores["counts"]["patients"] is None
    assert "n_patients" not in found.headline
    assert "patients are unknown" in found.scores["subgroups"]["sex"]["note"]


def test_some_unknown_patients_are_not_mistaken_for_known_ones() -> None:
    given = part(4) | {"y": np.array([0, 1, 2, 3]), "record_ids": ["p1", "x", "y", "z"]}
    found = evaluation.evaluate(**given | {"patient_ids": [None, "p1", "p1", None]}).scores
    assert found["bootstrap"]["groups"] == 3
    assert found["bootstrap"]["unit"].startswith("patients, and records")
    assert "patient_oracle" not in found["baselines"]


def test_a_single_patient_has_scores_without_intervals() -> None:
    found = evaluation.evaluate(**part() | {"patient_ids": ["p"] * 240})
    assert found.scores["overall"]["f1_macro"]["low"] is None
    assert "f1_macro_low" not in found.headline
    assert "one patient's" in found.scores["notes"][0]
    json.dumps(found.scores, allow_nan=False)


def test_false_af_alarms_on_noise_are_counted() -> None:
    y = np.array([3] * 5 + [0, 1, 2] * 5)
    p = np.eye(4)[[1, 1, 3, 3, 0] + [0, 1, 2] * 5]
    leaf = evaluation.evaluate(**part(20) | {"y": y, "probabilities": p}).scores[
        "false_af_on_noise"
    ]
    assert (leaf["k"], leaf["n"], leaf["value"]) == (2, 5, 0.4)
    # Two in five says little: the exact interval is .05 to .85.
    assert leaf["low"] < 0.06
    assert leaf["high"] > 0.84


def test_few_examples_are_shown_as_a_count() -> None:
    tree = evaluation.evaluate(**part()).scores
    few = tree["classes"]["Noise"]
    assert few["support"] < 20
    assert few["sensitivity"]["n"] == few["support"]
    assert "n" not in tree["classes"]["NSR"]["sensitivity"]
    rows = {row[0]: row for row in table(tree)}
    leaf = few["sensitivity"]
    assert rows["Noise sensitivity"][1] == f"{leaf['k']}/{leaf['n']}"
    assert any("Fewer than 20 examples of Noise" in note for note in tree["notes"])


def test_few_answers_are_shown_as_a_count_with_the_exact_interval() -> None:
    classes = ("NSR", "Noise")
    y = np.repeat([0, 1], [87, 13])
    p = np.eye(2)[y] * 0.8 + 0.1
    given = part(100) | {"y": y, "probabilities": p, "raw_probabilities": p}

    tree = evaluation.evaluate(**given | {"classes": classes, "thresholds": [0.5, 0.5]}).scores

    # 13 right of 13 answers is not certainty: 0.753 is the exact bound.
    ppv = tree["classes"]["Noise"]["ppv"]
    assert (ppv["k"], ppv["n"], round(ppv["low"], 3)) == (13, 13, 0.753)


def test_an_absent_class_is_named_and_left_out() -> None:
    given = part()
    keep = np.flatnonzero(given["y"] != 2)
    y, p = given["y"][keep], given["probabilities"][keep]
    found = evaluation.evaluate(**part(len(keep)) | {"y": y, "probabilities": p})
    assert found.scores["classes"]["Other"]["sensitivity"]["value"] is None
    f1 = metrics.f1_score(y, p.argmax(1), labels=[0, 1, 3], average="macro")
    assert found.headline["f1_macro"] == pytest.approx(f1, abs=1e-6)
    assert any("No example of Other" in note for note in found.scores["notes"])
    json.dumps(found.scores, allow_nan=False)


def test_classes_of_beats_have_neither_challenge_score_nor_noise() -> None:
    found = evaluation.evaluate(**part() | {"classes": ("N", "S", "V", "F")})
    assert "challenge_f1" not in found.headline
    assert "false_af_on_noise" not in found.scores


def beats(n: int = 2000, patients: int = 10, seed: int = 3) -> dict[str, Any]:
    """Beats of a few patients with two recordings each, most of them N."""
    rng = np.random.default_rng(seed)
    y = rng.choice(5, size=n, p=[0.8, 0.08, 0.08, 0.03, 0.01])
    logits = rng.normal(size=(n, 5))
    logits[np.arange(n), y] += 2
    record = rng.integers(0, 2 * patients, n)
    changes = {
        "record_ids": [f"r{number}" for number in record],
        "patient_ids": [f"p{number // 2}" for number in record],
        "y": y,
        "probabilities": softmax(logits, 0.8),
        "raw_probabilities": softmax(logits, 0.3),
        "classes": tuple("NSVFQ"),
        "thresholds": np.full(5, 0.5),
        "unit": "beat",
    }
    return part(n) | changes


def test_beats_are_counted_as_beats_and_drawn_by_patient() -> None:
    found = evaluation.evaluate(**beats())
    json.dumps([found.scores, found.headline], allow_nan=False)
    assert found.scores["unit"] == "beat"
    assert (
        found.scores["bootstrap"] | {"unit": "patients", "groups": 10} == found.scores["bootstrap"]
    )
    assert len(found.headline) <= 12
    counts = {name: found.headline[name] for name in ("n_beats", "n_records", "n_patients")}
    assert counts == {"n_beats": 2000, "n_records": 20, "n_patients": 10}
    women = found.scores["subgroups"]["sex"]["groups"]["F"]
    assert women["beats"] == beats()["sexes"].count("F")
    rows = {row[0]: row[1] for row in table(found.scores)}
    assert (rows["beats"], rows["records"], rows["patients"]) == ("2000", "20", "10")


def test_beats_have_the_means_of_f1_and_of_sensitivity_that_are_published() -> None:
    given = beats()
    y, predicted = given["y"], given["probabilities"].argmax(1)
    overall = evaluation.evaluate(**given).scores["overall"]
    for name, classes in (("f1_macro_nsv", [0, 1, 2]), ("f1_macro_nsvf", [0, 1, 2, 3])):
        expected = metrics.f1_score(y, predicted, labels=classes, average="macro")
        assert overall[name]["value"] == pytest.approx(expected, abs=1e-6)
        assert overall[name]["low"] < expected < overall[name]["high"]
    recalls = metrics.recall_score(y, predicted, average=None)
    minority = 0.3 * recalls[0] + 0.7 * recalls[1:].mean()
    assert overall["sensitivity_minority"]["value"] == pytest.approx(minority, abs=1e-6)


def test_beats_without_recordings_and_patients_stand_for_themselves() -> None:
    alone = {"record_ids": [f"b{n}" for n in range(2000)], "patient_ids": [None] * 2000}
    found = evaluation.evaluate(**beats() | alone)
    assert found.scores["bootstrap"] == {
        "unit": "beats",
        "groups": 2000,
        "resamples": 200,
        "level": 0.95,
    }
    assert "intervals are too narrow" in found.scores["notes"][1]
    assert found.scores["counts"]["records"] is None
    assert not {"n_records", "n_patients"} & set(found.headline)


def test_records_say_nothing_of_beats() -> None:
    """What was published of records stays as it was, byte for byte."""
    found = evaluation.evaluate(**part())
    assert "unit" not in found.scores and "n_beats" not in found.headline
    assert "f1_macro_nsv" not in found.scores["overall"]
    assert "sensitivity_minority" not in found.scores["overall"]


def test_equal_answers_are_no_better_than_the_majority() -> None:
    p = np.tile([0.7, 0.1, 0.1, 0.1], (240, 1))
    found = evaluation.evaluate(**part() | {"probabilities": p})
    assert found.headline["auroc_macro"] == 0.5
    assert found.headline["f1_macro"] == found.headline["f1_macro_majority"]
    assert found.scores["classes"]["AF"]["ppv"]["value"] is None


def test_subgroups_count_their_patients_and_withhold_a_verdict() -> None:
    given = part()
    given["sexes"] = ["F" if age < 35 else "M" for age in given["ages"]]
    given["ages"][0] = None
    tree = evaluation.evaluate(**given).scores["subgroups"]
    women, rows = tree["sex"]["groups"]["F"], np.array(given["sexes"]) == "F"
    assert women["patients"] == 5
    assert women["records"] == rows.sum()
    hits = given["probabilities"].argmax(1) == given["y"]
    assert women["accuracy"]["value"] == pytest.approx(hits[rows].mean(), abs=1e-6)
    assert tree["sex"]["note"] == "No fairness verdict: fewer than 10 patients in F (5)."
    assert tree["age"]["unknown_records"] == 1
    assert tree["age"]["note"].startswith("Compare the intervals")


def test_an_attribute_that_nobody_states_is_left_out() -> None:
    tree = evaluation.evaluate(**part() | {"sexes": [None] * 240}).scores["subgroups"]
    assert set(tree) == {"age"}


@pytest.mark.parametrize(
    ("age", "band"),
    [(39.9, "under 40"), (40, "40 to 59"), (79, "60 to 79"), (80, "80 and over"), (None, None)],
)
def test_age_bands_meet_without_a_gap(age: float | None, band: str | None) -> None:
    assert age_band(age) == band


def test_the_table_shows_intervals_and_baselines() -> None:
    tree = json.loads(json.dumps(evaluation.evaluate(**part()).scores))
    rows = table(tree)
    assert rows[0] == ["score", "value", "95 % interval", "majority", "patient_oracle"]
    assert {len(row) for row in rows} == {5}
    leaf = tree["overall"]["f1_macro"]
    majority = tree["baselines"]["majority"]["f1_macro"]["value"]
    (f1,) = (row for row in rows if row[0] == "f1_macro")
    assert f1[1:4] == [
        f"{leaf['value']:.3f}",
        f"{leaf['low']:.3f} to {leaf['high']:.3f}",
        f"{majority:.3f}",
    ]


def test_lists_of_different_lengths_are_refused() -> None:
    with pytest.raises(InputError, match=r"240 labels, but \[240, 240, 3, 240\]"):
        evaluation.evaluate(**part() | {"ages": [50.0] * 3})
    with pytest.raises(InputError, match=r"thresholds of shape \(2,\) for 4 classes"):
        evaluation.evaluate(**part() | {"thresholds": [0.5, 0.5]})
    with pytest.raises(InputError, match="960 of 960 values are NaN"):
        evaluation.evaluate(**part() | {"probabilities": np.full((240, 4), np.nan)})
