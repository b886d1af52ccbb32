"""Noise of a given spectrum."""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from retrace.errors import InputError

Floats = NDArray[np.float64]


def coloured(rng: Generator, t: Floats, low: float, high: float, exponent: float) -> Floats:
    """Gaussian noise of unit power between `low` and `high` Hz, spectral density f**exponent.

    t: (n,) equally spaced instants in s. Raises InputError where they are too coarse or too few.
    """
    f = np.fft.rfftfreq(len(t), t[1] - t[0])
    band = (f > low) & (f < high)
    if not band.any():
        raise InputError(
            f"noise above {low:g} Hz: {len(t)} samples at {1 / (t[1] - t[0]):g} Hz cannot hold "
            "it: use recordings at a higher rate"
        )
    parts = rng.normal(size=(2, band.sum()))
    spectrum = np.zeros(len(f), np.complex128)
    spectrum[band] = f[band] ** (exponent / 2) * (parts[0] + 1j * parts[1])
    noise = np.fft.irfft(spectrum, len(t))
    return np.asarray(noise / np.sqrt(np.mean(noise**2)))
