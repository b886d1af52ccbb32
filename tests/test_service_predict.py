"""Predictions over HTTP: what `retrace predict` answers, behind the model's signal domain."""

import csv
import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import delete, select, true
from starlette.testclient import TestClient

from retrace.deploy.command import predict
from retrace.deploy.judged import Limits
from retrace.deploy.predictor import Predictor
from retrace.service import access, predictions, problems
from retrace.service.routes import predict as predict_routes
from retrace.service.tables import Prediction, Recording, User
from retrace.signals.apply import prepare
from tests.heartbeats import KAGGLE, MITBIH, SCALOGRAMS, heartbeat
from tests.linear_model import beats_of
from tests.serving import accounts_of, in_process, service_settings
from tests.sources import ROOT
from tests.test_service_pool import publish

CLOSE = 1e-5
DOMAIN = json.loads(json.dumps(MITBIH.to_dict()))
FEATURES = ("rr_ratio", "likeness")


def published(folder: Path) -> Path:
    """A repository with models of beats, of beats with features, and of scalograms."""
    publish(folder, "beats")
    publish(folder, "features", features=list(FEATURES))
    publish(folder, "windows", domain=SCALOGRAMS, aggregate="mean")
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return published(tmp_path_factory.mktemp("root"))


@pytest.fixture(scope="module")
def client(root: Path) -> Iterator[TestClient]:
    """The service with these models, as staff see it."""
    settings = service_settings(root, root=root, models="beats,features,windows", concurrent=4)
    with in_process(settings) as client:
        client.headers = accounts_of(client)["staff"].headers
        yield client


@pytest.fixture
def several(
    tmp_path: Path, database_url: str
) -> Iterator[tuple[TestClient, dict[str, dict[str, str]]]]:
    """A service of its own on each database, and the headers of several people."""
    settings = service_settings(
        published(tmp_path), root=tmp_path, models="beats,features", database_url=database_url
    )
    with in_process(settings) as client:
        yield client, {name: one.headers for name, one in accounts_of(client).items()}


def probabilities(answer: Any) -> NDArray[np.float64]:
    assert answer.status_code == 200, answer.text
    return np.array([one["probabilities"] for one in answer.json()["segments"]])


def refused(answer: Any, status: int = 422) -> str:
    assert answer.status_code == status, answer.text
    said: str = answer.json()["detail"]
    return said


def beat(count: int = 1) -> list[Any]:
    return list(beats_of(MITBIH)[:count, 0].tolist())


@pytest.mark.parametrize("count", [1, 60])
def test_beats_get_the_probabilities_of_the_predictor(
    client: TestClient, root: Path, count: int
) -> None:
    X = beats_of(MITBIH)[:count]
    expected = Predictor(root / "recipes/beats/model.onnx").probabilities(X)

    for given in (X[:, 0].tolist(), X.tolist()):
        for domain in ({}, {"domain": "mitbih360"}, {"domain": DOMAIN}):
            answer = client.post("/predict/beats", json={"beats": given} | domain)
            np.testing.assert_allclose(probabilities(answer), expected, atol=CLOSE)
    said = answer.json()
    assert said["model"]["name"] == "beats"
    assert said["flagging"] == {
        "set": False,
        "flagged": None,
        "sentence": "Nothing is flagged: the staff have set no rule.",
    }


def test_features_are_told_by_name_in_any_order(client: TestClient, root: Path) -> None:
    X = beats_of(MITBIH)[:2]
    told = np.array([[0.7, 0.9], [1.0, -0.2]], np.float32)
    expected = Predictor(root / "recipes/features/model.onnx").probabilities(X, told)
    body = {"model": "features", "beats": X[:, 0].tolist()}
    right = {"likeness": [0.9, -0.2], "rr_ratio": [0.7, 1.0]}

    answer = client.post("/predict/beats", json=body | {"features": right})
    np.testing.assert_allclose(probabilities(answer), expected, atol=CLOSE)

    for features, said in (
        (None, "the model also asks for rr_ratio, likeness"),
        ({"likeness": [0.9, 1.0]}, "the model asks for rr_ratio, likeness"),
        (right | {"rr_ratio": [0.7]}, "of different lengths"),
        (right | {"likeness": [0.9, 2.0]}, "likeness 2; it is from -1 to 1"),
        (right | {"rr_ratio": [700, 1000]}, "rr_ratio 700; it is from 0 to 60"),
    ):
        assert said in refused(client.post("/predict/beats", json=body | {"features": features}))


WRONG: list[tuple[Any, str]] = [
    ({"beats": beats_of(KAGGLE)[:2, 0].tolist()}, "no value below 0"),
    ({"beats": (1000 * beats_of(MITBIH)[:2, 0]).tolist()}, "values up to"),
    ({"beats": beats_of(MITBIH)[:200, 0].T.tolist()}, r"shape (187, 1,"),
    ({"beats": [beat()[0], beat()[0][:-1]]}, "rows of different lengths"),
    ({"beats": [["1"] * 187]}, "not all are numbers"),
    ({"beats": [[None] * 187]}, "not all are numbers"),
    ({"beats": [[*beat()[0][1:], "1"]]}, "not all are numbers"),
    ({"beats": [[*beat()[0][1:], True]]}, "not all are numbers"),
    ({"beats": [[*beat()[0][1:], 10**400]]}, "not all are numbers"),
    ({"beats": [[*beat()[0][1:], [1]]]}, "rows of different lengths"),
    ({"beats": beat()} | {f"key {number}": 0 for number in range(101)}, "body: 101 errors"),
    ({"beats": [[0.0] * 187]}, "segment 0 is flat"),
    ({"beats": [[1e39, *beat()[0][1:]]]}, "some values are no numbers"),
    ({"beats": []}, "beats"),
    ({}, "beats"),
    ({"beats": beat(), "limit": 1}, "limit"),
    ({"beats": beat(), "domain": "kaggle125"}, "fs 125.0, the model's is 360"),
    ({"beats": beat(), "domain": "mitbih"}, "the named ones are mitbih360, kaggle125"),
    ({"beats": beat(), "domain": DOMAIN | {"normalise": "none"}}, "normalise 'none'"),
    ({"beats": beat(), "domain": {"fs": 360}}, "its domain is no signal domain"),
    ({"beats": beat(), "features": {"likeness": [1.0]}}, "the model asks for none"),
]


@pytest.mark.parametrize(("body", "said"), WRONG)
def test_what_the_domain_cannot_hold_is_refused_and_not_kept(
    client: TestClient, body: Any, said: str
) -> None:
    before = client.get("/predictions", params={"limit": 1}).json()
    answer = client.post("/predict/beats", content=json.dumps(body))

    assert said in refused(answer)
    assert client.get("/predictions", params={"limit": 1}).json() == before


def test_a_large_body_of_one_row_does_not_keep_the_others_waiting(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    slots, asked = client.app.state.service.slots, []  # type: ignore[attr-defined]
    thread = slots.thread

    async def noted(work: Any, *given: Any) -> Any:
        asked.append(work.__name__)
        return await thread(work, *given)

    monkeypatch.setattr(slots, "thread", noted)
    client.post("/predict/beats", json={"beats": beat()}).raise_for_status()
    assert asked == []
    refused(client.post("/predict/beats", json={"beats": [[0.5] * 20_000]}))
    assert asked == ["validated", "_beats"]


def test_an_unknown_model_is_not_found(client: TestClient) -> None:
    said = refused(client.post("/predict/beats", json={"beats": beat(), "model": "none"}), 404)
    assert said == "model 'none': not served; GET /models lists those that are"


def sent(X: NDArray[Any], domain: Any, model: str, name: str = "X.npy") -> dict[str, Any]:
    stream = io.BytesIO()
    np.save(stream, X)
    fields = {"model": model} | ({} if domain is None else {"domain": json.dumps(domain)})
    return {"files": {"files": (name, stream.getvalue())}, "data": fields}


def scalograms() -> NDArray[Any]:
    return prepare(heartbeat(40, 128), SCALOGRAMS, hop=10.0, short="pad").X


def test_scalograms_in_a_file_are_answered_with_their_domain_alone(
    client: TestClient, root: Path
) -> None:
    X, domain = scalograms(), SCALOGRAMS.to_dict()
    expected = Predictor(root / "recipes/windows/model.onnx").probabilities(X)

    answer = client.post("/predict/segments", **sent(X, domain, "windows"))
    np.testing.assert_allclose(probabilities(answer), expected, atol=CLOSE)

    spaced = domain | {"representation": domain["representation"] | {"low": 1.0}}
    for given, told, said in (
        (X, None, "send the domain.json"),
        (X.swapaxes(2, 3), domain, "axes in another order"),
        (1000 * X.astype(np.float32), domain, "values up to"),
        (X, spaced, "representation.low 1.0, the model's is 0.5"),
        (X, domain | {"window": 5.0}, "window 5.0, the model's is 10.0"),
        (X, domain | {"representation": None}, "representation none"),
        (X[:, 0, 0], domain, "shape"),
    ):
        assert said in refused(client.post("/predict/segments", **sent(given, told, "windows")))
    nothing = client.post("/predict/segments", **sent(X, domain, "windows", "X.csv"))
    assert "one .npy file" in refused(nothing)
    assert not [path for path in (root / "var/incoming").iterdir() if path.is_dir()]


def test_the_default_run_s_scalograms_get_the_probabilities_of_its_test(tmp_path: Path) -> None:
    card = json.loads((ROOT / "recipes/synthetic/model.json").read_text())
    split, model = ROOT / "data/split.csv", ROOT / "recipes/synthetic/model.onnx"
    told = ROOT / "plots/test/predictions.csv"
    if not (split.is_file() and model.is_file() and told.is_file()):
        pytest.skip("the default run and its published model are not here: dvc repro, dvc pull")
    if hashlib.sha256(split.read_bytes()).hexdigest() != card["hashes"]["split"]:
        pytest.skip("data/ is of another run than the published one")
    X = np.load(ROOT / "data/scalograms/X.npy", mmap_mode="r")
    domain = json.loads((ROOT / "data/scalograms/domain.json").read_text())
    with (ROOT / "data/waveforms/segments.csv").open() as stream:
        rows = {row["record_id"]: number for number, row in enumerate(csv.DictReader(stream))}
    with told.open() as stream:
        tested = list(csv.DictReader(stream))
    expected = [[float(row[f"p_{name}"]) for name in card["classes"]] for row in tested]
    mine = X[[rows[row["record_id"]] for row in tested]]

    with in_process(service_settings(tmp_path, models="synthetic")) as client:
        client.headers = accounts_of(client)["scientist"].headers
        answer = client.post("/predict/segments", **sent(mine, domain, "synthetic"))

    np.testing.assert_allclose(probabilities(answer), expected, atol=CLOSE)


def recording(folder: Path, seconds: float = 30) -> tuple[Path, Any]:
    """A recording as CSV, and what `retrace predict --format json` says of it."""
    signal = heartbeat(seconds, 360, ("MLII",)).signal[0]
    path = folder / "r.csv"
    path.write_text("MLII\n" + "".join(f"{value:.5f}\n" for value in signal))
    out = folder / "out.json"
    out.unlink(missing_ok=True)
    model = folder / "recipes/beats/model.onnx"
    assert predict([path], model, limits=Limits(), fs=360, form="json", output=out)
    return path, json.loads(out.read_text())


def like(answer: Any, expected: Any) -> None:
    """As the command says it, key by key."""
    said = answer.json()
    assert answer.status_code == 200, said
    for key in ("unit", "classes", "statement", "seconds", "fs", "leads", "left_out", "quality"):
        assert said[key] == expected[key], key
    assert said["summary"] == expected["summary"]
    for mine, its in zip(said["segments"], expected["segments"], strict=True):
        assert (mine["sample"], mine["class"]) == (its["sample"], its["class"])
        np.testing.assert_allclose(mine["probabilities"], its["probabilities"], atol=CLOSE)


def test_a_recording_is_answered_as_the_command_answers_it_however_it_comes(
    client: TestClient, root: Path
) -> None:
    path, expected = recording(root)
    samples = [float(line) for line in path.read_text().split()[1:]]
    upload: Any = {"files": {"files": path.open("rb")}, "data": {"fs": "360"}}

    like(client.post("/predict/samples", json={"fs": 360, "leads": {"MLII": samples}}), expected)
    stored = client.post("/recordings", **upload)
    assert stored.status_code == 201, stored.text
    id = stored.json()["id"]
    answer = client.post(f"/predict/recordings/{id}", json={"model": "beats"})
    like(answer, expected)
    assert answer.json()["recording"] == id
    upload = {"files": {"files": path.open("rb")}, "data": {"fs": "360", "lead": "MLII"}}
    like(client.post("/predict/recording", **upload), expected)


def test_samples_that_are_no_recording_are_refused(client: TestClient) -> None:
    lead = heartbeat(30, 360, ("MLII",)).signal[0]
    for leads, said in (
        ({"MLII": lead.tolist(), "V1": [0.0]}, "all leads have as many"),
        ({"MLII": (1000 * lead).tolist()}, "convert the numbers to mV"),
        ({"V1": lead.tolist()}, "no lead MLII or V5; it has V1"),
        ({"MLII": lead[:100].tolist()}, "s long"),
        ({}, "leads"),
    ):
        answer = client.post("/predict/samples", json={"fs": 360, "leads": leads})
        assert said in refused(answer)


def test_one_that_the_model_cannot_take_is_not_kept(client: TestClient, root: Path) -> None:
    path, _ = recording(root)
    upload: Any = {"files": {"files": path.open("rb")}, "data": {"fs": "360", "lead": "V9"}}
    before = client.get("/recordings").json()

    assert "no lead V9; it has MLII" in refused(client.post("/predict/recording", **upload))
    assert client.get("/recordings").json() == before


def test_a_long_recording_becomes_a_job(
    client: TestClient, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = recording(root)
    settings = client.app.state.service.settings  # type: ignore[attr-defined]
    monkeypatch.setattr(settings, "job_minutes", 0.1)
    upload: Any = {"files": {"files": path.open("rb")}, "data": {"fs": "360"}}

    answer = client.post("/predict/recording", **upload)

    assert answer.status_code == 202
    job = client.get(answer.headers["location"]).json()
    assert (job["id"], job["recording"]) == (answer.json()["job"], answer.json()["recording"])
    refused(client.post("/predict/recordings/" + "0" * 32, json={}), 404)


Several = tuple[TestClient, dict[str, dict[str, str]]]


def test_staff_see_all_predictions_others_their_own(several: Several) -> None:
    client, people = several
    body = {"beats": beat()}
    asked = {
        name: client.post("/predict/beats", json=body, headers=people[name]).json()
        for name in ("staff", "scientist", "admin")
    }

    for name, seen in (("staff", 3), ("scientist", 1), ("admin", 1)):
        assert len(client.get("/predictions", headers=people[name]).json()) == seen
        for other, answer in asked.items():
            again = client.get(f"/predictions/{answer['id']}", headers=people[name])
            if seen == 3 or name == other:
                assert again.json() == answer | {"feedback": []}
            else:
                refused(again, 404)
    assert client.post("/predict/beats", json=body).status_code == 401
    assert client.post("/predict/beats", json=body, headers=people["none"]).status_code == 403


@pytest.mark.parametrize("what", ["beats", "key", "recording", "job"])
def test_what_belongs_to_something_deleted_meanwhile_is_not_kept(
    several: Several, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """The account is gone since the gate has let it in, or the recording since it was found."""
    monkeypatch.setattr(access, "FRESH", 600.0)
    client, people = several
    client.headers = people["scientist"]
    service = client.app.state.service  # type: ignore[attr-defined]

    def gone(table: Any, condition: Any) -> None:
        with service.database.write() as session:
            session.execute(delete(table).where(condition))

    client.get("/predictions").raise_for_status()  # the gate knows it
    if what in ("beats", "key"):
        gone(User, User.email == "scientist@example.org")
        url = "/predict/beats" if what == "beats" else "/keys"
        answer = client.post(url, json={"beats": beat()} if what == "beats" else {"name": "x"})
    else:
        place: Any = predictions if what == "recording" else predict_routes
        name = "of_recording" if what == "recording" else "_submitted"
        work = getattr(place, name)

        def late(*given: Any, **options: Any) -> Any:
            """The recording is opened before it is deleted: else it is not found (404)."""
            made = work(*given, **options) if what == "recording" else None
            gone(Recording, true())
            return made or work(*given, **options)

        monkeypatch.setattr(place, name, late)
        monkeypatch.setattr(service.settings, "job_minutes", 0.1 if what == "job" else 10)
        path, _ = recording(tmp_path)
        upload: Any = {"files": {"files": path.open("rb")}, "data": {"fs": "360"}}
        answer = client.post("/predict/recording", **upload)

    assert refused(answer, 409) == problems.GONE


def test_a_nul_is_refused_before_the_database_sees_it(several: Several) -> None:
    client, people = several
    for path in ("/predictions?model=%00", "/predictions?kind=a%00", "/recordings?person=%00"):
        refused(client.get(path, headers=people["staff"]))
    refused(client.delete("/persons/p%00", headers=people["admin"]))


def test_predictions_are_listed_by_page_and_kind(several: Several) -> None:
    client, people = several
    client.headers = people["scientist"]
    ids = [
        client.post("/predict/beats", json={"model": model, "beats": beat(), **more}).json()["id"]
        for model, more in (
            ("beats", {}),
            ("features", {"features": {"likeness": [1.0], "rr_ratio": [1.0]}}),
            ("beats", {}),
        )
    ]

    def listed(**params: Any) -> list[str]:
        return [row["id"] for row in client.get("/predictions", params=params).json()]

    assert listed() == ids[::-1]
    assert listed(limit=2) == ids[:0:-1]
    assert listed(limit=2, before=ids[1]) == [ids[0]]
    assert listed(model="features") == [ids[1]]
    assert listed(flagged=True) == listed(kind="recording") == []
    assert client.get("/predictions", params={"limit": 0}).status_code == 422


def test_whoever_asked_and_admins_delete_a_prediction_with_its_signal(several: Several) -> None:
    client, people = several
    given = beat()
    asked = [
        client.post("/predict/beats", json={"beats": given}, headers=people["scientist"]).json()
        for _ in range(2)
    ]
    first, second = (f"/predictions/{one['id']}" for one in asked)
    with client.app.state.service.database.read() as session:  # type: ignore[attr-defined]
        row = session.scalar(select(Prediction).where(Prediction.id == asked[0]["id"]))
    signal = np.frombuffer(row.signal, "<f4").reshape(row.shape)
    np.testing.assert_array_equal(signal[0, 0], np.float32(given[0]))

    refused(client.delete(first, headers=people["staff"]), 403)
    assert client.delete(first, headers=people["scientist"]).status_code == 204
    refused(client.get(first, headers=people["scientist"]), 404)
    assert client.delete(second, headers=people["admin"]).status_code == 204


def test_more_at_a_time_than_there_are_slots_are_told_when_to_come_again(
    client: TestClient,
) -> None:
    slots = client.app.state.service.slots  # type: ignore[attr-defined]
    for _ in range(4):
        slots.__enter__()
    answer = client.post("/predict/beats", json={"beats": beat()})
    assert "4 predictions are being made" in refused(answer, 503)
    assert answer.headers["retry-after"] == "1"

    for _ in range(4):
        slots.__exit__()
    assert client.post("/predict/beats", json={"beats": beat()}).status_code == 200


def test_an_account_over_its_limit_is_told_how_long_to_wait(tmp_path: Path) -> None:
    publish(tmp_path, "beats")
    settings = service_settings(tmp_path, root=tmp_path, models="", predict_limit="2/minute")
    with in_process(settings) as client:
        people = accounts_of(client)
        given = {"json": {"beats": beat()}, "headers": people["staff"].headers}
        codes = [client.post("/predict/beats", **given).status_code for _ in range(3)]  # type: ignore[arg-type]
        other = client.get("/predict/random", headers=people["staff"].headers)
        given["headers"] = people["admin"].headers

        assert codes == [200, 200, 429]
        assert 1 <= int(other.headers["retry-after"]) <= 60
        assert client.post("/predict/beats", **given).status_code == 200  # type: ignore[arg-type]


def test_models_are_listed_with_what_they_take(client: TestClient) -> None:
    listed = {model["name"]: model for model in client.get("/models").json()}

    assert listed["beats"]["default"]
    assert listed["features"]["features"] == list(FEATURES)
    assert listed["windows"]["shape"] == [1, 32, 160]
    assert client.get("/models/windows").json() == listed["windows"]
    refused(client.get("/models/none"), 404)


def test_beats_of_another_scale_are_refused_whatever_domain_is_claimed(client: TestClient) -> None:
    scaled = beats_of(replace(MITBIH, normalise="range"))[:3, 0].tolist()

    answer = client.post("/predict/beats", json={"beats": scaled, "domain": "mitbih360"})
    assert "scaled to 0 ... 1" in refused(answer)


def test_what_helps_is_said_as_a_field_of_a_request(client: TestClient) -> None:
    lead = heartbeat(20, 360, ("MLII",)).signal[0].tolist()

    answer = client.post("/predict/samples", json={"fs": 360, "leads": {"1": lead}})

    assert "lead=1" in refused(answer)
    assert "--" not in refused(answer)
