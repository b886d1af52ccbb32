"""The verb `retrace sweep`: search, then show what was found."""

import sys
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path

from retrace.errors import InputError
from retrace.learning.sweep.plan import Options, Plan, alone, claim, plan
from retrace.learning.sweep.search import Search


def sweep(
    root: Path,
    space: str,
    options: Options,
    *,
    concurrent: int | None,
    address: str | None,
    resume: bool,
    ready: Callable[[], None],
) -> None:
    """Run a sweep of `space`, a name of spaces/ or a path, and print its best trials.

    ready: raises InputError where the data are not those of params.yaml. Ctrl-C keeps what there
    is. Raises InputError with what is wrong before the first trial starts; what goes wrong in a
    trial ends that trial alone.
    """
    for name, package in (("ray", "Ray"), ("optuna", "Optuna"), ("hyperopt", "HyperOpt")):
        _require(name, package)
    if Path(space).is_file():
        space = str(Path(space).resolve())
    with chdir(root):  # trackers' folders are relative to it
        found = plan(root, space, options)
        ready()
        if concurrent is not None and concurrent < 1:
            raise InputError(f"--concurrent {concurrent}: expected 1 or more")
        try:
            with alone(found):
                claim(found, resume=resume)
                _run(found, concurrent, address)
        except KeyboardInterrupt:
            print(
                "broken off; what was trained is kept: the same command with --resume goes on",
                file=sys.stderr,
            )
            raise SystemExit(130) from None


def _require(name: str, package: str) -> None:
    from importlib.util import find_spec

    if find_spec(name) is None:
        raise InputError(
            f"retrace sweep: {package} is not installed, and a sweep needs it: "
            "pip install 'retrace[sweep]'"
        )


def _run(plan: Plan, concurrent: int | None, address: str | None) -> None:
    from retrace.learning.sweep.board import Board
    from retrace.learning.sweep.cells import winner
    from retrace.learning.sweep.domains import Range
    from retrace.learning.sweep.page import write
    from retrace.learning.sweep.summary import summary
    from retrace.learning.trackers import sweep_started

    search = Search(plan)
    with sweep_started(plan.name, plan.settings) as tracker:
        with Board() as board:
            search.run(concurrent, address, tracker.id, board.show, _say)
        domains = plan.space.domains.items()
        log = [key for key, each in domains if isinstance(each, Range) and each.log]
        write(plan.folder, search.sweep, log=log)
        if (first := winner(search.sweep)) and (best := first.best(plan.score)):
            values = {key: str(value) for key, value in first.values.items()}
            tracker.result({f"val_{plan.score}": best[1]}, values)
        for path in sorted(plan.folder.iterdir()):
            if path.suffix in (".png", ".csv", ".json", ".md"):
                tracker.artifact(path)
    print(summary(search.sweep))
    print(f"\nwritten: {plan.folder.relative_to(plan.root)}")
    for sentence in sorted(search.missed):
        print(f"warning: {sentence}", file=sys.stderr)
    if first is None:
        raise SystemExit(1)


def _say(line: str) -> None:
    print(line, flush=True)
