"""The command line: verbs that answer in one sentence when something is wrong."""

from pathlib import Path

import pytest

from retrace import cli


def _fail(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        cli.main(list(arguments))
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_outside_the_repository_it_says_where_to_go(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert "no dvc.yaml here or above" in _fail(capsys, "summary")


def test_a_summary_needs_a_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dvc.yaml").touch()
    monkeypatch.chdir(tmp_path)

    assert "run dvc repro" in _fail(capsys, "summary")


def test_pin_writes_the_manifest_of_a_folder(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dvc.yaml").touch()
    recordings = tmp_path / "mine"
    recordings.mkdir()
    (recordings / "labels.csv").write_text("record_id,label\n")
    monkeypatch.chdir(tmp_path)

    cli.main(["pin", "mine"])

    manifest = tmp_path / "stages/sources/wfdb_folder.sha256"
    assert "labels.csv" in manifest.read_text()
    assert "-S dataset.name=wfdb_folder" in capsys.readouterr().out


def test_pin_of_a_missing_folder_writes_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dvc.yaml").touch()
    monkeypatch.chdir(tmp_path)

    _fail(capsys, "pin", "nowhere")

    assert not (tmp_path / "stages").exists()


def test_without_a_verb_it_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    said = _fail(capsys)

    assert "VERB" in said
