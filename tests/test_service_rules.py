"""The staff's rules: without one nothing is flagged; with one, exactly what it says."""

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from retrace.deploy.judged import Judged, Limits
from retrace.deploy.summary import summary
from retrace.service import rulebook, tables
from retrace.service.problems import Problem
from retrace.service.rules import Rule, Rules
from tests.desk import CLASSES, Desk, beats


def reasons(rules: Rules, names: str, **changes: Any) -> list[str]:
    return [flag.reason for flag in rules.judge(beats(names, **changes)).flags]


def test_without_a_rule_nothing_is_flagged_and_the_answer_says_so() -> None:
    verdict = Rules().judge(beats("VVV", p=1))

    assert (verdict.set, verdict.flagged, verdict.segments, verdict.uncertain) == (
        False,
        None,
        None,
        None,
    )
    assert verdict.flags == ()
    assert verdict.flagging == "Nothing is flagged: the staff have set no rule."


def test_rules_of_other_classes_are_no_rules_for_a_model() -> None:
    verdict = Rules({"AF": Rule(0.1, 1, 0.1, 1)}).judge(beats("VVV"))

    assert (verdict.set, verdict.flagged, verdict.flags) == (False, None, ())
    assert "no rule for the classes of this model" in verdict.flagging


@given(
    rows=st.lists(st.lists(st.floats(0, 1), min_size=5, max_size=5), min_size=1, max_size=20),
    limit=st.floats(1e-9, 1),
)
def test_a_beat_is_flagged_from_the_probability_of_its_rule_and_not_below(
    rows: list[list[float]], limit: float
) -> None:
    p = np.array(rows)
    verdict = Rules({"V": Rule(limit)}).judge(beats("N" * len(p), probabilities=p))

    assert verdict.segments is not None
    assert verdict.segments.tolist() == [row[2] >= limit for row in rows]
    assert verdict.flagged is any(row[2] >= limit for row in rows)


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (Rule(count=3), "V: 3 beats, rule: at least 3"),
        (Rule(burden=0.3), "V: 0.3 of 10 certain beats, rule: at least 0.3"),
        (Rule(run=2), "V: 2 beats in a row, rule: at least 2"),
    ],
)
def test_a_recording_is_flagged_from_each_limit_of_its_rule(rule: Rule, says: str) -> None:
    assert reasons(Rules({"V": rule}), "NVVNNVNNNN") == [says]
    assert reasons(Rules({"V": rule}), "NVNNNVNNNN") == []  # one beat fewer


def test_only_what_flagged_is_named_as_what_flagged() -> None:
    rules = Rules({"V": Rule(0.5, 2), "S": Rule(0.9), "F": Rule(None, 2)})

    said = rules.judge(beats("NVVN", p=0.8)).flagging
    assert said == (
        "2 of 4 beats are flagged by the rules for V; the recording is flagged by the rules for V."
    )
    said = rules.judge(beats("NNNN", p=0.8)).flagging
    assert said == (
        "None of 4 beats is flagged by the rules for S, V; "
        "the recording is not flagged by the rules for V, F."
    )


def test_what_is_uncertain_counts_for_nothing_and_breaks_a_row() -> None:
    rules = Rules({"V": Rule(count=3, run=2)}, reject=0.6)
    sure = beats("VVV").probabilities
    doubtful = sure.copy()
    doubtful[1] = [0.1, 0.1, 0.5, 0.2, 0.1]

    assert reasons(rules, "VVV", probabilities=sure)
    verdict = rules.judge(beats("VVV", probabilities=doubtful))
    assert verdict.flags == ()
    assert verdict.doubt == "1 of 3 beats is uncertain: below a probability of 0.6."


def test_a_burden_is_the_share_of_what_is_certain() -> None:
    p = beats("VNNN").probabilities
    p[2:] = 0.2

    assert reasons(Rules({"V": Rule(burden=0.5)}), "VNNN", probabilities=p) == []
    assert reasons(Rules({"V": Rule(burden=0.5)}, 0.6), "VNNN", probabilities=p) != []


def test_a_beat_that_got_no_answer_breaks_a_row() -> None:
    rules = Rules({"V": Rule(run=3)})

    assert reasons(rules, "VVV")
    assert reasons(rules, "VVV", left_out=((800, "too near to the end"),)) == []


@given(st.text("NSV", min_size=1, max_size=60), st.integers(3, 8))
def test_the_longest_run_is_that_of_the_summary(names: str, run: int) -> None:
    answer = beats(names)
    longest = summary(Judged(answer, Limits()))["ectopic"]["v_longest_run"]

    assert bool(Rules({"V": Rule(run=run)}).judge(answer).flags) == (longest >= run)


def test_beats_that_came_by_themselves_make_no_recording() -> None:
    rules = Rules({"V": Rule(count=1, burden=0.1, run=1)})
    verdict = rules.judge(beats("VVV"), placed=False)

    assert (verdict.set, verdict.flagged, verdict.flags) == (True, None, ())
    assert "those for a recording (V) do not apply" in verdict.flagging


def test_there_is_one_flag_for_each_class_and_level_which_says_how_many_and_where() -> None:
    rules = Rules({"V": Rule(0.5, count=1), "S": Rule(0.95, count=9)})
    flags = rules.judge(beats("NVVVVS")).flags

    assert [(flag.name, flag.level) for flag in flags] == [("V", "segment"), ("V", "recording")]
    assert flags[0].reason == (
        "V: 4 beats, rule: a probability of at least 0.5; "
        "at 0:00:02.000, 0:00:03.000, 0:00:04.000 and so on"
    )


def test_staff_set_a_rule_and_nobody_else_does(desk: Desk) -> None:
    for who, status in (("", 401), ("none", 403), ("admin", 403), ("scientist", 403)):
        for path in ("/rules/V", "/rules/uncertain"):
            body = {"probability": 0.5}
            assert desk.ask("PUT", path, who, json=body).status_code == status
            assert desk.ask("DELETE", path, who).status_code == status
    assert desk.ask("GET", "/rules").json()["flag"] == []
    assert desk.ask("PUT", "/rules/V", json={"probability": 0.5}).status_code == 200
    for who, status in (("", 401), ("none", 403), ("admin", 200), ("scientist", 200)):
        assert desk.ask("GET", "/rules", who).status_code == status


def test_a_rule_holds_from_the_next_answer_on_until_it_is_removed(desk: Desk) -> None:
    assert desk.predicted(beats("NVN"))["flagging"]["set"] is False
    desk.ask("PUT", "/rules/V", json={"probability": 0.5})
    desk.ask("PUT", "/rules/uncertain", json={"probability": 0.95})
    said = desk.predicted(beats("NVN"))

    assert said["flagging"]["flagged"] is True
    assert [row["flagged"] for row in said["segments"]] == [False, True, False]
    assert [row["uncertain"] for row in said["segments"]] == [True, True, True]
    assert desk.ask("DELETE", "/rules/V").status_code == 204
    assert desk.ask("DELETE", "/rules/uncertain").status_code == 204
    assert desk.ask("DELETE", "/rules/V").status_code == 404
    said = desk.predicted(beats("NVN"))
    assert (said["flagging"]["set"], said["uncertainty"]["set"]) == (False, False)


def test_a_change_keeps_what_was_before_and_who_changed_it(desk: Desk) -> None:
    desk.ask("PUT", "/rules/V", json={"probability": 0.5, "count": 10})
    desk.ask("PUT", "/rules/V", json={"run": 3})

    new, old = desk.ask("GET", "/rules?history=true").json()["flag"]
    assert (new["run"], new["probability"], new["ended"]) == (3, None, None)
    assert (old["run"], old["probability"], old["count"]) == (None, 0.5, 10)
    assert old["ended"] is not None
    assert new["by"] == old["by"] == desk.people["staff"].id
    assert [rule["run"] for rule in desk.ask("GET", "/rules").json()["flag"]] == [3]
    with desk.service.database.read() as session:
        line = session.scalars(select(tables.Audit).order_by(tables.Audit.id)).all()[-1]
    assert (line.action, line.subject, line.user_id) == ("rule.set", "V", new["by"])
    assert line.detail == {"old_probability": 0.5, "old_count": 10, "new_run": 3}


@pytest.mark.parametrize(
    "body",
    [
        "{}",
        '{"probability": null}',
        '{"probability": NaN}',
        '{"probability": Infinity}',
        '{"probability": 1e999}',
        '{"probability": true}',
        '{"probability": "0.5"}',
        '{"probability": 0}',
        '{"probability": 1.0000001}',
        '{"probability": -0.5}',
        '{"burden": 0}',
        '{"burden": 12}',
        '{"count": 0}',
        '{"count": 1.5}',
        '{"count": true}',
        '{"count": 99999999999999999999}',
        '{"run": -1}',
        '{"probability": 0.5, "treshold": 1}',
        "[]",
        "0.5",
    ],
)
def test_values_out_of_bounds_are_refused_and_change_nothing(desk: Desk, body: str) -> None:
    headers = {**desk.people["staff"].headers, "Content-Type": "application/json"}
    for path in ("/rules/V", "/rules/uncertain"):
        if path == "/rules/V" or "probability" in body:
            assert desk.client.put(path, content=body, headers=headers).status_code == 422
    said = desk.ask("GET", "/rules?history=true").json()
    assert (said["flag"], said["uncertain"]) == ([], [])


@pytest.mark.parametrize("name", ["N", "n", "NSR", "AF", "x" * 33, "*", "%00", "%0A", "v", "%20"])
def test_what_is_normal_or_no_class_of_a_served_model_gets_no_rule(desk: Desk, name: str) -> None:
    answer = desk.ask("PUT", f"/rules/{name}", json={"probability": 0.5})

    assert answer.status_code == 422
    assert isinstance(answer.json()["detail"], str)


def test_two_who_set_a_rule_at_the_same_moment_leave_one_in_force(desk: Desk) -> None:
    ready = Barrier(8)

    def put(count: int) -> int:
        ready.wait()
        answer = desk.ask("PUT", "/rules/V", json={"count": count})
        return int(answer.status_code)

    with ThreadPoolExecutor(8) as pool:
        statuses = set(pool.map(put, range(1, 9)))

    assert statuses <= {200, 409}
    assert 200 in statuses
    in_force = desk.ask("GET", "/rules").json()["flag"]
    assert len(in_force) == 1
    assert desk.service.rules.current().flags == {"V": Rule(count=in_force[0]["count"])}


def test_a_rule_that_was_just_set_is_not_ended_unseen(desk: Desk) -> None:
    def put(count: int) -> Any:
        return desk.ask("PUT", "/rules/V", json={"count": count})

    put(1)
    staff = desk.people["staff"].id
    with ThreadPoolExecutor(1) as pool:
        with desk.service.database.write() as session:  # another server's: it sets 2
            (old,) = session.scalars(select(tables.Rule).where(tables.Rule.ended.is_(None)))
            old.ended = tables.now()
            session.flush()
            session.add(tables.Rule(name="V", count=2, user_id=staff))
            session.flush()
            later = pool.submit(put, 3)
            time.sleep(0.5)  # it has begun, and waits for this row or this database
        answer = later.result()

    (in_force,) = desk.ask("GET", "/rules").json()["flag"]
    with desk.service.database.read() as session:
        ended = select(tables.Audit.detail).where(tables.Audit.action == "rule.set")
        seen = [detail.get("old_count") for detail in session.scalars(ended)]
    if answer.status_code == 409:
        assert in_force["count"] == 2
    else:  # it read the rule that it took the place of
        assert (in_force["count"], 2 in seen) == (3, True)


def test_a_change_by_another_process_is_seen(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rulebook, "EVERY", 0.01)
    other = rulebook.Rulebook(desk.service.database)
    try:
        desk.ask("PUT", "/rules/V", json={"probability": 0.5})
        until = time.monotonic() + 10
        while not other.current().flags and time.monotonic() < until:
            time.sleep(0.01)
        assert other.current().flags == {"V": Rule(0.5)}
    finally:
        other.close()


def test_rules_that_cannot_be_read_are_no_longer_applied(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down() -> Any:
        raise OperationalError("SELECT", {}, Exception("connection refused"))

    desk.ask("PUT", "/rules/V", json={"probability": 0.5})
    rules = desk.service.rules
    with monkeypatch.context() as patch:
        patch.setattr(desk.service.database, "read", down)
        patch.setattr(rulebook, "STALE", -1.0)
        with pytest.raises(Problem) as raised:
            rules.current()
        assert raised.value.status == 503
        assert "database" in raised.value.detail
    rules.read()
    assert rules.current().flags == {"V": Rule(0.5)}


def test_every_class_that_is_not_normal_can_have_a_rule(desk: Desk) -> None:
    for name in CLASSES[1:]:
        assert desk.ask("PUT", f"/rules/{name}", json={"probability": 0.5}).status_code == 200
    said = desk.ask("GET", "/rules").json()
    assert said["sentence"] == "Rules are set for F, Q, S, V."
