"""Monitoring: what the staff set happens when it is due, once, and nothing else happens."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier, Event
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from retrace.errors import InputError
from retrace.service import (
    drifts,
    evaluations,
    monitor,
    registry,
    scheduler,
    tables,
    trainings,
    watches,
    worker,
)
from retrace.service.pool import Model
from retrace.service.problems import Problem
from retrace.service.tables_models import Evaluation, Watch
from tests.desk import MODEL
from tests.monitored import (
    TO,
    TRAINING,
    WATCH,
    Monitored,
    done,
    feedback,
    monitored,
    opened,
    tick,
    training,
    upload,
)

__all__ = ["monitored", "opened", "training"]


def test_staff_set_a_watch_and_nobody_else_does(monitored: Monitored) -> None:
    for who, status in (("", 401), ("none", 403), ("admin", 403), ("scientist", 403)):
        assert monitored.ask("PUT", "/watch", who, json=WATCH).status_code == status
        assert monitored.ask("DELETE", "/watch", who).status_code == status
    monitored.watch(least=1)
    monitored.watch()

    new, old = monitored.ask("GET", "/watch", "scientist").json()
    assert (new["settings"]["least"], new["ended"]) == (500, None)
    assert (old["settings"]["least"], bool(old["ended"])) == (1, True)
    assert new["by"] == monitored.desk.people["staff"].id
    assert monitored.ask("DELETE", "/watch").status_code == 204
    assert monitored.ask("DELETE", "/watch").status_code == 404
    assert monitored.ask("GET").json()["watch"] is None
    assert [row.action for row in monitored.rows(tables.Audit)] == [
        "watch.set",
        "watch.set",
        "watch.ended",
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"metric": None},
        {"metric": "f2"},
        {"metric": "challenge_f1"},  # of rhythms
        {"least": 0},
        {"newest": 1001},
        {"every_hours": 0},
        {"suspend_below": "0.6"},
        {"suspend_below": 1.01},
        {"suspend_bellow": 0.6},
        {"promote": {"metric": "f1_macro", "at_least": {}}},
        {"promote": {"metric": "f1_macro", "at_least": {"test": 0}}},
        {"promote": {"metric": "f2", "at_least": {"newest": 0}}},
        {"retrain": {"training": TRAINING}},
        {"retrain": {"below": 0.5}},
        {"retrain": {"samples": 5, "training": {"recipe": MODEL}}},
        {"retrain": {"wrong": 5, "training": {"recipe": MODEL, "model": "other"}}},
        {"retrain": {"wrong": 5, "training": {"recipe": "../x"}}},
        {"drift": {"newest": 5}},
        {"mail": ["a@b", "a@b\nBcc: c@d"]},
        {"mail": ["Ward <ward@example.org>"]},
        {"mail": ["a@b"] * 21},
    ],
)
def test_a_watch_that_breaks_a_rule_is_refused_and_changes_nothing(
    monitored: Monitored, changes: dict[str, Any]
) -> None:
    answer = monitored.ask("PUT", "/watch", json=WATCH | changes)

    assert answer.status_code == 422, answer.text
    assert monitored.rows(Watch) == []


def test_a_training_that_cannot_be_is_refused_when_it_is_set(monitored: Monitored) -> None:
    for error, status in ((InputError("lr: -1: above 0"), 422), (Problem(503, "no trainer"), 503)):

        def check(*_: Any, error: Exception = error) -> None:
            raise error

        monitored.patch.setattr(trainings, "check", check)
        rule = {"retrain": {"wrong": 5, "training": TRAINING}}
        assert monitored.ask("PUT", "/watch", json=WATCH | rule).status_code == status
    assert monitored.rows(Watch) == []


def test_what_is_no_model_is_not_watched(monitored: Monitored) -> None:
    for name in ("nothing", "%00", "x" * 101):
        answer = monitored.desk.ask("PUT", f"/monitoring/{name}/watch", json=WATCH)
        assert answer.status_code in (404, 422)
    assert monitored.rows(Watch) == []


def test_two_who_set_a_watch_at_once_leave_one_in_force(monitored: Monitored) -> None:
    ready = Barrier(4)

    def put(least: int) -> int:
        ready.wait()
        status: int = monitored.ask("PUT", "/watch", json=WATCH | {"least": least}).status_code
        return status

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(put, range(1, 5))) <= {200, 409}
    assert len([row for row in monitored.rows(Watch) if row.ended is None]) == 1


# The schedule.


def test_nothing_is_done_that_is_not_set(monitored: Monitored, training: Any) -> None:
    monitored.watch(suspend_below=None)
    monitored.evaluated(0.1)
    feedback(monitored, wrong=50)
    upload(monitored, 10_000)

    assert tick(monitored, timedelta(days=365)) == []
    assert (training, monitored.mails()) == ([], [])
    assert monitored.ask("GET").json()["suspension"] is None


def test_evaluations_and_looks_for_drift_are_queued_when_they_are_due(monitored: Monitored) -> None:
    monitored.watch(every_hours=2.0, drift={"every_hours": 5.0, "newest": 30})
    assert len(tick(monitored)) == 2
    assert tick(monitored, timedelta(hours=9)) == []  # those are still open
    done(monitored)
    assert tick(monitored, timedelta(hours=1.9)) == []
    assert len(tick(monitored, timedelta(hours=2.1))) == 1
    assert [job.request["newest"] for job in monitored.rows(tables.Job)] == [20, 30, 20]


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_what_came_to_nothing_is_due_again_soon_and_told_once(
    monitored: Monitored, state: str
) -> None:
    monitored.watch(every_hours=24.0)
    for _ in range(3):
        assert len(tick(monitored, timedelta(hours=1.1))) == 1
        done(monitored, state)
        assert tick(monitored, timedelta(hours=0.9)) == [], "not without end"
    assert monitored.mails() == [(to, f"an evaluation {state}") for to in TO]
    assert monitored.ask("GET").json()["failing"] == {"evaluation": state}

    assert len(tick(monitored, timedelta(hours=1.1))) == 1
    monitored.finds(0.9)
    assert worker.work_once(monitored.service, "evaluation")
    assert tick(monitored, timedelta(hours=23)) == []
    assert monitored.ask("GET").json()["failing"] == {}
    assert len(tick(monitored, timedelta(hours=25))) == 1
    done_last(monitored, state)
    tick(monitored)
    assert len(monitored.mails()) == 2 * len(TO), "another failure is told, too"


def done_last(monitored: Monitored, state: str) -> None:
    with monitored.service.database.write() as session:
        job = session.scalars(select(tables.Job).order_by(tables.Job.id.desc())).first()
        assert job
        job.state, job.finished = state, tables.now()


@pytest.mark.parametrize("newest", [1, 20])
@pytest.mark.parametrize("state", ["queued", "done", "failed", "cancelled"])
def test_what_a_member_asks_for_puts_nothing_off_that_is_due(
    monitored: Monitored, newest: int, state: str
) -> None:
    monitored.watch(every_hours=24.0, drift={"every_hours": 24.0, "newest": 20})
    for path, asked in (("/evaluate", {"newest": newest}), ("/reference", {"first": newest})):
        assert monitored.ask("POST", path, json=asked).status_code == 202
    done(monitored, state)

    assert len(tick(monitored)) == 2
    assert tick(monitored) == []
    service = [job for job in monitored.rows(tables.Job) if job.user_id is None]
    assert sorted((job.kind, job.request["newest"]) for job in service) == [
        ("drift", 20),
        ("evaluation", 20),
    ]


def test_a_sweep_that_fails_holds_up_nothing(
    monitored: Monitored, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: Any) -> None:
        stop.set()
        raise PermissionError(1, "not permitted")

    monitored.watch(every_hours=1.0)
    stop = Event()
    monitored.patch.setattr(trainings, "sweep", fails)
    scheduler.run(monitored.service, stop)

    assert monitored.states("evaluation") == ["queued"]
    assert "trainings are not swept: PermissionError" in caplog.messages


def test_a_worker_that_starts_anew_neither_forgets_nor_doubles(monitored: Monitored) -> None:
    monitored.watch(every_hours=1.0)
    stop = Event()
    stopping = monitored.service.database.read

    def read() -> Any:
        stop.set()
        return stopping()

    monitored.patch.setattr(monitored.service.database, "read", read)
    for _ in range(3):  # three workers, one behind the other
        stop.clear()
        scheduler.run(monitored.service, stop)
    monitored.patch.setattr(monitored.service.database, "read", stopping)

    assert monitored.states("evaluation") == ["queued"]


def test_two_workers_queue_what_is_due_once(monitored: Monitored, training: Any) -> None:
    rule = {"wrong": 3, "training": TRAINING}
    monitored.watch(every_hours=1.0, drift={"every_hours": 1.0, "newest": 5}, retrain=rule)
    feedback(monitored, wrong=3)
    ready = Barrier(6)

    def one(_: int) -> list[str]:
        ready.wait()
        return tick(monitored)

    with ThreadPoolExecutor(6) as pool:
        queued = [id for ids in pool.map(one, range(6)) for id in ids]
    kinds = sorted(job.kind for job in monitored.rows(tables.Job))
    assert kinds == ["drift", "evaluation", "training"]
    assert len(queued) == 3
    assert len(monitored.mails()) == len(TO)


def test_a_database_that_is_away_is_survived(
    monitored: Monitored, caplog: pytest.LogCaptureFixture
) -> None:
    monitored.watch(every_hours=1.0)
    reading, stop, times = monitored.service.database.read, Event(), []

    def away() -> Any:
        times.append(1)
        if len(times) <= 3:
            raise OperationalError("SELECT", {}, Exception("connection refused"))
        stop.set()
        return reading()

    monitored.patch.setattr(scheduler, "EVERY", 0.0)
    monitored.patch.setattr(monitored.service.database, "read", away)
    scheduler.run(monitored.service, stop)
    monitored.patch.setattr(monitored.service.database, "read", reading)

    assert monitored.states("evaluation") == ["queued"]
    assert caplog.messages.count("nothing is scheduled: OperationalError") == 1


def test_one_model_that_fails_holds_up_no_other(
    monitored: Monitored, caplog: pytest.LogCaptureFixture
) -> None:
    settings = watches.Settings(**WATCH | {"every_hours": 1.0})
    by = monitored.desk.people["staff"].id
    watches.put(monitored.service.database, "a_model_of_which_no_version_is", settings, by)
    monitored.watch(every_hours=1.0)
    for _ in range(3):
        tick(monitored)

    assert [job.request["model"] for job in monitored.rows(tables.Job)] == [MODEL]
    assert len([line for line in caplog.messages if "not monitored" in line]) == 1


def test_what_is_asked_for_twice_is_one_job(monitored: Monitored) -> None:
    monitored.watch()
    one, two = (monitored.ask("POST", "/evaluate", who).json() for who in ("staff", "scientist"))

    assert one == two
    assert monitored.ask("POST", "/evaluate", "none").status_code == 403
    assert monitored.ask("POST", "/drift").status_code == 422  # of how many?
    assert monitored.ask("POST", "/drift", json={"newest": 7}).status_code == 202
    assert monitored.ask("POST", "/drift", json={"newest": 8}).status_code == 409  # is under way
    with monitored.service.database.write() as session:  # what runs may look at an older version
        due = monitor.due(session, MODEL)
        assert due and due.id != one["job"]


def test_a_watch_that_is_ended_stops_everything(monitored: Monitored, training: Any) -> None:
    rule = {"below": 0.5, "wrong": 1, "samples": 1, "training": TRAINING}
    promote = {"metric": "f1_macro", "at_least": {"newest": 0.0}}
    monitored.watch(
        every_hours=1.0, retrain=rule, promote=promote, drift={"every_hours": 1.0, "newest": 5}
    )
    monitored.finds(0.1)
    with monitored.service.database.write() as session:
        assert monitor.due(session, MODEL)
    monitored.ask("DELETE", "/watch")
    feedback(monitored, wrong=9)
    upload(monitored, 9)

    assert monitored.states("evaluation") == ["cancelled"]
    assert tick(monitored, timedelta(days=9)) == []
    monitored.evaluated(0.1)
    assert tick(monitored) == []
    with monitored.service.database.write() as session:
        assert monitor.due(session, MODEL) is None
        better = compared(newest=0.5)
        assert not watches.holds(watches.current(session, MODEL), better)[0]
    assert monitored.ask("GET").json()["suspension"] is None
    assert (training, monitored.mails()) == ([], [])


def test_an_evaluation_that_fails_leaves_a_sentence_and_changes_nothing(
    monitored: Monitored, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise InputError("version 1: its file is gone: roll back")

    monitored.watch()
    monkeypatch.setattr(evaluations, "evaluate", fails)
    monitored.ask("POST", "/evaluate")
    worker.work_once(monitored.service, "evaluation")

    (job,) = monitored.rows(tables.Job)
    assert (job.state, job.error) == ("failed", "version 1: its file is gone: roll back")
    assert monitored.rows(Evaluation) == []


def test_all_is_shown_at_one_look(monitored: Monitored, training: Any) -> None:
    monitored.watch(retrain={"wrong": 5, "training": TRAINING})
    monitored.evaluated(0.7)
    feedback(monitored, wrong=2, right=3)
    said = monitored.ask("GET", who="admin").json()

    assert said["performance"]["version"] == 1
    assert said["verdict"].startswith(
        "f1_macro on the newest labelled data is 0.700 [0.100, 0.900]"
    )
    assert said["triggers"]["wrong"]["value"] == 2 and not said["triggers"]["wrong"]["met"]
    assert monitored.ask("GET", "/evaluations?kind=performance").json() == [said["performance"]]
    assert monitored.ask("GET", "/evaluations?kind=drift").json() == []
    assert monitored.ask("GET", "/subgroups").json()["newest"]["sex"]["f"]["segments"] == 400


def test_addresses_are_for_staff_and_admins(monitored: Monitored) -> None:
    monitored.watch()
    for who, shown in (("staff", TO), ("admin", TO), ("scientist", None)):
        watch, (kept,) = (monitored.ask("GET", path, who).json() for path in ("", "/watch"))
        assert watch["watch"]["settings"].get("mail") == kept["settings"].get("mail") == shown


def test_a_metric_is_checked_though_the_model_cannot_answer(
    monitored: Monitored, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = Model(MODEL, "0" * 12, why_not="away")
    monkeypatch.setattr(monitored.service, "models", [away])
    answer = monitored.ask("PUT", "/watch", json=WATCH | {"metric": "challenge_f1"})
    assert answer.status_code == 422 and "it has accuracy" in answer.text
    monitored.watch()


def test_of_very_many_evaluations_the_oldest_go(
    monitored: Monitored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor, "MOST", 3)
    for number in range(5):
        monitored.evaluated(number / 10)
    found = monitored.ask("GET", "/evaluations").json()
    values = [one["result"]["newest"]["scores"]["f1_macro"]["value"] for one in found]
    assert values == [0.4, 0.3, 0.2]


def test_all_see_jobs_of_monitoring_and_staff_end_those_of_the_service(
    monitored: Monitored,
) -> None:
    monitored.watch(every_hours=1.0)
    (job,) = tick(monitored)
    desk = monitored.desk
    for who in ("staff", "scientist", "admin"):
        assert desk.ask("GET", f"/jobs/{job}", who).status_code == 200
        assert [one["id"] for one in desk.ask("GET", "/jobs", who).json()] == [job]
    assert desk.ask("DELETE", f"/jobs/{job}", "scientist").status_code == 403
    assert desk.ask("DELETE", f"/jobs/{job}", "staff").status_code == 204
    asked = monitored.ask("POST", "/evaluate", "scientist").json()["job"]
    assert desk.ask("DELETE", f"/jobs/{asked}", "staff").status_code == 403


# The staff's rule of promotion.


def compared(**differences: float | None) -> dict[str, Any]:
    return {
        side: {"missing": "no feedback"}
        if value is None
        else {
            "segments": 500,
            "persons": None if side == "feedback" else 4 if side == "validation" else 5,
            "scores": {"f1_macro": {"difference": value}},
        }
        for side, value in differences.items()
    }


RULE = {"metric": "f1_macro", "at_least": {"validation": -0.01, "newest": 0.02}}


@pytest.mark.parametrize(
    ("comparison", "holds"),
    [
        (compared(validation=-0.01, newest=0.02), True),
        (compared(validation=-0.0101, newest=0.5), False),
        (compared(validation=0.5, newest=0.0199), False),
        (compared(validation=0.5, newest=None), False),
        (compared(validation=0.5), False),
        (compared(validation=0.5, newest=float("nan")), False),
        (compared(validation=0.5, newest=0.5, feedback=-1.0), True),  # not asked for
        (compared(test=1.0), False),
        (None, False),
    ],
)
def test_a_rule_holds_where_every_side_that_it_names_is_better_by_as_much(
    comparison: dict[str, Any] | None, holds: bool
) -> None:
    found, why = watches.holds(watches.Settings(**WATCH | {"promote": RULE}), comparison)

    assert found is holds
    assert why.endswith(".") and why.startswith("Promoted by rule" if holds else "No promotion")


@pytest.mark.parametrize(
    ("side", "changes"),
    [
        ("newest", {"persons": 4}),
        ("newest", {"persons": None}),
        ("feedback", {"segments": 499}),
    ],
)
def test_a_rule_does_not_hold_by_a_single_person_or_a_few_answers(
    side: str, changes: dict[str, Any]
) -> None:
    rule = {"promote": {"metric": "f1_macro", "at_least": {side: 0.0}}}
    settings = watches.Settings(**WATCH | rule)
    comparison = compared(**{side: 1.0})
    assert watches.holds(settings, comparison)[0]
    comparison[side] |= changes

    found, why = watches.holds(settings, comparison)
    assert not found and "at least" in why


def test_without_a_rule_nothing_holds() -> None:
    for settings in (None, watches.Settings(**WATCH)):
        assert not watches.holds(settings, compared(validation=1.0, newest=1.0, feedback=1.0))[0]


# Drift.


def test_drift_is_told_when_it_comes_and_when_it_goes(
    monitored: Monitored, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(*names: str) -> Callable[..., dict[str, Any]]:
        rows = [{"name": name, "drifted": True} for name in names]
        rows += [{"name": "mix", "drifted": False}]
        said = {"version": 1, "rows": rows, "drifted": bool(names), "sentence": "what is other"}
        return lambda *_, **__: dict(said)

    def looked(*names: str, newest: int = 30) -> None:
        monkeypatch.setattr(drifts, "look", look(*names))
        assert monitored.ask("POST", "/drift", json={"newest": newest}).status_code == 202
        assert worker.work_once(monitored.service, "drift")

    monitored.watch(drift={"every_hours": 1.0, "newest": 30})
    for names in ((), ("amplitude",), ("amplitude",), ("amplitude", "high"), ("high",), (), ()):
        looked(*names)
        looked("wander", newest=6)  # which whoever asked has chosen
        looked(newest=1000)

    told = [what for to, what in monitored.mails() if to == TO[0]]
    assert told == ["drift in amplitude", "drift in amplitude, high", "the drift is over"]
    said = monitored.ask("GET").json()["drift"]["result"]
    assert (said["sentence"], said["asked"]) == ("what is other", 30)


def test_the_first_answers_become_the_reference_only_if_staff_say_so(
    monitored: Monitored, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def adopt(*_: Any, first: int, progress: Any) -> dict[str, Any]:
        asked.append(first)
        return {}

    monkeypatch.setattr(drifts, "adopt", adopt)
    for who in ("scientist", "admin"):
        assert monitored.ask("POST", "/reference", who, json={"first": 9}).status_code == 403
    assert monitored.ask("POST", "/reference", json={"first": 9}).status_code == 202
    assert monitored.ask("POST", "/reference", json={"first": 9}).status_code == 409
    worker.work_once(monitored.service, "drift")

    assert asked == [9]

    def gone(*_: Any) -> Any:
        raise InputError("version 1: its file is gone: roll back")

    monkeypatch.setattr(registry, "predictor", gone)  # which is not needed to take it back
    assert monitored.ask("DELETE", "/reference").status_code == 204
