"""Trainings that begin by themselves: once for each cause, and told."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from retrace.errors import InputError
from retrace.service import registry, tables, tallies, trainings
from retrace.service.problems import Problem
from tests.desk import MODEL
from tests.monitored import (
    HELD,
    TO,
    TRAINING,
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


def test_wrong_answers_begin_one_training_and_as_many_more_another_one(
    monitored: Monitored, training: Any
) -> None:
    monitored.watch(retrain={"wrong": 3, "training": TRAINING})
    feedback(monitored, wrong=2, right=9)
    assert tick(monitored) == []
    feedback(monitored, wrong=1)
    assert len(tick(monitored)) == 1
    feedback(monitored, wrong=5)
    assert tick(monitored) == [], "one is open"
    with monitored.service.database.write() as session:  # those are of before the next one
        for row in session.scalars(select(tables.Feedback)):
            row.created -= timedelta(days=1)
    done(monitored)
    for _ in range(3):
        assert tick(monitored) == []
    feedback(monitored, wrong=3)
    assert len(tick(monitored)) == 1

    (given, why), _ = training
    assert (given.model, given.recipe) == (MODEL, MODEL)
    assert why.startswith("3 answers wrong by feedback since ") and why.endswith(", limit 3")
    assert monitored.mails() == [(to, "a training begins") for to in TO] * 2


def test_an_answer_that_was_set_right_again_is_not_wrong(monitored: Monitored) -> None:
    feedback(monitored, wrong=1)
    assert called_wrong(monitored) == 1
    (row,) = monitored.rows(tables.Feedback)
    with monitored.service.database.write() as session:  # of a single beat: as a whole
        session.add(
            tables.Feedback(prediction_id=row.prediction_id, segment=None, answered="N", label="N")
        )
    assert called_wrong(monitored) == 0


@pytest.mark.parametrize(
    "changes", [{"kind": "random"}, {"version": "0" * 12}, {"model": "another"}]
)
def test_wrong_answers_of_another_version_or_of_the_test_part_do_not_count(
    monitored: Monitored, changes: dict[str, str]
) -> None:
    feedback(monitored, wrong=1)
    with monitored.service.database.write() as session:
        session.execute(update(tables.Prediction).values(**changes))

    assert called_wrong(monitored) == 0


def called_wrong(monitored: Monitored) -> int:
    with monitored.service.database.read() as session:
        version = registry.production(session, MODEL)
        assert version
        return tallies.wrong(session, version, tables.now() - timedelta(hours=1))


def test_new_samples_count_only_if_a_training_may_learn_from_them(
    monitored: Monitored, training: Any
) -> None:
    monitored.watch(retrain={"samples": 1000, "training": TRAINING})
    upload(monitored, 999)
    upload(monitored, 5000, person=None)
    upload(monitored, 5000, person=HELD)
    assert tick(monitored) == []
    upload(monitored, 1)
    assert len(tick(monitored)) == 1
    done(monitored)
    assert tick(monitored) == []
    assert training[0][1].startswith("1000 newly labelled beats since ")


def test_recordings_are_counted_again_only_when_one_came_or_went(
    monitored: Monitored, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []

    def kept_out(person: str) -> bool:
        looked.append(person)
        return False

    def counted() -> int:
        with monitored.service.database.read() as session:
            return tallies.samples(session, since, frozenset())

    monkeypatch.setattr(tallies, "kept_out", kept_out)
    since = tables.now() - timedelta(hours=1)
    upload(monitored, 7)
    assert [counted(), counted(), counted(), len(looked)] == [7, 7, 7, 1]
    upload(monitored, 5)
    assert counted() == 12
    with monitored.service.database.write() as session:
        session.delete(session.scalars(select(tables.Recording)).first())
    assert counted() in (5, 7)


def test_a_metric_below_the_limit_begins_one_training_until_there_is_something_new(
    monitored: Monitored, training: Any
) -> None:
    monitored.watch(suspend_below=None, retrain={"below": 0.5, "training": TRAINING})
    monitored.evaluated(0.4, segments=499)
    assert tick(monitored) == [], "too little to tell"
    monitored.evaluated(0.5)
    assert tick(monitored) == []
    monitored.evaluated(0.1, newest=1)
    assert tick(monitored) == [], "not those that the watch asks for"
    monitored.evaluated(0.4)
    assert len(tick(monitored)) == 1
    done(monitored)
    for _ in range(3):
        monitored.evaluated(0.3)
        assert tick(monitored) == [], "the same data would make the same model"
    upload(monitored, 5000, person=HELD)
    assert tick(monitored) == [], "nothing may be learned from those"
    upload(monitored, 499)
    assert tick(monitored) == [], "too little to learn from"
    upload(monitored, 1)
    assert len(tick(monitored)) == 1
    done(monitored)
    assert tick(monitored) == []
    assert len(training) == 2


def test_a_version_that_a_training_made_begins_no_other_one(
    monitored: Monitored, training: Any
) -> None:
    monitored.watch(suspend_below=None, retrain={"below": 0.5, "wrong": 2, "training": TRAINING})
    feedback(monitored, wrong=2)
    monitored.evaluated(0.4)
    assert len(tick(monitored)) == 1
    done(monitored)
    with monitored.service.database.write() as session:
        old = registry.production(session, MODEL)
        assert old
        values = {column.key: getattr(old, column.key) for column in old.__mapper__.column_attrs}
        new = type(old)(**values | {"id": tables.new_id(), "number": 2, "created": tables.now()})
        session.add(new)
        session.flush()
    try:
        monitored.evaluated(0.4)
        assert tick(monitored) == []
        assert monitored.ask("GET").json()["triggers"]["wrong"]["value"] == 0
    finally:
        with monitored.service.database.write() as session:
            session.delete(session.get_one(type(new), new.id))


def test_a_training_that_cannot_be_is_told_once(monitored: Monitored, training: Any) -> None:
    def few(*_: Any) -> Any:
        raise InputError("data all: 3 persons; 5 are needed: upload more")

    monitored.watch(retrain={"wrong": 1, "training": TRAINING})
    monitored.patch.setattr(trainings, "check", few)
    feedback(monitored, wrong=1)
    for _ in range(3):
        assert tick(monitored) == []

    assert monitored.mails() == [(to, "a training could not begin") for to in TO]
    assert "3 persons; 5 are needed" in monitored.rows(tables.Mail)[0].body
    (row,) = monitored.ask("GET", "/evaluations?kind=trigger").json()
    assert row["result"]["refused"] and row["result"]["job"] is None


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_a_training_that_began_by_itself_and_came_to_nothing_is_told_once(
    monitored: Monitored, training: Any, state: str
) -> None:
    monitored.watch(retrain={"wrong": 1, "training": TRAINING})
    feedback(monitored, wrong=1)
    tick(monitored)
    tick(monitored)
    assert len(monitored.mails()) == len(TO)
    done(monitored, state)
    tick(monitored)
    tick(monitored)

    assert monitored.mails()[len(TO) :] == [(to, f"a training {state}") for to in TO]
    assert "1 answers wrong by feedback" in monitored.rows(tables.Mail)[-1].body


def test_a_trainer_that_is_away_is_asked_again(
    monitored: Monitored, training: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def away(*_: Any) -> Any:
        raise Problem(503, "the trainer does not answer")

    monitored.watch(retrain={"wrong": 1, "training": TRAINING})
    with monitored.patch.context() as patch:
        patch.setattr(trainings, "check", away)
        feedback(monitored, wrong=1)
        for _ in range(3):
            assert tick(monitored) == []
    assert monitored.mails() == []
    assert len([line for line in caplog.messages if "the trainer does not answer" in line]) == 1
    assert len(tick(monitored)) == 1
