"""Which models are served: what is damaged or missing says so, and the others answer."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from retrace.errors import InputError
from retrace.runs import models
from retrace.runs.hashes import md5
from retrace.service.pool import Models
from retrace.service.problems import Problem
from tests.heartbeats import MITBIH
from tests.linear_model import write_model
from tests.predictors import card_text
from tests.serving import service_settings


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with three published models: "a", "b" and "mitdb_ds1_ds2"."""
    for name in ("a", "b", "mitdb_ds1_ds2"):
        publish(tmp_path, name)
    return tmp_path


def publish(root: Path, name: str, **changes: Any) -> Path:
    """What `retrace publish` leaves of a model, and `dvc pull` brings."""
    folder = root / "recipes" / name
    folder.mkdir(parents=True)
    path = write_model(folder / models.FILE, changes.pop("domain", MITBIH), **changes)
    (folder / models.POINTER).write_text(f"outs:\n- md5: {md5(path)}\n  size: 1\n")
    (folder / "dvc.lock").write_text("{}\n")
    return path


def served(root: Path, **changes: Any) -> Models:
    return Models(service_settings(root, root=root, **{"models": ""} | changes))


def test_all_that_are_published_are_served_with_the_version_of_their_weights(root: Path) -> None:
    found = served(root)

    assert [model.name for model in found] == ["a", "b", "mitdb_ds1_ds2"]
    assert found.get("a").version == "0" * 12
    assert found.get("a").head["model"]["dataset"] == "mitdb"
    assert found.get(None).name == "mitdb_ds1_ds2"


def test_a_model_says_what_its_answers_are_worth(root: Path) -> None:
    publish(root, "made_up", dataset="synthetic")

    assert "virtual patients alone" in served(root).get("made_up").head["model"]["note"]


def test_the_settings_choose_and_their_first_is_the_default(root: Path) -> None:
    found = served(root, models="b, a")

    assert found.get(None).name == "b"
    with pytest.raises(Problem) as refused:
        found.get("mitdb_ds1_ds2")
    assert refused.value.status == 404
    with pytest.raises(InputError, match="RETRACE_MODELS: 'c' is no published model"):
        served(root, models="a,c")


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def replace_by_another(path: Path) -> None:
    write_model(path, MITBIH, temperature=9.0)


@pytest.mark.parametrize(
    ("done", "said"),
    [
        (Path.unlink, "not pulled yet: run dvc pull"),
        (damage, "not the file that was published"),
        (replace_by_another, "not the file that was published"),
    ],
)
def test_a_model_that_is_not_as_published_is_listed_and_answers_503(
    root: Path, done: Any, said: str
) -> None:
    done(root / "recipes" / "a" / models.FILE)

    found = served(root)

    assert said in str(found.listed("a").why_not)
    with pytest.raises(Problem, match=said) as refused:
        found.get("a")
    assert refused.value.status == 503
    assert found.get("b").predictor


def test_a_file_that_says_it_was_published_but_is_no_model_is_not_used(root: Path) -> None:
    folder = root / "recipes" / "a"
    (folder / models.FILE).write_bytes(b"no model")
    (folder / models.POINTER).write_text(f"md5: {md5(folder / models.FILE)}\n")

    assert "no readable ONNX model" in str(served(root).listed("a").why_not)


@pytest.mark.parametrize("card", [b"{", b"\xff\xfe", b'{"format": 1}', b"[" * 100_000])
def test_with_a_predictor_a_damaged_card_is_listed_with_its_reason(root: Path, card: bytes) -> None:
    for name in ("a", "b"):
        folder = root / "recipes" / name
        (folder / models.CARD).write_text(json.dumps(card_text(folder / models.FILE)))
    (root / "recipes/a" / models.CARD).write_bytes(card)

    found = served(root, models="a,b", predictor_url="http://127.0.0.1:1")

    assert "damaged metadata" in str(found.listed("a").why_not)
    assert found.get("b").usable


def test_what_becomes_of_the_files_later_changes_no_answer(root: Path) -> None:
    found = served(root)
    shutil.rmtree(root / "recipes")

    assert found.get("a").usable.card.classes == ("N", "S", "V")


def test_a_repository_without_models_says_so(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="no model is published here"):
        served(tmp_path).get(None)
