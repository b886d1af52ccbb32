"""The fast engine behind `wavelets`: the analytic Morlet transform, only at the kept frames.

A scale's spectrum is the signal's times a short Gaussian, and a point sample every `hop` samples of
its inverse transform is the inverse transform, `hop` times shorter, of that product folded modulo
its length. That is exact, so no scale is ever evaluated at the full rate. Three more savings:

- Only the bins under the Gaussian are multiplied, and the band is moved to bin 0, which turns the
  phase of a coefficient and leaves its magnitude.
- A low scale reaches far beyond the window and needs long zero-padding, a high one little. The long
  padding is put on a copy of the signal that was low-passed (by a Gaussian, which the low scales'
  bank divides out again) and resampled to a few times the frame rate: there it is cheap.
- Scales go in groups and windows in blocks whose working set fits a core's cache.

Everything that depends on a CPU's last bits (exp) is done in float64 and rounded to float32; what
is left are IEEE products, sums and square roots, and SciPy's FFT, whose arithmetic is the same on
every x86-64. There is no BLAS and no complex product (NumPy fuses those where the CPU can).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import fft

# Where the Gaussian falls below this share of its peak, in time: zero-padding reaches so far.
WRAPPED = 1e-5
# A Gaussian that is cut off, at 0 or at Nyquist, above this share of its peak rings on as 1/t, and
# gets so many windows of zeros: slow, but no usual setting comes near.
RINGING = 1e-4
ENDLESS = 7
# The same in frequency: bins beyond are not evaluated.
NEGLIGIBLE = 1e-6
# Below this frequency times the window's length the padding would exceed a tenth of the window;
# such scales go through the resampled copy.
PADDED = 0.1
# Rate of that copy over the highest frequency its scales see: the low-pass then has room to fall
# by NEGLIGIBLE up to Nyquist and still costs hardly any precision at the scales' own centre.
OVERSAMPLING = 5.0
GROUP = 16  # scales; more means fewer NumPy calls, fewer means tighter bands
WORKING_SET = 512 * 1024  # bytes of complex coefficients at a time, about half of a core's L2

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class _Group:
    """Neighbouring scales that share a band of the spectrum and an inverse transform's length."""

    scales: slice
    length: int  # of the inverse transform: the frames and the padding
    resampled: int  # length of the padded, resampled signal; 0: the scales see the signal itself
    first: int  # first bin of the band
    bank: Floats  # (scales, bins, 2): each weight twice, for the real and the imaginary part


class MorletEngine:
    """Magnitudes at every `hop`-th sample; see `wavelets.Scalogram` for the definition."""

    def __init__(
        self,
        bandwidth: float,
        centre: float,
        frequencies: NDArray[np.float64],
        fs: float,
        samples: int,
        hop: int,
    ) -> None:
        self._bandwidth, self._centre = bandwidth, centre
        self._fs, self._samples, self._hop = fs, samples, hop
        self._frames = samples // hop
        self._frequencies = frequencies
        self._spread = math.sqrt(-math.log(NEGLIGIBLE) / bandwidth) / (math.pi * centre)

        # Scales are in descending order: first the direct ones, from `slow` on the resampled ones.
        split = self._reach(1.0) / (PADDED * samples / fs)
        slow = int((frequencies >= split).sum())
        rate = split * (1 + self._spread) * OVERSAMPLING
        self._oversampling = math.ceil(rate * hop / fs)
        cut_off = max(self._gain(0.0, 1.0), self._gain(fs / 2, frequencies.max()))
        self._endless = cut_off > RINGING
        if slow == frequencies.size or 2 * self._oversampling > hop or self._endless:
            slow, self._oversampling = frequencies.size, 0
            self._length = self._padded(frequencies.min())
        else:
            self._length = self._padded(split)
            self._design_low_pass(split)
        self._groups = [self._group(s, 0) for s in _chunks(0, slow)] + [
            self._group(s, self._oversampling) for s in _chunks(slow, frequencies.size)
        ]
        largest = max(g.length * (g.scales.stop - g.scales.start) for g in self._groups)
        self.block = max(1, WORKING_SET // (8 * largest))

    def _reach(self, frequency: float) -> float:
        """Seconds from the middle of the wavelet to where it has fallen to WRAPPED."""
        return math.sqrt(-self._bandwidth * math.log(WRAPPED)) * self._centre / frequency

    def _gain(self, nu: float, frequency: float) -> float:
        """The wavelet's Gaussian at nu Hz, as a share of its peak at `frequency`."""
        detune = self._centre * (nu / frequency - 1)
        return math.exp(-(math.pi**2) * self._bandwidth * detune**2)

    def _padded(self, lowest: float) -> int:
        """Frames to transform so that the circular wrap of `lowest` misses the window."""
        reach = math.ceil(self._reach(lowest) * self._fs / self._hop)
        if self._endless:
            reach = max(reach, ENDLESS * self._frames)
        return int(fft.next_fast_len(self._frames + reach, real=True))

    def _design_low_pass(self, highest: float) -> None:
        # A Gaussian whose Nyquist value is NEGLIGIBLE of that at the highest frequency in use.
        nyquist = self._oversampling * self._fs / self._hop / 2
        used = highest * (1 + self._spread)
        self._variance = (nyquist**2 - used**2) / (-2 * math.log(NEGLIGIBLE))
        bins = self._length * self._oversampling // 2 + 1
        nu = np.arange(bins) * self._fs / (self._length * self._hop)
        gains = np.exp(-(nu**2) / (2 * self._variance)) / (self._length * self._hop)
        self._low_pass = np.repeat(gains[:, None], 2, axis=1).astype(np.float32)

    def _group(self, scales: slice, oversampling: int) -> _Group:
        frequencies = self._frequencies[scales]
        length = self._padded(frequencies.min()) if oversampling else self._length
        total = length * (oversampling or self._hop)
        step = self._fs / (length * self._hop)  # Hz between bins
        low = frequencies.min() * (1 - self._spread) / step
        high = frequencies.max() * (1 + self._spread) / step
        first = max(1, math.floor(low))  # analytic: above 0 and below half the rate
        last = min((total - 1) // 2, math.ceil(high))
        nu = np.arange(first, last + 1) * step
        detune = self._centre * (nu / frequencies[:, None] - 1)
        weights = 2 * np.exp(-(np.pi**2) * self._bandwidth * detune**2) / total
        if oversampling:
            weights *= np.exp(nu**2 / (2 * self._variance))
        bank = np.repeat(weights[..., None], 2, axis=-1).astype(np.float32)
        return _Group(scales, length, length * oversampling, first, bank)

    def __call__(self, windows: Floats, store: Callable[[slice, Floats], None]) -> None:
        """Transform at most `block` mean-free windows (rows, samples).

        `store(scales, magnitudes)` receives each group's (rows, scales, frames) once, in a buffer
        that it may overwrite.
        """
        rows = len(windows)
        padded = np.zeros((rows, self._length * self._hop), np.float32)
        padded[:, : self._samples] = windows
        whole = fft.rfft(padded)
        copy = self._resample(whole) if self._oversampling else None
        spectrum, length = _parts(whole), 0
        for group in self._groups:
            if copy is not None and group.resampled != length:
                length = group.resampled
                spectrum = _parts(fft.rfft(self._pad(copy, length)))
            coefficients = self._coefficients(spectrum, group)
            # Cropped to one contiguous piece: NumPy is several times slower row by row.
            parts = _parts(np.ascontiguousarray(coefficients[:, :, : self._frames]))
            np.multiply(parts, parts, out=parts)
            power = parts[..., 0] + parts[..., 1]
            store(group.scales, np.sqrt(power, out=power))

    def _resample(self, spectrum: NDArray[np.complex64]) -> Floats:
        low = _parts(spectrum[:, : len(self._low_pass)]) * self._low_pass
        length = self._length * self._oversampling
        return np.asarray(fft.irfft(low.view(np.complex64)[..., 0], n=length, norm="forward"))

    def _pad(self, copy: Floats, length: int) -> Floats:
        # The low-pass reaches a little beyond both ends, at the front round to the far end; in the
        # middle of the padding both of its tails have died down, so there the zeros go.
        rows, have = copy.shape
        cut = (self._frames * self._oversampling + have) // 2
        padded = np.zeros((rows, length), np.float32)
        padded[:, :cut] = copy[:, :cut]
        padded[:, length - (have - cut) :] = copy[:, cut:]
        return padded

    def _coefficients(self, spectrum: Floats, group: _Group) -> NDArray[np.complex64]:
        scales, bins, _ = group.bank.shape
        band = spectrum[:, None, group.first : group.first + bins]
        product = np.empty((len(spectrum), scales, group.length), np.complex64)
        folded = _parts(product)
        size = min(bins, group.length)
        np.multiply(band[:, :, :size], group.bank[:, :size], out=folded[:, :, :size])
        folded[:, :, size:] = 0
        for start in range(group.length, bins, group.length):
            part = slice(start, min(start + group.length, bins))
            folded[:, :, : part.stop - start] += band[:, :, part] * group.bank[:, part]
        return np.asarray(fft.ifft(product, norm="forward", overwrite_x=True))


def _chunks(start: int, stop: int) -> list[slice]:
    """Groups of scales as even as they come, none above GROUP."""
    count = math.ceil((stop - start) / GROUP)
    edges = [start + (stop - start) * i // count for i in range(count + 1)] if count else []
    return [slice(a, b) for a, b in pairwise(edges)]


def _parts(values: NDArray[np.complex64]) -> Floats:
    """Complex (..., n) as a float32 view (..., n, 2)."""
    return values.view(np.float32).reshape(*values.shape, 2)
