"""What networks on waveforms share. A change here retrains all of them, so it holds little."""

import torch
from torch import Tensor, nn

from retrace.errors import InputError
from retrace.padding import real_samples


def require_samples(samples: int, least: int, model: str) -> None:
    """Refuse a window of which a network's convolutions and poolings would leave nothing."""
    if samples < least:
        raise InputError(
            f"segment.window: {samples} samples; {model} needs at least {least}: lengthen it, or "
            "raise segment.fs in params.yaml"
        )


def require_heads(hidden: int, heads: int, model: str) -> None:
    """Refuse a width that attention heads cannot share equally."""
    if hidden % heads:
        raise InputError(
            f"models.{model}.hidden: {hidden}; must be a multiple of models.{model}.heads, "
            f"{heads}: change one of them in params.yaml"
        )


class ResidualBlock(nn.Module):
    """Two convolutions and a way round them, for (batch, channels, samples) of any length.

    The way round is the input itself, or a convolution of one sample where the number of
    channels changes, with batch norm behind it if `norm_skip`.
    He et al., "Deep Residual Learning for Image Recognition", CVPR 2016.
    """

    def __init__(self, n_in: int, n_out: int, *, kernel: int, norm_skip: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(n_in, n_out, kernel, padding=kernel // 2),
            nn.BatchNorm1d(n_out),
            nn.ReLU(),
            nn.Conv1d(n_out, n_out, kernel, padding=kernel // 2),
            nn.BatchNorm1d(n_out),
        )
        self.skip = nn.Sequential()
        if n_in != n_out:
            self.skip.append(nn.Conv1d(n_in, n_out, 1))
            if norm_skip:
                self.skip.append(nn.BatchNorm1d(n_out))

    def forward(self, features: Tensor) -> Tensor:
        return torch.relu(self.body(features) + self.skip(features))


class Recurrent(nn.Module):
    """GRU or LSTM sample by sample, attention over its states, the last real state answers.

    Made right where the study that it follows went wrong. It took the last state of the padded
    window: here it is that of the last real sample, and attention sees no state behind it; a
    state knows only what came before, so that padding changes nothing. Attention replaced the
    state: here it is added to it. Only the last state asks, whose answer alone was used: the same
    result without the other 186 rows. Dropout did nothing with one layer: here it then acts on
    that layer's states.
    """

    def __init__(
        self,
        kind: type[nn.GRU] | type[nn.LSTM],
        leads: int,
        n_classes: int,
        *,
        hidden: int,
        layers: int,
        dropout: float,
        attention: bool,
        heads: int,
        attention_dropout: float,
    ) -> None:
        super().__init__()
        if attention:
            require_heads(hidden, heads, kind.__name__.lower())
        between = dropout if layers > 1 else 0.0
        self.recurrent = kind(leads, hidden, layers, dropout=between, batch_first=True)
        self.dropout = nn.Dropout(dropout if layers == 1 else 0.0)
        self.attention = (
            nn.MultiheadAttention(hidden, heads, attention_dropout, batch_first=True)
            if attention
            else None
        )
        self.head = nn.Linear(hidden, n_classes)

    def forward(self, waveforms: Tensor) -> Tensor:
        real = real_samples(waveforms)
        states = self.dropout(self.recurrent(waveforms.transpose(1, 2))[0])
        index = (real.sum(dim=1) - 1)[:, None, None].expand(-1, 1, states.shape[-1])
        last = states.gather(1, index)
        if self.attention is not None:
            seen, _ = self.attention(
                last, states, states, key_padding_mask=~real, need_weights=False
            )
            last = last + seen
        logits: Tensor = self.head(last.squeeze(1))
        return logits
