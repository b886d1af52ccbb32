"""Trials of a sweep that nobody trained, as ASHA leaves them."""

import math
import random
from collections.abc import Callable
from typing import Any

from retrace.learning.sweep.results import Sweep, Trial

EPOCHS, RUNGS, LOG = 30, (3, 9, 27), {"lr", "weight_decay"}
Values = dict[str, Any]


def values(rng: random.Random) -> Values:
    """Two models with options of their own, a list, a null."""
    name = rng.choice(["gru", "lstm"])
    return {
        "lr": 10 ** rng.uniform(-4, -2),
        "weight_decay": 10 ** rng.uniform(-5, -2),
        "model.name": name,
        f"models.{name}.hidden": rng.randrange(8, 193, 8),
        "segment.fs": rng.choice([None, 125, 250]),
        "model.features": rng.choice([[], ["rr_previous"], ["rr_previous", "rr_next"]]),
        "train.compile": rng.choice([True, False]),
    }


def trials(count: int, propose: Callable[[random.Random], Values] = values) -> list[Trial]:
    """Curves that rise to what lr allows; a third of those at a rung goes on."""
    rng = random.Random(5)
    seen: dict[int, list[float]] = {rung: [] for rung in RUNGS}
    found = []
    for number in range(1, count + 1):
        own = propose(rng)
        top = 0.85 - 0.1 * (math.log10(own["lr"]) + 2.7) ** 2 + rng.gauss(0, 0.01)
        rows: list[dict[str, float]] = []
        state: Any = "finished"
        for epoch in range(1, EPOCHS + 1):
            score = top * (1 - 0.75 * math.exp(-epoch / 4)) + rng.gauss(0, 0.008)
            rows.append({"train_loss": 1 - score, "val_loss": 1.2 - score, "val_f1_macro": score})
            if epoch in RUNGS:
                seen[epoch].append(score)
                rivals = sorted(seen[epoch], reverse=True)
                if len(rivals) >= 3 and score < rivals[len(rivals) // 3 - 1]:
                    state = "stopped"
                    break
        found.append(Trial(number, state, own, rows, seconds=20.0 * len(rows)))
    return found


def sweep(found: list[Trial]) -> Sweep:
    fixed = {"epochs": EPOCHS, "threads": 1, "train.score": "f1_macro"}
    return Sweep("gru-1", "rnn", "f1_macro", EPOCHS, "optuna", 7, fixed, found)
