"""The page of a published run: what it is, what it scored, and how to have it again."""

from pathlib import Path

from retrace import sources
from retrace.runs import recipes
from retrace.runs.run import Run
from retrace.runs.words import duration, markdown
from retrace.scoring.evaluation import table


def readme(root: Path, name: str, run: Run, too_large: float | None) -> str:
    """The page in Markdown; every figure comes from a file beside it.

    too_large: MB of a model that the bundled store does not take; None where it is in there.
    """
    source = sources.describe(run.dataset, root / "stages")
    parts = [
        f"# The published run `{name}`",
        "\n".join(recipes.about(root, name)),
        _data(source),
        "## Scores on the test part",
        markdown(table(dict(run.scores))),
        "\n".join(f"- {note}" for note in run.scores["notes"]),
        "`scores.json` has all of them: by class, at thresholds, by sex and age. They support "
        "decisions; they are no diagnosis.",
        "![Confusion matrix](confusion.png)",
        "![Learning curves](curves.png)",
        "## Cost and machine",
        markdown(_cost(run)),
        "## Rebuild it",
        _shell(f"retrace recipe {name}", "dvc repro", f"retrace verify {name}"),
        "## Its trained model",
        _model(name, run, too_large),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _data(source: sources.Source) -> str:
    if not source.url and not source.archives:
        return f"Data: {source.title}."
    where = f", <{source.url}>" if source.url else ""
    return f"Data: {source.title}{where}. Licence: {source.licence}.\n{source.citation}"


def _cost(run: Run) -> list[list[str]]:
    cost = run.cost
    return [
        ["", ""],
        ["model", f"{run.model}, {cost['parameters']:,} parameters"],
        ["training", f"{duration(cost['training_seconds'])}, {cost['epochs']} epochs of "
                     f"{cost['train_segments']:,} segments"],
        ["prediction", f"{cost['prediction_ms_per_segment']:.1f} ms a segment, one at a time"],
        *([key, str(value)] for key, value in run.environment.items()),
    ]  # fmt: skip


def _model(name: str, run: Run, too_large: float | None) -> str:
    sha256 = f"SHA-256 of `models/checkpoint/weights.safetensors`:\n`{run.cost['weights_sha256']}`"
    if too_large is not None:
        return (
            f"With {too_large:.0f} MB it is too large for the store in this repository: rebuild "
            f"it, or pull it from a remote to which your team pushed it. {sha256}"
        )
    return (
        _shell(f"retrace recipe {name} --trained", "dvc repro", f"retrace verify {name}")
        + "\n\nWith it `dvc repro` rebuilds the data and the scores, and need not train. "
        + "`retrace recipe synthetic --trained && dvc pull` goes back to the default run. "
        + sha256
    )


def _shell(*commands: str) -> str:
    return "\n".join(["```sh", *commands, "```"])
