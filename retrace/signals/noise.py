"""Noise as ambulatory recordings have it: baseline wander, muscle and electrode motion.

The three kinds are those of the MIT-BIH Noise Stress Test Database (G. B. Moody, W. E. Muldrow and
R. G. Mark, "A noise stress test for arrhythmia detectors", Computers in Cardiology 11 (1984)
381-384). Its recordings are not used: the noise is made from a seed, to what is known of each kind.

The signal-to-noise ratio of a lead is the power of its own signal between 0.5 and 40 Hz, over the
power of the noise as it is added, before any filter, both over the whole recording. The database
takes the height of the QRS complexes for its signal instead, as if they were a sine, and leaves out
the quiet between them: at the same figure its noise is stronger, by 7 dB in the median of MIT-BIH's
recordings (3 to 9 dB in eight of ten).
"""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator, default_rng
from numpy.typing import NDArray
from scipy.fft import next_fast_len

from retrace.signals.records import Record
from retrace.signals.spectra import coloured

Floats = NDArray[np.float64]

BAND = (0.5, 40.0)  # Hz, in which a heart is heard
_DRIFT = 0.05  # Hz, below which nothing drifts: the database has removed it too
_STRETCH = 40.0  # s, two periods of the slowest drift: what is shorter is cut out of so much


def _wander(rng: Generator, t: Floats) -> Floats:
    """Slow drifts of the electrodes, and the breath: all between 0.05 and 0.5 Hz."""
    breath = rng.uniform(0.17, 0.34)
    return coloured(rng, t, _DRIFT, 0.5, -1) + coloured(rng, t, breath - 0.05, breath + 0.05, 0)


def _muscle(rng: Generator, t: Floats) -> Floats:
    """The electromyogram at the skin, 20 to 150 Hz, in bursts.

    Tissue lets its low frequencies through best, hence 1/f. Its strength swings by a log-normal
    factor over tenths of a second to seconds.
    """
    strength = np.exp(0.5 * coloured(rng, t, 0.1, 2, -1))
    return strength * coloured(rng, t, 20, min(150.0, 0.5 / (t[1] - t[0])), -1)


def _motion(rng: Generator, t: Floats) -> Floats:
    """An electrode that moves on the skin, mostly 1 to 10 Hz: where QRS complexes lie.

    A restless baseline, jumps of it that die away (and overshoot, behind an amplifier that lets no
    steady voltage pass), and bumps as long as a wide QRS complex.
    """
    noise = coloured(rng, t, 1, 10, -1)
    for shape, rate in ((_jump, 0.6), (_bump, 0.6)):
        for start in rng.uniform(t[0], t[-1], rng.poisson(rate * t[-1])):
            first, last = np.searchsorted(t, (start - 0.3, start + 1.5))
            noise[first:last] += rng.normal(0, 3) * shape(rng, t[first:last] - start)
    return noise


def _jump(rng: Generator, since: Floats) -> Floats:
    """A step at 0 s that decays, with as much area below zero as above."""
    decays = np.maximum(since, 0) / rng.uniform(0.05, 0.15)
    return np.where(since >= 0, (1 - decays) * np.exp(-decays), 0)


def _bump(rng: Generator, since: Floats) -> Floats:
    """Up and down around 0 s within 0.1 to 0.2 s, of height 1."""
    widths = since / rng.uniform(0.025, 0.05)
    return np.asarray(widths * np.exp((1 - widths**2) / 2))


KINDS: dict[str, Callable[[Generator, Floats], Floats]] = {
    "baseline wander": _wander,
    "muscle": _muscle,
    "electrode motion": _motion,
}


def noise_for(record: Record, kind: str, seed: int) -> Floats:
    """Noise (leads, samples) of mean 0 and power 1 in every lead, to be scaled by `strength`.

    kind: one of `KINDS`. The generator is named by seed, kind, record and lead, so that a
    recording's noise depends on no other recording, and its leads have noise of their own.
    """
    leads, samples = record.signal.shape
    stretch = next_fast_len(max(samples, round(_STRETCH * record.fs)), real=True)
    t = np.arange(stretch) / record.fs
    noise = np.empty((leads, samples))
    for lead in range(leads):
        rng = default_rng([seed, *f"{kind}, {record.record_id}, {lead}".encode()])
        made = KINDS[kind](rng, t)[:samples]
        made -= made.mean()
        # Six decimals leave no room for the last bits, in which processors differ over exp.
        noise[lead] = np.round(made / np.sqrt(np.mean(made**2)), 6)
    return noise


def strength(record: Record, snr: float) -> Floats:
    """The amplitude (leads, 1) in mV of unit noise for a signal-to-noise ratio of `snr` dB.

    The signal's own noise counts as signal; nobody can tell them apart.
    """
    wanted = np.sqrt(band_power(record.signal, record.fs)) * 10 ** (-snr / 20)
    return np.array([[float(f"{value:.11g}")] for value in wanted.tolist()])


def band_power(signal: NDArray[np.floating], fs: float) -> Floats:
    """The power (leads,) of a signal (leads, samples) between the two frequencies of `BAND`."""
    samples = signal.shape[1]
    centred = signal - signal.mean(axis=1, keepdims=True, dtype=np.float64)
    f = np.fft.rfftfreq(samples, 1 / fs)
    spectrum = np.fft.rfft(centred)[:, (f >= BAND[0]) & (f <= BAND[1])]
    # Each of these frequencies stands for its negative as well (Parseval).
    return np.asarray(2 * (spectrum.real**2 + spectrum.imag**2).sum(axis=1) / samples**2)
