"""Scalograms against their definition, against PyWavelets and against physics."""

import hashlib

import numpy as np
import pytest
import pywt
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from retrace.errors import InputError
from retrace.signals.filters import bandpass
from retrace.signals.wavelets import PRECISION, Scalogram, frequencies
from tests.processor import without_features
from tests.wavelet_reference import reference_scalogram

FS = 128.0
SAMPLES = 1280
SECONDS = np.arange(SAMPLES) / FS


def scalogram(
    wavelet: str = "cmor1.5-1.0",
    fs: float = FS,
    samples: int = SAMPLES,
    low: float = 0.5,
    high: float = 32,
    scales: int = 40,
    frames: int = 80,
) -> Scalogram:
    return Scalogram(
        wavelet=wavelet,
        fs=fs,
        samples=samples,
        low=low,
        high=high,
        scales=scales,
        frames=frames,
    )


def one(signal: NDArray[np.floating]) -> NDArray[np.float32]:
    """A signal as one window of one lead."""
    return signal.astype(np.float32)[None, None]


def difficult(samples: int, seed: int) -> NDArray[np.float32]:
    """Noise, a random walk, a step and impulses at the edges: (2, 2, samples)."""
    generator = np.random.default_rng(seed)
    windows = generator.standard_normal((2, 2, samples))
    windows[0, 1] = windows[0, 1].cumsum() / 10
    windows[1, 0] = np.arange(samples) > samples / 3
    windows[1, 1, 1:-1] = 0
    return windows.astype(np.float32)


def worst(ours: NDArray[np.floating], theirs: NDArray[np.floating]) -> float:
    """Largest difference over the peak, the worst of all windows and leads."""
    peaks = theirs.max(axis=(2, 3))
    return float((np.abs(ours - theirs).max(axis=(2, 3)) / peaks).max())


def against_reference(transform: Scalogram, fs: float, samples: int, b: float, c: float) -> float:
    windows = difficult(samples, seed=1)
    theirs = reference_scalogram(
        windows, transform.frequencies, fs=fs, bandwidth=b, centre=c, hop=transform.hop
    )
    return worst(transform.magnitude(windows), theirs)


@pytest.mark.parametrize(
    ("fs", "samples", "low", "high", "scales", "frames"),
    [
        (128, 1280, 0.5, 32, 40, 80),  # the default run's
        (1024, 10240, 0.5, 50, 24, 256),
        (300, 2700, 0.5, 50, 24, 540),
        (128, 1280, 0.05, 8, 24, 20),  # wavelets longer than the window
        (360, 1001, 2, 45, 16, 143),  # odd lengths
    ],
)
def test_the_engine_agrees_with_the_definition(
    fs: float, samples: int, low: float, high: float, scales: int, frames: int
) -> None:
    transform = scalogram("cmor1.5-1.0", fs, samples, low, high, scales, frames)
    assert against_reference(transform, fs, samples, 1.5, 1.0) < 1e-5


@pytest.mark.parametrize(
    ("wavelet", "b", "c", "high"),
    [("cmor1.5-1.0", 1.5, 1.0, 64), ("cmor1.0-0.5", 1.0, 0.5, 32)],
    ids=["cut off at Nyquist", "cut off at 0"],
)
def test_the_engine_agrees_where_the_wavelet_rings(
    wavelet: str, b: float, c: float, high: float
) -> None:
    transform = scalogram(wavelet, high=high, scales=16, frames=320)
    assert against_reference(transform, FS, SAMPLES, b, c) < 1e-3


@settings(deadline=None, max_examples=30)
@given(
    b=st.floats(1.0, 4.0),
    c=st.floats(1.0, 2.0),
    low=st.floats(0.1, 4.0),
    octaves=st.floats(0.1, 3.5),
    scales=st.integers(1, 40),
    hop=st.sampled_from([1, 2, 3, 5, 7]),
    frames=st.integers(40, 160),
)
def test_any_setting_agrees_with_the_definition(
    b: float, c: float, low: float, octaves: float, scales: int, hop: int, frames: int
) -> None:
    b, c = round(b, 2), round(c, 2)
    high = min(low * 2**octaves, 30)
    transform = scalogram(f"cmor{b}-{c}", 128, hop * frames, low, high, scales, frames)
    assert against_reference(transform, 128, hop * frames, b, c) < 1e-4


def test_the_engine_agrees_with_pywavelets_to_one_per_cent() -> None:
    # PyWavelets steps through a table (hence white noise must not reach it) and is half a sample
    # late (hence a high rate).
    fs, samples = 1024, 4096
    transform = scalogram("cmor1.5-1.0", fs, samples, 2, 24, 24, 256)
    windows = difficult(samples, seed=2)[:, :1]
    windows[0] = bandpass(windows[0], fs=fs, low=0.5, high=30, order=4)
    signal = windows.astype(np.float64) - windows.mean(axis=-1, keepdims=True, dtype=np.float64)
    scales = fs / transform.frequencies
    theirs, _ = pywt.cwt(signal, scales, "cmor1.5-1.0", method="fft", precision=PRECISION)
    theirs = 2 * np.abs(np.moveaxis(theirs, 0, 2)) / np.sqrt(scales)[:, None]
    assert worst(transform.magnitude(windows), theirs[..., :: transform.hop]) < 0.01


@pytest.mark.parametrize("frequency", [2.0, 5.0, 10.0, 20.0])
def test_a_sine_has_its_ridge_at_its_frequency_with_its_amplitude(frequency: float) -> None:
    transform = scalogram(low=frequency / 4, high=min(32, frequency * 4), scales=41)
    ridge = transform.magnitude(one(0.7 * np.sin(2 * np.pi * frequency * SECONDS)))[0, 0, :, 40]
    at = transform.frequencies[ridge.argmax()]
    assert at == pytest.approx(frequency, rel=0.05)  # half a scale
    assert ridge.max() == pytest.approx(0.7, rel=0.01)


def test_an_impulse_spreads_over_the_time_width_of_each_scale() -> None:
    transform = scalogram(high=16, scales=16, frames=1280)
    impulse = np.zeros(SAMPLES)
    impulse[SAMPLES // 2] = 1
    cone = transform.magnitude(one(impulse))[0, 0]
    for frequency, row in zip(transform.frequencies, cone, strict=True):
        if frequency > 1:  # a longer wavelet sees the window's ends
            half = np.flatnonzero(row >= row.max() / 2)
            width = 2 * np.sqrt(1.5 * np.log(2)) / frequency * FS
            assert half.mean() == SAMPLES // 2
            assert abs(len(half) - width) <= 2


def test_the_edge_of_a_window_does_not_show_at_the_other_end() -> None:
    burst = np.zeros(SAMPLES)
    burst[-4:] = [1, -1, 1, -1]
    magnitudes = scalogram(low=4).magnitude(one(burst))
    assert magnitudes[..., :40].max() < 1e-4 * magnitudes.max()


def test_a_burst_shows_at_its_own_frame_and_frequency() -> None:
    burst = np.exp(-(((SECONDS - 6.5) / 0.2) ** 2)) * np.sin(2 * np.pi * 8 * SECONDS)
    transform = scalogram(low=1, scales=61)
    magnitudes = transform(one(burst))[0, 0]
    scale, frame = np.unravel_index(magnitudes.argmax(), magnitudes.shape)
    assert frame * transform.hop / FS == pytest.approx(6.5, abs=transform.hop / FS)
    assert transform.frequencies[scale] == pytest.approx(8, rel=0.06)


@given(factor=st.floats(0.01, 100), offset=st.floats(-5, 5))
def test_magnitude_scales_with_the_signal_and_ignores_its_mean(
    factor: float, offset: float
) -> None:
    transform = scalogram(scales=12)
    windows = difficult(SAMPLES, seed=3)
    moved = (factor * windows + offset).astype(np.float32)
    assert worst(transform.magnitude(moved), factor * transform.magnitude(windows)) < 1e-5 * (
        1 + abs(offset) / factor
    )


def test_the_transform_behind_the_magnitude_is_linear() -> None:
    # |T(a + b)|^2 + |T(a - b)|^2 = 2 |T(a)|^2 + 2 |T(b)|^2 holds for no T but a linear one.
    transform = scalogram(scales=12)
    a, b = difficult(SAMPLES, seed=5), difficult(SAMPLES, seed=6)

    def power(windows: NDArray[np.floating]) -> NDArray[np.float64]:
        return transform.magnitude(windows.astype(np.float32)).astype(np.float64) ** 2

    assert worst(power(a + b) + power(a - b), 2 * power(a) + 2 * power(b)) < 1e-5


@pytest.mark.parametrize("wavelet", ["cmor1.5-1.0", "cmor1.0-0.5", "gaus4"])
def test_batch_and_threads_do_not_change_a_byte(wavelet: str) -> None:
    transform = scalogram(wavelet, low=1, scales=10, frames=320)
    generator = np.random.default_rng(4)
    count = 3 if wavelet == "gaus4" else 41
    windows = generator.standard_normal((count, 2, SAMPLES)).astype(np.float32)
    together = transform(windows)
    alone = np.concatenate([transform(window[None]) for window in windows])
    assert together.tobytes() == alone.tobytes()
    assert together.tobytes() == transform(windows, threads=3).tobytes()
    strided = np.asfortranarray(windows)
    assert together.tobytes() == transform(strided).tobytes()


def test_bytes_do_not_depend_on_the_cpu() -> None:
    assert without_features("tests.test_wavelets") == digest()


def digest() -> str:
    """Of frequencies and scalograms; the test above calls it with and without CPU features."""
    content = hashlib.sha256()
    settings = [(128.0, 1280, 32.0, 160), (300.0, 2700, 50.0, 540), (1024.0, 10240, 50.0, 512)]
    for fs, samples, high, frames in settings:
        windows = difficult(samples, seed=6)
        for wavelet in ("cmor1.5-1.0", "cmor1.0-1.0"):
            transform = scalogram(wavelet, fs, samples, 0.5, high, 30, frames)
            content.update(transform.frequencies.tobytes())
            content.update(transform(windows).tobytes())
            content.update(transform.magnitude(windows).tobytes())
    return content.hexdigest()


@given(st.lists(st.floats(0, 60000, width=32), min_size=1, max_size=20))
def test_float16_is_numpys_own_rounding(amplitudes: list[float]) -> None:
    transform = scalogram(low=4, scales=3)
    windows = np.zeros((len(amplitudes), 1, SAMPLES), np.float32)
    windows[:, 0] = np.array(amplitudes, np.float32)[:, None] * np.sin(50 * SECONDS)
    assert np.array_equal(transform(windows), transform.magnitude(windows).astype(np.float16))


@pytest.mark.parametrize(
    "wavelet", [w for w in pywt.wavelist(kind="continuous") if w not in ("shan", "fbsp")]
)
def test_every_wavelet_shows_a_sine_at_its_frequency_with_its_amplitude(wavelet: str) -> None:
    transform = scalogram(wavelet, low=4, high=16, scales=9, frames=1280)
    row = transform.magnitude(one(1.5 * np.sin(2 * np.pi * 8 * SECONDS)))[0, 0, 4]
    assert row[400:-400].max() == pytest.approx(1.5, rel=0.05)


def test_wavelets_of_other_families_keep_point_samples() -> None:
    sparse, dense = (scalogram("mexh", scales=5, frames=f, high=8) for f in (160, 1280))
    windows = difficult(SAMPLES, seed=7)
    assert np.array_equal(sparse(windows), dense(windows)[..., :: sparse.hop])


@given(st.floats(0.01, 10), st.floats(1.01, 1000), st.integers(2, 200))
def test_frequencies_descend_in_equal_ratios(low: float, ratio: float, scales: int) -> None:
    values = frequencies(low, low * ratio, scales)
    assert values[0] == pytest.approx(low * ratio)
    assert values[-1] == pytest.approx(low)
    assert np.allclose(values[1:] / values[:-1], ratio ** (-1 / (scales - 1)))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"wavelet": "db4"}, "wavelet is 'db4'.*cgau1.*mexh"),
        ({"wavelet": "cmor0-1"}, "wavelet is 'cmor0-1'.*above 0"),
        ({"high": 65}, "high is 65 Hz.*at most half.*64 Hz.*lower it"),
        ({"low": 0}, "low is 0 Hz"),
        ({"low": 33}, "low is 33 Hz and high 32 Hz"),
        ({"scales": 0}, "scales is 0"),
        ({"frames": 81}, "frames is 81.*divide.*1280 samples.*64, 80, 128"),
        ({"frames": 0}, "frames is 0.*divide"),
        ({"frames": 64}, "one in 20 samples.*16.3.*at 32 Hz.*use at least 80 frames"),
        ({"fs": 0}, "fs is 0 Hz"),
    ],
)
def test_a_bad_setting_is_named(changed: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        scalogram(**changed)  # type: ignore[arg-type]


def test_bad_windows_are_named() -> None:
    transform = scalogram(scales=4)
    windows = np.zeros((3, 2, SAMPLES), np.float32)
    with pytest.raises(InputError, match=r"shape \(3, 2, 1279\).*\(n, leads, 1280\)"):
        transform(windows[..., 1:])
    windows[1, 1, 5] = 1e6
    with pytest.raises(InputError, match=r"float16 ends at 65504 mV.*in mV"):
        transform(windows * 1e3)
    windows[2, 1, 5] = np.nan
    with pytest.raises(InputError, match="window 2, lead 1"):
        transform(windows)
