"""MIT-BIH's own patients judge no model of MIT-BIH, whoever uploads them under whatever name."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wfdb

from retrace.deploy.readers.annotations import read_beats
from retrace.service import mitbih
from tests.heartbeats import heartbeat
from tests.serving import accounts_of, in_process, service_settings
from tests.test_service_pool import publish
from tests.test_service_truths import Clinic, drawn, other_model

MITDB = Path(os.environ.get("RETRACE_MIRROR", "")) / "physionet.org/files/mitdb/1.0.0"
needs_mirror = pytest.mark.skipif(
    not (MITDB / "100.atr").is_file(), reason="RETRACE_MIRROR is no folder with mitdb"
)
LEFT_OUT = "recordings of MIT-BIH's patients, of whom the model is made"


@pytest.fixture
def clinic(tmp_path: Path) -> Iterator[Clinic]:
    """A service with a model "mine" of MIT-BIH."""
    publish(tmp_path, "mine")
    with in_process(service_settings(tmp_path, root=tmp_path, models="mine")) as client:
        yield Clinic(client, accounts_of(client)["staff"])


def found(beats: Any) -> bool:
    return not mitbih._known().isdisjoint(mitbih._digests(beats))


@needs_mirror
def test_the_table_is_that_of_the_real_records() -> None:
    assert mitbih.table(MITDB) == mitbih.TABLE.read_text()


@needs_mirror
def test_eighty_beats_in_a_row_of_any_record_are_recognised() -> None:
    paths = sorted(MITDB.glob("*.atr"))
    assert len(paths) == 48
    for path in paths:
        beats = read_beats(path, mitbih.FS, mitbih.SAMPLES, mitbih.FS)
        for start in range(0, len(beats) - 80, 200):
            assert found(beats[start : start + 80]), (path.stem, start)


def test_other_hearts_are_not_recognised() -> None:
    rng = np.random.default_rng(0)
    for spread in (3, 8, 60):  # from a pacemaker to fibrillation
        assert not found(np.cumsum(300 + rng.integers(0, spread, 20_000)))


@needs_mirror
def test_a_part_of_a_record_with_another_gain_and_name_is_left_out(
    clinic: Clinic, tmp_path: Path
) -> None:
    record = wfdb.rdrecord(str(MITDB / "213"), sampfrom=100_000, sampto=200_000, channels=[0])
    marks = wfdb.rdann(str(MITDB / "213"), "atr", sampfrom=100_000, sampto=200_000)
    wfdb.wrsamp(
        "x",
        fs=360,
        units=["mV"],
        sig_name=["MLII"],
        p_signal=1.5 * record.p_signal,
        fmt=["16"],
        write_dir=str(tmp_path),
    )
    at = marks.sample - 100_000
    wfdb.wrann("x", "atr", at, symbol=marks.symbol, write_dir=str(tmp_path))
    clinic.upload([tmp_path / f"x{suffix}" for suffix in (".hea", ".dat", ".atr")], "somebody")

    said = clinic.newest()

    assert (said.told, said.left_out) == ((), {LEFT_OUT: 1})


@pytest.fixture
def told(clinic: Clinic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clinic:
    """The drawn heart is taken for one of MIT-BIH's: the clinic has it of "patient", who has
    another recording besides, and one of "other"; staff have judged a beat of each."""
    known = frozenset(mitbih._digests(heartbeat(30, 360).beats))
    assert known
    monkeypatch.setattr(mitbih, "_known", lambda: known)
    files = {"patient": [{}, {"seconds": 14}], "other": [{"seconds": 14}]}  # of 14 s: too short
    for person, several in files.items():
        for changes in several:
            recording = clinic.upload(drawn(tmp_path, **changes), person)  # type: ignore[arg-type]
            clinic.say(clinic.predict(recording), 0, "N")
    return clinic


def test_newest_leaves_out_every_recording_of_such_a_person_and_says_so(told: Clinic) -> None:
    shares: list[float] = []
    said = told.newest(most=2, progress=shares.append)

    assert [one.person for one in said.told] == ["other"]
    assert said.left_out[LEFT_OUT] == 2
    assert shares == sorted(shares)


def test_feedback_leaves_them_out_likewise(told: Clinic) -> None:
    said = told.feedback()

    assert [one.person for one in said.told] == ["other"]
    assert said.left_out[LEFT_OUT] == 2


@pytest.mark.parametrize("dataset", ["synthetic", "collected", "heartbeat"])
def test_they_judge_models_of_other_data_alone(told: Clinic, tmp_path: Path, dataset: str) -> None:
    predictor = other_model(tmp_path, dataset=dataset)

    expected = {"patient", "other"} if dataset == "synthetic" else {"other"}
    for said in (told.newest(predictor=predictor), told.feedback(predictor=predictor)):
        assert {one.person for one in said.told} == expected


def test_who_proves_that_a_model_answers_as_in_its_run_may_ask_for_them(told: Clinic) -> None:
    for said in (told.newest(with_mitbih=True), told.feedback(with_mitbih=True)):
        assert {one.person for one in said.told} == {"patient", "other"}
