"""Keeping a run in the repository: recipes/<name>/ for what it gave, store/ for its bytes."""

import shutil
from dataclasses import replace
from pathlib import Path

import yaml

from retrace.errors import InputError
from retrace.files import new_file, new_folder, read_csv, write_csv, write_json
from retrace.runs import answers, ledger, locks, models, recipes, run
from retrace.runs.answers import PREDICTIONS, RECORDS
from retrace.runs.commands import dvc
from retrace.runs.numbered import OWN, PAGE, Numbers
from retrace.runs.page import CHECKPOINT, ONNX, readme
from retrace.runs.pull import CURVES, TRAINED
from retrace.runs.run import METRICS, SCORES, Run
from retrace.runs.siblings import siblings

# Of the default run alone are the data pushed: no real recording ever enters the repository.
DEFAULT_RUN_MB = 14
MODEL_MB = 20  # each of its two forms, checkpoint and ONNX
STORE_MB = 64  # all runs together


def publish(root: Path, name: str, *, model: bool = True, checkpoint: bool = True) -> list[str]:
    """Copy the last run's lock, scores, cost and environment, count its answers record by record,
    and push its bytes to store/.

    model: whether its model is pushed, as ONNX and, if `checkpoint`, in the form that the pipeline
    goes on with; a form that is too large for the bundled store never is. Of the default run all
    is pushed. Of recordings of the user's own (data set wfdb_folder) patients and records are
    numbered in order of appearance, and no name is kept: it may be a hospital's number.
    A line of recipes/ledger.csv says that this test part was read. Of a run whose weights were
    pulled, cost and environment stay those of the training.
    Returns the lines to tell the user. Raises InputError when the workspace is not a finished
    run of that recipe, or when the bundled store would pass its limits.
    """
    if keys := recipes.differing(root, recipes.known(root, name)):
        raise InputError(
            f"params.yaml: {', '.join(keys[:5])}: not as in recipe {name}; only its own run is "
            f"published: run retrace recipe {name}, then dvc repro"
        )
    before = root / "recipes" / name
    last = run.workspace(root)
    made = run.made_in(root, run.weights(root), before)
    if made is None:
        raise InputError(
            "runs: none wrote the weights in models/checkpoint; a run is published where it was "
            "trained: run dvc repro --force train evaluate"
        )
    default = name == recipes.DEFAULT
    forms = [*([TRAINED] if model and checkpoint else []), *([[ONNX]] if model else [])]
    targets = _default_targets(root, last) if default else _targets(last, forms)
    _check_room(root, last, targets)
    if targets:
        dvc(root, "push", "--remote", "store", *targets)
    with new_folder(before) as folder:
        for source, kept in _files(root, made).items():
            shutil.copy(source, folder / kept)
        shutil.copytree(root / CURVES, folder / "train")
        counts = answers.count(read_csv(root / PREDICTIONS), read_csv(root / RECORDS))
        if last.dataset == OWN:
            numbers = Numbers()
            counts = numbers.rows(counts)
            last = replace(last, scores=numbers.scores(last.scores))
            write_json(folder / "scores.json", last.scores)
        write_csv(folder / answers.FILE, answers.COLUMNS, counts)
        if ONNX in targets:
            _keep_onnx(root, last, folder)
        _keep_others(before, folder, last)
        (folder / "README.md").write_text(_page(root, name, last), encoding="utf-8")
    beside = siblings(root, last) if last.beats else []
    for other in beside:  # their pages show this run next to their own
        renew(root, other)
    ledger.enter(root, name, last)
    size, whole = (locks.megabytes(last.lock, paths) for paths in (targets, [*TRAINED, ONNX]))
    return [
        f"recipes/{name}: lock, scores, cost and environment",
        f"store: {size:.1f} MB of this run"
        if targets
        else f"store: nothing of its {whole:.1f} MB; the page gives the SHA-256",
        *(f"recipes/{other.name}/README.md: shows this run beside its own" for other in beside),
        *_next(name, default),
    ]


def _default_targets(root: Path, last: Run) -> list[str]:
    """All that DVC keeps of the default run; what stands in Git (`cache: false`) is not pushed."""
    graph = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))
    every = [out for stage in graph["stages"].values() for out in stage.get("outs", [])]
    outs = [out for out in every if isinstance(out, str)]
    if (size := locks.megabytes(last.lock, outs)) > DEFAULT_RUN_MB:
        raise InputError(
            f"{', '.join(outs)}: {size:.1f} MB; at most {DEFAULT_RUN_MB} MB of the default run go "
            "into store/: make the model or the data smaller"
        )
    return outs


def _targets(last: Run, forms: list[list[str]]) -> list[str]:
    """The outputs of those forms of a model that the run has and that are not too large."""
    sizes = ((form, locks.megabytes(last.lock, form)) for form in forms)
    return [out for form, size in sizes if 0 < size <= MODEL_MB for out in form]


def _check_room(root: Path, last: Run, targets: list[str]) -> None:
    new = [path for path in targets if not _in_store(root, last, path)]
    there = sum(path.stat().st_size for path in (root / "store").rglob("*") if path.is_file()) / 1e6
    if new and (size := there + locks.megabytes(last.lock, new)) > STORE_MB:
        raise InputError(
            f"store: {size:.1f} MB with {', '.join(new)}; at most {STORE_MB} MB go into it: add "
            "--without-model, or take another model out"
        )


def _keep_onnx(root: Path, last: Run, folder: Path) -> None:
    """Write the model as ONNX, the pointer by which `dvc pull` brings it, and what it says of
    itself. DVC finds its bytes in the store: they are those of the stage's own output."""
    written = next(
        out for stage in last.lock.values() for out in stage["outs"] if out["path"] == ONNX
    )
    shutil.copy(root / ONNX, folder / models.FILE)
    pointer = {key: written[key] for key in ("md5", "size", "hash")} | {"path": models.FILE}
    text = yaml.safe_dump({"outs": [pointer]}, sort_keys=False)
    (folder / models.POINTER).write_text(text, encoding="utf-8")
    write_json(folder / models.CARD, models.card(root / ONNX))


def _keep_others(before: Path, folder: Path, last: Run) -> None:
    """Copy what others wrote of the same weights, such as a benchmark's figures."""
    known = run.json_if_there(before / "cost.json")
    if known.get("weights_sha256") != last.cost["weights_sha256"]:
        return
    ours = {"README.md", models.FILE, models.POINTER, models.CARD}
    for path in before.iterdir():
        if path.is_file() and path.name not in ours and not (folder / path.name).exists():
            shutil.copy(path, folder)


def renew(root: Path, other: Run) -> None:
    """Write the page of a published run once more."""
    with new_file(root / "recipes" / other.name / "README.md") as part:
        part.write_text(_page(root, other.name, other), encoding="utf-8")


def _page(root: Path, name: str, one: Run) -> str:
    stored = [out for out in (CHECKPOINT, ONNX) if _in_store(root, one, out)]
    page = readme(root, name, one, stored)
    return f"{page}\n{PAGE}\n" if one.dataset == OWN else page


def _in_store(root: Path, one: Run, path: str) -> bool:
    """Whether the bundled store has this output of the run."""
    md5 = locks.outs(one.lock).get(path, "")
    return bool(md5) and (root / "store/files/md5" / md5[:2] / md5[2:]).is_file()


def _next(name: str, default: bool) -> list[str]:
    if default:
        return [f"next: git add recipes store dvc.lock metrics && git commit -m 'Publish {name}'"]
    return [
        f"next: git add recipes store && git commit -m 'Publish {name}'",
        "back to the default run: retrace recipe synthetic --trained && dvc pull",
    ]


def _files(root: Path, made: Path) -> dict[Path, str]:
    """What a published run consists of beside its bytes, and under which name."""
    return {
        root / "dvc.lock": "dvc.lock",
        root / METRICS: "metrics.json",
        root / SCORES: "scores.json",
        root / "plots/test/confusion.png": "confusion.png",
        root / "plots/train/curves.png": "curves.png",
        root / "plots/robustness/robustness.json": "robustness.json",
        root / "plots/robustness/robustness.png": "robustness.png",
        made / "cost.json": "cost.json",
        made / "environment.json": "environment.json",
    }
