"""The README tells the truth: its keys exist, its figures are those of the published run."""

import json
import re

import pytest

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


def test_files_that_the_readme_links_are_there() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
