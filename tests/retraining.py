"""Trainings for tests: a repository whose default run is small, and one that does no work."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wfdb
from starlette.testclient import TestClient

from retrace.service import remote_training, worker, worktree
from tests.heartbeats import MITBIH
from tests.linear_model import write_model
from tests.scratch import SMALL, change_params, commit_all, copy_repository
from tests.serving import Person, accounts_of, in_process, service_settings

FOREST = {
    "dataset.name": "synthetic",
    "model.name": "random_forest",
    "model.input": "waveforms",
    "models.random_forest.trees": 3,
    "models.random_forest.max_leaf_nodes": 20,
}
ID = "0123456789abcdef" * 2
KEPT = {".turn", ".processes", "cache", "runs"}  # in HOME/trainings, whatever was trained


def small_repository(folder: Path) -> Path:
    """A repository whose default run is a small one."""
    copy_repository(folder)
    change_params(folder, SMALL | FOREST)
    commit_all(folder)
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_repository(tmp_path_factory.mktemp("repository"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where trainings are kept, and with them DVC's cache."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def settings(tmp_path: Path, root: Path) -> Any:
    return service_settings(tmp_path, root=root, models="")


@pytest.fixture(scope="module")
def client(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("client")
    with in_process(service_settings(folder, root=root, models="")) as client:
        yield client


@pytest.fixture(scope="module")
def people(client: TestClient) -> dict[str, Person]:
    return accounts_of(client)


def trained(client: TestClient, who: Person, **asked: Any) -> dict[str, Any]:
    """Ask for a training, let the worker do it, and look at it."""
    answer = client.post("/trainings", json=asked, headers=who.headers)
    assert answer.status_code == 202, answer.text
    service: Any = client.app.state.service  # type: ignore[attr-defined]
    assert worker.work_once(service, "training")
    said = client.get(f"/trainings/{answer.json()['job']}", headers=who.headers)
    assert said.status_code == 200, said.text
    found: dict[str, Any] = said.json()
    return found


class Work:
    """Stands for `worktree.train`: waits until it is told what to do."""

    def __init__(self) -> None:
        self.begun, self.over = threading.Event(), threading.Event()
        self.error: Exception | None = None
        self.names: list[str] = []

    def __call__(
        self,
        settings: Any,
        name: str,
        text: str,
        progress: Callable[[float], None],
        own: Path | None = None,
    ) -> dict[str, Any]:
        self.names.append(name)
        self.begun.set()
        while not self.over.wait(0.01):
            progress(0.5)
        if self.error:
            raise self.error
        return made(settings.home / "trainings" / f"{name}.out", text)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    work = Work()
    monkeypatch.setattr(worktree, "train", work)
    monkeypatch.setattr(remote_training, "LOOK", 0.02)
    monkeypatch.setattr(remote_training, "OUTAGE", 2.0)
    return work


def made(out: Path, text: str = "seed: 1") -> dict[str, Any]:
    """What `worktree.train` leaves and returns, of a model that was never trained."""
    out.mkdir(parents=True)
    model = write_model(out / "model.onnx", MITBIH)
    (out / "params.yaml").write_text(text)
    (out / "dvc.lock").write_text("stages: {}")
    result = {
        "validation": {"val_f1_macro": 0.5},
        "test": {"f1_macro": 0.5},
        "weights": "0" * 64,
        "file": hashlib.sha256(model.read_bytes()).hexdigest(),
        "commit": "0" * 40,
        "dvc.lock": "stages: {}",
        "data": {"raw": "1", "split": "2"},
    }
    (out / "result.json").write_text(json.dumps(result))
    return result


def files(
    folder: Path, fs: int = 360, lead: str = "MLII", symbols: str = "NNVNA", level: float = 0.0
) -> list[Path]:
    """Ten seconds with a beat each second from the first on."""
    folder.mkdir(exist_ok=True)
    t = np.arange(10 * fs) / fs
    wave = np.exp(-(((t % 1) / 0.03) ** 2)) + 0.1 * np.sin(2 * np.pi * t) + level
    wfdb.wrsamp(
        "Mustermann",
        fs=fs,
        units=["mV"],
        sig_name=[lead],
        p_signal=wave[:, None],
        fmt=["16"],
        comments=["Erika Mustermann, 1947"],
        write_dir=str(folder),
    )
    at = np.arange(1, len(symbols) + 1) * fs
    wfdb.wrann("Mustermann", "atr", at, symbol=list(symbols), write_dir=str(folder))
    return sorted(folder.iterdir())


def upload(
    client: TestClient, who: Person, paths: list[Path], person: str | None, **fields: str
) -> str:
    sent = [("files", (path.name, path.read_bytes())) for path in paths]
    given = ({"person": person} if person else {}) | fields
    answer = client.post("/recordings/labelled", files=sent, data=given, headers=who.headers)
    assert answer.status_code == 201, answer.text
    found: str = answer.json()["id"]
    return found
