"""Two convolutions with batch norm, averaged over time, and two linear layers.

The original skips the batch norm behind its first linear layer in evaluation, and so answers with
a network that it did not train; here batch norm acts in both.
"""

from typing import Annotated

from pydantic import Field
from torch import nn

from retrace.models._waveforms import require_samples

INPUT = "waveforms"


def build(
    shape: tuple[int, ...],
    n_classes: int,
    *,
    channels: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]],
    kernels: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]],
    hidden: Annotated[int, Field(ge=1)],
    dropout: Annotated[float, Field(ge=0, lt=1)],
    momentum: Annotated[float, Field(gt=0, le=1)],
) -> nn.Module:
    """A network from (batch, leads, samples) to (batch, n_classes) logits.

    InputError: a window too short for it.

    channels, kernels: of the two convolutions. hidden: width of the linear layer. momentum: share
    of each batch in the running statistics of batch norm.
    """
    leads, samples = shape
    (first, second), (near, far) = channels, kernels
    require_samples(samples, 2 * (far + 1) + near - 1, "enhanced_cnn")
    return nn.Sequential(
        nn.Conv1d(leads, first, near),
        nn.BatchNorm1d(first, momentum=momentum),
        nn.ReLU(),
        nn.MaxPool1d(2),
        nn.Conv1d(first, second, far),
        nn.BatchNorm1d(second, momentum=momentum),
        nn.ReLU(),
        nn.MaxPool1d(2),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(second, hidden),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.BatchNorm1d(hidden, momentum=momentum),
        nn.Linear(hidden, n_classes),
    )
