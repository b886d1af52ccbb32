"""The command `retrace`: each verb maps its arguments to one library call.

Libraries are imported by the verb that needs them, so that the command answers at once.
"""

import argparse
import os
import sys
from pathlib import Path

from retrace.errors import InputError, reported


def main(arguments: list[str] | None = None) -> None:
    """Run one verb; bad input ends in one sentence and exit code 2."""
    parser = argparse.ArgumentParser(
        prog="retrace",
        description="ECG classification that anyone can reproduce. It supports decisions; "
        "it makes no diagnosis.",
    )
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")
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
    compare = verbs.add_parser("compare", help="scores, intervals and params of runs side by side")
    compare.add_argument(
        "runs",
        nargs="*",
        metavar="RUN",
        help="a recipe (its published run) or workspace (the last run); without any, all of them",
    )
    compare.add_argument(
        "--markdown", action="store_true", help="every published run, as the README's table"
    )
    compare.set_defaults(verb=lambda given: _compare(given.runs, given.markdown))
    publish = verbs.add_parser("publish", help="keep the last run in recipes/ and store/")
    publish.add_argument("name", help="the recipe it is a run of")
    publish.add_argument(
        "--without-model", action="store_true", help="its scores alone: store/ gets nothing"
    )
    publish.set_defaults(verb=lambda given: _publish(given.name, not given.without_model))
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


def _root() -> Path:
    """The repository: the working folder or the nearest one above it with a dvc.yaml."""
    for folder in (Path.cwd(), *Path.cwd().parents):
        if (folder / "dvc.yaml").is_file():
            return folder
    raise InputError(
        f"{Path.cwd()}: no dvc.yaml here or above; this verb works on the repository: "
        "change to its folder"
    )


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
    if not judgement.verified:
        raise SystemExit(1)


def _compare(runs: list[str], markdown: bool) -> None:
    from retrace.runs.compare import compare

    print(compare(_root(), runs, as_markdown=markdown))


def _publish(name: str, model: bool) -> None:
    from retrace.runs.publish import publish

    print("\n".join(publish(_root(), name, model=model)))


if __name__ == "__main__":
    main()
