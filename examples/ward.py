"""A ward of virtual persons, on which to try the service: annotated recordings of two minutes.

    python -m examples.ward FOLDER [--persons N] [--first K] [--swapped]

One recording a person, wK.hea .dat .atr from number K on, the same bytes each time. With --swapped
somebody has mixed up the electrodes: what is called MLII is V1. What a model says of them is no
measure of its performance on patients.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.random import default_rng

from examples.heart import draw, sinus_with_ectopics
from examples.make import BEATS, BREATH, measured, write_recording
from retrace.errors import InputError, reported

SEED = 2026
SECONDS = 120.0
SYMBOLS = {"A": 0.06, "V": 0.08, "F": 0.02}  # which share of the beats
SIZE = 0.7, 1.3  # of the heights that `heart` has


def write(folder: Path, number: int, swapped: bool) -> None:
    """Write the recording of person `number` into the existing `folder`."""
    rng = default_rng([SEED, number])
    drawn = rng.choice([*SYMBOLS, "N"], 200, p=[*SYMBOLS.values(), 1 - sum(SYMBOLS.values())])
    # No two in a row, and none among the first: a model needs a few beats to know the usual ones.
    plan = {n: str(drawn[n]) for n in range(6, 200) if drawn[n] != "N" and drawn[n - 1] == "N"}
    beats = sinus_with_ectopics(rng, BREATH, SECONDS, plan)
    t = np.arange(round(SECONDS * BEATS["rate"])) / BEATS["rate"]
    heart = rng.uniform(*SIZE) * draw(rng, beats, BREATH, t)
    heart = heart[::-1] if swapped else heart
    record = measured(f"w{number:02}", ("MLII", "V1"), BEATS["rate"], heart)
    write_recording(folder, record, beats)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="is made where it is not there")
    parser.add_argument("--persons", type=int, default=12, help="how many (default 12)")
    parser.add_argument("--first", type=int, default=1, help="number of the first (default 1)")
    parser.add_argument("--swapped", action="store_true", help="the electrodes are mixed up")
    options = parser.parse_args()
    if options.persons < 1 or options.first < 1:
        raise InputError("--persons, --first: whole numbers from 1 on: correct them")
    options.folder.mkdir(parents=True, exist_ok=True)
    for number in range(options.first, options.first + options.persons):
        write(options.folder, number, options.swapped)
    print(f"{options.persons} annotated recordings in {options.folder}")


if __name__ == "__main__":
    with reported():
        main()
