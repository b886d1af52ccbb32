"""The band-pass does to sines what its formula says and shifts nothing."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from retrace.errors import InputError
from retrace.signals import filters
from retrace.signals.filters import bandpass, design_bandpass
from retrace.signals.records import Record
from tests.processor import without_features

FS = 250.0
SECONDS = np.arange(int(40 * FS)) / FS
MIDDLE = slice(int(10 * FS), int(30 * FS))  # whole periods of every sine below, away from the ends


def sine(frequency: float) -> NDArray[np.float32]:
    return np.sin(2 * np.pi * frequency * SECONDS)[None].astype(np.float32)


def filtered(signal: NDArray[np.float32], order: int = 3) -> NDArray[np.float32]:
    return bandpass(signal, fs=FS, low=0.5, high=50, order=order)


def phasor(signal: NDArray[np.float32], frequency: float) -> complex:
    """Complex amplitude of a real sine, 1 for sin(2 pi f t)."""
    wave = np.exp(-2j * np.pi * frequency * SECONDS[MIDDLE])
    return complex(2j * (signal[0, MIDDLE] * wave).mean())


@pytest.mark.parametrize("order", [2, 3, 4])
@pytest.mark.parametrize("frequency", [0.1, 0.5, 5, 10, 50, 100])
def test_gain_is_the_squared_butterworth_response_and_the_phase_is_zero(
    frequency: float, order: int
) -> None:
    # The bilinear transform warps frequencies: w = tan(pi f / fs), the analogue band-pass is
    # (w^2 - w0^2) / (w b) from its centre, and one pass has 1 / sqrt(1 + that^(2 order)).
    w, low, high = (np.tan(np.pi * f / FS) for f in (frequency, 0.5, 50))
    expected = 1 / (1 + ((w * w - low * high) / (w * (high - low))) ** (2 * order))
    measured = phasor(filtered(sine(frequency), order), frequency)
    assert measured.real == pytest.approx(expected, abs=1e-4)
    assert measured.imag == pytest.approx(0, abs=1e-4)


def test_baseline_wander_and_high_frequencies_lose_80_and_50_decibels() -> None:
    for frequency, decibels in ((0.1, 80), (100, 50)):
        assert abs(phasor(filtered(sine(frequency)), frequency)) < 10 ** (-decibels / 20)


def test_a_5_hz_sine_stays_at_5_hz() -> None:
    spectrum = np.abs(np.fft.rfft(filtered(sine(5))[0, MIDDLE]))
    assert spectrum.argmax() * FS / len(SECONDS[MIDDLE]) == 5
    assert np.delete(spectrum, spectrum.argmax()).max() < 1e-3 * spectrum.max()


def test_leads_are_filtered_alone_along_time() -> None:
    both = np.concatenate([sine(5), sine(0.1)])
    together = filtered(both)
    assert np.array_equal(together[:1], filtered(both[:1]))
    assert np.array_equal(together[1:], filtered(both[1:]))


@given(st.floats(-3, 3), st.floats(0.01, 100))
def test_an_offset_vanishes_and_amplitude_scales(offset: float, factor: float) -> None:
    signal = sine(10)[:, :2500]
    scaled = (factor * signal + offset).astype(np.float32)
    assert np.allclose(filtered(scaled), factor * filtered(signal), atol=1e-4 * (1 + factor))


def test_coefficients_have_eleven_digits() -> None:
    for value in design_bandpass(0.5, 50, 360, 4).ravel().tolist():
        assert value == float(f"{value:.11g}")


@pytest.mark.parametrize(
    ("low", "high", "fs", "order", "words"),
    [
        (0.5, 64, 128, 3, "high is 64 Hz.*below half.*64 Hz.*lower it"),
        (0, 50, 128, 3, "low is 0 Hz.*above 0"),
        (float("nan"), 50, 128, 3, "low is nan"),
        (40, 30, 128, 3, "low is 40 Hz.*below high, 30 Hz"),
        (0.5, 50, 128, 0, "order is 0.*1 to 10"),
        (0.5, 50, 0, 3, "fs is 0 Hz"),
    ],
)
def test_a_bad_band_is_named(low: float, high: float, fs: float, order: int, words: str) -> None:
    with pytest.raises(InputError, match=words):
        design_bandpass(low, high, fs, order)


def test_a_recording_without_one_period_of_low_is_refused() -> None:
    assert filtered(sine(10)[:, :501]).shape == (1, 501)
    with pytest.raises(InputError, match=r"500 samples.*more than 500.*raise low"):
        filtered(sine(10)[:, :500])


def test_nan_is_refused_by_lead_and_count() -> None:
    signal = np.repeat(sine(10), 3, axis=0)
    signal[1, [7, 8]] = np.nan
    signal[1, 9] = np.inf
    with pytest.raises(InputError, match="lead 1 has 3 samples"):
        filtered(signal)


def test_order_0_is_no_filter() -> None:
    record = Record("r", FS, ("II",), sine(0.1)[:, :30])  # too short and too slow for any

    assert filters.filtered(record, low=0.5, high=50, order=0) is record


def test_a_single_beat_takes_no_filter() -> None:
    beat = Record("train_00001", 125, ("II",), sine(5)[:, :187], cut=True)

    assert filters.filtered(beat, low=0.5, high=50, order=0) is beat
    with pytest.raises(InputError, match=r"record train_00001: .*set bandpass\.order to 0"):
        filters.filtered(beat, low=0.5, high=50, order=3)


def test_what_is_filtered_already_is_not_called_unfiltered() -> None:
    record = Record("r", FS, ("II",), sine(5), band=(0.5, 40.0, 3))

    with pytest.raises(InputError, match="order 0, but it was published after a filter"):
        filters.filtered(record, low=0.5, high=40, order=0)


def test_bytes_do_not_depend_on_the_cpu() -> None:
    assert without_features("tests.test_filters") == digest()


def digest() -> str:
    """Of designs and a filtered signal; `bytes do not depend on the CPU` calls it twice."""
    generator = np.random.default_rng(5)
    signal = generator.standard_normal((2, 5000)).cumsum(axis=1).astype(np.float32)
    content = hashlib.sha256()
    for fs in (128, 250, 300, 360, 500, 1000, 1024):
        for order in (1, 2, 3, 4, 6):
            content.update(design_bandpass(0.5, 50, fs, order).tobytes())
            content.update(bandpass(signal, fs=fs, low=0.5, high=50, order=order).tobytes())
    return content.hexdigest()
