"""Compare the beat-by-beat scorer with WFDB's `bxb`, cell by cell, on disturbed annotations.

    RETRACE_MIRROR=FOLDER python -m benchmarks.bxb [--draws N] [--json FILE]

Each of the 48 reference annotations of MIT-BIH is disturbed `--draws` times (default 20, seeded):
beats are shifted by up to 250 ms, dropped, inserted (in ventricular flutter too) and relabelled.
Reference and disturbed annotations are scored by `retrace.scoring.ec57` and by `bxb -S`, from 5:00
and from 0:00, and the 45 cells of the two tables are compared.

`bxb` is part of the WFDB Software Package (https://physionet.org/content/wfdb/) and must be on the
PATH; without it the number of pairs is compared with wfdb-python's `compare_annotations` alone,
whose rule is another: each beat goes to its nearest, so it may differ where beats crowd.
"""

import argparse
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import wfdb
import wfdb.processing
from numpy.typing import NDArray

from benchmarks.rpeaks import mitdb
from retrace.errors import InputError, reported
from retrace.files import write_json
from retrace.learning.splits import DS1, DS2, PACED
from retrace.scoring import ec57
from retrace.scoring.matching import LEARNING, WINDOW, Beats, in_samples, match, read
from retrace.signals.records import BEATS

Integers = NDArray[np.int64]

CELLS = 45  # O and X against O and X do not exist
SHIFT = 0.25  # s, to both sides: four in ten leave the window
SHARE = {"drop": 0.05, "insert": 0.05, "relabel": 0.1}


def reference(path: Path) -> tuple[Beats, float, int]:
    """The annotated beats of a record, its rate and its length in samples."""
    header, annotation = wfdb.rdheader(str(path)), wfdb.rdann(str(path), "atr")
    beats = read(annotation.sample, annotation.symbol, header.fs, annotation.subtype)
    return beats, float(header.fs), int(header.sig_len)


def disturb(beats: Beats, fs: float, length: int, generator: np.random.Generator) -> Beats:
    """What a careless annotator would have made of them."""
    kept = generator.random(len(beats.samples)) >= SHARE["drop"]
    samples, symbols = beats.samples[kept], np.array(beats.symbols)[kept]
    # Half of the records are shifted a little and paired throughout, half beyond the window.
    reach = in_samples(SHIFT * generator.choice([0.2, 1.0]), fs)
    samples = samples + generator.integers(-reach, reach + 1, len(samples))
    new = round(SHARE["insert"] * len(samples))
    samples = np.append(samples, generator.integers(1, length, new))
    symbols = np.append(symbols, generator.choice(sorted(BEATS), new))
    wrong = generator.random(len(samples)) < SHARE["relabel"]
    symbols[wrong] = generator.choice(sorted(BEATS), int(wrong.sum()))
    samples, first = np.unique(np.clip(samples, 1, length - 1), return_index=True)
    return read(samples, symbols[first].tolist(), fs)


def by_bxb(folder: Path, name: str, test: Beats, start: float) -> Integers:
    """bxb's table (7, 7) of `test` against the .atr file in `folder`."""
    wfdb.wrann(name, "test", test.samples, list(test.symbols), write_dir=str(folder))
    command = ["bxb", "-r", name, "-a", "atr", "test", "-f", f"{start:g}", "-S", "-"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    table = np.zeros((7, 7), dtype=np.int64)
    for line in done.stdout.splitlines():
        letter, bar, counts = line.partition("|")
        if bar and letter.strip() in ec57.LETTERS:
            row = [int(count) for count in counts.split()]
            table[ec57.LETTERS.index(letter.strip()), : len(row)] = row
    if done.returncode or not table.any():
        raise InputError(f"bxb failed on record {name}: {done.stderr.strip()}")
    return table


def by_wfdb_python(beats: Beats, test: Beats, fs: float) -> int:
    """The number of pairs that wfdb-python makes of all 30 minutes."""
    # Its window excludes its own width.
    width = in_samples(WINDOW, fs) + 1
    return int(wfdb.processing.compare_annotations(beats.samples, test.samples, width).tp)


def compare(draws: int) -> list[dict[str, Any]]:
    folder, installed = mitdb(), shutil.which("bxb") is not None
    different = {"bxb, from 5:00": 0, "bxb, from 0:00": 0}
    made = theirs = off = tables = 0
    with tempfile.TemporaryDirectory() as scratch:
        for name in sorted(DS1 + DS2 + PACED):
            for suffix in (".hea", ".atr"):
                shutil.copy(folder / f"{name}{suffix}", scratch)
            beats, fs, length = reference(folder / name)
            for draw in range(draws):
                test = disturb(beats, fs, length, np.random.default_rng([int(name), draw]))
                tables += 1
                for kind, start in zip(different, (LEARNING, 0.0), strict=True):
                    found = match(beats, test, fs, start=start)
                    own = ec57.table(beats, test, found, ec57.CONVENTIONS["bxb"])
                    if installed:
                        there = by_bxb(Path(scratch), name, test, start)
                        different[kind] += int((own != there).sum())
                pairs, others = int(found.both.sum()), by_wfdb_python(beats, test, fs)
                made, theirs, off = made + pairs, theirs + others, off + abs(pairs - others)
    print(f"{tables} tables of {CELLS} cells")
    figures = []
    if installed:
        for kind, count in different.items():
            print(f"cells that differ from {kind}: {count} of {tables * CELLS}")
            figures.append(_figure(f"cells that differ from {kind}", "cells", count, {"bxb": 0}))
    else:
        print("bxb is not on the PATH: not compared")
    print(f"pairs: {made}, wfdb-python {theirs}; sum of the differences of each table {off}")
    return [*figures, _figure("pairs from 0:00", "pairs", made, {"wfdb-python": theirs})]


def _figure(name: str, unit: str, ours: int, peers: dict[str, int]) -> dict[str, Any]:
    return {
        "name": name,
        "unit": unit,
        "ours": ours,
        "peers": peers,
        "ratio": None,
        "error": None,
        "load": os.getloadavg()[0],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--draws", type=int, default=20, help="of each record (default 20)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    options = parser.parse_args()
    figures = compare(options.draws)
    if options.json:
        write_json(options.json, figures)


if __name__ == "__main__":
    with reported():
        main()
