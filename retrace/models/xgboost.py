"""Gradient-boosted trees on waveforms, by XGBoost.

Chen and Guestrin, "XGBoost: A Scalable Tree Boosting System", KDD 2016.
"""

import json
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import xgboost
from numpy.typing import NDArray
from pydantic import Field

INPUT = "waveforms"

# A small batch is answered sooner by one thread: several wait for each other, on a busy machine
# forty times as long as the answer takes.
_ANSWERING = {"nthread": 1}


def build(
    shape: tuple[int, ...],
    n_classes: int,
    *,
    max_depth: Annotated[int, Field(ge=1, le=16)],
    min_child_weight: Annotated[float, Field(ge=0)],
    subsample: Annotated[float, Field(gt=0, le=1)],
    colsample_bytree: Annotated[float, Field(gt=0, le=1)],
    reg_lambda: Annotated[float, Field(ge=0)],
) -> "Booster":
    """Boosted trees, one a class and round, on a segment's samples and what features follow.

    max_depth: of a tree. min_child_weight: least weight (near enough: segments, by how open their
    answer is) in a leaf. subsample, colsample_bytree: share of segments, of columns that a tree
    sees. reg_lambda: L2 penalty of a leaf's value.
    """
    return Booster(
        n_classes,
        {
            "max_depth": max_depth,
            "min_child_weight": min_child_weight,
            "subsample": subsample,
            "colsample_bytree": colsample_bytree,
            "reg_lambda": reg_lambda,
        },
    )


class Booster:
    """An estimator (see `retrace.learning.estimators`) around XGBoost's own."""

    def __init__(self, n_classes: int, options: dict[str, Any]) -> None:
        self._n_classes, self._options = n_classes, options
        self._booster = xgboost.Booster()

    def fit(
        self,
        X: NDArray[np.float32],
        y: NDArray[np.int64],
        weights: NDArray[np.float64],
        validation: tuple[NDArray[np.float32], NDArray[np.int64]],
        *,
        score: Callable[[NDArray[np.float64]], float],
        lr: float,
        rounds: int,
        patience: int,
        seed: int,
        threads: int,
    ) -> list[dict[str, float]]:
        """Boost until the validation loss has not fallen for `patience` rounds."""
        train = xgboost.QuantileDMatrix(X, y, weight=weights, nthread=threads)
        val = xgboost.QuantileDMatrix(*validation, ref=train, nthread=threads)
        losses: dict[str, dict[str, list[float]]] = {}
        scores = _Scores(val, score)
        self._booster = xgboost.train(
            self._options
            | {
                "objective": "multi:softprob",
                "num_class": self._n_classes,
                "eval_metric": "mlogloss",
                "tree_method": "hist",
                "learning_rate": lr,
                "seed": seed,
                "nthread": threads,
            },
            train,
            num_boost_round=rounds,
            evals=[(train, "train"), (val, "val")],
            evals_result=losses,
            verbose_eval=False,
            callbacks=[
                scores,
                xgboost.callback.EarlyStopping(
                    rounds=patience, metric_name="mlogloss", data_name="val", save_best=True
                ),
            ],
        )
        self._booster.set_param(_ANSWERING)
        return [
            {"train_loss": train_loss, "val_loss": val_loss, "score": value}
            for train_loss, val_loss, value in zip(
                losses["train"]["mlogloss"], losses["val"]["mlogloss"], scores.values, strict=True
            )
        ]

    def probabilities(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """(n, n_classes) for rows (n, d); d must be that of the training."""
        return np.asarray(self._booster.inplace_predict(X), np.float64)

    def state(self) -> dict[str, NDArray[np.generic]]:
        """The model in XGBoost's own UBJSON, as bytes."""
        return {"ubj": np.frombuffer(self._booster.save_raw("ubj"), np.uint8).copy()}

    def restore(self, state: dict[str, NDArray[np.generic]]) -> None:
        """Take a state back; ValueError where it is none, or of another number of classes."""
        self._booster = xgboost.Booster()
        self._booster.load_model(bytearray(state["ubj"].tobytes()))
        self._booster.set_param(_ANSWERING)
        if (found := self._learner()["learner_model_param"]["num_class"]) != str(self._n_classes):
            raise ValueError(f"{found} classes in place of {self._n_classes}")

    @property
    def library(self) -> tuple[str, str]:
        """XGBoost and its version."""
        return "xgboost", xgboost.__version__

    @property
    def size(self) -> int:
        """A feature and a threshold for each split, a value for each leaf."""
        trees = self._learner()["gradient_booster"]["model"]["trees"]
        nodes = [int(tree["tree_param"]["num_nodes"]) for tree in trees]
        return sum(2 * (n // 2) + (n + 1) // 2 for n in nodes)

    def _learner(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._booster.save_raw("json"))["learner"]
        return found


class _Scores(xgboost.callback.TrainingCallback):
    """The score of the validation part after each round."""

    def __init__(
        self, validation: xgboost.DMatrix, score: Callable[[NDArray[np.float64]], float]
    ) -> None:
        super().__init__()
        self._validation, self._score = validation, score
        self.values: list[float] = []

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        probabilities = np.asarray(model.predict(self._validation), np.float64)
        self.values.append(self._score(probabilities))
        return False
