"""Cutting single beats out of a recording, and how each stands in its rhythm."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrace.signals.domain import BeatWindow
from retrace.signals.plan import RR_COLUMNS
from retrace.signals.resampling import resample
from retrace.signals.scaling import lively, normalised

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

BLOCK = 10.0  # s, whose median RR is the length of its beats (kaggle125)
AROUND = 5  # intervals before a beat and behind it, whose mean RR its own is compared with


@dataclass(frozen=True)
class Cut:
    """Beats cut out of a recording.

    rows: (k,) which of the peaks they belong to. starts: (k,) s. windows: (k, leads, samples).
    features: (k, 4), see `rhythm` and `likeness`. flat: the numbers of the peaks around which a
    lead does not change; they are left out, and so are windows over an end of the recording.
    """

    rows: Integers
    starts: Floats
    windows: NDArray[np.float32]
    features: Floats
    flat: Integers


def cut_beats(
    signal: NDArray[np.float32],
    fs: float,
    peaks: Integers,
    *,
    rate: float,
    samples: int,
    window: BeatWindow,
    normalise: str,
) -> Cut:
    """Cut the beats at `peaks` out of a whole, filtered recording.

    signal: (leads, n) in mV at `fs` Hz. peaks: (m,) ascending sample indices at `fs`. rate: Hz of
    the beats, to which the recording is resampled before. samples, window: length of a window, and
    how the beat lies in it; behind a beat that does not fill it are zeros. normalise: see
    `scaling.normalised`.
    """
    changed = resample(signal, fs, rate)
    places = np.rint(peaks * (rate / fs)).astype(np.int64)
    starts = places - int(window.peak * samples)
    lengths = np.full(len(peaks), samples)
    if window.rr_length is not None and len(peaks):
        lasting = np.rint(window.rr_length * _median_rr(peaks, fs) * rate).astype(np.int64)
        lengths = np.clip(lasting, 1, samples)
    inside = (starts >= 0) & (starts + lengths <= changed.shape[1])
    if window.rr_length is not None:
        # As in Kaggle's set: what would reach over the end is completed, and only the last beat,
        # after which no RR is known, is left out.
        inside = (starts >= 0) & (np.arange(len(peaks)) < len(peaks) - 1)
        lengths = np.minimum(lengths, np.maximum(changed.shape[1] - starts, 1))
    rows = np.flatnonzero(inside)
    starts, lengths = starts[rows], lengths[rows]
    padded = np.pad(changed, ((0, 0), (0, samples)))
    views = np.lib.stride_tricks.sliding_window_view(padded, samples, axis=1)
    windows = np.ascontiguousarray(views[:, starts].swapaxes(0, 1))
    windows *= np.arange(samples) < lengths[:, None, None]
    alive = lively(windows, lengths)
    windows, lengths, kept = windows[alive], lengths[alive], rows[alive]
    features = np.column_stack([rhythm(peaks, fs)[kept], likeness(windows)])
    windows = normalised(windows, lengths, changed, normalise)
    return Cut(kept, starts[alive] / rate, windows, features, rows[~alive])


def rhythm(peaks: Integers, fs: float) -> Floats:
    """RR features (n, 3) of the beats at `peaks` (n,), named by `RR_COLUMNS`.

    The interval (s) to the beat before and to the one behind, and the former over the mean RR of
    the ten intervals around (fewer at the ends): .7 is a premature beat at any heart rate. The
    first beat has no interval before it and the last none behind: each gets its other one. NaN
    where there is but one beat.
    Source: P. de Chazal, M. O'Dwyer and R. B. Reilly, "Automatic classification of heartbeats using
    ECG morphology and heartbeat interval features", IEEE Trans. Biomed. Eng. 51 (2004) 1196-1206.
    """
    n = len(peaks)
    if n < 2:
        return np.full((n, len(RR_COLUMNS)), np.nan)
    rr = np.diff(peaks) / fs
    previous, following = np.concatenate([rr[:1], rr]), np.concatenate([rr, rr[-1:]])
    beat = np.arange(n)
    first, last = np.maximum(beat - AROUND, 0), np.minimum(beat + AROUND, n - 1)
    mean = (peaks[last] - peaks[first]) / ((last - first) * fs)
    return np.stack([previous, following, previous / mean], axis=1)


def likeness(windows: NDArray[np.float32]) -> Floats:
    """How each beat (k, leads, samples) of a recording resembles its usual one: (k,), -1 to 1.

    The correlation of its first lead with the median of all. It knows no class: in most recordings
    the usual beat is a normal one, and whatever begins elsewhere in the heart looks different.
    """
    first = windows[:, 0].astype(np.float64)
    usual = np.median(first, axis=0) if len(first) else first.sum(axis=0)
    centred, template = first - first.mean(axis=1, keepdims=True), usual - usual.mean()
    # Sums, not dot products, whose order is the processor's choice.
    power = (centred * centred).sum(axis=1) * (template * template).sum()
    found = (centred * template).sum(axis=1) / np.sqrt(np.where(power > 0, power, 1.0))
    return np.asarray(np.round(found, 6), np.float64)


def _median_rr(peaks: Integers, fs: float) -> Floats:
    """For each peak (n,) the median RR (s) of its block of 10 s, or of the whole recording."""
    if len(peaks) < 2:
        return np.full(len(peaks), BLOCK)
    block = (peaks / fs // BLOCK).astype(np.int64)
    rr, inside = np.diff(peaks) / fs, block[1:] == block[:-1]
    found = np.full(len(peaks), np.median(rr))
    for number in np.unique(block[1:][inside]):
        found[block == number] = np.median(rr[inside & (block[1:] == number)])
    return found
