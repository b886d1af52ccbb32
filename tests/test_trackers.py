"""MLflow and TensorBoard are told what a training does, and the training knows nothing of them."""

import hashlib
import json
import os
import re
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnxruntime
import pytest
import yaml

from retrace.errors import InputError
from retrace.files import write_json
from retrace.learning import mlflow_server, trackers
from retrace.learning.answers import Answers
from retrace.learning.mlflow_store import SETTINGS
from retrace.learning.outcome import Folders
from retrace.learning.tracked_results import evaluated, exported, trained
from retrace.learning.training import run_key, train
from retrace.params import Params
from retrace.scoring.figures import draw
from retrace.signals.domain import SignalDomain
from tests.linear_model import write_model
from tests.sources import ROOT
from tests.train_small import CLASSES, load, small_beats, small_params, small_segments

os.environ |= SETTINGS  # no telemetry, above all
mlflow = pytest.importorskip("mlflow", reason="the extra `tracking` is not installed")
pytest.importorskip("tensorboard", reason="the extra `tracking` is not installed")

ROW = {"learning_rate": 0.1, "train_loss": 2.0, "val_loss": 1.0, "val_f1_macro": 0.5}


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables, which take seconds to make."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    mlflow.MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def store(
    empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], list[Any]]:
    """MLflow is asked for; what it knows of each run, the newest first."""
    path = tmp_path / "store" / "mlflow.db"
    path.parent.mkdir()
    path.write_bytes(empty_store.read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///store/mlflow.db")  # relative: to DVC_ROOT
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    client = mlflow.MlflowClient(f"sqlite:///{path}")
    return lambda: list(
        client.search_runs(
            [experiment.experiment_id for experiment in client.search_experiments()],
            order_by=["start_time DESC"],
        )
    )


@pytest.fixture
def settings(tmp_path: Path) -> Params:
    return small_params(tmp_path, {})


def _steps(folder: Path, name: str) -> list[int]:
    from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]
        EventAccumulator,
    )

    events = EventAccumulator(str(folder))
    events.Reload()
    return [event.step for event in events.Scalars(name)]


def _small_training(folder: Path, changes: dict[str, Any], name: str) -> dict[str, bytes]:
    """Train as the stage does; all bytes that it wrote beside what depends on the machine."""
    settings = small_params(folder, changes)
    out = folder / name
    folders = Folders(out / "checkpoint", out / "curves", out / "plots", folder / f"runs_{name}")
    files = [folder / file for file in ("X.npy", "segments.csv", "split.csv")]
    segments, key = load(folder), run_key(settings, files)
    domain = SignalDomain(128, ("II",), 0.5, 50, 3, 10, "start", "none")
    with trackers.tracked(settings, key, data=files) as tracker:
        history = train(settings, segments, domain, folders, key, tracker.epoch)
        trained(tracker, settings, segments, history, folders, key, folder / "params.yaml")
    return {str(f.relative_to(out)): f.read_bytes() for f in out.rglob("*") if f.is_file()}


TREES = {
    "model.name": "random_forest",
    "model.input": "waveforms",
    "models.random_forest.trees": 4,
}


@pytest.mark.parametrize("changes", [{}, TREES], ids=["network", "trees"])
def test_trackers_change_no_byte_and_know_every_epoch(
    changes: dict[str, Any],
    tmp_path: Path,
    store: Callable[[], list[Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small_segments(tmp_path)
    monkeypatch.setenv("RETRACE_TENSORBOARD", "boards")
    monkeypatch.setenv("DVC_EXP_NAME", "quick-test")
    tracked = _small_training(tmp_path, changes, "tracked")
    (run,) = store()
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.delenv("RETRACE_TENSORBOARD")
    alone = _small_training(tmp_path, changes, "alone")

    assert tracked == alone
    assert len(store()) == 1
    (cost,) = (tmp_path / "runs_tracked").rglob("cost.json")
    known = json.loads(cost.read_text())
    assert run.info.status == "FINISHED" and run.info.run_name == "quick-test"
    assert run.data.tags["retrace.weights"] == known["weights_sha256"]
    assert run.data.tags["retrace.dvc_experiment"] == "quick-test"
    assert run.data.metrics["cost/epochs"] == known["epochs"]
    params = yaml.safe_load((tmp_path / "params.yaml").read_text())
    assert run.data.params["lr"] == str(params["lr"])
    assert run.data.params["model.name"] == params["model"]["name"]
    assert _steps(tmp_path / "boards/quick-test", "epoch/val_loss") == list(
        range(1, known["epochs"] + 1)
    )
    names = {path.name for path in (tmp_path / "store/artifacts").rglob("*")}
    assert {"curves.png", "params.yaml", "config.json", "cost.json", "environment.json"} <= names
    assert {"confusion.png", "report.txt"} <= names


def test_a_broken_off_training_goes_on_in_its_run_without_doubled_epochs(
    tmp_path: Path,
    settings: Params,
    store: Callable[[], list[Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RETRACE_TENSORBOARD", "boards")
    with pytest.raises(InputError), trackers.tracked(settings, "a" * 16) as tracker:
        for number in (1, 2):
            tracker.epoch(number, ROW)
        raise InputError("the loss became nan")
    assert store()[0].info.status == "FAILED"
    assert store()[0].data.tags["retrace.failed"] == "the loss became nan"

    with trackers.tracked(settings, "a" * 16) as tracker:
        for number in (1, 2, 3):  # a resumed training tells of all epochs so far
            tracker.epoch(number, ROW)

    (run,) = store()
    assert run.info.status == "FINISHED" and "retrace.failed" not in run.data.tags
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'store/mlflow.db'}")
    history = client.get_metric_history(run.info.run_id, "val_loss")
    assert [metric.step for metric in history] == [1, 2, 3]
    (folder,) = (tmp_path / "boards").iterdir()
    assert _steps(folder, "epoch/val_loss") == [1, 2, 3]


def test_a_finished_training_that_is_repeated_is_another_run(
    settings: Params, store: Callable[[], list[Any]]
) -> None:
    for _ in range(2):
        with trackers.tracked(settings, "a" * 16) as tracker:
            tracker.epoch(1, ROW)

    assert len(store()) == 2


def test_who_is_told_of_no_epoch_leaves_no_run(
    tmp_path: Path,
    settings: Params,
    store: Callable[[], list[Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RETRACE_TENSORBOARD", "boards")
    with trackers.tracked(settings, "a" * 16) as tracker:
        tracker.result({"best": 1.0})

    assert store() == [] and not (tmp_path / "boards").exists()


def test_trials_stand_below_their_sweep_and_are_ended_with_it(
    settings: Params, store: Callable[[], list[Any]]
) -> None:
    with trackers.sweep_started("night", {"space": {"lr": [1e-4, 1e-2]}, "samples": 2}) as sweep:
        for number in (1, 2):
            name = f"night/trial_{number:03d}"
            with trackers.tracked(settings, f"k{number}", parent=sweep.id, name=name) as trial:
                trial.epoch(1, ROW)
        sweep.result({"best_val_f1_macro": 0.5}, {"retrace.best.lr": "0.001"})

    runs = {run.info.run_name: run for run in store()}
    parent = runs["night"]
    assert parent.data.params["samples"] == "2"
    assert parent.data.tags["retrace.best.lr"] == "0.001"
    for number in (1, 2):
        trial_run = runs[f"night/trial_{number:03d}"]
        assert trial_run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert trial_run.info.status == "FINISHED"


def test_a_trial_whose_process_was_ended_is_ended_with_the_sweep(
    settings: Params, store: Callable[[], list[Any]]
) -> None:
    with trackers.sweep_started("night", {}) as sweep:
        cut = trackers.tracked(settings, "k1", parent=sweep.id, name="night/trial_001")
        cut.__enter__().epoch(1, ROW)  # never left

    assert {run.info.run_name: run.info.status for run in store()} == {
        "night": "FINISHED",
        "night/trial_001": "KILLED",
    }


def test_a_sweep_that_is_not_tracked_has_no_tracked_trials(
    settings: Params, store: Callable[[], list[Any]]
) -> None:
    with trackers.tracked(settings, "k1", parent=None, name="night/trial_001") as trial:
        trial.epoch(1, ROW)
        assert trial.id is None

    assert store() == []


def _answers() -> Answers:
    y, p = np.array([0, 1, 2, 3]), np.eye(4) * 0.7 + 0.075
    names, unknown = list("abcd"), [cast(Any, None)] * 4
    return Answers(
        "record",
        np.arange(4),
        names,
        unknown,
        unknown,
        unknown,
        y,
        p,
        p,
        list(CLASSES),
        [0.5] * 4,
        4,
    )


def _evaluate(
    params: Params, folder: Path, weights: bytes, f1: float, scores: Path | None = None
) -> None:
    """What the stage gives, after its own files stand."""
    (folder / "weights.safetensors").write_bytes(weights)
    write_json(folder / "test.json", {"f1_macro": f1})
    plots = folder / "plots"
    draw(
        plots,
        y=[0],
        probabilities=[[1, 0, 0, 0]],
        raw_probabilities=[[1, 0, 0, 0]],
        classes=CLASSES,
    )
    write_json(plots / "scores.json", json.loads(scores.read_text()) if scores else {})
    evaluated(params, folder / "weights.safetensors", _answers(), folder / "test.json", plots)


def test_later_stages_find_the_run_of_the_weights(
    tmp_path: Path, settings: Params, store: Callable[[], list[Any]]
) -> None:
    with trackers.tracked(settings, "a" * 16) as tracker:
        tracker.epoch(1, ROW)
        tracker.result({}, {"retrace.weights": hashlib.sha256(b"weights").hexdigest()})
    _evaluate(settings, tmp_path, b"weights", 0.4)
    _evaluate(settings, tmp_path, b"others, trained elsewhere", 0.3)

    other, own = store()
    assert own.data.metrics["test_f1_macro"] == 0.4 and own.data.metrics["val_loss"] == 1
    assert other.data.metrics == {"test_f1_macro": 0.3}
    assert own.info.status == other.info.status == "FINISHED"
    kept = {path.name for path in (tmp_path / "store/artifacts" / own.info.run_id).rglob("*")}
    assert {"scores.json", "confusion.png", "report.txt"} <= kept
    assert not {"predictions.csv", "examples.png"} & kept


def test_no_name_of_a_record_leaves_the_machine(
    tmp_path: Path, settings: Params, store: Callable[[], list[Any]]
) -> None:
    published = ROOT / "recipes/mitdb_ds1_ds2/scores.json"
    _evaluate(settings, tmp_path, b"weights", 0.4, published)

    (sent,) = (tmp_path / "store/artifacts" / store()[0].info.run_id).rglob("scores.json")
    there, here = (json.loads(path.read_text()) for path in (sent, published))
    names = here["ec57"]["papers"]["records"].keys()
    assert there["overall"] == here["overall"]
    assert there["ec57"]["papers"]["gross"] == here["ec57"]["papers"]["gross"]
    words = set(re.findall(r"\w+", " ".join(_strings(there))))
    assert len(names) == 22 and names.isdisjoint(words)


def _strings(tree: Any) -> Iterator[str]:
    """Every key of a tree, and every value that is a string."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield key
            yield from _strings(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _strings(value)
    elif isinstance(tree, str):
        yield tree


@pytest.mark.parametrize("features", [[], ["rr_ratio"]], ids=["segments", "with features"])
def test_a_model_loads_back_with_its_signature_and_answers(
    features: list[str],
    tmp_path: Path,
    settings: Params,
    store: Callable[[], list[Any]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    small_beats(tmp_path)
    segments = load(tmp_path, features)
    domain = SignalDomain(24, ("II",), 0.5, 11, 3, 1, "start", "none")
    path = write_model(tmp_path / "model.onnx", domain, features=features, classes=list(CLASSES))
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"weights")
    exported(settings, weights, segments, path)
    assert capsys.readouterr().err == ""

    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'store/mlflow.db'}")
    loaded = mlflow.pyfunc.load_model(f"runs:/{store()[0].info.run_id}/model")

    inputs = ["segments", "features"] if features else ["segments"]
    assert loaded.metadata.signature.inputs.input_names() == inputs
    assert list(loaded.input_example) == inputs
    given = {name: np.asarray(value, np.float32) for name, value in loaded.input_example.items()}
    (expected,) = onnxruntime.InferenceSession(path).run(["logits"], given)
    np.testing.assert_array_equal(loaded.predict(given)["logits"], expected)


@pytest.fixture
def silent() -> Any:
    """A server that takes what is sent and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://user:secret@127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("kind", ["down", "silent", "wrong"])
def test_a_tracker_that_fails_is_asked_once_and_named_at_the_end(
    kind: str,
    tmp_path: Path,
    settings: Params,
    silent: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    uris = {"down": "http://127.0.0.1:9", "silent": silent, "wrong": "floppy://a"}
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uris[kind])
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("RETRACE_TENSORBOARD", "boards")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    with trackers.tracked(settings, "a" * 16) as tracker:
        tracker.epoch(1, ROW)
        tracker.epoch(2, ROW)
        assert tracker.id is None and len(tracker.missed) == 1
        assert capsys.readouterr().err == ""

    said = capsys.readouterr().err
    assert said.count("warning:") == said.count("\n") == 1
    assert "was told nothing" in said and "unset MLFLOW_TRACKING_URI" in said
    assert "secret" not in said
    (folder,) = (tmp_path / "boards").iterdir()  # the other one has it all
    assert _steps(folder, "epoch/val_loss") == [1, 2]


def test_a_tracker_that_is_not_installed_is_named_with_what_installs_it(
    tmp_path: Path, settings: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETRACE_TENSORBOARD", str(tmp_path / "boards"))
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard.writer", None)
    with trackers.tracked(settings, "a" * 16) as tracker:
        tracker.epoch(1, ROW)

    assert "pip install 'retrace[tracking]'" in tracker.missed[0]


@pytest.mark.parametrize("before", ["", "x" * 170])
def test_a_password_is_told_to_nobody_even_where_a_sentence_is_cut(
    before: str,
    settings: Params,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    uri = "http://user:top@secret-and-long@host:5000"

    def refuse(*_: Any) -> Any:
        raise RuntimeError(f"{before} {uri}/api")

    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setattr("retrace.learning.mlflow_runs.connected", refuse)
    with trackers.tracked(settings, "a" * 16) as tracker:
        tracker.epoch(1, ROW)

    said = capsys.readouterr().err
    assert "MLflow at http://host:5000 was told nothing" in said
    assert "top" not in said and "secret" not in said


@pytest.mark.parametrize("port", ["x", "0", "65536", "-1"])
def test_a_port_that_is_none_is_refused(port: str) -> None:
    with pytest.raises(InputError, match="from 1 to 65535"):
        mlflow_server.serve(port)


def test_a_port_that_is_taken_is_one_sentence(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    taken = r"cannot be used .*make mlflow PORT="
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pytest.raises(InputError, match=taken),
    ):
        mlflow_server.serve(str(server.getsockname()[1]))

    assert list(tmp_path.iterdir()) == []
