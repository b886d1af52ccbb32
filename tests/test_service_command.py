"""`retrace serve`: it starts with what it needs, and says in one sentence what is missing."""

import os
import signal
import socket
import stat
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import create_engine, select

from retrace import cli
from retrace.service.settings import FILE, Settings
from retrace.service.tables import User
from tests.serving import PASSWORD, SECRET, log_in, running
from tests.sources import ROOT

ADMIN = {"RETRACE_ADMIN_EMAIL": "admin@example.org", "RETRACE_ADMIN_PASSWORD": PASSWORD}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that --init may make, the admin in the environment, and no secret there."""
    for name in [name for name in os.environ if name.startswith("RETRACE_")]:
        monkeypatch.delenv(name)
    for name, value in ADMIN.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.chdir(ROOT)
    return tmp_path / "home"


def _serve(home: Path, *arguments: str) -> None:
    before = os.umask(0o022)  # serve sets its own
    try:
        cli.main(["serve", "--home", str(home), *arguments])
    finally:
        os.umask(before)


def _refused(capsys: pytest.CaptureFixture[str], home: Path, *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        _serve(home, *arguments)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1, said
    return said


def _admins(home: Path) -> list[str]:
    with create_engine(f"sqlite:///{home / 'retrace.db'}").connect() as connection:
        return list(connection.scalars(select(User.email).where(User.role == "admin")))


def test_init_makes_what_nobody_else_can_read(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _serve(home, "--init")

    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (home, *home.rglob("*"))}
    assert modes[home] == 0o700 and modes[home / FILE] == 0o600
    assert not [path for path, mode in modes.items() if mode & 0o077]
    assert _admins(home) == [ADMIN["RETRACE_ADMIN_EMAIL"]]
    said = capsys.readouterr()
    assert "next: retrace serve" in said.out
    secret = Settings(_env_file=home / FILE).secret.get_secret_value()  # type: ignore[call-arg]
    for hidden in (PASSWORD, secret):
        assert hidden not in said.out + said.err


def test_init_names_every_setting_and_leaves_what_is_there(home: Path) -> None:
    _serve(home, "--init")
    text = (home / FILE).read_text(encoding="utf-8")
    _serve(home, "--init")

    assert (home / FILE).read_text(encoding="utf-8") == text
    assert _admins(home) == [ADMIN["RETRACE_ADMIN_EMAIL"]]
    for name in set(Settings.model_fields) - {"home", "root"}:
        assert f"{name.upper()}=" in text, name


def test_the_readme_names_every_setting_with_its_default() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name, field in Settings.model_fields.items():
        if name not in ("home", "root", "secret"):
            plain = field.default.get_secret_value() if name == "smtp_url" else field.default
            row = f"{name.upper()}` | {'' if plain in (None, '') else plain} |"
            assert row in text, row


def test_two_folders_have_two_secrets(home: Path, tmp_path: Path) -> None:
    _serve(home, "--init")
    _serve(tmp_path / "other", "--init")

    secrets = {
        Settings(_env_file=folder / FILE).secret.get_secret_value()  # type: ignore[call-arg]
        for folder in (home, tmp_path / "other")
    }
    assert len(secrets) == 2


def test_init_asks_for_the_admin_where_the_environment_has_none(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("RETRACE_ADMIN_PASSWORD")

    assert "RETRACE_ADMIN_EMAIL" in _refused(capsys, home, "--init")  # no terminal

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _: "me@example.org")
    monkeypatch.setattr("getpass.getpass", lambda _: PASSWORD)
    _serve(home, "--init")
    assert _admins(home) == ["me@example.org"]


@pytest.mark.parametrize("secret", ["short", "x" * 64, "abc" * 20])
def test_a_weak_secret_is_refused_and_not_repeated(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], secret: str
) -> None:
    monkeypatch.setenv("RETRACE_SECRET", secret)

    said = _refused(capsys, home)

    assert "RETRACE_SECRET: a secret has at least 32 characters" in said
    assert secret not in said


def test_a_file_in_the_place_of_the_folder_is_said(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home.touch()

    with pytest.raises(SystemExit) as ended:
        _serve(home, "--init")

    assert ended.value.code == 2
    assert "a file" in capsys.readouterr().err


def test_without_a_secret_it_does_not_start(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "RETRACE_SECRET: not set" in _refused(capsys, home)
    assert not home.exists()


def test_without_an_admin_it_does_not_start(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RETRACE_SECRET", SECRET)
    home.mkdir(mode=0o700)

    assert "no admin account" in _refused(capsys, home)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://localhost/x", "not an address of PostgreSQL or SQLite"),
        ("postgresql://me:hidden@127.0.0.1:1/none", "the database is not usable"),
    ],
)
def test_a_database_that_is_not_usable_is_said_without_its_password(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    url: str,
    said: str,
) -> None:
    monkeypatch.setenv("RETRACE_SECRET", SECRET)
    monkeypatch.setenv("DATABASE_URL", url)

    sentence = _refused(capsys, home)

    assert said in sentence and "hidden" not in sentence


def test_a_file_that_is_no_database_is_said(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RETRACE_SECRET", SECRET)
    home.mkdir(mode=0o700)
    (home / "retrace.db").write_bytes(b"no database at all" * 100)

    assert "retrace.db: the database is not usable" in _refused(capsys, home)


def test_a_port_that_is_taken_is_said(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _serve(home, "--init")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        assert f"127.0.0.1:{port}: " in _refused(capsys, home, "--port", str(port))
    assert "a port is a number" in _refused(capsys, home, "--port", "70000")


def test_what_others_could_read_or_reach_is_warned_of(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _serve(home, "--init")
    home.chmod(0o755)
    with socket.create_server(("0.0.0.0", 0)) as taken, pytest.raises(SystemExit):
        _serve(home, "--host", "0.0.0.0", "--port", str(taken.getsockname()[1]))

    said = capsys.readouterr().err
    assert "can be read by others" in said and "TLS" in said


def test_it_serves_says_where_and_ends_in_order(tmp_path: Path) -> None:
    with running(tmp_path / "home") as server:
        assert httpx2.get(f"{server.url}/ready").json()["ready"] is True
        with httpx2.Client(base_url=server.url) as client:
            headers = log_in(client, server.admin)
            assert client.get("/users/me", headers=headers).json()["role"] == "admin"
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) == 0

    assert server.said() == f"Retrace at {server.url}: open {server.url}/docs\n"
    assert "Finished server process" in (server.home / "app.log").read_text(encoding="utf-8")
