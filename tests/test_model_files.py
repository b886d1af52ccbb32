"""A file that is no model of ours, damaged or from elsewhere, is refused in one sentence."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from retrace.deploy.predictor import Predictor
from retrace.deploy.session import LARGEST
from retrace.errors import InputError
from tests.heartbeats import MITBIH
from tests.linear_model import CARD, beats_of, write_model


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": 2}, r"written by a newer Retrace \(format 2, this one reads 1\): update"),
        ({"format": None}, "damaged metadata"),
        ({"classes": ["N"]}, "damaged metadata .*classes"),
        ({"temperature": 0}, "damaged metadata .*temperature"),
        ({"features": ["age"]}, "damaged metadata .*features"),
        ({"more": 1}, "damaged metadata"),
        ({"domain": {}}, "damaged metadata"),
        ({"domain": MITBIH.to_dict() | {"window": 1e9}}, "damaged metadata .*window"),
        ({"domain": MITBIH.to_dict() | {"order": 99}}, "damaged metadata .*order"),
        ({"domain": MITBIH.to_dict() | {"fs": float("nan")}}, "damaged metadata"),
        ({"domain": replace(MITBIH, fs=180).to_dict()}, r"takes .*187.* metadata .*94"),
    ],
)
def test_metadata_that_cannot_be_true_are_refused(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    model = onnx.load(write_model(tmp_path / "m.onnx", MITBIH))
    card = CARD | {"domain": MITBIH.to_dict()} | changes
    del model.metadata_props[:]
    helper.set_model_props(model, {"retrace": json.dumps(card)})
    onnx.save(model, tmp_path / "m.onnx")

    with pytest.raises(InputError, match=f"m.onnx: {said}"):
        Predictor(tmp_path / "m.onnx")


def test_a_model_with_other_classes_than_it_says_is_refused(tmp_path: Path) -> None:
    model = onnx.load(write_model(tmp_path / "m.onnx", MITBIH))
    card = CARD | {"domain": MITBIH.to_dict(), "classes": ["N", "S", "V", "F"]}
    helper.set_model_props(model, {"retrace": json.dumps(card)})
    onnx.save(model, tmp_path / "m.onnx")

    with pytest.raises(InputError, match="gives no 4 finite logits"):
        Predictor(tmp_path / "m.onnx").probabilities(beats_of(MITBIH))


def _others(path: Path) -> None:
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, path)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:500])


def _outside(path: Path) -> None:
    onnx.save(onnx.load(path), path, save_as_external_data=True, size_threshold=0, location="w.bin")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (Path.unlink, "no such file.*dvc pull"),
        (lambda path: path.write_bytes(b""), "no readable ONNX model"),
        (lambda path: path.write_bytes(b"PK\x03\x04" * 99), "no readable ONNX model"),
        (_cut, "no readable ONNX model"),
        (_outside, "no readable ONNX model"),
        (_others, "no model of Retrace"),
        (lambda path: (path.unlink(), path.mkdir()), "no ordinary file"),
        (lambda path: os.truncate(path, LARGEST + 1), "larger than 1 GB"),
    ],
)
def test_a_file_that_is_no_model_is_refused(
    tmp_path: Path, damage: Callable[[Path], object], said: str
) -> None:
    path = write_model(tmp_path / "m.onnx", MITBIH)
    damage(path)

    with pytest.raises(InputError, match=f"m.onnx: {said}"):
        Predictor(path)


@given(places=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_a_damaged_model_is_refused_or_answers_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, places: list[tuple[float, int]]
) -> None:
    path = write_model(tmp_path_factory.mktemp("model") / "m.onnx", MITBIH)
    content = bytearray(path.read_bytes())
    for share, byte in places:
        content[round(share * (len(content) - 1))] = byte
    path.write_bytes(content)

    try:
        found = Predictor(path).probabilities(np.ones((2, 1, 187), np.float32))
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert found.shape[0] == 2
