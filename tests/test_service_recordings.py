"""Recordings are kept whole or not at all, seen by whom they concern, and gone once removed."""

import errno
import os
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from sqlalchemy import func, select, update
from sqlalchemy.exc import OperationalError
from starlette.testclient import TestClient

from retrace.deploy.inputs import Ready, Refused, open_inputs
from retrace.service import audit, recordings, retention, tables
from tests.hostile import ATR, DAT, HEADER, LABELLED, npy, record, table, valid
from tests.input_files import waves
from tests.serving import (
    SERVER,
    Person,
    accounts_of,
    in_process,
    log_in,
    postgres_database,
    running,
    service_settings,
)

MIRROR = os.environ.get("RETRACE_MIRROR", "")
Files = list[tuple[str, tuple[str, bytes]]]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def client(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestClient]:
    """One application for all tests of this file."""
    home = tmp_path_factory.mktemp("recordings")
    if request.param == "sqlite":
        with in_process(service_settings(home)) as client:
            yield client
    elif not SERVER:
        pytest.skip("RETRACE_TEST_POSTGRES names no PostgreSQL server")
    else:
        with (
            postgres_database() as url,
            in_process(service_settings(home, database_url=url)) as client,
        ):
            yield client


@pytest.fixture(scope="module")
def people(client: TestClient) -> dict[str, Person]:
    return accounts_of(client)


@pytest.fixture
def service(client: TestClient) -> Iterator[Any]:
    """Behind each test, each row has its files, each folder its row, and nothing is incoming."""
    service = client.app.state.service  # type: ignore[attr-defined]
    yield service
    home = service.settings.home
    with service.database.read() as session:
        rows = list(session.scalars(select(tables.Recording)))
    assert {path.name for path in (home / "recordings").iterdir()} == {row.id for row in rows}
    assert [path.name for path in (home / "incoming").iterdir()] == [".lock"]
    for row in rows:
        assert digest(home / "recordings" / row.id) == row.sha256


def digest(folder: Path) -> str:
    return sha256(b"".join(path.read_bytes() for path in sorted(folder.iterdir()))).hexdigest()


def upload(
    client: Any,
    who: Person,
    files: list[tuple[str, bytes]],
    route: str = "/recordings",
    **data: str,
) -> Any:
    parts = [("files", file) for file in files]
    return client.post(route, files=parts, data=data, headers=who.headers)


@pytest.mark.parametrize("given", valid(), ids=lambda given: given.name)
def test_every_format_is_kept_and_opened_as_it_was(
    client: TestClient, people: dict[str, Person], service: Any, tmp_path: Path, given: Any
) -> None:
    headers = people["scientist"].headers | given.headers
    answer = client.post(given.route, content=given.body, headers=headers)
    assert answer.status_code == 201, answer.text
    said = answer.json()

    with service.database.read() as session:
        row = session.get(tables.Recording, said["id"])
    found = recordings.opened(service, row)

    assert (found.fs, list(found.leads), found.samples) == (360, said["leads"], said["samples"])
    assert (said["person"], said["age"], said["sex"]) == (None, None, None)
    signal = found.read(0, found.samples, (0, 1))
    if "edf" not in given.name:
        np.testing.assert_allclose(signal, waves(), atol=0.003)
    assert (said["labels"], found.beats is not None) == (
        ({"N": 2, "V": 1}, True) if given.route == LABELLED else (None, False)
    )


@pytest.mark.parametrize("keep", [False, True])
def test_age_and_sex_stay_only_where_the_settings_say_so(
    client: TestClient,
    people: dict[str, Person],
    service: Any,
    monkeypatch: pytest.MonkeyPatch,
    keep: bool,
) -> None:
    setting = "keep" if keep else "strip"
    monkeypatch.setattr(service.settings, "header_comments", setting)
    said = upload(client, people["staff"], record()).json()
    kept = (service.settings.home / "recordings" / said["id"] / "r1.hea").read_text()

    assert (said["age"], said["sex"]) == ((69, "M") if keep else (None, None))
    assert kept == (HEADER if keep else HEADER.replace("# 69 M\n", ""))


def test_who_sees_and_removes_a_recording(
    client: TestClient, people: dict[str, Person], service: Any
) -> None:
    said = upload(client, people["scientist"], record(), person="p-1").json()
    path = f"/recordings/{said['id']}"

    seen = {name: client.get(path, headers=who.headers).status_code for name, who in people.items()}
    assert seen == {"scientist": 200, "staff": 200, "admin": 404, "none": 403}
    assert client.get(path).status_code == 401
    for name in ("staff", "admin", "scientist"):
        listed = client.get("/recordings", headers=people[name].headers).json()
        assert (said in listed) == (name != "admin")
    removed = [
        client.delete(path, headers=people[name].headers).status_code
        for name in ("none", "staff", "scientist", "scientist")
    ]
    assert removed == [403, 403, 204, 404]
    said = upload(client, people["scientist"], record()).json()
    path = f"/recordings/{said['id']}"
    assert client.delete(path, headers=people["admin"].headers).status_code == 204


def test_pages_follow_each_other(
    client: TestClient, people: dict[str, Person], service: Any
) -> None:
    made = [upload(client, people["staff"], record(), person="p-p").json() for _ in range(3)]
    found: list[Any] = []
    while True:
        query = {"limit": "1", "person": "p-p"} | ({"before": found[-1]["id"]} if found else {})
        page = client.get("/recordings", params=query, headers=people["staff"].headers).json()
        if not page:
            break
        found += page
    assert found == sorted(made, key=lambda one: one["id"], reverse=True)


def test_labelled_recordings_need_labels_and_the_right_role(
    client: TestClient, people: dict[str, Person], service: Any
) -> None:
    labelled = record(None, None, ("r1.atr", ATR))
    for name, code in (("staff", 201), ("scientist", 201), ("admin", 403), ("none", 403)):
        assert upload(client, people[name], labelled, LABELLED).status_code == code
    with service.database.read() as session:
        before = session.scalar(select(func.count()).select_from(tables.Recording))
    answer = upload(client, people["staff"], record(), LABELLED)
    assert (answer.status_code, "no label" in answer.json()["detail"]) == (422, True)
    with service.database.read() as session:
        assert session.scalar(select(func.count()).select_from(tables.Recording)) == before


def test_a_recording_that_is_too_long_is_refused(
    client: TestClient,
    people: dict[str, Person],
    service: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(service.settings, "longest_hours", 9 / 3600)
    for files in (record(), [("a.csv", table())], [("a.npy", npy(waves()))]):
        answer = upload(client, people["staff"], files, fs="360")
        assert answer.status_code == 413, answer.text
        assert "hours; at most 0.0025" in answer.json()["detail"]


def test_a_commit_that_fails_leaves_no_file(
    client: TestClient,
    people: dict[str, Person],
    service: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def down(*given: Any, **options: Any) -> None:
        assert len(list((service.settings.home / "recordings").iterdir())) == before + 1
        raise OperationalError("INSERT", {}, sqlite3.OperationalError("gone"))

    before = len(list((service.settings.home / "recordings").iterdir()))
    monkeypatch.setattr(audit, "record", down)
    assert upload(client, people["staff"], record()).status_code == 503
    assert len(list((service.settings.home / "recordings").iterdir())) == before


def test_an_account_that_goes_meanwhile_is_told(
    client: TestClient,
    people: dict[str, Person],
    service: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = recordings.store

    def late(service: Any, who: Any, *given: Any, **options: Any) -> Any:
        return real(service, replace(who, user_id=tables.new_id()), *given, **options)

    monkeypatch.setattr(recordings, "store", late)
    assert upload(client, people["staff"], record()).status_code == 409


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_full_disk_is_said_and_leaves_nothing(
    client: TestClient,
    people: dict[str, Person],
    service: Any,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
) -> None:
    def full(*given: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(*((os, "fsync", full) if call == "fsync" else (Path, "rename", full)))
    answer = upload(client, people["staff"], record())

    assert (answer.status_code, "disk is full" in answer.json()["detail"]) == (507, True)


def fill(service: Any, user_id: str, recording_id: str) -> str:
    """Give a recording a prediction with feedback and an alert, and a job; the prediction's id."""
    with service.database.write() as session:
        prediction = tables.Prediction(
            id=tables.new_id(), user_id=user_id, recording_id=recording_id, kind="recording",
            model="m", version="0", segments=1, answer=b"", signal=b"1234", shape=[1],
        )  # fmt: skip
        session.add(prediction)
        session.flush()
        session.add_all(
            [
                tables.Feedback(
                    prediction_id=prediction.id, user_id=user_id, answered="N", label="V"
                ),
                tables.Alert(prediction_id=prediction.id, name="V", level="segment", reason="."),
                tables.Job(
                    user_id=user_id, recording_id=recording_id, kind="recording", request={}
                ),
            ]
        )
        return prediction.id


def counted(service: Any) -> dict[str, int]:
    kinds = (tables.Prediction, tables.Feedback, tables.Alert, tables.Job)
    with service.database.read() as session:
        return {
            kind.__tablename__: session.scalar(select(func.count()).select_from(kind))
            for kind in kinds
        }


def test_a_person_goes_with_all_that_was_found_in_the_recordings(
    client: TestClient, people: dict[str, Person], service: Any
) -> None:
    before = counted(service)
    for name in ("staff", "scientist"):
        said = upload(client, people[name], record(), person="Zoë / 1").json()
        fill(service, people[name].id, said["id"])
    other = upload(client, people["staff"], record(), person="p-2").json()
    path = "/persons/Zo%C3%AB%20-%201"

    assert client.delete(path, headers=people["staff"].headers).status_code == 403
    assert client.delete(path, headers=people["admin"].headers).json() == {"recordings": 0}
    path = "/persons/Zo%C3%AB%20%2F%201"
    assert client.delete(path, headers=people["admin"].headers).json() == {"recordings": 2}
    assert counted(service) == before
    seen = client.get(f"/recordings/{other['id']}", headers=people["staff"].headers)
    assert seen.status_code == 200


def test_an_account_goes_with_its_recordings(
    client: TestClient, people: dict[str, Person], service: Any
) -> None:
    account = {"email": "leaves@example.org", "password": "correct-horse-battery"}
    made = client.post("/auth/register", json=account).json()
    admin = people["admin"].headers
    client.patch(f"/users/{made['id']}", json={"role": "staff"}, headers=admin)
    who = Person(made["id"], account["email"], log_in(client, account["email"]))
    before = counted(service)
    said = upload(client, who, record()).json()
    fill(service, who.id, said["id"])

    assert client.delete(f"/users/{who.id}", headers=admin).status_code in (200, 204)
    assert counted(service) == before
    assert not (service.settings.home / "recordings" / said["id"]).exists()


def test_what_is_older_than_it_is_kept_goes(
    client: TestClient,
    people: dict[str, Person],
    service: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    old, new = (upload(client, people["staff"], record()).json() for _ in range(2))
    late = fill(service, people["staff"].id, new["id"])
    with service.database.write() as session:
        ago = tables.now() - timedelta(days=31)
        session.execute(
            update(tables.Recording).where(tables.Recording.id == old["id"]).values(created=ago)
        )
        session.execute(
            update(tables.Prediction).where(tables.Prediction.id == late).values(created=ago)
        )
    retention.expire(service)  # no days are set: all is kept
    monkeypatch.setattr(service.settings, "retention_days", 30)
    retention.expire(service)

    with service.database.read() as session:
        assert session.get(tables.Recording, old["id"]) is None
        assert session.get(tables.Recording, new["id"]) is not None
        assert session.get(tables.Prediction, late) is None


def test_what_expires_goes_in_groups_between_which_others_write(
    client: TestClient,
    people: dict[str, Person],
    service: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = [upload(client, people["staff"], record()).json()["id"] for _ in range(3)]
    alone = fill(service, people["staff"].id, kept[0])
    with service.database.write() as session:
        for table, ids in ((tables.Recording, kept), (tables.Prediction, [alone])):
            ago = tables.now() - timedelta(days=31)
            session.execute(update(table).where(table.id.in_(ids)).values(created=ago))
    transactions = []
    real = service.database.write

    def counted_write() -> Any:
        with service.database.read() as session:
            left = select(func.count()).where(tables.Recording.id.in_(kept))
            transactions.append(session.scalar(left))
        return real()

    monkeypatch.setattr(service.database, "write", counted_write)
    monkeypatch.setattr(service.settings, "retention_days", 30)
    monkeypatch.setattr(retention, "GROUP", 1)
    retention.expire(service)

    assert transactions[:4] == [3, 2, 1, 0]


def test_a_start_sweeps_what_a_crash_left_but_not_what_another_server_writes(
    client: TestClient, people: dict[str, Person], service: Any, tmp_path: Path
) -> None:
    kept = upload(client, people["staff"], record()).json()["id"]
    home = service.settings.home
    left = [home / "incoming" / tables.new_id(), home / "recordings" / tables.new_id()]
    for folder in left:
        folder.mkdir()
        (folder / "r1.dat").write_bytes(DAT)

    with retention.kept(service):
        assert all(folder.exists() for folder in left)  # the first server is at work
    retention.sweep(service, 3600)
    assert all(folder.exists() for folder in left)
    retention.sweep(service)

    assert not any(folder.exists() for folder in left)
    assert (home / "recordings" / kept).exists()
    alone = replace(service, settings=service_settings(tmp_path))
    crashed = alone.settings.home / "incoming" / "x"
    crashed.mkdir(parents=True)
    with retention.kept(alone):
        assert not crashed.exists()


def test_a_killed_server_loses_no_recording_that_it_accepted(tmp_path: Path) -> None:
    home, kept = tmp_path / "var", []
    files = [("files", file) for file in record(None, None, ("r1.atr", ATR))]
    with running(home, RETRACE_WORKER="false") as server:
        with httpx2.Client(base_url=server.url) as client:
            headers = log_in(client, server.admin)

        def send() -> None:
            with httpx2.Client(base_url=server.url, headers=headers, timeout=30) as client:
                while True:
                    try:
                        answer = client.post("/recordings", files=files)
                    except httpx2.TransportError:
                        return
                    assert answer.status_code == 201
                    kept.append(answer.json()["id"])
                    if len(kept) == 12:
                        server.process.kill()

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: send(), range(4)))
        server.process.wait()
    half = home / "incoming" / tables.new_id()
    half.mkdir()
    with in_process(service_settings(tmp_path)) as again:  # the same folder
        headers = log_in(again, server.admin)
        rows = again.get("/recordings", params={"limit": 500}, headers=headers).json()
        assert set(kept) <= {row["id"] for row in rows}
        assert {path.name for path in (home / "recordings").iterdir()} == {r["id"] for r in rows}
        assert all(digest(home / "recordings" / row["id"]) == row["sha256"] for row in rows)
        assert not half.exists()


@pytest.mark.skipif(not MIRROR, reason="RETRACE_MIRROR names no mirror of the data sets")
def test_record_100_is_kept_as_it_was_published(
    client: TestClient, people: dict[str, Person], service: Any
) -> None:
    folder = Path(MIRROR) / "physionet.org/files/mitdb/1.0.0"
    files = [
        (f"100.{kind}", (folder / f"100.{kind}").read_bytes()) for kind in ("hea", "dat", "atr")
    ]
    said = upload(client, people["scientist"], files, LABELLED).json()
    published = next(open_inputs([folder / "100.hea"]))
    assert not isinstance(published, Ready | Refused)
    with service.database.read() as session:
        found = recordings.opened(service, session.get(tables.Recording, said["id"]))

    assert said["labels"] == {"(N": 1, "A": 33, "N": 2239, "V": 1}
    assert (published.age, found.age) == (69, None)
    assert found.beats is not None
    np.testing.assert_array_equal(found.beats, published.beats)
    np.testing.assert_array_equal(
        found.read(0, found.samples, (0, 1)), published.read(0, published.samples, (0, 1))
    )
