"""Scalograms: the magnitude of the continuous wavelet transform on log-spaced frequencies."""

import math
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pywt
from numpy.typing import ArrayLike, NDArray

from retrace.errors import InputError
from retrace.signals.morlet import MorletEngine

# PyWavelets samples a wavelet at 2 ** PRECISION points and steps through that table: its default
# of 12 is 6 % off the wavelet it stands for, 16 is .6 % off.
PRECISION = 16
_HALF_SMALLEST = 2.0**-14  # normal number of float16
_HALF_LARGEST = 65504.0


def frequencies(low: float, high: float, scales: int) -> NDArray[np.float64]:
    """`scales` log-spaced frequencies in Hz from `high` down to `low`, both included.

    They descend because row 0 of an image is its top: a scalogram drawn or fed to a network as it
    stands has high frequencies above low ones. One scale alone stands at `high`.

    Raises:
        InputError: low is not above 0 and below high, or there is no scale.
    """
    if not 0 < low < high < math.inf:
        raise InputError(
            f"cwt.low is {low:g} Hz and high {high:g} Hz but 0 < low < high must hold: correct them"
        )
    if scales < 1:
        raise InputError(f"cwt.scales is {scales} but must be at least 1: 40 to 128 are usual")
    ratios = (high / low) ** (-np.arange(scales) / max(1, scales - 1))
    # pow() differs between CPUs in its last bits; eleven digits do not.
    return np.array([float(f"{high * ratio:.11g}") for ratio in ratios.tolist()])


class Scalogram:
    """The wavelet transform's magnitude at fixed frequencies and equally spaced frames.

    With the complex Morlet `cmorB-C` the coefficient at frequency f is the signal filtered by

        H(nu) = 2 exp(-pi^2 B (C nu / f - C)^2)   for nu > 0,   0 elsewhere:

    the analytic Morlet wavelet of bandwidth B and centre C, dilated to f and L1-normalised, so
    that a sine of f Hz and amplitude A mV has the magnitude A at every scale. Each window and lead
    is freed of its mean and zero-padded (linear convolution: nearer to an end than about
    sqrt(2 B) C / f seconds the zeros show). Frame n is the point sample at n * hop, hop = samples /
    frames; nothing is averaged.

    Every other name of `pywt.wavelist(kind="continuous")` goes through `pywt.cwt`, much slower, at
    the same frequencies and frames and normalised to the same height of a sine's ridge.

    J. Morlet et al., "Wave propagation and sampling theory", Geophysics 47 (1982) 203-236;
    C. Torrence and G. P. Compo, "A practical guide to wavelet analysis", Bull. Am. Meteorol. Soc.
    79 (1998) 61-78.

    Args:
        wavelet: a name as PyWavelets writes it, such as "cmor1.5-1.0".
        fs: sampling rate in Hz.
        samples: length of each window; a multiple of `frames`.
        low, high: lowest and highest frequency in Hz, high at most fs / 2.
        scales: number of frequencies, see `frequencies`.
        frames: number of points in time that are kept.

    Attributes:
        frequencies: Hz, shape (scales,), descending.
        hop: samples between frames.

    Raises:
        InputError: an unknown wavelet, a frequency above fs / 2, frames that do not divide the
            window or that are too few for the highest scale.
    """

    def __init__(
        self,
        *,
        wavelet: str,
        fs: float,
        samples: int,
        low: float,
        high: float,
        scales: int,
        frames: int,
    ) -> None:
        if not (math.isfinite(fs) and fs > 0):
            raise InputError(f"fs is {fs:g} Hz but must be above 0: give the true sampling rate")
        if high > fs / 2:
            raise InputError(
                f"cwt.high is {high:g} Hz but must be at most half the sampling rate, {fs / 2:g} "
                f"Hz at fs {fs:g} Hz: lower it or use recordings at a higher rate"
            )
        self.frequencies = frequencies(low, high, scales)
        self._wavelet = _continuous(wavelet)
        self._fs, self._samples, self._frames = fs, samples, frames
        self.hop = _hop(samples, frames, _time_width(self._wavelet) * fs / high, high)
        self._engine = None
        if self._wavelet.short_family_name == "cmor":
            self._engine = MorletEngine(
                self._wavelet.bandwidth_frequency,
                self._wavelet.center_frequency,
                self.frequencies,
                fs,
                samples,
                self.hop,
            )

    def __call__(self, windows: ArrayLike, *, threads: int = 1) -> NDArray[np.float16]:
        """Transform windows (n, leads, samples) in mV into (n, leads, scales, frames) float16 mV.

        The result is the same, byte for byte, for any n and any number of threads.

        Raises:
            InputError: another shape, a sample that is not finite, or a magnitude beyond float16.
        """
        result = self._transform(windows, np.float16, threads)
        return result.view(np.float16)

    def magnitude(self, windows: ArrayLike, *, threads: int = 1) -> NDArray[np.float32]:
        """The same before it is rounded to float16."""
        return self._transform(windows, np.float32, threads).view(np.float32)

    def _transform(
        self, windows: ArrayLike, dtype: type[np.floating], threads: int
    ) -> NDArray[np.floating]:
        values = np.asarray(windows, dtype=np.float32)
        if values.ndim != 3 or values.shape[2] != self._samples:
            raise InputError(
                f"windows have shape {values.shape} but must be (n, leads, {self._samples}): cut "
                "them to that length"
            )
        count, leads, _ = values.shape
        rows = np.ascontiguousarray(values).reshape(count * leads, self._samples)
        result = np.empty((len(rows), self.frequencies.size, self._frames), dtype)

        def work(start: int) -> None:
            centred = _centred(rows[start : start + step], start, leads)
            target = result[start : start + step]
            if self._engine is not None:
                self._engine(centred, lambda scales, block: _store(target[:, scales], block))
            else:
                _store(target, self._by_pywavelets(centred))

        step = self._engine.block if self._engine is not None else 1
        starts = range(0, len(rows), step)
        if threads == 1:
            for start in starts:
                work(start)
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(work, starts))
        return result.reshape(count, leads, self.frequencies.size, self._frames)

    def _by_pywavelets(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        centre = pywt.central_frequency(self._wavelet, precision=PRECISION)
        scales = centre * self._fs / self.frequencies
        # Not method="conv", which sums in an order of the CPU's choice.
        coefficients, _ = pywt.cwt(
            rows.astype(np.float64), scales, self._wavelet, method="fft", precision=PRECISION
        )
        coefficients = coefficients[..., :: self.hop].swapaxes(0, 1)
        power = coefficients.real**2 + coefficients.imag**2
        # pywt.cwt normalises to L2 (a ridge grows with the root of its scale).
        height = np.sqrt(scales) * _gain(self._wavelet, centre)
        return np.asarray(np.sqrt(power) / height[:, None], dtype=np.float32)


def _continuous(name: str) -> pywt.ContinuousWavelet:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # a family's name without its numbers
            wavelet = pywt.ContinuousWavelet(name)
        known_by_numbers = wavelet.short_family_name in ("cmor", "fbsp", "shan")
        numbers = (wavelet.bandwidth_frequency, wavelet.center_frequency)
        valid = not known_by_numbers or all(number and number > 0 for number in numbers)
    except ValueError:
        valid = False
    if not valid:
        known = ", ".join(pywt.wavelist(kind="continuous"))
        raise InputError(
            f"cwt.wavelet is {name!r} but must be one of {known}, with numbers above 0 as in "
            "cmor1.5-1.0 (bandwidth-centre), fbsp2-1-1.5 or shan1.5-1.0: use cmor1.5-1.0"
        )
    return wavelet


def _time_width(wavelet: pywt.ContinuousWavelet) -> float:
    """Full width at half maximum of the wavelet's envelope, in periods of its centre frequency."""
    if wavelet.short_family_name == "cmor":
        # |psi(t)| = exp(-t^2 / B) is 1/2 at t = sqrt(B ln 2), and C periods pass per unit of t.
        width = 2 * math.sqrt(wavelet.bandwidth_frequency * math.log(2))
        return float(width * wavelet.center_frequency)
    psi, time = wavelet.wavefun(level=12)
    above = time[np.abs(psi) >= np.abs(psi).max() / 2]
    return float((above[-1] - above[0]) * pywt.central_frequency(wavelet, precision=PRECISION))


def _gain(wavelet: pywt.ContinuousWavelet, frequency: float) -> float:
    """Greatest magnitude of the response to a sine of amplitude 1 at the centre frequency."""
    psi, time = wavelet.wavefun(level=PRECISION)
    wave = np.exp(2j * np.pi * frequency * time)
    step = time[1] - time[0]
    both = abs((psi * wave).sum()) + abs((psi * wave.conj()).sum())
    return float(both * step / 2)


def _hop(samples: int, frames: int, width: float, high: float) -> int:
    """Samples between frames, checked; `width` is the highest scale's, in samples."""
    divisors = [n for n in range(1, samples + 1) if samples % n == 0]
    fitting = [n for n in divisors if samples / n <= 2 * width]
    if frames not in divisors:
        near = sorted(sorted(divisors, key=lambda n: abs(n - frames))[:4])
        raise InputError(
            f"cwt.frames is {frames} but must divide the window's {samples} samples: use "
            f"{', '.join(map(str, near))}"
        )
    hop = samples // frames
    if hop > 2 * width:
        remedy = f"use at least {fitting[0]} frames" if fitting else "use a higher sampling rate"
        raise InputError(
            f"cwt.frames is {frames}, one in {hop} samples, but frames may be at most "
            f"{2 * width:.4g} samples apart, twice the time width at {high:g} Hz, or waves fall "
            "between them: "
            f"{remedy} or lower high"
        )
    return hop


def _centred(rows: NDArray[np.float32], start: int, leads: int) -> NDArray[np.float32]:
    means = rows.mean(axis=1, keepdims=True)
    for row in np.flatnonzero(~np.isfinite(means)).tolist():
        window, lead = divmod(start + row, leads)
        raise InputError(
            f"window {window}, lead {lead} has samples that are NaN or infinite but every sample "
            "must be finite: interpolate them or leave the window out"
        )
    return np.asarray(rows - means)


def _store(target: NDArray[np.floating], magnitudes: NDArray[np.float32]) -> None:
    """Write magnitudes to float32 or, correctly rounded, to float16 storage."""
    if target.dtype == np.float32:
        target[...] = magnitudes
        return
    largest = magnitudes.max()
    if not largest <= _HALF_LARGEST:
        raise InputError(
            f"a scalogram reaches {largest:.3g} but float16 ends at {_HALF_LARGEST:g} mV: give the "
            "signal in mV"
        )
    # NumPy converts to float16 one by one; this does what it does (round half to even, on the
    # bits) six times as fast. The constant shifts the exponent's bias from 127 to 15 and rounds.
    bits = magnitudes.view(np.uint32)
    rounded = bits >> 13
    rounded &= 1
    rounded += np.uint32((0x0FFF - ((127 - 15) << 23)) % 2**32)
    rounded += bits
    rounded >>= 13
    target.view(np.uint16)[...] = rounded
    if magnitudes.min() < _HALF_SMALLEST:
        target[magnitudes < _HALF_SMALLEST] = magnitudes[magnitudes < _HALF_SMALLEST]
