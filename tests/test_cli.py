"""The command line: verbs that answer in one sentence when something is wrong."""

import shutil
from pathlib import Path

import pytest

from retrace import cli
from tests.sources import ROOT


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


def test_recipe_writes_params_and_says_what_comes_next(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("dvc.yaml", "recipes/synthetic.yaml", "stages/sources.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "recipes/slow.yaml").write_text("# A slow one.\nepochs: 7777\n")
    monkeypatch.chdir(tmp_path)

    cli.main(["recipe"])
    assert "A slow one" in capsys.readouterr().out
    cli.main(["recipe", "slow"])
    assert "next: dvc repro" in capsys.readouterr().out
    assert "epochs: 7777" in (tmp_path / "params.yaml").read_text()

    (tmp_path / "params.yaml").write_text("mine: 1\n")
    assert "--force" in _fail(capsys, "recipe", "slow")
    cli.main(["recipe", "slow", "--force"])
    assert "epochs: 7777" in (tmp_path / "params.yaml").read_text()


@pytest.mark.parametrize("verb", ["verify", "compare"])
def test_a_recipe_with_no_published_run_is_said_to_have_none(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    (tmp_path / "dvc.yaml").touch()
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/mine.yaml").touch()
    monkeypatch.chdir(tmp_path)

    assert "recipe mine: no run of it is published" in _fail(capsys, verb, "mine")


def test_breaking_off_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("retrace.runs.advice.listing", interrupted)

    with pytest.raises(SystemExit) as ended:
        cli.main(["recipe"])

    assert ended.value.code == 130
    assert capsys.readouterr().err.startswith("broken off;")
