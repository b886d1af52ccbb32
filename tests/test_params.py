"""params.yaml: everything in it is checked, and every mistake is one sentence with its remedy."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from retrace import params, registry
from retrace.errors import InputError
from tests.sources import ROOT

COMMITTED: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())


def _load(tmp_path: Path, changes: dict[str, Any]) -> params.Params:
    """The committed params with values set at dotted keys; None as a key's value stays None."""
    values = copy.deepcopy(COMMITTED)
    for dotted, value in changes.items():
        *parents, key = dotted.split(".")
        section = values
        for parent in parents:
            section = section[parent]
        section[key] = value
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(values))
    return params.load(path)


def _problem(tmp_path: Path, changes: dict[str, Any]) -> str:
    with pytest.raises(InputError) as error:
        _load(tmp_path, changes)
    return str(error.value)


def test_committed_params_are_valid() -> None:
    assert params.load(ROOT / "params.yaml").classes == ["NSR", "AF", "Other", "Noise"]


def test_committed_params_are_the_recipe_of_the_default_run() -> None:
    assert (ROOT / "params.yaml").read_bytes() == (ROOT / "recipes/synthetic.yaml").read_bytes()


def test_a_number_that_yaml_calls_a_string_is_read(tmp_path: Path) -> None:
    assert _load(tmp_path, {"lr": "1e-05"}).lr == 1e-5


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"model.name": "vgg"}, "model.name: expected baseline_cnn, cnn4, "),
        ({"bandpass.hi": 1}, "bandpass.hi: unknown key; did you mean 'high'?"),
        ({"train.augment.nois": 1}, "train.augment.nois: unknown key; did you mean 'noise'?"),
        ({"models.efficientnet.sise": 1}, "models.efficientnet.sise: unknown key"),
        ({"models.efficientnet.variant": "b9"}, "models.efficientnet.variant: expected 'nano'"),
        ({"datasets.cinc": {}}, "datasets.cinc: unknown key; did you mean 'cinc2017'?"),
        ({"lr": "fast"}, "lr: expected a valid number"),
        ({"train.score": "f1"}, "train.score: expected f1_macro, accuracy"),
        (
            {"model.aggregate": "sum"},
            "model.aggregate: expected mean, max, median, none; got 'sum'",
        ),
        ({"lr": -1}, "lr: expected greater than 0; got -1"),
        ({"lr": float("inf")}, "lr: expected a finite number"),
        ({"epochs": True}, "epochs: expected a number; got True"),
        ({"datasets.synthetic.leads": []}, "datasets.synthetic.leads: "),
        ({"foo": 1}, "foo: unknown key"),
        ({"bandpass.order": False}, "bandpass.order: expected a number; got False"),
        (
            {"model.features": ["rr_nxt"]},
            "model.features.0: expected rr_previous, rr_next",
        ),
        ({"model.features": ["rr_next"]}, "model.features: rr_next; only beats have them"),
        ({"model.aggregate": "none"}, "model.aggregate: none; windows of a recording"),
        ({"dataset.name": "mitdb"}, "model.aggregate: mean; beats of mitdb have each their own"),
        ({"batch_size": 1}, "batch_size: 1; batch norm needs company"),
        (
            {"datasets.synthetic.labels": dict.fromkeys(("NSR", "AF"), "N")},
            "datasets.synthetic.labels: 1 class; a classifier needs two or more",
        ),
        ({"bandpass.low": 60}, "bandpass.low: 60 Hz; must be below bandpass.high, 50"),
        ({"split.val": 0.8}, "split: val 0.8 and one fold of 5 leave nothing to train on"),
        ({"split.fold": 5}, "split.fold: expected 0 to 4; got 5"),
        ({"dataset.name": "wfdb_folder"}, "fetch.folder: empty"),
        (
            {"model.input": "waveforms"},
            "dvc exp run -S model.name=efficientnet -S model.input=scalograms",
        ),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    assert sentence in _problem(tmp_path, changes)


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    problem = _problem(tmp_path, {"lr": 0, "seed": -1, "models.efficientnet.dropout": 2})

    assert [key for key in ("lr", "seed", "models.efficientnet.dropout") if key in problem] == [
        "lr",
        "seed",
        "models.efficientnet.dropout",
    ]


def test_no_key_has_a_default(tmp_path: Path) -> None:
    values = {key: value for key, value in COMMITTED.items() if key != "epochs"}
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(values))

    with pytest.raises(InputError, match="epochs: missing"):
        params.load(path)


@pytest.mark.parametrize("text", ["", "- 1\n", "a: [", "\x00"])
def test_what_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)

    with pytest.raises(InputError, match=r"params\.yaml"):
        params.load(path)


@pytest.mark.parametrize("name", registry.names("models"))
def test_every_model_file_keeps_the_contract(name: str) -> None:
    assert registry.model_input(name) in ("scalograms", "waveforms")
    assert set(COMMITTED["models"][name]) == set(registry.options("models", name).model_fields)


@pytest.mark.parametrize("name", registry.names("datasets"))
def test_every_data_set_file_keeps_the_contract(name: str) -> None:
    assert set(COMMITTED["datasets"][name]) == set(registry.options("datasets", name).model_fields)
    own = name in ("wfdb_folder", "collected")
    assert own or (ROOT / "stages/sources" / f"{name}.sha256").is_file()
