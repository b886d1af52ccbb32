"""What a user who chooses a recipe is told: which there are, what one needs, what comes next."""

import os
import re
from itertools import takewhile
from pathlib import Path

from retrace import params, sources
from retrace.runs import recipes, run
from retrace.runs.words import columns


def listing(root: Path) -> str:
    """Every recipe: whether a run of it is published, and what it is."""
    rows = [["recipe", "published run", "what it is"]]
    for name in recipes.names(root):
        paragraph = " ".join(takewhile(bool, recipes.about(root, name)))
        clause = re.split(r"[.:;](?: |$)", paragraph, maxsplit=1)[0]
        rows.append([name, _published(root, name), clause])
    return f"{columns(rows)}\n\nnext: retrace recipe NAME"


def steps(root: Path, name: str) -> str:
    """What the recipe in params.yaml needs, how long it took elsewhere, and what to run."""
    settings = params.load(root / "params.yaml")
    lines = [*recipes.about(root, name), "", f"params.yaml: recipe {name}"]
    lines.append(f"data: {_data(root, settings.dataset.name)}")
    if settings.model_options.get("pretrained"):
        lines.append("weights: ImageNet's; models.efficientnet.weights_sha256 pins them")
    if run.is_published(root, name):
        theirs = run.published(root, name)
        lines.append(f"training took {theirs.training} when the run was published")
        return "\n".join([*lines, f"next: dvc repro, then retrace verify {name}"])
    lines.append("no run of it is published: how long training takes is not known")
    return "\n".join([*lines, "next: dvc repro, then retrace summary"])


def _published(root: Path, name: str) -> str:
    if not run.is_published(root, name):
        return "none"
    return "macro-F1 {f1_macro:.3f}".format(**run.published(root, name).metrics)


def _data(root: Path, dataset: str) -> str:
    source = sources.describe(dataset, root / "stages")
    if not source.url and not source.archives:
        return source.title
    files = len(sources.read_sums(root / "stages" / "sources" / f"{dataset}.sha256"))
    # Not its value: an address may hold a password.
    where = (
        "the mirror that RETRACE_MIRROR names"
        if os.environ.get("RETRACE_MIRROR")
        else "their publisher, or a mirror named by RETRACE_MIRROR"
    )
    account = f"; {source.account}" if source.account else ""
    return f"{source.title}; {files:,} files from {where}{account}"
