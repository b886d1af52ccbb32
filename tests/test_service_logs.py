"""app.log says what happened; no password, token, key, query or signal is ever in it."""

import logging
import re
import secrets
import socket
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import httpx2
import numpy as np
import pytest

from retrace.service import logs
from tests.serving import PASSWORD, in_process, running, service_settings
from tests.sources import ROOT

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - [\w.]+ - [A-Z]+ - .+")


def _said(folder: Path, name: str = "app") -> str:
    return (folder / f"{name}.log").read_text(encoding="utf-8")


def test_a_line_is_time_name_level_message(tmp_path: Path) -> None:
    with logs.writing(tmp_path):
        logging.getLogger("retrace.x").info("one\r\ntwo")

    (line,) = _said(tmp_path).splitlines()
    assert LINE.fullmatch(line) and line.endswith(" - retrace.x - INFO - one  two")


def test_an_error_is_its_kind_and_place_without_what_it_says(tmp_path: Path) -> None:
    sent = "what was sent"

    def inner() -> None:
        raise ValueError(sent)

    with logs.writing(tmp_path):
        try:
            try:
                inner()
            except ValueError as error:
                raise KeyError(sent) from error
        except KeyError:
            logging.getLogger("retrace.x").exception("it failed")

    said = _said(tmp_path)
    assert "builtins.ValueError" in said and "builtins.KeyError" in said
    assert "in inner" in said
    assert sent not in said


def test_a_long_log_begins_a_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "LARGEST", 1000)
    with logs.writing(tmp_path):
        for _ in range(100):
            logging.getLogger("retrace.x").info("x" * 50)

    assert len(list(tmp_path.iterdir())) == 1 + logs.KEPT
    assert all(path.stat().st_size <= 1000 for path in tmp_path.iterdir())


def test_warnings_come_to_the_terminal_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with logs.writing(tmp_path):
        logging.getLogger("retrace.x").info("quiet")
        logging.getLogger("retrace.x").warning("loud")

    said = capsys.readouterr().err
    assert "loud" in said and "quiet" not in said


def _broken_requests(url: str, mark: str) -> None:
    """Requests that are none, with something secret in each."""
    host, port = url.removeprefix("http://").split(":")
    for raw in (
        f"GET /{mark} HTTP/9.9\r\n\r\n",
        f"{mark} / HTTP/1.1\r\nHost: x\r\n\r\n",
        f"POST /auth/token HTTP/1.1\r\nHost: x\r\nContent-Length: {mark}\r\n\r\n",
        f"GET / HTTP/1.1\r\n{mark}\r\n\r\n",
        f"POST /predict/beats HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{mark}",
    ):
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            connection.sendall(raw.encode())
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1 << 16)


@dataclass(frozen=True)
class Told:
    """What a server that has ended wrote: app.log, all it said, its database.

    who: its admin's id. secret: what must stand neither in text nor in database; sent: in no text.
    """

    log: str
    text: str
    dump: str
    who: str
    secret: list[str]
    sent: list[str]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """Send secrets and signals to a real server by every way there is, then read what it wrote."""
    mark = f"mark{secrets.token_hex(8)}"
    signal = np.load(ROOT / "examples/beats/N.npy").ravel().tolist()
    with running(tmp_path_factory.mktemp("logs") / "home") as server:
        with httpx2.Client(base_url=server.url) as client:
            _accounts(client, server.admin, mark)
            login = {"username": server.admin, "password": PASSWORD}
            tokens = client.post("/auth/token", data=login).json()
            headers = {"Authorization": f"Bearer {tokens['access_token']}"}
            key = client.post("/keys", json={"name": "feed"}, headers=headers).json()["key"]
            who = client.get("/users/me", headers=headers).json()["id"]
            client.get(f"/users/{who}", headers=headers)
            _odd_headers(client, headers, mark)
            _signals(client, headers, signal, mark)
        _broken_requests(server.url, mark)
    files = [*server.home.glob("*.log*"), server.home / "said.txt"]
    with sqlite3.connect(server.home / "retrace.db") as database:
        dump = "\n".join(database.iterdump())
    return Told(
        _said(server.home),
        "".join(path.read_text(encoding="utf-8", errors="replace") for path in files),
        dump,
        who,
        [PASSWORD, tokens["access_token"], tokens["refresh_token"], key],
        [mark, f"{signal[0]:.6f}", tokens["access_token"].split(".")[1], "?"],
    )


def _accounts(client: httpx2.Client, admin: str, mark: str) -> None:
    client.post("/auth/token", data={"username": admin, "password": mark})
    client.post("/auth/token", data={"username": mark, "password": mark})
    email = f"{mark}@example.org"
    client.post("/auth/register", json={"email": email, "password": f"{mark}-long"})
    client.post("/auth/forgot", json={"email": email})
    client.post("/auth/reset", json={"token": mark, "password": mark})
    client.post("/auth/refresh", json={"refresh_token": mark})


def _odd_headers(client: httpx2.Client, headers: dict[str, str], mark: str) -> None:
    for path in ("/health", "/users/me", "/recordings", "/no/such", f"/jobs/{mark}"):
        client.get(path, params={"token": mark, mark: "x"}, headers=headers)
        client.get(path, headers={"Authorization": f"Bearer {mark}", "X-API-Key": mark})
        client.get(path, headers={"Cookie": mark, "User-Agent": mark, "Referer": mark})


def _signals(
    client: httpx2.Client, headers: dict[str, str], signal: list[float], mark: str
) -> None:
    for body in (
        {"model": "mitdb_ds1_ds2_simple_cnn", "beats": [signal]},
        {"beats": [[mark]]},
        {mark: [signal]},
        {"fs": 360, "leads": {mark: signal * 20}},
    ):
        client.post("/predict/beats", json=body, headers=headers)
        client.post("/predict/samples", json=body, headers=headers)
    client.post("/predict/beats", content=b"\xff" + mark.encode(), headers=headers)
    csv = f"MLII {mark}\n" + "\n".join(map(str, signal))
    for name in (f"{mark}.csv", f"../{mark}.csv", f"{mark}.exe"):
        client.post(
            "/predict/recording",
            files={"files": (name, csv)},
            data={"fs": "360", "person": mark},
            headers=headers,
        )


def test_nothing_that_was_sent_is_in_the_log(told: Told) -> None:
    assert " POST /predict/beats 200 " in told.text
    assert " POST /predict/recording 422 " in told.text
    for hidden in told.secret + told.sent:
        assert hidden not in told.text


def test_the_database_holds_digests_of_what_is_secret(told: Told) -> None:
    assert "argon2id" in told.dump
    for hidden in told.secret:
        assert hidden not in told.dump


def test_requests_are_logged_by_route_with_who_asked(told: Told) -> None:
    (line,) = [line for line in told.log.splitlines() if "GET /users/{id}" in line]

    assert LINE.fullmatch(line)
    assert re.search(rf"GET /users/\{{id\}} 200 \d+\.\d ms {told.who}$", line)


def test_the_line_of_a_request_can_be_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for log in (True, False):
        caplog.clear()
        with in_process(service_settings(tmp_path, log_requests=log)) as client:
            client.get("/health")

        assert ("retrace.requests" in {record.name for record in caplog.records}) is log
