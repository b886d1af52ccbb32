"""Where a waveform ends: zeros at the end of a window are padding.

A beat or a recording shorter than the window is completed with zeros. Nothing else marks them, so
that the window stays one array for training, ONNX and service alike; whoever changes a waveform
leaves them at exactly zero.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def real_samples(waveforms: Tensor) -> Tensor:
    """Which samples of (batch, leads, samples) are signal: a mask (batch, samples), no gaps.

    Signal lasts until the last sample at which any lead is not 0; zeros before it are signal, as
    is the first sample, so that no row of the mask is empty. An unpadded window is signal
    throughout, but for samples at its end that happen to be exactly 0 in every lead.
    """
    number = torch.arange(1, waveforms.shape[-1] + 1, device=waveforms.device)
    length = ((waveforms != 0).any(dim=1) * number).amax(dim=1, keepdim=True).clamp(min=1)
    return number <= length


def real_length(waveform: NDArray[np.float32]) -> int:
    """How many samples of (leads, samples) are signal, by the same rule."""
    last = np.flatnonzero((waveform != 0).any(axis=0))[-1:]
    return int(last[0]) + 1 if last.size else 1
