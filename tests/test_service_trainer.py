"""The trainer: a process of its own, for the gateway alone, with its recordings and files."""

import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from retrace.errors import InputError
from retrace.runs import locks
from retrace.service import (
    jobs,
    remote_training,
    tokens,
    trainer_queue,
    worker,
    worktree,
)
from retrace.service.problems import Problem
from retrace.service.trainer import create_trainer
from retrace.service.trainer_queue import Ordered, State, Trainer
from retrace.service.training import Asked
from retrace.service.truths import kept_out
from tests.predictors import thread
from tests.retraining import ID, Work, home, root, settings, trained, work
from tests.serving import accounts_of, free_port, in_process, service_settings
from tests.sources import ROOT

__all__ = ["home", "root", "settings", "work"]  # fixtures

MITDB = Path(os.environ.get("RETRACE_MIRROR", "")) / "physionet.org/files/mitdb/1.0.0"


class Gateway:
    """A gateway whose trainer is another server; its worker is a thread."""

    def __init__(self, client: TestClient, headers: dict[str, str]) -> None:
        self.client, self.headers = client, headers
        self.service: Any = client.app.state.service  # type: ignore[attr-defined]
        self.job = client.post("/trainings", json={}, headers=headers).json()["job"]

    def begin(self) -> threading.Thread:
        each = threading.Thread(target=worker.work_once, args=(self.service, "training"))
        each.start()
        return each

    def said(self) -> dict[str, Any]:
        found: dict[str, Any] = self.client.get(
            f"/trainings/{self.job}", headers=self.headers
        ).json()
        return found


@pytest.fixture(scope="module")
def far(
    root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[TestClient, dict[str, str], Callable[[], AbstractContextManager[str]]]]:
    """A gateway that has no repository, its scientist, and what starts its trainer."""
    port, folder = free_port(), tmp_path_factory.mktemp("far")
    (folder / "trainer").mkdir()
    near = service_settings(folder / "trainer", root=root, models="")
    url = f"http://127.0.0.1:{port}"
    with in_process(service_settings(folder, root=folder, models="", trainer_url=url)) as client:
        headers = accounts_of(client)["scientist"].headers
        yield client, headers, lambda: thread(create_trainer(near), port=port)


@pytest.fixture
def gateway(far: Any, work: Work) -> Iterator[Gateway]:
    client, headers, trainer = far
    with trainer():
        yield Gateway(client, headers)
        work.over.set()


def test_the_trainer_is_for_the_gateway_alone(settings: Any) -> None:
    def headers(token: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {token}"}

    with TestClient(create_trainer(settings)) as trainer:
        for token in (
            "",
            tokens.issue(settings, ID, ID),
            tokens.internal(settings, "predictor"),
        ):
            for method, path in (("POST", "/checks"), ("POST", "/jobs"), ("GET", f"/jobs/{ID}")):
                said = trainer.request(method, path, headers=headers(token), json={})
                assert said.status_code == 401
        good = headers(tokens.internal(settings, "trainer"))
        assert trainer.get("/health").status_code == 200
        assert trainer.get(f"/jobs/{ID}", headers=good).status_code == 404
        assert trainer.get("/openapi.json").status_code == 404


def test_a_training_that_is_cancelled_as_it_ends_stays_cancelled(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(settings)

    def train(settings: Any, name: str, *others: object) -> dict[str, Any]:
        trainer.cancel(name)
        return {}

    monkeypatch.setattr(worktree, "train", train)
    trainer.order(Ordered(id=ID))
    trainer._train(ID, Asked(), trainer.state(ID))

    assert trainer.state(ID) == State("cancelled")


def test_the_trainers_image_names_no_package_index() -> None:
    text = (ROOT / "docker/train.Dockerfile").read_text(encoding="utf-8")

    assert re.findall(r"https?://[^. ]+[\w.]", text) == []
    assert "ARG TORCH_INDEX\n" in text


def test_the_gateway_follows_the_trainer(gateway: Gateway, work: Work) -> None:
    each = gateway.begin()
    assert work.begun.wait(10)
    work.over.set()
    each.join(10)

    assert gateway.said()["state"] == "done"
    assert gateway.said()["version"] == gateway.said()["result"]["version"]
    assert work.names == [gateway.job]


def test_a_failure_there_is_told_here(gateway: Gateway, work: Work) -> None:
    work.error = InputError("training: it diverged: lower lr")
    work.over.set()
    gateway.begin().join(10)

    assert gateway.said()["state"] == "failed"
    assert gateway.said()["error"] == "training: it diverged: lower lr"


def test_cancelling_here_ends_it_there(
    gateway: Gateway, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "LOOK", 0.02)
    monkeypatch.setattr(worker, "RENEW", 0.02)
    each = gateway.begin()
    assert work.begun.wait(10)
    said = gateway.client.delete(f"/jobs/{gateway.job}", headers=gateway.headers)
    each.join(10)

    assert said.status_code == 204
    assert gateway.said()["state"] == "cancelled"
    assert state_there(gateway)["state"] == "cancelled"


def state_there(gateway: Gateway) -> dict[str, Any]:
    settings = gateway.service.settings
    token = tokens.internal(settings, "trainer")
    answer = httpx2.get(
        f"{settings.trainer_url}/jobs/{gateway.job}", headers={"Authorization": f"Bearer {token}"}
    )
    found: dict[str, Any] = json.loads(answer.text)
    return found


def test_a_worker_that_takes_over_goes_on_watching(
    gateway: Gateway, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "LOOK", 0.02)
    stop = threading.Event()
    first = threading.Thread(target=worker.work_once, args=(gateway.service, "training", stop))
    first.start()
    assert work.begun.wait(10)
    stop.set()
    first.join(10)
    assert state_there(gateway)["state"] == "running"

    second = gateway.begin()
    work.over.set()
    second.join(10)

    assert gateway.said()["state"] == "done"
    assert work.names == [gateway.job]


def test_a_trainer_that_starts_anew_is_asked_again(
    far: Any, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "PAUSE", timedelta(0))
    client, headers, trainer = far
    with trainer():
        gateway = Gateway(client, headers)
        each = gateway.begin()
        assert work.begun.wait(10)
    with trainer():  # well within the outage that is waited out
        each.join(10)
        assert gateway.said()["state"] == "queued"
        work.over.set()
        gateway.begin().join(10)

    assert gateway.said()["state"] == "done"
    assert work.names == [gateway.job] * 2


def test_a_trainer_that_stays_away_fails_the_training_at_last(
    far: Any, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "PAUSE", timedelta(0))
    monkeypatch.setattr(worker, "PATIENCE", timedelta(0))
    monkeypatch.setattr(remote_training, "OUTAGE", 0.1)
    client, headers, trainer = far
    with trainer():
        gateway = Gateway(client, headers)
    for _ in range(jobs.ATTEMPTS):
        gateway.begin().join(10)

    assert gateway.said()["state"] == "failed"
    assert "the trainer does not answer" in gateway.said()["error"]


def test_the_trainer_takes_files_of_recordings_for_a_training_that_is_to_come(
    settings: Any, work: Work
) -> None:
    good = {"Authorization": f"Bearer {tokens.internal(settings, 'trainer')}"}
    small = settings.model_copy(update={"largest_upload": 1000})
    folder = settings.home / "trainer/trainings" / f"{ID}.own"
    with TestClient(create_trainer(small)) as trainer:

        def put(name: str, content: bytes = b"0", **headers: str) -> int:
            path = f"/jobs/{ID}/files/{name}"
            return trainer.put(path, content=content, headers=headers or good).status_code

        assert put(f"{ID}.dat", Authorization="Bearer ") == 401
        assert [put(name) for name in ("a.dat", f"{ID}.csv", "..%2Fa.dat")] == [404] * 3
        assert put(f"{ID}.hea", bytes(2000)) == 413
        assert put(f"{ID}.dat", b"1") == put("persons.csv", b"2") == 204
        assert {path.name for path in folder.iterdir()} == {f"{ID}.dat", "persons.csv"}
        trainer.post("/jobs", json={"id": ID}, headers=good)
        assert put("persons.csv", b"3") == 409
        assert trainer.get(f"/jobs/{ID}/files/model.onnx", headers=good).status_code == 404
        trainer.delete(f"/jobs/{ID}", headers=good)
        work.over.set()

    assert not folder.exists()


def test_recordings_of_a_training_that_is_not_ordered_go(
    settings: Any, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = {"Authorization": f"Bearer {tokens.internal(settings, 'trainer')}"}
    folder, other = settings.home / "trainer/trainings", "f" * 32
    with TestClient(create_trainer(settings)) as trainer:

        def put(name: str) -> None:
            said = trainer.put(f"/jobs/{name}/files/persons.csv", content=b"0", headers=good)
            assert said.status_code == 204

        put(ID)
        assert trainer.delete(f"/jobs/{ID}", headers=good).status_code == 404
        assert not list(folder.glob("*.own"))

        trainer.post("/jobs", json={"id": other}, headers=good)
        assert work.begun.wait(10)
        put(ID)
        trainer.post("/jobs", json={"id": ID}, headers=good)  # it waits
        trainer.delete(f"/jobs/{ID}", headers=good)
        work.over.set()
        trainer.post("/jobs", json={"id": "e" * 32}, headers=good)
        deadline = time.monotonic() + 10
        while "e" * 32 not in work.names and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not list(folder.glob("*.own"))

        monkeypatch.setattr(trainer_queue, "UNORDERED", -1.0)  # long ago
        put("d" * 32)
        put("c" * 32)
        assert [path.stem for path in folder.glob("*.own")] == ["c" * 32]


def test_where_a_training_cannot_be_ordered_no_recording_stays_there(
    far: Any, work: Work, tmp_path: Path
) -> None:
    client, _, begun = far
    settings = client.app.state.service.settings
    (tmp_path / "persons.csv").write_text("record_id,patient_id\n")
    (tmp_path / f"{ID}.dat").write_bytes(b"0")
    (tmp_path / "z.dat").write_bytes(b"0")  # the last one, which is refused by its name
    with begun():
        with pytest.raises(Problem):
            remote_training.RemoteTrainer(settings).order(ID, Asked(), tmp_path, lambda _: None)
        folder = settings.home.parent / "trainer/var/trainer/trainings"
        assert folder.is_dir() and not list(folder.glob("*.own"))


def test_a_trainer_that_starts_anew_keeps_no_recording(settings: Any) -> None:
    folder = settings.home / "trainer/trainings"
    for name in (f"{ID}.own", f"{ID}.out", ID):
        (folder / name).mkdir(parents=True)

    with TestClient(create_trainer(settings)):
        assert {path.name for path in folder.iterdir()} == {".turn", ".processes"}


@pytest.mark.skipif(not MITDB.is_dir(), reason="RETRACE_MIRROR is no folder with mitdb")
def test_recordings_that_were_uploaded_are_learned_from_by_a_trainer(
    root: Path, home: Path, tmp_path: Path
) -> None:
    """On real records. Who judges the model is as without them, which the registry knows by the
    hash of the split; nothing of the recordings or of their persons stays anywhere."""
    params = {
        "models.random_forest.trees": 2,
        "models.random_forest.max_leaf_nodes": 20,
        "evaluate.resamples": 100,
    }
    people = [name for name in (f"Erika Mustermann {n}" for n in range(40)) if not kept_out(name)]
    near = service_settings(tmp_path, root=root, models="", home=home)
    with thread(create_trainer(near)) as url:
        gateway = service_settings(tmp_path, root=tmp_path, models="", trainer_url=url)
        with in_process(gateway) as client:
            accounts = accounts_of(client)
            for name, person in zip(
                ("119", "203", "205", "208", "209", "100"), people, strict=False
            ):
                files = [("files", (path.name, path.read_bytes())) for path in record(name)]
                sent: Any = {"data": {"person": person}, "headers": accounts["staff"].headers}
                answer = client.post("/recordings/labelled", files=files, **sent)
                assert answer.status_code == 201
            asked: Any = {"recipe": "mitdb_ds1_ds2_random_forest", "params": params, "data": "all"}
            said = trained(client, accounts["scientist"], **asked)
    found = said["result"]["data"]

    assert (said["error"], said["state"]) == (None, "done")
    assert (len(found["recordings"]), found["persons"]) == (5, 5)
    assert list(found["left_out"].values()) == [1]  # 100 is of the test part
    published = (ROOT / "recipes/mitdb_ds1_ds2/dvc.lock").read_text(encoding="utf-8")
    assert found["validation"] == locks.outs(locks.parse(published))["data/split.csv"]
    kept = [path for where in (home / "trainer", tmp_path) for path in where.rglob("*")]
    texts = [path.read_bytes() for path in kept if path.is_file() and ".db" not in path.name]
    assert not [text for text in texts if b"ustermann" in text]
    names = [path.name for path in kept if "recordings" not in path.parts]
    assert not [name for name in names if name.split(".")[0] in found["recordings"]]


def record(name: str) -> list[Path]:
    return [MITDB / f"{name}{suffix}" for suffix in (".hea", ".dat", ".atr")]
