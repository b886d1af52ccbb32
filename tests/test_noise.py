"""The noise is as strong as asked, lies where it is said to lie, and comes from its seed alone."""

import hashlib

import numpy as np
import pytest
from numpy.typing import NDArray

from retrace.errors import InputError
from retrace.signals.filters import bandpass
from retrace.signals.noise import KINDS, noise_for, strength
from retrace.signals.records import Record
from tests.processor import without_features

FS = 360.0
SECONDS = np.arange(round(120 * FS)) / FS
HEART = np.sin(2 * np.pi * 10 * SECONDS)  # of power 1/2


def record(*leads: NDArray[np.float64], fs: float = FS, record_id: str = "100") -> Record:
    signal = np.array(leads, dtype=np.float32)
    return Record(record_id, fs, tuple(f"lead {n}" for n in range(len(leads))), signal)


def share(noise: NDArray[np.float64], low: float, high: float) -> float:
    """The share of its power between two frequencies."""
    power = np.abs(np.fft.rfft(noise)) ** 2
    f = np.fft.rfftfreq(len(noise), 1 / FS)
    return float(power[(f >= low) & (f <= high)].sum() / power.sum())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("snr", [24, 0, -6])
def test_the_ratio_is_that_of_the_powers_lead_by_lead(kind: str, snr: float) -> None:
    # A drift and the mains lie outside the band in which a heart is heard: they are no signal.
    drift, mains = 3 * np.sin(2 * np.pi * 0.1 * SECONDS), np.sin(2 * np.pi * 60 * SECONDS)
    two = record(HEART + drift + mains + 1, 0.1 * HEART)

    added = strength(two, snr) * noise_for(two, kind, seed=7)

    ratios = 10 * np.log10([0.5, 0.005] / (added**2).mean(axis=1))
    assert ratios == pytest.approx([snr, snr], abs=0.01)


@pytest.mark.parametrize(
    ("kind", "low", "high", "least"),
    [
        ("baseline wander", 0.05, 0.5, 0.98),
        ("muscle", 20, 150, 0.98),
        ("electrode motion", 1, 10, 0.9),
    ],
)
def test_each_kind_lies_in_its_band(kind: str, low: float, high: float, least: float) -> None:
    assert share(noise_for(record(HEART), kind, seed=7)[0], low, high) > least


@pytest.mark.parametrize(
    ("kind", "least", "most"),
    [("baseline wander", 0, 0.03), ("muscle", 0.3, 0.6), ("electrode motion", 0.95, 1)],
)
def test_the_band_pass_takes_the_wander_some_muscle_and_no_motion(
    kind: str, least: float, most: float
) -> None:
    noise = noise_for(record(HEART), kind, seed=7)

    left = bandpass(noise, fs=FS, low=0.5, high=50, order=3)

    assert least <= (left.astype(np.float64) ** 2).mean() <= most


@pytest.mark.parametrize("kind", ["muscle", "electrode motion"])
def test_muscle_and_motion_come_in_bursts(kind: str) -> None:
    noise = noise_for(record(HEART), kind, seed=7)[0]

    assert (noise**4).mean() > 4  # 3 is steady Gaussian noise of this power


@pytest.mark.parametrize("kind", KINDS)
def test_seed_kind_record_and_lead_name_the_noise(kind: str) -> None:
    first, second = noise_for(record(HEART, HEART), kind, seed=7)
    others = [
        second,
        noise_for(record(HEART, record_id="101"), kind, seed=7)[0],
        noise_for(record(HEART), kind, seed=8)[0],
        *(noise_for(record(HEART), other, seed=7)[0] for other in KINDS if other != kind),
    ]

    assert (noise_for(record(HEART), kind, seed=7)[0] == first).all()
    assert max(abs(float((first * other).mean())) for other in others) < 0.35


@pytest.mark.parametrize("kind", KINDS)
def test_a_single_beat_gets_noise_of_its_own_strength(kind: str) -> None:
    noise = noise_for(record(HEART[:100], fs=125), kind, seed=7)

    assert noise.mean() == pytest.approx(0, abs=1e-6)
    assert (noise**2).mean() == pytest.approx(1, abs=1e-5)


def test_a_rate_too_low_for_muscle_is_named() -> None:
    with pytest.raises(InputError, match=r"noise above 20 Hz.* at 40 Hz"):
        noise_for(record(HEART, fs=40), "muscle", seed=7)


def test_the_noise_does_not_depend_on_the_processor() -> None:
    assert without_features("tests.test_noise") == digest()


def digest() -> str:
    """Of noise and its strengths; the test above calls it with and without CPU features."""
    content = hashlib.sha256()
    for fs in (125.0, 300.0, 360.0):
        beaten = record(HEART, HEART**3, fs=fs)
        content.update(strength(beaten, 6).tobytes())
        for kind in KINDS:
            content.update(noise_for(beaten, kind, seed=7).tobytes())
    return content.hexdigest()
