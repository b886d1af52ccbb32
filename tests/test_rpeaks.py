"""R peaks are found where they are, in drawn, synthetic and real recordings, and nowhere else."""

import hashlib
import math
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

from benchmarks.rpeaks import Count, count, lead, mitdb
from retrace.errors import InputError
from retrace.scoring.matching import Beats, match
from retrace.signals.records import read_wfdb
from retrace.signals.rpeaks import detect
from retrace.synthesis import synthesise
from tests.processor import without_features

Floats = NDArray[np.float64]
FS = 300
SECONDS = 20
STEADY = np.arange(0.5, SECONDS - 0.4, 0.83)
MIRROR = os.environ.get("RETRACE_MIRROR", "")


def bump(t: Floats, centres: Floats, width: float, sizes: ArrayLike = 1.0) -> Floats:
    return np.asarray((np.exp(-0.5 * ((t - centres[:, None]) / width) ** 2).T * sizes).sum(axis=1))


def tracing(
    beats: Floats, fs: float = FS, sizes: ArrayLike = 1.0, t_wave: float = 0.3, noise: float = 0.01
) -> Floats:
    """P, R, S and T waves for each of the beats (s), in mV, with a little noise."""
    t = np.arange(round(SECONDS * fs)) / fs
    delay = min(0.28, 0.5 * float(np.diff(beats).min()))
    signal = bump(t, beats, 0.011, sizes) - 0.2 * bump(t, beats + 0.03, 0.010, sizes)
    signal += 0.12 * bump(t, beats - 0.16, 0.022, sizes)
    signal += t_wave * bump(t, beats + delay, 0.04, sizes)
    return signal + noise * np.random.default_rng(8).standard_normal(len(t))


def faults(signal: Floats, beats: Floats, fs: float = FS, within: float = 0.01) -> tuple[int, int]:
    """Beats that were missed and detections that are none, at a tolerance of `within` s."""
    found = detect(signal, fs)
    drawn, seen = (Beats(at, ("Q",) * len(at)) for at in (np.rint(beats * fs).astype(int), found))
    right = int(match(drawn, seen, fs, window=within).both.sum())
    return len(beats) - right, len(found) - right


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("fs", [100, 128, 250, 300, 360, 500, 1000])
def test_every_beat_is_found_within_10_ms_at_any_rate_and_polarity(fs: float, sign: int) -> None:
    assert faults(sign * tracing(STEADY, fs), STEADY, fs) == (0, 0)


@pytest.mark.parametrize("per_minute", [22, 30, 45, 60, 100, 150, 200])
def test_no_t_wave_is_a_beat_at_any_heart_rate(per_minute: float) -> None:
    beats = np.arange(0.5, SECONDS - 0.4, 60 / per_minute)
    assert faults(tracing(beats, t_wave=0.5), beats) == (0, 0)


def test_a_steep_t_wave_is_no_beat() -> None:
    t = np.arange(FS * SECONDS) / FS
    signal = tracing(STEADY) + 0.6 * bump(t, STEADY + 0.3, 0.022)
    assert faults(signal, STEADY) == (0, 0)


def test_a_faint_beat_is_found_where_one_is_due_and_nowhere_else() -> None:
    sizes = np.where(np.arange(len(STEADY)) == 12, 0.25, 1.0)
    assert faults(tracing(STEADY, sizes=sizes), STEADY) == (0, 0)
    t = np.arange(FS * SECONDS) / FS
    faint = 0.25 * bump(t, STEADY[12:13] + 0.5, 0.011)
    assert faults(tracing(STEADY) + faint, STEADY) == (0, 0)


@settings(max_examples=30)
@given(st.floats(0.1, 50), st.floats(-5, 5), st.sampled_from([-1, 1]))
def test_amplitude_offset_and_polarity_do_not_alter_what_is_found(
    factor: float, offset: float, sign: int
) -> None:
    found = detect(tracing(STEADY), FS)
    other = detect(sign * factor * tracing(STEADY) + offset, FS)
    assert len(other) == len(found)
    assert np.abs(other - found).max() <= 1  # the filters compute with single precision


@settings(max_examples=30)
@given(st.integers(0, 10 * FS))
def test_what_was_cut_off_before_does_not_alter_what_is_found_later(start: int) -> None:
    signal = tracing(STEADY)
    whole, rest = detect(signal, FS), detect(signal[start:], FS) + start
    after = start + FS
    assert np.array_equal(rest[rest >= after], whole[whole >= after])


@pytest.mark.parametrize("size", [0.1, 0.3, 3, 10])
def test_a_step_of_the_gain_loses_one_beat_at_most(size: float) -> None:
    signal = tracing(STEADY, sizes=np.where(STEADY < 10, 1.0, size), noise=0.003)
    missed, extra = faults(signal, STEADY)
    assert missed <= 1
    assert extra == 0


def test_a_pause_holds_no_beats() -> None:
    beats = STEADY[(STEADY < 7) | (STEADY > 13)]
    assert faults(tracing(beats, noise=0.02), beats) == (0, 0)


def test_an_electrode_that_is_off_holds_no_beats() -> None:
    signal = tracing(STEADY)
    signal[7 * FS : 13 * FS] = 0
    assert faults(signal, STEADY[(STEADY < 7) | (STEADY > 13)]) == (0, 0)


@pytest.mark.parametrize(
    "artefact",
    [30.0 * (np.arange(10 * FS) < 10), 5 * np.exp(-np.arange(10 * FS) / FS)],
    ids=["spike", "electrode"],
)
def test_an_artefact_costs_no_beat(artefact: Floats) -> None:
    signal = tracing(STEADY)
    signal[10 * FS :] += artefact
    missed, extra = faults(signal, STEADY)
    assert missed == 0
    assert extra <= 1


def test_wander_and_mains_hide_nothing() -> None:
    t = np.arange(FS * SECONDS) / FS
    signal = tracing(STEADY) + 2 * np.sin(2 * np.pi * 0.3 * t) + 0.1 * np.sin(2 * np.pi * 50 * t)
    assert faults(signal, STEADY) == (0, 0)


@pytest.mark.parametrize("size", [-2, 1, 4])
def test_wide_premature_beats_and_the_narrow_ones_between_are_found(size: float) -> None:
    sinus = STEADY[::2]
    premature = sinus[:-1] + 0.5
    t = np.arange(FS * SECONDS) / FS
    signal = tracing(sinus) + size * bump(t, premature, 0.036)
    signal -= 0.35 * size * bump(t, premature + 0.27, 0.07)
    assert faults(signal, np.sort(np.concatenate([sinus, premature]))) == (0, 0)


def test_a_steady_heart_stays_steady_when_r_and_s_take_turns_to_be_larger() -> None:
    t = np.arange(FS * SECONDS) / FS
    turns = np.where(np.arange(len(STEADY)) % 2, 0.85, 1.15)
    signal = bump(t, STEADY, 0.012, turns) - bump(t, STEADY + 0.035, 0.012, 2 - turns)
    assert np.abs(np.diff(np.diff(detect(signal, FS)))).max() <= 2


@pytest.mark.parametrize(
    "signal",
    [np.empty(0), np.ones(FS - 1), np.zeros(5000), np.full(5000, 3.0), 1e-3 * np.arange(5000)],
    ids=["empty", "short", "zero", "constant", "ramp"],
)
def test_where_nothing_beats_nothing_is_found(signal: Floats) -> None:
    found = detect(signal, FS)
    assert found.dtype == np.int64
    assert found.tolist() == []


@pytest.mark.parametrize(
    ("signal", "fs", "words"),
    [
        (np.zeros((1, 900)), 300, r"shape \(1, 900\).*choose a lead"),
        (np.zeros(900), 80, "fs is 80 Hz.*above 80"),
        (np.zeros(900), math.nan, "fs is nan"),
        (np.array([0.0] * 900 + [math.nan, math.inf]), 300, "2 samples that are NaN.*cut them"),
    ],
)
def test_bad_input_is_one_sentence(signal: Floats, fs: float, words: str) -> None:
    with pytest.raises(InputError, match=words):
        detect(signal, fs)


def test_the_beats_of_synthetic_recordings_are_those_of_the_generator(tmp_path: Path) -> None:
    synthesise(tmp_path, seed=5, patients=6, records_per_patient=3, fs=250, duration=20, noise=0.3)
    total = Count()
    for line in (tmp_path / "labels.csv").read_text().splitlines()[1:]:
        name, *_, label = line.split(",")
        if label != "Noise":  # unreadable on purpose
            record = read_wfdb(tmp_path / name)
            total += count(record, detect(record.signal[0], record.fs))
    assert min(total.percent.values()) > 98


@pytest.mark.skipif(
    not (Path(MIRROR) / "physionet.org/files/mitdb").is_dir() or not MIRROR,
    reason="RETRACE_MIRROR holds no MIT-BIH",
)
@pytest.mark.parametrize("number", ["100", "208"])
def test_the_beats_of_a_real_recording_are_those_that_experts_marked(number: str) -> None:
    record = lead(mitdb() / number)
    found = count(record, detect(record.signal[0], record.fs))
    assert found.pairs + found.missed > 2000
    assert min(found.percent.values()) > 99.5


def test_bytes_do_not_depend_on_the_cpu() -> None:
    assert without_features("tests.test_rpeaks") == digest()


def digest() -> str:
    """Of beats in much noise; `bytes do not depend on the CPU` calls it twice."""
    content = hashlib.sha256()
    for fs in (128, 250, 300, 360, 500):
        content.update(detect(tracing(STEADY, fs, noise=0.2), fs).tobytes())
    return content.hexdigest()
