"""Fitting an estimator to the same segments and with the same params as a network."""

import time

import numpy as np
from numpy.typing import NDArray

from retrace.learning.balance import class_weights, epoch_order
from retrace.learning.checkpoint import flat
from retrace.learning.classifier import per_record
from retrace.learning.data import Segments
from retrace.learning.estimators import Estimator
from retrace.learning.tracking import History
from retrace.params import Params
from retrace.scoring.scores import score


def fit_estimator(
    params: Params, estimator: Estimator, segments: Segments, history: History
) -> None:
    """Fit it to the training part and tell the history of its rounds.

    segments: with what oversampling made. The round of the lowest validation loss is kept; lr,
    epochs (rounds) and patience mean what `Estimator.fit` says.
    """
    started = time.monotonic()
    rows, labels = segments.rows("train"), segments.labels
    if params.train.imbalance == "sampler":
        rows = rows[epoch_order(labels[rows], balanced=True, seed=params.seed, epoch=0)]
    weights = class_weights(labels[rows], len(segments.classes), params.train.imbalance)
    val = segments.rows("val")
    found = estimator.fit(
        flat(segments.X[rows], segments.features[rows]),
        labels[rows],
        weights[labels[rows]],
        (flat(segments.X[val], segments.features[val]), labels[val]),
        score=_Validation(params, segments, val, history.score),
        lr=params.lr,
        rounds=params.epochs,
        patience=params.train.early_stopping.patience,
        seed=params.seed,
        threads=params.threads,
    )
    kept = [
        {"train_loss": r["train_loss"], "val_loss": r["val_loss"], history.score: r["score"]}
        for r in found
    ]
    best = int(np.argmin([row["val_loss"] for row in kept]))
    history.take(kept, best, time.monotonic() - started)


class _Validation:
    """The score of the validation part, per record as for networks, and a line now and then."""

    _EVERY = 10  # rounds

    def __init__(
        self, params: Params, segments: Segments, rows: NDArray[np.int64], name: str
    ) -> None:
        self._params, self._classes, self._name = params, segments.classes, name
        self._record_ids = [segments.record_ids[row] for row in rows]
        self._labels = segments.labels[rows]
        self._round, self._started = 0, time.monotonic()

    def __call__(self, probabilities: NDArray[np.float64]) -> float:
        rule = self._params.model.aggregate
        y, joined = per_record(self._record_ids, self._labels, probabilities, rule)
        value = score(self._params.train.score, y, joined, self._classes)
        self._round += 1
        if self._round % self._EVERY == 1:
            seconds = time.monotonic() - self._started
            print(f"round {self._round:4d}  {self._name} {value:.4f}  {seconds:6.1f} s", flush=True)
        return value
