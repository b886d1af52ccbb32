"""A checkpoint as ONNX: the same answers, in a file that says what it is and nothing else."""

import hashlib
import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import yaml
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import nn
from torch.nn import functional

from retrace import registry
from retrace.deploy import export
from retrace.deploy.predictor import Predictor
from retrace.deploy.quantise import quantise
from retrace.errors import InputError
from retrace.learning import checkpoint
from retrace.learning.checkpoint import Model
from retrace.learning.data import Segments
from retrace.models.conv_attention import GatedAttention
from retrace.signals.domain import BeatWindow, SignalDomain
from stages import export as stage
from tests.sources import ROOT
from tests.train_small import CLASSES, run, small_beats, small_params

OPTIONS: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())["models"]
SHAPES = {"waveforms": (1, 48), "scalograms": (1, 8, 24)}
NETWORKS = [name for name in registry.names("models") if registry.is_network(name)]
FEATURES, STEPS = 2, 8
# Of the beats of `small_beats`.
DOMAIN = SignalDomain(
    128, ("II",), 0.5, 50, 3, 24 / 128, "beat", "none", beat=BeatWindow(peak=0.5, rr_length=None)
)
every_model = pytest.mark.parametrize("name", registry.names("models"))
every_network = pytest.mark.parametrize("name", NETWORKS)
with_and_without_features = pytest.mark.parametrize("n_features", [0, FEATURES])


def _segments(name: str, n_features: int) -> Segments:
    """64 segments, some of them padded, in which the class can be seen."""
    n, generator = 64, np.random.default_rng(0)
    shape = SHAPES[registry.model_input(name)]
    labels = np.arange(n) % len(CLASSES)
    X = generator.normal(0, 0.3, (n, *shape)).astype(np.float32)
    X[np.arange(n), ..., labels * 5] += 2
    if len(shape) == 3:
        X = abs(X)
    else:
        X[::3, :, 36:] = 0
    ids = [str(row) for row in range(n)]
    features = generator.normal(size=(n, n_features)).astype(np.float32)
    none: list[Any] = [None] * n
    subsets = np.where(np.arange(n) < 32, "train", "val")
    return Segments(
        X, features, ids, ids, none, [0.0] * n, none, none, labels, subsets, list(CLASSES)
    )


def _fitted(name: str, segments: Segments) -> Model:
    """The model as params.yaml has it, fitted a little: what is random says next to nothing."""
    torch.manual_seed(0)
    X, features, y = segments.X, segments.features, segments.labels
    shape, n_classes = tuple(X.shape[1:]), len(segments.classes)
    model = checkpoint.build(name, shape, n_classes, OPTIONS[name], features.shape[1])
    if not isinstance(model, nn.Module):
        rows = checkpoint.flat(X, features)
        told: dict[str, Any] = {"lr": 0.3, "rounds": 9, "patience": 9, "seed": 1, "threads": 1}
        model.fit(rows, y, np.ones(len(y)), (rows, y), score=lambda said: 0.0, **told)
        return model
    model.fit(segments)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.momentum = 0.5  # of few steps
        elif isinstance(layer, GatedAttention):
            nn.init.ones_(layer.gate)  # it starts closed
    optimiser = torch.optim.Adam(model.train().parameters(), 0.003)
    given, labels = (torch.from_numpy(X), torch.from_numpy(features)), torch.from_numpy(y)
    for _ in range(STEPS):
        optimiser.zero_grad()
        functional.cross_entropy(model(*given), labels).backward()
        optimiser.step()
    return model.eval()


@cache
def _exported(name: str, n_features: int) -> tuple[Model, Segments, bytes]:
    segments = _segments(name, n_features)
    model = _fitted(name, segments)
    return model, segments, _bytes(model, segments)


def _bytes(model: Model, segments: Segments) -> bytes:
    shape, n_features = tuple(segments.X.shape[1:]), segments.features.shape[1]
    content: bytes = export.graph(model, shape, n_features).SerializeToString(deterministic=True)
    return content


def _answers(folder: Path, content: bytes, segments: Segments, n: int) -> NDArray[np.float64]:
    path = folder / "model.onnx"
    path.write_bytes(content)
    return export.answers(path, segments, np.arange(n), 1)


def _error(expected: NDArray[np.float64], logits: NDArray[np.float64]) -> float:
    return float((abs(logits - expected).max(axis=1) / abs(expected).max(axis=1)).max())


# The float model


@every_model
@with_and_without_features
def test_the_file_answers_as_the_checkpoint_however_many_are_asked(
    name: str, n_features: int, tmp_path: Path
) -> None:
    model, segments, content = _exported(name, n_features)

    for n in (1, 7, 64):
        logits = _answers(tmp_path, content, segments, n)
        expected = checkpoint.logits(model, segments.X, segments.features, np.arange(n), n)
        assert logits.shape == expected.shape == (n, len(CLASSES))
        assert _error(expected, logits) < 2e-5
    assert (
        expected.std(axis=0).min() > 0.01 * abs(expected).max()
    )  # it does not say always the same


@every_model
def test_the_same_model_gives_the_same_bytes(name: str) -> None:
    model, segments, content = _exported(name, FEATURES)

    assert _bytes(model, segments) == content


@every_model
def test_the_file_says_nothing_of_its_making(name: str) -> None:
    _, _, content = _exported(name, FEATURES)

    model = onnx.load_model_from_string(content)
    graph = model.graph
    for tensor in graph.initializer:
        tensor.ClearField("raw_data")  # among megabytes of weights any three letters come up
    written = model.SerializeToString()
    for told in (b"site-packages", b".py", str(ROOT).encode(), str(Path.home()).encode() + b"/"):
        assert told not in written
    assert not graph.doc_string
    assert not [node for node in graph.node if node.doc_string or node.metadata_props]
    assert not [tensor for tensor in graph.initializer if tensor.external_data]


@pytest.mark.parametrize("name", ["random_forest", "xgboost"])
def test_a_value_on_a_threshold_goes_where_it_goes_in_the_estimator(
    name: str, tmp_path: Path
) -> None:
    segments = _segments(name, 0)
    segments.X[:] = np.round(segments.X * 4)  # so that thresholds are values of float32
    model: Any = _fitted(name, segments)
    columns, thresholds = _splits(name, model)
    for row in range(64):
        split = row % len(columns)
        at = np.float32(thresholds[split])
        beside = np.nextafter(at, np.float32(-np.inf if row // 4 % 2 else np.inf))
        segments.X[row, 0, columns[split]] = beside if row % 4 == 3 else at

    expected = checkpoint.logits(model, segments.X, segments.features, np.arange(64), 64)

    logits = _answers(tmp_path, _bytes(model, segments), segments, 64)
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    assert np.isin(segments.X, thresholds).sum() > 30


def _splits(name: str, model: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Columns and thresholds of all splits."""
    if name == "random_forest":
        return model.state()["features"], model.state()["thresholds"]
    table = model._booster.trees_to_dataframe().query("Feature != 'Leaf'")
    return table.Feature.str[1:].astype(int).to_numpy(), table.Split.to_numpy()


@pytest.mark.parametrize(
    ("expected", "logits"),
    [
        ([[0.0, 10.0]], [[0.002, 10.0]]),
        ([[1.0, 1.00001], [0.0, 9.0]], [[1.00001, 1.0], [0.0, 9.0]]),  # close, another label
        ([[0.0, 10.0]], [[np.nan, 10.0]]),
    ],
)
def test_other_logits_or_labels_are_no_agreement(expected: Any, logits: Any) -> None:
    with pytest.raises(InputError, match=r"are not the checkpoint's.* dvc repro export"):
        export.compare(np.array(expected), np.array(logits))


# 8 bits


@every_network
def test_8_bits_are_smaller_and_say_nearly_the_same(name: str, tmp_path: Path) -> None:
    model, segments, content = _exported(name, 0)
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    batch = {"segments": segments.X}

    first, again = (quantise(path, [batch]).SerializeToString(deterministic=True) for _ in "12")

    assert first == again and str(tmp_path).encode() not in first and b"/tmp" not in first
    assert len(first) < 0.65 * len(content)
    logits = _answers(tmp_path, first, segments, 64)
    expected = checkpoint.logits(model, segments.X, segments.features, np.arange(64), 64)
    assert 1e-6 < _error(expected, logits) < 0.15


# The stage


@cache
def _trained(name: str, folder: Path) -> Path:
    """A workspace before the stage: beats with a feature, and a model trained on them."""
    data, home = folder / "data/waveforms", folder / "trained"
    for made in (data, home, folder / "data/raw"):
        made.mkdir(parents=True)
    small_beats(home)
    run(
        home,
        {
            "dataset.name": "mitdb",
            "model.name": name,
            "model.input": "waveforms",
            "model.aggregate": "none",
            "model.features": ["rr_ratio"],
            "segment.anchor": "beat",
            "epochs": 2,
        },
    )
    for file in ("X.npy", "segments.csv"):
        shutil.move(home / file, data)
    shutil.move(home / "split.csv", folder / "data")
    shutil.move(home / "params.yaml", folder)
    shutil.move(home / "checkpoint", folder / "models/checkpoint")
    DOMAIN.write(data)
    (folder / "data/raw/manifest.csv").write_text("path,url,sha256,bytes\n")
    return folder


@pytest.fixture
def workspace(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Any:
    base = tmp_path_factory.getbasetemp() / "trained"

    def make(name: str) -> Path:
        shutil.copytree(_trained(name, base / name), tmp_path, dirs_exist_ok=True)
        monkeypatch.chdir(tmp_path)
        return tmp_path

    return make


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _metrics(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "metrics/export.json").read_text())
    return found


def test_the_stage_writes_both_files_and_what_they_are_worth(workspace: Any) -> None:
    folder = workspace("simple_cnn")

    stage.main()

    found = _metrics(folder)
    model, small = folder / "models/model.onnx", folder / "models/int8/model.onnx"
    kept = _sha256(model), _sha256(small)
    stage.main()
    assert kept == (_sha256(model), _sha256(small))
    assert found == _metrics(folder)
    assert found["largest_relative_error"] < 1e-5 and found["labels_compared"] == 48
    assert found["float"]["bytes"] == model.stat().st_size
    assert found["int8"]["bytes"] == small.stat().st_size
    assert not list(folder.rglob("*.part"))


def test_the_file_knows_what_it_takes_and_what_it_was_made_from(workspace: Any) -> None:
    folder = workspace("simple_cnn")
    stage.main()
    config = json.loads((folder / "models/checkpoint/config.json").read_text())

    card = Predictor(folder / "models/model.onnx").card
    small = Predictor(folder / "models/int8/model.onnx").card

    metadata = onnx.load(folder / "models/model.onnx").metadata_props
    assert [entry.key for entry in metadata] == [export.KEY]
    assert (card.model, card.dataset, card.split) == ("simple_cnn", "mitdb", "stratified")
    assert card.classes == CLASSES and card.features == ("rr_ratio",)
    assert card.domain == DOMAIN and card.aggregate == "none"
    assert card.temperature == config["temperature"]
    assert list(card.thresholds) == config["thresholds"]
    assert (card.hop, card.short) == (10, "pad")
    assert card.hashes["data"] == _sha256(folder / "data/raw/manifest.csv")
    assert card.hashes["split"] == _sha256(folder / "data/split.csv")
    assert card.hashes["weights"] == _sha256(folder / "models/checkpoint/weights.safetensors")
    assert len(card.hashes["params"]) == 64
    assert small.int8 and not card.int8 and small.hashes == card.hashes


@pytest.mark.parametrize(
    ("key", "value", "same"),
    [
        ("lr", 0.5, False),
        ("segment.hop", 3, False),
        ("models.simple_cnn.hidden", 64, False),
        ("models.gru.hidden", 64, True),
        ("evaluate.resamples", 100, True),
        ("cwt.scales", 8, True),  # of scalograms, which this model does not take
        ("fetch.folder", "/elsewhere", True),
    ],
)
def test_the_hash_of_the_params_is_of_those_that_shaped_the_model(
    key: str, value: Any, same: bool, tmp_path: Path
) -> None:
    chosen = {"model.name": "simple_cnn", "model.input": "waveforms"}
    config = {
        "model": {"name": "simple_cnn"},
        "classes": [],
        "aggregate": "mean",
        "temperature": 1,
        "thresholds": [],
    }
    first, second = (
        export.describe(small_params(tmp_path, changes), config, DOMAIN, {})["hashes"]["params"]
        for changes in (chosen, chosen | {key: value})
    )

    assert (first == second) == same


def _negated(content: onnx.ModelProto) -> onnx.ModelProto:
    """The same file with all that the last layers of the network say turned round."""
    for tensor in content.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and tensor.dims[:1] == [len(CLASSES)]:
            values = numpy_helper.to_array(tensor)
            tensor.CopyFrom(numpy_helper.from_array(-values, tensor.name))
    return content


def test_a_file_that_answers_otherwise_is_refused_and_nothing_is_left(
    workspace: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, right = workspace("simple_cnn"), export.graph
    monkeypatch.setattr(export, "graph", lambda *given: _negated(right(*given)))

    with pytest.raises(InputError, match=r"models/model\.onnx: \d+ of 48 labels are not the check"):
        stage.main()

    assert [path.name for path in (folder / "models").iterdir()] == ["checkpoint"]
    assert not (folder / "metrics").exists()


def test_what_8_bits_cost_is_measured_on_the_file_with_8_bits(
    workspace: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = workspace("simple_cnn")
    monkeypatch.setattr(export, "quantise", lambda path, _: _negated(onnx.load(path)))

    stage.main()

    found = _metrics(folder)
    assert found["int8"]["equal_labels"] < 0.1
    assert found["int8"]["accuracy"] < found["float"]["accuracy"]


def test_trees_leave_the_folder_of_8_bits_empty(workspace: Any) -> None:
    folder = workspace("random_forest")

    stage.main()

    assert list((folder / "models/int8").iterdir()) == []
    assert _metrics(folder)["int8"] is None
    assert Predictor(folder / "models/model.onnx").card.model == "random_forest"


def test_data_made_here_are_told_by_their_files(tmp_path: Path) -> None:
    (tmp_path / "a.dat").write_bytes(b"1")
    first = export.manifest(tmp_path)
    (tmp_path / "a.dat").write_bytes(b"2")

    assert b"a.dat" in first != export.manifest(tmp_path)
