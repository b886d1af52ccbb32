"""Drift in the service: what is fed is observed by the worker, and compared with the test part."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import wfdb
from sqlalchemy import func, select, update

from retrace import cli
from retrace.deploy.inputs import open_inputs
from retrace.errors import InputError
from retrace.files import write_csv
from retrace.service import accounts, drifts, observations, observing, registry
from retrace.service.feed import Schedule, feed, read_source
from retrace.service.feed_recordings import Drift, Recordings, rewritten, whole
from retrace.service.problems import Problem
from retrace.service.tables_models import Observation, Version
from retrace.signals.noise import band_power
from tests.heartbeats import MITBIH, heartbeat
from tests.predictors import PLAIN, publish
from tests.serving import PASSWORD, in_process, log_in, service_settings

QUICK = Schedule(every=0, count=None, size=100, seed=0)
TESTED, NEW = 10, 10  # persons


def write(folder: Path, person: int) -> Path:
    """Half a minute of a person, who has an amplitude and a noise of his own: a WFDB record."""
    rng = np.random.default_rng(person)
    record = heartbeat(30, 360, ("MLII",))
    signal = record.signal[0] * np.exp(rng.normal(0, 0.15))
    signal += rng.normal(0, rng.uniform(0.005, 0.03), signal.size)
    folder.mkdir(parents=True, exist_ok=True)
    wfdb.wrsamp(
        f"r{person}",
        fs=360,
        units=["mV", "mV"],
        sig_name=["MLII", "V1"],
        p_signal=np.stack([signal, -signal * signal], axis=1),
        fmt=["16", "16"],
        write_dir=str(folder),
    )
    return folder / f"r{person}.hea"


@dataclass
class Ward:
    """A service, and recordings of persons whom its model has never seen."""

    client: Any
    new: list[Path]
    persons: dict[str, str]

    @property
    def service(self) -> Any:
        return self.client.app.state.service

    def feed(self, paths: Sequence[Path], **options: Any) -> None:
        """Send them, each as a person's own unless `persons` is given."""
        source = Recordings(paths, **{"persons": self.persons} | options)
        for _ in feed("http://127.0.0.1", source, QUICK, model=PLAIN, client=self.client):
            pass

    def look(self, newest: int = 100) -> dict[str, Any]:
        found = drifts.look(self.service, PLAIN, newest=newest, progress=lambda _: None)
        return json.loads(json.dumps(found))  # type: ignore[no-any-return]

    def observed(self) -> int:
        with self.service.database.read() as session:
            return session.scalar(select(func.count()).select_from(Observation)) or 0

    def folder(self) -> Path:
        with self.service.database.read() as session:
            version = registry.production(session, PLAIN)
        assert version is not None
        return registry.path(self.service.settings, version.id)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published model and the data of its run: a test part of ten persons."""
    root: Path = tmp_path_factory.mktemp("root")
    waveforms = root / "data/waveforms"
    for person in range(TESTED):
        write(root / "data/raw", person)
    waveforms.mkdir()
    MITBIH.write(waveforms)
    names = [f"r{person}" for person in range(TESTED)]
    columns = ["segment_id", "record_id", "patient_id"]
    write_csv(waveforms / "segments.csv", columns, [[f"{n}_0", n, f"p{n}"] for n in names])
    split = root / "data/split.csv"
    write_csv(split, ["segment_id", "subset"], [[f"{name}_0", "test"] for name in names])
    hashes = {"weights": "a" * 64, "split": hashlib.sha256(split.read_bytes()).hexdigest()}
    publish(root, PLAIN, hashes=hashes)
    return root


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The recordings of ten other persons."""
    folder = tmp_path_factory.mktemp("new")
    return [write(folder, TESTED + person) for person in range(NEW)]


@pytest.fixture
def ward(
    tmp_path: Path,
    repository: Path,
    new: list[Path],
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Ward]:
    root = shutil.copytree(repository, tmp_path / "root")
    settings = service_settings(tmp_path, root=root, models="", database_url=database_url)
    with in_process(settings) as client:
        with client.app.state.service.database.write() as session:  # type: ignore[attr-defined]
            accounts.create(session, "staff@example.org", PASSWORD, role="staff")
        headers = log_in(client, "staff@example.org")
        made = client.post("/keys", json={"name": "feed"}, headers=headers).json()
        monkeypatch.setenv("RETRACE_API_KEY", made["key"])
        yield Ward(client, new, {path.stem: f"person {path.stem}" for path in new})


def drifted(found: dict[str, Any]) -> set[str]:
    return {row["name"] for row in found["rows"] if row["drifted"]}


def test_recordings_like_those_of_the_test_part_are_quiet(ward: Ward) -> None:
    ward.feed(ward.new)

    found = ward.look()

    assert found["drifted"] is False and not drifted(found)
    assert found["version"] == 1
    assert found["reference"] == {"from": "the test part of the model's own run", "persons": TESTED}
    assert found["current"]["persons"] == found["current"]["recordings"] == NEW
    assert {row["name"] for row in found["rows"]} == {*observations.FEATURES, "mix"}
    assert found["sentence"] == "no drift shown: 10 persons now, 10 in the reference"


def test_planted_drift_is_found_and_named(ward: Ward) -> None:
    ward.feed(ward.new, drift=Drift(gain=2))
    assert drifted(ward.look()) == {"amplitude", "qrs"}

    ward.feed(ward.new, drift=Drift(invert=True))
    found = ward.look(newest=NEW)
    assert "polarity" in drifted(found) and found["drifted"]
    assert found["sentence"].startswith("drift in ")

    ward.feed(ward.new, lead="V1")
    assert "polarity" in drifted(ward.look(newest=NEW))

    ward.feed(ward.new, drift=Drift(noise=0))
    assert "restlessness" in drifted(ward.look(newest=NEW))


def test_a_hundred_recordings_of_one_person_are_one_witness(ward: Ward) -> None:
    one = dict.fromkeys(ward.persons, "the same person")
    ward.feed(ward.new, drift=Drift(gain=4), persons=one)

    found = ward.look()

    assert found["drifted"] is None and found["rows"] == []
    assert found["sentence"] == (
        "drift cannot be told: recordings of 1 persons, and of 10 in the reference; each side "
        "needs 5"
    )


def test_what_is_nobody_s_is_counted_and_left_out(ward: Ward) -> None:
    ward.feed(ward.new[:6])
    ward.feed(ward.new[6:], persons={})
    X = np.ones((1, 1, MITBIH.samples), np.float32) * np.linspace(-1, 1, MITBIH.samples)
    beat = {"model": PLAIN, "beats": X[:, 0].tolist()}
    headers = {"X-API-Key": _key()}
    assert ward.client.post("/predict/beats", json=beat, headers=headers).status_code == 200

    found = ward.look()

    assert found["current"]["persons"] == 6
    assert found["left_out"]["answers to recordings of nobody"] == 4
    assert found["left_out"]["answers to what is no stored recording"] == 1


def test_whom_a_version_was_trained_on_is_left_out(ward: Ward) -> None:
    ward.feed(ward.new)
    headers = {"X-API-Key": _key()}
    ids = [one["id"] for one in ward.client.get("/recordings", headers=headers).json()]
    with ward.service.database.write() as session:
        session.execute(update(Version).values(data={"recordings": ids[:3]}))

    found = ward.look()

    assert found["current"]["persons"] == NEW - 3
    assert found["left_out"]["answers to recordings of persons that it was trained on"] == 3


def test_a_recording_is_observed_once_and_what_was_observed_goes_with_it(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    ward.feed(ward.new)
    assert ward.observed() == 0  # not while a request waits
    first = ward.look()
    assert ward.observed() == NEW
    monkeypatch.setattr(observing, "_kept", None)

    assert ward.look() == first

    headers = {"X-API-Key": _key()}
    gone = ward.client.get("/recordings", headers=headers).json()[0]["id"]
    assert ward.client.delete(f"/recordings/{gone}", headers=headers).status_code == 204
    assert ward.observed() == NEW - 1
    assert ward.look()["current"]["persons"] == NEW - 1


def test_a_recording_whose_file_is_damaged_spoils_nothing(ward: Ward) -> None:
    ward.feed(ward.new)
    folder = next((ward.service.settings.home / "recordings").iterdir())
    for path in folder.glob("*.dat"):
        path.write_bytes(b"")

    found = ward.look()

    assert found["left_out"]["recordings that cannot be read"] == 1
    assert found["current"]["persons"] == NEW - 1


def test_the_first_answers_may_be_the_reference(ward: Ward) -> None:
    with pytest.raises(InputError, match="0 persons so far; a reference needs 5"):
        drifts.adopt(ward.service, PLAIN, first=50, progress=lambda _: None)
    ward.feed(ward.new, drift=Drift(gain=2))

    told = drifts.adopt(ward.service, PLAIN, first=50, progress=lambda _: None)
    assert told["persons"] == NEW and told["from"].startswith("the first answers of the service")
    others = {path.stem: f"another {path.stem}" for path in ward.new}
    ward.feed(ward.new, drift=Drift(gain=2), persons=others)
    found = ward.look()
    assert found["drifted"] is False and found["reference"]["persons"] == NEW
    assert found["current"]["persons"] == NEW

    drifts.discard(ward.service, PLAIN)
    assert drifted(ward.look()) == {"amplitude", "qrs"}


def test_who_is_in_the_reference_is_not_new(ward: Ward) -> None:
    ward.feed(ward.new)
    drifts.adopt(ward.service, PLAIN, first=50, progress=lambda _: None)
    ward.feed(ward.new, drift=Drift(gain=4))

    found = ward.look()

    assert found["drifted"] is None
    assert found["left_out"]["recordings of persons in the reference"] == NEW


def test_without_the_data_of_the_run_a_look_says_what_to_do(ward: Ward) -> None:
    (ward.service.settings.root / "data/split.csv").unlink()

    found = ward.look()

    assert found["drifted"] is None
    assert "no reference to compare with: data: the test part" in found["sentence"]
    assert "run its recipe, then dvc pull" in found["sentence"]


def test_a_reference_is_made_once_and_is_numbers_alone(ward: Ward) -> None:
    ward.look()
    said = json.loads((ward.folder() / "reference.json").read_text())
    assert said["persons"] == list(range(TESTED)) and len(said["observations"]) == TESTED
    (ward.service.settings.root / "data/split.csv").unlink()

    assert ward.look()["reference"]["persons"] == TESTED
    (ward.folder() / "reference.json").write_text("{")
    assert "damaged" in ward.look()["sentence"]


def test_a_model_that_nobody_promoted_is_not_found(ward: Ward) -> None:
    with pytest.raises(Problem, match="no version is in production"):
        drifts.look(ward.service, "nothing", newest=10, progress=lambda _: None)


def test_a_planted_gain_is_exact_and_noise_has_its_strength(tmp_path: Path) -> None:
    path = write(tmp_path, 0)
    before = whole(next(open_inputs([path])))  # type: ignore[arg-type]

    def planted(drift: Drift) -> Any:
        with rewritten(path, drift) as file:
            return whole(next(open_inputs([file])))  # type: ignore[arg-type]

    twice, noisy = planted(Drift(gain=2)), planted(Drift(noise=6))
    assert twice.leads == before.leads and twice.fs == before.fs
    np.testing.assert_allclose(twice.signal, 2 * before.signal, atol=3e-4)
    np.testing.assert_allclose(planted(Drift(invert=True)).signal, -before.signal, atol=3e-4)
    added = (noisy.signal - before.signal).astype(np.float64)
    ratio = 10 * np.log10(band_power(before.signal, before.fs) / (added**2).mean(axis=1))
    assert ratio == pytest.approx([6, 6], abs=0.05)


def test_fields_go_with_a_recording_and_its_files_stay_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETRACE_API_KEY", "rk_x")
    path = write(tmp_path, 0)
    write_csv(tmp_path / "who.csv", ["record_id", "patient_id"], [["r0", "p7"]])
    sent: list[bytes] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        sent.append(request.read())
        return httpx2.Response(202, json={"job": "j"})

    source = read_source(
        [path], lambda: tmp_path, persons=tmp_path / "who.csv", drift=Drift(gain=2), lead="V1"
    )
    with httpx2.Client(
        base_url="http://127.0.0.1", transport=httpx2.MockTransport(answer)
    ) as sender:
        list(feed("http://127.0.0.1", source, QUICK, client=sender))

    (body,) = sent
    for field, value in {"person": b"p7", "lead": b"V1"}.items():
        assert b'name="%s"\r\n\r\n%s\r\n' % (field.encode(), value) in body
    assert path.read_bytes() not in body  # another gain, another header


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--gain", "2"], "for recordings alone; segments are cut and scaled already"),
        (["r0.hea", "--gain", "0"], "--gain 0: it is from 0.01 to 100"),
        (["r0.hea", "--noise", "nan"], "--noise nan: it is from -60 to 60"),
        (["r0.hea", "--persons", "who.csv"], "r0: no patient_id in the table of --persons"),
    ],
)
def test_what_cannot_be_planted_is_said_in_a_sentence(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    said: str,
) -> None:
    write(tmp_path, 0)
    write_csv(tmp_path / "who.csv", ["record_id", "patient_id"], [["r1", "p7"]])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RETRACE_API_KEY", "rk_x")

    with pytest.raises(SystemExit) as ended:
        cli.main(["feed", "http://127.0.0.1", *arguments])

    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def _key() -> str:
    return os.environ["RETRACE_API_KEY"]
