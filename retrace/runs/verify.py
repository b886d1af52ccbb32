"""Whether a rebuilt run is the published one: the same bytes, or the same result."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from retrace.runs import commands, disk, locks, recipes, run
from retrace.runs.contradictions import contradictions
from retrace.runs.disk import Found
from retrace.runs.locks import Verdict
from retrace.runs.run import METRICS, SCORES, WORKSPACE, Run
from retrace.runs.words import columns, some

# Other bytes that another machine may well give: the scores decide.
DOUBTFUL = "different bytes"


@dataclass(frozen=True)
class Judgement:
    """status: 0 where the run is verified, 1 where it is not, 2 where that cannot be told; lines:
    why, in words."""

    status: int
    lines: list[str]

    @property
    def verified(self) -> bool:
        return self.status == 0


@dataclass(frozen=True)
class _Stage:
    """A stage of the published run as it is here.

    state: "same", "different", DOUBTFUL or "not run". what: the outs and params that differ, or
    why it counts as not run. by_hand: whether an out is not what the stage itself wrote.
    """

    name: str
    state: str
    what: tuple[str, ...] = ()
    by_hand: bool = False

    def words(self, outside: bool) -> str:
        said = f"{self.state}: {', '.join(self.what)}" if self.what else self.state
        if self.state == DOUBTFUL and METRICS in self.what:
            said += "; other scores" if outside else "; the same result within intervals"
        return said


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
    """Compare the workspace, every byte and param of it, with the published run of a recipe.

    Raises InputError where there is no published run, no run here, or DVC is at work.
    """
    theirs = run.published(root, name)
    commands.require_rest(root)
    lock = run.read_lock(root)
    found = disk.found(root, lock, recipes.present(root))
    metrics, scores = {}, {}
    if not any(stage.changed for stage in found.values()):
        metrics, scores = (run.json_if_there(root / path) for path in (METRICS, SCORES))
    ours = Run(WORKSPACE, lock, metrics, scores, *run.training(root, run.weights(root)))
    if scores:
        found |= {name: Found((said,)) for name, said in contradictions(root, ours, theirs)}
    return judge(ours, theirs, found, recipes.differing(root, name))


def judge(
    ours: Run, theirs: Run, found: Mapping[str, Found] | None = None, keys: Collection[str] = ()
) -> Judgement:
    """Stage by stage, and where training gave other bytes score by score.

    The data stages and all params must be equal, and what a stage wrote must still be there as it
    wrote it. What training wrote, and what follows from it, may differ (PyTorch promises equal
    bits on one machine only), if each headline score lies in its published 95 % interval. Changed
    code is named and decides nothing. found: our stages on disk; keys: the params that are not as
    in the recipe.
    """
    found = found or {}
    verdicts = locks.compare(ours.lock, theirs.lock)
    stages = [
        _stage(verdict, theirs.lock[verdict.stage], found.get(verdict.stage, Found()), keys)
        for verdict in verdicts
    ]
    # Later than the published run: there is nothing to compare with but what they wrote themselves.
    stages += [
        _Stage(name, "different", each.changed, by_hand=True)
        for name, each in found.items()
        if name not in theirs.lock and each.changed
    ]
    doubtful = [stage for stage in stages if stage.state == DOUBTFUL]
    scores = list(_scores(ours, theirs)) if doubtful and ours.metrics else []
    outside = [score.name for score in scores if not score.agrees]
    lines = [columns([[stage.name, stage.words(bool(outside))] for stage in stages])]
    lines += _notes(verdicts, theirs.lock, keys)
    if scores:
        header = ["score", "here", "published", "95 % interval", ""]
        lines += ["", columns([header, *map(_row, scores)])]
        lines += ["", f"Trained on: {ours.machine}; published: {theirs.machine}"]
    status, sentence = _sentence(theirs.name, stages, outside)
    if not ours.cost and status == 0:
        lines += ["", "The model was pulled, not trained here: dvc repro --force rebuilds it all."]
    return Judgement(status, [*lines, "", sentence])


def _stage(verdict: Verdict, there: locks.Lock, here: Found, keys: Collection[str]) -> _Stage:
    """What our lock, our disk and our params.yaml together say of a stage."""
    name, read = verdict.stage, locks.params_of(there)
    other = [f"param {key}" for key in keys if key in read]
    if here.changed or other:
        return _Stage(name, "different", (*here.changed, *other), by_hand=bool(here.changed))
    if here.why or verdict.state == "not run":
        return _Stage(name, "not run", here.why)
    if verdict.outs and not verdict.params and _trained(there):
        return _Stage(name, DOUBTFUL, verdict.outs)
    return _Stage(name, verdict.state, verdict.what)


def _trained(stage: locks.Lock) -> bool:
    """Whether a stage writes or reads what was trained."""
    return any("models/checkpoint" in locks.hashes(stage, kind) for kind in ("outs", "deps"))


def _notes(verdicts: Sequence[Verdict], lock: locks.Lock, keys: Collection[str]) -> Iterator[str]:
    """What differs and decides nothing."""
    if changed := dict.fromkeys(item for verdict in verdicts for item in verdict.since):
        yield from ("", f"Changed since it was published: {some(list(changed))}")
    read = {key for stage in lock.values() for key in locks.params_of(stage)}
    if unread := [key for key in keys if key not in read]:
        yield from ("", f"Not as in the recipe, and read by no stage: {some(unread)}")


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


def _sentence(name: str, stages: Sequence[_Stage], outside: Sequence[str]) -> tuple[int, str]:
    """The exit code, and the verdict with its remedy."""

    def named(*states: str) -> str:
        return ", ".join(stage.name for stage in stages if stage.state in states)

    if touched := ", ".join(stage.name for stage in stages if stage.by_hand):
        return 1, (
            f"not verified: {touched}: not what the stage wrote; something has changed it since: "
            "remove that, then run dvc repro, which makes it again"
        )
    if failed := named("different"):
        return 1, (
            f"not verified: {failed}: not what was published for {name}; these bytes and params "
            "depend on no machine, so code, params or a data file have changed: run retrace "
            f"recipe {name}, then dvc repro"
        )
    if outside:
        return 1, f"not verified: {', '.join(outside)}: not within the published interval of {name}"
    if missing := named("not run"):
        return 2, (
            f"cannot be told: {missing}: not run with the present code, params and data: run dvc "
            "repro"
        )
    if doubtful := named(DOUBTFUL):
        return 0, (
            f"verified within intervals: the data are those of {name}, byte for byte; {doubtful} "
            "gave other bytes, as another processor or version of a library does, and every score "
            "lies in its published 95 % interval"
        )
    return 0, f"verified: every stage wrote the bytes of the published run {name}"
