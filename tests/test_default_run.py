"""The published default run: a task that trifles do not solve, and a network that does better."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.synthetic_difficulty import band_powers
from retrace import params
from retrace.files import read_csv
from retrace.learning.splits import stratified
from retrace.signals.records import read_wfdb
from retrace.synthesis import synthesise
from tests.sources import ROOT


@pytest.fixture(scope="module")
def logistic_regression(tmp_path_factory: pytest.TempPathFactory) -> float:
    """Its macro-F1 on the default run's test patients; it may learn from train and val."""
    folder: Path = tmp_path_factory.mktemp("raw")
    settings = params.load(ROOT / "params.yaml")
    synthesise(folder, **settings.synthetic.model_dump())
    rows = read_csv(folder / "labels.csv")
    records = [read_wfdb(folder / row["record_id"]) for row in rows]
    features = np.array([band_powers(r.signal[0].astype(np.float64), r.fs) for r in records])
    labels = np.array([row["label"] for row in rows])
    split = settings.split
    subsets = stratified(
        labels.tolist(),
        [row["patient_id"] for row in rows],
        **split.model_dump(exclude={"method"}),
    )
    test = np.array(subsets) == "test"
    model = make_pipeline(
        StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000)
    )
    predicted = model.fit(features[~test], labels[~test]).predict(features[test])
    return float(f1_score(labels[test], predicted, average="macro"))


def test_eight_band_powers_do_not_give_the_classes_away(logistic_regression: float) -> None:
    assert logistic_regression < 0.80


def test_the_default_run_beats_them_on_the_same_unseen_patients(
    logistic_regression: float,
) -> None:
    metrics = json.loads((ROOT / "recipes/synthetic/metrics.json").read_text())

    assert metrics["f1_macro"] > logistic_regression + 0.10
