"""Score the annotation files of `retrace predict` as EC57 does, and hold them to what is published.

    RETRACE_MIRROR=FOLDER python -m benchmarks.annotations [NAME] [--json FILE]

The published model NAME (mitdb_ds1_ds2) answers all 48 records of MIT-BIH, once at the annotated
peaks and once at those it detects, and writes WFDB annotation files; wfdb reads them back, and the
project's EC57 scorer compares them with the experts' .atr. On the records of the run's test part
(DS2) every gross figure must be that of recipes/NAME/scores.json, digit for digit: what a user gets
from a recording is what was evaluated. The line of all 48 records holds those it was trained on.
"""

import argparse
import contextlib
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import wfdb

from benchmarks.rpeaks import mitdb
from retrace import cli
from retrace.errors import InputError, reported
from retrace.files import write_json
from retrace.learning.splits import DS2
from retrace.scoring.ec57_recording import Recording
from retrace.scoring.ec57_report import report
from retrace.scoring.matching import read
from retrace.signals.records import read_wfdb

SHOWN = ("qrs_sensitivity", "qrs_ppv", "veb_sensitivity", "veb_ppv", "sveb_sensitivity", "sveb_ppv")
MODES = {"papers": [], "papers_detected": ["--detect"]}  # of scores.json: what `predict` is told


def annotate(name: str, records: Path, folder: Path, flags: list[str]) -> None:
    """Let `retrace predict` write an annotation file for each of the records."""
    given = ["predict", str(records), "--model", name, "--format", "wfdb", "--output", str(folder)]
    with contextlib.redirect_stdout(io.StringIO()):
        cli.main([*given, *flags])


def recordings(records: Path, folder: Path) -> list[Recording]:
    """The experts' beats and those of the annotation files."""
    found = []
    for header in sorted(records.glob("*.hea")):
        record = read_wfdb(header.with_suffix(""))
        said = wfdb.rdann(str(folder / header.stem), "retrace")
        found.append(
            Recording(
                record.record_id,
                None,
                record.age,
                record.sex,
                record.fs,
                reference=read(record.beats, record.symbols, record.fs, record.subtypes),
                test=read(said.sample, tuple(said.symbol), record.fs),
            )
        )
    return found


def score(found: list[Recording], peaks: str) -> dict[str, Any]:
    return report(found, convention="papers", peaks=peaks, resamples=2, seed=0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", nargs="?", default="mitdb_ds1_ds2", help="a published beat model")
    parser.add_argument("--json", type=Path, help="write the figures there as well")
    given = parser.parse_args()
    published = json.loads(Path(f"recipes/{given.name}/scores.json").read_text(encoding="utf-8"))
    if published.get("split", {}).get("method") != "ds1_ds2":
        raise InputError(
            f"{given.name}: not a run on whole records of DS2, which alone can be compared with "
            "its annotation files: give mitdb_ds1_ds2"
        )
    figures, differing = [], 0
    print(f"{'':34}" + "".join(f"{name:>18}" for name in SHOWN))
    for mode, flags in MODES.items():
        with tempfile.TemporaryDirectory() as folder:
            annotate(given.name, mitdb(), Path(folder), flags)
            every = recordings(mitdb(), Path(folder))
        peaks = "detected" if flags else "annotated"
        test = score([one for one in every if one.record_id in DS2], peaks)
        for words, tree in (
            (f"{mode}: published", published["ec57"][mode]),
            (f"{mode}: from the files, DS2", test),
            (f"{mode}: all 48, not paced", score(every, peaks)),
        ):
            row = {name: tree["gross"][name]["value"] for name in SHOWN}
            print(f"{words:34}" + "".join(f"{100 * value:18.2f}" for value in row.values()))
            figures.append({"name": words, "unit": "share", **row})
        gross = {name: entry["value"] for name, entry in published["ec57"][mode]["gross"].items()}
        off = [name for name, value in gross.items() if test["gross"][name]["value"] != value]
        differing += len(off)
        print(f"{mode}: {len(gross)} figures, {len(off)} differ {', '.join(off)}".rstrip())
    if given.json:
        write_json(given.json, figures)
    if differing:
        raise SystemExit(1)


if __name__ == "__main__":
    with reported():
        main()
