"""Cutting recordings into windows: times, rates and units must survive."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from retrace.errors import InputError
from retrace.files import read_csv
from retrace.signals.domain import BeatWindow
from retrace.signals.filters import filtered
from retrace.signals.plan import Plan
from retrace.signals.recordings import Recordings, recordings_writer
from retrace.signals.records import Record
from retrace.signals.resampling import resample
from retrace.signals.scaling import normalised
from retrace.signals.segments import cut, write_segments

Floats = NDArray[np.float32]

PLAN = Plan(
    anchor="start",
    fs=None,
    window=2,
    hop=1,
    short="pad",
    flat="error",
    normalise="none",
    beat=BeatWindow(peak=0.5, rr_length=None),
    labels={},
)


def _record(name: str, seconds: float, fs: float = 100, **fields: Any) -> Record:
    t = np.arange(round(seconds * fs)) / fs
    signal = np.sin(2 * np.pi * 5 * t)[None].astype(np.float32)
    return Record(name, fs, ("II",), signal, label="NSR", **fields)


@given(samples=st.integers(1, 60), window=st.integers(1, 20), hop=st.integers(1, 20))
def test_windows_are_what_stands_at_their_starts(samples: int, window: int, hop: int) -> None:
    signal = np.arange(2 * samples, dtype=np.float32).reshape(2, samples)

    starts, windows = cut(signal, window, hop, "drop")

    assert len(starts) == max(0, (samples - window) // hop + 1)
    for start, segment in zip(starts, windows, strict=True):
        np.testing.assert_array_equal(segment, signal[:, start : start + window])


def test_a_short_signal_is_padded_with_zeros_at_its_end() -> None:
    starts, windows = cut(np.ones((1, 3), np.float32), 5, 5, "pad")

    assert (starts.tolist(), windows.tolist()) == ([0], [[[1, 1, 1, 0, 0]]])


@pytest.mark.parametrize(("fs", "to"), [(360.0, 128.0), (300.0, 128.0), (128.0, 360.0)])
def test_five_hertz_stay_five_hertz_at_another_rate(fs: float, to: float) -> None:
    t = np.arange(round(10 * fs)) / fs
    signal = np.stack([np.sin(2 * np.pi * 5 * t), np.cos(2 * np.pi * 5 * t)]).astype(np.float32)

    changed = resample(signal, fs, to)

    inner = np.arange(changed.shape[1]) / to
    expected = np.stack([np.sin(2 * np.pi * 5 * inner), np.cos(2 * np.pi * 5 * inner)])
    middle = slice(changed.shape[1] // 5, -changed.shape[1] // 5)
    np.testing.assert_allclose(changed[:, middle], expected[:, middle], atol=0.01)


def _normalised(windows: Floats, method: str, lengths: list[int] | None = None) -> Floats:
    recording = np.concatenate(list(windows), axis=-1)
    real = np.array(lengths or [windows.shape[-1]] * len(windows))
    return normalised(windows, real, recording, method)


def _windows() -> Floats:
    windows = np.random.default_rng(0).normal(3, 7, (4, 2, 500)).astype(np.float32)
    windows[0, 0] = 1
    return windows


def test_a_window_by_itself_has_mean_zero_and_deviation_one() -> None:
    unit = _normalised(_windows(), "window")

    np.testing.assert_array_equal(unit[0, 0], 0)
    np.testing.assert_allclose(unit[1:].mean(axis=-1), 0, atol=1e-5)
    np.testing.assert_allclose(unit[1:].std(axis=-1), 1, atol=1e-5)


def test_the_range_of_a_window_is_zero_to_one() -> None:
    unit = _normalised(_windows(), "range")

    np.testing.assert_array_equal(unit[0, 0], 0)
    np.testing.assert_array_equal(unit[1:].min(axis=-1), 0)
    np.testing.assert_array_equal(unit[1:].max(axis=-1), 1)


def test_a_record_s_scale_is_that_of_its_usual_beats() -> None:
    windows = _windows()
    unit = _normalised(windows, "record")
    windows[3] *= 1000  # a burst

    burst = _normalised(windows, "record")

    low, middle, high = np.percentile(np.concatenate(list(unit), axis=-1), [25, 50, 75], axis=-1)
    np.testing.assert_allclose(middle, 0, atol=1e-5)
    np.testing.assert_allclose(high - low, 1, atol=1e-5)
    assert 0.5 < np.std(burst[1]) / np.std(unit[1]) < 1.1


@pytest.mark.parametrize("method", ["window", "range", "record"])
def test_padding_stays_zero_and_is_not_counted(method: str) -> None:
    windows = _windows()[1:]
    padded = windows.copy()
    padded[:, :, 300:] = 0

    unit = _normalised(padded, method, [300] * 3)

    assert not unit[:, :, 300:].any()
    if method != "record":
        np.testing.assert_allclose(unit[:, :, :300], _normalised(windows[:, :, :300], method))


def test_segments_carry_record_patient_start_and_label(tmp_path: Path) -> None:
    records = [_record("a", 4, patient_id="p1"), _record("b", 1)]

    counts = write_segments(records, tmp_path, PLAN)

    rows = read_csv(tmp_path / "segments.csv")
    assert [(r["segment_id"], r["patient_id"], r["start"]) for r in rows] == [
        ("a_000", "p1", "0.0"),
        ("a_001", "p1", "1.0"),
        ("a_002", "p1", "2.0"),
        ("b_000", "", "0.0"),
    ]
    assert np.load(tmp_path / "X.npy").shape == (4, 1, 200)
    assert (counts.padded, counts.too_short, counts.fs) == (1, 0, 100)


def test_recordings_of_two_rates_need_a_common_one(tmp_path: Path) -> None:
    records = [_record("a", 4, fs=100), _record("b", 4, fs=200)]

    with pytest.raises(InputError, match="record b: 200 Hz; the others have 100 Hz"):
        write_segments(records, tmp_path, PLAN)

    write_segments(records, tmp_path, replace(PLAN, fs=100))
    X = np.load(tmp_path / "X.npy")
    np.testing.assert_allclose(X[0, 0, 50:150], X[3, 0, 50:150], atol=0.01)


def test_a_flat_window_is_refused_or_dropped_and_counted(tmp_path: Path) -> None:
    record = _record("a", 6)
    record.signal[:, 200:400] = 0.25

    with pytest.raises(InputError, match="record a: flat from 2 s for 2 s"):
        write_segments([record], tmp_path, PLAN)
    assert write_segments([record], tmp_path, replace(PLAN, flat="drop")).flat == 1


def test_a_lead_that_was_off_is_found_behind_the_filter(tmp_path: Path) -> None:
    record = _record("a", 60)
    record.signal[:, 2000:5000] = 0.25  # 30 s at 100 Hz
    behind = filtered(record, low=0.5, high=40, order=3)

    counts = write_segments([behind], tmp_path, replace(PLAN, hop=2, flat="drop"))

    # 15 windows of 2 s lie in the gap; the filter still rings in the first and the last of them.
    assert 11 <= counts.flat <= 14


def test_a_window_longer_than_every_recording_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"segment\.window: 9 s; none of the 1 recordings"):
        write_segments([_record("a", 4)], tmp_path, replace(PLAN, window=9, short="drop"))


def test_filtered_recordings_come_back_as_they_were_written(tmp_path: Path) -> None:
    records = [_record("a", 1, patient_id="p", age=50.0, sex="F"), _record("b", 2)]

    with recordings_writer(tmp_path) as writer:
        for record in records:
            writer.append(record)

    for there, record in zip(Recordings(tmp_path), records, strict=True):
        np.testing.assert_array_equal(there.signal, record.signal)
        assert (there.record_id, there.patient_id, there.age, there.sex, there.fs) == (
            record.record_id,
            record.patient_id,
            record.age,
            record.sex,
            record.fs,
        )


def test_a_record_stands_once_in_a_data_set(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match="record a: listed twice"),
        recordings_writer(tmp_path) as writer,
    ):
        writer.append(_record("a", 1))
        writer.append(_record("a", 2))


def test_without_a_usable_record_nothing_goes_on(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no usable record"), recordings_writer(tmp_path):
        pass


def test_a_record_s_scale_is_taken_from_the_whole_recording() -> None:
    recording = np.concatenate([np.zeros((1, 900)), np.ones((1, 100))], axis=1)
    recording += 0.1 * np.random.default_rng(0).normal(size=recording.shape)
    windows = recording[None, :, 900:].astype(np.float32)

    scaled = normalised(windows, np.array([100]), recording.astype(np.float32), "record")

    assert scaled.mean() > 3  # far above the recording's middle
