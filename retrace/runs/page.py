"""The page of a published run: what it is, what it scored, and how to have it again."""

from collections.abc import Collection
from pathlib import Path

from retrace import sources
from retrace.runs import locks, recipes
from retrace.runs.run import Run
from retrace.runs.siblings import beside
from retrace.runs.words import duration, markdown
from retrace.scoring.beats import HEADLINE
from retrace.scoring.tables import (
    cell,
    ec57_headline,
    ec57_records,
    ec57_reports,
    ec57_subgroups,
    table,
)

# The two forms of a trained model.
CHECKPOINT, ONNX = "models/checkpoint", "models/model.onnx"


def readme(root: Path, name: str, run: Run, stored: Collection[str]) -> str:
    """The page in Markdown; every figure comes from a file beside it.

    stored: which of CHECKPOINT and ONNX the bundled store has.
    """
    source = sources.describe(run.dataset, root / "stages")
    parts = [
        f"# The published run `{name}`",
        "\n".join(recipes.about(root, name)),
        _data(source),
        "## Scores on the test part",
        *([f"**{run.scores['split']['note']}**"] if run.beats else []),
        markdown(table(run.scores)),
        "\n".join(f"- {note}" for note in run.scores["notes"]),
        *(_of_beats(root, run) if run.beats else []),
        "`scores.json` has all of them: by class, at thresholds, by sex and age. They support "
        "decisions; they are no diagnosis.",
        "![Confusion matrix](confusion.png)",
        "![Learning curves](curves.png)",
        *(_robustness(run) if run.robustness else []),
        "## Cost and machine",
        markdown(_cost(run)),
        "## Rebuild it",
        _shell(f"retrace recipe {name}", "dvc repro", f"retrace verify {name}"),
        "## Its trained model",
        *([_onnx(name, run)] if ONNX in stored else []),
        _checkpoint(name, run, CHECKPOINT in stored),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _data(source: sources.Source) -> str:
    if not source.url and not source.archives:
        return f"Data: {source.title}."
    where = f", <{source.url}>" if source.url else ""
    return f"Data: {source.title}{where}. Licence: {source.licence}.\n{source.citation}"


def _of_beats(root: Path, run: Run) -> list[str]:
    """EC57, and the scores of the same model on another split."""
    rows, reading = beside(root, run)
    parts = ["## The same model on another split", *([markdown(rows)] if rows else []), reading]
    if not (ec57 := run.scores["ec57"]):
        return parts
    return [
        *parts,
        "## By EC57",
        markdown(ec57_headline(run.scores)),
        "\n".join(f"- {note}" for note in ec57[HEADLINE]["notes"]),
        "All reports, gross: sensitivity (Se), PPV and false-positive rate (FPR), macro-F1. "
        "Convention `bxb` counts escape beats (e, j) as S, `papers` as N.",
        markdown(ec57_reports(run.scores)),
        *(
            ["By sex and age, in the first of these reports:", markdown(people)]
            if (people := ec57_subgroups(run.scores))
            else []
        ),
        "Each record: its beats, and its figures in the first of these reports.",
        markdown(ec57_records(run.scores)),
    ]


def _robustness(run: Run) -> list[str]:
    """What is left of the score under noise, and where the signal is not what it should be."""
    rows = run.robustness["rows"]
    more = ["f1_macro_nsv"] if "f1_macro_nsv" in rows[0] else []
    shown = [["condition", "SNR in dB", "f1_macro", "against clean", *more]]
    for row in rows:
        snr = "" if row["snr_db"] is None else str(row["snr_db"])
        scores = (cell(row[name]) for name in ("f1_macro", "difference", *more))
        shown.append([row["condition"], snr, *scores])
    notes = "\n".join(f"- {note}" for note in run.robustness["notes"])
    return ["## Robustness", markdown(shown), notes, "![Robustness](robustness.png)"]


def _cost(run: Run) -> list[list[str]]:
    cost = run.cost
    return [
        ["", ""],
        ["model", f"{run.model}, {run.parameters} parameters"],
        ["training", f"{duration(cost['training_seconds'])}, {cost['epochs']} epochs of "
                     f"{cost['train_segments']:,} segments"],
        ["prediction", f"{cost['prediction_ms_per_segment']:.1f} ms a segment, one at a time"],
        *([key, str(value)] for key, value in run.environment.items()),
    ]  # fmt: skip


def _onnx(name: str, run: Run) -> str:
    """The form that answers recordings."""
    commands = _shell(
        f"dvc pull recipes/{name}/model.onnx", f"retrace predict --model {name} RECORDING"
    )
    return (
        f"{commands}\n\n`model.onnx` ({locks.megabytes(run.lock, [ONNX]):.1f} MB) answers without "
        "PyTorch and DVC, and knows what it takes: `retrace list` shows it."
    )


def _checkpoint(name: str, run: Run, stored: bool) -> str:
    """The form that the pipeline goes on with."""
    sha256 = f"SHA-256 of `models/checkpoint/weights.safetensors`:\n`{run.cost['weights_sha256']}`"
    if not stored:
        size = locks.megabytes(run.lock, [CHECKPOINT])
        return (
            f"Its checkpoint ({size:.1f} MB) is not in the store of this repository: rebuild it, "
            f"or pull it from a remote to which your team pushed it. {sha256}"
        )
    commands = _shell(f"retrace recipe {name} --trained", "dvc repro", f"retrace verify {name}")
    return (
        f"{commands}\n\nWith its checkpoint `dvc repro` rebuilds the data and the scores, and need "
        "not train. `retrace recipe synthetic --trained && dvc pull` goes back to the default "
        f"run. {sha256}"
    )


def _shell(*commands: str) -> str:
    return "\n".join(["```sh", *commands, "```"])
