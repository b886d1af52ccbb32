"""What is done about rare classes; every number here comes from the training part alone."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

Loss = Callable[[Tensor, Tensor], Tensor]

# Cui et al., "Class-Balanced Loss Based on Effective Number of Samples", CVPR 2019.
_EFFECTIVE_BETA = 0.999
# Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017.
_FOCAL_GAMMA = 2.0


def class_weights(labels: NDArray[np.int64], n_classes: int, method: str) -> NDArray[np.float64]:
    """Weights (n_classes,) of mean 1 over the segments: "inverse" frequency or "effective"."""
    counts = np.bincount(labels, minlength=n_classes).astype(np.float64)
    counts = np.maximum(counts, 1)  # a class without a segment is never asked for its weight
    if method == "inverse":
        weights = 1 / counts
    elif method == "effective":
        weights = (1 - _EFFECTIVE_BETA) / (1 - _EFFECTIVE_BETA**counts)
    else:
        weights = np.ones(n_classes)
    mean: NDArray[np.float64] = weights * counts.sum() / (weights * counts).sum()
    return mean


def loss_function(
    labels: NDArray[np.int64], n_classes: int, *, imbalance: str, label_smoothing: float
) -> Loss:
    """The training loss of (batch, n_classes) logits and (batch,) classes."""
    if imbalance == "focal":
        return focal_loss
    weights = torch.from_numpy(class_weights(labels, n_classes, imbalance)).float()

    def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
        return functional.cross_entropy(
            logits, target, weight=weights.to(logits.device), label_smoothing=label_smoothing
        )

    return cross_entropy


def focal_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross entropy in which each segment counts (1 - p)^2, p what its class was given."""
    log_p = functional.log_softmax(logits, dim=1).gather(1, target[:, None]).squeeze(1)
    return (-((1 - log_p.exp()) ** _FOCAL_GAMMA) * log_p).mean()


def epoch_order(
    labels: NDArray[np.int64], *, balanced: bool, seed: int, epoch: int
) -> NDArray[np.int64]:
    """The order (n,) in which epoch `epoch` sees the segments, from (seed, epoch) alone.

    balanced: drawn with replacement so that each class is equally likely; else a permutation.
    """
    generator = np.random.default_rng([seed, epoch])
    if not balanced:
        return generator.permutation(len(labels))
    share = 1 / np.bincount(labels)[labels]
    return generator.choice(len(labels), size=len(labels), p=share / share.sum())
