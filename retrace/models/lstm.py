"""LSTM over the samples of a beat, with attention over its states (`Recurrent`).

Hochreiter and Schmidhuber, "Long Short-Term Memory", Neural Computation 1997.
"""

from typing import Annotated

from pydantic import Field
from torch import nn

from retrace.models._waveforms import Recurrent

INPUT = "waveforms"


def build(
    shape: tuple[int, ...],
    n_classes: int,
    *,
    hidden: Annotated[int, Field(ge=1)],
    layers: Annotated[int, Field(ge=1)],
    dropout: Annotated[float, Field(ge=0, lt=1)],
    attention: bool,
    heads: Annotated[int, Field(ge=1)],
    attention_dropout: Annotated[float, Field(ge=0, lt=1)],
) -> nn.Module:
    """A network from (batch, leads, samples) to (batch, n_classes) logits, of any length.

    hidden: width of the state. layers: stacked. dropout: between layers; of the states where
    there is one layer. attention: whether the last state looks back, with `heads` heads and
    `attention_dropout` of its weights. InputError: a width that the heads cannot share.
    """
    return Recurrent(
        nn.LSTM,
        shape[0],
        n_classes,
        hidden=hidden,
        layers=layers,
        dropout=dropout,
        attention=attention,
        heads=heads,
        attention_dropout=attention_dropout,
    )
