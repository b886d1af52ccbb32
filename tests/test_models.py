"""Published models as ONNX: found by the name of their run, listed, and kept in the store."""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from retrace.errors import InputError
from retrace.runs import locks, models
from tests.published import beat_run, keep
from tests.sources import ROOT

BEAT = {
    "fs": 360.0,
    "leads": ["MLII"],
    "low": 0.5,
    "high": 50.0,
    "order": 3,
    "window": 187 / 360,
    "anchor": "beat",
    "normalise": "none",
    "representation": None,
    "beat": {"peak": 0.5, "rr_length": None},
}
CARD: dict[str, Any] = {
    "model": "gru",
    "dataset": "mitdb",
    "split": "intra_patient",
    "classes": list("NSVFQ"),
    "domain": BEAT,
    "features": ["rr_ratio"],
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two published runs, of which only one kept its model, and a recipe that never ran."""
    keep(tmp_path, beat_run("random_beats", 5.0, "intra_patient"), beat_run("bare", 2.0, "ds1_ds2"))
    folder = tmp_path / "recipes/random_beats"
    (folder / "model.onnx").write_bytes(b"model")
    (folder / "model.onnx.dvc").write_text(
        f"outs:\n- md5: {hashlib.md5(b'model').hexdigest()}\n  size: 1500000\n  path: model.onnx\n"
    )
    (folder / "model.json").write_text(json.dumps(CARD))
    (tmp_path / "recipes/idea.yaml").touch()
    return tmp_path


def test_a_model_is_found_by_the_name_of_its_run(root: Path) -> None:
    assert models.find(root, "random_beats") == root / "recipes/random_beats/model.onnx"


def test_a_file_that_is_not_the_published_one_is_refused(root: Path) -> None:
    (root / "recipes/random_beats/model.onnx").write_bytes(b"another")

    with pytest.raises(InputError, match="not the file that was published: run dvc checkout"):
        models.find(root, "random_beats")


def test_without_a_name_the_last_run_answers(root: Path) -> None:
    (root / "models").mkdir()
    (root / "models/model.onnx").touch()

    assert models.find(root, None) == root / "models/model.onnx"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (None, "models/model.onnx: missing; .* run dvc pull .* dvc repro"),
        ("random_beat", r"model 'random_beat': no published run .*; did you mean random_beats\?"),
        ("idea", "model 'idea': no published run .*; there are bare, random_beats"),
        ("bare", "model bare: .* without the model as a file; rebuild it: run retrace recipe bare"),
    ],
)
def test_what_cannot_be_found_is_one_sentence_with_the_remedy(
    root: Path, name: str | None, sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        models.find(root, name)


def test_a_model_that_was_not_pulled_says_how(root: Path) -> None:
    (root / "recipes/random_beats/model.onnx").unlink()

    with pytest.raises(InputError, match=r"run dvc pull recipes/random_beats/model\.onnx$"):
        models.find(root, "random_beats")


def test_the_list_says_what_a_model_takes_and_how_well_it_answers(root: Path) -> None:
    header, row, *rest = models.listing(root).splitlines()

    cells = re.split("  +", row)
    assert dict(zip(re.split("  +", header), cells, strict=True)) == {
        "model": "random_beats",
        "data set": "mitdb",
        "network": "gru",
        "classes": "N S V F Q",
        "takes": "mitbih360, rr_ratio",
        "split": "intra_patient INTRA-PATIENT",
        "accuracy": cells[6],
        "macro-F1": cells[7],
        "MB": "1.5",
        "here": "yes",
    }
    scores = json.loads((root / "recipes/random_beats/scores.json").read_text())
    for cell, name in zip(cells[6:8], ("accuracy", "f1_macro"), strict=True):
        own = scores["overall"][name]
        assert cell == "{value:.3f} ({low:.3f} to {high:.3f})".format(**own)
    assert any("such scores flatter" in line for line in rest)


def test_the_list_says_what_has_to_be_pulled(root: Path) -> None:
    (root / "recipes/random_beats/model.onnx").unlink()

    said = models.listing(root)

    assert said.splitlines()[1].endswith("no") and "next: dvc pull" in said


def test_a_window_is_told_by_its_length_and_rate(root: Path) -> None:
    spectrum = {"wavelet": "cmor1.5-1.0", "low": 1, "high": 9, "scales": 4, "frames": 8}
    other = {"window": 10.0, "fs": 128.0, "anchor": "start", "representation": spectrum}
    domain = {key: value for key, value in BEAT.items() if key != "beat"} | other
    card = root / "recipes/random_beats/model.json"
    card.write_text(json.dumps(CARD | {"domain": domain, "features": []}))

    assert "  10 s at 128 Hz, scalogram  " in models.listing(root)


def test_a_file_that_is_no_model_of_ours_has_no_card(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"nothing")

    with pytest.raises(InputError, match=r"model\.onnx: no model of Retrace"):
        models.card(tmp_path / "model.onnx")


def test_finding_a_model_loads_nothing_heavy() -> None:
    heavy = "dvc pydantic yaml torch numpy onnxruntime"
    program = f"import sys, retrace.runs.models; print(*set(sys.modules) & set({heavy.split()}))"

    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert said.stdout.strip() == ""


@pytest.mark.parametrize(
    "pointer", sorted(ROOT.glob("recipes/*/*.dvc")), ids=lambda path: path.parent.name
)
def test_a_published_model_is_in_the_store_and_is_that_of_its_run(pointer: Path) -> None:
    (out,) = yaml.safe_load(pointer.read_text(encoding="utf-8"))["outs"]
    lock = locks.parse((pointer.parent / "dvc.lock").read_text(encoding="utf-8"))
    stored = ROOT / "store/files/md5" / out["md5"][:2] / out["md5"][2:]
    card = models.card(stored)

    assert locks.hashes(lock["export"], "outs")["models/model.onnx"] == out["md5"]
    assert json.loads((pointer.parent / "model.json").read_text()) == card
    weights = json.loads((pointer.parent / "cost.json").read_text())["weights_sha256"]
    assert card["hashes"]["weights"] == weights
    assert hashlib.md5(stored.read_bytes()).hexdigest() == out["md5"]
