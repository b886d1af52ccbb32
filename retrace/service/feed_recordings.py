"""Recordings that are fed: their files, whose they are, and drift that is planted in them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import wfdb

from retrace.deploy.inputs import Ready, Recording, Refused, open_inputs
from retrace.errors import InputError
from retrace.files import read_csv
from retrace.signals.noise import noise_for, strength
from retrace.signals.records import Record

BESIDE = (".hea", ".dat", ".mat")  # of one WFDB record, without what others said of its beats
ALONE = (".edf", ".csv", ".tsv")
NOISE, SEED = "electrode motion", 0
STEPS = 32_000  # of the 65,536 of 16 bits, from 0 to the largest value
GAINS, RATIOS = (0.01, 100.0), (-60.0, 60.0)


@dataclass(frozen=True)
class Drift:
    """gain: what the signal is multiplied by. noise: signal-to-noise ratio in dB of electrode
    motion that is added to it, see `signals.noise`; None: none is. invert: turn it upside down."""

    gain: float = 1.0
    noise: float | None = None
    invert: bool = False

    def __post_init__(self) -> None:
        for name, value, (low, high) in (
            ("--gain", self.gain, GAINS),
            ("--noise", 0.0 if self.noise is None else self.noise, RATIOS),
        ):
            if not low <= value <= high:
                raise InputError(f"{name} {value:g}: it is from {low:g} to {high:g}: correct it")

    def __bool__(self) -> bool:
        return (self.gain, self.noise, self.invert) != (1.0, None, False)

    def planted(self, record: Record) -> Record:
        """The record with this drift in all of its leads; for the same record always the same."""
        signal = record.signal
        if self.noise is not None:
            added = strength(record, self.noise) * noise_for(record, NOISE, SEED)
            signal = (signal + added).astype(np.float32)
        factor = np.float32(-self.gain if self.invert else self.gain)
        return record.with_signal(signal * factor)


NO_DRIFT = Drift()


@dataclass(frozen=True)
class Recordings:
    """Recordings in files. persons: whose each is, by its name; drift: what is planted in all;
    lead: the one that is to stand for the model's."""

    paths: Sequence[Path]
    persons: Mapping[str, str] = field(default_factory=dict)
    drift: Drift = NO_DRIFT
    lead: str | None = None

    def __post_init__(self) -> None:
        for path in self.paths:
            if not (path.suffix in ALONE and path.is_file()) and not files_of(path)[0].is_file():
                raise InputError(
                    f"{path}: no recording; it is a WFDB record, .edf or .csv, or .npy segments: "
                    "correct the path"
                )
            if self.persons and stem(path).name not in self.persons:
                raise InputError(
                    f"{stem(path).name}: no patient_id in the table of --persons; it says whose "
                    "each recording is: add it, or leave --persons away"
                )

    def fields(self, path: Path) -> dict[str, str]:
        """What is sent beside the files of a recording."""
        person = {"person": self.persons[stem(path).name]} if self.persons else {}
        return person | ({"lead": self.lead} if self.lead else {})


def read_persons(table: Path) -> dict[str, str]:
    """Whose each record is, by a table with record_id and patient_id."""
    rows = read_csv(table, ("record_id", "patient_id"))
    return {row["record_id"]: row["patient_id"] for row in rows if row["patient_id"]}


def files_of(path: Path) -> list[Path]:
    """The files of a recording; the first is the one that must be there."""
    if path.suffix in ALONE:
        return [path]
    found = [stem(path).with_name(stem(path).name + suffix) for suffix in BESIDE]
    return [found[0], *filter(Path.is_file, found[1:])]


def stem(path: Path) -> Path:
    """The path of a recording without what its files end in."""
    return path.with_suffix("") if path.suffix in (*ALONE, *BESIDE, ".atr") else path


@contextmanager
def rewritten(path: Path, drift: Drift) -> Iterator[Path]:
    """A WFDB record (its header's path) of the recording at `path` with the drift in it, for a
    while. It has 16 bits a sample, and no annotations.

    Raises InputError for a recording that cannot be read, or whose samples are not all numbers.
    """
    opened = next(open_inputs([path]))
    if isinstance(opened, Refused | Ready):
        raise InputError(
            getattr(opened, "why", f"{path}: segments; a drift is planted in recordings")
        )
    record = drift.planted(whole(opened))
    if not np.isfinite(record.signal).all():
        raise InputError(f"{path}: some samples are no numbers; noise needs a whole signal: cut it")
    name = re.sub(r"[^A-Za-z0-9_-]", "_", opened.name)
    comments = [f"age: {opened.age:g}"] if opened.age is not None else []
    comments += [f"sex: {opened.sex}"] if opened.sex else []
    gain = STEPS / max(float(np.abs(record.signal).max()), 1.0)
    with TemporaryDirectory() as folder:
        wfdb.wrsamp(
            name,
            fs=record.fs,
            units=["mV"] * len(record.leads),
            sig_name=list(record.leads),
            d_signal=np.rint(record.signal.T * gain).astype(np.int64),
            fmt=["16"] * len(record.leads),
            adc_gain=[gain] * len(record.leads),
            baseline=[0] * len(record.leads),
            comments=comments,
            write_dir=folder,
        )
        yield Path(folder) / f"{name}.hea"


def whole(recording: Recording) -> Record:
    """A recording in memory, all of its leads."""
    rows = tuple(range(len(recording.leads)))
    signal = recording.read(0, recording.samples, rows)
    return Record(recording.name, recording.fs, recording.leads, signal)
