"""One process or several: the same answers, and none that is wrong when a process fails."""

import io
import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Semaphore
from typing import Any

import anyio
import numpy as np
import pytest
import wfdb
from fastapi import FastAPI
from starlette.testclient import TestClient

from retrace.errors import InputError
from retrace.service import health, remote, worker
from retrace.service.problems import Problem
from retrace.service.protocol import create_predictor
from retrace.service.remote import RemoteNetwork
from retrace.service.slots import Slots
from tests.heartbeats import MITBIH, heartbeat
from tests.linear_model import beats_of
from tests.predictors import (
    FEATURES,
    PLAIN,
    RHYTHM,
    both,
    process,
    publish,
    session,
    some,
    thread,
)
from tests.serving import SERVER, accounts_of, in_process, postgres_database, service_settings
from tests.triton import Triton, triton

Said = list[tuple[int, str]]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return both(tmp_path_factory.mktemp("repository"))


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A WFDB record of 40 s, as files to send."""
    folder = tmp_path_factory.mktemp("record")
    signal = heartbeat(40, 360, ("MLII",)).signal.T.astype(np.float64)
    wfdb.wrsamp(
        "r1", fs=360, units=["mV"], sig_name=["MLII"], p_signal=signal, fmt=["16"],
        write_dir=str(folder),
    )  # fmt: skip
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def predictor(
    root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], str]]:
    """PREDICTOR_URL of a gateway by its kind; the servers are started once."""
    with ExitStack() as stack:
        home = tmp_path_factory.mktemp("predictor")

        def url(kind: str) -> str:
            if kind == "one process":
                return ""
            if kind == "triton":
                return stack.enter_context(triton(root)).url
            return stack.enter_context(process(root, home, "predictor"))[0]

        yield url


@pytest.fixture(scope="module")
def alone(root: Path, record: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Said:
    """What one process answers."""
    return conversation(root, record, tmp_path_factory.mktemp("alone"), "")


def conversation(
    root: Path, record: dict[str, bytes], folder: Path, url: str, database: str = ""
) -> Said:
    """A day of a ward: every way to ask for a prediction, rules, an alert, a correction, a job."""
    settings = service_settings(
        folder, root=root, models="", predictor_url=url, job_minutes=0.5, database_url=database
    )
    said: Said = []
    with in_process(settings) as client:
        staff = accounts_of(client)["staff"].headers

        def ask(method: str, path: str, **sent: Any) -> Any:
            answer = client.request(method, path, headers=staff, **sent)
            said.append((answer.status_code, same(answer.text)))
            return answer.json()

        beats = beats_of(MITBIH)[:8]
        rhythm = {name: [0.8 + 0.01 * row for row in range(8)] for name in FEATURES}
        signal = heartbeat(20, 360, ("MLII",)).signal[0].tolist()
        ask("GET", "/models")
        ask("PUT", "/rules/V", json={"probability": 0.4, "count": 1})
        ask("PUT", "/rules/uncertain", json={"probability": 0.5})
        ask("POST", "/predict/beats", json={"model": PLAIN, "beats": beats[:1].tolist()})
        found = ask("POST", "/predict/beats", json={"model": PLAIN, "beats": beats.tolist()})
        ask(
            "POST",
            "/predict/beats",
            json={"model": RHYTHM, "beats": beats.tolist(), "features": rhythm},
        )
        ask("POST", "/predict/beats", json={"model": RHYTHM, "beats": beats.tolist()})
        ask("POST", "/predict/beats", json={"model": "other", "beats": beats.tolist()})
        ask("POST", "/predict/beats", json={"model": PLAIN, "beats": (100 * beats).tolist()})
        ask("POST", "/predict/beats", json={"model": PLAIN, "beats": [[0.1] * 100]})
        stored = io.BytesIO()
        np.save(stored, beats)
        ask(
            "POST",
            "/predict/segments",
            files=[("files", ("X.npy", stored.getvalue()))],
            data={"model": PLAIN, "domain": json.dumps(MITBIH.to_dict())},
        )
        for model in (PLAIN, RHYTHM):
            sent = {"model": model, "fs": 360, "leads": {"MLII": signal}}
            ask("POST", "/predict/samples", json=sent)
        files = [("files", file) for file in record.items()]
        queued = ask("POST", "/predict/recording", files=files, data={"model": RHYTHM})
        job = queued["job"]
        assert worker.work_once(client.app.state.service, "recording")  # type: ignore[attr-defined]
        ask("GET", f"/jobs/{job}")
        ask("GET", f"/jobs/{job}/result")
        ask("GET", "/alerts")
        ask("POST", f"/predictions/{found['id']}/feedback", json={"segment": 1, "label": "S"})
        ask("GET", f"/predictions/{found['id']}")
    return said


def same(text: str) -> str:
    """An answer without ids and times, and without what is known of a server's weights."""
    text = re.sub(r'"weights":"[a-z ]+"', '"weights":""', text)
    text = re.sub(r"[0-9a-f]{32}", "ID", text)
    return re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+(Z|\+00:00)", "TIME", text)


@pytest.mark.parametrize("kind", ["several processes", "triton"])
def test_answers_are_those_of_one_process_to_the_last_digit(
    root: Path,
    record: dict[str, bytes],
    alone: Said,
    predictor: Callable[[str], str],
    kind: str,
    tmp_path: Path,
) -> None:
    found = conversation(root, record, tmp_path, predictor(kind))

    assert [status for status, _ in alone].count(200) >= 10
    for ours, theirs in zip(found, alone, strict=True):
        assert ours == theirs


@pytest.mark.skipif(not SERVER, reason="RETRACE_TEST_POSTGRES names no PostgreSQL server")
def test_they_are_the_same_on_postgresql(
    root: Path,
    record: dict[str, bytes],
    alone: Said,
    predictor: Callable[[str], str],
    tmp_path: Path,
) -> None:
    with postgres_database() as url:
        assert conversation(root, record, tmp_path, predictor("triton"), url) == alone


def network(url: str, root: Path, name: str = PLAIN) -> RemoteNetwork:
    return RemoteNetwork(url, name, session(root, name).card)


def predictor_of(root: Path) -> FastAPI:
    return create_predictor(service_settings(root, root=root, models=""))


def refused(gateway: RemoteNetwork, X: Any) -> Problem:
    with pytest.raises(Problem) as caught:
        gateway.logits(X, None)
    assert caught.value.status == 503
    assert int(caught.value.headers["Retry-After"]) >= 1
    return caught.value


@pytest.fixture
def server(root: Path) -> Iterator[Triton]:
    with triton(root) as server:
        yield server


def logits(answer: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return answer | {"outputs": [answer["outputs"][0] | changes]}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda a: b"",
        lambda a: b"<html>",
        lambda a: {"error": "busy"},
        lambda a: a | {"outputs": []},
        lambda a: a | {"model_version": "2"},
        lambda a: logits(a, name="probabilities"),
        lambda a: logits(a, datatype="FP16"),
        lambda a: logits(a, shape=[1, 6]),
        lambda a: logits(a, shape=[3, 2]),
        lambda a: logits(a, shape=[2, 2], data=[0, 1, 2, 3]),
        lambda a: logits(a, data=["0"] * 6),
        lambda a: logits(a, data=[0.1] * 5),
    ],
)
def test_an_answer_that_cannot_be_is_none(
    root: Path, server: Triton, spoil: Callable[[Any], Any]
) -> None:
    gateway, (X, _) = network(server.url, root), some(session(root, PLAIN).card, 2)
    gateway.logits(X, None)

    server.spoil = spoil
    refused(gateway, X)
    server.spoil = lambda answer: answer

    assert gateway.logits(X, None).shape == (2, 3)  # it was not left alone for that


@pytest.mark.parametrize("status", [404, 429, 500, 503])
def test_a_server_that_refuses_gives_no_answer(root: Path, server: Triton, status: int) -> None:
    server.status = status
    refused(network(server.url, root), some(session(root, PLAIN).card, 1)[0])


@pytest.mark.parametrize("status", [200, 400])
def test_segments_without_finite_logits_are_refused_as_here(
    root: Path, server: Triton, status: int
) -> None:
    gateway = network(server.url, root)
    server.status = status
    server.spoil = lambda answer: logits(answer, data=[1e300, 0, 0])

    with pytest.raises(InputError, match="no 3 finite logits"):
        gateway.logits(some(gateway.card, 1)[0], None)


@pytest.mark.parametrize(
    ("other", "changes"),
    [
        ("weights", {"hashes": {"weights": "f" * 64}}),
        ("int8", {"int8": True}),
        ("classes", {"classes": ["N", "S", "V", "F"], "thresholds": [0.5] * 4}),
        ("features", {"features": FEATURES}),
    ],
)
def test_another_model_of_the_same_name_is_never_asked(
    root: Path, tmp_path: Path, other: str, changes: dict[str, Any]
) -> None:
    publish(tmp_path, PLAIN, **changes)
    with thread(predictor_of(tmp_path)) as url:
        refused(network(url, root), some(session(root, PLAIN).card, 1)[0])


def test_a_version_that_is_another_hash_is_never_asked(root: Path, server: Triton) -> None:
    server.version = "f" * 12
    refused(network(server.url, root), some(session(root, PLAIN).card, 1)[0])

    assert not [path for path in server.asked if path.endswith("/infer")]


def test_weights_that_a_server_does_not_tell_are_not_checked(
    root: Path, server: Triton, tmp_path: Path
) -> None:
    beat = {"model": PLAIN, "beats": beats_of(MITBIH)[:1].tolist()}

    def said(folder: Path, url: str) -> list[str]:
        settings = service_settings(folder, root=root, models="", predictor_url=url)
        with in_process(settings) as client:
            client.headers = accounts_of(client)["staff"].headers
            before = client.get(f"/models/{PLAIN}").json()["weights"]
            client.post("/predict/beats", json=beat).raise_for_status()
            return [before, client.get(f"/models/{PLAIN}").json()["weights"]]

    for name in "abc":
        (tmp_path / name).mkdir()
    assert said(tmp_path / "a", server.url) == ["not asked yet", "not checked"]
    with thread(predictor_of(root)) as url:
        assert said(tmp_path / "b", url) == ["not asked yet", "checked"]
    assert said(tmp_path / "c", "") == ["checked"] * 2


def test_a_dropped_connection_is_asked_once_more(root: Path, server: Triton) -> None:
    gateway, (X, _) = network(server.url, root), some(session(root, PLAIN).card, 2)
    expected = gateway.logits(X, None)
    server.drop = 1

    assert (gateway.logits(X, None) == expected).all()
    server.drop = 2
    refused(gateway, X)


def test_nobody_there_is_said_at_once_and_healed_by_itself(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "REST", 0.2)
    X, _ = some(session(root, PLAIN).card, 1)
    with thread(predictor_of(root)) as url:
        gateway = network(url, root)
        gateway.logits(X, None)
    refused(gateway, X)

    with thread(predictor_of(root), port=int(url.rpartition(":")[2])):
        time.sleep(0.3)
        assert gateway.logits(X, None).shape == (1, 3)


def test_one_of_two_replicas_may_be_killed(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "KEPT", 0.0)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")  # meant for others
    beat = {"model": PLAIN, "beats": beats_of(MITBIH)[:1].tolist()}
    with ExitStack() as stack:
        started = [
            stack.enter_context(process(root, tmp_path / name, "predictor")) for name in "ab"
        ]
        urls = ", ".join(url for url, _ in started)
        settings = service_settings(tmp_path, root=root, models="", predictor_url=urls)
        client: TestClient = stack.enter_context(in_process(settings))
        headers = accounts_of(client)["staff"].headers
        assert client.get("/ready").json()["parts"]["models"] == "ok"
        said = []
        for turn in range(30):
            if turn == 10:
                os.kill(started[0][1].pid, signal.SIGKILL)
            said.append(client.post("/predict/beats", json=beat, headers=headers))

        assert [answer.status_code for answer in said] == [200] * 30
        assert len({same(answer.text) for answer in said}) == 1
        assert client.get("/ready").json()["parts"]["models"] == "ok"
        os.kill(started[1][1].pid, signal.SIGKILL)
        started[1][1].wait()
        answer = client.post("/predict/beats", json=beat, headers=headers)
        assert answer.status_code == 503
        assert "Retry-After" in answer.headers
        said = client.get("/ready").json()["parts"]["models"]
        assert "not ready (ConnectError, ConnectError)" in said
        assert client.get("/predictions", headers=headers).status_code == 200


def test_an_answer_is_awaited_for_as_long_as_its_segments_may_take(
    root: Path, server: Triton, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = network(server.url, root)
    X, _ = some(gateway.card, 20)
    gateway.logits(X[:1], None)

    def slowly(answer: dict[str, Any]) -> dict[str, Any]:
        time.sleep(1.5)
        return answer

    server.spoil = slowly
    monkeypatch.setattr(remote, "REST", 1e-6)
    monkeypatch.setattr(remote, "PATIENCE", 0.0)
    assert gateway.logits(X, None).shape == (20, 3)
    refused(gateway, X[:1])
    monkeypatch.setattr(remote, "PATIENCE", 10.0)
    monkeypatch.setattr(remote, "LONGEST", 0.5)
    refused(gateway, X)


def test_predictions_that_wait_for_a_predictor_hold_up_nobody_else(tmp_path: Path) -> None:
    many = 2 * (os.cpu_count() or 1)
    settings = service_settings(tmp_path, predictor_url="http://127.0.0.1:1", concurrent=many)
    begun, answered = Semaphore(0), Event()

    def asked() -> None:
        begun.release()
        answered.wait(60)

    async def predict(slots: Slots) -> None:
        with slots:
            await slots.thread(asked)

    async def main() -> None:
        slots = Slots(settings)
        async with anyio.create_task_group() as group:
            for _ in range(many):
                group.start_soon(predict, slots)
            try:
                with anyio.fail_after(30):
                    for _ in range(many):  # all at a time
                        assert await anyio.to_thread.run_sync(begun.acquire, True, 20)
                    assert await slots.thread(str, 1) == "1"
            finally:
                answered.set()

    anyio.run(main)


@pytest.mark.parametrize("url", ["", "localhost:8001", "ftp://x", "http://", "http:///x", ","])
def test_an_address_that_is_none_is_refused(root: Path, url: str) -> None:
    with pytest.raises(InputError, match="PREDICTOR_URL"):
        network(url, root)
