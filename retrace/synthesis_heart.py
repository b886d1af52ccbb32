"""Virtual patients and what their hearts do: beats in time, and the waves of each beat.

The model is that of McSharry et al., "A dynamical model for generating synthetic
electrocardiogram signals", IEEE Trans. Biomed. Eng. 50 (2003) 289-294, in its explicit form: a
process gives the instants of the beats, and every beat is a sum of Gaussians.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Gaussian: TypeAlias = tuple[float, float, float]  # amplitude in mV, centre and sigma in s

# Unbalanced, as ambulatory recordings are; the rarest class still has examples in every subset.
SHARES = {"NSR": 0.38, "AF": 0.27, "Other": 0.22, "Noise": 0.13}
OTHER_SHARES = {
    "isolated V": 0.24,
    "bigeminy V": 0.15,
    "isolated A": 0.22,
    "bigeminy A": 0.08,
    "bradycardia": 0.13,
    "tachycardia": 0.14,
    "first degree block": 0.04,
}
LEAD_IN = 3.0  # s of rhythm before the strip: a recording starts amid beats, not with one
QRS_ONSET = 0.04  # s before the R peak


@dataclass(frozen=True)
class Patient:
    """One virtual person; durations in s, amplitudes in mV as lead II shows them."""

    patient_id: str
    age: int
    sex: str
    shares: dict[str, float]  # probability of each class
    rr: float  # RR interval at rest
    sway: float  # respiratory variation of RR, as a fraction
    pr: float
    qtc: float
    q: float
    r: float
    s: float
    t: float
    p: float
    ectopic_p: float
    ventricular: float  # main deflection of a ventricular beat
    qrs_width: float  # sigma of the R wave
    p_width: float


@dataclass(frozen=True)
class Rhythm:
    """Beats in order: the instants of their R peaks in s and their PhysioNet symbols."""

    code: str  # MIT-BIH's name of the rhythm, as in its annotations
    times: Floats
    symbols: list[str]
    pr: float | None  # None: the atria fibrillate, there is no P wave


@dataclass(frozen=True)
class Wave:
    """A slow oscillation of unit size; respiration is one, it sways rate, QRS and baseline."""

    rate: float  # Hz
    phase: float

    def at(self, t: Floats | float) -> Floats:
        return np.asarray(np.sin(2 * np.pi * self.rate * t + self.phase))


def pick(rng: Generator, shares: dict[str, float]) -> str:
    """One of the keys, each with its share as probability."""
    return list(shares)[rng.choice(len(shares), p=list(shares.values()))]


def make_patient(patient_id: str, rng: Generator) -> Patient:
    age = int(np.clip(rng.normal(60, 17), 18, 95))
    sex = "F" if rng.random() < 0.5 else "M"
    # Fibrillation becomes commoner with age. The leaning is mild: nearly everybody has several
    # classes, so that recognising the patient does not give the rhythm away.
    shares = np.array(list(SHARES.values()))
    shares[1] *= 0.35 + 1.3 / (1 + np.exp(-(age - 60) / 9))
    leaning = rng.dirichlet(6 * shares / shares.sum())
    axis = np.radians(np.clip(rng.normal(48, 25), -10, 105))  # lead II lies at 60 degrees
    r = (1.5 if sex == "M" else 1.3) * rng.uniform(0.65, 1.2) * np.cos(axis - np.pi / 3)
    wide = rng.random() < 0.08  # bundle branch block: not every wide QRS is ventricular
    flat_t = rng.random() < 0.06 + 0.002 * age
    return Patient(
        patient_id=patient_id,
        age=age,
        sex=sex,
        shares=dict(zip(SHARES, leaning.tolist(), strict=True)),
        rr=60 / np.clip(rng.normal(74 if sex == "F" else 71, 9), 56, 94),
        sway=0.012 + 0.07 * np.exp(-(age - 18) / 28) * rng.uniform(0.6, 1.2),
        pr=rng.uniform(0.13, 0.19),
        qtc=rng.normal(0.415 if sex == "F" else 0.402, 0.014),
        q=-r * rng.uniform(0.02, 0.14),
        r=r,
        s=-r * rng.uniform(0.08, 0.25) - 0.35 * max(0.0, np.sin(np.pi / 6 - axis)),
        t=rng.uniform(-0.18, 0.05) if flat_t else rng.uniform(0.15, 0.45),
        p=rng.uniform(0.08, 0.2),
        ectopic_p=(-1 if rng.random() < 0.5 else 1) * rng.uniform(0.06, 0.15),
        ventricular=(-1 if rng.random() < 0.4 else 1) * max(r, 0.6) * rng.uniform(0.9, 1.4),
        qrs_width=rng.uniform(0.017, 0.020) if wide else rng.uniform(0.0095, 0.0125),
        p_width=rng.uniform(0.020, 0.026),
    )


def make_rhythm(
    rng: Generator, patient: Patient, label: str, breath: Wave, duration: float
) -> Rhythm:
    """Beats of the class `label` (NSR, AF or Other) from before 0 s to beyond `duration`."""
    kind = pick(rng, OTHER_SHARES) if label == "Other" else label
    # Premature atrial beats shorten the rhythm by up to a fifth: that much more is made.
    until = 1.4 * duration + 5
    if kind == "AF":
        # Independent intervals, skewed to the right, at rates that sinus rhythm has too.
        rr = 60 / np.clip(rng.normal(88, 17), 58, 130)
        variation = rng.uniform(0.17, 0.30)
        rrs = rr * variation**2 * rng.gamma(variation**-2, size=int(2 * until / rr) + 9)
        times = np.cumsum(np.maximum(rrs, 0.3)) - LEAD_IN
        return Rhythm("(AFIB", times, ["N"] * len(times), None)
    if kind == "bradycardia":
        return _sinus(rng, patient, "(SBR", rng.uniform(1.28, 1.65), breath, until)
    if kind == "tachycardia":
        return _sinus(rng, patient, "(N", rng.uniform(0.40, 0.55), breath, until)
    rr = np.clip(patient.rr * rng.uniform(0.84, 1.15), 0.6, 1.08)
    rhythm = _sinus(rng, patient, "(N", rr, breath, until)
    if kind == "NSR":
        return rhythm
    if kind == "first degree block":
        return replace(rhythm, pr=rng.uniform(0.26, 0.36))
    pattern, symbol = kind.split()
    return _with_ectopics(rng, rhythm, symbol, bigeminy=pattern == "bigeminy")


def _sinus(
    rng: Generator, patient: Patient, code: str, rr: float, breath: Wave, until: float
) -> Rhythm:
    """RR sways with respiration and, more slowly, with blood pressure (Mayer waves, 0.1 Hz)."""
    mayer = Wave(0.1, rng.uniform(0, 2 * np.pi))
    slow_sway = rng.uniform(0.01, 0.03)
    times = [-LEAD_IN - rng.uniform(0, rr)]
    while times[-1] < until:
        sway = patient.sway * breath.at(times[-1]) + slow_sway * mayer.at(times[-1])
        times.append(times[-1] + rr * (1 + float(sway) + rng.normal(0, 0.008)))
    return Rhythm(code, np.array(times), ["N"] * len(times), patient.pr)


def _with_ectopics(rng: Generator, rhythm: Rhythm, symbol: str, *, bigeminy: bool) -> Rhythm:
    """Make beats premature: every second one, or one in three to six.

    A ventricular beat (V) leaves the sinus clock alone: the next beat comes when it was due,
    after a compensatory pause. An atrial one (A) resets the clock: all later beats move forward.
    """
    times, symbols = rhythm.times.copy(), rhythm.symbols.copy()
    coupling = rng.uniform(0.55, 0.75)
    place = int(rng.integers(2, 6))
    while place < len(times):
        advance = (1 - coupling + rng.normal(0, 0.015)) * (times[place] - times[place - 1])
        times[place : place + 1 if symbol == "V" else None] -= advance
        symbols[place] = symbol
        place += 2 if bigeminy else int(rng.integers(3, 7))
    code = "(B" if bigeminy and symbol == "V" else rhythm.code
    return replace(rhythm, code=code, times=times, symbols=symbols)


def draw_heart(rng: Generator, patient: Patient, rhythm: Rhythm, breath: Wave, t: Floats) -> Floats:
    """The undisturbed ECG of lead II in mV at the instants `t` (samples,) in s."""
    amplitude, centre, sigma = np.array(list(_beats(rng, patient, rhythm, breath))).T[..., None]
    waves: Floats = (amplitude * np.exp(-0.5 * ((t - centre) / sigma) ** 2)).sum(axis=0)
    return waves if rhythm.pr is not None else waves + _f_waves(rng, t)


def _beats(rng: Generator, patient: Patient, rhythm: Rhythm, breath: Wave) -> Iterator[Gaussian]:
    """The waves of every beat but the first, which has no interval before it."""
    rrs, times = np.diff(rhythm.times), rhythm.times[1:]
    # QT follows the rate over several beats, not the last interval alone; Fridericia's cube root.
    qts = patient.qtc * np.cbrt(0.3 * rrs + 0.7 * np.median(rrs))
    sizes = 1 + 0.06 * breath.at(times) + rng.normal(0, 0.02, len(times))
    for symbol, beat, rr, qt, size in zip(rhythm.symbols[1:], times, rrs, qts, sizes, strict=True):
        t_end, t_sigma = beat - QRS_ONSET + qt, 0.1 * qt
        if symbol == "V":  # wide, no P wave, the T wave against the main deflection
            main = size * patient.ventricular
            yield main, beat, 0.036
            yield -0.25 * main, beat + 0.10, 0.035
            yield -0.35 * main, t_end - 2.6 * t_sigma, 1.8 * t_sigma
            continue
        if rhythm.pr is not None:
            # PR runs from the start of P, two sigma before its top; it shortens with the rate.
            pr = rhythm.pr * min(1.0, rr) ** 0.25
            p = patient.ectopic_p if symbol == "A" else patient.p
            yield p, beat - QRS_ONSET - pr + 2 * patient.p_width, patient.p_width
        width = patient.qrs_width
        yield size * patient.q, beat - 2.4 * width, 0.7 * width
        yield size * patient.r, beat, width
        yield size * patient.s, beat + 2.5 * width, 0.9 * width
        # T rises slowly and falls fast: a low wide Gaussian before a high narrow one.
        yield 0.75 * patient.t, t_end - 2 * t_sigma, t_sigma
        yield 0.45 * patient.t, t_end - 3.3 * t_sigma, 1.3 * t_sigma


def _f_waves(rng: Generator, t: Floats) -> Floats:
    """Fibrillation of the atria: a sawtooth of 4-9 Hz whose size and rate drift.

    After Stridh and Sörnmo, IEEE Trans. Biomed. Eng. 48 (2001) 105-111.
    """
    amplitude = np.clip(rng.lognormal(np.log(0.075), 0.35), 0.03, 0.16)
    drift = Wave(rng.uniform(0.1, 0.4), rng.uniform(0, 2 * np.pi))
    swell = Wave(rng.uniform(0.15, 0.6), rng.uniform(0, 2 * np.pi))
    angle = 2 * np.pi * rng.uniform(4.5, 8.5) * t + 1.2 * drift.at(t)
    saw = np.sin(angle) + np.sin(2 * angle) / 2 + np.sin(3 * angle) / 3
    return np.asarray(amplitude * (1 + 0.4 * swell.at(t)) * saw)
