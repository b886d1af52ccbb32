"""How well is a bad signal told from a good one? The index of noise beside published ones.

    RETRACE_MIRROR=FOLDER python -m benchmarks.quality [--json FILE]

Three questions, each of ten seconds at a time. CinC 2017: is this a part of a recording that its
experts labelled Noise? The label is of the whole recording, so that no index can reach 100 %.
MIT-BIH: is this lead, here, one that its annotators marked as noisy for more than half of the time?
And MIT-BIH with noise of known strength (see `retrace.signals.noise`): how much is not good?

Beside ours stand indices of Li, Mark and Clifford, Physiol. Meas. 29 (2008) 15-32: kSQI (kurtosis),
sSQI (skewness), pSQI (5 to 15 Hz as a share of 5 to 40 Hz) and, of the raw signal, basSQI (1 to 40
Hz as a share of 0 to 40 Hz). Each is read in the direction that tells more, and each has the
threshold that finds 95 % of the good signal good. The number 0.2 of `retrace.signals.quality` was
looked at on the recordings of odd number, so only the even ones are a test.
"""

import argparse
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import rfft, rfftfreq

from benchmarks.rpeaks import lead, mitdb
from retrace.datasets.cinc2017 import records
from retrace.errors import InputError, reported
from retrace.files import write_json
from retrace.signals.filters import bandpass
from retrace.signals.noise import KINDS, noise_for, strength
from retrace.signals.quality import RESTLESS, SPAN, quality, restlessness
from retrace.signals.records import Record, read_wfdb

Floats = NDArray[np.float64]

CINC = Path("physionet.org/files/challenge-2017/1.0.0")
LABELS = {"N": "good", "A": "good", "O": "good", "~": "noise"}
FILTER: dict[str, Any] = {"low": 0.5, "high": 50.0, "order": 3}  # of params.yaml
SPECIFICITY = 0.95
NOISE_SEED = 7
RATIOS = (24, 18, 12, 6, 0, -6)  # dB


def windows(signal: NDArray[np.float32], fs: float) -> Floats:
    """(leads, whole ten seconds, samples), each freed of its mean."""
    length = round(SPAN * fs)
    count = signal.shape[1] // length
    cut = signal[:, : count * length].reshape(len(signal), count, length).astype(np.float64)
    return np.asarray(cut - cut.mean(axis=-1, keepdims=True))


def moment(cut: Floats, order: int) -> Floats:
    """The standardised moment of each window; 0 of a lead that does not change."""
    power = (cut**2).mean(axis=-1)
    return np.asarray((cut**order).mean(axis=-1) / np.where(power > 0, power, 1) ** (order / 2))


def share(cut: Floats, fs: float, part: tuple[float, float], of: tuple[float, float]) -> Floats:
    """The power between two frequencies as a share of that between two others."""
    f = rfftfreq(cut.shape[-1], 1 / fs)
    power = np.abs(rfft(cut, axis=-1)) ** 2
    inside, whole = (power[..., (f >= low) & (f <= high)].sum(axis=-1) for low, high in (part, of))
    return np.asarray(inside / np.where(whole > 0, whole, 1))


def indices(record: Record) -> dict[str, Floats]:
    """Each index (leads, whole ten seconds) of a raw recording."""
    filtered = bandpass(record.signal, fs=record.fs, **FILTER)
    cut, raw = windows(filtered, record.fs), windows(record.signal, record.fs)
    return {
        "retrace": restlessness(filtered, record.fs),
        "kSQI": moment(cut, 4),
        "sSQI": np.abs(moment(cut, 3)),
        "pSQI": share(cut, record.fs, (5, 15), (5, 40)),
        "basSQI": share(raw, record.fs, (1, 40), (0, 40)),
    }


@dataclass
class Judged:
    """Every index of many ten seconds, and which of them are noise."""

    values: dict[str, list[Floats]] = field(default_factory=dict)
    noise: list[NDArray[np.bool_]] = field(default_factory=list)

    def add(self, found: dict[str, Floats], told: NDArray[np.bool_], noise: Any) -> None:
        """Take in the ten seconds (leads, count) in `told`; noise: of all or of each."""
        for name, values in found.items():
            self.values.setdefault(name, []).append(values[told])
        self.noise.append(np.broadcast_to(noise, told.shape)[told])

    def table(self) -> dict[str, tuple[float, float]]:
        """Of each index the area under its curve and its sensitivity at the specificity."""
        noise = np.concatenate(self.noise)
        rows = {}
        for name, values in self.values.items():
            value = np.concatenate(values)
            area = _area(value[noise], value[~noise])
            sign = 1 if area > 0.5 else -1
            limit = np.quantile(sign * value[~noise], SPECIFICITY)
            found = float((sign * value[noise] > limit).mean())
            rows[name] = (100 * max(area, 1 - area), 100 * found)
        return rows

    def at_work(self) -> tuple[float, float]:
        """Sensitivity and specificity of ours at its own threshold."""
        noise, value = np.concatenate(self.noise), np.concatenate(self.values["retrace"])
        told = value > RESTLESS
        return 100 * float(told[noise].mean()), 100 * float((~told[~noise]).mean())


def _area(noise: Floats, good: Floats) -> float:
    """How often a value of noise is above one of a good signal; ties count half."""
    order = np.sort(good)
    below = np.searchsorted(order, noise, "left") + np.searchsorted(order, noise, "right")
    return float(below.mean() / 2 / len(good))


def cinc() -> dict[str, Judged]:
    """The challenge's recordings of odd and of even number."""
    folder = Path(os.environ.get("RETRACE_MIRROR", "")) / CINC
    if not (folder / "REFERENCE-v3.csv").is_file():
        raise InputError(
            f"{folder}: no REFERENCE-v3.csv; set RETRACE_MIRROR to a folder that holds {CINC}, "
            "with the unpacked training2017 in it"
        )
    parts = {"odd": Judged(), "even": Judged()}
    for record in records(folder, labels=LABELS):
        found = indices(record)
        told = np.ones(found["retrace"].shape, bool)
        parts[_part(record.record_id)].add(found, told, record.label == "noise")
    return parts


def annotated() -> dict[str, Judged]:
    """MIT-BIH's leads; ten seconds that are partly but not mostly noise are left out."""
    parts = {"odd": Judged(), "even": Judged()}
    for record in _mitdb():
        share = windows_share(marked(record), record.fs)
        told = (share == 0) | (share >= 0.5)
        parts[_part(record.record_id)].add(indices(record), told, share >= 0.5)
    return parts


def marked(record: Record) -> NDArray[np.bool_]:
    """Which samples (leads, n) a "~" says are noisy or unreadable, until the next "~".

    Bit n of its subtype is set where lead n is noisy, bit n + 4 where it cannot be read; -1: all.
    """
    noisy = np.zeros(record.signal.shape, bool)
    marks = [
        (at, kind)
        for at, symbol, kind in zip(record.beats, record.symbols, record.subtypes, strict=True)
        if symbol == "~"
    ]
    for at, kind in marks:  # each holds until the next one overwrites it
        for row, samples in enumerate(noisy):
            samples[at:] = kind & (0x11 << row) != 0
    return noisy


def windows_share(noisy: NDArray[np.bool_], fs: float) -> Floats:
    """How much of each whole ten seconds is marked: (leads, count)."""
    length = round(SPAN * fs)
    count = noisy.shape[1] // length
    return np.asarray(noisy[:, : count * length].reshape(len(noisy), count, length).mean(axis=-1))


def with_noise() -> dict[str, list[float]]:
    """The percentage of MLII, in records of even number, that is not good, by kind of noise."""
    shares: dict[str, list[list[float]]] = {kind: [[] for _ in RATIOS] for kind in KINDS}
    for path in sorted(mitdb().glob("*.hea")):
        if _part(path.stem) == "odd":
            continue
        record = lead(path.with_suffix(""))
        for kind, rows in shares.items():
            noise = noise_for(record, kind, NOISE_SEED)
            for row, ratio in zip(rows, RATIOS, strict=True):
                noisy = record.signal + strength(record, ratio) * noise
                words = quality(bandpass(noisy, fs=record.fs, **FILTER), record.fs)
                row.append(float(np.mean([word != "good" for _, word in words])))
    return {kind: [100 * float(np.mean(row)) for row in rows] for kind, rows in shares.items()}


def _mitdb() -> Iterator[Record]:
    for path in sorted(mitdb().glob("*.hea")):
        yield read_wfdb(path.with_suffix(""))


def _part(record_id: str) -> str:
    return "odd" if int(record_id.lstrip("A")) % 2 else "even"


def seconds_for_a_day() -> float:
    """Of one core, for two leads at 360 Hz, hour by hour."""
    fs, hour = 360, 3600
    signal = np.random.default_rng(0).standard_normal((2, hour * fs), np.float32)
    spent = []
    for _ in range(5):
        start = time.process_time()
        quality(signal, fs)
        spent.append(time.process_time() - start)
    return 24 * float(np.median(spent))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    options = parser.parse_args()
    figures = []
    for source, parts in (("CinC 2017", cinc()), ("MIT-BIH, marked", annotated())):
        for part, judged in parts.items():
            noise = np.concatenate(judged.noise)
            print(f"\n{source}, {part} records: {noise.sum():,} noisy of {len(noise):,}")
            print(f"{'':10}{'AUROC':>8}{'sensitivity at 95 % specificity':>36}")
            table = judged.table()
            for name, (area, found) in table.items():
                print(f"{name:10}{area:7.1f}%{found:35.1f}%")
            print(
                "at {:g}: sensitivity {:.1f} %, specificity {:.1f} %".format(
                    RESTLESS, *judged.at_work()
                )
            )
            if part == "even":
                figures += [
                    _figure(f"{source}: {score}", "%", {n: row[at] for n, row in table.items()})
                    for at, score in enumerate(("AUROC", "sensitivity at 95 % specificity"))
                ]
    print("\nnot good, % of MIT-BIH's even records, MLII, by signal-to-noise ratio in dB")
    print(f"{'':18}" + "".join(f"{ratio:7}" for ratio in RATIOS))
    for kind, shares in with_noise().items():
        print(f"{kind:18}" + "".join(f"{value:7.1f}" for value in shares))
    day = seconds_for_a_day()
    print(f"\n24 h of two leads at 360 Hz: {day:.2f} s of one core")
    figures.append(_figure("quality of 24 h, two leads at 360 Hz", "s", {"retrace": day}))
    if options.json:
        write_json(options.json, figures)


def _figure(name: str, unit: str, values: dict[str, float]) -> dict[str, Any]:
    peers = {peer: value for peer, value in values.items() if peer != "retrace"}
    return {
        "name": name,
        "unit": unit,
        "ours": values["retrace"],
        "peers": peers,
        "ratio": values["retrace"] / max(peers.values()) if peers else None,
        "error": None,
        "load": os.getloadavg()[0],
    }


if __name__ == "__main__":
    with reported():
        main()
