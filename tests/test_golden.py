"""One way of preparing signals: evaluate's probabilities are the predictor's, from the raw files.

`stages.evaluate` answers from what the stages before it have written, with PyTorch; the predictor
reads the recordings themselves, with ONNX Runtime.
"""

import importlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from retrace import params
from retrace.deploy.export import OPSET, describe, save
from retrace.deploy.inputs import Ready, Refused, open_inputs
from retrace.deploy.network_graph import network_graph
from retrace.deploy.predictor import Predictor
from retrace.errors import InputError
from retrace.files import read_csv, write_csv
from retrace.learning import checkpoint
from retrace.learning.answers import Answers, answer
from retrace.learning.classifier import Network
from retrace.learning.data import Segments, load_segments
from retrace.learning.detected import detected
from retrace.params import Params
from retrace.runs import models, recipes
from retrace.scoring.scores import aggregate
from retrace.signals.domain import read_domain
from retrace.signals.filters import filtered
from retrace.signals.recordings import Recordings, recordings_writer
from retrace.signals.scalograms import write_scalograms
from retrace.signals.segments import write_segments
from retrace.synthesis import synthesise
from tests.sources import ROOT
from tests.train_small import small_params

CLOSE = 1e-5
BEATS: dict[str, Any] = {
    "segment.anchor": "beat",
    "segment.fs": 360,
    "segment.window": 0.52,
    "segment.normalise": "record",
    "model.name": "simple_cnn",
    "model.input": "waveforms",
    "model.aggregate": "none",
    "model.features": ["rr_ratio", "likeness"],
}
KINDS: dict[str, dict[str, Any]] = {
    "scalograms": {"segment.window": 5, "segment.hop": 5},
    "one window, padded": {"segment.window": 12.5, "cwt.frames": 160, "model.aggregate": "max"},
    "waveforms": {"model.name": "resnet1d", "model.input": "waveforms", "segment.fs": 100},
    "beats": BEATS,
}


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few recordings of every class."""
    folder = tmp_path_factory.mktemp("raw")
    synthesise(folder, seed=3, patients=6, records_per_patient=3, fs=128, duration=11, noise=1)
    return folder


def stages(settings: Params, raw: Path, data: Path) -> Segments:
    """What the stages from bandpass to split write; every other record is tested."""
    for name in ("filtered", "waveforms", "scalograms"):
        (data / name).mkdir(parents=True)
    band = settings.bandpass
    records = importlib.import_module(f"retrace.datasets.{settings.dataset.name}").records
    with recordings_writer(data / "filtered") as writer:
        for record in records(raw, **settings.dataset_options):
            writer.append(filtered(record, low=band.low, high=band.high, order=band.order))
    counts = write_segments(Recordings(data / "filtered"), data / "waveforms", settings.plan)
    settings.domain(fs=counts.fs).write(data / "waveforms")
    if settings.model.input == "scalograms":
        write_scalograms(data / "waveforms", data / "scalograms", **settings.cwt.model_dump())
    rows = read_csv(data / "waveforms/segments.csv")
    owners = list(dict.fromkeys(row["record_id"] for row in rows))
    subsets = ("train", "test")
    write_csv(
        data / "split.csv",
        ("segment_id", "subset"),
        [(row["segment_id"], subsets[owners.index(row["record_id"]) % 2]) for row in rows],
    )
    array, table = data / settings.model.input / "X.npy", data / "waveforms/segments.csv"
    features = settings.model.features
    return load_segments(array, table, data / "split.csv", settings.classes, features)


def _settle(network: Network, segments: Segments) -> None:
    """Batch norm with the statistics of the segments: without them random weights say nothing."""
    for module in network.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.momentum = None
    with torch.inference_mode():
        X = torch.from_numpy(np.array(segments.X, np.float32))
        network.train()(X, torch.from_numpy(segments.features))
    network.eval()


@dataclass(frozen=True)
class Run:
    """What evaluate answered, and a predictor of the same weights."""

    answers: Answers
    segments: Segments
    predictor: Predictor


@pytest.fixture(scope="module", params=KINDS)
def run(request: pytest.FixtureRequest, raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("run")
    settings = small_params(folder, KINDS[request.param])
    segments = stages(settings, raw, folder / "data")
    torch.manual_seed(0)
    shape, name, features = segments.X.shape[1:], settings.model.name, settings.model.features
    network = checkpoint.build(
        name, shape, len(settings.classes), settings.model_options, len(features)
    )
    assert isinstance(network, Network)
    network.fit(segments)
    _settle(network, segments)
    config = {
        "model": {"name": name, "features": features},
        "classes": settings.classes,
        "aggregate": settings.model.aggregate,
        "temperature": 0.3,  # far from even answers
        "thresholds": [0.5] * len(settings.classes),
    }
    domain = read_domain(folder / "data" / settings.model.input)
    graph = network_graph(network, shape, len(features), OPSET)
    save(folder / "model.onnx", graph, describe(settings, config, domain, {}))
    answers = answer(network, config, segments, folder / "data/filtered/records.csv")
    return Run(answers, segments, Predictor(folder / "model.onnx"))


def test_the_probabilities_of_evaluate_are_those_of_the_predictor(run: Run, raw: Path) -> None:
    answers, beats = run.answers, run.answers.unit == "beat"
    spread = answers.probabilities.max(axis=0) - answers.probabilities.min(axis=0)
    assert spread.max() > 0.01  # or nothing would be compared

    for name in dict.fromkeys(answers.record_ids):
        mine = [row for row, record in enumerate(answers.record_ids) if record == name]
        (recording,) = open_inputs([raw / f"{name}.hea"])
        assert not isinstance(recording, Ready | Refused)
        found = run.predictor.answer(recording)
        joined = found.probabilities if beats else np.asarray(found.together)[None]
        np.testing.assert_allclose(joined, answers.probabilities[mine], atol=CLOSE)
        if beats:
            samples = [run.segments.samples[row] for row in answers.rows[mine]]
            assert found.samples.tolist() == samples


def test_ready_segments_are_answered_as_evaluate_answers_them(run: Run) -> None:
    rows = run.segments.rows("test")
    ready = Ready("a", Path("a.npy"), np.asarray(run.segments.X[rows], np.float32))
    if run.predictor.card.features:
        with pytest.raises(InputError, match="the model also asks for"):
            run.predictor.answer_ready(ready)
        return

    answered = run.predictor.answer_ready(ready).probabilities

    owners = [run.segments.record_ids[row] for row in rows]
    _, joined = aggregate(owners, answered, run.predictor.card.aggregate)
    np.testing.assert_allclose(joined, run.answers.probabilities, atol=CLOSE)


def stored(recipe: str, path: str, member: str | None = None) -> Path:
    """A file that a published run wrote, in the bundled remote; or the test is skipped."""
    lock = yaml.safe_load((ROOT / "recipes" / recipe / "dvc.lock").read_text())
    outs = [out for stage in lock["stages"].values() for out in stage.get("outs", [])]
    md5 = next((out["md5"] for out in outs if out["path"] == path), "")
    store = ROOT / "store/files/md5"
    found = store / md5[:2] / md5[2:]
    if member and found.is_file():
        listed = json.loads(found.read_text())
        md5 = next(entry["md5"] for entry in listed if entry["relpath"] == member)
        found = store / md5[:2] / md5[2:]
    if not found.is_file():
        pytest.skip(f"store/ has no {path} of {recipe}")
    return found


def test_the_published_default_run_answers_alike_from_the_raw_files(tmp_path: Path) -> None:
    rows = read_csv(stored("synthetic", "plots/test", "predictions.csv"))
    predictor = Predictor(stored("synthetic", "models/model.onnx"))
    settings = params.load(ROOT / "recipes/synthetic.yaml")
    synthesise(tmp_path, **settings.synthetic.model_dump())

    for row in rows:
        (recording,) = open_inputs([tmp_path / f"{row['record_id']}.hea"])
        assert not isinstance(recording, Ready | Refused)
        found = predictor.answer(recording)
        expected = [float(row[f"p_{name}"]) for name in found.classes]
        np.testing.assert_allclose(np.asarray(found.together), expected, atol=CLOSE)


def published(recipe: str, folder: Path) -> tuple[Predictor, checkpoint.Model, dict[str, Any]]:
    """The model of a published run, as ONNX and as a checkpoint."""
    try:
        predictor = Predictor(models.find(ROOT, recipe))
    except InputError as error:
        pytest.skip(str(error))
    for name in ("config.json", checkpoint.WEIGHTS):
        (folder / name).symlink_to(stored(recipe, "models/checkpoint", name))
    return predictor, *checkpoint.load(folder)


MITDB = Path(os.environ.get("RETRACE_MIRROR", "")) / "physionet.org/files/mitdb/1.0.0"


@pytest.mark.skipif(
    not (MITDB / "100.dat").is_file(), reason="RETRACE_MIRROR is no folder with mitdb"
)
def test_the_published_model_of_ds1_answers_alike_on_ds2(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    predictor, model, config = published("mitdb_ds1_ds2", tmp_path / "model")
    (tmp_path / "params.yaml").write_text(recipes.render(ROOT, "mitdb_ds1_ds2"))
    settings = params.load(tmp_path / "params.yaml")
    (tmp_path / "raw").mkdir()
    for file in (file for name in ("105", "213") for file in MITDB.glob(f"{name}.*")):
        (tmp_path / "raw" / file.name).symlink_to(file)
    segments = stages(settings, tmp_path / "raw", tmp_path / "data")
    folder, domain = tmp_path / "data/filtered", read_domain(tmp_path / "data/waveforms")
    answers = answer(model, config, segments, folder / "records.csv")
    (by_detector,) = detected(model, config, domain, Recordings(folder), {"213"})
    assert by_detector.probabilities is not None
    (recording,) = open_inputs([MITDB / "213"])
    assert not isinstance(recording, Ready | Refused)

    marked, found = predictor.answer(recording), predictor.answer(recording, detect=True)

    np.testing.assert_allclose(marked.probabilities, answers.probabilities, atol=CLOSE)
    np.testing.assert_array_equal(found.samples, by_detector.test.samples)
    np.testing.assert_allclose(found.probabilities, by_detector.probabilities, atol=CLOSE)
