"""Boosted trees and forests: trained, kept and asked in the same way as networks."""

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file
from sklearn.ensemble import RandomForestClassifier

from retrace import registry
from retrace.errors import InputError
from retrace.learning import checkpoint
from retrace.learning.balance import class_weights
from retrace.learning.estimators import Estimator
from retrace.learning.fitting import fit_estimator
from retrace.learning.tracking import History
from tests.train_small import CLASSES, load, run, small_beats, small_params

OPTIONS: dict[str, dict[str, Any]] = {
    "random_forest": {
        "trees": 20,
        "max_leaf_nodes": 50,
        "min_samples_leaf": 1,
        "max_features": "sqrt",
    },
    "xgboost": {
        "max_depth": 3,
        "min_child_weight": 1.0,
        "subsample": 0.8,
        "colsample_bytree": 0.8,
        "reg_lambda": 1.0,
    },
}
BEATS = {
    "model.input": "waveforms",
    "model.aggregate": "none",
    "model.features": ["rr_ratio"],
    "segment.anchor": "beat",
    "lr": 0.3,
    "epochs": 30,
}
each = pytest.mark.parametrize("name", OPTIONS)
Rows = tuple[NDArray[np.float32], NDArray[np.int64]]


def _build(name: str, n_classes: int = 4) -> Any:
    module = importlib.import_module(f"retrace.models.{name}")
    return module.build((1, 24), n_classes, **OPTIONS[name])


def _rows(n: int, seed: int) -> Rows:
    generator = np.random.default_rng(seed)
    y = generator.choice(4, n, p=[0.7, 0.15, 0.1, 0.05])
    X = generator.normal(size=(n, 24)).astype(np.float32)
    X[np.arange(n), y * 5] += 2
    X[::3, 20:] = 0
    return X, y


def _fit(estimator: Estimator, train: Rows, val: Rows, **changes: Any) -> list[dict[str, float]]:
    settings = {"lr": 0.3, "rounds": 40, "patience": 5, "seed": 1, "threads": 2} | changes
    X, y = train
    return estimator.fit(
        X, y, settings.pop("weights", np.ones(len(y))), val, score=lambda p: 0.0, **settings
    )


def _bytes(estimator: Estimator) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in estimator.state().items()}


def _loss(probabilities: NDArray[np.float64], y: NDArray[np.int64]) -> float:
    return float(-np.log(probabilities[np.arange(len(y)), y]).mean())


def test_every_estimator_is_tested_here() -> None:
    assert {n for n in registry.names("models") if not registry.is_network(n)} == set(OPTIONS)


@each
def test_a_seed_decides_every_byte(name: str) -> None:
    first, again, other = (_build(name) for _ in range(3))
    for estimator, seed in ((first, 1), (again, 1), (other, 2)):
        _fit(estimator, _rows(300, 0), _rows(100, 1), seed=seed)

    assert _bytes(first) == _bytes(again) != _bytes(other)


@each
def test_it_learns_and_says_probabilities(name: str) -> None:
    estimator, (X, y) = _build(name), _rows(200, 2)
    _fit(estimator, _rows(800, 0), _rows(200, 1))

    said = estimator.probabilities(X)

    assert said.shape == (200, 4) and said.dtype == np.float64 and said.min() >= 0
    np.testing.assert_allclose(said.sum(axis=1), 1, atol=1e-6)
    assert (said.argmax(axis=1) == y).mean() > 0.8


@each
def test_a_class_without_a_training_segment_breaks_nothing(name: str) -> None:
    estimator, (X, y) = _build(name), _rows(300, 0)
    _fit(estimator, (X[y != 2], y[y != 2]), _rows(100, 1))

    said = estimator.probabilities(X)

    assert said.shape == (300, 4) and not (said.argmax(axis=1) == 2).any()


@each
def test_weights_make_a_rare_class_found_more_often(name: str) -> None:
    (X, y), (other, actual) = _rows(500, 0), _rows(500, 2)
    found = []
    for method in ("none", "inverse"):
        estimator = _build(name)
        _fit(estimator, (X, y), _rows(100, 1), weights=class_weights(y, 4, method)[y], rounds=5)
        found.append(estimator.probabilities(other)[actual == 3, 3].mean())

    assert found[1] > found[0]


@each
def test_a_state_comes_back_to_equal_answers_and_equal_bytes(name: str) -> None:
    fitted, restored, (X, _) = _build(name), _build(name), _rows(50, 2)
    _fit(fitted, _rows(300, 0), _rows(100, 1))

    restored.restore(fitted.state())

    np.testing.assert_array_equal(restored.probabilities(X), fitted.probabilities(X))
    assert _bytes(restored) == _bytes(fitted)
    assert restored.size == fitted.size > 100


@each
def test_a_row_gets_the_same_answer_alone_and_in_company(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retrace.models.random_forest._AT_ONCE", 20 * 4 * 7)
    estimator, (X, _) = _build(name), _rows(50, 2)
    _fit(estimator, _rows(300, 0), _rows(100, 1))

    alone = np.concatenate([estimator.probabilities(X[i : i + 1]) for i in range(50)])

    np.testing.assert_array_equal(estimator.probabilities(X), alone)


@pytest.mark.parametrize("present", [[0, 1, 2, 3], [1, 3]])
def test_a_forest_answers_as_the_one_of_scikit_learn(present: list[int]) -> None:
    (X, y), (other, _) = _rows(400, 0), _rows(200, 2)
    X, y = X[np.isin(y, present)], y[np.isin(y, present)]
    weights = class_weights(y, 4, "inverse")[y]
    forest = _build("random_forest")
    _fit(forest, (X, y), _rows(50, 1), weights=weights)
    options = OPTIONS["random_forest"]
    theirs = RandomForestClassifier(
        n_estimators=options["trees"],
        max_leaf_nodes=options["max_leaf_nodes"],
        random_state=1,
    ).fit(X, y, weights)

    # Thresholds lie between values; these lie on them, where only exact ones agree.
    tree = theirs.estimators_[0].tree_
    for row, node in enumerate(np.flatnonzero(tree.feature >= 0)):
        other[row, tree.feature[node]] = tree.threshold[node]
    said = forest.probabilities(other)

    np.testing.assert_allclose(said[:, present], theirs.predict_proba(other), atol=1e-6)


def test_a_forest_of_single_leaves_answers_with_their_shares() -> None:
    forest, (X, y) = _build("random_forest"), _rows(40, 0)
    _fit(forest, (X[y == 1], y[y == 1]), _rows(20, 1))

    np.testing.assert_array_equal(forest.probabilities(X), np.tile([0.0, 1, 0, 0], (40, 1)))


@pytest.mark.parametrize("damage", ["loop", "leaf", "class", "shape", "missing"])
def test_a_forest_that_leads_nowhere_is_refused(damage: str) -> None:
    forest = _build("random_forest")
    _fit(forest, _rows(300, 0), _rows(100, 1))
    state = {name: array.copy() for name, array in forest.state().items()}
    if damage == "loop":
        state["children"][3, 0] = 3
    elif damage == "leaf":
        state["children"][3, 0] = ~len(state["leaves"])
    elif damage == "class":
        state["leaves"] = state["leaves"][:, 1:]
    elif damage == "shape":
        state["thresholds"] = state["thresholds"][1:]
    else:
        del state["roots"]

    with pytest.raises((ValueError, KeyError)):
        _build("random_forest").restore(state)


def test_boosting_keeps_the_round_of_the_lowest_validation_loss() -> None:
    booster, val = _build("xgboost"), _rows(100, 1)

    rows = _fit(booster, _rows(300, 0), val, rounds=400)

    losses = [row["val_loss"] for row in rows]
    best = int(np.argmin(losses))
    assert best > 1 and len(rows) == best + 1 + 5 < 400
    assert _loss(booster.probabilities(val[0]), val[1]) == pytest.approx(losses[best], rel=1e-4)


def test_a_boosters_state_of_other_classes_is_refused() -> None:
    booster = _build("xgboost")
    _fit(booster, _rows(300, 0), _rows(100, 1), rounds=3)

    with pytest.raises(ValueError, match="4 classes in place of 5"):
        _build("xgboost", 5).restore(booster.state())


class _Spy:
    """An estimator that keeps what it is given."""

    def fit(self, X: Any, y: Any, weights: Any, validation: Any, **settings: Any) -> Any:
        self.X, self.y, self.weights, self.validation = X, y, weights, validation
        self.settings = settings
        return [{"train_loss": 1.0, "val_loss": loss, "score": loss} for loss in (0.5, 0.25, 0.75)]


def _spied(tmp_path: Path, imbalance: str) -> tuple[Any, Any, History]:
    small_beats(tmp_path)
    segments = load(tmp_path, ["rr_ratio"])
    changes = {"model.name": "xgboost", "train.imbalance": imbalance, "threads": 2}
    params = small_params(tmp_path, BEATS | changes)
    spy: Any = _Spy()
    history = History(tmp_path, "val_f1_macro", 4, 0)
    fit_estimator(params, spy, segments, history)
    return spy, segments, history


def test_it_is_fitted_to_samples_then_features_of_the_training_part(tmp_path: Path) -> None:
    spy, segments, _ = _spied(tmp_path, "inverse")

    train, val = segments.rows("train"), segments.rows("val")
    np.testing.assert_array_equal(spy.X[:, :24], segments.X[train, 0])
    np.testing.assert_array_equal(spy.X[:, 24:], segments.features[train])
    np.testing.assert_array_equal(spy.validation[0][:, 24:], segments.features[val])
    np.testing.assert_array_equal(spy.validation[1], segments.labels[val])
    assert {name: spy.settings[name] for name in ("lr", "rounds", "patience", "threads")} == {
        "lr": 0.3,
        "rounds": 30,
        "patience": 4,
        "threads": 2,
    }


def test_rare_classes_are_weighted_or_drawn_more_often(tmp_path: Path) -> None:
    plain, weighted, drawn = (_spied(tmp_path, m)[0] for m in ("none", "inverse", "sampler"))
    counts = [np.bincount(spy.y, weights=spy.weights) for spy in (plain, weighted, drawn)]

    assert counts[0].max() / counts[0].min() == pytest.approx(5)
    np.testing.assert_allclose(counts[1], len(weighted.y) / 4)
    assert counts[2].max() / counts[2].min() < 2 and set(drawn.weights) == {1.0}


def test_the_history_keeps_every_round_and_marks_the_lowest_loss(tmp_path: Path) -> None:
    _, _, history = _spied(tmp_path, "none")

    assert [row["val_loss"] for row in history.rows] == [0.5, 0.25, 0.75]
    assert (history.best_epoch, history.best) == (1, 0.25)


@each
def test_a_training_leaves_what_that_of_a_network_leaves(name: str, tmp_path: Path) -> None:
    small_beats(tmp_path)

    run(tmp_path, BEATS | {"model.name": name})

    config = json.loads((tmp_path / "checkpoint/config.json").read_text())
    table = (tmp_path / "curves/plots/metrics/val_f1_macro.tsv").read_text().splitlines()
    summary = json.loads((tmp_path / "curves/metrics.json").read_text())
    (cost,) = (json.loads(file.read_text()) for file in tmp_path.glob("runs/*/cost.json"))
    (made_on,) = (json.loads(file.read_text()) for file in tmp_path.glob("runs/*/environment.json"))
    assert config["model"]["features"] == ["rr_ratio"] and config["classes"] == list(CLASSES)
    assert len(table) == 1 + summary["epochs"] == 1 + cost["epochs"]
    assert summary["best_epoch"] == config["best_epoch"]
    assert config["validation"]["val_f1_macro"] == summary["val_f1_macro"] > 0.9
    assert {"train_loss.tsv", "val_loss.tsv"} <= {
        file.name for file in (tmp_path / "curves/plots/metrics").iterdir()
    }
    assert (tmp_path / "plots/curves.png").is_file()
    assert cost["parameters"] > 100 and made_on["gpu"] == "none"
    assert not list(tmp_path.rglob("resume"))


@each
def test_its_checkpoint_holds_arrays_and_comes_back(name: str, tmp_path: Path) -> None:
    small_beats(tmp_path)
    run(tmp_path, BEATS | {"model.name": name})
    segments, rows = load(tmp_path, ["rr_ratio"]), np.arange(40)

    model, _ = checkpoint.load(tmp_path / "checkpoint")
    out = checkpoint.logits(model, segments.X, segments.features, rows, 7)

    kept = load_file(tmp_path / "checkpoint/weights.safetensors")
    again = _like(name, tmp_path)
    again.restore(kept)
    flat = checkpoint.flat(segments.X[rows], segments.features[rows])
    np.testing.assert_allclose(np.exp(out), again.probabilities(flat).clip(1e-7), rtol=1e-6)
    assert out.shape == (40, 4)


def _like(name: str, folder: Path) -> Any:
    options = json.loads((folder / "checkpoint/config.json").read_text())["model"]["options"]
    return importlib.import_module(f"retrace.models.{name}").build((1, 24), 4, **options)


@each
@pytest.mark.parametrize("damage", ["truncated", "bytes", "classes"])
def test_a_damaged_checkpoint_is_one_sentence(name: str, damage: str, tmp_path: Path) -> None:
    small_beats(tmp_path)
    run(tmp_path, BEATS | {"model.name": name, "epochs": 3})
    weights, config = (
        tmp_path / "checkpoint" / file for file in ("weights.safetensors", "config.json")
    )
    content = bytearray(weights.read_bytes())
    if damage == "truncated":
        weights.write_bytes(content[:-100])
    elif damage == "bytes":
        middle = len(content) // 2
        content[-middle:] = b"\xff" * middle
        weights.write_bytes(content)
    else:
        known = json.loads(config.read_text())
        config.write_text(json.dumps(known | {"classes": ["a", "b"]}))

    with pytest.raises(InputError, match="not a readable checkpoint"):
        checkpoint.load(tmp_path / "checkpoint")


@each
def test_a_loss_of_networks_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"train\.imbalance: focal; .* {name} is none: set it to"):
        small_params(tmp_path, BEATS | {"model.name": name, "train.imbalance": "focal"})
