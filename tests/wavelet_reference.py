"""The wavelet transform's definition, spelt out: float64, full rate, one scale at a time."""

import math

import numpy as np
from numpy.typing import NDArray


def reference_scalogram(
    windows: NDArray[np.float32],
    frequencies: NDArray[np.float64],
    *,
    fs: float,
    bandwidth: float,
    centre: float,
    hop: int,
) -> NDArray[np.float64]:
    """|W| of windows (n, leads, samples) at every hop-th sample, (n, leads, scales, frames)."""
    samples = windows.shape[-1]
    signal = windows.astype(np.float64)
    signal -= signal.mean(axis=-1, keepdims=True)
    # Zeros farther than the Gaussian reaches (it is e^-36 there) and for what rings on as 1/t.
    length = 16 * samples + math.ceil(12 * math.sqrt(bandwidth) * centre * fs / frequencies.min())
    spectrum = np.fft.fft(signal, n=length)
    nu = np.fft.fftfreq(length, 1 / fs)
    scales = []
    for frequency in frequencies:
        response = 2 * np.exp(-(np.pi**2) * bandwidth * (centre * nu / frequency - centre) ** 2)
        response[nu <= 0] = 0
        scales.append(np.abs(np.fft.ifft(spectrum * response))[..., :samples:hop])
    return np.stack(scales, axis=-2)
