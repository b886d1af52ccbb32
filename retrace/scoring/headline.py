"""What is said first of an evaluation: a few numbers, and how to read all of them."""

from typing import Any

from retrace.scoring.intervals import FEW
from retrace.scoring.scores import F1_OF_BEATS


def headline(tree: dict[str, Any]) -> dict[str, float]:
    """At most twelve flat numbers of an evaluation's tree: `dvc exp show` stays readable."""
    overall, counts = tree["overall"], tree["counts"]
    beats = tree.get("unit") == "beat"
    numbers: dict[str, float | None] = {
        "accuracy": overall["accuracy"]["value"],
        "f1_macro": overall["f1_macro"]["value"],
        "f1_macro_low": overall["f1_macro"]["low"],
        "f1_macro_high": overall["f1_macro"]["high"],
        **{name: _value(overall, name) for name in ("challenge_f1", *F1_OF_BEATS)},
        "auroc_macro": overall["auroc_macro"]["value"],
        "ece": overall["ece"]["value"],
        "ece_uncalibrated": None if beats else overall["ece_uncalibrated"]["value"],
        "f1_macro_majority": tree["baselines"]["majority"]["f1_macro"]["value"],
        "false_af_on_noise": _value(tree, "false_af_on_noise"),
        "n_beats": counts["answers"] if beats else None,
        "n_records": counts["records"],
        "n_patients": counts["patients"],
    }
    return {name: value for name, value in numbers.items() if value is not None}


def _value(tree: dict[str, Any], name: str) -> float | None:
    found: float | None = tree.get(name, {}).get("value")
    return found


def notes(tree: dict[str, Any]) -> list[str]:
    """What must be known to read the scores of an evaluation's tree."""
    boot, beats = tree["bootstrap"], tree.get("unit") == "beat"
    said = []
    if boot["groups"] < 2:
        whole = "beats" if beats else "records"
        said.append(f"All {whole} are one patient's: there is nothing to draw intervals from.")
    else:
        said.append(
            f"95 % intervals: percentile bootstrap over {boot['groups']} {boot['unit']}, "
            f"{boot['resamples']} resamples."
        )
    if boot["unit"] == "beats":
        said.append(
            "Beats of one heart are alike: drawn one by one, their intervals are too narrow."
        )
    if absent := [name for name, entry in tree["classes"].items() if not entry["support"]]:
        said.append(f"No example of {', '.join(absent)}: left out of every macro average.")
    few = [name for name, entry in tree["classes"].items() if 0 < entry["support"] < FEW]
    if few:
        said.append(f"Fewer than {FEW} examples of {', '.join(few)}: read k/n, not a percentage.")
    if "patient_oracle" in tree["baselines"]:
        said.append(
            "patient_oracle answers each patient's most frequent class, read from the test labels: "
            "a model that is not above it may only have recognised the patient."
        )
    if "f1_macro_nsv" in tree["overall"]:
        said.append(
            "These are scores of the beats that were cut. f1_macro_nsv and f1_macro_nsvf leave the "
            "other classes out of the mean, but not what was mistaken for them."
        )
    return said
