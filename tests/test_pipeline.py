"""The whole graph under DVC, on a data set of seconds, in a folder with a space in its name."""

import csv
import io
import json
import shutil
import time
from pathlib import Path

import pytest
import yaml

from tests.scratch import SMALL, change_params, commit_all, copy_repository, dvc, run

# A process that imports this writes down, and is refused, each address of another machine.
WATCH = """
import socket

def refuse(name):
    original = getattr(socket.socket, name)
    def guarded(self, address):
        local = self.family == socket.AF_UNIX or str(address[0]) in ("127.0.0.1", "::1")
        if not local:
            with open({calls!r}, "a") as log:
                print(address, file=log)
            raise OSError(f"not allowed: {{address}}")
        return original(self, address)
    setattr(socket.socket, name, guarded)

refuse("connect")
refuse("connect_ex")
"""


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository in which `dvc repro` has run once, watched; tests leave it as they found it."""
    folder = copy_repository(tmp_path_factory.mktemp("a path") / "with spaces")
    change_params(folder, SMALL)
    commit_all(folder)
    watch = folder.parent / "watch"
    watch.mkdir()
    (watch / "sitecustomize.py").write_text(WATCH.format(calls=str(folder.parent / "calls.txt")))
    dvc(folder, "repro", PYTHONPATH=str(watch))
    run(folder, "git", "add", "-A")
    run(folder, "git", "commit", "-q", "-m", "first run")
    return folder


def _experiments(repo: Path) -> list[dict[str, str]]:
    rows = csv.DictReader(io.StringIO(dvc(repo, "exp", "show", "--csv")))
    return [row for row in rows if row["Experiment"]]


def test_a_second_repro_runs_nothing(repo: Path) -> None:
    said = dvc(repo, "repro")

    assert "Running stage" not in said
    assert "up to date" in said
    assert json.loads(dvc(repo, "status", "--json")) == {}
    assert run(repo, "git", "status", "--porcelain") == ""


def test_a_rebuild_from_nothing_gives_the_same_bytes(repo: Path) -> None:
    lock = (repo / "dvc.lock").read_bytes()
    for name in ("data", "plots", "models", ".dvc/cache"):
        shutil.rmtree(repo / name)

    said = dvc(repo, "repro", "--no-run-cache")

    assert said.count("Running stage") == 10
    assert (repo / "dvc.lock").read_bytes() == lock
    run(repo, "git", "checkout", "--", ".")


def test_an_experiment_runs_only_what_its_change_reaches(repo: Path) -> None:
    said = dvc(repo, "exp", "run", "-S", "lr=1e-4", "--name", "slow-rate")

    assert [s for s in ("fetch", "cwt", "split") if f"Running stage '{s}'" in said] == []
    assert "Running stage 'train'" in said and "Running stage 'evaluate'" in said
    assert "0.0001" in dvc(repo, "exp", "diff", "main", "slow-rate")
    assert "metrics/test.json" in dvc(repo, "metrics", "diff", "main")
    assert [row["lr"] for row in _experiments(repo)] == ["0.0001"]
    run(repo, "git", "checkout", "--", ".")
    dvc(repo, "checkout", "--force")


def test_a_grid_queues_every_combination(repo: Path) -> None:
    changes = ["lr=choice(1e-4,3e-4)", "model.name=gru,lstm", "model.input=waveforms"]
    dvc(repo, "exp", "run", "--queue", *(word for one in changes for word in ("-S", one)))
    queued = json.loads(dvc(repo, "exp", "show", "--json"))
    said = dvc(repo, "queue", "remove", "--queued")

    params = [
        one["revs"][0]["data"]["params"]["params.yaml"]["data"]
        for base in queued
        for one in base["experiments"] or []
        if one["executor"] and one["executor"]["state"] == "queued"
    ]
    assert {(float(one["lr"]), one["model"]["name"]) for one in params} == {
        (rate, name) for rate in (1e-4, 3e-4) for name in ("gru", "lstm")
    }
    assert len(params) == 4 and said.count(",") == 3


def test_a_queued_sweep_runs_in_copies_of_the_repository(repo: Path) -> None:
    dvc(repo, "exp", "run", "--queue", "-S", "lr=0.002")
    dvc(repo, "exp", "run", "--queue", "-S", "evaluate.resamples=101")
    dvc(repo, "queue", "start", "--jobs", "2")
    deadline = time.monotonic() + 300
    while any(word in (status := dvc(repo, "queue", "status")) for word in ("Queued", "Running")):
        assert time.monotonic() < deadline, status
        time.sleep(1)
    dvc(repo, "queue", "stop")

    assert "Failed" not in status, dvc(repo, "queue", "logs", "--help")
    rows = _experiments(repo)
    assert "0.002" in {row["lr"] for row in rows}
    assert "101" in {row["evaluate.resamples"] for row in rows}
    assert run(repo, "git", "status", "--porcelain") == ""


def test_the_curves_hold_a_row_for_each_epoch_and_no_time(repo: Path) -> None:
    table = (repo / "metrics/train/plots/metrics/train_loss.tsv").read_text().splitlines()

    assert table[0].split("\t") == ["step", "train_loss"]
    assert len(table) == 1 + SMALL["epochs"]


def test_headline_numbers_are_few_and_flat(repo: Path) -> None:
    numbers = json.loads((repo / "metrics/test.json").read_text())

    assert len(numbers) <= 12
    assert all(isinstance(value, (int, float)) for value in numbers.values())


def test_the_plots_page_is_drawn_without_the_internet(repo: Path) -> None:
    page = Path(dvc(repo, "plots", "show").strip().removeprefix("file://").replace("%20", " "))
    text = page.read_text()

    assert '"data-name": "actual"' in text or "confusion" in text
    assert "<script src=" not in text
    shutil.rmtree(repo / "dvc_plots")


def test_the_graph_can_be_drawn(repo: Path) -> None:
    drawn = dvc(repo, "dag")

    assert all(stage in drawn for stage in ("fetch", "bandpass", "cwt", "evaluate"))


def test_the_summary_names_scores_plots_and_equal_stages(repo: Path) -> None:
    said = run(repo, "sh", "stages/python.sh", "-m", "retrace.cli", "summary")

    assert "f1_macro" in said and "plots/test" in said
    assert said.count("same") >= 8


def _evaluate(repo: Path, *given: str, check: bool = True) -> str:
    return run(repo, "sh", "stages/python.sh", "-m", "retrace.cli", "evaluate", *given, check=check)


def test_a_checkpoint_can_be_scored_on_any_part(repo: Path, tmp_path: Path) -> None:
    """The test part's scores are the stage's own; the validation part's are of other records."""
    said = {
        subset: _evaluate(repo, "--subset", subset, "--output", str(tmp_path / subset))
        for subset in ("test", "val")
    }

    stage = repo / "plots/test"
    assert (tmp_path / "test/scores.json").read_text() == (stage / "scores.json").read_text()
    own, other = (
        (folder / "predictions.csv").read_text() for folder in (tmp_path / "test", tmp_path / "val")
    )
    assert own == (stage / "predictions.csv").read_text()
    split = csv.DictReader((repo / "data/split.csv").open())
    val = {row["segment_id"].rpartition("_")[0] for row in split if row["subset"] == "val"}
    assert {line.split(",")[0] for line in other.splitlines()[1:]} == val
    assert "choose nothing by these scores" in said["test"] and "thresholds" in said["val"]
    assert not any("may have been in its training" in text for text in said.values())
    assert run(repo, "git", "status", "--porcelain") == ""


def test_a_checkpoint_of_other_classes_or_of_nowhere_is_one_sentence(
    repo: Path, tmp_path: Path
) -> None:
    shutil.copytree(repo / "models/checkpoint", other := tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"best_epoch": 99}))
    unknown = _evaluate(repo, str(other))
    config["domain"]["fs"] = 360.0
    (other / "config.json").write_text(json.dumps(config))
    signals = _evaluate(repo, str(other), check=False)
    (other / "config.json").write_text(json.dumps(config | {"classes": [*"NSVF"]}))
    classes = _evaluate(repo, str(other), check=False)
    missing = _evaluate(repo, "nothing", check=False)
    there = _evaluate(repo, "--output", str(tmp_path), check=False)

    assert "Neither dvc.lock nor recipes/ knows this checkpoint" in unknown
    assert "signals with fs 360.0, and scalograms has 128.0" in signals
    assert "answers N, S, V, F, and the data have NSR, AF" in classes
    assert "nothing: no config.json there" in missing
    assert "results need a new folder" in there
    for said in (signals, classes, missing, there):
        assert said.startswith("error: ") and said.count("\n") == 1


def test_waveforms_leave_the_scalograms_empty(repo: Path, tmp_path: Path) -> None:
    for name in ("params.yaml", "stages", "retrace", "data"):
        source = repo / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    values = yaml.safe_load((tmp_path / "params.yaml").read_text())
    # No model of this graph takes waveforms yet: one that says so stands in.
    model = tmp_path / "retrace/models/stand_in.py"
    model.write_text('INPUT = "waveforms"\n\ndef build(shape, n_classes, *, size: int): ...\n')
    values["model"] |= {"name": "stand_in", "input": "waveforms"}
    values["models"]["stand_in"] = {"size": 1}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))

    said = run(tmp_path, "sh", "stages/python.sh", "-m", "stages.cwt")

    assert "takes waveforms" in said
    assert (tmp_path / "data/scalograms/frequencies.csv").read_text() == "scale,frequency\n"


@pytest.mark.parametrize(
    ("stage", "changes", "sentence"),
    [
        ("bandpass", {"bandpass.high": 70}, "64"),
        ("segment", {"segment.window": 11, "segment.short": "drop"}, "segment.window: 11 s"),
        ("cwt", {"cwt.frames": 7}, "frames"),
        ("cwt", {"cwt.high": 70}, "64"),
        ("cwt", {"cwt.wavelet": "haar"}, "haar"),
        ("split", {"split.val": 0.7, "split.folds": 3}, "split"),
        ("fetch", {"synthetic.patients": 0}, "synthetic.patients"),
        ("train", {"models.efficientnet.pretrained": True}, "nano was never trained on ImageNet"),
    ],
)
def test_bad_params_are_one_sentence_and_leave_the_outputs_alone(
    repo: Path, tmp_path: Path, stage: str, changes: dict[str, object], sentence: str
) -> None:
    for name in ("params.yaml", "stages", "retrace", "data", "models", "metrics"):
        source = repo / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    change_params(tmp_path, changes)

    def outputs() -> list[Path]:
        return sorted(p for name in ("data", "models") for p in tmp_path.glob(f"{name}/**/*"))

    before = outputs()

    said = run(tmp_path, "sh", "stages/python.sh", "-m", f"stages.{stage}", check=False)

    assert said.startswith("error: ") and sentence in said
    assert "Traceback" not in said
    assert outputs() == before


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("lr=banana", "params.yaml: lr: expected a valid number"),
        ("model.name=vgg", "params.yaml: model.name: expected baseline_cnn, cnn4, "),
        ("dataset.name=mitdc", "params.yaml: dataset.name: expected cachet_cadb"),
        ("+foo=1", "params.yaml: foo: unknown key"),
    ],
)
def test_a_wrong_param_stops_dvc_before_it_removes_anything(
    repo: Path, setting: str, sentence: str
) -> None:
    weights = (repo / "models/checkpoint/weights.safetensors").read_bytes()

    said = dvc(repo, "exp", "run", "-S", setting, check=False)

    assert f"error: {sentence}" in said
    assert (repo / "models/checkpoint/weights.safetensors").read_bytes() == weights
    run(repo, "git", "checkout", "--", "params.yaml")
    assert "Running stage" not in dvc(repo, "repro")
    assert run(repo, "git", "status", "--porcelain") == ""


def test_without_git_the_pipeline_runs(tmp_path: Path) -> None:
    folder = copy_repository(tmp_path / "unzipped")
    change_params(folder, SMALL)
    dvc(folder, "config", "--local", "core.no_scm", "true", check=False)

    dvc(folder, "repro", "split")

    assert (folder / "data/split.csv").is_file()


def test_nothing_speaks_to_another_machine(repo: Path) -> None:
    assert (repo / "metrics/test.json").is_file()
    assert not (repo.parent / "calls.txt").exists()


@pytest.mark.parametrize(
    "stage", ["bandpass", "segment", "cwt", "split", "train", "export", "evaluate", "robustness"]
)
def test_a_stage_without_its_input_is_one_sentence(tmp_path: Path, stage: str) -> None:
    folder = copy_repository(tmp_path)

    said = run(folder, "sh", "stages/python.sh", "-m", f"stages.{stage}", check=False)

    assert said.startswith("error: ") and "Traceback" not in said
    assert not [path for path in folder.glob("data/*") if path.name != ".gitignore"]
