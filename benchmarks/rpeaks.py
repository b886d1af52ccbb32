"""Score the R-peak detector, and those of wfdb, against the beats that experts marked in MIT-BIH.

    RETRACE_MIRROR=FOLDER python -m benchmarks.rpeaks [--json FILE]

All 48 records, all 30 minutes, lead MLII where there is one (V5 in 102 and 104). Detections and
beats are paired as WFDB's `bxb` does, see `retrace.scoring.matching`; sensitivity (Se) is the share
of beats in pairs, positive predictivity (+P) the share of detections. The episodes of ventricular
flutter in 207 are left out, as ANSI/AAMI EC57 says. The records stand in three parts:
DS1 and DS2 of de Chazal et al., IEEE Trans. Biomed. Eng. 51 (2004) 1196-1206, and the four paced
ones. The thresholds of the detector were looked at on DS1, so only DS2 is a test.
"""

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import wfdb.processing
from numpy.typing import NDArray

from retrace.errors import InputError, reported
from retrace.files import write_json
from retrace.learning.splits import DS1, DS2, PACED
from retrace.scoring.matching import Beats, match, read
from retrace.signals.records import Record, read_wfdb
from retrace.signals.rpeaks import detect

Integers = NDArray[np.int64]
Detector = Callable[[NDArray[np.float32], float], Integers]

FOLDER = Path("physionet.org/files/mitdb/1.0.0")
PARTS = {"DS1": DS1, "DS2": DS2, "paced": PACED}


def by_xqrs(signal: NDArray[np.float32], fs: float) -> Integers:
    found = wfdb.processing.XQRS(sig=signal.astype(np.float64), fs=fs)
    found.detect(verbose=False)
    return np.asarray(found.qrs_inds, dtype=np.int64)


def by_gqrs(signal: NDArray[np.float32], fs: float) -> Integers:
    return np.asarray(wfdb.processing.gqrs_detect(sig=signal.astype(np.float64), fs=fs), np.int64)


DETECTORS: dict[str, Detector] = {"retrace": detect, "wfdb xqrs": by_xqrs, "wfdb gqrs": by_gqrs}


@dataclass(frozen=True)
class Count:
    """Beats and detections in pairs, beats missed, detections too many; they add up."""

    pairs: int = 0
    missed: int = 0
    extra: int = 0

    def __add__(self, other: "Count") -> "Count":
        return Count(self.pairs + other.pairs, self.missed + other.missed, self.extra + other.extra)

    @property
    def percent(self) -> dict[str, float]:
        """Sensitivity and positive predictivity; one without any case is 100."""
        return {
            "Se": 100 * self.pairs / max(1, self.pairs + self.missed),
            "+P": 100 * self.pairs / max(1, self.pairs + self.extra),
        }


def count(record: Record, found: Integers) -> Count:
    """Compare detections with the record's annotated beats, outside ventricular flutter."""
    beats = read(record.beats, record.symbols, record.fs)
    made = match(beats, Beats(found, ("Q",) * len(found)), record.fs)
    return Count(int(made.both.sum()), int((made.test < 0).sum()), int((made.reference < 0).sum()))


def mitdb() -> Path:
    """The folder of MIT-BIH below RETRACE_MIRROR."""
    folder = Path(os.environ.get("RETRACE_MIRROR", "")) / FOLDER
    if not (folder / "100.hea").is_file():
        raise InputError(
            f"{folder}: no MIT-BIH records; set RETRACE_MIRROR to a folder that holds "
            f"{FOLDER}, as `wget -r https://physionet.org/files/mitdb/1.0.0/` writes it"
        )
    return folder


def lead(path: Path) -> Record:
    """The record reduced to MLII, or to V5 where electrodes had to be placed otherwise."""
    return read_wfdb(path).with_leads(["MLII|V5"])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    options = parser.parse_args()
    folder = mitdb()
    seconds = dict.fromkeys(DETECTORS, 0.0)
    hours = 0.0
    counts: dict[str, dict[str, Count]] = {name: {} for name in DETECTORS}
    for number in sorted(DS1 + DS2 + PACED):
        record = lead(folder / number)
        hours += record.signal.shape[1] / record.fs / 3600
        for name, detector in DETECTORS.items():
            start = time.process_time()
            found = detector(record.signal[0], record.fs)
            seconds[name] += time.process_time() - start
            counts[name][number] = count(record, found)
    figures = [*report(counts), speed(seconds, hours)]
    if options.json:
        write_json(options.json, figures)


def report(counts: dict[str, dict[str, Count]]) -> list[dict[str, Any]]:
    """Print and return the figures of the parts and of every record."""
    parts = {name: list(numbers) for name, numbers in PARTS.items()}
    parts["all"] = [number for numbers in parts.values() for number in numbers]
    gross = {
        name: {
            part: sum((of[number] for number in numbers), Count())
            for part, numbers in parts.items()
        }
        for name, of in counts.items()
    }
    print(f"{'':14}" + "".join(f"{name:>26}" for name in counts))
    for part in parts:
        print(f"{part:14}" + "".join(f"{_text(of[part]):>26}" for of in gross.values()))
    print("\nmissed, extra")
    for number in counts["retrace"]:
        faults = (f"{of[number].missed}, {of[number].extra}" for of in counts.values())
        print(f"{number:14}" + "".join(f"{text:>26}" for text in faults))
    return [
        _figure(f"{score} of R peaks, {place}", "%", {n: c.percent[score] for n, c in row.items()})
        for place, row in _rows(gross, counts).items()
        for score in ("Se", "+P")
    ]


def _rows(*tables: dict[str, dict[str, Count]]) -> dict[str, dict[str, Count]]:
    """From detector, place to place, detector."""
    return {
        place: {name: of[place] for name, of in table.items()}
        for table in tables
        for place in next(iter(table.values()))
    }


def speed(seconds: dict[str, float], hours: float) -> dict[str, Any]:
    """Print and return the processor time for half a minute of one lead."""
    milliseconds = {name: 1e3 * spent / (120 * hours) for name, spent in seconds.items()}
    print("\nms for 30 s   " + "".join(f"{value:26.2f}" for value in milliseconds.values()))
    return _figure("R peaks of 30 s at 360 Hz, one core", "ms", milliseconds)


def _figure(name: str, unit: str, values: dict[str, float]) -> dict[str, Any]:
    peers = {peer: value for peer, value in values.items() if peer != "retrace"}
    best = min(peers.values()) if unit == "ms" else max(peers.values())
    return {
        "name": name,
        "unit": unit,
        "ours": values["retrace"],
        "peers": peers,
        "ratio": best / values["retrace"] if unit == "ms" else values["retrace"] / best,
        "error": None,
        "load": os.getloadavg()[0],
    }


def _text(counted: Count) -> str:
    return "  ".join(f"{name} {value:.2f} %" for name, value in counted.percent.items())


if __name__ == "__main__":
    with reported():
        main()
