"""Trainings: checked at once, run in a work tree of their own, here or by the trainer."""

import hashlib
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from starlette.testclient import TestClient

from retrace.deploy.session import Session
from retrace.errors import InputError
from retrace.service import jobs, remote_training, tokens, trainings, worker, worktree
from retrace.service.jobs import Cancelled
from retrace.service.problems import Problem
from retrace.service.trainer import Ordered, State, Trainer, create_trainer
from retrace.service.training import Asked, Value, checked
from tests.predictors import thread
from tests.scratch import SMALL, change_params, commit_all, copy_repository, run
from tests.serving import Person, accounts_of, free_port, in_process, service_settings
from tests.sources import ROOT

FOREST = {
    "dataset.name": "synthetic",
    "model.name": "random_forest",
    "model.input": "waveforms",
    "models.random_forest.trees": 3,
    "models.random_forest.max_leaf_nodes": 20,
}
ID = "0123456789abcdef" * 2


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose default run is a small one."""
    folder = copy_repository(tmp_path_factory.mktemp("repository"))
    change_params(folder, SMALL | FOREST)
    commit_all(folder)
    return folder


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


def test_a_training_gives_scores_and_a_model_and_touches_nothing_else(
    root: Path, home: Path, tmp_path: Path
) -> None:
    before = sorted(path for path in root.rglob("*") if ".git" not in path.parts)
    here = service_settings(tmp_path, root=root, models="", home=home)
    with in_process(here) as client:
        who = accounts_of(client)["scientist"]
        said = trained(client, who, params={"models.random_forest.trees": 4})
    result, kept = said["result"], home / "trainings"

    assert (said["state"], said["progress"], said["error"]) == ("done", 1.0, None)
    assert 0 < result["validation"]["val_f1_macro"] <= 1
    assert yaml.safe_load(result["dvc.lock"])["stages"].keys() >= {"train", "export"}
    assert "test.json" not in result["dvc.lock"]
    assert Session(kept / f"{said['id']}.onnx").card.hashes["weights"] == result["weights"]
    params = yaml.safe_load((kept / f"{said['id']}.yaml").read_text())
    assert params["models"]["random_forest"]["trees"] == 4
    assert [path for path in kept.iterdir() if path.is_dir()] == [kept / "cache"]
    assert sorted(path for path in root.rglob("*") if ".git" not in path.parts) == before
    assert run(root, "git", "status", "--porcelain") == ""
    assert run(root, "git", "worktree", "list").count("\n") == 1

    # The same through a trainer, in whose cache the stages are: to the last byte the same.
    with thread(create_trainer(here)) as url:
        gateway = service_settings(tmp_path, root=tmp_path, models="", trainer_url=url)
        with in_process(gateway) as client:
            who = accounts_of(client)["scientist"]
            said = trained(client, who, params={"models.random_forest.trees": 4})
    assert said["result"] == result


def test_a_stage_that_fails_says_why(root: Path, home: Path, tmp_path: Path) -> None:
    here = service_settings(tmp_path, root=root, models="", home=home)
    params: dict[str, Value] = {"synthetic.patients": 2, "synthetic.records_per_patient": 1}
    text = checked(here, Asked(params=params))

    with pytest.raises(InputError, match="a split needs one for each of train, val and test"):
        worktree.train(here, ID, text, lambda share: None)

    assert not (home / "trainings" / ID).exists()
    assert not (home / "trainings" / f"{ID}.onnx").exists()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"params": {"lr": -1}}, "lr: expected greater than 0"),
        ({"params": {"lr": "fast"}}, "lr: expected"),
        ({"params": {"lrr": 1}}, "params: lrr: unknown key"),
        ({"params": {"lr.x": 1}}, "params: lr.x: unknown key"),
        ({"params": {"train": 1}}, "train: expected"),
        ({"params": {"train.nothing": 1}}, "train.nothing: unknown key"),
        ({"params": {"model.name": "efficientnet"}}, "model.input: 'waveforms'"),
        ({"params": {"models.gru.hidden": 0}}, "models.gru.hidden: expected"),
        ({"params": {"dataset.name": "../x"}}, "dataset.name: expected"),
        ({"params": {"fetch.folder": "/etc"}}, "names files of the server"),
        ({"params": {"": 1}}, "params"),
        ({"params": {"lr": {"a": 1}}}, "params.lr"),
        ({"params": {"epochs": 10**25}}, "params.epochs"),
        ({"params": {"epochs": 1e25}}, "params.epochs"),
        ({"params": {"models.gru.hidden": [10**25]}}, "params.models.gru.hidden"),
        ({"params": {f"a{i}": 1 for i in range(51)}}, "params"),
        ({"recipe": "nobody"}, "recipe 'nobody': unknown"),
        ({"recipe": "../params"}, "recipe"),
        ({"recipe": "_gru"}, "recipe"),
        ({"force": True}, "force"),
    ],
)
def test_params_that_cannot_be_are_refused_before_anything_is_queued(
    client: TestClient, people: dict[str, Person], asked: dict[str, Any], said: str
) -> None:
    before = len(client.get("/jobs", headers=people["scientist"].headers).json())
    answer = client.post("/trainings", json=asked, headers=people["scientist"].headers)

    assert answer.status_code == 422, answer.text
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(answer.json()["detail"])
    listed = client.get("/jobs", headers=people["scientist"].headers).json()
    assert len(listed) == before


def test_scientists_and_admins_may_and_see_their_own_or_all(
    client: TestClient, people: dict[str, Person]
) -> None:
    asked = {"recipe": "mitdb_ds1_ds2_gru", "params": {"lr": 1e-4, "epochs": 1}}
    codes = {
        name: client.post("/trainings", json=asked, headers=who.headers).status_code
        for name, who in people.items()
    }
    mine = client.post("/trainings", json=asked, headers=people["admin"].headers).json()["job"]

    def seen(name: str) -> int:
        return client.get(f"/trainings/{mine}", headers=people[name].headers).status_code

    assert codes == {"staff": 403, "scientist": 202, "admin": 202, "none": 403}
    assert client.post("/trainings", json=asked).status_code == 401
    assert (seen("admin"), seen("scientist"), seen("staff")) == (200, 404, 403)
    said = client.get(f"/trainings/{mine}", headers=people["admin"].headers).json()
    assert (said["state"], said["recipe"], said["params"]) == ("queued", *asked.values())


def test_trainings_count_as_trainings(
    client: TestClient, people: dict[str, Person], monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = []
    service: Any = client.app.state.service  # type: ignore[attr-defined]
    monkeypatch.setattr(service.limits, "count", lambda *what: counted.append(what))
    who = people["scientist"]
    client.post("/trainings", json={"params": {"lr": -1}}, headers=who.headers)

    assert counted == [("train", who.id)]


@pytest.mark.parametrize("url", ["", "http://127.0.0.1:9"])  # no clone; no trainer
def test_where_nobody_can_train_that_is_said(tmp_path: Path, url: str) -> None:
    settings = service_settings(tmp_path, root=tmp_path, models="", trainer_url=url)

    with pytest.raises(Problem, match=r"TRAINER_URL|does not answer") as caught:
        trainings.check(settings, Asked())

    assert caught.value.status == 503
    assert "Retry-After" in caught.value.headers


def started(settings: Any, **changes: Any) -> tuple[Any, str]:
    """Settings and params of a training that begins at once."""
    return settings.model_copy(update=changes), checked(settings, Asked())


def processes_in(folder: Path) -> list[str]:
    """Processes at work in a folder or below it, even where it is gone."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with suppress(OSError):  # it has ended, or is another's
            if str(link.readlink()).startswith(str(folder)):
                found.append(link.parent.name)
    return found


@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="no /proc to find processes in")
def test_who_stops_it_stops_its_processes_and_leaves_no_work_tree(settings: Any) -> None:
    settings, text = started(settings)
    tree = settings.home / "trainings" / ID
    seen = []

    def progress(share: float) -> None:
        if any((tree / name).exists() for name in ("data/raw", "data/params.ok")):
            seen.extend(processes_in(tree))
            raise Cancelled

    with pytest.raises(Cancelled):
        worktree.train(settings, ID, text, progress)

    assert seen
    assert not processes_in(tree)
    assert not tree.exists()
    assert (settings.home / "trainings" / f"{ID}.yaml").is_file()


def test_one_that_takes_too_long_is_ended(settings: Any) -> None:
    settings, text = started(settings, training_hours=1e-6)

    with pytest.raises(InputError, match=r"took longer than .* raise RETRACE_TRAINING_HOURS"):
        worktree.train(settings, ID, text, lambda share: None)

    assert not processes_in(settings.home / "trainings")


def test_one_that_takes_too_much_memory_is_ended(settings: Any) -> None:
    """The array of its first record would have 8 GB."""
    params: dict[str, Value] = {"synthetic.duration": 5e6, "synthetic.fs": 200}
    text = checked(settings, Asked(params=params))
    settings = settings.model_copy(update={"training_gigabytes": 1})

    with pytest.raises(InputError, match=r"more memory than 1 GB.*RETRACE_TRAINING_GIGABYTES"):
        worktree.train(settings, ID, text, lambda share: None)


def test_one_training_at_a_time(tmp_path: Path) -> None:
    at_work, most = [0], [0]
    shares: list[float] = []

    def one() -> None:
        with worktree._alone(tmp_path, shares.append):
            at_work[0] += 1
            most[0] = max(most[0], at_work[0])
            time.sleep(0.3)
            at_work[0] -= 1

    threads = [threading.Thread(target=one) for _ in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert most == [1]
    assert 0.0 in shares  # who waits asks whether it is still wanted


def test_what_a_killed_worker_left_is_ended_and_removed(tmp_path: Path) -> None:
    left = tmp_path / ID
    left.mkdir()
    (left / "model").touch()
    with (tmp_path / ".processes").open("a+") as lock:
        assert worktree._locked(lock)
        orphan = subprocess.Popen(
            [sys.executable, "-c", "import time; time.sleep(60)"],
            pass_fds=[lock.fileno()],
            start_new_session=True,
        )
        lock.write(str(orphan.pid))

    with worktree._alone(tmp_path, lambda share: None):
        assert orphan.wait(10) < 0
        assert not left.exists()


def test_stages_see_no_secret_of_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RETRACE_SECRET", "RETRACE_SMTP_URL", "DATABASE_URL", "TRAINER_URL"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("RETRACE_MIRROR", "mirror")

    found = worktree._environment()

    assert "secret" not in found.values()
    assert found["RETRACE_MIRROR"] == "mirror"


class Work:
    """Stands for `worktree.train`: waits until it is told what to do."""

    def __init__(self) -> None:
        self.begun, self.over = threading.Event(), threading.Event()
        self.error: Exception | None = None
        self.names: list[str] = []

    def __call__(
        self, settings: Any, name: str, text: str, progress: Callable[[float], None]
    ) -> dict[str, Any]:
        self.names.append(name)
        self.begun.set()
        while not self.over.wait(0.01):
            progress(0.5)
        if self.error:
            raise self.error
        return {"params": hashlib.sha256(text.encode()).hexdigest()}


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    work = Work()
    monkeypatch.setattr(worktree, "train", work)
    monkeypatch.setattr(remote_training, "LOOK", 0.02)
    monkeypatch.setattr(remote_training, "OUTAGE", 2.0)
    return work


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
    assert gateway.said()["result"].keys() == {"params"}
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
