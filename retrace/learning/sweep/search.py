"""A sweep from its first trial to its last, by Ray Tune."""

import secrets
import shutil
from collections.abc import Callable
from typing import Any

from retrace.errors import InputError
from retrace.files import new_file
from retrace.learning.sweep.journal import ENDED, Journal
from retrace.learning.sweep.plan import JOURNAL, TOKEN, Plan
from retrace.learning.sweep.results import Sweep
from retrace.learning.sweep.session import session

Say = Callable[[str], None]
Show = Callable[[Sweep], None]


class Search:
    """A sweep that is under way in its folder. missed: what trackers were not told."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.missed: set[str] = set()
        self._journal = Journal(plan.folder / JOURNAL)

    @property
    def sweep(self) -> Sweep:
        """It as it stands."""
        plan = self.plan
        return Sweep(
            name=plan.name,
            space=plan.space.name,
            score=plan.score,
            max_epochs=plan.options.max_epochs,
            searcher=plan.options.searcher,
            seed=plan.seed,
            fixed=plan.space.fixed,
            trials=self._journal.trials,
        )

    @property
    def left(self) -> int:
        """How many trials have not ended."""
        return self.plan.options.samples - sum(
            trial.state in ENDED for trial in self._journal.trials
        )

    def run(
        self, concurrent: int | None, address: str | None, parent: str | None, show: Show, say: Say
    ) -> None:
        """Train what is left, at most `concurrent` at once (None: as many as there is room for).

        parent: the sweep's run in MLflow. Broken off at any moment, it can be run again.
        """
        if self.left < 1:
            return
        options = self.plan.options
        with session(address, options.gpus > 0) as (ray, page):
            if page:
                say(f"Ray's dashboard: http://{page}")
            room = _room(ray, options.cpus, options.gpus)
            if concurrent is not None and concurrent > room:
                say(f"{room} trials at once, not {concurrent}: there is no room for more")
            self._tune(ray, min(concurrent or room, room), parent, show)

    def _token(self) -> str:
        """What TOKEN holds from now on."""
        token = secrets.token_hex(8)
        with new_file(self.plan.folder / TOKEN) as part:
            part.write_text(token, encoding="utf-8")
        return token

    def _tune(self, ray: Any, concurrent: int, parent: str | None, show: Show) -> None:
        from ray import tune

        from retrace.learning.sweep.halving import Halving
        from retrace.learning.sweep.prepared import Prepared
        from retrace.learning.sweep.searchers import Proposals
        from retrace.learning.sweep.trials import Task, run
        from retrace.learning.sweep.watch import Watch

        plan, journal, options = self.plan, self._journal, self.plan.options
        token = self._token()
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        )
        data = (
            ray.remote(Prepared)
            .options(num_cpus=0, scheduling_strategy=here)
            .remote(plan.root, plan.folder / "data", plan.base)
        )
        task = Task(plan.root, plan.folder, token, plan.base, plan.key, plan.name, parent, data)
        halving = Halving(journal, plan.score, options.max_epochs, options.grace, options.reduction)
        searcher = Proposals(options.searcher, plan.space, journal, plan.score, plan.seed)
        shutil.rmtree(plan.folder / "ray", ignore_errors=True)
        show(self.sweep)
        # Not tune.Tuner, which pickles all that it is given, the callback with its terminal too.
        tune.run(
            tune.with_resources(
                tune.with_parameters(run, task=task), {"cpu": options.cpus, "gpu": options.gpus}
            ),
            name="tune",
            storage_path=str(plan.folder / "ray"),
            search_alg=searcher,
            scheduler=halving,
            num_samples=self.left,
            max_concurrent_trials=concurrent,
            reuse_actors=True,  # importing PyTorch takes longer than some epochs
            callbacks=[Watch(journal, task, halving, self.missed, lambda: show(self.sweep))],
            raise_on_failed_trial=False,
            verbose=0,
        )
        for name in ("ray", "data", "trials"):
            shutil.rmtree(plan.folder / name, ignore_errors=True)


def _room(ray: Any, cpus: int, gpus: float) -> int:
    """How many trials fit the nodes at once."""
    found = 0
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    for node in nodes:
        fits = int(node.get("CPU", 0) // cpus)
        found += min(fits, int(node.get("GPU", 0) / gpus)) if gpus else fits
    if not found:
        most = int(max(node.get("CPU", 0) for node in nodes))
        raise InputError(
            f"--cpus {cpus} --gpus {gpus:g}: no machine has so many ({most} CPUs, "
            f"{sum(node.get('GPU', 0) for node in nodes):g} GPUs in all): ask for less"
        )
    return found
