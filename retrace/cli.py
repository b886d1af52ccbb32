"""The command `retrace`: each verb maps its arguments to one library call.

Libraries are imported by the verb that needs them, so that the command answers at once.
"""

import argparse
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
    publish = verbs.add_parser("publish", help="keep the last run in recipes/ and store/")
    publish.add_argument("name", help="the recipe it is a run of")
    publish.set_defaults(verb=lambda given: _publish(given.name))
    given = parser.parse_args(arguments)
    with reported(status=2):
        given.verb(given)


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
    from retrace.runs.summary import show

    show(_root())


def _pin(folder: Path) -> None:
    from retrace import sources
    from retrace.files import new_file

    manifest = _root() / "stages" / "sources" / "wfdb_folder.sha256"
    text = sources.pin(folder)
    with new_file(manifest) as part:
        part.write_text(text, encoding="utf-8")
    print(f"{manifest.name}: {len(text.splitlines())} files of {folder}")
    print(f"next: dvc exp run -S dataset.name=wfdb_folder -S fetch.folder={folder}")


def _publish(name: str) -> None:
    from retrace.runs.publish import publish

    print("\n".join(publish(_root(), name)))


if __name__ == "__main__":
    main()
