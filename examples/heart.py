"""A heart whose beats begin in several places, as the leads MLII and V1 see it.

Every beat is a sum of Gaussians, as in `retrace.synthesis_heart`, with a row of numbers for each
wave: its centre and sigma in s, its height in mV in MLII and in V1. The durations are those of
textbooks: QRS complexes of 90 ms, and of 140 to 160 ms with the T wave against them where a
ventricle is stimulated from its own muscle.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from retrace.synthesis_heart import Floats, Wave

Shape = tuple[tuple[float, float, float, float], ...]

RR = 0.84  # s, of the sinus node: 71 beats a minute
PACED_RR = 0.86  # s
PR, ONSET = 0.16, 0.04  # s from the beginning of P to that of QRS, and from there to R
QT = 0.39  # s at 60 beats a minute; Fridericia's cube root at any other rate

# Of P waves the centres count from their beginning, of T waves from their end.
P: Shape = ((0.035, 0.017, 0.08, 0.06), (0.062, 0.018, 0.08, -0.05))
LOW_P: Shape = ((0.045, 0.018, -0.10, 0.06),)  # from low in the atria: upwards, negative in MLII
T: Shape = ((-0.08, 0.036, 0.26, 0.07), (-0.13, 0.048, 0.14, 0.04))
# Of QRS complexes the centres count from the main peak.
NARROW: Shape = (
    (-0.027, 0.007, -0.09, 0.03),
    (-0.014, 0.008, 0.10, 0.24),  # the septum: q in MLII, r in V1
    (0.0, 0.011, 1.15, -0.30),
    (0.016, 0.012, 0.05, -0.80),
    (0.031, 0.009, -0.22, -0.08),
)
# From the right outflow tract: downwards, so upright in MLII, and away from V1.
VENTRICULAR: Shape = (
    (-0.045, 0.018, 0.3, 0.1),
    (0, 0.030, 1.45, -0.75),
    (0.035, 0.026, 0.45, -0.6),
)
VENTRICULAR_T: Shape = ((-0.13, 0.05, -0.50, 0.38),)
# The ventricle begins, slowly, and is half-way when the sinus beat arrives and completes it.
FUSION: Shape = (
    (-0.045, 0.018, 0.30, 0.08),
    (-0.018, 0.022, 0.75, -0.25),
    (0.0, 0.012, 0.85, -0.45),
    (0.018, 0.012, 0.05, -0.60),
    (0.033, 0.010, -0.15, -0.05),
)
FUSION_T: Shape = ((-0.12, 0.05, -0.18, 0.22),)
# From an electrode in the tip of the right ventricle: upwards, so soon away from both leads. Its
# peak is the first one, at which MIT-BIH's annotators mark such beats.
PACED: Shape = (
    (-0.020, 0.0015, 0.55, 0.35),  # the stimulus: what a band of 100 Hz leaves of it
    (0.0, 0.010, 0.55, 0.20),
    (0.062, 0.027, -1.05, -0.80),
    (0.102, 0.022, -0.30, -0.35),
)
PACED_T: Shape = ((-0.13, 0.05, 0.48, 0.36),)

COMPLEXES = {  # by the beat's symbol: QRS, T and by how much (s) a wide complex prolongs QT
    "N": (NARROW, T, 0.0),
    "A": (NARROW, T, 0.0),
    "V": (VENTRICULAR, VENTRICULAR_T, 0.06),
    "F": (FUSION, FUSION_T, 0.03),
    "/": (PACED, PACED_T, 0.06),
}


@dataclass(frozen=True)
class Beat:
    """at: s, of its main peak. symbol: PhysioNet's. rr: s since the beat before. p: s at which a
    P wave begins, None where there is none."""

    at: float
    symbol: str
    rr: float
    p: float | None


def sinus_with_ectopics(
    rng: Generator, breath: Wave, duration: float, plan: dict[int, str]
) -> list[Beat]:
    """Beats up to `duration` s; plan: by number, the symbols of those that are not N.

    A: out of the atria, two thirds of an interval after the beat before. It resets the sinus node,
    whose next beat comes an interval and a little later. V: out of a ventricle. The sinus node
    goes on: its P wave falls behind the V and is not conducted, and the next beat comes when it is
    due, after a full compensatory pause. F: a ventricle fires so late that the sinus beat arrives
    as well.
    """
    beats: list[Beat] = []
    due, before = 0.5, 0.5 - RR
    while due < duration:
        symbol = plan.get(len(beats), "N")
        interval = RR * (1 + 0.03 * float(breath.at(due)) + rng.normal(0, 0.008))
        at, p = due, due - ONSET - PR
        if symbol == "A":
            at = due = before + rng.uniform(0.62, 0.68) * RR
            p = at - ONSET - 0.8 * PR
            interval *= 1.06
        elif symbol == "V":
            at = before + rng.uniform(0.55, 0.59) * RR
        elif symbol == "F":
            at = due - 0.02
        beats.append(Beat(at, symbol, at - before, p))
        before, due = at, due + interval
    return beats


def paced(duration: float) -> list[Beat]:
    """A pacemaker that stimulates a ventricle; the atria stand still."""
    times = np.arange(0.5, duration, PACED_RR)
    return [Beat(at, "/", PACED_RR, None) for at in times.tolist()]


def draw(rng: Generator, beats: list[Beat], breath: Wave, t: Floats) -> Floats:
    """The undisturbed ECG (2, samples) in mV at the instants `t` (samples,) in s."""
    signal = np.zeros((2, t.size))
    for beat in beats:
        size = 1 + 0.05 * float(breath.at(beat.at)) + rng.normal(0, 0.015)
        for zero, shape in _waves(beat):
            for centre, sigma, *heights in shape:
                since = (t - zero - centre) / sigma
                signal += size * np.outer(heights, np.exp(-0.5 * since**2))
    return signal


def _waves(beat: Beat) -> Iterator[tuple[float, Shape]]:
    """Where each group of waves has its zero, and what it looks like."""
    if beat.p is not None:
        yield beat.p, LOW_P if beat.symbol == "A" else P
    qrs, t, longer = COMPLEXES[beat.symbol]
    yield beat.at, qrs
    yield beat.at - ONSET + QT * float(np.cbrt(beat.rr)) + longer, t
