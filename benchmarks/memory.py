"""Does a data stage need more memory for more data? Its peak at N and at 10 N recordings.

    python benchmarks/memory.py [--json FILE] [--patients N]

Each stage runs as DVC runs it, a process of its own in a folder with its own params.yaml, and its
peak is the operating system's count for that process. The recordings are synthetic ones of half a
minute at 1,000 Hz, so that ten times as many outweigh the interpreter and a stage that held its
array would show. To save minutes of synthesis, the larger set is the smaller one listed ten times,
each time under new names: every recording is read, filtered, cut and transformed again.
"""

import argparse
import csv
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

# No NumPy here: Linux counts what a parent holds when it starts a child as the child's.

ROOT = Path(__file__).resolve().parents[1]
ARRAYS = {  # of the stages under test, what each writes row by row
    "bandpass": "data/filtered/signals.npy",
    "segment": "data/waveforms/X.npy",
    "cwt": "data/scalograms/X.npy",
    "split": "data/split.csv",
}
TIMES = 10
RECORDS_PER_PATIENT = 5
SETTINGS: dict[str, dict[str, Any]] = {
    "synthetic": {"records_per_patient": RECORDS_PER_PATIENT, "fs": 1000, "duration": 30},
    "cwt": {"scales": 80, "frames": 250},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--patients", type=int, default=20, help="of five recordings (default 20)")
    options = parser.parse_args()
    records = RECORDS_PER_PATIENT * options.patients
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_params(folder, options.patients)
        peak("fetch", folder)
        few = {stage: peak(stage, folder) for stage in ARRAYS}
        multiply(folder / "data/raw")
        many = {stage: peak(stage, folder) for stage in ARRAYS}
        sizes = {stage: (folder / path).stat().st_size / 1e6 for stage, path in ARRAYS.items()}
    load = os.getloadavg()[0]

    print(f"\nPeak memory in MB, load {load:.1f}")
    heads = (f"{records} records", f"{TIMES * records}", "ratio", "written")
    print(f"{'':12}" + "".join(f"{head:>14}" for head in heads))
    for stage in ARRAYS:
        figures = (few[stage], many[stage], many[stage] / few[stage], sizes[stage])
        print(f"{stage:12}{figures[0]:14.1f}{figures[1]:14.1f}{figures[2]:14.3f}{figures[3]:14.1f}")
    if options.json:
        listed = [
            {
                "name": f"peak memory of {stage}, {TIMES * records} records",
                "unit": "MB",
                "ours": many[stage],
                "peers": {f"{records} records": few[stage]},
                "ratio": many[stage] / few[stage],  # of ten times the data to the data
                "error": None,
                "load": load,
            }
            for stage in ARRAYS
        ]
        options.json.write_text(json.dumps(listed, indent=2) + "\n", encoding="utf-8")


def write_params(folder: Path, patients: int) -> None:
    """The default run's params.yaml, with recordings that weigh something."""
    params = yaml.safe_load((ROOT / "recipes/synthetic.yaml").read_text(encoding="utf-8"))
    for section, values in SETTINGS.items():
        params[section] |= values
    params["synthetic"]["patients"] = patients
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")


def multiply(raw: Path) -> None:
    """List every recording ten times, as one of another patient; headers share a .dat file."""
    with (raw / "labels.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    with (raw / "labels.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        for turn in range(TIMES):
            for row in rows:
                record, patient = (f"{row[key]}x{turn}" for key in ("record_id", "patient_id"))
                writer.writerow(row | {"record_id": record, "patient_id": patient})
                for suffix in (".hea", ".atr"):
                    shutil.copy(raw / f"{row['record_id']}{suffix}", raw / f"{record}{suffix}")


def peak(stage: str, folder: Path) -> float:
    """Run a stage in `folder`; the most memory that its process held, in MB."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", f"stages.{stage}"]
    child = os.fork()
    if child == 0:
        os.chdir(folder)
        os.execve(sys.executable, command, environment)
    _, status, usage = os.wait4(child, 0)
    if status:
        raise SystemExit(f"error: {stage} failed; its message stands above: mend that first")
    return usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


if __name__ == "__main__":
    main()
