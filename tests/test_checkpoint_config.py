"""A damaged config.json is refused in one sentence, whatever is wrong with it."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from retrace.errors import InputError
from retrace.learning.config import check
from tests.train_small import NANO

CONFIG: dict[str, Any] = {
    "format": 1,
    "classes": ["N", "V"],
    "model": {"name": "efficientnet", "options": NANO, "features": []},
    "shape": [1, 8, 16],
    "domain": {"fs": 360.0},
    "aggregate": "none",
    "temperature": 1.1,
    "thresholds": [0.5, 0.5],
}
PLACES = [(key,) for key in CONFIG] + [("model", "name"), ("model", "options")]
WRONG: list[Any] = [None, -1, "x", [], {}, [1, "x"], float("nan")]


def _refused(folder: Path, content: str) -> str:
    (folder / "config.json").write_text(content)
    with pytest.raises(InputError) as refusal:
        check(folder)
    return str(refusal.value)


def test_what_the_train_stage_writes_is_taken(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG | {"best_epoch": 3}))

    check(tmp_path)


@pytest.mark.parametrize("place", PLACES, ids=".".join)
def test_a_missing_or_wrong_value_is_named(place: tuple[str, ...], tmp_path: Path) -> None:
    for value in ["missing", *WRONG]:
        config = copy.deepcopy(CONFIG)
        section = config
        for key in place[:-1]:
            section = section[key]
        section[place[-1]] = value
        if value == "missing":
            del section[place[-1]]
        if (place, value) == (("domain",), {}):  # compared with the data's, later
            continue

        said = _refused(tmp_path, json.dumps(config))

        assert place[-1] in said and "\n" not in said and "run dvc repro train" in said


@pytest.mark.parametrize("content", ["", "{", "[1, 2]", "null"])
def test_what_is_no_config_is_refused(content: str, tmp_path: Path) -> None:
    assert "config.json" in _refused(tmp_path, content)
