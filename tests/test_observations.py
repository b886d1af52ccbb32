"""What is observed of a recording is physics: a gain, a sign, a noise move what they must alone."""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.rpeaks import mitdb
from retrace.deploy.inputs import Recording
from retrace.scoring.drift import compare
from retrace.service.feed_recordings import Drift
from retrace.service.observations import (
    CONFIDENCE,
    FEATURES,
    MOST,
    SIGNAL,
    observed,
    sample,
    signal,
)
from retrace.signals.noise import noise_for, strength
from retrace.signals.records import Record, read_wfdb
from retrace.synthesis import synthesise
from tests.linear_model import Memory, memory

MIRROR = os.environ.get("RETRACE_MIRROR", "")
SCALED = {"amplitude", "qrs"}  # in mV; nothing else knows of the gain
RHYTHM = {"rr_median", "rr_sd", "rmssd"}


@pytest.fixture(scope="module", params=["synthetic", "MIT-BIH"])
def heart(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Record:
    """Two minutes of a virtual heart, and five of a real one."""
    if request.param == "synthetic":
        folder: Path = tmp_path_factory.mktemp("raw")
        synthesise(
            folder, seed=3, patients=1, records_per_patient=1, fs=360, duration=120, noise=0.1
        )
        return read_wfdb(folder / "p0000r00")
    if not MIRROR:
        pytest.skip("RETRACE_MIRROR names no folder with MIT-BIH")
    record = read_wfdb(mitdb() / "119", ["MLII"])
    return record.with_signal(np.ascontiguousarray(record.signal[:, : 300 * 360]))


def told(record: Record) -> dict[str, float]:
    found = {name: value for name, value in signal(memory(record), 0).items() if value is not None}
    assert found.keys() == SIGNAL.keys()
    return found


def test_twice_the_gain_doubles_what_is_in_millivolts_exactly_and_nothing_else(
    heart: Record,
) -> None:
    before, now = told(heart), told(Drift(gain=2).planted(heart))

    for name, value in before.items():
        assert now[name] == (2 * value if name in SCALED else value), name


def test_upside_down_the_sign_of_the_polarity_alone_is_another(heart: Record) -> None:
    before, now = told(heart), told(Drift(invert=True).planted(heart))

    assert abs(before["polarity"]) > 0.2
    for name, value in before.items():
        assert now[name] == pytest.approx(-value if name == "polarity" else value, rel=1e-9), name


@pytest.mark.parametrize(
    ("kind", "moved", "least"),
    [
        ("muscle", "high", 3.0),
        ("muscle", "restlessness", 1.3),
        ("electrode motion", "restlessness", 1.3),
        ("baseline wander", "wander", 3.0),
    ],
)
def test_noise_is_seen_at_its_frequencies(
    heart: Record, kind: str, moved: str, least: float
) -> None:
    added = strength(heart, 6) * noise_for(heart, kind, 1)
    noisy = heart.with_signal(np.asarray(heart.signal + added, np.float32))

    before, now = told(heart), told(noisy)

    assert now[moved] > least * before[moved]
    if kind == "baseline wander":  # below the band in which a heart is looked at
        for name in RHYTHM | SCALED | {"polarity", "high"}:
            assert now[name] == pytest.approx(before[name], rel=0.05, abs=0.01), name


def test_a_constant_of_the_amplifier_is_no_signal(heart: Record) -> None:
    before, now = told(heart), told(heart.with_signal(heart.signal + np.float32(1.5)))

    for name, value in before.items():
        assert now[name] == pytest.approx(value, rel=1e-3, abs=1e-4), name


def test_another_rate_tells_the_same_heart(heart: Record) -> None:
    half = Record(heart.record_id, 180, heart.leads, heart.signal[:, ::2])

    before, now = told(heart), told(half)

    for name in ("amplitude", "polarity", "wander", "rr_median", "rr_sd"):
        assert now[name] == pytest.approx(before[name], rel=0.06, abs=0.02), name


@dataclass
class Endless(Memory):
    """A recording whose `signal` comes again and again; what is read is counted."""

    pieces: int = 0

    def read(self, start: int, stop: int, rows: tuple[int, ...]) -> NDArray[np.float32]:
        self.pieces, self.most = self.pieces + 1, max(self.most, stop - start)
        return self.signal[list(rows)][:, np.arange(start, stop) % self.signal.shape[1]]


def test_a_day_takes_no_more_than_half_an_hour_and_tells_the_same(heart: Record) -> None:
    minute = np.ascontiguousarray(heart.signal[:, : 60 * 360])
    short, day = (
        Endless(minute, 360, heart.leads, None, samples=round(seconds * 360))
        for seconds in (60, 24 * 3600)
    )

    assert signal(day, 0) == signal(short, 0)  # each number is of minutes, not of a length
    assert day.pieces == MOST and day.most == 60 * 360


@pytest.mark.parametrize(
    "spoil",
    [
        lambda record: record.with_signal(record.signal[:, : 2 * 360]),
        lambda record: record.with_signal(np.full_like(record.signal, np.nan)),
        lambda record: Record("a", 75, record.leads, record.signal[:, ::5]),
    ],
    ids=["short", "no numbers", "rate too low"],
)
def test_what_cannot_be_told_is_unknown(heart: Record, spoil: Callable[[Record], Record]) -> None:
    assert set(signal(memory(spoil(heart)), 0).values()) == {None}


def test_a_flat_lead_has_no_beats_and_no_noise(heart: Record) -> None:
    found = signal(memory(heart.with_signal(np.zeros_like(heart.signal))), 0)

    assert (found["amplitude"], found["good"]) == (0, 0)
    assert found["qrs"] is found["polarity"] is found["wander"] is found["rr_median"] is None


def test_a_minute_that_is_no_number_is_left_out(heart: Record) -> None:
    broken = heart.signal.copy()
    broken[:, 70 * 360] = np.nan

    first = heart.with_signal(heart.signal[:, : 60 * 360])
    two = heart.with_signal(broken[:, : 120 * 360])
    assert told(two) == told(first)


def test_answers_are_counted_beside_it_and_unknown_numbers_stay_so() -> None:
    recording: Recording = memory(Record("a", 360, ("II",), np.zeros((1, 7200), np.float32)))
    found = observed(recording, 0, ["N", "V", "N"], [0.5, 0.9, 1.0])

    assert found["confidence"] == pytest.approx(0.8) and found["mix"] == {"N": 2, "V": 1}
    made = sample([found], ("N", "S", "V"), ["somebody"])
    assert set(made.features) == set(FEATURES)
    assert made.mix.tolist() == [[2, 0, 1]]
    assert math.isnan(made.features["qrs"][0])


@pytest.mark.skipif(not MIRROR, reason="RETRACE_MIRROR names no folder with MIT-BIH")
def test_real_persons_divided_at_random_are_quiet_and_another_lead_is_found() -> None:
    own: list[dict[str, Any]] = []
    other: list[dict[str, Any]] = []
    for path in sorted(mitdb().glob("*.hea")):
        if path.stem == "202":  # the same person as 201
            continue
        record = read_wfdb(path.with_suffix(""))
        short = memory(record.with_signal(record.signal[:, : 300 * 360]))
        for row, found in enumerate((own, other)):
            found.append(signal(short, row) | {CONFIDENCE: None, "mix": {}})
    rng, count = np.random.default_rng(0), len(own)

    def looked(now: list[dict[str, Any]]) -> bool:
        order = rng.permutation(count)
        before, after = (
            sample([rows[n] for n in part], ("N",), part.tolist())
            for rows, part in ((own, order[: count // 2]), (now, order[count // 2 :]))
        )
        return any(row.drifted for row in compare(before, after, permutations=499))

    assert sum(looked(own) for _ in range(100)) <= 10
    assert sum(looked(other) for _ in range(20)) >= 15
