"""Segments that are ready are answered where they can be of the model's domain, else refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retrace.deploy.inputs import Ready
from retrace.deploy.predictor import Predictor
from retrace.errors import InputError
from retrace.signals.apply import prepare
from retrace.signals.domain import SignalDomain
from tests.heartbeats import KAGGLE, MITBIH, SCALOGRAMS, heartbeat
from tests.linear_model import beats_of, memory, write_model


@pytest.mark.parametrize("normalise", ["none", "window", "range", "record"])
@pytest.mark.parametrize("domain", [MITBIH, KAGGLE], ids=["mitbih360", "kaggle125"])
def test_ready_beats_of_the_model_s_domain_are_answered(
    tmp_path: Path, domain: SignalDomain, normalise: str
) -> None:
    domain = replace(domain, normalise=normalise)
    predictor = Predictor(write_model(tmp_path / "m.onnx", domain))
    X = beats_of(domain)

    answer = predictor.answer_ready(Ready("a", Path("a.npy"), X))

    np.testing.assert_array_equal(answer.probabilities, predictor.probabilities(X))
    assert answer.samples.tolist() == list(range(len(X)))
    assert predictor.answer_ready(Ready("a", Path("a.npy"), X[3:4])).peaks_from == "nobody"


MIXED = [
    ("none", "range", "no value below 0"),
    ("record", "range", "no value below 0"),
    ("window", "range", "no value below 0"),
    ("range", "record", "values up to"),
    ("range", "none", "values down to|values up to"),
    ("window", "record", "mean and deviation"),
]


@pytest.mark.parametrize(("model", "given", "said"), MIXED)
def test_beats_scaled_otherwise_are_refused(
    tmp_path: Path, model: str, given: str, said: str
) -> None:
    predictor = Predictor(write_model(tmp_path / "m.onnx", replace(MITBIH, normalise=model)))
    X = beats_of(replace(MITBIH, normalise=given))

    for beats in (X, X[5:6]):
        with pytest.raises(InputError, match=f"^a: ({said}).*the model takes beats of shape"):
            predictor.answer_ready(Ready("a", Path("a.npy"), beats))


@pytest.mark.parametrize(
    ("X", "said"),
    [
        (np.zeros((2, 1, 186)), r"shape \(2, 1, 186\); the model takes beats of shape \(1, 187\)"),
        (np.zeros((0, 1, 187)), r"shape \(0, 1, 187\)"),
        (np.full((2, 1, 187), np.nan), "some values are no numbers"),
        (np.zeros((2, 1, 187)), "segment 0 is flat"),
        (np.linspace(-1, 1, 187)[None, None] * 1e5, "values up to 1e"),
    ],
)
def test_what_is_no_beat_is_refused(tmp_path: Path, X: Any, said: str) -> None:
    predictor = Predictor(write_model(tmp_path / "m.onnx", MITBIH))

    with pytest.raises(InputError, match=f"^a: {said}"):
        predictor.answer_ready(Ready("a", Path("a.npy"), X.astype(np.float32)))


def test_a_scalogram_is_answered_and_one_below_zero_refused(tmp_path: Path) -> None:
    predictor = Predictor(write_model(tmp_path / "m.onnx", SCALOGRAMS))
    X = prepare(heartbeat(20, 128), SCALOGRAMS, hop=10.0, short="pad").X.astype(np.float32)

    assert len(predictor.answer_ready(Ready("a", Path("a.npy"), X)).probabilities) == 2
    with pytest.raises(InputError, match=r"a: a magnitude of -.*\(1, 32, 160\)"):
        predictor.answer_ready(Ready("a", Path("a.npy"), -X))


def test_a_model_of_beats_that_were_cut_by_their_publisher_takes_those_alone(
    tmp_path: Path,
) -> None:
    domain = replace(KAGGLE, order=0, normalise="none", leads=())  # what recipe heartbeat_* says
    predictor = Predictor(write_model(tmp_path / "m.onnx", domain))
    beats, millivolts = (beats_of(replace(KAGGLE, normalise=scale)) for scale in ("range", "none"))

    assert len(predictor.answer_ready(Ready("a", Path("a.npy"), beats)).samples) == len(beats)
    with pytest.raises(InputError, match=r"a: values .*in 0 to 1"):
        predictor.answer_ready(Ready("a", Path("a.npy"), millivolts))
    with pytest.raises(InputError, match="a: a recording; the model was trained on beats"):
        predictor.answer(memory(heartbeat(30, 360)))


def test_bare_beats_are_refused_where_the_model_asks_for_features(tmp_path: Path) -> None:
    predictor = Predictor(write_model(tmp_path / "m.onnx", MITBIH, features=["rr_ratio"]))

    with pytest.raises(InputError, match="a: beats alone; the model also asks for rr_ratio"):
        predictor.answer_ready(Ready("a", Path("a.npy"), beats_of(MITBIH)))


@pytest.mark.parametrize("normalise", ["none", "record"])
def test_beats_in_volts_are_refused(tmp_path: Path, normalise: str) -> None:
    domain = replace(MITBIH, normalise=normalise)
    predictor = Predictor(write_model(tmp_path / "m.onnx", domain))
    volts = (beats_of(domain) / 1000).astype(np.float32)

    with pytest.raises(InputError, match="values of at most"):
        predictor.answer_ready(Ready("a", Path("a.npy"), volts))
