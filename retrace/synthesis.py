"""Labelled ECG recordings made from a seed: the data set `synthetic`.

They look like ECG and teach a network to tell rhythms apart under noise; they say nothing about
patients.
"""

from pathlib import Path

import numpy as np
import wfdb
from numpy.random import Generator, SeedSequence, default_rng

from retrace.errors import InputError
from retrace.files import write_csv
from retrace.signals.spectra import coloured
from retrace.synthesis_heart import (
    Floats,
    Patient,
    Rhythm,
    Wave,
    draw_heart,
    make_patient,
    make_rhythm,
    pick,
)

LEAD = "II"
ADC_GAIN = 200  # adu per mV; the 12 bits of format 212 hold +-10.2 mV in steps of 5 uV
ADC_LIMIT = 2047
MAINS = 50.0  # Hz


def synthesise(
    folder: Path,
    *,
    seed: int,
    patients: int,
    records_per_patient: int,
    fs: float,
    duration: float,
    noise: float,
) -> None:
    """Write recordings of virtual patients into the existing empty `folder`.

    Each record is `<record_id>.hea`, `.dat` (WFDB format 212, one lead "II", mV) and `.atr`: an
    annotation that names the rhythm, then one per beat (N, A or V, at the R peak). `labels.csv`
    has record_id, patient_id, age, sex and label (NSR, AF, Other or Noise).

    seed: an integer from 0. Each patient and each record has a generator of its own, so that
    more patients, or more records of each, leave the earlier ones as they were.
    fs: sampling rate in Hz, from 101: the mains at 50 Hz are part of it. duration: length of a
    record in s, from 5.
    noise: strength of the noise in readable records, from 0 (none); 1 is ambulatory. The class
    Noise is unreadable at any value.

    Raises InputError for a value out of range and for a folder that is not empty.
    """
    for name, value, least in (
        ("seed", seed, 0),
        ("patients", patients, 1),
        ("records_per_patient", records_per_patient, 1),
        ("fs", fs, 101),
        ("duration", duration, 5),
        ("noise", noise, 0),
    ):
        if not least <= value < np.inf:
            raise InputError(f"synthetic.{name}: {value}; expected at least {least}: raise it")
    if any(folder.iterdir()):
        raise InputError(
            f"{folder}: not empty; the recordings need a folder of their own: empty it"
        )
    rows = []
    for number in range(patients):
        patient = make_patient(f"p{number:04d}", _generator(seed, number))
        for take in range(records_per_patient):
            rng = _generator(seed, number, take)
            record_id = f"{patient.patient_id}r{take:02d}"
            label = pick(rng, patient.shares)
            signal, rhythm = _record(rng, patient, label, fs, duration, noise)
            _write(folder, record_id, patient, signal, rhythm, fs)
            rows.append((record_id, patient.patient_id, patient.age, patient.sex, label))
    write_csv(folder / "labels.csv", ("record_id", "patient_id", "age", "sex", "label"), rows)


def _generator(seed: int, *place: int) -> Generator:
    return default_rng(SeedSequence(seed, spawn_key=place))


def _record(
    rng: Generator, patient: Patient, label: str, fs: float, duration: float, noise: float
) -> tuple[Floats, Rhythm]:
    """The signal (samples,) in mV, and the beats behind it.

    A Noise record keeps the annotations of the rhythm that its noise hides: the generator knows
    them, and their absence would tell the class to whoever reads them.
    """
    t = np.arange(round(duration * fs)) / fs
    breath = Wave(rng.uniform(0.17, 0.34), rng.uniform(0, 2 * np.pi))
    # Strengths are fractions of the R wave. A loose electrode shows a smaller heart, so that an
    # unreadable record has no more power than others, and readable ones have bad stretches too:
    # what tells them apart is whether beats can be made out, not how much noise there is.
    if label == "Noise":
        hidden = str(rng.choice(["NSR", "AF", "Other"]))
        rhythm = make_rhythm(rng, patient, hidden, breath, duration)
        contact = rng.uniform(0.3, 0.9)
        quiet, loud, share = 0.25 * noise, rng.uniform(0.5, 1.1), rng.uniform(0.8, 1.0)
    else:
        rhythm = make_rhythm(rng, patient, label, breath, duration)
        contact = 1.0
        quiet = 0.17 * noise * rng.uniform(0.1, 1) ** 1.5
        loud = noise * rng.uniform(0.3, 0.7) if rng.random() < 0.4 else quiet
        share = rng.uniform(0.08, 0.25)
    strength = patient.r * (quiet + (loud - quiet) * _stretch(rng, t, share))
    signal = draw_heart(rng, patient, rhythm, breath, t)
    signal += strength * _electrode_and_muscle(rng, t)
    signal += noise * _wander_and_mains(rng, t, breath)
    return contact * signal, rhythm


def _stretch(rng: Generator, t: Floats, share: float) -> Floats:
    """One within a stretch of that share of the record, zero outside, with edges of 0.3 s."""
    length = share * t[-1]
    start = rng.uniform(0, t[-1] - length)
    return np.asarray(np.clip(np.minimum(t - start, start + length - t) / 0.3 + 0.5, 0, 1))


def _electrode_and_muscle(rng: Generator, t: Floats) -> Floats:
    """Noise of about unit power: an electrode that moves, with jumps that die away, and muscle."""
    motion = coloured(rng, t, 0.8, 14, -1.2)
    for start in rng.uniform(0, t[-1], rng.poisson(0.4 * t[-1])):
        jump = np.exp(-np.maximum(t - start, 0) / rng.uniform(0.1, 0.6))
        motion += rng.normal(0, 2) * jump * (t >= start)
    share = rng.uniform(0.05, 0.95)
    muscle = coloured(rng, t, 12, 60, -0.5)
    return np.asarray(np.sqrt(share) * motion + np.sqrt(1 - share) * muscle)


def _wander_and_mains(rng: Generator, t: Floats, breath: Wave) -> Floats:
    """What every recording has, in mV: the baseline follows respiration, the mains leak in."""
    wander = rng.uniform(0.02, 0.2) * breath.at(t + rng.uniform(0, 1))
    wander += rng.uniform(0.02, 0.2) * coloured(rng, t, 0, 0.6, -1)
    hum = np.clip(rng.lognormal(np.log(0.012), 0.8), 0, 0.08)
    return np.asarray(wander + hum * Wave(MAINS, rng.uniform(0, 2 * np.pi)).at(t))


def _write(
    folder: Path, record_id: str, patient: Patient, signal: Floats, rhythm: Rhythm, fs: float
) -> None:
    # Whole numbers leave no room for the last bits, in which processors differ over exp and sin.
    digital = np.clip(np.rint(signal * ADC_GAIN), -ADC_LIMIT, ADC_LIMIT).astype(np.int64)
    wfdb.wrsamp(
        record_id,
        fs=fs,
        units=["mV"],
        sig_name=[LEAD],
        d_signal=digital[:, None],
        fmt=["212"],
        adc_gain=[ADC_GAIN],
        baseline=[0],
        comments=[f"age: {patient.age}", f"sex: {patient.sex}"],
        write_dir=str(folder),
    )
    samples = np.rint(rhythm.times * fs).astype(np.int64)
    inside = (samples >= 0) & (samples < len(signal))
    symbols = [symbol for symbol, seen in zip(rhythm.symbols, inside, strict=True) if seen]
    wfdb.wrann(
        record_id,
        "atr",
        np.concatenate([[0], samples[inside]]),
        symbol=["+", *symbols],
        aux_note=[rhythm.code, *[""] * len(symbols)],
        write_dir=str(folder),
    )
