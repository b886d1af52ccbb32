"""Trainings: checked at once, run in a work tree of their own, here or by the trainer."""

import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from starlette.testclient import TestClient

from retrace.deploy.session import Session
from retrace.errors import InputError
from retrace.service import (
    registry,
    results,
    trainings,
    worktree,
)
from retrace.service.jobs import Cancelled
from retrace.service.problems import Problem
from retrace.service.trainer import create_trainer
from retrace.service.training import Asked, Value, checked
from tests.predictors import thread
from tests.retraining import ID, KEPT, client, home, people, root, settings, trained
from tests.scratch import run
from tests.serving import Person, accounts_of, in_process, service_settings

__all__ = ["client", "home", "people", "root", "settings"]  # fixtures


def test_a_training_becomes_a_version_and_leaves_nothing_else(
    root: Path, home: Path, tmp_path: Path
) -> None:
    before = sorted(path for path in root.rglob("*") if ".git" not in path.parts)
    here = service_settings(tmp_path, root=root, models="", home=home)
    with in_process(here) as client:
        who = accounts_of(client)["scientist"]
        said = trained(client, who, params={"models.random_forest.trees": 4})
        service: Any = client.app.state.service  # type: ignore[attr-defined]
        with service.database.read() as session:
            (version,) = registry.versions(session, "default")
            version = registry.version(session, "default", version.number)
            assert registry.production(session, "default") is None
    result, kept = said["result"], home / "trainings"

    assert (said["state"], said["progress"], said["error"]) == ("done", 1.0, None)
    assert 0 < result["validation"]["val_f1_macro"] <= 1
    assert 0 < result["test"]["f1_macro"] <= 1
    assert (result["version"], result["promoted"]) == (1, False)
    assert yaml.safe_load(result["dvc.lock"])["stages"].keys() >= {"train", "export", "evaluate"}
    assert (version.weights, version.job_id) == (result["weights"], said["id"])
    assert version.metrics == {"validation": result["validation"], "test": result["test"]}
    assert yaml.safe_load(version.params)["models"]["random_forest"]["trees"] == 4
    assert version.data["kind"] == "recipe"
    files = registry.path(here, version.id)
    assert {path.name for path in files.iterdir()} == set(results.FILES)
    assert Session(files / "model.onnx").card.hashes["weights"] == result["weights"]
    assert (files / "params.yaml").read_text() == version.params
    assert {path.name for path in kept.iterdir()} == KEPT
    assert sorted(path for path in root.rglob("*") if ".git" not in path.parts) == before
    assert run(root, "git", "status", "--porcelain") == ""
    assert run(root, "git", "worktree", "list").count("\n") == 1

    # The same through a trainer: to the last byte the same.
    with thread(create_trainer(here)) as url:
        gateway = service_settings(tmp_path, root=tmp_path, models="", trainer_url=url)
        with in_process(gateway) as client:
            who = accounts_of(client)["scientist"]
            said = trained(client, who, params={"models.random_forest.trees": 4})
    assert said["result"] == result
    (folder,) = (gateway.home / "registry").iterdir()
    for name in results.FILES:
        assert (folder / name).read_bytes() == (files / name).read_bytes()
    for trainings_ in (gateway.home / "trainings", here.home / "trainer/trainings"):
        assert {path.name for path in trainings_.glob("*")} <= KEPT


def test_a_stage_that_fails_says_why(root: Path, home: Path, tmp_path: Path) -> None:
    here = service_settings(tmp_path, root=root, models="", home=home)
    params: dict[str, Value] = {"synthetic.patients": 2, "synthetic.records_per_patient": 1}
    text = checked(here, Asked(params=params))

    with pytest.raises(InputError, match="a split needs one for each of train, val and test"):
        worktree.train(here, ID, text, lambda share: None)

    assert not (home / "trainings" / ID).exists()
    assert not (home / "trainings" / f"{ID}.out").exists()
    assert "a split needs" in (home / "trainings" / f"{ID}.log").read_text()


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
        ({"params": {"fetch.folder": "/etc"}}, "files .* of the server"),
        ({"params": {"train.devices": 64}}, "how much of the server"),
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


def test_recordings_are_added_to_ds1_alone(root: Path, tmp_path: Path) -> None:
    here = service_settings(tmp_path, root=root, models="")

    with pytest.raises(InputError, match=r"this recipe trains on synthetic with split stratified"):
        checked(here, Asked(data="all"))

    params = yaml.safe_load(checked(here, Asked(recipe="mitdb_ds1_ds2", data="newest")))
    plain = yaml.safe_load(checked(here, Asked(recipe="mitdb_ds1_ds2")))
    assert params["dataset"]["name"] == "collected"
    own = params["datasets"]["collected"]
    assert own == plain["datasets"]["mitdb"] | {"with_ds1": False}
    for section in ("bandpass", "split", "model", "train", "lr"):
        assert params[section] == plain[section]


def test_a_sweep_removes_what_is_over_and_what_is_old(settings: Any) -> None:
    folder, other = settings.home / "trainings", "f" * 32
    for name in (f"{ID}.own", f"{ID}.out", f".{ID}.out.1.part", f"{other}.out", "runs/a", "runs/b"):
        (folder / name).mkdir(parents=True)
    (folder / f"{ID}.log").touch()
    (folder / f"{other}.log").touch()
    for name in ("runs/a", f"{ID}.log"):
        os.utime(folder / name, (1, 1))

    worktree.sweep(settings, lambda: {other})

    left = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    assert left == {f"{other}.out", f"{other}.log", "runs", "runs/b", ".turn", ".processes"}


def test_what_cannot_be_swept_stops_no_sweep(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training writes there meanwhile."""
    folder = settings.home / "trainings"
    for name in ("runs/a", "runs/b"):
        (folder / name).mkdir(parents=True)
        os.utime(folder / name, (1, 1))
    rglob = Path.rglob

    def gone(path: Path, pattern: str) -> Any:
        return [path / "gone"] if path.name == "a" else rglob(path, pattern)

    monkeypatch.setattr(Path, "rglob", gone)
    worktree.sweep(settings, set)

    assert [path.name for path in (folder / "runs").iterdir()] == ["a"]


def test_progress_counts_the_epochs_of_a_training(tmp_path: Path) -> None:
    log, stages = tmp_path / "log", ["fetch", "train", "export", "evaluate"]
    said = "Running stage 'train':\n epoch  learning_rate  time\n    1*  0.002  0.5  9.8s\n"
    log.write_text(said)

    first = worktree._share(log, stages, 4)
    log.write_text(f"{said}    3   0.002  0.5  9.8s\n")

    assert (first, worktree._share(log, stages, 4)) == (1.25 / 4, 1.75 / 4)
