"""A good signal is called good, and what spoils it by its name, whatever its gain and rate."""

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.rpeaks import lead, mitdb
from retrace.errors import InputError
from retrace.signals.filters import bandpass
from retrace.signals.noise import KINDS, noise_for, strength
from retrace.signals.quality import quality, restlessness
from retrace.signals.records import Record, read_wfdb
from retrace.synthesis import synthesise

MIRROR = os.environ.get("RETRACE_MIRROR", "")
Signal = NDArray[np.float32]


@pytest.fixture(scope="module")
def minute(tmp_path_factory: pytest.TempPathFactory) -> Record:
    """A minute of a heart of which nothing disturbs the tracing but 10 uV of an amplifier."""
    folder = tmp_path_factory.mktemp("raw")
    synthesise(folder, seed=3, patients=1, records_per_patient=1, fs=360, duration=60, noise=0)
    record = read_wfdb(folder / "p0000r00")
    hiss = 0.01 * np.random.default_rng(1).standard_normal(record.signal.shape)
    return record.with_signal(np.asarray(record.signal + hiss, np.float32))


def words(signal: Signal, fs: float = 360) -> list[str]:
    return [word for _, word in quality(signal, fs)]


def drawn(fs: float, beats: NDArray[np.float64], width: float = 0.011) -> Signal:
    """Thirty seconds of beats at those instants, with T waves, in one lead."""
    t = np.arange(round(30 * fs)) / fs
    since = t - beats[:, None]
    signal = np.exp(-0.5 * (since / width) ** 2) + 0.3 * np.exp(-0.5 * ((since - 0.25) / 0.04) ** 2)
    hiss = 0.01 * np.random.default_rng(1).standard_normal(t.size)
    return np.asarray(signal.sum(axis=0) + hiss, np.float32)[None]


def test_a_clean_tracing_is_good_raw_and_filtered(minute: Record) -> None:
    filtered = bandpass(minute.signal, fs=360, low=0.5, high=50, order=3)

    assert words(minute.signal) == words(filtered) == ["good"] * 6


def test_each_whole_ten_seconds_has_a_word_at_its_start(minute: Record) -> None:
    starts = [start for start, _ in quality(minute.signal[:, : 59 * 360], 360)]

    assert starts == [0, 10, 20, 30, 40]
    assert quality(minute.signal[:, :3599], 360) == []


@pytest.mark.parametrize("level", [0.0, -5.12, 1.7])
def test_a_lead_that_is_off_is_flat(level: float) -> None:
    assert words(np.full((1, 7200), level, np.float32)) == ["flat", "flat"]


def test_half_a_stretch_without_a_signal_is_flat_and_a_pause_is_not(minute: Record) -> None:
    off, pause = minute.signal[:, :3600].copy(), minute.signal[:, :3600].copy()
    off[:, 1500:] = off[:, 1500:1501]
    pause[:, 1500:2700] = pause[:, 1500:1501]

    assert words(off) == ["flat"]
    assert words(pause) == ["good"]


@pytest.mark.parametrize("fs", [100, 125, 128, 250, 257, 300, 360, 500, 1000, 4000])
def test_white_noise_is_noisy_and_beats_are_good_at_any_rate(fs: float) -> None:
    noise = np.random.default_rng(1).standard_normal((1, round(30 * fs)))

    assert words(noise.astype(np.float32), fs) == ["noisy"] * 3
    assert words(drawn(fs, np.arange(0.4, 30, 0.83)), fs) == ["good"] * 3


@pytest.mark.parametrize("per_minute", [32, 45, 60, 100, 150, 200])
def test_no_heart_rate_is_noise(per_minute: float) -> None:
    assert words(drawn(360, np.arange(0.4, 30, 60 / per_minute))) == ["good"] * 3


@pytest.mark.parametrize("per_minute", [40, 80, 130, 180])
def test_wide_beats_are_no_noise(per_minute: float) -> None:
    assert words(drawn(360, np.arange(0.4, 30, 60 / per_minute), width=0.035)) == ["good"] * 3


@pytest.mark.parametrize(
    ("hertz", "word"), [(3, "good"), (4.5, "good"), (8, "noisy"), (12, "noisy"), (50, "noisy")]
)
def test_a_wave_at_a_heart_s_pace_is_ventricular_flutter_and_a_faster_one_is_no_heart(
    hertz: float, word: str
) -> None:
    t = np.arange(3600) / 360
    hiss = 0.02 * np.random.default_rng(1).standard_normal(3600)
    wave = np.sin(2 * np.pi * hertz * t) + hiss

    assert words(wave.astype(np.float32)[None]) == [word]


@pytest.mark.parametrize("side", [1, -1])
def test_a_converter_that_ends_too_early_has_clipped(minute: Record, side: int) -> None:
    tracing = side * minute.signal
    limit = np.float32(0.5 * tracing.max() if side > 0 else 0.5 * tracing.min())
    cut = np.minimum(tracing, limit) if side > 0 else np.maximum(tracing, limit)

    assert words(cut) == ["clipped"] * 6


def test_a_baseline_at_the_lowest_value_is_not_clipped(minute: Record) -> None:
    steps = np.round(np.maximum(minute.signal, 0), 2)  # of 10 uV, most of them at 0

    assert (steps == steps.min()).mean() > 0.2
    assert words(steps.astype(np.float32)) == ["good"] * 6


def test_round_tops_in_coarse_steps_are_not_clipped(minute: Record) -> None:
    t = np.arange(7200) / 360
    wave = np.round(np.sin(2 * np.pi * 3 * t) * 20) / 20

    assert (wave == wave.max()).mean() > 0.05
    assert words(wave.astype(np.float32)[None]) == ["good", "good"]
    assert words(np.round(minute.signal * 20) / np.float32(20)) == ["good"] * 6


@pytest.mark.parametrize("gain", [0.5, 2])
def test_gain_and_polarity_change_no_word(minute: Record, gain: float) -> None:
    bad = np.concatenate(
        [minute.signal, np.minimum(minute.signal, 0.5 * minute.signal.max())], axis=1
    )
    bad = np.concatenate(
        [bad, np.random.default_rng(1).standard_normal((1, 7200)).astype(np.float32)], axis=1
    )

    assert words(bad * np.float32(gain)) == words(-bad) == words(bad)


def test_the_worst_lead_decides_in_any_order(minute: Record) -> None:
    good = minute.signal[0, :3600]
    noise = np.random.default_rng(1).standard_normal(3600).astype(np.float32)
    clipped, flat = np.minimum(good, 0.5 * good.max()), np.zeros(3600, np.float32)

    for leads, worst in (((good, clipped), "clipped"), ((clipped, noise), "noisy")):
        assert words(np.stack(leads)) == words(np.stack(leads[::-1])) == [worst]
    assert words(np.stack([flat, noise, good])) == ["flat"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_more_noise_the_more_restless(minute: Record, kind: str) -> None:
    noise = noise_for(minute, kind, seed=7)
    found = []
    for ratio in (24, 12, 0, -12):
        noisy = minute.signal + strength(minute, ratio) * noise
        filtered = bandpass(noisy, fs=360, low=0.5, high=50, order=3)
        found.append(float(np.median(restlessness(filtered, 360))))

    if kind == "baseline wander":  # it lies outside the band
        assert max(found) - min(found) < 0.02
    else:
        assert found == sorted(found)
        assert found[0] < 0.12 < 0.25 < found[-1]


def test_samples_that_are_no_number_are_noise(minute: Record) -> None:
    signal = minute.signal.copy()
    signal[0, 4000:4010] = np.nan

    assert words(signal) == ["good", "noisy", *["good"] * 4]


def test_a_rate_too_low_is_named(minute: Record) -> None:
    with pytest.raises(InputError, match=r"fs is 25 Hz but must be at least 40 Hz"):
        quality(minute.signal, 25)


@pytest.mark.skipif(not MIRROR, reason="RETRACE_MIRROR names no folder with MIT-BIH")
def test_real_recordings_are_judged_as_their_annotators_did() -> None:
    # 105 is "predominantly noise" in parts; of 116 the converter's end, 5.12 mV, is reached thrice.
    folder: Path = mitdb()

    assert set(words(lead(folder / "100").signal)) == {"good"}
    assert words(lead(folder / "105").signal).count("noisy") in range(8, 30)
    assert words(lead(folder / "116").signal).count("clipped") == 3
