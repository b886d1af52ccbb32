"""`retrace feed`: slices of a stream, drawn evenly, sent on a schedule, again when told."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from starlette.testclient import TestClient

from retrace import cli
from retrace.errors import InputError
from retrace.files import write_csv
from retrace.service.feed import Schedule, Segments, _drawn, feed, read_source
from retrace.service.ratelimit import Limits
from tests.heartbeats import MITBIH
from tests.serving import accounts_of, in_process, service_settings
from tests.sources import ROOT

MODEL = "mitdb_ds1_ds2_simple_cnn"
URL = "http://127.0.0.1"
QUICK = Schedule(every=0, count=None, size=4, seed=0)
BEATS = ROOT / "examples/beats"


def nowhere() -> Path:
    raise AssertionError("the repository is not asked")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten beats, eight N and two V, with their domain and their labels."""
    folder = tmp_path / "beats"
    folder.mkdir()
    N, V = (np.load(BEATS / f"{name}.npy") for name in "NV")
    np.save(folder / "X.npy", np.concatenate([N] * 8 + [V] * 2))
    MITBIH.write(folder)
    write_csv(folder / "segments.csv", ["label"], [["N"]] * 8 + [["V"]] * 2)
    return folder


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """A service that takes three predictions a minute from one account, whose key is at hand."""
    settings = service_settings(tmp_path, predict_limit="3/minute", models=MODEL)
    with in_process(settings) as client:
        headers = accounts_of(client)["staff"].headers
        made = client.post("/keys", json={"name": "feed"}, headers=headers).json()
        monkeypatch.setenv("RETRACE_API_KEY", made["key"])
        yield client


def _source(folder: Path) -> Segments:
    source = read_source([folder / "X.npy"], nowhere)
    assert isinstance(source, Segments)
    return source


class Recorded(httpx2.Client):
    """Answers as it is told, and keeps the labels of what it was sent by their values."""

    def __init__(self, *answers: httpx2.Response) -> None:
        self.sent: list[Any] = []
        super().__init__(base_url=URL, transport=httpx2.MockTransport(self._answer))
        self._answers = list(answers)

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        self.sent.append(request.read())
        if self._answers:
            return self._answers.pop(0)
        segments = [{"class": "N"}] * 4
        return httpx2.Response(200, json={"segments": segments, "flagging": {"set": False}})


def test_classes_come_equally_often_and_the_draw_repeats() -> None:
    labels = ["N"] * 8 + ["V"] * 2
    drawn = [chosen.tolist() for chosen in _drawn(labels, Schedule(0, None, 3, 7))]

    assert drawn == [chosen.tolist() for chosen in _drawn(labels, Schedule(0, None, 3, 7))]
    assert drawn != [chosen.tolist() for chosen in _drawn(labels, Schedule(0, None, 3, 8))]
    assert [len(chosen) for chosen in drawn] == [3, 3, 3, 3, 3, 1]
    every = np.concatenate(drawn)
    assert set(every) == set(range(10))
    assert (every < 8).sum() == (every >= 8).sum() == 8


def test_more_slices_than_there_are_begin_anew() -> None:
    drawn = list(_drawn([""] * 5, Schedule(0, 7, 2, 0)))

    assert [len(chosen) for chosen in drawn] == [2, 2, 1, 2, 2, 1, 2]


def test_slices_are_sent_on_their_schedule(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETRACE_API_KEY", "rk_x")
    clock = [0.0]
    monkeypatch.setattr("retrace.service.feed.time.monotonic", lambda: clock[0])

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    times = []
    schedule = Schedule(every=10, count=3, size=4, seed=0)
    for _ in feed(URL, _source(folder), schedule, client=Recorded(), sleep=sleep):
        times.append(clock[0])
        clock[0] += 4  # the answer took that long

    assert times == [0, 10, 20]


def test_the_service_answers_and_keeps_what_is_fed(
    folder: Path, service: TestClient, capsys: pytest.CaptureFixture[str]
) -> None:
    parts: Any = service.app.state.service  # type: ignore[attr-defined]
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        if seconds > 1:  # a minute later
            parts.limits = Limits(parts.settings)

    said = list(feed(URL, _source(folder), QUICK, model=MODEL, client=service, sleep=sleep))

    assert [line.split(":")[0] for line in said] == ["1", "2", "3", "4"]
    assert all("4 segments: " in line and "4 as labelled" in line for line in said)
    assert max(waited) > 1 and "429: " in capsys.readouterr().err
    headers = {"X-API-Key": os.environ["RETRACE_API_KEY"]}
    assert len(service.get("/predictions", headers=headers).json()) == 4


def test_recordings_are_fed_one_by_one(service: TestClient) -> None:
    source = read_source([ROOT / "examples/ectopics"], nowhere)

    (line,) = feed(URL, source, QUICK, model=MODEL, client=service)

    assert line.startswith("1: ") and " segments: " in line


def test_a_service_that_is_away_or_busy_is_waited_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETRACE_API_KEY", "rk_x")
    busy = httpx2.Response(503, json={"detail": "busy"}, headers={"Retry-After": "7"})
    waited: list[float] = []

    sender = Recorded(busy, busy)
    schedule = Schedule(every=0, count=1, size=4, seed=0)
    list(feed(URL, _source(folder), schedule, client=sender, sleep=waited.append))

    assert [seconds for seconds in waited if seconds] == [7, 7]
    assert sender.sent[0].partition(b"\r\n")[2]  # whole each time
    assert len({len(body) for body in sender.sent}) == 1


def test_a_refusal_ends_it_with_the_service_s_words(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETRACE_API_KEY", "rk_x")
    refusal = httpx2.Response(422, json={"detail": "of another domain"})

    with pytest.raises(InputError, match="refused with 422: of another domain"):
        list(feed(URL, _source(folder), QUICK, client=Recorded(refusal)))


def test_nobody_there_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETRACE_API_KEY", "rk_x")

    with pytest.raises(InputError, match=r"no answer \(ConnectError\), 8 times"):
        list(feed("http://127.0.0.1:1", _source(folder), QUICK, sleep=lambda _: None))


def test_the_test_part_of_a_repository_is_what_is_fed_without_a_path(
    tmp_path: Path, folder: Path
) -> None:
    (tmp_path / "data").mkdir()
    shutil.move(folder, tmp_path / "data/waveforms")
    rows = [["test"], ["train"]] * 5
    write_csv(tmp_path / "data/split.csv", ["subset"], rows)

    source = read_source([], lambda: tmp_path)

    assert isinstance(source, Segments)
    assert len(source.X) == 5 and list(source.labels) == ["N"] * 4 + ["V"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ftp://x"], "no address of a service"),
        ([URL, "--slice", "0"], "--slice 0"),
        ([URL, "--count", "0"], "--count 0"),
        ([URL, "nowhere.edf"], "nowhere.edf: no recording"),
        ([URL, "X.npy"], "no domain.json beside it"),
        ([URL, "examples/ectopics"], "RETRACE_API_KEY: not set"),
    ],
)
def test_what_cannot_be_fed_is_said_in_a_sentence(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.delenv("RETRACE_API_KEY", raising=False)
    monkeypatch.chdir(ROOT)

    with pytest.raises(SystemExit) as ended:
        cli.main(["feed", *arguments])

    assert ended.value.code == 2
    assert said in capsys.readouterr().err
