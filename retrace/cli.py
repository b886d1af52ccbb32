"""The command `retrace`: each verb maps its arguments to one library call.

Libraries are imported by the verb that needs them, so that the command answers at once.
"""

import argparse
import os
import sys
from pathlib import Path

from retrace import cli_training as training
from retrace.errors import InputError, reported
from retrace.service import verbs as service


def main(arguments: list[str] | None = None) -> None:
    """Run one verb; bad input ends in one sentence and exit code 2."""
    parser = argparse.ArgumentParser(
        prog="retrace",
        description="ECG classification that anyone can reproduce. It supports decisions; "
        "it makes no diagnosis.",
    )
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")
    _add_predict(verbs)
    listing = verbs.add_parser("list", help="the published models that predict can use")
    listing.set_defaults(verb=lambda _: _list())
    summary = verbs.add_parser(
        "summary", help="the last run's scores, its plots, and which stages equal dvc.lock"
    )
    summary.set_defaults(verb=lambda _: _summary())
    pin = verbs.add_parser("pin", help="write the SHA-256 manifest of your own recordings")
    pin.add_argument("folder", type=Path, help="a folder of WFDB records with a labels.csv")
    pin.set_defaults(verb=lambda given: _pin(given.folder))
    recipe = verbs.add_parser(
        "recipe", help="write a known experiment into params.yaml; without a name, list them"
    )
    recipe.add_argument("name", nargs="?", help="a file of recipes/")
    recipe.add_argument("--force", action="store_true", help="replace unsaved edits")
    recipe.add_argument(
        "--trained", action="store_true", help="bring its published model: only data are rebuilt"
    )
    recipe.set_defaults(verb=lambda given: _recipe(given.name, given.force, given.trained))
    verify = verbs.add_parser(
        "verify",
        help="whether the last run is the published one, stage by stage",
        description="Exit code 0: verified; 1: not verified; 2: cannot be told.",
    )
    verify.add_argument("name", help="the recipe it is a run of")
    verify.set_defaults(verb=lambda given: _verify(given.name))
    _add_compare(verbs)
    report = verbs.add_parser(
        "report", help="a run as a page for people: data, scores, limits, how to have it again"
    )
    report.add_argument(
        "run",
        nargs="?",
        default="workspace",
        metavar="RUN",
        help="a recipe (its published run), an experiment of DVC, or workspace (the last run), "
        "which it is without one",
    )
    report.add_argument(
        "--output", type=Path, metavar="FOLDER", help="where to write it, instead of runs/reports"
    )
    report.set_defaults(verb=lambda given: _report(given.run, given.output))
    publish = verbs.add_parser("publish", help="keep the last run in recipes/ and store/")
    publish.add_argument("name", help="the recipe it is a run of")
    publish.add_argument(
        "--without-model", action="store_true", help="its scores alone: store/ gets nothing"
    )
    publish.add_argument(
        "--without-checkpoint", action="store_true", help="the model as ONNX alone"
    )
    publish.set_defaults(
        verb=lambda given: _publish(
            given.name, not given.without_model, not given.without_checkpoint
        )
    )
    training.add_evaluate(verbs, _root)
    training.add_sweep(verbs, _root)
    service.add_serve(verbs, _root)
    service.add_feed(verbs, _root)
    given = parser.parse_args(arguments)
    try:
        with reported(status=2):
            given.verb(given)
            sys.stdout.flush()
    except KeyboardInterrupt:
        print("broken off; what was not finished is as it was", file=sys.stderr)
        raise SystemExit(130) from None  # as shells count it
    except BrokenPipeError:  # `retrace ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _add_predict(verbs: training.Verbs) -> None:
    predict = verbs.add_parser(
        "predict",
        help="what a model says of recordings: each beat or window, then a summary",
        description="Answer recordings with a model: each beat or window, then a summary. It "
        "supports decisions; it makes no diagnosis.",
        epilog="Exit code 0: every recording was answered; 2: one could not be, and its sentence "
        "says why.",
    )
    predict.add_argument(
        "paths",
        nargs="+",
        type=Path,
        metavar="PATH",
        help="a WFDB record (NAME, NAME.hea or NAME.dat), .edf, .csv or .npy file, or a folder",
    )
    predict.add_argument(
        "--model",
        metavar="NAME|FILE.onnx",
        help="a published model (retrace list shows them) or a file; without it models/model.onnx "
        "of the repository",
    )
    signal = predict.add_argument_group("the recording")
    signal.add_argument(
        "--fs", type=float, metavar="HZ", help="sampling rate, where the file has none (.npy, .csv)"
    )
    signal.add_argument(
        "--lead", metavar="NAME", help="take this lead for the model's (several: joined by a comma)"
    )
    signal.add_argument(
        "--detect",
        action="store_true",
        help="find the beats even where the recording has annotated ones",
    )
    limits = predict.add_argument_group(
        "limits", "Both are probabilities from 0 to 1 and have no default: the clinic sets them."
    )
    limits.add_argument(
        "--threshold",
        type=float,
        metavar="P",
        help="flag what is abnormal with at least this probability: 1 - P(N), 1 - P(NSR) or "
        "1 - P(normal)",
    )
    limits.add_argument(
        "--reject",
        type=float,
        metavar="P",
        help="call uncertain, and count apart, what the model says with less than this probability",
    )
    output = predict.add_argument_group("the answer")
    output.add_argument(
        "--format",
        choices=("text", "json", "csv", "wfdb"),
        default="text",
        help="text (the default); json, one line for each recording; csv; or wfdb, annotation "
        "files NAME.retrace that WFDB viewers open",
    )
    output.add_argument(
        "--output",
        type=Path,
        metavar="PATH",
        help="a file instead of stdout; for wfdb a folder instead of the working folder",
    )
    output.add_argument(
        "--plot",
        type=Path,
        metavar="FILE.png",
        help="draw the strip around what is flagged, else the beginning, with its scalogram",
    )
    predict.set_defaults(verb=_predict)


def _add_compare(verbs: training.Verbs) -> None:
    compare = verbs.add_parser(
        "compare",
        help="scores, intervals and params of runs side by side, and which is better",
        description="Scores of runs with their intervals, and each run in pairs against the best "
        "of its test part.",
    )
    compare.add_argument(
        "runs",
        nargs="*",
        metavar="RUN",
        help="a recipe (its published run), an experiment of DVC, a Git revision, or workspace "
        "(the last run); without any, all of them",
    )
    compare.add_argument(
        "--format",
        choices=("text", "csv", "md", "json", "html"),
        default="text",
        help="text (the default); csv and json have every score; html is a page that can be sorted",
    )
    compare.add_argument(
        "--sort", default="", metavar="SCORE", help="the best first within each test part: f1_macro"
    )
    compare.add_argument(
        "--published", action="store_true", help="neither the workspace nor experiments"
    )
    compare.set_defaults(verb=_compare)


def _root(instead: str = "") -> Path:
    """The repository: the working folder or the nearest one above it with a dvc.yaml.

    instead: what else the user may do where there is none.
    """
    for folder in (Path.cwd(), *Path.cwd().parents):
        if (folder / "dvc.yaml").is_file():
            return folder
    raise InputError(
        f"{Path.cwd()}: no dvc.yaml here or above; this verb works on the repository: "
        f"change to its folder{instead}"
    )


def _predict(given: argparse.Namespace) -> None:
    from retrace.deploy.command import predict
    from retrace.deploy.judged import Limits

    answered = predict(
        given.paths,
        _model(given.model),
        limits=Limits(given.threshold, given.reject),
        fs=given.fs,
        lead=given.lead,
        detect=given.detect,
        form=given.format,
        output=given.output,
        plot=given.plot,
    )
    if not answered:
        raise SystemExit(2)


def _model(name: str | None) -> Path:
    """A file by its path, which needs no repository; else the model that it has of that name."""
    if name is not None and (name.endswith(".onnx") or Path(name).is_file()):
        return Path(name)
    from retrace.runs import models

    return models.find(_root(", or name a file: --model FILE.onnx"), name)


def _list() -> None:
    from retrace.runs import models

    print(models.listing(_root()))


def _summary() -> None:
    from retrace.runs.summary import summary

    print(summary(_root()))


def _pin(folder: Path) -> None:
    from retrace import sources
    from retrace.files import new_file

    manifest = _root() / "stages" / "sources" / "wfdb_folder.sha256"
    text = sources.pin(folder)
    with new_file(manifest) as part:
        part.write_text(text, encoding="utf-8")
    print(f"{manifest.name}: {len(text.splitlines())} files of {folder}")
    print(f"next: dvc exp run -S dataset.name=wfdb_folder -S fetch.folder={folder}")


def _recipe(name: str | None, force: bool, trained: bool) -> None:
    from retrace.runs import advice, recipes
    from retrace.runs.pull import pull

    if name is None:
        print(advice.listing(_root()))
        return
    if not trained:
        recipes.apply(_root(), name, force=force)
        print(advice.steps(_root(), name))
        return
    changed = pull(_root(), name, force=force)
    print(advice.steps(_root(), name))
    if changed:
        print(f"dvc repro will train again: {', '.join(changed)} changed since it was published")
    else:
        print("models/checkpoint: the published model; dvc repro makes data and scores alone")


def _verify(name: str) -> None:
    from retrace.runs.verify import verify

    judgement = verify(_root(), name)
    print("\n".join(judgement.lines))
    if judgement.status:
        raise SystemExit(judgement.status)


def _compare(given: argparse.Namespace) -> None:
    from retrace.runs.compare import compare

    form = "terminal" if given.format == "text" and sys.stdout.isatty() else given.format
    print(compare(_root(), given.runs, form=form, sort=given.sort, published=given.published))


def _report(name: str, folder: Path | None) -> None:
    from retrace.runs.report.command import report

    page, card = report(_root(), name, folder)
    print(f"{page}: open it in a browser; it needs nothing else\n{card}: the same as Markdown")


def _publish(name: str, model: bool, checkpoint: bool) -> None:
    from retrace.runs.publish import publish

    print("\n".join(publish(_root(), name, model=model, checkpoint=checkpoint)))


if __name__ == "__main__":
    main()
