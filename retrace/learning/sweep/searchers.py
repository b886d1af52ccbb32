"""What proposes trials: Optuna, HyperOpt or chance, as Ray Tune asks for them."""

import math
from collections import deque
from typing import Any

import optuna
from ray.tune.search import Searcher

from retrace.learning.sweep.domains import Choice, Domain, Draw, Steps
from retrace.learning.sweep.journal import ENDED, Journal
from retrace.learning.sweep.results import Trial
from retrace.learning.sweep.spaces import Point, Space

SEARCHERS = ("optuna", "hyperopt", "random")
SCORE = "score"  # what a trial reports of itself, higher is better


class Proposals(Searcher):
    """Numbers the trials and writes them down; those of a sweep that was broken off come first.

    A trial is {"number": n, "values": by dotted key, "known": how many of its epochs are known}.
    """

    def __init__(self, name: str, space: Space, journal: Journal, score: str, seed: int) -> None:
        super().__init__(metric=SCORE, mode="max")
        self._space, self._journal = space, journal
        ended = {t.number: _worth(t, score) for t in journal.trials if t.state in ENDED}
        self._waiting = deque(t.number for t in journal.trials if t.state not in ENDED)
        order = [*ended, *self._waiting]
        points = [journal.points[number] for number in order]
        make = _hyperopt if name == "hyperopt" else _optuna
        self._searcher = make(name, space, points, list(ended.values()), seed)

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        point: Point = self._searcher.suggest(trial_id) or {}
        if self._waiting:
            number = self._waiting.popleft()
        else:
            number = len(self._journal.points) + 1
            self._journal.proposed(number, point, self._space.values(point))
        trial = self._journal.trial(number)
        values = {**self._space.fixed, **trial.values}
        return {"number": number, "values": values, "known": len(trial.rows)}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        self._searcher.on_trial_complete(trial_id, result, error)

    def save(self, checkpoint_path: str) -> None:
        """The journal has it all."""

    def restore(self, checkpoint_path: str) -> None:
        """Likewise."""


def _worth(trial: Trial, score: str) -> float:
    """What a searcher is told of a trial: nothing is worse than one that failed."""
    best = trial.best(score)
    return 0.0 if trial.state == "failed" or best is None else best[1]


def _optuna(
    name: str, space: Space, points: list[Point], worths: list[float], seed: int
) -> Searcher:
    """worths: of the first points, whose trials have ended; the others are proposed first."""
    from ray.tune.search.optuna import OptunaSearch

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.InMemoryStorage()
    # A seed that differs on going on, lest the points be proposed again that were proposed first.
    seed += len(points)
    samplers = optuna.samplers
    sampler: optuna.samplers.BaseSampler
    sampler = samplers.RandomSampler(seed) if name == "random" else samplers.TPESampler(seed=seed)
    study = optuna.create_study(storage=storage, study_name="sweep", direction="maximize")
    for point, worth in zip(points, worths, strict=False):
        known = {key: _distribution(each) for key, each in space.domains.items() if key in point}
        study.add_trial(optuna.create_trial(params=point, distributions=known, value=worth))
    for point in points[len(worths) :]:
        study.enqueue_trial(point)

    def draw(trial: Any) -> None:
        space.drawn(lambda key, each: _suggested(trial, key, each))

    return OptunaSearch(
        draw, metric=SCORE, mode="max", sampler=sampler, storage=storage, study_name="sweep"
    )


def _distribution(each: Domain) -> optuna.distributions.BaseDistribution:
    if isinstance(each, Choice):
        return optuna.distributions.CategoricalDistribution(each.texts)
    if isinstance(each, Steps):
        return optuna.distributions.IntDistribution(0, each.count - 1)
    return optuna.distributions.FloatDistribution(each.low, each.high, log=each.log)


def _suggested(trial: Any, key: str, each: Domain) -> Draw:
    draw: Draw
    if isinstance(each, Choice):
        draw = trial.suggest_categorical(key, each.texts)
    elif isinstance(each, Steps):
        draw = trial.suggest_int(key, 0, each.count - 1)
    else:
        draw = trial.suggest_float(key, each.low, each.high, log=each.log)
    return draw


def _hyperopt(
    name: str, space: Space, points: list[Point], worths: list[float], seed: int
) -> Searcher:
    """The same. It draws from all domains; what a trial does not ask for is left out."""
    from hyperopt import hp  # type: ignore[import-untyped]
    from ray.tune.search.hyperopt import HyperOptSearch

    def dimension(key: str, each: Domain) -> Any:
        if isinstance(each, Choice):
            return hp.choice(key, each.texts)
        if isinstance(each, Steps):
            return hp.uniformint(key, 0, each.count - 1)
        if each.log:
            return hp.loguniform(key, math.log(each.low), math.log(each.high))
        return hp.uniform(key, each.low, each.high)

    searcher = HyperOptSearch(
        {key: dimension(key, each) for key, each in space.domains.items()},
        metric=SCORE,
        mode="max",
        points_to_evaluate=[dict(point) for point in points] or None,
        random_state_seed=seed + len(points),
    )
    for place, worth in enumerate(worths):
        searcher.suggest(f"ended-{place}")
        searcher.on_trial_complete(f"ended-{place}", {SCORE: worth})
    return searcher
