"""What a model is that is no network: fitted to rows of numbers as a whole."""

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

# What probabilities (n, n_classes) of the validation part are worth, higher is better.
Score = Callable[[NDArray[np.float64]], float]


class Estimator(Protocol):
    """What `build` of retrace/models returns where it returns no network."""

    def fit(
        self,
        X: NDArray[np.float32],
        y: NDArray[np.int64],
        weights: NDArray[np.float64],
        validation: tuple[NDArray[np.float32], NDArray[np.int64]],
        *,
        score: Score,
        lr: float,
        rounds: int,
        patience: int,
        seed: int,
        threads: int,
    ) -> list[dict[str, float]]:
        """Fit to rows X (n, d) of classes y (n,) that count `weights` (n,).

        Returns train_loss, val_loss (mean cross entropy) and score for each round of boosting,
        one for what knows no rounds, and keeps the round of the lowest val_loss. lr: what a
        round's trees count. rounds: at most so many. patience: rounds without a gain after which
        it ends. The same arguments give the same state, bit for bit.
        """
        ...

    def probabilities(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """Of each class, (n, n_classes), for rows (n, d)."""
        ...

    def state(self) -> dict[str, NDArray[np.generic]]:
        """All that was fitted, as plain arrays."""
        ...

    def restore(self, state: dict[str, NDArray[np.generic]]) -> None:
        """Take a state back; ValueError or KeyError where it is none of this estimator's."""
        ...

    @property
    def library(self) -> tuple[str, str]:
        """What it was fitted by: name and version."""
        ...

    @property
    def size(self) -> int:
        """How many numbers were fitted: what parameters are to a network."""
        ...
