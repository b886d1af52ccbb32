"""What is left when a process is killed, a disk is full, a server or a file is away: all that was
accepted, and a service that says what is wrong."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import select, text, update

from retrace.service.database import Database
from retrace.service.tables import Job, Prediction, Recording, now
from tests.faulty import (
    BEATS,
    POSTGRES,
    Writers,
    cluster,
    publish,
    record,
    staff,
    until,
    upload,
    worker_of,
)
from tests.serving import (
    Server,
    accounts_of,
    free_port,
    in_process,
    running,
    service_settings,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it looks into /proc")
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small disk")
LONG = 6 * 3600  # s of a recording whose job takes a while


class Place:
    """A home and a repository with one model, on which a server runs, dies and runs again."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.home, self.root, self.port = folder / "var", folder / "root", free_port()
        self.environment = {"RETRACE_ROOT": str(self.root), "RETRACE_MODELS": "", **environment}
        if not self.root.exists():
            publish(self.root, "linear")

    @contextmanager
    def running(self, **environment: str) -> Iterator[Server]:
        environment = {"RETRACE_WORKER": "false", **self.environment, **environment}
        with running(self.home, port=self.port, **environment) as server:
            yield server

    @contextmanager
    def database(self) -> Iterator[Database]:
        url = self.environment.get("DATABASE_URL", "")
        database = Database(service_settings(self.home.parent, database_url=url).database)
        yield database
        database.close()

    def check_whole(self) -> None:
        """Behind a start nothing is there by halves: every row is whole, every recording has its
        files, and there are no others."""
        with self.database() as database, database.read() as session:
            for row in session.scalars(select(Prediction)):
                assert len(json.loads(row.answer)["segments"]) == row.segments
            kept = set(session.scalars(select(Recording.id)))
            if not self.environment.get("DATABASE_URL"):
                assert session.scalar(text("PRAGMA integrity_check")) == "ok"
        assert {folder.name for folder in (self.home / "recordings").iterdir()} == kept
        assert [path for path in (self.home / "incoming").iterdir() if path.is_dir()] == []


def kill(server: Server) -> None:
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait()


def test_a_killed_server_has_kept_all_that_it_accepted(tmp_path: Path, database_url: str) -> None:
    place = Place(tmp_path, DATABASE_URL=database_url)
    with place.running() as server:
        writers = Writers(server.url, staff(server))
        with writers.at_work():
            writers.await_more(10)
            kill(server)
            writers.await_broken()
    with place.running():
        accepted = writers.counts()
        print("accepted", accepted, "without an answer", writers.broken)

        place.check_whole()
        assert writers.found() == accepted
        assert not writers.refused


def test_a_killed_database_costs_no_accepted_request(tmp_path: Path) -> None:
    if not POSTGRES.exists() or not (os.geteuid() or shutil.which("runuser")):
        pytest.skip(f"no PostgreSQL in {POSTGRES}")
    with cluster() as postgres:
        place = Place(tmp_path, DATABASE_URL=postgres.url)
        with place.running(RETRACE_WORKER="true") as server:
            writers = Writers(server.url, staff(server))
            with writers.at_work():
                writers.await_more(10)
                postgres.kill()
                until(lambda: len(writers.refused) > 50)
                assert httpx2.get(f"{server.url}/health").status_code == 200
                ready = httpx2.get(f"{server.url}/ready", timeout=60)
                postgres.start()
                writers.await_more(10)
            accepted = writers.counts()
            print("accepted", accepted, "refused", len(writers.refused), set(writers.refused))

            assert (ready.status_code, ready.json()["ready"]) == (503, False)
            assert {status for status, _ in writers.refused} == {503}
            assert {said.split(";")[0] for _, said in writers.refused} == {
                "the database does not answer"
            }
            assert writers.broken == 0
            assert server.process.poll() is None
            until(lambda: worker_of(server))  # one that was still starting is started again
            assert writers.found() == accepted
        with place.running():
            place.check_whole()


@AS_ROOT
def test_a_full_disk_is_said_and_stores_nothing_by_halves(tmp_path: Path) -> None:
    place = Place(tmp_path)
    filler = place.home / "filler"
    with small_disk(place.home, "64m"), place.running() as server:
        writers = Writers(server.url, staff(server))
        with filler.open("wb", buffering=0) as stream, writers.at_work():
            writers.await_more(5)
            with contextlib.suppress(OSError):
                while True:
                    stream.write(bytes(1 << 12))
            until(lambda: len(writers.refused) > 50)
            assert httpx2.get(f"{server.url}/ready").json()["parts"]["disk"] != "ok"
            stream.truncate(0)
            writers.await_more(5)
        accepted = writers.counts()
        print("accepted", accepted, "refused", len(writers.refused), set(writers.refused))

        assert {status for status, _ in writers.refused} == {507}
        assert {said.split(";")[0] for _, said in writers.refused} == {"the disk is full"}
        place.check_whole()
        assert writers.found() == accepted


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A disk in memory at this folder; skips where none may be mounted."""
    folder.mkdir(mode=0o700)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "none", folder],
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip("no disk may be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture(scope="module")
def with_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Place, Server]]:
    """A server that keeps a worker."""
    place = Place(tmp_path_factory.mktemp("worker"), RETRACE_WORKER="true")
    with place.running() as server:
        yield place, server


class Jobs:
    """A long recording at a server that makes a job of it."""

    def __init__(self, place: Place, server: Server) -> None:
        self.place, self.headers = place, staff(server)
        self.client = httpx2.Client(base_url=server.url, headers=self.headers, timeout=60)
        sent = upload(self.client, record(LONG))
        assert sent.status_code == 201, sent.text
        self.recording = sent.json()["id"]
        queued = self.client.post(f"/predict/recordings/{self.recording}", json={})
        assert queued.status_code == 202, queued.text
        self.id = queued.json()["job"]

    def state(self) -> Any:
        return self.client.get(f"/jobs/{self.id}").json()["state"]

    def await_running(self, attempt: int) -> None:
        def now_running() -> bool:
            row = self.row()
            return (row.attempts, row.state) == (attempt, "running")

        until(now_running, lambda: f"attempt {self.row().attempts}, {self.row().state}")

    def row(self) -> Job:
        with self.place.database() as database, database.read() as session:
            return session.get_one(Job, self.id)

    def end_lease(self) -> None:
        """As though its seconds had passed."""
        with self.place.database() as database, database.write() as session:
            session.execute(update(Job).values(lease=now() - timedelta(seconds=1)))

    def predictions(self) -> list[Prediction]:
        with self.place.database() as database, database.read() as session:
            mine = Prediction.recording_id == self.recording
            return list(session.scalars(select(Prediction).where(mine)))


def test_a_job_whose_worker_is_killed_is_resumed_and_done_once(
    with_worker: tuple[Place, Server],
) -> None:
    _, server = with_worker
    jobs = Jobs(*with_worker)
    jobs.await_running(1)
    kill_worker(server)
    assert jobs.client.get(f"/jobs/{jobs.id}/result").status_code == 409
    jobs.end_lease()
    until(lambda: jobs.state() == "done")

    (prediction,) = jobs.predictions()
    assert (prediction.recording_id, jobs.row().attempts) == (jobs.recording, 2)
    result = jobs.client.get(f"/jobs/{jobs.id}/result").json()
    assert (result["id"], len(result["segments"])) == (prediction.id, prediction.segments)
    assert prediction.segments > LONG / 60 * 70, "the heart beats 75 times a minute"


def test_a_job_that_kills_every_worker_fails_after_three(
    with_worker: tuple[Place, Server],
) -> None:
    _, server = with_worker
    jobs = Jobs(*with_worker)
    for attempt in (1, 2, 3):
        jobs.await_running(attempt)
        kill_worker(server)
        jobs.end_lease()
    until(lambda: jobs.state() == "failed")

    result = jobs.client.get(f"/jobs/{jobs.id}/result")
    assert (result.status_code, jobs.predictions()) == (422, [])
    assert "the worker died each time" in result.json()["detail"]


def kill_worker(server: Server) -> None:
    """kill -9 of the server's worker; returns once there is another one."""
    worker = worker_of(server)
    assert worker
    os.kill(worker, signal.SIGKILL)
    until(lambda: worker_of(server) not in (None, worker))


def test_the_worker_of_a_killed_server_gives_its_job_back_and_ends(tmp_path: Path) -> None:
    place = Place(tmp_path, RETRACE_WORKER="true")
    with place.running() as server:
        jobs = Jobs(place, server)
        jobs.await_running(1)
        worker = worker_of(server)
        kill(server)
        until(lambda: not Path(f"/proc/{worker}").exists())
        assert (jobs.row().state, jobs.row().attempts) == ("queued", 0)
    with place.running():
        until(lambda: jobs.state() == "done")

        assert len(jobs.predictions()) == 1
        place.check_whole()


def test_a_mail_server_that_is_down_holds_no_prediction_up(tmp_path: Path) -> None:
    url = f"smtp://127.0.0.1:{free_port()}"
    mail = {"RETRACE_SMTP_URL": url, "RETRACE_ALERT_MAIL": "a@example.org"}
    place = Place(tmp_path, RETRACE_ALERT_SECONDS="0", **mail)
    with (
        place.running() as server,
        httpx2.Client(base_url=server.url, headers=staff(server), timeout=60) as client,
    ):
        for name in "SV":
            assert client.put(f"/rules/{name}", json={"probability": 0.01}).status_code == 200
        answers = [client.post("/predict/beats", json={"beats": BEATS}) for _ in range(20)]

        assert {answer.status_code for answer in answers} == {200}
        assert all(answer.json()["flagging"]["flagged"] for answer in answers)
        alerts = {alert["prediction"] for alert in client.get("/alerts").json()}
        assert alerts == {answer.json()["id"] for answer in answers}


def test_a_model_that_is_missing_or_damaged_answers_nothing(tmp_path: Path) -> None:
    root = tmp_path / "root"
    publish(root, "whole")
    damaged, missing = publish(root, "damaged"), publish(root, "missing")
    damaged.write_bytes(damaged.read_bytes()[:-40])
    missing.unlink()
    with in_process(service_settings(tmp_path, root=root, models="")) as client:
        headers = accounts_of(client)["staff"].headers

        def ask(model: str) -> httpx2.Response:
            given = {"model": model, "beats": BEATS}
            return client.post("/predict/beats", json=given, headers=headers)

        before = ask("whole").json()["segments"]
        for name, why in (("damaged", "is not the file that was published"), ("missing", "pull")):
            answer = ask(name)
            assert (answer.status_code, why in answer.json()["detail"]) == (503, True), answer.text
        assert "1 of 3" in client.get("/ready").json()["parts"]["models"]

        # What has been read and checked answers on, whatever becomes of the file.
        whole = root / "recipes/whole/model.onnx"
        whole.write_bytes(b"\0" * whole.stat().st_size)
        assert ask("whole").json()["segments"] == before
    with in_process(service_settings(tmp_path, root=root, models="")) as client:
        assert ask("whole").json()["segments"] == before  # by the registry's own copy
    (kept,) = (tmp_path / "var/registry").glob("*/model.onnx")
    kept.write_bytes(b"\0" * kept.stat().st_size)
    with in_process(service_settings(tmp_path, root=root, models="")) as client:
        assert ask("whole").status_code == 503
        ready = client.get("/ready")
        assert (ready.status_code, ready.json()["ready"]) == (503, False)
        assert "none of 3" in ready.json()["parts"]["models"]
