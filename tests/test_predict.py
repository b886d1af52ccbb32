"""`retrace predict` as its user meets it: inputs, formats, refusals, exit codes."""

import csv
import io
import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wfdb

from retrace import cli
from retrace.deploy import output
from retrace.deploy.answers import STATEMENT, Answer
from retrace.deploy.inputs import Ready, Recording, Refused, open_inputs
from retrace.deploy.predictor import Predictor
from retrace.errors import InputError
from retrace.signals.domain import BeatWindow, SignalDomain
from retrace.signals.records import Record
from tests.heartbeats import MITBIH, heartbeat
from tests.linear_model import write_model
from tests.sources import ROOT

FS = 250.0
AAMI = ("N", "S", "V", "F", "Q")


DOMAIN = SignalDomain(FS, ("1",), 0.5, 40.0, 3, 0.6, "beat", "window", beat=BeatWindow(0.5, None))


@dataclass(frozen=True)
class _Card:
    model: str = "gru"
    dataset: str = "mitdb"
    split: str = "ds1_ds2"
    classes: tuple[str, ...] = AAMI
    unit: str = "beat"
    domain: SignalDomain = DOMAIN
    hashes: dict[str, str] = field(default_factory=lambda: {"weights": "ab12"})
    note: str = ""


class _Predictor:
    """A beat each second, every fourth of them ventricular; what is too short is refused."""

    card = _Card()

    def __init__(self, path: Path, threads: int = 1) -> None:
        self.path = path

    def answer(
        self,
        recording: Recording,
        *,
        lead: str | None = None,
        detect: bool = False,
        progress: Any = None,
    ) -> Answer:
        if recording.samples < 5 * FS:
            raise InputError(f"{recording.name}: too short: use a longer recording")
        progress(1.0)
        samples = np.arange(FS / 2, recording.samples, FS).astype(np.int64)
        return self._answer(recording.name, samples, recording.samples / FS)

    def answer_ready(self, ready: Ready) -> Answer:
        return self._answer(ready.name, np.arange(len(ready.X)), 0.0)

    def _answer(self, name: str, samples: Any, seconds: float) -> Answer:
        best = np.where(np.arange(len(samples)) % 4 == 3, AAMI.index("V"), AAMI.index("N"))
        p = np.full((len(samples), 5), 0.02)
        p[np.arange(len(samples)), best] = 0.92
        return Answer(name, FS, seconds, "beat", samples, 0.6, AAMI, p, None, samples, "detector")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with two recordings, `a` and `b`, `short`, and `bad`, which is none."""
    monkeypatch.setattr("retrace.deploy.predictor.Predictor", _Predictor)
    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(3).normal(0, 0.1, 3000).astype(np.float32)
    np.save("a.npy", noise)
    np.save("b.npy", noise[:2000])
    np.save("short.npy", noise[:500])
    np.save("ready.npy", noise.reshape(20, 1, 150))
    Path("bad.npy").write_bytes(b"no array")
    return tmp_path


def _run(*arguments: str) -> int:
    try:
        cli.main(["predict", "--model", "model.onnx", "--fs", "250", *arguments])
    except SystemExit as ended:
        assert isinstance(ended.code, int)
        return ended.code
    return 0


Capture = pytest.CaptureFixture[str]


def test_it_says_each_beat_and_then_the_summary(folder: Path, capsys: Capture) -> None:
    assert _run("a.npy") == 0

    said = capsys.readouterr()
    assert "0:00:03.500  Ventricular       0.920" in said.out
    assert "12: 9 Normal, 0 Supraventricular, 3 Ventricular" in said.out
    assert "nothing, for no --threshold was given" in said.out
    assert said.out.endswith(f"{STATEMENT}\n")
    assert not said.err


def test_a_threshold_flags(folder: Path, capsys: Capture) -> None:
    assert _run("a.npy", "--threshold", "0.5") == 0

    assert capsys.readouterr().out.count("  flagged\n") == 3


@pytest.mark.parametrize("bad", ["bad.npy", "short.npy", "missing.npy"])
def test_of_several_inputs_the_good_ones_are_answered(
    folder: Path, capsys: Capture, bad: str
) -> None:
    assert _run("a.npy", bad, "b.npy", "--format", "json") == 2

    said = capsys.readouterr()
    assert [json.loads(line)["recording"] for line in said.out.splitlines()] == ["a", "b"]
    assert said.err.startswith("error: ")
    assert bad.removesuffix(".npy") in said.err
    assert said.err.count("\n") == 1


def test_no_file_is_replaced(folder: Path, capsys: Capture) -> None:
    there = folder / "there.txt"
    there.write_text("kept")
    (folder / "link").symlink_to(folder / "nowhere")

    for target in (there, folder / "link", Path("/dev/null")):
        assert _run("a.npy", "--output", str(target)) == 2
        assert "nothing is replaced" in capsys.readouterr().err
    assert there.read_text() == "kept"


@pytest.mark.parametrize("form", ["text", "json", "csv", "wfdb"])
def test_where_nothing_can_be_answered_nothing_is_written(
    folder: Path, capsys: Capture, form: str
) -> None:
    before = sorted(folder.rglob("*"))

    assert _run("bad.npy", "short.npy", "--format", form, "--output", "new/out") == 2

    assert not capsys.readouterr().out
    assert sorted(folder.rglob("*")) == before


def test_csv_of_several_recordings_is_one_table(folder: Path, capsys: Capture) -> None:
    assert _run("a.npy", "b.npy", "--format", "csv", "--output", "out.csv") == 0

    rows = list(csv.DictReader(io.StringIO(Path("out.csv").read_text())))
    assert {row["recording"] for row in rows} == {"a", "b"}
    assert len(rows) == 12 + 8
    assert capsys.readouterr() == ("", f"{STATEMENT}\n")


def test_annotation_files_are_named_by_their_recordings(folder: Path, capsys: Capture) -> None:
    assert _run("a.npy", "b.npy", "--format", "wfdb", "--output", "out") == 0

    found = wfdb.rdann("out/b", "retrace")
    assert (found.fs, found.symbol) == (FS, list("NNNVNNNV"))
    assert capsys.readouterr() == ("out/a.retrace\nout/b.retrace\n", f"{STATEMENT}\n")


def test_two_recordings_of_one_name_are_not_written_over_each_other(
    folder: Path, capsys: Capture
) -> None:
    Path("other").mkdir()
    np.save("other/a.npy", np.load("b.npy"))

    assert _run("a.npy", "other/a.npy", "--format", "wfdb", "--output", "out") == 2

    assert len(wfdb.rdann("out/a", "retrace").symbol) == 12
    assert "two recordings have this name" in capsys.readouterr().err


def test_segments_that_are_ready_are_numbered(folder: Path, capsys: Capture) -> None:
    assert _run("ready.npy") == 0

    assert "\n4       Ventricular" in capsys.readouterr().out


def test_the_plot_is_of_one_recording(folder: Path, capsys: Capture) -> None:
    assert _run("a.npy", "b.npy", "--plot", "a.png") == 2
    assert "draws one recording" in capsys.readouterr().err
    assert _run("ready.npy", "--plot", "a.png") == 2
    assert "name the recording" in capsys.readouterr().err
    assert not Path("a.png").exists()

    assert _run("a.npy", "--plot", "a.png", "--threshold", "0.5") == 0
    assert Path("a.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--threshold", "1.5"], "--threshold 1.5: a probability is from 0 to 1"),
        (["--reject", "nan"], "--reject nan: a probability is from 0 to 1"),
        (["--plot", "a.pdf"], "name it a.png"),
        (["--output", "."], "a folder, but text is one file"),
        (["--output", "a.npy/x/out.txt"], "a.npy is a file, not a folder"),
        (["--format", "wfdb", "--output", "a.npy"], "a file, but wfdb writes to a folder"),
        (["--fs", "0"], "--fs 0: a sampling rate is from"),
    ],
)
def test_options_that_cannot_be_are_a_sentence(
    folder: Path, capsys: Capture, arguments: list[str], sentence: str
) -> None:
    before = sorted(folder.iterdir())

    assert _run("a.npy", *arguments) == 2

    said = capsys.readouterr()
    assert sentence in said.err
    assert (said.err.count("\n"), said.out) == (1, "")
    assert sorted(folder.iterdir()) == before


def test_classes_without_a_normal_one_refuse_a_threshold(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Predictor, "card", _Card(classes=("left", "right")))

    assert _run("a.npy", "--threshold", "0.5") == 2

    assert "left, right, none is N, NSR or normal" in capsys.readouterr().err


def test_outside_the_repository_a_model_must_be_a_file(folder: Path, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["predict", "a.npy", "--fs", "250"])

    assert ended.value.code == 2
    assert "or name a file: --model FILE.onnx" in capsys.readouterr().err


def test_who_watches_sees_how_far_it_is_and_nothing_of_it_remains(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "_PATIENCE", 0.0)
    for watched in (True, False):
        monkeypatch.setattr(sys.stderr, "isatty", lambda watched=watched: watched)
        with output.progress("a") as show:
            show(0.5)
        said = capsys.readouterr().err
        assert (" 50%" in said, said.endswith("\r\033[K")) == (watched, watched)


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Record:
    """A WFDB record `a` in the working folder, beside a model for its beats."""
    monkeypatch.chdir(tmp_path)
    made = heartbeat(60, 250, ("V1", "MLII"))
    signal = made.signal.T.astype(np.float64)
    wfdb.wrsamp("a", 250, ["mV", "mV"], ["V1", "MLII"], signal, fmt=["16", "16"])
    write_model(tmp_path / "model.onnx", MITBIH)
    return made


def test_a_wfdb_record_is_answered_as_the_predictor_answers_it(
    record: Record, capsys: Capture
) -> None:
    cli.main(["predict", "a.hea", "--model", "model.onnx", "--format", "json"])

    (given,) = open_inputs(["a"])
    assert not isinstance(given, Ready | Refused)
    answer = Predictor(Path("model.onnx")).answer(given)
    said = json.loads(capsys.readouterr().out)
    assert [one["sample"] for one in said["segments"]] == answer.samples.tolist()
    found = np.array([one["probabilities"] for one in said["segments"]])
    np.testing.assert_allclose(found, answer.probabilities, atol=1e-6)
    rate = 60 * (len(record.beats) - 1) / (np.ptp(record.beats) / record.fs)
    assert said["summary"]["heart_rate"]["mean"] == pytest.approx(rate, rel=0.03)


def test_what_was_annotated_can_be_read_as_annotations(record: Record, capsys: Capture) -> None:
    predict = ["predict", "a", "--model", "model.onnx", "--format"]
    cli.main([*predict, "wfdb"])
    Path("a.retrace").rename("a.atr")
    capsys.readouterr()

    cli.main([*predict, "json"])

    said = json.loads(capsys.readouterr().out)
    marked = wfdb.rdann("a", "atr")
    beats = [s for s, what in zip(marked.sample, marked.symbol, strict=True) if what in "NSV"]
    assert said["peaks_from"] == "annotations"
    assert [one["sample"] for one in said["segments"]] == beats


def test_the_command_knows_nothing_of_training() -> None:
    heavy = ["torch", "lightning", "dvc", "pydantic", "yaml", "matplotlib", "pandas", "wfdb"]
    code = (
        "import sys\n"
        "import retrace.cli, retrace.deploy.command\n"
        f"print(*sorted(set({heavy}) & set(sys.modules)))"
    )

    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert found.stdout.split() == []
