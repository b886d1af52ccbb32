"""Recordings in every format that is read, for tests."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import wfdb
from numpy.typing import NDArray

FS = 360


def waves(leads: int = 2, samples: int = 3600) -> NDArray[np.float64]:
    """Another sine in each lead: (leads, samples) in mV, of three decimals."""
    t = np.arange(samples) / FS
    return np.stack([np.round(np.sin(2 * np.pi * (5 + lead) * t), 3) for lead in range(leads)])


def write_record(
    folder: Path,
    name: str = "r1",
    *,
    fmt: str = "212",
    signal: NDArray[np.float64] | None = None,
    leads: Sequence[str] = ("MLII", "V5", "V1"),
    beats: bool = True,
) -> Path:
    """A WFDB record with two beats and a note between; its path without a suffix."""
    signal = waves() if signal is None else signal
    wfdb.wrsamp(
        name,
        fs=FS,
        units=["mV"] * len(signal),
        sig_name=list(leads[: len(signal)]),
        p_signal=signal.T,
        fmt=[fmt] * len(signal),
        adc_gain=[100.0] * len(signal),
        baseline=[7] * len(signal),
        comments=["69 M 1085 1629 x1"],
        write_dir=str(folder),
    )
    if beats:
        marks, symbols = np.array([100, 200, 1900]), ["N", "+", "V"]
        notes = ["", "(AFIB", ""]
        wfdb.wrann(name, "atr", marks, symbols, aux_note=notes, write_dir=str(folder))
    return folder / name


def change(path: Path, old: str, new: str, encoding: str = "utf-8") -> None:
    """Replace what stands in a header."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new), encoding=encoding)


def edf(
    digital: Sequence[NDArray[np.int16]],
    labels: Sequence[str] = ("ECG MLII", "ECG V5"),
    units: Sequence[str] = ("uV", "mV"),
    *,
    reserved: str = "",
    records: int | None = None,
) -> bytes:
    """An EDF file: (records, samples of a record) of each signal, at one record a second.

    A digital step is a tenth of the unit, and digital 0 is -3 of it.
    """
    count = len(digital)
    low, high = [f"{-3 - 3276.8:.1f}"] * count, [f"{-3 + 3276.7:.1f}"] * count

    def text(width: int, *values: object) -> str:
        return "".join(f"{value!s:<{width}}" for value in values)

    header = text(8, 0) + text(80, "MCH-1 F 02-MAY-1951 X", "Startdate 02-MAR-2002 X X X")
    header += text(8, "02.03.02", "00.00.00", 256 * (count + 1)) + text(44, reserved)
    header += text(8, len(digital[0]) if records is None else records, 1) + text(4, count)
    header += text(16, *labels) + text(80, *[""] * count) + text(8, *units, *low, *high)
    header += text(8, *[-32768] * count, *[32767] * count) + text(80, *[""] * count)
    header += text(8, *[signal.shape[1] for signal in digital]) + text(32, *[""] * count)
    body = b"".join(
        signal[record].astype("<i2").tobytes()
        for record in range(len(digital[0]))
        for signal in digital
    )
    return header.encode("latin-1") + body
