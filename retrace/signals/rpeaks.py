"""R peaks of one lead: where the heart beats.

The envelope of the QRS band is compared with the beats around it, as in J. Pan and W. J. Tompkins,
"A real-time QRS detection algorithm", IEEE Trans. Biomed. Eng. 32 (1985) 230-236; but a recording
is known whole here, so the levels are medians over the seconds before and after, which neither a
burst of noise nor a step of the gain leads astray, and nothing has to be learnt at its start.

The numbers below were looked at on the DS1 half of MIT-BIH; `benchmarks/rpeaks.py` scores both.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import maximum_filter1d, median_filter, uniform_filter1d

from retrace.errors import InputError
from retrace.signals.filters import bandpass

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

QRS_BAND = (5.0, 30.0)  # Hz: wide beats begin at 5; T waves and wander lie below
WAVE_BAND = (2.0, 40.0)  # Hz: the R wave keeps its shape, the baseline is gone
ORDER = 2
LOWEST_FS = 2 * WAVE_BAND[1]
SHORTEST = 1.0  # s; in less there is no telling a beat from noise

QRS = 0.12  # s, of the envelope: the width of a wide beat
BLOCK = 0.5  # s, in which the envelope is summed up for the two levels
REACH = 4  # blocks: 2 s hold a beat down to 30 a minute
AROUND = 11  # blocks of the running median: half of them is the shortest stretch it follows
FAINT = 0.25  # of the recording's own level: below it lies a pause, or an electrode that is off
SILENT = 0.005  # mV; the envelope of a QRS complex is ten times that and more

BEAT = 0.25  # of the way from the level of the rest to that of the beats
MISSED = 0.125  # the same where a beat is overdue
REFRACTORY = 0.22  # s
REPOLARISED = 0.36  # s; what follows a beat sooner is its T wave ...
T_WAVE = 0.6  # ... unless it reaches this share of the beat
OVERDUE = 1.5  # of the usual interval
USUAL = 9  # intervals, of whose running median

PEAK = 0.08  # s around the middle of the complex, in which its peak lies
UPSIDE_DOWN = 1.5  # times the usual side: then this beat points the other way


def detect(signal: ArrayLike, fs: float) -> Integers:
    """Find the R peaks of one lead.

    Args:
        signal: shape (samples,) in mV, raw or band-passed (0.5 to 40 Hz or wider), upright or
            inverted.
        fs: sampling rate in Hz, above 80.

    Returns:
        Sample indices (k,), ascending, at least 60 ms apart: the largest deflection of each QRS
        complex, on the side (up or down) on which most complexes of the recording are larger. A
        signal that is flat or shorter than 1 s has none: nothing to be found is an answer, not
        an error.

    Raises:
        InputError: the signal is no vector of finite numbers, or `fs` is too low.
    """
    values = np.asarray(signal, dtype=np.float64)
    if values.ndim != 1:
        raise InputError(
            f"signal has shape {values.shape} but must be one lead, (samples,): choose a lead"
        )
    if not (math.isfinite(fs) and fs > LOWEST_FS):
        raise InputError(
            f"fs is {fs:g} Hz but must be above {LOWEST_FS:g} Hz to show a QRS complex: use a "
            "recording with a higher rate"
        )
    if bad := int((~np.isfinite(values)).sum()):
        raise InputError(
            f"signal has {bad} samples that are NaN or infinite but every sample must be finite: "
            "interpolate or cut them"
        )
    if len(values) < SHORTEST * fs:
        return np.empty(0, np.int64)
    envelope = _envelope(_band(values, fs, QRS_BAND), fs)
    tops = np.flatnonzero((envelope[1:-1] > envelope[:-2]) & (envelope[1:-1] >= envelope[2:])) + 1
    heights = _heights(envelope, tops, fs)
    found = _choose(tops, heights, fs)
    found = np.sort(np.concatenate([found, _overdue(tops, heights, found, fs)]))
    return _peaks(_band(values, fs, WAVE_BAND), tops[found], fs)


def _band(values: Floats, fs: float, band: tuple[float, float]) -> Floats:
    low, high = band
    passed = bandpass(values[None], fs=fs, low=low, high=high, order=ORDER)
    return np.asarray(passed[0], dtype=np.float64)


def _envelope(qrs: Floats, fs: float) -> Floats:
    """Root mean square over the width of a complex: one hill a beat, whatever its shape."""
    power = uniform_filter1d(qrs * qrs, max(1, round(QRS * fs)), mode="constant")
    return np.asarray(np.sqrt(np.maximum(power, 0)))


def _heights(envelope: Floats, tops: Integers, fs: float) -> Floats:
    """How high each top (k,) stands between the level of the rest, 0, and of the beats, 1."""
    size = int(BLOCK * fs)
    count = len(envelope) // size
    highest = np.maximum.reduceat(envelope, size * np.arange(count))
    middle = np.median(envelope[: size * count].reshape(count, size), axis=1)
    beats = median_filter(maximum_filter1d(highest, REACH), AROUND)
    rest = median_filter(middle, AROUND)
    beats = np.maximum(beats, max(FAINT * float(np.median(beats)), SILENT))
    block = np.minimum(tops // size, count - 1)
    return np.asarray((envelope[tops] - rest[block]) / (beats - rest)[block])


def _choose(tops: Integers, heights: Floats, fs: float) -> Integers:
    """The places among `tops` of those that are beats by their height and distance."""
    chosen: list[int] = []
    for place in np.flatnonzero(heights >= BEAT).tolist():
        since = (tops[place] - tops[chosen[-1]]) / fs if chosen else math.inf
        if since < REFRACTORY:
            if heights[place] > heights[chosen[-1]]:
                chosen[-1] = place
        elif since > REPOLARISED or heights[place] >= T_WAVE * heights[chosen[-1]]:
            chosen.append(place)
    return np.array(chosen, dtype=np.int64)


def _overdue(tops: Integers, heights: Floats, found: Integers, fs: float) -> Integers:
    """In each interval that is too long for its neighbours, the highest top if it may be a beat."""
    if len(found) < 3:
        return np.empty(0, np.int64)
    intervals = np.diff(tops[found])
    missed = []
    for gap in np.flatnonzero(intervals > OVERDUE * median_filter(intervals, USUAL)).tolist():
        before, after = tops[found[gap]], tops[found[gap + 1]]
        start, stop = np.searchsorted(tops, [before + REPOLARISED * fs, after - REFRACTORY * fs])
        if start < stop:
            best = int(start + heights[start:stop].argmax())
            if heights[best] >= MISSED:
                missed.append(best)
    return np.array(missed, dtype=np.int64)


def _peaks(wave: Floats, middles: Integers, fs: float) -> Integers:
    """The largest deflection (k,) about each middle (k,), on the side that most beats prefer.

    Of a complex with R and S of nearly one size the larger may change from beat to beat; were it
    taken each time, a steady heart would seem irregular.
    """
    reach = round(PEAK * fs)
    near = np.clip(middles[:, None] + np.arange(-reach, reach + 1), 0, len(wave) - 1)
    around = wave[near]
    up, down = around.max(axis=1, initial=0), -around.min(axis=1, initial=0)
    if len(middles) and np.median(up - down) < 0:
        upright = up > UPSIDE_DOWN * down
    else:
        upright = down <= UPSIDE_DOWN * up
    peak = np.where(upright, around.argmax(1), around.argmin(1))
    return np.asarray(near[np.arange(len(near)), peak])
