"""GET /logs: the end of a log, for admins; bounded, and never another file."""

import logging
import os
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from retrace.service import logs, logs_read
from tests.serving import Person


def write(home: Path, name: str, lines: list[str]) -> Path:
    path = home / name
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def test_the_last_lines_come_over_rotated_files_with_the_newest_last(tmp_path: Path) -> None:
    write(tmp_path, "app.log.2", ["1", "2"])
    write(tmp_path, "app.log.1", ["3", "4"])
    write(tmp_path, "app.log", ["5", "6"])

    assert logs_read.tail(tmp_path, "app", limit=3) == logs_read.Tail(["4", "5", "6"], False)
    assert logs_read.tail(tmp_path, "app", limit=9) == logs_read.Tail(list("123456"), True)


def test_what_the_service_logs_is_read_back_across_a_rotation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "LARGEST", 2000)
    with logs.writing(tmp_path):
        for number in range(60):
            logging.getLogger("retrace.x").info("line %03d é", number)

    found = logs_read.tail(tmp_path, "app", limit=1000, contains="line")
    assert [line[-7:] for line in found.lines] == [f"e {n:03d} é"[-7:] for n in range(60)]
    assert found.whole


def test_lines_that_contain_a_text_are_looked_for(tmp_path: Path) -> None:
    write(tmp_path, "app.log", [f"{'ERROR' if n % 100 == 0 else 'INFO'} {n}" for n in range(1000)])

    found = logs_read.tail(tmp_path, "app", limit=3, contains="ERROR")
    assert found.lines == ["ERROR 700", "ERROR 800", "ERROR 900"]


@pytest.mark.parametrize("block", [1, 2, 3, 7, 64])
def test_blocks_cut_no_line_and_no_character(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(logs_read, "BLOCK", block)
    lines = ["", "é", "abc", "", "ü" * 20, "last"]
    (tmp_path / "app.log").write_text("\n".join(lines), encoding="utf-8")  # no end of line behind

    assert logs_read.tail(tmp_path, "app", limit=100).lines == [line for line in lines if line]


def test_no_more_than_a_bounded_part_is_read_and_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs_read, "MOST", 1000)
    write(tmp_path, "app.log.1", ["old"])
    write(tmp_path, "app.log", [f"{n:09d}" for n in range(1000)])

    found = logs_read.tail(tmp_path, "app", limit=1000)
    assert 90 <= len(found.lines) <= 100 and not found.whole
    assert found.lines[-1] == "000000999"
    assert set(map(len, found.lines[1:])) == {9}
    write(tmp_path, "app.log", ["x" * 999])
    monkeypatch.setattr(logs_read, "LONGEST", 10)
    assert logs_read.tail(tmp_path, "app", limit=1).lines == ["x" * 10 + "..."]


def test_links_folders_and_pipes_are_not_read(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    secret = write(tmp_path, "service.env", ["RETRACE_SECRET=x"])
    (home / "app.log").symlink_to(secret)
    (home / "app.log.1").mkdir()
    os.mkfifo(home / "app.log.2")
    write(home, "app.log.3", ["ours"])

    assert logs_read.tail(home, "app", limit=10).lines == ["ours"]
    assert logs_read.tail(home, "worker", limit=10) == logs_read.Tail([], True)


def test_a_file_that_is_renamed_meanwhile_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "app.log", ["1"])
    opening = os.open

    def rotated(path: Any, *rest: Any) -> int:
        handle = opening(path, *rest)
        if str(path).endswith("app.log"):
            Path(path).rename(f"{path}.1")
            write(tmp_path, "app.log", ["2"])
        return handle

    monkeypatch.setattr(os, "open", rotated)
    assert logs_read.tail(tmp_path, "app", limit=10).lines == ["1"]


def test_only_admins_read_logs_and_only_logs(client: TestClient, people: dict[str, Person]) -> None:
    home: Path = client.app.state.service.settings.home  # type: ignore[attr-defined]
    write(home, "app.log", ["first", "second"])

    def ask(query: str, who: str = "admin") -> Any:
        return client.get(f"/logs{query}", headers=people[who].headers)

    assert ask("").json() == {"name": "app", "lines": ["first", "second"], "whole": True}
    assert ask("?limit=1&contains=fir").json()["lines"] == ["first"]
    assert ask("?name=worker").json()["lines"] == []
    assert client.get("/logs").status_code == 401
    for who in ("staff", "scientist", "none"):
        assert ask("", who).status_code == 403
    for name in ("retrace.db", "service.env", "../app", "app.log", "/etc/passwd", "app%00", ""):
        assert ask(f"?name={name}").status_code == 422
    for query in ("?limit=0", "?limit=1001", "?limit=x", f"?contains={'x' * 201}"):
        assert ask(query).status_code == 422
