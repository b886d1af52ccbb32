"""Zero-phase Butterworth band-pass for whole recordings."""

import math
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.signal import butter, sosfilt

from retrace.errors import InputError
from retrace.signals.records import Record


def design_bandpass(low: float, high: float, fs: float, order: int) -> NDArray[np.float64]:
    """Butterworth band-pass as second-order sections.

    Args:
        low, high: the two -3 dB frequencies in Hz, 0 < low < high < fs / 2.
        fs: sampling rate in Hz.
        order: order of the low-pass prototype, 1 to 10; the band-pass has twice as many poles,
            `order` on each side of the band.

    Returns:
        Sections, shape (order, 6), each b0 b1 b2 a0 a1 a2.

    Raises:
        InputError: a frequency or the order is outside its range.

    S. Butterworth, "On the theory of filter amplifiers", Wireless Engineer 7 (1930) 536-541.
    """
    if not (math.isfinite(fs) and fs > 0):
        raise InputError(f"fs is {fs:g} Hz but must be above 0: give the true sampling rate")
    if not low > 0:
        raise InputError(
            f"bandpass.low is {low:g} Hz but must be above 0: use 0.5 Hz to remove baseline wander"
        )
    if not high < fs / 2:
        raise InputError(
            f"bandpass.high is {high:g} Hz but must be below half the sampling rate, {fs / 2:g} Hz "
            f"at fs {fs:g} Hz: lower it or use recordings at a higher rate"
        )
    if not low < high:
        raise InputError(
            f"bandpass.low is {low:g} Hz but must be below high, {high:g} Hz: exchange or correct "
            "them"
        )
    if not 1 <= order <= 10:
        raise InputError(f"bandpass.order is {order} but must be 1 to 10: 4 is usual for ECG")
    return np.array(_coefficients(low, high, fs, order))


@cache  # or it would take half the time of filtering a 10 s window; a data set has few rates
def _coefficients(low: float, high: float, fs: float, order: int) -> list[list[float]]:
    sections = butter(order, (low, high), btype="bandpass", fs=fs, output="sos")
    # The last bits of butter() differ between CPUs with and without AVX2; eleven digits do not,
    # and they move a pole by far less than any recording could show.
    return [[float(f"{value:.11g}") for value in row] for row in sections.tolist()]


def bandpass(
    signal: ArrayLike, *, fs: float, low: float, high: float, order: int
) -> NDArray[np.float32]:
    """Band-pass a recording forwards and backwards, so that no wave is shifted in time.

    Two passes square the magnitude response: the attenuation in dB and the effective order are
    twice the design's, and the gain at `low` and `high` is -6 dB, where one pass has -3 dB.

    Each end is extended by its odd reflection, one period of `low` long (at least the three times
    the filter's length that are usual), in which the start-up transient of the high-pass side
    dies down. A recording that is no longer than that is refused, not padded less: it holds less
    than a cycle of `low`, so what came out would be the edge's shape and not the heart's.

    Args:
        signal: shape (leads, samples) in mV, any real dtype; computed in float64.
        fs: sampling rate in Hz.
        low, high, order: see `design_bandpass`.

    Returns:
        Shape (leads, samples), float32, mV.

    Raises:
        InputError: a parameter is out of range, the recording too short, or a sample not finite.
    """
    sections = design_bandpass(low, high, fs, order)
    values = np.asarray(signal, dtype=np.float64)
    if values.ndim != 2:
        raise InputError(
            f"signal has shape {values.shape} but must be (leads, samples): add the lead axis"
        )
    padding = max(3 * (2 * order + 1), math.ceil(fs / low))
    if values.shape[1] <= padding:
        raise InputError(
            f"recording has {values.shape[1]} samples but must have more than {padding}, one "
            f"period of bandpass.low {low:g} Hz at {fs:g} Hz: leave it out or raise low"
        )
    for lead, missing in enumerate((~np.isfinite(values)).sum(axis=1).tolist()):
        if missing:
            raise InputError(
                f"lead {lead} has {missing} samples that are NaN or infinite but every sample must "
                "be finite: interpolate or cut them, or leave the recording out"
            )
    before = 2 * values[:, :1] - values[:, padding:0:-1]
    after = 2 * values[:, -1:] - values[:, -2 : -padding - 2 : -1]
    padded = np.concatenate([before, values, after], axis=1)
    settled = _settled(sections)[:, None]
    for _ in range(2):  # forwards, then backwards
        passed, _ = sosfilt(sections, padded, zi=settled * padded[:, :1])
        padded = passed[:, ::-1]
    return padded[:, padding:-padding].astype(np.float32)


def _settled(sections: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sections' states (order, 2) after an endless input of 1.

    What `scipy.signal.sosfilt_zi` gives, but for the last bits: it asks LAPACK, whose sums go in
    an order of the processor's choice.
    """
    states, level = [], 1.0
    for b0, b1, b2, _, a1, a2 in sections.tolist():
        output = level * (b0 + b1 + b2) / (1 + a1 + a2)
        states.append((output - b0 * level, b2 * level - a2 * output))
        level = output
    return np.array(states)


def filtered(record: Record, *, low: float, high: float, order: int) -> Record:
    """The record with its signal band-passed, or at order 0 as it is; an error names the record.

    A record that its publisher has filtered in this very way is left as it is: a second pass would
    double the attenuation at `low` and `high` and add transients at both ends. Any other filter is
    refused, since what came out would not be what a model's signal domain says it is. A beat that
    its publisher has cut out and scaled takes no filter either: it has no surroundings.
    """
    if record.band == (low, high, order):
        return record
    try:
        if record.band is not None:
            raise InputError(
                f"bandpass is {low:g} to {high:g} Hz at order {order}, but it was published after "
                "a filter, which cannot be undone: set bandpass.low to {:g}, high to {:g} and "
                "order to {} in params.yaml".format(*record.band)
            )
        if order == 0:
            return record
        if record.cut:
            raise InputError(
                f"bandpass.order is {order}, but it is a single beat, cut out and scaled by its "
                "publisher, and a filter needs what was around it: set bandpass.order to 0 in "
                "params.yaml"
            )
        signal = bandpass(record.signal, fs=record.fs, low=low, high=high, order=order)
    except InputError as error:
        raise InputError(f"record {record.record_id}: {error}") from None
    return record.with_signal(signal)
