"""The verbs of the command `retrace` that train or ask a checkpoint: arguments, and their calls."""

import argparse
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from retrace.errors import InputError

Verbs: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_evaluate(verbs: Verbs, repository: Callable[[], Path]) -> None:
    """Add `retrace evaluate`. repository: finds its folder."""
    evaluate = verbs.add_parser(
        "evaluate",
        help="score any checkpoint on any part of the data in the workspace",
        description="Score a checkpoint on a part of the data that the stages made, with "
        "intervals. Nothing of the last run is changed.",
    )
    evaluate.add_argument(
        "checkpoint",
        nargs="?",
        type=Path,
        default=Path("models/checkpoint"),
        metavar="CHECKPOINT",
        help="a folder with config.json and weights.safetensors (models/checkpoint)",
    )
    evaluate.add_argument(
        "--subset", choices=("train", "val", "test"), default="val", help="of data/split.csv (val)"
    )
    evaluate.add_argument(
        "--output", type=Path, metavar="FOLDER", help="also write scores.json and predictions.csv"
    )
    evaluate.set_defaults(verb=lambda given: _evaluate(given, repository()))


def _evaluate(given: argparse.Namespace, root: Path) -> None:
    from retrace import params
    from retrace.learning.evaluate import MEANT, STAMPED, evaluate
    from retrace.runs.built import require_data
    from retrace.runs.provenance import doubt
    from retrace.runs.words import columns
    from retrace.scoring.tables import ec57_headline, table

    folder = given.checkpoint if given.checkpoint.is_dir() else root / given.checkpoint
    require_data(root)
    settings = params.load(root / "params.yaml")
    with _claimed(given.output) as output:
        scored = evaluate(root / "data", settings, folder, given.subset)
        if output:
            scored.write(output)
    stamped = STAMPED if scored.scores.get("split", {}).get("stamp") else ""
    notes = [MEANT[given.subset], doubt(root, folder), stamped]
    tables = [table(scored.scores), ec57_headline(scored.scores)]
    print("\n\n".join([*map(columns, filter(None, tables)), "\n".join(filter(None, notes))]))


@contextmanager
def _claimed(output: Path | None) -> Iterator[Path | None]:
    """Make the folder before minutes of work, and take it back if they come to nothing."""
    try:
        if output:
            output.mkdir(parents=True)
    except OSError as error:
        raise InputError(
            f"{output}: cannot be made ({error.strerror}); results need a new folder: name another"
        ) from None
    try:
        yield output
    except BaseException:
        if output:
            shutil.rmtree(output)
        raise


def add_sweep(verbs: Verbs, repository: Callable[[], Path]) -> None:
    """Add `retrace sweep`. repository: finds its folder."""
    sweep = verbs.add_parser(
        "sweep",
        help="search for better params: many trials, of which bad ones are stopped early",
        description="Train many choices of params on the data that the stages made, judge them by "
        "the validation part, and stop bad ones early (ASHA, by Ray Tune). It ends with tables and "
        "figures in runs/sweeps/NAME and the line that repeats the winner: dvc exp run -S ...",
    )
    sweep.add_argument("space", metavar="SPACE", help="a file of spaces/ by its name, or a path")
    budget = sweep.add_argument_group("how much")
    budget.add_argument("--samples", type=int, default=150, metavar="N", help="trials (150)")
    budget.add_argument(
        "--max-epochs", type=int, default=30, metavar="N", help="epochs of a trial at most (30)"
    )
    budget.add_argument(
        "--grace", type=int, metavar="N", help="epochs before it may be stopped (3, or all)"
    )
    budget.add_argument(
        "--reduction",
        type=float,
        default=3,
        metavar="R",
        help="after so many epochs, R times, R * R times so many, ... one of R trials goes on (3)",
    )
    machine = sweep.add_argument_group("where")
    machine.add_argument(
        "--concurrent",
        type=int,
        metavar="N",
        help="trials at once, never more (what there is room for)",
    )
    machine.add_argument("--cpus", type=int, default=1, metavar="N", help="CPUs of a trial (1)")
    machine.add_argument(
        "--gpus", type=float, default=0, metavar="G", help="GPUs of a trial; 0.5: two share one (0)"
    )
    machine.add_argument(
        "--address",
        metavar="HOST:PORT",
        help="join the Ray cluster whose head is there (auto: the one of this machine)",
    )
    search = sweep.add_argument_group("how")
    search.add_argument(
        "--searcher",
        choices=("optuna", "hyperopt", "random"),
        default="optuna",
        help="what proposes trials (optuna)",
    )
    search.add_argument(
        "--score", metavar="NAME", help="of the validation part, higher is better (train.score)"
    )
    search.add_argument("--seed", type=int, metavar="N", help="of the searcher (params.yaml's)")
    search.add_argument("--name", help="its folder below runs/sweeps (the space's)")
    search.add_argument(
        "--resume", action="store_true", help="go on with a sweep that was broken off"
    )
    sweep.set_defaults(verb=lambda given: _sweep(given, repository()))


def _sweep(given: argparse.Namespace, root: Path) -> None:
    from retrace.learning.sweep.command import sweep
    from retrace.learning.sweep.plan import Options
    from retrace.runs.built import require_data

    options = Options(
        samples=given.samples,
        max_epochs=given.max_epochs,
        searcher=given.searcher,
        grace=min(3, given.max_epochs) if given.grace is None else given.grace,
        reduction=given.reduction,
        cpus=given.cpus,
        gpus=given.gpus,
        name=given.name,
        score=given.score,
        seed=given.seed,
    )
    sweep(
        root,
        given.space,
        options,
        concurrent=given.concurrent,
        address=given.address,
        resume=given.resume,
        ready=lambda: require_data(root),
    )
