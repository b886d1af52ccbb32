"""Suspension: no answers while a model does badly, by the staff's rule or by hand; all else goes
on."""

import json
from threading import Barrier
from typing import Any

import numpy as np
import pytest
from sqlalchemy import delete
from sqlalchemy.exc import OperationalError

from retrace.service import jobs, registry, suspensions, tables, worker
from retrace.service.tables_models import Evaluation, Suspension
from tests.accounts import at_once
from tests.desk import MODEL
from tests.monitored import PATH, TO, Monitored, monitored, opened
from tests.serving import PASSWORD
from tests.sources import ROOT

__all__ = ["monitored", "opened"]


def suspended(monitored: Monitored) -> dict[str, Any] | None:
    found: dict[str, Any] | None = monitored.ask("GET").json()["suspension"]
    return found


def predicts(monitored: Monitored) -> dict[str, Any]:
    """The answer of every way to predict, by path."""
    desk = monitored.desk
    monitored.service.follower.follow()
    wave = np.sin(np.arange(3600) / 40)
    csv = "time,MLII\n" + "\n".join(f"{n / 360},{value:.3f}" for n, value in enumerate(wave))
    file = {"files": ("a.csv", csv)}
    stored = desk.ask("POST", "/recordings", files=file)
    assert stored.status_code == 201, stored.text
    beat = np.load(ROOT / "examples/beats/N.npy").ravel().tolist()
    features = {"rr_previous": [0.8], "rr_next": [0.8], "rr_ratio": [1.0], "likeness": [1.0]}
    beats = {"domain": "mitbih360", "beats": [beat], "features": features}
    samples = {"fs": 360, "leads": {"MLII": wave.tolist()}}
    npy = {"files": ("N.npy", (ROOT / "examples/beats/N.npy").read_bytes())}
    return {
        path: desk.ask(method, path, **options)
        for method, path, options in (
            ("POST", "/predict/beats", {"json": beats}),
            ("POST", "/predict/beats/", {"json": beats}),  # not by the express
            ("POST", "/predict/samples", {"json": samples}),
            ("POST", "/predict/segments", {"files": npy, "data": {"domain": "{}"}}),
            ("POST", f"/predict/recordings/{stored.json()['id']}", {}),
            ("POST", "/predict/recording", {"files": file}),
            ("GET", f"/predict/random?model={MODEL}", {}),
        )
    }


def test_a_metric_below_the_limit_suspends_once_and_is_told_by_one_mail(
    monitored: Monitored,
) -> None:
    monitored.watch()
    for value in (0.412, 0.3):
        monitored.evaluated(value)

    found = suspended(monitored)
    assert found and found["ruled"] and found["by"] is None
    assert "f1_macro on the newest labelled data is 0.412 [0.100, 0.900]" in found["reason"]
    assert "below the staff's limit 0.6" in found["reason"]
    assert monitored.mails() == [(to, "suspended") for to in TO]
    (mail, _) = monitored.rows(tables.Mail)
    assert found["reason"] in mail.body and PATH in mail.body


@pytest.mark.parametrize(
    ("value", "changes"),
    [
        (0.6, {}),
        (0.1, {"segments": 499}),
        (0.1, {"persons": 4}),
        (0.1, {"persons": None}),  # unknown
        (0.7, {"classes": "NV", "few": "Q" * 9}),  # of which the test part has too few
        (0.1, {"newest": 19}),  # who asks could choose those that the model does badly on
    ],
)
def test_too_little_data_or_a_metric_at_the_limit_suspends_nothing(
    monitored: Monitored, value: float, changes: dict[str, Any]
) -> None:
    monitored.watch()
    monitored.evaluated(value, **changes)

    assert suspended(monitored) is None
    assert monitored.mails() == []
    assert len(monitored.rows(Evaluation)) == 1


def test_a_few_examples_of_a_class_suspend_nothing(monitored: Monitored) -> None:
    """A mean over one class more, of which a single beat was answered, is a third lower."""
    monitored.watch()
    monitored.evaluated(0.7, "NV", few="SF")

    assert suspended(monitored) is None
    assert "classes N, V; fewer than 5 examples of S, F" in monitored.ask("GET").json()["verdict"]


def test_it_is_released_only_over_the_classes_over_which_it_was_suspended(
    monitored: Monitored,
) -> None:
    monitored.watch()
    monitored.evaluated(0.4, "NSV")
    for classes in ("N", "NV", "NVF"):
        monitored.evaluated(0.99, classes)
        assert suspended(monitored), classes
    stays = [what for to, what in monitored.mails() if to == TO[0]]
    assert stays == ["suspended", "stays suspended"], "told once"
    assert "it was suspended over S, V too" in monitored.rows(tables.Mail)[-1].body
    monitored.evaluated(0.6, "NSVF")

    assert suspended(monitored) is None


def test_who_asks_for_other_recordings_than_the_watch_releases_nothing(
    monitored: Monitored,
) -> None:
    monitored.watch()
    monitored.evaluated(0.4)
    for newest in (1, 21, 1000):
        monitored.evaluated(0.99, newest=newest)

    assert suspended(monitored)
    said = monitored.ask("GET").json()
    assert said["performance"]["result"]["asked"] == 20 and "is 0.400" in said["verdict"]
    assert len(monitored.ask("GET", "/evaluations").json()) == 4


def test_what_a_rule_has_suspended_is_taken_over_by_hand(monitored: Monitored) -> None:
    monitored.watch()
    monitored.evaluated(0.4)
    answer = monitored.ask("POST", "/suspend", "admin", json={"reason": "new electrodes"})
    assert answer.status_code == 200 and answer.json()["ruled"] is False
    monitored.evaluated(0.9)

    found = suspended(monitored)
    assert found and found["reason"] == "new electrodes" and found["by"]
    assert len(monitored.rows(Suspension)) == 1
    again = monitored.ask("POST", "/suspend", json={"reason": "again"})
    assert again.status_code == 409


def test_staff_who_take_the_limit_away_are_told_that_the_suspension_stays(
    monitored: Monitored,
) -> None:
    monitored.watch()
    monitored.evaluated(0.4)
    monitored.watch(suspend_below=None)
    monitored.watch()
    assert monitored.ask("DELETE", "/watch").status_code == 204

    assert suspended(monitored)
    told = [what for to, what in monitored.mails() if to == TO[0]]
    assert told == ["suspended", "stays suspended", "stays suspended"]


def test_it_goes_when_performance_is_back_and_not_before(monitored: Monitored) -> None:
    monitored.watch()
    monitored.evaluated(0.4)
    monitored.evaluated(0.9, segments=499)  # good, but too few to say so
    assert suspended(monitored)
    monitored.evaluated(0.6)

    assert suspended(monitored) is None
    told = [what for to, what in monitored.mails() if to == TO[0]]
    assert told == ["suspended", "stays suspended", "released"]
    (row,) = monitored.ask("GET", "/suspensions").json()
    assert row["released"] and row["released_by"] is None
    assert "no longer below the staff's limit" in row["release_reason"]


def test_one_made_by_hand_stays_whatever_evaluations_find(monitored: Monitored) -> None:
    monitored.watch()
    answer = monitored.ask("POST", "/suspend", "admin", json={"reason": "new electrodes"})
    assert answer.status_code == 200
    monitored.evaluated(0.9)
    with monitored.service.database.write() as session:  # its account goes
        row = suspensions.current(session, MODEL)
        assert row
        row.by = None
    monitored.evaluated(0.9)

    found = suspended(monitored)
    assert found and not found["ruled"] and found["reason"] == "new electrodes"
    assert monitored.ask("POST", "/release", json={"reason": "they fit"}).status_code == 200
    assert suspended(monitored) is None
    assert monitored.ask("POST", "/release", json={"reason": "again"}).status_code == 409


def test_every_way_to_predict_says_503_and_why_and_all_else_goes_on(monitored: Monitored) -> None:
    monitored.watch()
    before = predicts(monitored)
    assert before["/predict/beats"].status_code == 200, before["/predict/beats"].text
    assert before["/predict/samples"].status_code == 200, before["/predict/samples"].text
    monitored.evaluated(0.4)
    for path, answer in predicts(monitored).items():
        assert answer.status_code == 503, (path, answer.text)
        assert "below the staff's limit 0.6" in answer.json()["detail"], path
        assert answer.headers["Retry-After"]

    desk, client = monitored.desk, monitored.desk.client
    login = {"username": desk.people["staff"].email, "password": PASSWORD}
    assert client.post("/auth/token", data=login).status_code == 200
    for who, path in (
        ("staff", "/registry"),
        ("scientist", "/registry/" + MODEL),
        ("staff", PATH),
        ("staff", f"{PATH}/evaluations"),
        ("staff", f"{PATH}/subgroups"),
        ("staff", "/models"),
        ("staff", "/alerts"),
        ("staff", "/feedback"),
        ("staff", "/recordings"),
        ("scientist", "/jobs"),
        ("admin", "/audit"),
        ("admin", "/logs"),
        ("", "/health"),
        ("", "/metrics"),
    ):
        assert desk.ask("GET", path, who).status_code == 200, path
    told = desk.ask("GET", "/metrics", "").text
    assert f'retrace_suspended{{model="{MODEL}"}} 1.0' in told
    assert f'retrace_production_version{{model="{MODEL}"}} 1.0' in told

    said = before["/predict/samples"].json()
    path = f"/predictions/{said['id']}/feedback"
    assert desk.ask("POST", path, json={"segment": 0, "label": "V"}).status_code == 201
    training = desk.ask("POST", "/trainings", "scientist", json={"recipe": "nothing"})
    assert training.status_code == 422  # it is looked at

    monitored.evaluated(0.9)
    after = predicts(monitored).values()
    statuses = [one.status_code for one in before.values()]
    assert [one.status_code for one in after] == statuses


def test_a_job_of_a_recording_waits_for_a_suspended_model(monitored: Monitored) -> None:
    desk = monitored.desk
    csv = "time,MLII\n" + "\n".join(f"{n / 360},{np.sin(n / 40):.3f}" for n in range(3600))
    stored = desk.ask("POST", "/recordings", files={"files": ("a.csv", csv)}).json()
    with monitored.service.database.write() as session:
        session.add(
            tables.Job(
                user_id=desk.people["staff"].id,
                recording_id=stored["id"],
                kind="recording",
                request={"model": None, "lead": None, "detect": False},
            )
        )
    monitored.ask("POST", "/suspend", json={"reason": "for a while"})
    assert worker.work_once(monitored.service, "recording")

    assert monitored.states("recording") == ["queued"]


def test_only_staff_and_admins_suspend_and_release(monitored: Monitored) -> None:
    for who, status in (("", 401), ("none", 403), ("scientist", 403)):
        for path in ("/suspend", "/release"):
            assert monitored.ask("POST", path, who, json={"reason": "x"}).status_code == status
    for reason in ("", " ", "a\nb", "x" * 501, "ends with a stop."):
        assert monitored.ask("POST", "/suspend", json={"reason": reason}).status_code == 422
    other = monitored.desk.ask("POST", "/monitoring/nothing/suspend", json={"reason": "x"})
    assert other.status_code == 404
    assert suspended(monitored) is None


def test_many_who_suspend_at_once_leave_one_suspension(monitored: Monitored) -> None:
    monitored.watch()
    ready = Barrier(4)

    def suspend(number: int) -> object:
        ready.wait()
        return monitored.ask("POST", "/suspend", json={"reason": f"reason {number}"}).status_code

    assert sorted(at_once(suspend), key=str) == [200, 409, 409, 409]
    assert len(monitored.rows(Suspension)) == 1
    assert len(monitored.mails()) == len(TO)


def test_an_evaluation_of_a_version_that_is_no_longer_in_production_suspends_nothing(
    monitored: Monitored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitored.watch()
    monitored.finds(0.1)
    assert monitored.ask("POST", "/evaluate").status_code == 202
    with monkeypatch.context() as patch:
        patch.setattr(registry, "production", lambda *_: None)
        assert worker.work_once(monitored.service, "evaluation")

    assert monitored.states("evaluation") == ["done"]
    assert suspended(monitored) is None


def test_a_mail_says_nothing_of_a_person_and_a_log_line_says_what_happened(
    monitored: Monitored, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monitored.watch(mail=[])
    monitored.evaluated(0.4)

    assert monitored.mails() == []  # nobody is named: the log has it
    assert f"model {MODEL}: suspended" in [record.getMessage() for record in caplog.records]
    (line,) = [row for row in monitored.rows(tables.Audit) if row.action == "model.suspended"]
    assert (line.subject, line.user_id, json.dumps(line.detail["ruled"])) == (MODEL, None, "true")


def test_a_database_that_goes_at_the_end_of_an_evaluation_doubles_nothing(
    monitored: Monitored, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish, tries = jobs.finish, []

    def failing(database: Any, job: Any, result: Any) -> None:
        def keep(session: Any) -> dict[str, Any]:
            found: dict[str, Any] = result(session)
            session.flush()
            tries.append(1)
            if len(tries) < 3:
                raise OperationalError("INSERT", {}, Exception("gone"))
            return found

        finish(database, job, keep)

    monkeypatch.setattr(jobs, "finish", failing)
    monkeypatch.setattr(worker, "AWAY", 0.0)
    monitored.watch()
    monitored.evaluated(0.4)

    assert len(tries) == 3
    assert len(monitored.rows(Suspension)) == len(monitored.rows(Evaluation)) == 1
    assert monitored.mails() == [(to, "suspended") for to in TO]


def test_a_suspension_outlives_what_made_it(monitored: Monitored) -> None:
    """Ended or changed watches are no evidence that the model is better."""
    monitored.watch()
    monitored.evaluated(0.4)
    assert monitored.ask("DELETE", "/watch").status_code == 204
    monitored.evaluated(0.9)
    assert suspended(monitored)
    monitored.watch(suspend_below=0.5)
    monitored.evaluated(0.55)
    assert suspended(monitored) is None


@pytest.fixture(autouse=True)
def _released(monitored: Monitored) -> Any:
    yield
    with monitored.service.database.write() as session:
        session.execute(delete(Suspension))
    monitored.service.follower.follow()
