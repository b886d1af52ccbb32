"""Make the examples: recordings and segments of a heart that nobody has.

    python -m examples.make [FOLDER]

The same bytes each time and on every machine: everything comes from SEED, and whole numbers of the
converter leave no room for the last bits in which processors differ.
"""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import wfdb
from numpy.random import Generator, default_rng
from numpy.typing import NDArray

from examples.heart import Beat, draw, paced, sinus_with_ectopics
from retrace.errors import reported
from retrace.files import new_file
from retrace.signals.beats import cut_beats
from retrace.signals.domain import BeatWindow
from retrace.signals.filters import bandpass
from retrace.signals.noise import noise_for, strength
from retrace.signals.records import Record
from retrace.signals.wavelets import Scalogram
from retrace.synthesis_heart import Floats, Wave, draw_heart, make_patient, make_rhythm

# The first from 2017 on with a patient whose R and T waves are upright and of usual height, whose
# sinus rhythm has 60 beats a minute or more, and whose fibrillation is as fast as one that has just
# begun, 100 to 130 a minute.
SEED = 2031
SECONDS = 60.0
FIBRILLATION = 20.0  # s, at which it begins
BREATH = Wave(rate=0.24, phase=0.0)
NOISE = {"baseline wander": 6.0, "muscle": 27.0, "electrode motion": 27.0}  # dB
ADC_GAIN = 200  # adu per mV, as in MIT-BIH
ECTOPICS = {  # by number of the beat
    **dict.fromkeys((6, 15, 26, 38, 52, 63), "A"),
    **dict.fromkeys((10, 20, 31, 33, 35, 47, 58), "V"),
    **dict.fromkeys((43, 55), "F"),
}
SHOWN = {"N": 3, "S": 15, "V": 20, "F": 43}  # numbers of beats of `ectopics`, by their class
# As in params.yaml and recipes/_mitdb.yaml.
BAND: dict[str, Any] = {"low": 0.5, "high": 50.0, "order": 3}
BEATS: dict[str, Any] = {
    "rate": 360.0,
    "samples": 187,
    "window": BeatWindow(peak=0.5, rr_length=None),
    "normalise": "record",
}
CWT: dict[str, Any] = {
    "wavelet": "cmor1.5-1.0",
    "fs": 128.0,
    "samples": 1280,
    "low": 0.5,
    "high": 32.0,
    "scales": 32,
    "frames": 160,
}
WINDOW = 40.0  # s of `paroxysm`, from which the scalogram's ten seconds start


def make(folder: Path) -> None:
    """Write all examples into the existing `folder`."""
    rng = default_rng(SEED)
    beats = sinus_with_ectopics(rng, BREATH, SECONDS, ECTOPICS)
    record = two_leads("ectopics", rng, beats)
    write_recording(folder, record, beats)
    write_beats(folder / "beats", record, beats, SHOWN)
    beats = paced(SECONDS)
    write_beats(folder / "beats", two_leads("paced", rng, beats), beats, {"Q": 20})
    record = paroxysm(rng)
    write_recording(folder, record)
    write_npy(folder / "scalogram.npy", scalogram(record))


def two_leads(name: str, rng: Generator, beats: list[Beat]) -> Record:
    """A recording of those beats at the rate and in the leads of MIT-BIH."""
    t = np.arange(round(SECONDS * BEATS["rate"])) / BEATS["rate"]
    return measured(name, ("MLII", "V1"), BEATS["rate"], draw(rng, beats, BREATH, t))


def paroxysm(rng: Generator) -> Record:
    """Sinus rhythm in lead II that turns into atrial fibrillation."""
    t = np.arange(round(SECONDS * CWT["fs"])) / CWT["fs"]
    patient = make_patient("example", rng)
    sinus, irregular = (
        make_rhythm(rng, patient, label, BREATH, SECONDS) for label in ("NSR", "AF")
    )
    # It begins behind the T wave of the last sinus beat, and before its own first one.
    last = int((sinus.times < FIBRILLATION).sum()) - 1
    first = int((np.diff(irregular.times) > 0.7).argmax())
    onset = float(sinus.times[last])
    sinus = replace(sinus, times=sinus.times[: last + 1], symbols=sinus.symbols[: last + 1])
    irregular = replace(
        irregular,
        times=onset + irregular.times[first:] - irregular.times[first],
        symbols=irregular.symbols[first:],
    )
    before, after = (draw_heart(rng, patient, rhythm, BREATH, t) for rhythm in (sinus, irregular))
    heart = before + np.clip((t - onset - 0.35) / 0.3, 0, 1) * after
    return measured("paroxysm", ("II",), CWT["fs"], heart[None])


def measured(name: str, leads: tuple[str, ...], fs: float, heart: Floats) -> Record:
    """The heart (leads, samples) in mV as a recorder has it: with noise, in whole steps."""
    clean = Record(name, fs, leads, heart.astype(np.float32))
    noisy = heart + sum(
        strength(clean, ratio) * noise_for(clean, kind, SEED) for kind, ratio in NOISE.items()
    )
    return clean.with_signal((np.rint(noisy * ADC_GAIN) / ADC_GAIN).astype(np.float32))


def peaks_of(record: Record, beats: list[Beat]) -> NDArray[np.int64]:
    """The samples of the main peaks of those that lie in the recording."""
    return np.array([round(beat.at * record.fs) for beat in beats], np.int64)


def write_recording(folder: Path, record: Record, beats: list[Beat] | None = None) -> None:
    """A WFDB record in format 212, with annotations where its beats are given."""
    wfdb.wrsamp(
        record.record_id,
        fs=record.fs,
        units=["mV"] * len(record.leads),
        sig_name=list(record.leads),
        d_signal=np.rint(record.signal.T * ADC_GAIN).astype(np.int64),
        fmt=["212"] * len(record.leads),
        adc_gain=[ADC_GAIN] * len(record.leads),
        baseline=[0] * len(record.leads),
        comments=["synthetic, of no patient: made by examples/make.py"],
        write_dir=str(folder),
    )
    if beats is not None:
        wfdb.wrann(
            record.record_id,
            "atr",
            peaks_of(record, beats),
            symbol=[beat.symbol for beat in beats],
            write_dir=str(folder),
        )


def write_beats(folder: Path, record: Record, beats: list[Beat], shown: dict[str, int]) -> None:
    """Of lead MLII, by class and number, what a model of MIT-BIH's beats takes: (1, 1, 187)."""
    signal = bandpass(record.signal[:1], fs=record.fs, **BAND)
    cut = cut_beats(signal, record.fs, peaks_of(record, beats), **BEATS)
    for label, number in shown.items():
        write_npy(folder / f"{label}.npy", cut.windows[cut.rows == number])


def scalogram(record: Record) -> NDArray[np.float16]:
    """Of ten seconds of fibrillation, what the default model takes: (1, 1, 32, 160)."""
    signal = bandpass(record.signal, fs=record.fs, **BAND)
    first = round(WINDOW * record.fs)
    return Scalogram(**CWT)(signal[None, :, first : first + CWT["samples"]])


def write_npy(path: Path, values: NDArray[Any]) -> None:
    with new_file(path) as part, part.open("wb") as stream:
        np.save(stream, values, allow_pickle=False)


if __name__ == "__main__":
    with reported():
        make(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
