"""Whether a rebuilt run is the published one: the same bytes, or the same result."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from retrace.errors import InputError
from retrace.runs import locks, recipes, run
from retrace.runs.run import Run
from retrace.runs.words import columns


@dataclass(frozen=True)
class Judgement:
    """Whether the run is verified, and why, in words."""

    verified: bool
    lines: list[str]


@dataclass(frozen=True)
class _Score:
    """A headline number here, and the interval in which it has to lie."""

    name: str
    here: float | None
    published: float
    low: float
    high: float

    @property
    def agrees(self) -> bool:
        return self.here is not None and self.low <= self.here <= self.high


def verify(root: Path, name: str) -> Judgement:
    """Compare the workspace's run with the published one of a recipe.

    Raises InputError where there is no published run, or where the workspace is not a finished
    run of that recipe.
    """
    theirs = run.published(root, name)
    if keys := recipes.differing(root, name):
        some = ", ".join(keys[:5]) + (", ..." if len(keys) > 5 else "")
        raise InputError(
            f"params.yaml: {some}: not as in recipe {name}; only its own run can be verified: "
            f"run retrace recipe {name}, then dvc repro"
        )
    return judge(run.workspace(root), theirs)


def judge(ours: Run, theirs: Run) -> Judgement:
    """Stage by stage, and where training gave other bytes score by score.

    The data stages and all params must be equal. What training wrote, and what follows from it,
    may differ (PyTorch promises equal bits on one machine only), if each headline score lies in
    its published 95 % interval. Changed code is named and decides nothing.
    """
    verdicts = locks.compare(ours.lock, theirs.lock)
    trained = {stage for stage, entry in theirs.lock.items() if _trained(entry)}
    other = [verdict.stage for verdict in verdicts if verdict.state != "same"]
    # Other bytes from training are a question to the scores; everything else decides at once.
    doubtful = [v.stage for v in verdicts if v.stage in trained and v.outs and not v.params]
    scores = list(_scores(ours, theirs)) if doubtful else []
    outside = [score.name for score in scores if not score.agrees]
    verified = set(other) == set(doubtful) and not outside
    result = "other scores" if outside else "the same result within intervals"

    def words(verdict: locks.Verdict) -> str:
        if verdict.stage not in doubtful:
            return str(verdict)
        ending = f"; {result}" if "metrics/test.json" in verdict.outs else ""
        return f"different bytes: {', '.join(verdict.outs)}{ending}"

    lines = [columns([[verdict.stage, words(verdict)] for verdict in verdicts])]
    if changed := dict.fromkeys(item for verdict in verdicts for item in verdict.since):
        lines += ["", f"Changed since it was published: {', '.join(changed)}"]
    if scores:
        header = ["score", "here", "published", "95 % interval", ""]
        lines += ["", columns([header, *map(_row, scores)])]
        lines += ["", f"Trained on: {ours.machine}; published: {theirs.machine}"]
    if not ours.cost:
        lines += ["", "The model was pulled, not trained here: dvc repro --force rebuilds it all."]
    return Judgement(verified, [*lines, "", _sentence(theirs.name, other, doubtful, outside)])


def _trained(stage: locks.Lock) -> bool:
    """Whether a stage writes or reads what was trained."""
    return any("models/checkpoint" in locks.hashes(stage, kind) for kind in ("outs", "deps"))


def _scores(ours: Run, theirs: Run) -> Iterator[_Score]:
    for name, value in theirs.metrics.items():
        here = ours.metrics.get(name)
        entry = theirs.entry(name)
        if entry is not None and entry["low"] is not None:
            # A score that resampling shifts (ECE) may lie outside its own interval.
            low, high = min(entry["low"], value), max(entry["high"], value)
            yield _Score(name, here, value, low, high)
        elif not name.endswith(("_low", "_high")):  # a count, or a score with no interval
            yield _Score(name, here, value, value, value)


def _row(score: _Score) -> list[str]:
    if score.here is None:
        return [score.name, "-", f"{score.published:g}", "", "missing"]
    span = "" if score.low == score.high else f"{score.low:.3f} to {score.high:.3f}"
    inside = "inside" if span else "equal"
    outside = "OUTSIDE" if span else "DIFFERENT"
    return [
        score.name,
        f"{score.here:.4g}",
        f"{score.published:.4g}",
        span,
        inside if score.agrees else outside,
    ]


def _sentence(name: str, other: list[str], doubtful: list[str], outside: list[str]) -> str:
    if not other:
        return f"verified: every stage wrote the bytes of the published run {name}"
    if failed := [stage for stage in other if stage not in doubtful]:
        return (
            f"not verified: {', '.join(failed)}: not what was published for {name}; these bytes "
            "and params depend on no machine, so code, params or a data file have changed"
        )
    if outside:
        return f"not verified: {', '.join(outside)}: not within the published interval of {name}"
    return (
        f"verified within intervals: the data are those of {name}, byte for byte; "
        f"{', '.join(doubtful)} gave other bytes, as another processor or version of a library "
        "does, and every score lies in its published 95 % interval"
    )
