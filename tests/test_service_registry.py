"""The registry: versions, which of them answers, promotion and the way back, whatever happens to
files and processes."""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError

from retrace.errors import InputError
from retrace.service import follower, registry, registry_files, registry_rows, tables
from retrace.service.problems import Problem
from retrace.service.state import opened
from retrace.service.tables_models import Alias, Promotion, Suspension, Version
from tests.heartbeats import MITBIH
from tests.linear_model import beats_of
from tests.registered import SPLIT, new, publish, train
from tests.serving import service_settings

FILE = registry_files.FILE


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository that has published the models "a" and "b"."""
    for name in ("a", "b"):
        publish(tmp_path / "repository", name)
    return tmp_path / "repository"


@pytest.fixture
def settings(tmp_path: Path, root: Path, database_url: str) -> Any:
    return service_settings(tmp_path, root=root, models="", database_url=database_url)


@pytest.fixture
def service(settings: Any) -> Iterator[Any]:
    with opened(settings) as service:
        yield service


def promote(service: Any, model: str, number: int, **options: Any) -> Promotion:
    with service.database.write() as session:
        made = registry.promote(session, service.settings, model, number, by=None, **options)
    service.follower.changed()
    return made


def rollback(service: Any, model: str, **options: Any) -> Promotion:
    with service.database.write() as session:
        made = registry.rollback(session, service.settings, model, by=None, **options)
    service.follower.changed()
    return made


def in_production(service: Any, model: str = "a") -> int | None:
    with service.database.read() as session:
        found = registry.production(session, model)
    return found.number if found else None


def file_of(service: Any, number: int, model: str = "a") -> Path:
    with service.database.read() as session:
        found = registry.version(session, model, number)
    return registry.path(service.settings, found.id) / FILE


def temperature(service: Any, model: str = "a") -> float:
    """Which version answers: each has a temperature of its own."""
    found: float = service.models.get(model).usable.card.temperature
    return found


def until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_published_model_is_version_1_in_production_with_its_run(service: Any) -> None:
    with service.database.read() as session:
        found = registry.production(session, "a")
        (row,) = registry_rows.history(session, "a", 10)

    assert found and (found.number, found.source, found.weights) == (1, "published", "0" * 64)
    assert found.metrics["validation"] == {"val_f1_macro": 0.5}
    assert found.data["split"] == SPLIT and found.data["raw"].endswith(".dir")
    assert row[0].action == "publish"
    assert (
        file_of(service, 1).read_bytes()
        == (service.settings.root / "recipes/a" / FILE).read_bytes()
    )
    assert service.models.get("a").number == 1


def test_processes_that_start_at_once_register_a_model_once(settings: Any) -> None:
    ready, stay = Barrier(3, timeout=60), Barrier(3, timeout=60)

    def start(_: int) -> int | None:
        ready.wait()
        with opened(settings) as service:
            stay.wait()
            return in_production(service)

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(start, range(3))) == [1, 1, 1]
    with opened(settings) as service, service.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Version)) == 2
        assert session.scalar(select(func.count()).select_from(Promotion)) == 2


def test_a_model_that_is_published_anew_waits_for_a_promotion(
    settings: Any, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(settings):
        pass
    publish(root, "a", weights="7")

    with caplog.at_level(logging.INFO), opened(settings) as service:
        assert in_production(service) == 1 and temperature(service) == 1.0
        assert "model a: version 2 was published and waits for a promotion" in caplog.text
        promote(service, "a", 2)
        assert temperature(service) == 8.0


def test_a_promoted_version_answers_and_the_path_is_logged(
    service: Any, caplog: pytest.LogCaptureFixture
) -> None:
    before = service.models.get("a")
    assert train(service, "a", "1") == 2

    with caplog.at_level(logging.INFO):
        made = promote(service, "a", 2, reason="better")

    assert temperature(service) == 2.0 and service.models.get("a").number == 2
    assert service.models.get("a").version == "1" * 12
    old, there = (f"registry/{file_of(service, n).parent.name}/{FILE}" for n in (1, 2))
    assert f"promote of version 2: from version 1, {old} to {there}" in caplog.text
    with service.database.read() as session:
        line = session.scalars(
            select(tables.Audit).where(tables.Audit.action == "version.promote")
        ).one()
    assert (line.detail["from_path"], line.detail["to_path"]) == (old, there)
    assert (made.action, made.reason) == ("promote", "better")
    # A request that had its model before the change ends with that one.
    X = beats_of(MITBIH)[:1]
    assert before.usable.card.temperature == 1.0
    assert not np.array_equal(
        before.usable.probabilities(X), service.models.get("a").usable.probabilities(X)
    )


def test_other_processes_follow_within_two_seconds(service: Any, settings: Any) -> None:
    train(service, "a", "1")
    with opened(settings) as other:
        promote(service, "a", 2)

        until(lambda: temperature(other) == 2.0)
        rollback(other, "a")
        until(lambda: temperature(service) == 1.0)


def test_nothing_is_promoted_or_logged_by_a_transaction_that_fails(
    service: Any, caplog: pytest.LogCaptureFixture
) -> None:
    train(service, "a", "1")

    with (
        caplog.at_level(logging.INFO),
        pytest.raises(ZeroDivisionError),
        service.database.write() as session,
    ):
        registry.promote(session, service.settings, "a", 2, by=None)
        raise ZeroDivisionError

    assert in_production(service) == 1 and "promote of version" not in caplog.text


@pytest.mark.parametrize(
    ("number", "options", "status", "said"),
    [
        (9, {}, 404, "the registry has no version 9"),
        (1, {}, 409, "in production already"),
        (2, {"expected": 2}, 409, "version 1 is in production, not version 2"),
    ],
)
def test_what_cannot_be_promoted_is_refused(
    service: Any, number: int, options: dict[str, Any], status: int, said: str
) -> None:
    train(service, "a", "1")

    with pytest.raises(Problem, match=said) as refused:
        promote(service, "a", number, **options)

    assert refused.value.status == status and in_production(service) == 1


def damage(path: Path) -> None:
    """As a bad disk may: as long as before, and with its time."""
    stamp, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))


@pytest.mark.parametrize(("harm", "said"), [(Path.unlink, "is gone"), (damage, "is damaged")])
def test_a_version_without_its_file_is_not_promoted_nor_rolled_back_to(
    service: Any, harm: Callable[[Path], None], said: str
) -> None:
    train(service, "a", "1")
    harm(file_of(service, 2))
    with pytest.raises(Problem, match=said):
        promote(service, "a", 2)
    train(service, "a", "2")
    promote(service, "a", 3)
    harm(file_of(service, 1))
    with pytest.raises(Problem, match=said) as refused:
        rollback(service, "a")

    assert refused.value.status == 409 and "promote another version" in str(refused.value)
    assert in_production(service) == 3 and temperature(service) == 3.0


@pytest.mark.parametrize("expected", [1, None])
def test_of_promotions_at_once_the_history_stays_whole(service: Any, expected: int | None) -> None:
    for weights in "123":
        train(service, "a", weights)
    ready = Barrier(3, timeout=60)

    def one(number: int) -> str:
        ready.wait()
        try:
            promote(service, "a", number, expected=expected)
        except Problem as refused:
            return str(refused.status)
        return "done"

    with ThreadPoolExecutor(3) as pool:
        said = sorted(pool.map(one, (2, 3, 4)))

    assert said == (["409", "409", "done"] if expected else ["done"] * 3)
    for _ in range(said.count("done")):  # each remembers the one that it replaced
        rollback(service, "a")
    assert in_production(service) == 1
    with service.database.read() as session:
        assert session.scalar(select(func.count()).where(Alias.model == "a")) == 1


def test_each_rollback_goes_one_promotion_further_back(service: Any) -> None:
    for weights, number in (("1", 2), ("2", 3)):
        train(service, "a", weights)
        promote(service, "a", number)

    assert rollback(service, "a").action == "rollback" and temperature(service) == 2.0
    rollback(service, "a")
    assert temperature(service) == 1.0
    with pytest.raises(Problem, match="no version was in production before") as refused:
        rollback(service, "a")
    assert refused.value.status == 409 and temperature(service) == 1.0
    with pytest.raises(Problem) as unknown:
        rollback(service, "unknown")
    assert unknown.value.status == 404


def test_of_two_who_roll_back_the_same_version_one_is_told(service: Any) -> None:
    for weights, number in (("1", 2), ("2", 3)):
        train(service, "a", weights)
        promote(service, "a", number)

    rollback(service, "a", expected=3)
    with pytest.raises(Problem, match="version 2 is in production, not version 3"):
        rollback(service, "a", expected=3)


def test_versions_that_are_registered_at_once_have_numbers_of_their_own(service: Any) -> None:
    ready = Barrier(4, timeout=60)

    def one(weights: str) -> int:
        ready.wait()
        return train(service, "a", weights)

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(one, "1234")) == [2, 3, 4, 5]


def test_production_without_its_file_says_so_at_the_start_and_comes_back_with_it(
    settings: Any, tmp_path: Path
) -> None:
    with opened(settings) as service:
        train(service, "a", "1")
        promote(service, "a", 2)
        path = file_of(service, 2)
    path.rename(tmp_path / "away")

    with opened(settings) as service:
        with pytest.raises(Problem, match=r"its file is gone.*roll back") as refused:
            service.models.get("a")
        assert refused.value.status == 503
        assert service.models.get("b").usable  # the others go on
        (tmp_path / "away").rename(path)
        until(lambda: service.models.listed("a").predictor is not None)
        assert temperature(service) == 2.0


def test_production_without_its_file_is_left_by_a_rollback(settings: Any) -> None:
    with opened(settings) as service:
        train(service, "a", "1")
        promote(service, "a", 2)
        file_of(service, 2).unlink()

    with opened(settings) as service:
        rollback(service, "a")
        assert temperature(service) == 1.0


def test_a_published_version_gets_its_file_back_at_the_start(settings: Any) -> None:
    with opened(settings) as service:
        damage(file_of(service, 1))

    with opened(settings) as service, service.database.read() as session:
        assert registry.state(settings, registry.version(session, "a", 1)) == "whole"


def test_what_answers_is_in_the_registry_even_where_it_is_no_longer_pulled(
    settings: Any, root: Path
) -> None:
    with opened(settings):
        pass
    (root / "recipes/a" / FILE).unlink()

    with opened(settings) as service:
        assert service.models.get("a").number == 1


def test_a_model_that_nobody_published_is_served_once_it_is_promoted(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(settings) as service:
        assert train(service, "ours", "5") == 1
        service.follower.follow()
        with pytest.raises(Problem, match="not served"):
            service.models.get("ours")
        promote(service, "ours", 1)
        assert temperature(service, "ours") == 6.0
        assert service.models.default == "a"

    with opened(settings.model_copy(update={"models": "ours"})) as service:
        assert [model.name for model in service.models] == ["ours"]
        assert service.models.get(None).number == 1


def test_a_published_model_that_the_settings_leave_out_is_not_served(settings: Any) -> None:
    with opened(settings) as service:
        train(service, "a", "1")
        promote(service, "a", 2)

    with opened(settings.model_copy(update={"models": "b"})) as service:
        assert [model.name for model in service.models] == ["b"]


def test_a_predictor_answers_what_is_published_and_this_process_what_was_trained(
    settings: Any, root: Path
) -> None:
    remote = settings.model_copy(update={"predictor_url": "http://127.0.0.1:1"})
    (root / "recipes/a" / FILE).unlink()  # the predictor has it

    with opened(remote) as service:
        assert service.models.get("a").network is not None
        with service.database.read() as session:
            assert registry.state(remote, registry.version(session, "a", 1)) == "elsewhere"
        train(service, "a", "1")
        promote(service, "a", 2)
        assert service.models.get("a").network is None and temperature(service) == 2.0
        rollback(service, "a")
        assert service.models.get("a").network is not None

    publish(root, "a")
    with opened(settings) as service:  # now its file is here, and completes the version
        assert service.models.get("a").number == 1 and file_of(service, 1).is_file()
        with service.database.read() as session:
            assert len(registry.versions(session, "a")) == 2


def test_without_its_predictor_such_a_version_says_what_is_missing(
    settings: Any, root: Path
) -> None:
    (root / "recipes/a" / FILE).unlink()
    with opened(settings.model_copy(update={"predictor_url": "http://127.0.0.1:1"})):
        pass

    with opened(settings) as service, pytest.raises(Problem, match="its file is gone"):
        service.models.get("a")


KILLED = """
import os, sys
from pathlib import Path
from retrace.service import registry
from tests.registered import new
print(registry.place(Path(sys.argv[1]), new(Path(sys.argv[1]), "a", "1")), flush=True)
os.kill(os.getpid(), 9)
"""


def test_files_of_a_process_that_was_killed_before_the_row_go_an_hour_later(
    settings: Any, service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = settings.home
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(home)], capture_output=True, text=True, check=False
    )
    assert killed.returncode == -9
    left = home / "registry" / killed.stdout.strip()

    registry_files.sweep(settings, service.database)
    assert (left / FILE).is_file()  # another process may be about to register it
    later = time.time() + 2 * registry_files.LEFT
    monkeypatch.setattr(time, "time", lambda: later)
    registry_files.sweep(settings, service.database)

    assert not left.exists() and file_of(service, 1).is_file()
    assert in_production(service) == 1


def test_a_file_that_is_not_what_was_trained_never_enters(service: Any) -> None:
    one = new(service.settings.home, "a", "1")
    (one.files / FILE).write_bytes(b"another")

    with pytest.raises(InputError, match="not the file that was trained"):
        registry.place(service.settings.home, one)

    assert one.files.is_dir() and len(list((service.settings.home / "registry").iterdir())) == 2


def test_the_best_is_that_of_validation_and_never_of_the_test_part(service: Any) -> None:
    flattered = {"validation": {"val_f1_macro": 0.4}, "test": {"f1_macro": 1.0}}
    train(service, "a", "1", metrics=flattered)
    train(service, "a", "2", score=0.7)
    train(service, "a", "3", score=None)
    train(service, "a", "4", score=0.9, data={"kind": "recipe", "split": "of other patients"})
    train(service, "a", "5", score=0.8)
    file_of(service, 6).unlink()

    with service.database.read() as session:
        number, skipped = registry_rows.best(session, service.settings, "a", "f1_macro")
        with pytest.raises(Problem, match="of no version accuracy"):
            registry_rows.best(session, service.settings, "a", "accuracy")

    assert number == 3
    assert skipped == {
        "4": "no f1_macro on the validation part is known",
        "5": "its validation part is another one",
        "6": "its file is gone",
    }


def test_without_production_the_best_is_among_those_with_the_newest_validation_part(
    service: Any,
) -> None:
    train(service, "new", "1", score=0.9, data={"kind": "recipe", "split": "of other patients"})
    train(service, "new", "2", score=0.6)
    train(service, "new", "3", score=0.5)

    with service.database.read() as session:
        number, skipped = registry_rows.best(session, service.settings, "new", "f1_macro")
    assert number == 2
    assert skipped == {"1": "its validation part is another one"}


def test_a_removed_version_is_known_but_gone(settings: Any) -> None:
    with opened(settings) as service:
        train(service, "a", "1")
        train(service, "a", "2")
        promote(service, "a", 2)
        for number, said in ((2, "in production"), (1, "what a rollback needs")):
            with (
                pytest.raises(Problem, match=said),
                service.database.write() as session,
            ):
                registry.remove(session, "a", number, by="somebody")
        rollback(service, "a")
        path = file_of(service, 2)
        with service.database.write() as session:
            gone = registry.remove(session, "a", 2, by="somebody")
        registry_files.discard(settings.home, gone.id)

        with service.database.read() as session:
            kept = registry.version(session, "a", 2)
        assert registry.state(settings, kept) == "removed" and not path.parent.exists()
        with pytest.raises(Problem, match="its files were removed"):
            promote(service, "a", 2)
        assert train(service, "a", "4") == 4  # no number is used twice


def suspend(service: Any, model: str) -> None:
    with service.database.write() as session:
        session.add(Suspension(model=model, reason="f1_macro is 0.2, below the limit 0.6"))
    service.follower.changed()


def test_a_suspended_model_answers_503_with_the_reason_and_the_others_answer(service: Any) -> None:
    suspend(service, "a")

    with pytest.raises(Problem, match=r"suspended since .* f1_macro is 0\.2") as refused:
        service.models.get("a")

    assert refused.value.status == 503 and refused.value.headers["Retry-After"] == "60"
    assert service.models.get("b").usable and service.models.listed("a").predictor


def test_a_suspension_by_hand_promises_no_end_by_itself_and_its_words_stay_out_of_the_log(
    service: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for model, ruled in (("a", True), ("b", False)):
        with service.database.write() as session:
            session.add(Suspension(model=model, reason="words of staff", ruled=ruled))
    service.follower.changed()

    said = service.models.suspended
    assert "when performance is back or staff release it" in said["a"]
    assert "answers again when staff release it" in said["b"]
    assert "model b: suspended" in caplog.text and "words of staff" not in caplog.text


def test_a_version_that_cannot_be_opened_for_whatever_reason_is_not_answered_by_another(
    service: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("/secret/path")

    train(service, "a", "1")
    with monkeypatch.context() as fault:
        fault.setattr(follower, "ready", broken)
        promote(service, "a", 2)
    with pytest.raises(Problem, match=r"version 2 cannot answer \(RuntimeError") as refused:
        service.models.get("a")
    assert refused.value.status == 503 and "secret" not in str(refused.value)
    assert "RuntimeError" in caplog.text
    rollback(service, "a")
    assert temperature(service) == 1.0


def test_what_goes_wrong_beside_the_opening_is_logged(
    service: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr(follower, "EVERY", 0.05)
    monkeypatch.setattr(registry_rows, "in_production", broken)

    until(lambda: "cannot be read: RuntimeError" in caplog.text)


def test_what_cannot_be_known_to_be_allowed_is_not_answered(
    service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> None:
        raise OperationalError("", {}, Exception("away"))

    monkeypatch.setattr(follower, "STALE", 0.2)
    service.follower.follow()
    with monkeypatch.context() as outage:
        outage.setattr(registry_rows, "suspended", away)
        time.sleep(0.3)
        with pytest.raises(Problem, match="the database does not answer") as refused:
            service.models.get("a")
        assert refused.value.status == 503
    monkeypatch.setattr(follower, "STALE", 5.0)

    until(lambda: time.monotonic() < service.models.valid_until)
    assert service.models.get("a").usable
