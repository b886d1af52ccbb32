"""Published models of a test's own, and a predictor or trainer as a process."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import uvicorn
from numpy.typing import NDArray

from retrace.deploy.card import Card
from retrace.deploy.session import Session
from tests.heartbeats import MITBIH
from tests.linear_model import write_model
from tests.serving import SECRET, free_port
from tests.sources import ROOT

PLAIN, RHYTHM = "plain", "rhythm"  # the second takes features beside its beats
FEATURES = ["rr_previous", "rr_next"]


def publish(root: Path, name: str, **changes: Any) -> Path:
    """A linear model as `retrace publish` keeps it; its weights' hash is that of its name."""
    folder = root / "recipes" / name
    folder.mkdir(parents=True)
    weights = hashlib.sha256(name.encode()).hexdigest()
    model = write_model(folder / "model.onnx", MITBIH, **{"hashes": {"weights": weights}} | changes)
    content = model.read_bytes()
    md5 = hashlib.md5(content).hexdigest()
    (folder / "model.onnx.dvc").write_text(f"outs:\n- md5: {md5}\n  size: {len(content)}\n")
    (folder / "dvc.lock").write_text("stages: {}\n")
    (folder / "model.json").write_text(json.dumps(card_text(model)))
    (root / "dvc.yaml").touch()  # by this the repository is found
    return model


def card_text(model: Path) -> Any:
    """What the file says of itself."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    said = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return json.loads(said.get_modelmeta().custom_metadata_map["retrace"])


def both(root: Path) -> Path:
    """A repository that has published PLAIN and RHYTHM."""
    publish(root, PLAIN)
    publish(root, RHYTHM, features=FEATURES)
    return root


def some(card: Card, count: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Random segments and features, with values that have no short decimal form."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(count, *card.shape)).astype(np.float32)
    return X, rng.uniform(0.3, 1.5, (count, len(card.features))).astype(np.float32)


def session(root: Path, name: str) -> Session:
    """The model in this process."""
    return Session(root / "recipes" / name / "model.onnx")


@contextmanager
def thread(app: Any, port: int = 0) -> Iterator[str]:
    """The URL of an application that a thread of this process serves."""
    port = port or free_port()
    config = uvicorn.Config(app, "127.0.0.1", port, log_level="warning")
    server = uvicorn.Server(config)
    runner = threading.Thread(target=server.run)
    runner.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        runner.join()


@contextmanager
def process(
    root: Path, home: Path, only: str, port: int = 0, **environment: str
) -> Iterator["tuple[str, subprocess.Popen[bytes]]"]:
    """`retrace serve --only predictor|trainer` for the repository `root`: its URL and process."""
    port = port or free_port()
    home.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "retrace.cli", "serve", "--home", str(home)]
    env = {"PYTHONPATH": str(ROOT), "RETRACE_SECRET": SECRET, "OMP_NUM_THREADS": "1"}
    with (home / "said.txt").open("ab") as said:
        started = subprocess.Popen(
            [*command, "--port", str(port), "--only", only],
            cwd=root,
            env=os.environ | env | environment,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _await(f"{url}{'/v2/health/live' if only == 'predictor' else '/health'}", started, home)
        yield url, started
    finally:
        if started.poll() is None:
            started.send_signal(signal.SIGTERM)
            try:
                started.wait(30)
            except subprocess.TimeoutExpired:
                started.kill()
                started.wait()


def _await(url: str, started: "subprocess.Popen[bytes]", home: Path) -> None:
    for _ in range(600):
        if started.poll() is None:
            try:
                if httpx2.get(url, timeout=5, trust_env=False).status_code == 200:
                    return
            except httpx2.TransportError:
                pass
            time.sleep(0.1)
    raise AssertionError(f"{url}: no answer: {(home / 'said.txt').read_text()}")
