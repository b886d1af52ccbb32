"""A random forest on waveforms, grown by scikit-learn.

Breiman, "Random Forests", Machine Learning 45 (2001) 5-32.
"""

from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

INPUT = "waveforms"

_SMALLEST = 1e-7  # probability: of 0, which a forest may say, there is no logarithm
_AT_ONCE = 2**22  # answers of single trees that are held in memory


def build(
    shape: tuple[int, ...],
    n_classes: int,
    *,
    trees: Annotated[int, Field(ge=1)],
    max_leaf_nodes: Annotated[int, Field(ge=2)],
    min_samples_leaf: Annotated[int, Field(ge=1)],
    max_features: Annotated[float, Field(gt=0, le=1)] | Literal["sqrt", "log2"],
) -> "Forest":
    """A forest on a segment's samples and what features follow.

    max_leaf_nodes: of a tree. It bounds the file: 40 bytes a leaf with five classes.
    min_samples_leaf: least segments in a leaf. max_features: columns among which a split is
    chosen, as a share or a root or logarithm of their number.
    """
    return Forest(
        n_classes,
        {
            "n_estimators": trees,
            "max_leaf_nodes": max_leaf_nodes,
            "min_samples_leaf": min_samples_leaf,
            "max_features": max_features,
        },
    )


class Forest:
    """An estimator (see `retrace.learning.estimators`) whose state is five plain arrays.

    roots: (trees,), children: (splits, 2): the number of a split, or ~number of a leaf, to the
    left and to the right. features: (splits,) columns. thresholds: (splits,) float64, as
    scikit-learn has them: a value at or below it goes left. leaves: (leaves, n_classes) the
    classes' shares, in float32, since the fourth digit of a forest's answer is chance.
    """

    def __init__(self, n_classes: int, options: dict[str, Any]) -> None:
        self._n_classes, self._options = n_classes, options

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
        """Grow all trees; a forest knows no rounds, so that lr and patience mean nothing."""
        from sklearn.ensemble import RandomForestClassifier

        forest = RandomForestClassifier(**self._options, random_state=seed, n_jobs=threads)
        self._take(forest.fit(X, y, weights))
        said = self.probabilities(validation[0])
        return [
            {
                "train_loss": _loss(self.probabilities(X), y, weights),
                "val_loss": _loss(said, validation[1], np.ones(len(said))),
                "score": score(said),
            }
        ]

    def _take(self, forest: Any) -> None:
        """Number the splits of all trees, and the leaves, one after another."""
        roots, children, features, thresholds, leaves = [], [], [], [], []
        n_splits = n_leaves = 0
        for tree in (estimator.tree_ for estimator in forest.estimators_):
            is_leaf = tree.children_left < 0
            number = np.where(
                is_leaf,
                ~(n_leaves + np.cumsum(is_leaf) - 1),
                n_splits + np.cumsum(~is_leaf) - 1,
            )
            roots.append(number[0])
            pairs = np.stack([tree.children_left, tree.children_right], axis=1)
            children.append(number[pairs[~is_leaf]])
            features.append(tree.feature[~is_leaf])
            thresholds.append(tree.threshold[~is_leaf])
            shares = np.zeros((is_leaf.sum(), self._n_classes), np.float32)
            # A class without a training segment is unknown to the trees.
            shares[:, forest.classes_] = tree.value[is_leaf, 0]
            leaves.append(shares)
            n_splits, n_leaves = n_splits + int((~is_leaf).sum()), n_leaves + len(shares)
        self._roots = np.array(roots, np.int32)
        self._children = np.concatenate(children).astype(np.int32)
        self._features = np.concatenate(features).astype(np.int32)
        self._thresholds = np.concatenate(thresholds).astype(np.float64)
        self._leaves = np.concatenate(leaves)

    def probabilities(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """(n, n_classes) for rows (n, d): the mean of what the trees' leaves say."""
        block = max(1, _AT_ONCE // (len(self._roots) * self._n_classes))
        parts = [self._block(X[start : start + block]) for start in range(0, len(X), block)]
        return np.concatenate(parts)

    def _block(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        at = np.repeat(self._roots[None], len(X), axis=0)  # where each row is in each tree
        row, tree = np.nonzero(at >= 0)
        while len(row):
            split = at[row, tree]
            right = X[row, self._features[split]] > self._thresholds[split]
            at[row, tree] = split = self._children[split, right.astype(np.intp)]
            row, tree = row[split >= 0], tree[split >= 0]
        return np.asarray(self._leaves[~at].mean(axis=1, dtype=np.float64))

    def state(self) -> dict[str, NDArray[np.generic]]:
        """The five arrays."""
        return {
            "roots": self._roots,
            "children": self._children,
            "features": self._features,
            "thresholds": self._thresholds,
            "leaves": self._leaves,
        }

    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        """Take a state back; ValueError where its trees do not lead to a leaf with shares."""
        self._roots, self._children = state["roots"], state["children"]
        self._features, self._thresholds = state["features"], state["thresholds"]
        self._leaves = state["leaves"]
        n_splits, n_leaves = len(self._children), len(self._leaves)
        goals = np.concatenate([self._roots, self._children.ravel()])
        # A child's number is above its parent's: no walk comes back to where it was.
        own = np.arange(n_splits)[:, None]
        sound = (
            self._leaves.shape == (n_leaves, self._n_classes)
            and self._features.shape == self._thresholds.shape == (n_splits,)
            and -n_leaves <= goals.min() <= goals.max() < n_splits
            and not ((self._children >= 0) & (self._children <= own)).any()
            and (self._features >= 0).all()
            and np.allclose(self._leaves.sum(axis=1), 1, atol=1e-3)
        )
        if not sound:
            raise ValueError(f"no forest of {self._n_classes} classes")

    @property
    def library(self) -> tuple[str, str]:
        """scikit-learn and its version."""
        return "scikit-learn", version("scikit-learn")

    @property
    def size(self) -> int:
        """A feature and a threshold for each split, n_classes shares for each leaf."""
        return 2 * len(self._features) + self._leaves.size


def _loss(said: NDArray[np.float64], y: NDArray[np.int64], weights: NDArray[np.float64]) -> float:
    own = np.clip(said[np.arange(len(y)), y], _SMALLEST, 1)
    return float(-np.average(np.log(own), weights=weights))
