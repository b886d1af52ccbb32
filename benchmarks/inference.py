"""How fast a model answers: a beat, a window of ten seconds, a day of two leads, and the command.

    [RETRACE_MIRROR=FOLDER] python -m benchmarks.inference [--json FILE] [--only PART]

Calls are pinned to one core and medians of 200, in processor time, which a busy machine lengthens
less than the clock's. Weights are random: speed does not depend on them. Ours is `Predictor`, ONNX
Runtime with all that stands around it: arrays go in, calibrated probabilities come out. The peers
are the same network in PyTorch, and the way of the systems that this project is compared with: one
window of 187 samples at a time, from a row of numbers to the name of a class.

A window is a recording of ten seconds in memory, which is filtered, searched for beats, transformed
and answered; beside it the network alone, and PyTorch's. The day is 24 hours of two leads at 360 Hz
as a WFDB record (MIT-BIH's, one after the other, where RETRACE_MIRROR has them, else synthetic).
`retrace predict` filters it, finds its beats, answers them with cnn4 and writes an annotation
file. Memory is the operating system's count for that process. The peer, wfdb, SciPy and PyTorch one
beat at a time, does five minutes, which count 288 times.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import wfdb
import wfdb.processing
import yaml
from numpy.typing import NDArray
from scipy.signal import butter, sosfiltfilt

from benchmarks.rpeaks import FOLDER
from retrace import params, registry
from retrace.deploy.export import OPSET, describe, save
from retrace.deploy.network_graph import network_graph
from retrace.deploy.predictor import Predictor
from retrace.errors import reported
from retrace.files import write_json
from retrace.learning import checkpoint
from retrace.learning.classifier import Network
from retrace.runs import recipes
from retrace.scoring.calibration import softmax
from retrace.signals.records import read_wfdb
from retrace.synthesis import synthesise

ROOT = Path(__file__).resolve().parents[1]
BEATS = "mitdb_intra_patient_{}"
RHYTHMS: dict[str, dict[str, Any]] = {  # ten seconds each: what they change in the default run
    "resnet1d": {"model": {"name": "resnet1d", "input": "waveforms"}},
    "efficientnet b7 at 224 px": {
        "models": {"efficientnet": {"variant": "b7", "image_size": 224, "square": True}},
        "cwt": {"scales": 128, "frames": 256},
    },
}
CALLS, WARM_UP, BATCH, STARTS = 200, 5, 256, 10
LONGEST = 20.0  # s for one figure: what is slow gets fewer calls
FS, DAY, SHARE = 360, 24 * 3600, 300  # Hz and s of the long recording, s that its peer does
UNIT = 1e6 if sys.platform == "darwin" else 1e3  # of the operating system's peak, in a megabyte
# A process of its own, and a small one: Linux counts what a parent holds as its child's.
MEASURE = """
import json, os, sys, time
begun = time.perf_counter()
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(child, 0)
took = time.perf_counter() - begun
print(json.dumps([status, took, usage.ru_utime + usage.ru_stime, usage.ru_maxrss]))
"""

Floats = NDArray[np.float32]
Row = dict[str, Any]


@dataclass
class Memory:
    """A recording of one lead in memory; see `retrace.deploy.inputs.Recording`."""

    signal: Floats
    fs: float
    samples: int
    leads: tuple[str, ...] = ("II",)
    name: str = "window"
    path: Path = Path("window")
    beats: NDArray[np.int64] | None = None
    age: float | None = None
    sex: str | None = None

    def read(self, start: int, stop: int, rows: tuple[int, ...]) -> Floats:
        return self.signal[list(rows), start:stop]


def main() -> None:
    parts = {"beat": _beats, "window": _windows, "day": _day, "command": _command}
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--only", choices=parts, help="measure this alone")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[Row] = []
    print(f"{'':56}{'ours':>10}{'ratio':>8}  peers")
    with tempfile.TemporaryDirectory() as folder:
        for part in (given.only,) if given.only else parts:
            for row in parts[part](Path(folder)):
                rows.append(row)
                peers = ", ".join(f"{name} {value:,.4g}" for name, value in row["peers"].items())
                ratio = f"{row['ratio']:.1f}" if row["ratio"] else ""
                print(f"{row['name']:56}{row['ours']:10,.4g}{ratio:>8}  {peers}", flush=True)
    if given.json:
        write_json(given.json, rows)


def _row(
    what: str, unit: str, ours: float, peers: dict[str, float], error: float | None = None
) -> Row:
    first = next(iter(peers.values()), None)
    return {
        "name": f"{what}, {unit}",
        "unit": unit,
        "ours": ours,
        "peers": peers,
        "ratio": first / ours if first else None,
        "error": error,
        "load": os.getloadavg()[0],
    }


def _seconds(call: Callable[..., object], *given: Any) -> float:
    """The median processor time of call(*given) on one core."""
    before = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    if before:
        os.sched_setaffinity(0, {max(before)})
    for _ in range(WARM_UP):
        call(*given)
    taken: list[float] = []
    while len(taken) < CALLS and sum(taken) < LONGEST:
        started = time.process_time()
        call(*given)
        taken.append(time.process_time() - started)
    if before:
        os.sched_setaffinity(0, before)
    return median(taken)


def _settings(recipe: str, changes: dict[str, Any]) -> params.Params:
    """The params of a recipe with changes."""
    values = yaml.safe_load(recipes.render(ROOT, recipe))
    for section, change in changes.items():
        for key, value in change.items():
            old = values[section].get(key)
            values[section][key] = old | value if isinstance(old, dict) else value
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "params.yaml"
        path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
        return params.load(path)


def _models(settings: params.Params, fs: float, path: Path) -> tuple[Network, Predictor]:
    """A network with random weights, and a predictor of what the export stage makes of it."""
    torch.manual_seed(0)
    domain = settings.domain(fs)
    fields, shape = domain.to_dict(), tuple[int, ...]((1, domain.samples))
    if settings.model.input == "scalograms":
        fields["representation"] = settings.cwt.model_dump()
        shape = (1, settings.cwt.scales, settings.cwt.frames)
    name, options = settings.model.name, settings.model_options
    network = checkpoint.build(name, shape, len(settings.classes), options, 0)
    assert isinstance(network, Network)
    config = {
        "model": {"name": name},
        "classes": settings.classes,
        "aggregate": settings.model.aggregate,
        "temperature": 1.0,
        "thresholds": [0.5] * len(settings.classes),
    }
    card = describe(settings, config, domain, {}) | {"domain": fields}
    save(path, network_graph(network.eval(), shape, 0, OPSET), card)
    return network.eval(), Predictor(path, threads=1)


def _eager(network: Network, X: Floats) -> NDArray[np.float64]:
    """Probabilities by PyTorch."""
    with torch.inference_mode():
        logits = network(torch.from_numpy(X), torch.empty(len(X), 0))
    return softmax(logits.numpy())


def _one(network: Network, row: list[float], classes: list[str]) -> str:
    """The way of the other systems: a row of numbers, the name of its class."""
    with torch.no_grad():
        beat = torch.tensor(row, dtype=torch.float32).reshape(1, 1, -1)
        p = torch.softmax(network(beat, torch.empty(1, 0)), dim=1)
        return classes[int(p.argmax(dim=1).item())]


def _beats(folder: Path) -> Iterator[Row]:
    """Each network of the recipes: a beat alone, and in a batch."""
    published = set(recipes.names(ROOT))
    for name in registry.names("models"):
        if BEATS.format(name) not in published or not registry.is_network(name):
            continue
        settings = _settings(BEATS.format(name), {})
        network, predictor = _models(settings, float(FS), folder / "model.onnx")
        X = np.random.default_rng(0).normal(0, 3, (BATCH, 1, 187)).astype(np.float32)
        row, classes = X[0, 0].tolist(), settings.classes
        error = float(np.abs(predictor.probabilities(X) - _eager(network, X)).max())
        one = 1e6 * _seconds(_one, network, row, classes)
        for count in (1, BATCH):
            ours = 1e6 / count * _seconds(predictor.probabilities, X[:count])
            eager = 1e6 / count * _seconds(_eager, network, X[:count])
            peers = {"PyTorch": eager, "one at a time": one}
            yield _row(f"{name}, a beat in a batch of {count}", "us", ours, peers, error)


def _windows(folder: Path) -> Iterator[Row]:
    """Ten seconds to a class of rhythm."""
    record = _synthetic(folder, fs=128, seconds=10)
    recording = Memory(record, 128.0, record.shape[1])
    for name, changes in RHYTHMS.items():
        settings = _settings("synthetic", changes)
        network, predictor = _models(settings, 128.0, folder / "model.onnx")
        X = np.random.default_rng(0).random((1, *predictor.card.shape)).astype(np.float32)
        error = float(np.abs(predictor.probabilities(X) - _eager(network, X)).max())
        ours, eager = _seconds(predictor.probabilities, X), _seconds(_eager, network, X)
        yield _row(name, "ms", 1e3 * ours, {"PyTorch": 1e3 * eager}, error)
        whole = 1e3 * _seconds(predictor.answer, recording)
        yield _row(f"{name}, from the signal", "ms", whole, {})


def _day(folder: Path) -> Iterator[Row]:
    """24 hours of two leads, from the raw record to its annotation file."""
    network, predictor = _models(
        _settings(BEATS.format("cnn4"), {}), float(FS), folder / "model.onnx"
    )
    classes = list(predictor.card.classes)
    where = _write_day(folder / "day")
    arguments = ["--model", str(folder / "model.onnx"), "--format", "wfdb", "--output", str(folder)]
    took, busy, peak = _process("-m", "retrace.cli", "predict", str(where), *arguments)
    started = time.process_time()
    _peer(where, network, classes)
    peers = {"wfdb, SciPy, PyTorch": (time.process_time() - started) * DAY / SHARE}
    yield _row("24 h to an annotation file, elapsed", "s", took, {})
    yield _row("24 h to an annotation file, of processors", "s", busy, peers)
    yield _row("24 h to an annotation file, peak memory", "MB", peak, {})


def _command(folder: Path) -> Iterator[Row]:
    """A recording of ten seconds: most of it is starting."""
    _models(_settings("synthetic", {}), 128.0, folder / "model.onnx")
    _synthetic(folder, fs=128, seconds=10)
    record, model = folder / "raw" / "p0000r00", folder / "model.onnx"
    starts = {
        "retrace predict, cold start": (
            *("-m", "retrace.cli", "predict", str(record), "--model", str(model)),
        ),
        "retrace --help": ("-m", "retrace.cli", "--help"),
        "import of Predictor": ("-c", "import retrace.deploy.predictor"),
    }
    torch_too = median(_process("-c", "import torch")[1] for _ in range(STARTS))
    for name, arguments in starts.items():
        runs = [_process(*arguments) for _ in range(STARTS)]
        yield _row(f"{name}, elapsed", "s", median(run[0] for run in runs), {})
        busy = median(run[1] for run in runs)
        yield _row(f"{name}, of processors", "s", busy, {"import torch": torch_too})


def _process(*arguments: str) -> tuple[float, float, float]:
    """Run Python with these arguments: s elapsed, s of processors, peak memory in MB."""
    command = [sys.executable, "-c", MEASURE, sys.executable, *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    status, took, busy, peak = json.loads(done.stdout.splitlines()[-1])
    if status:
        raise SystemExit(f"error: {' '.join(arguments)}: {done.stderr}: mend that first")
    return took, busy, peak / UNIT


def _synthetic(folder: Path, *, fs: int, seconds: int) -> Floats:
    """One lead of a virtual patient, (1, samples), also as folder/raw/p0000r00."""
    raw = folder / "raw"
    if not raw.is_dir():
        raw.mkdir()
        synthesise(raw, seed=1, patients=1, records_per_patient=1, fs=fs, duration=seconds, noise=1)
    return read_wfdb(raw / "p0000r00").signal


def _write_day(path: Path) -> Path:
    """24 hours of two leads in format 212, without annotations."""
    mitdb = Path(os.environ.get("RETRACE_MIRROR", "")) / FOLDER
    samples, counts = DAY * FS, []
    if (mitdb / "100.hea").is_file():
        for header in sorted(mitdb.glob("*.hea")):
            stored = wfdb.rdrecord(str(header.with_suffix("")), physical=False)
            order = [stored.sig_name.index("MLII"), 0] if "MLII" in stored.sig_name else [0, 1]
            order[1] = 1 - order[0]
            counts.append(stored.d_signal[:, order].astype(np.int16))
    else:
        path.mkdir()
        lead = _synthetic(path, fs=FS, seconds=600)[0]
        counts.append(np.rint(200 * np.stack([lead, -lead / 2], axis=1)).astype(np.int16) + 1024)
    whole = np.concatenate(counts)
    whole = np.tile(whole, (-(-samples // len(whole)), 1))[:samples]
    leads: dict[str, Any] = {"units": ["mV"] * 2, "sig_name": ["MLII", "V1"], "fmt": ["212"] * 2}
    wfdb.wrsamp(
        path.name, FS, d_signal=whole, adc_gain=[200] * 2, baseline=[1024] * 2,
        write_dir=str(path.parent), **leads,
    )  # fmt: skip
    return path.with_name("day.hea")


def _peer(header: Path, network: Network, classes: list[str]) -> list[str]:
    """Five minutes as one would write it: read, filter, find the beats, answer one by one."""
    record = wfdb.rdrecord(str(header.with_suffix("")), sampto=SHARE * FS, channels=[0])
    sections = butter(3, (0.5, 50), btype="bandpass", fs=FS, output="sos")
    signal = sosfiltfilt(sections, record.p_signal[:, 0])
    found = wfdb.processing.XQRS(sig=signal, fs=FS)
    found.detect(verbose=False)
    low, middle, high = np.percentile(signal, [25, 50, 75])
    scaled = (signal - middle) / (high - low)
    return [
        _one(network, scaled[peak - 93 : peak + 94].tolist(), classes)
        for peak in found.qrs_inds
        if 93 <= peak < len(signal) - 93
    ]


if __name__ == "__main__":
    with reported(status=2):
        main()
