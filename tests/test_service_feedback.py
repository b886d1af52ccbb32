"""Feedback: staff confirm or correct an answer, and what they say stays with it."""

import json
from typing import Any

import numpy as np
import pytest
from sqlalchemy import delete, select

from retrace.service import feedback, tables
from tests.desk import MODEL, Desk, beats

SECRET_WORDS = "called the ward"


def give(desk: Desk, said: dict[str, Any], who: str = "staff", **body: Any) -> Any:
    headers = {"Content-Type": "application/json"} | (desk.people[who].headers if who else {})
    path = f"/predictions/{said['id']}/feedback"
    return desk.client.post(path, content=json.dumps(body), headers=headers)


def kept(desk: Desk, said: dict[str, Any]) -> list[dict[str, Any]]:
    with desk.service.database.read() as session:
        return feedback.of(session, said["id"])


def test_the_label_that_was_answered_confirms_and_another_corrects(desk: Desk) -> None:
    said = desk.predicted(beats("NV"))

    confirmed = give(desk, said, segment=1, label="V")
    corrected = give(desk, said, segment=0, label="S", comment=SECRET_WORDS)
    assert (confirmed.status_code, corrected.status_code) == (201, 201)
    assert (confirmed.json()["answered"], confirmed.json()["agrees"]) == ("V", True)
    assert (corrected.json()["answered"], corrected.json()["agrees"]) == ("N", False)
    assert [row["label"] for row in kept(desk, said)] == ["V", "S"]
    assert kept(desk, said)[1]["comment"] == SECRET_WORDS


def test_the_latest_on_a_segment_counts_and_the_earlier_stays(desk: Desk) -> None:
    said = desk.predicted(beats("NV"))
    for segment, label in ((0, "S"), (1, "V"), (0, "N")):
        give(desk, said, segment=segment, label=label)

    assert [(row["segment"], row["label"], row["counts"]) for row in kept(desk, said)] == [
        (0, "S", False),
        (1, "V", True),
        (0, "N", True),
    ]


def test_of_one_beat_the_number_need_not_be_given(desk: Desk) -> None:
    said = desk.predicted(beats("V"), placed=False)

    assert give(desk, said, label="V").json()["agrees"] is True
    assert give(desk, said, segment=None, label="F").json()["segment"] is None
    assert [row["counts"] for row in kept(desk, said)] == [False, True]


def test_a_recording_as_a_whole_is_confirmed_where_the_model_answers_it(desk: Desk) -> None:
    windows = beats("NVV", unit="window", span=1.0, together=np.array([0.1, 0.6, 0.1, 0.1, 0.1]))

    assert give(desk, desk.predicted(windows), label="S").json()["answered"] == "S"
    refused = give(desk, desk.predicted(beats("NVV")), label="S")
    assert refused.status_code == 422
    assert "give the number" in refused.json()["detail"]


@pytest.mark.parametrize(
    "body",
    [
        {"segment": 2, "label": "V"},
        {"segment": -1, "label": "V"},
        {"segment": 2**31, "label": "V"},
        {"segment": 0.5, "label": "V"},
        {"segment": True, "label": "V"},
        {"segment": "0", "label": "V"},
        {"segment": 0, "label": "AF"},
        {"segment": 0, "label": ""},
        {"segment": 0, "label": "v"},
        {"segment": 0, "label": "x" * 33},
        {"segment": 0, "label": "V\x00"},
        {"segment": 0},
        {"segment": 0, "label": "V", "comment": "\x00"},
        {"segment": 0, "label": "V", "comment": "\ud800"},
        {"segment": 0, "label": "V", "comment": "x" * 2001},
        {"segment": 0, "label": "V", "comment": None},
        {"segment": 0, "label": "V", "by": "me"},
    ],
)
def test_what_the_answer_does_not_have_is_refused_and_nothing_kept(
    desk: Desk, body: dict[str, Any]
) -> None:
    said = desk.predicted(beats("NV"))

    assert give(desk, said, **body).status_code == 422
    assert kept(desk, said) == []


def test_only_staff_give_feedback_and_data_scientists_read_it(desk: Desk) -> None:
    said = desk.predicted(beats("V"))  # the data scientist's own
    for who, status in (("", 401), ("none", 403), ("scientist", 403), ("admin", 403)):
        assert give(desk, said, who, label="V").status_code == status
    assert kept(desk, said) == []
    for who, status in (("", 401), ("none", 403), ("admin", 403), ("scientist", 200)):
        assert desk.ask("GET", "/feedback", who).status_code == status


def test_data_scientists_read_comments_on_their_own_predictions_alone(desk: Desk) -> None:
    for owner in ("scientist", "staff"):
        said = desk.predicted(beats("V"), who=owner)
        give(desk, said, segment=0, label="V", comment=SECRET_WORDS)

    def comments(who: str) -> list[str | None]:
        return [row["comment"] for row in desk.ask("GET", "/feedback", who).json()]

    assert comments("scientist") == [None, SECRET_WORDS]
    assert comments("staff") == [SECRET_WORDS] * 2


def test_there_is_no_feedback_to_a_prediction_that_is_not_there(desk: Desk) -> None:
    assert give(desk, {"id": "0" * 32}, label="V").status_code == 404
    assert give(desk, {"id": "x" * 32}, label="V").status_code == 422


def test_all_feedback_is_listed_by_model_and_by_whether_it_agrees(desk: Desk) -> None:
    said = desk.predicted(beats("NVS"))
    for segment, label in enumerate("NNN"):
        give(desk, said, segment=segment, label=label)

    def asked(query: str) -> list[Any]:
        return [row["segment"] for row in desk.ask("GET", f"/feedback?{query}").json()]

    assert asked("") == [2, 1, 0]
    assert asked("agrees=true") == [0]
    assert asked("agrees=false") == [2, 1]
    assert asked(f"model={MODEL}&limit=2") == [2, 1]
    assert asked("model=other") == []
    last = desk.ask("GET", "/feedback?limit=2").json()[-1]
    assert last["model"] == MODEL
    assert asked(f"before={last['id']}") == [0]
    for query in ("limit=0", "before=x", "model=%00", "agrees=perhaps"):
        assert desk.ask("GET", f"/feedback?{query}").status_code == 422


def test_the_audit_says_who_corrected_what_without_the_comment(desk: Desk) -> None:
    said = desk.predicted(beats("NV"))
    give(desk, said, segment=1, label="F", comment=SECRET_WORDS)

    with desk.service.database.read() as session:
        line = session.scalars(select(tables.Audit).where(tables.Audit.action == "feedback")).one()
    assert (line.user_id, line.subject) == (desk.people["staff"].id, said["id"])
    assert line.detail == {"segment": 1, "label": "F"}


def test_feedback_goes_with_its_prediction_and_outlives_its_author(desk: Desk) -> None:
    from retrace.service import accounts

    said = desk.predicted(beats("V"))
    with desk.service.database.write() as session:
        author = accounts.create(session, "once@example.org", "correct-horse-battery", role="staff")
    feedback.give(desk.service.database, said["id"], segment=0, label="V", comment="", by=author.id)
    with desk.service.database.write() as session:
        session.execute(delete(tables.User).where(tables.User.id == author.id))
    assert [row["by"] for row in kept(desk, said)] == [None]
    with desk.service.database.write() as session:
        session.execute(delete(tables.Prediction).where(tables.Prediction.id == said["id"]))
    assert kept(desk, said) == []
