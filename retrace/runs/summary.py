"""The last page of a run: what it scored, where its plots are, and what it reproduced."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from retrace.errors import InputError
from retrace.runs import locks, recipes, run
from retrace.runs.run import WORKSPACE, Run
from retrace.runs.siblings import beside
from retrace.runs.words import columns
from retrace.scoring.beats import HEADLINE
from retrace.scoring.tables import ec57_headline, ec57_reports, ec57_subgroups, table


def summary(root: Path) -> str:
    """The summary of the workspace's run; InputError where there is none."""
    scores = root / "plots/test/scores.json"
    lock = root / "dvc.lock"
    if not scores.is_file() or not lock.is_file():
        raise InputError(
            "plots/test/scores.json: missing; a summary needs a finished run: run dvc repro, or "
            "dvc pull for the published one"
        )
    shown = run.json_if_there(scores)
    if not _of_last_run(root, shown):
        raise InputError(
            "plots/test/scores.json: of another run than metrics/test.json; a summary needs one "
            "finished run: run dvc repro, or dvc pull for the published one"
        )
    last = Run(WORKSPACE, locks.parse(lock.read_text(encoding="utf-8")), {}, shown, {}, {})
    parts = [
        "Test part\n" + columns(table(shown)),
        *(_of_beats(root, last) if last.beats else []),
        "plots/test/              confusion, ROC, PR, calibration, examples: PNG and CSV"
        "\nplots/test/scores.json   every score with its 95 % interval"
        "\nplots/train/             learning curves"
        "\nplots/robustness/        the score under noise, wrong sign, gain and lead"
        "\ndvc plots show           one page with all of them",
    ]
    reference = _reference(root)
    if reference is not None:
        verdicts = locks.compare(last.lock, reference[0])
        rows = [[verdict.stage, str(verdict)] for verdict in verdicts]
        parts.append(f"Against {reference[1]}\n" + columns(rows))
        if any(verdict.stage == "train" and verdict.state != "same" for verdict in verdicts):
            parts.append(
                "The data stages give the same bytes on every x86-64 machine; training does so on "
                "one machine with the same threads. Elsewhere its scores agree within their "
                "intervals:\nretrace verify NAME says whether they do."
            )
    return "\n\n".join(parts)


def _of_beats(root: Path, last: Run) -> list[str]:
    """How the split was made, EC57, and the scores of the same model on another split."""
    rows, reading = beside(root, last)
    parts = [last.scores["split"]["note"]]
    if ec57 := last.scores["ec57"]:
        parts += [
            columns(ec57_headline(last.scores)),
            "\n".join(ec57[HEADLINE]["notes"]),
            "Gross, of every report\n" + columns(ec57_reports(last.scores)),
        ]
        if people := ec57_subgroups(last.scores):
            parts.append("By sex and age, first report\n" + columns(people))
    return [*parts, "\n".join([*([columns(rows)] if rows else []), reading])]


def _of_last_run(root: Path, scores: Mapping[str, Any]) -> bool:
    """Whether the scores are those of which metrics/test.json is the headline."""
    headline, overall = run.json_if_there(root / "metrics/test.json"), scores["overall"]
    return all(overall[name]["value"] == headline.get(name) for name in ("accuracy", "f1_macro"))


def _reference(root: Path) -> tuple[locks.Lock, str] | None:
    """The published run of the recipe in params.yaml, else the last commit's."""
    for name in run.all_published(root):
        if name != recipes.DEFAULT and not recipes.differing(root, name):
            return run.published(root, name).lock, f"recipes/{name}/dvc.lock"
    return locks.committed(root)
