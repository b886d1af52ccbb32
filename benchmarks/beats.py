"""From MIT-BIH's files to beats ready for a network, and how fast each network learns from them.

    RETRACE_MIRROR=FOLDER python -m benchmarks.beats [--json FILE]

One thread, seconds of processor time. Ours are the functions of the stages bandpass and segment
with what they write on the way: 48 records read, filtered whole, stored, cut into 187 samples in
mV around each beat. The peer is the loop that one would write with wfdb and SciPy: a record read
and filtered by `sosfiltfilt`, each beat sliced out. Both must give the same beats. Peak memory is
that of a process that runs ours alone. Then each network of the recipes takes training steps in
the batches of its recipe: forward, backward and optimiser.
"""

import argparse
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import wfdb
from numpy.typing import NDArray
from scipy.signal import butter, sosfiltfilt

from benchmarks.rpeaks import mitdb
from retrace import params, registry
from retrace.datasets.mitdb import records
from retrace.errors import reported
from retrace.files import write_json
from retrace.learning import checkpoint
from retrace.runs import recipes
from retrace.signals.filters import filtered
from retrace.signals.recordings import Recordings, recordings_writer
from retrace.signals.records import BEATS
from retrace.signals.segments import write_segments

ROOT = Path(__file__).resolve().parents[1]
RECIPE = "mitdb_intra_patient_{}"
TURNS, WARM_UP, STEPS = 3, 3, 20
UNIT = 1 if sys.platform == "darwin" else 1024  # of the operating system's peak, in bytes

Floats = NDArray[np.float32]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = [_cutting(), *(_learning(name) for name in _networks())]
    print(f"\n{'':34}{'ours':>12}{'peer':>12}{'ratio':>8}")
    for row in rows:
        peer = next(iter(row["peers"].values()), None)
        ratio = f"{row['ratio']:.1f}" if row["ratio"] else ""
        print(f"{row['name']:34}{row['ours']:12,.0f}{peer or '':>12,.0f}{ratio:>8}" if peer else
              f"{row['name']:34}{row['ours']:12,.0f}")  # fmt: skip
    if given.json:
        write_json(given.json, rows)


def _settings(model: str) -> params.Params:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "params.yaml"
        path.write_text(recipes.render(ROOT, RECIPE.format(model)), encoding="utf-8")
        return params.load(path)


def ours(raw: Path, folder: Path) -> Path:
    """The stages bandpass and segment; returns the array that they wrote."""
    settings = _settings("baseline_cnn")
    band = settings.bandpass
    with recordings_writer(folder) as writer:
        for record in records(raw, **settings.dataset_options):
            writer.append(filtered(record, low=band.low, high=band.high, order=band.order))
    write_segments(Recordings(folder), folder, replace(settings.plan, normalise="none"))
    return folder / "X.npy"


def peer(raw: Path) -> Floats:
    """The straightforward loop, with the same filter, window and choice of lead."""
    beats = []
    for header in sorted(raw.glob("*.hea")):
        path = str(header.with_suffix(""))
        record, annotation = wfdb.rdrecord(path), wfdb.rdann(path, "atr")
        lead = record.sig_name.index("MLII" if "MLII" in record.sig_name else "V5")
        sections = butter(3, (0.5, 50), btype="bandpass", fs=record.fs, output="sos")
        signal = sosfiltfilt(sections, record.p_signal[:, lead], padlen=record.fs * 2)
        for sample, symbol in zip(annotation.sample, annotation.symbol, strict=True):
            if symbol in BEATS and 93 <= sample < len(signal) - 93:
                beats.append(signal[sample - 93 : sample + 94])
    return np.array(beats, dtype=np.float32)[:, None]


def _cutting() -> dict[str, Any]:
    raw = mitdb()
    seconds: dict[str, list[float]] = {"ours": [], "peer": []}
    for _ in range(TURNS):
        with tempfile.TemporaryDirectory() as name:
            started = time.process_time()
            X = np.load(ours(raw, Path(name)))
            seconds["ours"].append(time.process_time() - started)
        started = time.process_time()
        theirs = peer(raw)
        seconds["peer"].append(time.process_time() - started)
    error = float(np.abs(X - theirs).max())
    mine, other = median(seconds["ours"]), median(seconds["peer"])
    peak = _peak(raw)
    print(f"{len(X):,} beats of 48 records: {mine:.2f} s ({other:.2f} s with wfdb and SciPy), "
          f"largest difference {error:.1e} mV, peak memory {peak / 1e6:.0f} MB")  # fmt: skip
    return {
        "name": "records to tensors, beats a second",
        "unit": "beats/s",
        "ours": len(X) / mine,
        "peers": {"wfdb and SciPy": len(X) / other},
        "ratio": other / mine,
        "error": error,
        "load": os.getloadavg()[0],
    }


def _run_ours(raw: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        ours(raw, Path(name))


def _peak(raw: Path) -> float:
    """Bytes that a fresh process held at most while it ran ours."""
    child = multiprocessing.get_context("spawn").Process(target=_run_ours, args=(raw,))
    child.start()
    child.join()
    return float(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) * UNIT


def _networks() -> list[str]:
    published = {name.removeprefix(RECIPE.format("")) for name in recipes.names(ROOT)}
    return [
        name
        for name in registry.names("models")
        if name in published and name not in ("xgboost", "random_forest")  # they know no steps
    ]


def _learning(name: str) -> dict[str, Any]:
    """Beats a second of a network's training steps."""
    settings = _settings(name)
    network = checkpoint.build(name, (1, 187), 5, settings.model_options, 0)
    assert isinstance(network, torch.nn.Module)
    optimiser = torch.optim.Adam(network.parameters())
    beats = torch.rand(settings.batch_size, 1, 187)
    features, labels = torch.empty(len(beats), 0), torch.randint(5, (len(beats),))
    seconds = []
    for _ in range(WARM_UP + STEPS):
        started = time.perf_counter()
        loss = torch.nn.functional.cross_entropy(network(beats, features), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        seconds.append(time.perf_counter() - started)
    return {
        "name": f"training {name}, beats a second",
        "unit": "beats/s",
        "ours": settings.batch_size / median(seconds[WARM_UP:]),
        "peers": {},
        "ratio": None,
        "error": None,
        "load": os.getloadavg()[0],
    }


if __name__ == "__main__":
    with reported(status=2):
        main()
