"""Can beats be made out? Signal quality, ten seconds at a time.

The index of noise is how restless a lead is between its beats: how steep it is in its quietest
tenths of a second, as a share of how steep its beats are. It asks what the kurtosis (kSQI) of Q.
Li, R. G. Mark and G. D. Clifford asks, "Robust heart rate estimation from multiple asynchronous
noisy sources using signal quality indices and a Kalman filter", Physiol. Meas. 29 (2008) 15-32: are
there a few high peaks above much rest? But of steepness, so that neither T waves nor a baseline
count; of each second by itself, so that one artefact is no peak of all ten; and of ranks, not of
fourth powers. A fast heart has no rest either, yet repeats itself, which noise does not.

The numbers were looked at on recordings of odd number; `benchmarks/quality.py` scores the others.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, rfft

from retrace.errors import InputError
from retrace.signals.scaling import FLAT

Floats = NDArray[np.floating]

SPAN = 10  # s
LOWEST_FS = 40.0  # Hz; a tenth of a second holds four steps
RATE = 60.0  # Hz: from one sample to the next at about this rate QRS complexes are steepest
BEAT = 2  # s, in which a heart beats at least once, down to 30 a minute
QUIET = 2  # tenths of each second that are quieter still: up to 200 beats a minute they are rest
SPARED = 1  # seconds of the ten that may be worse: one burst spoils no answer
RESTLESS = 0.2  # of the beats' steepness; 0.06 in half of MIT-BIH's leads, 0.5 in white noise
FASTEST, SLOWEST = 0.2, 1.5  # s, between which a heart repeats itself ...
TREMOR = 0.08, 0.17  # s, and what does so within this is tremor or the mains
ALIKE = 0.65  # autocorrelation of the steps
AT_REST = 0.5  # of the seconds, in which nothing changes: then the lead is flat
AT_A_LIMIT = 0.005  # of the samples at the highest or lowest value: 50 ms, a few R waves cut off
PILED = 4  # times as many as at the next value: round tops in coarse steps have less than twice
FAR = 0.25  # of the range: a limit is that far from the mean, or it is the baseline
NOTHING = 1e-6  # mV; the steepness of a lead that never changes, so that it can be divided by

WORDS = ("good", "clipped", "noisy", "flat")  # from best to worst


def quality(signal: NDArray[np.float32], fs: float) -> list[tuple[float, str]]:
    """Name the quality of each whole ten seconds; of several leads the worst decides.

    Args:
        signal: shape (leads, samples) in mV, raw or band-passed. Behind a filter a limit of the
            converter is no limit any more: only a raw signal shows that it is clipped.
        fs: sampling rate in Hz, from 40.

    Returns:
        Start (s) and a word, in order: "good"; "clipped": samples lie at the end of the
        converter's range, so that heights are wrong; "noisy": there is no rest between the beats,
        or no beats (ventricular fibrillation and coarse f waves are not told from noise); "flat":
        in half of the seconds nothing changes. Less than ten seconds at the end have no word.

    Raises:
        InputError: `fs` is too low to tell beats from noise.
    """
    if not (math.isfinite(fs) and fs >= LOWEST_FS):
        raise InputError(
            f"fs is {fs:g} Hz but must be at least {LOWEST_FS:g} Hz to show whether beats can be "
            "made out: use a recording with a higher rate"
        )
    windows = _windows(signal, fs)
    coarse = _coarse(windows, fs)
    found = np.zeros(coarse.shape[:2], np.int64)
    for word, told in (
        ("clipped", _clipped(windows)),
        ("noisy", ~(_restlessness(coarse, fs) <= RESTLESS)),  # no number is noise too
        ("flat", _flat(coarse)),
    ):
        found[told] = WORDS.index(word)
    worst = found.max(axis=0, initial=0)
    return [(float(SPAN * n), WORDS[word]) for n, word in enumerate(worst.tolist())]


def restlessness(signal: NDArray[np.float32], fs: float) -> Floats:
    """How steep (leads, samples) is between its beats, as a share of the beats' own steepness.

    (leads, whole ten seconds): 0 where nothing lies between the beats, or what does so repeats
    itself at a heart's pace; about 0.5 in white noise.
    """
    return _restlessness(_coarse(_windows(signal, fs), fs), fs)


def _windows(signal: NDArray[np.float32], fs: float) -> NDArray[np.float32]:
    """(leads, count, samples of ten seconds)."""
    length = round(SPAN * fs)
    count = signal.shape[1] // length
    return signal[:, : count * length].reshape(len(signal), count, length)


def _step(fs: float) -> int:
    return max(1, round(fs / RATE))


def _coarse(windows: NDArray[np.float32], fs: float) -> NDArray[np.float32]:
    """The windows at about `RATE`: means of so many samples."""
    parts = _parts(windows, windows.shape[-1] // _step(fs))
    # A sum over so short an axis takes einsum a fifth of the time.
    return np.asarray(np.einsum("...i->...", parts) / parts.shape[-1])


def _restlessness(coarse: NDArray[np.float32], fs: float) -> Floats:
    steps = np.diff(coarse, axis=-1, prepend=coarse[..., :1])
    tenths = _parts(np.abs(steps), 10 * SPAN).mean(axis=-1)
    beats = np.median(_parts(tenths, SPAN // BEAT).max(axis=-1), axis=-1)
    quiet = np.sort(_parts(tenths, SPAN), axis=-1)[..., QUIET]
    found = np.sort(quiet, axis=-1)[..., -1 - SPARED] / np.maximum(beats, NOTHING)
    doubtful = found > RESTLESS
    found[doubtful] *= ~_repeats(steps[doubtful], fs / _step(fs))
    return np.asarray(found)


def _repeats(steps: NDArray[np.float32], rate: float) -> NDArray[np.bool_]:
    """Whether each row (k, n) resembles itself one beat later, and not sooner."""
    n = steps.shape[-1]
    last = round(SLOWEST * rate) + 1
    spectrum = rfft(steps - steps.mean(axis=-1, keepdims=True), n + last, axis=-1)
    products = irfft(spectrum.real**2 + spectrum.imag**2, n + last, axis=-1)[:, :last]
    alike = products / np.maximum(products[:, :1], NOTHING**2) * (n / (n - np.arange(last)))
    highest = [
        alike[:, round(first * rate) : round(stop * rate) + 1].max(axis=-1, initial=-1)
        for first, stop in ((FASTEST, SLOWEST), TREMOR)
    ]
    return np.asarray((highest[0] > ALIKE) & (highest[1] < ALIKE))


def _clipped(windows: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether the converter ended too early, above or below: (leads, count)."""
    return _piled(windows) | _piled(-windows)


def _piled(windows: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether many samples are the very highest, and few the next lower: (leads, count)."""
    top = windows.max(axis=-1, keepdims=True)
    far = top - windows.mean(axis=-1, keepdims=True) > FAR * (
        top - windows.min(axis=-1, keepdims=True)
    )
    there = np.count_nonzero(windows == top, axis=-1)
    found = np.asarray(far[..., 0] & (there >= AT_A_LIMIT * windows.shape[-1]))
    below = np.where(windows[found] < top[found], windows[found], -np.inf)
    next_lower = np.count_nonzero(below == below.max(axis=-1, keepdims=True), axis=-1)
    found[found] = there[found] > PILED * next_lower
    return found


def _flat(coarse: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether nothing changes in so many of the seconds: (leads, count)."""
    return np.asarray((np.ptp(_parts(coarse, SPAN), axis=-1) < FLAT).mean(axis=-1) >= AT_REST)


def _parts(values: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """The last axis cut into `count` parts; what is left over is not looked at."""
    size = values.shape[-1] // count
    return values[..., : count * size].reshape(*values.shape[:-1], count, size)
