"""From an empty database to a promoted model that answers: train, transform, validate, register,
promote, on real records of MIT-BIH."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from retrace.service import worker
from tests.scratch import commit_all, copy_repository
from tests.serving import Person, accounts_of, in_process, service_settings

MITDB = Path(os.environ.get("RETRACE_MIRROR", "")) / "physionet.org/files/mitdb/1.0.0"
RECIPE = "mitdb_ds1_ds2_random_forest"
ASKED: dict[str, Any] = {
    "recipe": RECIPE,
    "params": {"models.random_forest.trees": 10, "evaluate.resamples": 100},
}

pytestmark = pytest.mark.skipif(
    not (MITDB / "100.dat").is_file(), reason="RETRACE_MIRROR is no folder with mitdb"
)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    """The service on an empty database, in a repository that has published no model."""
    root = copy_repository(tmp_path / "repository")
    commit_all(root)
    settings = service_settings(tmp_path, root=root, models="", job_minutes=60)
    with in_process(settings) as client:
        yield client


def trained(client: TestClient, who: Person) -> dict[str, Any]:
    """The version that a training made."""
    answer = client.post("/trainings", json=ASKED, headers=who.headers)
    assert answer.status_code == 202, answer.text
    service: Any = client.app.state.service  # type: ignore[attr-defined]
    assert worker.work_once(service, "training")
    job = client.get(f"/trainings/{answer.json()['job']}", headers=who.headers).json()
    assert job["state"] == "done", job["error"]
    listed = client.get(f"/registry/{RECIPE}", headers=who.headers).json()
    version: dict[str, Any] = listed["versions"][0]
    return version


def moved(client: TestClient, who: Person, how: str, **asked: Any) -> None:
    """Change what is in production. how: promote, rollback."""
    answer = client.post(f"/registry/{RECIPE}/{how}", json=asked, headers=who.headers)
    assert answer.status_code == 200, answer.text
    service: Any = client.app.state.service  # type: ignore[attr-defined]
    service.follower.follow()


def answered(client: TestClient, who: Person) -> Any:
    """The answer for a record of the test part."""
    ends = ("hea", "dat")
    files = [("files", (f"100.{end}", (MITDB / f"100.{end}").read_bytes())) for end in ends]
    given = {"person": "p100", "model": RECIPE}
    return client.post("/predict/recording", data=given, files=files, headers=who.headers)


def test_from_an_empty_database_to_a_promoted_model_that_answers(client: TestClient) -> None:
    who = accounts_of(client)["scientist"]
    assert client.get("/models", headers=who.headers).json() == []

    first = trained(client, who)

    assert (first["number"], first["production"], first["source"]) == (1, False, "training")
    assert 0.8 < first["metrics"]["test"]["accuracy"] < 1
    assert answered(client, who).status_code == 404  # registered is not promoted

    moved(client, who, "promote", version=1)

    answer = answered(client, who)
    assert answer.status_code == 200, answer.text
    assert answer.json()["model"]["version"] == first["version"]
    beats = [segment["class"] for segment in answer.json()["segments"]]
    assert len(beats) > 2200 and beats.count("N") > 0.95 * len(beats)  # a quiet record

    second = trained(client, who)  # the same again: exactly the same

    assert second["weights"] == first["weights"] and second["file"] == first["file"]
    validation = second["comparison"]["validation"]
    assert second["comparison"]["against"] == 1 and validation["persons"] == 5
    assert {score["difference"] for score in validation["scores"].values()} == {0}
    moved(client, who, "promote", version=2)
    moved(client, who, "rollback")
    listed = client.get(f"/registry/{RECIPE}", headers=who.headers).json()
    assert listed["production"] == 1
    done = [(one["action"], one["version"]) for one in reversed(listed["promotions"])]
    assert done == [("promote", 1), ("promote", 2), ("rollback", 1)]
