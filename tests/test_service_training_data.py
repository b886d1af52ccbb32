"""Uploaded recordings that trainings learn from: whose, how they are written, and what is left
out."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from retrace.errors import InputError
from retrace.files import read_csv
from retrace.service import recordings, registry, training_data
from retrace.service.tables import Recording
from retrace.service.training_data import Form, candidates, chosen, collect
from retrace.service.truths import kept_out
from retrace.signals.records import read_wfdb
from tests.retraining import files, people, upload
from tests.serving import Person, in_process, service_settings

__all__ = ["people"]  # fixture

LABELS = {"N": "N", "A": "S", "V": "V"}
FORM = Form(("MLII|II",), LABELS)
NAMES = [name for name in (f"Erika Mustermann {n}" for n in range(40)) if not kept_out(name)]
OUT = next(name for name in (f"Erika Mustermann {n}" for n in range(40)) if kept_out(name))


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("client")
    with in_process(service_settings(folder, root=folder, models="")) as client:
        yield client


@pytest.fixture
def service(client: TestClient) -> Iterator[Any]:
    """Without a recording, before and behind."""
    service: Any = client.app.state.service  # type: ignore[attr-defined]
    yield service
    recordings.remove(service, Recording.id.is_not(None), by=None, why="test")


def selected(service: Any, data: Any = "all") -> list[str]:
    with service.database.read() as session:
        return [row.id for row in chosen(session, "model", data)]


def collected(service: Any, folder: Path) -> training_data.Collected:
    with service.database.read() as session:
        rows = chosen(session, "model", "all")
    return collect(service, rows, FORM, folder, lambda share: None)


def test_learned_from_are_labelled_recordings_of_known_persons_who_are_not_kept_out(
    service: Any, client: TestClient, people: dict[str, Person], tmp_path: Path
) -> None:
    who, paths = people["staff"], files(tmp_path / "one")
    known = upload(client, who, paths, NAMES[0])
    upload(client, who, paths, None)
    upload(client, who, files(tmp_path / "other", level=0.1), OUT)
    plain = [("files", (path.name, path.read_bytes())) for path in paths if path.suffix != ".atr"]
    client.post("/recordings", files=plain, data={"person": NAMES[0]}, headers=who.headers)

    assert selected(service) == [known]


def test_newest_are_those_that_production_has_not_learned_from(
    service: Any,
    client: TestClient,
    people: dict[str, Person],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    paths = files(tmp_path / "one")
    first, second = (upload(client, people["staff"], paths, name) for name in NAMES[:2])

    class Production:
        data = {"recordings": [first]}  # noqa: RUF012

    monkeypatch.setattr(registry, "production", lambda session, model: Production)

    assert selected(service, "newest") == [second]
    assert set(selected(service, "all")) == {first, second}


def test_whatever_came_is_written_at_one_rate_without_a_name(
    service: Any, client: TestClient, people: dict[str, Person], tmp_path: Path
) -> None:
    """A sine of 1 Hz stays one, beats stay where they are, and another level is none."""
    who = people["staff"]
    ids = [
        upload(client, who, files(tmp_path / "a", level=200.0), NAMES[0]),
        upload(client, who, files(tmp_path / "b", fs=250, lead="II"), NAMES[1]),
        *(upload(client, who, files(tmp_path / "a"), name) for name in NAMES[2:5]),
    ]

    found = collected(service, tmp_path / "own")

    assert set(found.recordings) == set(ids)
    assert found.left_out == {}
    for name in ids[:2]:
        record = read_wfdb(tmp_path / "own" / name)
        assert (record.fs, record.signal.shape) == (360, (1, 3600))
        assert record.beats.tolist() == [360, 720, 1080, 1440, 1800]
        assert "".join(record.symbols) == "NNVNA"
        peak = record.signal[0, record.beats] - np.median(record.signal)
        assert peak == pytest.approx(1.0, abs=0.1)
    whole = b"".join(path.read_bytes() for path in (tmp_path / "own").iterdir())
    assert b"ustermann" not in whole
    assert hashlib.sha256(NAMES[0].encode()).hexdigest()[:16].encode() not in whole
    persons = [row["patient_id"] for row in read_csv(tmp_path / "own/persons.csv")]
    assert sorted(persons) == [f"own{n:05}" for n in range(1, 6)]


def test_what_cannot_be_learned_from_is_left_out_and_counted(
    service: Any, client: TestClient, people: dict[str, Person], tmp_path: Path
) -> None:
    who, good = people["staff"], files(tmp_path / "good")
    for name in NAMES[:5]:
        upload(client, who, good, name)
    upload(client, who, files(tmp_path / "lead", lead="V1"), NAMES[5])
    upload(client, who, files(tmp_path / "beats", symbols="EEE"), NAMES[5])
    damaged = upload(client, who, good, NAMES[5])
    (service.settings.home / "recordings" / damaged / "Mustermann.dat").write_bytes(b"0")
    cut = upload(client, who, good, NAMES[5])
    marks = service.settings.home / "recordings" / cut / "Mustermann.atr"
    marks.write_bytes(marks.read_bytes()[:-3])

    found = collected(service, tmp_path / "own")

    assert len(found.recordings) == 5
    assert found.left_out == {
        "recordings without the lead": 1,
        "recordings with a flat lead or without beats": 1,
        "recordings that are damaged or were deleted": 2,
    }
    assert len(list((tmp_path / "own").iterdir())) == 3 * 5 + 1


def test_too_few_persons_are_refused_and_nothing_is_written(
    service: Any, client: TestClient, people: dict[str, Person], tmp_path: Path
) -> None:
    good = files(tmp_path / "good")
    for name in (*NAMES[:4], NAMES[0]):
        upload(client, people["staff"], good, name)
    upload(client, people["staff"], files(tmp_path / "lead", lead="V1"), NAMES[5])

    with service.database.read() as session:
        rows = chosen(session, "model", "all")
        with pytest.raises(InputError, match="of 4 persons to learn from, and at least 5"):
            training_data.check(rows[1:], "all", FORM)
        training_data.check(rows, "all", FORM)
    with pytest.raises(
        InputError, match=r"of 4 persons can be used.*1 recordings without the lead"
    ):
        collected(service, tmp_path / "own")
    assert not (tmp_path / "own").exists()
    assert not list(tmp_path.glob(".own*"))


def test_without_ds1_a_class_without_a_beat_is_refused_at_once(
    service: Any, client: TestClient, people: dict[str, Person], tmp_path: Path
) -> None:
    for name in NAMES[:5]:
        upload(client, people["staff"], files(tmp_path / "one", symbols="NNVN"), name)
    with service.database.read() as session:
        rows = chosen(session, "model", "newest")

    training_data.check(rows, "all", FORM)
    with pytest.raises(InputError, match="no beat of class S is among the labelled recordings"):
        training_data.check(rows, "newest", FORM)


def test_no_more_is_looked_at_than_is_needed(
    service: Any, client: TestClient, people: dict[str, Person], tmp_path: Path
) -> None:
    """It is done while nobody else can write."""
    paths = files(tmp_path / "one")
    for name in NAMES[:7]:
        upload(client, people["staff"], paths, name)
    with service.database.read() as session:
        rows = candidates(session, "model", "newest")
        training_data.check(rows, "newest", FORM)
        assert len(list(rows)) == 7 - training_data.FEWEST


def test_nothing_is_learned_from_of_which_a_kept_out_person_has_a_copy(
    service: Any, client: TestClient, people: dict[str, Person], tmp_path: Path
) -> None:
    paths = files(tmp_path / "one")
    upload(client, people["staff"], paths, NAMES[0])
    other = upload(client, people["staff"], files(tmp_path / "two", level=0.1), NAMES[1])
    upload(client, people["staff"], paths, OUT)

    assert selected(service) == [other]


def test_what_is_too_long_to_be_held_as_a_whole_is_left_out(
    service: Any,
    client: TestClient,
    people: dict[str, Person],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    paths = files(tmp_path / "one")
    for name in NAMES[:5]:
        upload(client, people["staff"], paths, name)
    monkeypatch.setattr(training_data, "LONGEST", 3600)
    upload(client, people["staff"], files(tmp_path / "long", fs=500), NAMES[5])
    found = collected(service, tmp_path / "own")

    assert found.left_out == {"recordings too long to be learned from": 1}


def test_a_recording_that_was_deleted_is_missed(
    service: Any, client: TestClient, people: dict[str, Person], tmp_path: Path
) -> None:
    paths = files(tmp_path / "one")
    ids = [upload(client, people["staff"], paths, name) for name in NAMES[:2]]
    with service.database.read() as session:
        training_data.check_present(session, ids)
    recordings.remove(service, Recording.id == ids[0], by=None, why="test")

    with service.database.read() as session, pytest.raises(InputError, match="1 of its recordings"):
        training_data.check_present(session, ids)
