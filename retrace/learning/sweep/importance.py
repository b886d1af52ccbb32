"""How much each param of a space mattered, as far as the trials tell."""

from collections.abc import Sequence, Set
from typing import TYPE_CHECKING, Any

from retrace.learning.sweep.cells import axes, count, exact
from retrace.learning.sweep.results import Sweep

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

ENOUGH = 20  # trials with a score: with fewer, chance decides the order


def importances(sweep: Sweep, log: Set[str] = frozenset()) -> dict[str, float] | str:
    """Shares of the score's variance by the params' labels, which sum to 1, the largest first; or a
    sentence why there are none.

    By fANOVA (Hutter, Hoos and Leyton-Brown, ICML 2014), of the params that all trials have. Each
    trial counts by its best score. log: keys whose range is logarithmic.
    """
    scored = sweep.ranked()
    if len(scored) < ENOUGH:
        found = count(len(scored), "trial")
        return f"{found} with a score, too few to rate the params: {ENOUGH} will do"
    ranges = {
        column: _range([column.value(trial) for trial in scored], bool(log & set(column.keys)))
        for column in axes(scored)
        if all(column.known(trial) for trial in scored)
    }
    known = {column: found for column, found in ranges.items() if found is not None}
    if len(known) < 2:
        return "fewer than two params that all trials have: there is nothing to rate"
    try:
        import optuna
    except ModuleNotFoundError:
        return "Optuna, which rates the params, is not installed: pip install retrace[sweep]"
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    for trial in scored:
        best = trial.best(sweep.score)
        assert best is not None
        study.add_trial(
            optuna.trial.create_trial(
                value=best[1],
                distributions={c.label: found for c, found in known.items()},
                params={c.label: _value(c.value(trial), found) for c, found in known.items()},
            )
        )
    # Optuna's default, PED-ANOVA, asks what the best tenth has in common: of 150 trials that is 15,
    # and on invented ones it named params without effect.
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=sweep.seed)
    try:
        rated = optuna.importance.get_param_importances(study, evaluator=evaluator)
    except RuntimeError:  # no variance
        return "all trials score alike: there is nothing to rate the params by"
    return {label: float(rated[label]) for label in sorted(rated, key=lambda name: -rated[name])}


def _range(values: Sequence[Any], log: bool) -> "BaseDistribution | None":
    """The distribution that `values` are seen to span; None where they do not differ."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    distinct = sorted({exact(value) for value in values})
    if len(distinct) < 2:
        return None
    if any(isinstance(value, bool) or not isinstance(value, (int, float)) for value in values):
        return CategoricalDistribution(distinct)
    low, high = min(values), max(values)
    kind = IntDistribution if all(isinstance(value, int) for value in values) else FloatDistribution
    return kind(low, high, log=log and low > 0)


def _value(value: Any, of: "BaseDistribution") -> Any:
    return exact(value) if hasattr(of, "choices") else value
