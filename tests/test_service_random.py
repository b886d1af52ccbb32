"""A random row is one of the test part of the model's own run, with its label, or there is none."""

import hashlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import inspect
from starlette.testclient import TestClient

from retrace.deploy.predictor import Predictor
from retrace.service import predictions
from retrace.service.access import Principal
from tests.heartbeats import MITBIH
from tests.linear_model import beats_of
from tests.serving import accounts_of, in_process, service_settings
from tests.test_service_pool import publish

FEATURES = ["rr_previous", "likeness"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with the data of a run, and models with and without features of that run."""
    X = beats_of(MITBIH)
    folder = tmp_path / "data/waveforms"
    folder.mkdir(parents=True)
    np.save(folder / "X.npy", X)
    MITBIH.write(folder)
    labels = [("N", "S", "V")[row % 3] for row in range(len(X))]
    subsets = ["test" if row % 4 == 3 else "train" for row in range(len(X))]
    (tmp_path / "data/split.csv").write_text(
        "segment_id,label,subset\n"
        + "".join(f"s{n},{a},{b}\n" for n, (a, b) in enumerate(zip(labels, subsets, strict=True)))
    )
    (folder / "segments.csv").write_text(
        "segment_id,record_id,patient_id,start,label,rr_previous,likeness\n"
        + "".join(f"s{n},r{n},p,0.0,{a},{0.5 + n / 1000},0.9\n" for n, a in enumerate(labels))
    )
    digest = hashlib.sha256((tmp_path / "data/split.csv").read_bytes()).hexdigest()
    hashes = {"weights": "0" * 64, "split": digest}
    publish(tmp_path, "mine", hashes=hashes)
    publish(tmp_path, "told", hashes=hashes, features=FEATURES)
    publish(tmp_path, "another", hashes=hashes | {"split": "1" * 64})
    return tmp_path


@pytest.fixture
def client(root: Path) -> Iterator[TestClient]:
    with in_process(service_settings(root, root=root, models="mine,told,another")) as client:
        client.headers = accounts_of(client)["staff"].headers
        yield client


def test_the_row_is_one_of_the_test_part_with_its_label(client: TestClient, root: Path) -> None:
    predictor = Predictor(root / "recipes/mine/model.onnx")
    X = np.load(root / "data/waveforms/X.npy")
    expected = np.round(predictor.probabilities(X), 6).tolist()

    for seed in range(20):
        answer = client.get("/predict/random", params={"model": "mine", "seed": seed}).json()
        row = expected.index(answer["segments"][0]["probabilities"])
        assert row % 4 == 3
        assert answer["truth"] == ("N", "S", "V")[row % 3]


def test_a_seed_gives_the_same_row_again_and_none_another(client: TestClient) -> None:
    def rows(**params: Any) -> list[Any]:
        asked = [client.get("/predict/random", params=params).json() for _ in range(5)]
        return [one["segments"][0]["probabilities"] for one in asked]

    same = rows(seed=3)
    assert same == [same[0]] * 5
    assert rows() != [same[0]] * 5


def test_a_model_gets_the_features_that_it_asks_for(client: TestClient, root: Path) -> None:
    answer = client.get("/predict/random", params={"model": "told", "seed": 1}).json()

    predictor = Predictor(root / "recipes/told/model.onnx")
    X = np.load(root / "data/waveforms/X.npy")
    told = np.array([[0.5 + n / 1000, 0.9] for n in range(len(X))], np.float32)
    expected = np.round(predictor.probabilities(X, told), 6)[3::4].tolist()
    assert answer["segments"][0]["probabilities"] in expected


def test_a_row_that_is_flagged_raises_no_alert(client: TestClient) -> None:
    for name in ("S", "V"):
        client.put(f"/rules/{name}", json={"probability": 0.01}).raise_for_status()
    params = {"model": "mine"}
    found = [client.get("/predict/random", params=params | {"seed": n}).json() for n in range(9)]

    assert any(answer["flagging"]["flagged"] and answer["flags"] for answer in found)
    assert client.get("/alerts").json() == []


def test_the_signal_is_read_only_where_it_is_asked_for(client: TestClient) -> None:
    service: Any = client.app.state.service  # type: ignore[attr-defined]
    answer = client.get("/predict/random", params={"model": "mine", "seed": 1}).json()
    who = Principal("", "", "staff", None)

    with service.database.read() as session:
        row = predictions.visible(session, who, answer["id"])
        assert "signal" in inspect(row).unloaded
        assert row.signal


def test_outcome_and_truth_are_logged(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    answer = client.get("/predict/random", params={"model": "mine", "seed": 1}).json()

    outcome = answer["segments"][0]["class"]
    assert f"model mine, outcome {outcome}, truth {answer['truth']}" in caplog.text


def test_the_data_of_another_run_are_refused_with_the_remedy(
    client: TestClient, root: Path
) -> None:
    answer = client.get("/predict/random", params={"model": "another"})
    assert answer.status_code == 409
    assert "split.csv is of another run" in answer.json()["detail"]
    assert "retrace recipe another" in answer.json()["detail"]

    domain = root / "data/waveforms/domain.json"
    domain.write_text(json.dumps(MITBIH.to_dict() | {"fs": 125.0}))
    answer = client.get("/predict/random", params={"model": "mine"})
    assert answer.status_code == 409
    assert "fs 125.0, the model's is" in answer.json()["detail"]

    (root / "data/split.csv").unlink()
    answer = client.get("/predict/random", params={"model": "mine"})
    assert answer.status_code == 409
    assert str(root) not in answer.json()["detail"]


def test_without_a_name_a_model_is_asked_whose_test_part_is_here(root: Path) -> None:
    settings = service_settings(root, root=root, models="another,mine")  # the first: the default
    with in_process(settings) as client:
        client.headers = accounts_of(client)["staff"].headers

        assert client.get("/predict/random").json()["model"]["name"] == "mine"
