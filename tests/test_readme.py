"""The README tells the truth: its keys exist, its figures are those of the published run."""

import json
import re
from typing import Any

import pytest

from benchmarks.rr_baseline import NETWORK, TREES
from tests.sources import ROOT
from tests.test_params import COMMITTED

README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("key", sorted(set(re.findall(r"-S ([\w.]+)=", README))))
def test_a_key_of_the_readme_is_a_key_of_params(key: str) -> None:
    section = COMMITTED
    for part in key.split("."):
        assert part in section
        section = section[part]


def test_the_figures_of_the_readme_are_those_of_the_published_run() -> None:
    metrics = json.loads((ROOT / "recipes/synthetic/metrics.json").read_text())
    f1 = "{f1_macro:.3f} [{f1_macro_low:.3f}, {f1_macro_high:.3f}]".format(**metrics)

    for figure in (
        f"macro-F1 | {f1} |",
        f"accuracy | {metrics['accuracy']:.3f} |",
        f"macro-AUROC | {metrics['auroc_macro']:.3f} |",
        f"majority class | {metrics['f1_macro_majority']:.3f} |",
        f"{metrics['n_records']} records of {metrics['n_patients']} patients",
    ):
        assert figure in README, figure


CINC = ROOT / "recipes/cinc2017_efficientnet"


def _against_trees() -> dict[str, Any]:
    """What `benchmarks.rr_baseline` wrote of all test records, by score."""
    figures = json.loads((CINC / "rr_baseline.json").read_text())
    return {f["name"].split(" of ")[0]: f for f in figures if f["name"].endswith("test records")}


def _cell(value: float, interval: list[float], sign: str = "") -> str:
    return f"{value:{sign}.3f} [{interval[0]:{sign}.3f}, {interval[1]:{sign}.3f}]"


@pytest.mark.parametrize(
    ("score", "row"),
    [
        ("challenge_f1", "challenge F1"),
        ("f1_macro", "macro-F1"),
        *((f"f1 {name}", f"F1 {name}") for name in ("NSR", "AF", "Other", "Noise")),
    ],
)
def test_the_readme_holds_the_network_against_the_trees(score: str, row: str) -> None:
    figure = _against_trees()[score]
    spans, gain = figure["intervals"], figure["gain"]
    cells = (
        _cell(figure["ours"], spans[NETWORK]),
        _cell(figure["peers"][TREES], spans[TREES]),
        _cell(gain["value"], [gain["low"], gain["high"]], "+"),
    )

    assert f"| {row} | {' | '.join(cells)} |" in README


def test_the_published_network_on_cinc2017_is_above_the_trees() -> None:
    figure = _against_trees()["challenge_f1"]
    scores = json.loads((CINC / "scores.json").read_text())["overall"]

    assert figure["ours"] == scores["challenge_f1"]["value"]
    assert figure["ours"] > figure["peers"][TREES]


def test_files_that_the_readme_links_are_there() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
