"""A folder belongs to one database: beside another one its recordings would be swept away."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from retrace import cli
from retrace.errors import InputError
from retrace.service import tables
from tests.serving import PASSWORD, SECRET, accounts_of, in_process, service_settings
from tests.sources import ROOT

ADMIN = {"RETRACE_ADMIN_EMAIL": "admin@example.org", "RETRACE_ADMIN_PASSWORD": PASSWORD}


def stored(home: Path) -> Path:
    """A recording's file in the folder, as its owner sees it."""
    path = home / "recordings" / tables.new_id() / "r1.dat"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"1234")
    return path


def test_another_database_beside_the_same_folder_is_refused_and_sweeps_nothing(
    tmp_path: Path, database_url: str
) -> None:
    home, other = tmp_path / "var", f"sqlite:///{tmp_path / 'other.db'}"
    with in_process(service_settings(tmp_path, database_url=database_url)):
        path = stored(home)

    with (
        pytest.raises(InputError, match=r"var: belongs to another database.*--home"),
        in_process(service_settings(tmp_path, database_url=other)),
    ):
        pass

    assert path.exists()
    with in_process(service_settings(tmp_path, database_url=database_url)):
        pass  # its own, as before: what has no row there goes
    assert not path.exists()


def test_recordings_of_an_unknown_database_are_not_taken_over(tmp_path: Path) -> None:
    path = stored(tmp_path / "var")

    with (
        pytest.raises(InputError, match="belongs to another"),
        in_process(service_settings(tmp_path)),
    ):
        pass

    assert path.exists()


@pytest.mark.parametrize("lost", ["", None])
def test_a_folder_that_lost_its_name_is_known_by_a_recording(
    tmp_path: Path, lost: str | None
) -> None:
    settings, name = service_settings(tmp_path), tmp_path / "var/database.id"
    with in_process(settings) as client:
        path = stored(settings.home)
        user = accounts_of(client)["staff"].id
        with client.app.state.service.database.write() as session:  # type: ignore[attr-defined]
            session.add(
                tables.Recording(
                    id=path.parent.name, user_id=user, name="r1", file="r1.dat", fs=360.0,
                    leads=["MLII"], samples=2, bytes=4, sha256="",
                )
            )  # fmt: skip
    said = name.read_text()
    name.unlink() if lost is None else name.write_text(lost)

    with in_process(settings):
        assert name.read_text() == said
    assert path.exists()


def test_serve_and_its_worker_say_so_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "var"
    for name, value in (ADMIN | {"RETRACE_SECRET": SECRET}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(ROOT)
    before = os.umask(0o077)
    try:
        cli.main(["serve", "--init", "--home", str(home)])
        path = stored(home)
        monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'other.db'}")
        for more in (["--init"], []):
            capsys.readouterr()
            with pytest.raises(SystemExit) as ended:
                cli.main(["serve", "--home", str(home), *more])
            said = capsys.readouterr().err
            assert (ended.value.code, said.count("\n")) == (2, 1)
            assert said.startswith(f"error: {home}: belongs to another database")
    finally:
        os.umask(before)

    worker = subprocess.run(
        [sys.executable, "-m", "retrace.service.worker"],
        env=os.environ | {"RETRACE_HOME": str(home), "RETRACE_ROOT": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (worker.returncode, worker.stderr.count("\n")) == (1, 1)
    assert "belongs to another database" in worker.stderr
    assert path.exists()
