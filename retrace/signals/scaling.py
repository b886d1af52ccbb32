"""Amplitudes made comparable: of each segment by itself, or of its whole recording."""

import numpy as np
from numpy.typing import NDArray

# mV from lowest to highest. Behind a filter a lead that is off still rings and rounds, but below
# the noise of any amplifier.
FLAT = 0.01


def lively(windows: NDArray[np.float32], lengths: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which windows (k, leads, samples), in mV, have a signal in every lead: (k,).

    lengths: (k,) samples that are signal; what lies behind them is not looked at.
    """
    inside = np.arange(windows.shape[-1]) < lengths[:, None, None]
    low = np.where(inside, windows, np.inf).min(axis=-1)
    high = np.where(inside, windows, -np.inf).max(axis=-1)
    return np.asarray((high - low >= FLAT).all(axis=-1))


def normalised(
    windows: NDArray[np.float32],
    lengths: NDArray[np.int64],
    recording: NDArray[np.float32],
    method: str,
) -> NDArray[np.float32]:
    """Windows (k, leads, samples) of a `recording` (leads, n), both in mV, scaled by `method`.

    none: as they are. window: each window and lead to mean 0 and standard deviation 1. range: to
    0 ... 1. record: by the median and the interquartile range of the lead over the whole recording,
    which a few large beats or a burst of noise do not move. A lead that does not change becomes 0.
    lengths: (k,) samples that are signal; the padding behind them is not counted and stays 0.
    """
    if method == "none":
        return windows
    inside = np.arange(windows.shape[-1]) < lengths[:, None, None]
    if method == "window":
        count = lengths[:, None, None]
        mean = windows.sum(axis=-1, keepdims=True, dtype=np.float64) / count
        shifted = np.where(inside, windows - mean, 0)
        span = np.sqrt((shifted * shifted).sum(axis=-1, keepdims=True) / count)
    elif method == "range":
        low = np.where(inside, windows, np.inf).min(axis=-1, keepdims=True)
        span = np.where(inside, windows, -np.inf).max(axis=-1, keepdims=True) - low
        shifted = windows - low
    else:
        low, middle, high = np.percentile(recording.astype(np.float64), [25, 50, 75], axis=-1)
        span, shifted = (high - low)[:, None], windows - middle[:, None]
    scaled = np.where(inside, shifted / np.where(span > 0, span, 1.0), 0)
    return scaled.astype(np.float32)
