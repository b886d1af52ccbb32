"""Search spaces: what their files may say, what a draw from them is, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from retrace import params
from retrace.errors import InputError
from retrace.learning.sweep import checks, spaces
from retrace.learning.sweep.domains import Choice, Domain, Draw, Range, Steps, domain
from retrace.learning.sweep.spaces import Space
from retrace.runs import recipes
from tests.sources import ROOT

SPACES = sorted((ROOT / "spaces").glob("*.yaml"))
BASE: dict[str, Any] = yaml.safe_load(recipes.render(ROOT, "mitdb_ds1_ds2_gru"))


def _space(folder: Path, entries: dict[str, Any], model: str = "gru") -> Space:
    (folder / "mine.yaml").write_text(yaml.safe_dump(entries))
    space = spaces.read(folder / "mine.yaml", model)
    checks.check(space, BASE)
    return space


def _chance(seed: int) -> Callable[[str, Domain], Draw]:
    generator = np.random.default_rng(seed)

    def pick(_: str, each: Domain) -> Draw:
        if isinstance(each, Choice):
            return str(generator.choice(each.texts))
        if isinstance(each, Steps):
            return int(generator.integers(each.count))
        return float(generator.uniform(each.low, each.high))

    return pick


@pytest.mark.parametrize("recipe", ["synthetic", "mitdb_ds1_ds2"])
@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
def test_every_draw_from_a_published_space_is_valid(path: Path, recipe: str) -> None:
    base = yaml.safe_load(recipes.render(ROOT, recipe))
    space = spaces.read(path, base["model"]["name"])
    checks.check(space, base)

    for seed in range(20):
        values = space.values(space.drawn(_chance(seed)))
        params.checked(checks.lay(base, {**space.fixed, **values}))


def test_options_belong_to_trials_of_their_model(tmp_path: Path) -> None:
    space = _space(
        tmp_path,
        {
            "models.gru.hidden": {"choice": [8, 16]},
            "model.name": {"choice": ["gru", "efficientnet"]},
            "models.efficientnet.dropout": {"uniform": [0, 0.5]},
        },
    )
    keys = {
        tuple(sorted(space.values(space.drawn(_chance(seed))))): space.drawn(_chance(seed))
        for seed in range(9)
    }

    assert set(keys) == {
        ("model.input", "model.name", "models.gru.hidden"),
        ("model.input", "model.name", "models.efficientnet.dropout"),
    }
    for point in keys.values():
        values = space.values(point)
        expected = "waveforms" if values["model.name"] == "gru" else "scalograms"
        assert values["model.input"] == expected


def test_a_list_has_a_drawn_length_and_drawn_members(tmp_path: Path) -> None:
    members = [{"choice": [1, 2]}, {"choice": [3]}, {"randint": [5, 6]}]
    entry = {"list": members, "least": 2}
    space = _space(tmp_path, {"models.simple_cnn.channels": entry, "model.name": "simple_cnn"})
    found = [space.values(space.drawn(_chance(s)))["models.simple_cnn.channels"] for s in range(40)]

    assert {tuple(each) for each in found} == {
        (first, 3, *rest) for first in (1, 2) for rest in ((), (5,), (6,))
    }


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        ({"randint": [3, 5]}, {3, 4, 5}),
        ({"quniform": [8, 24, 8]}, {8, 16, 24}),
        ({"quniform": [0.1, 0.35, 0.1]}, {0.1, 0.2, 0.3}),
        ({"choice": [None, [1, 2], "none"]}, {None, (1, 2), "none"}),
    ],
)
def test_both_ends_of_a_range_are_drawn(entry: dict[str, Any], found: set[Any]) -> None:
    each = domain(entry)
    values = [each.value(_chance(seed)("", each)) for seed in range(60)]

    assert {tuple(value) if isinstance(value, list) else value for value in values} == found


def test_numbers_of_a_range_are_short_and_stay_in_it() -> None:
    each = Range(1e-4, 1e-3, log=True)

    assert each.value(0.000123456) == 0.0001235
    assert each.value(0.00099999) == 0.001
    assert each.value(0.000100001) == 0.0001


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ({"lr": {"uniform": [1, 1]}}, "lr: uniform: [1, 1] is an empty range"),
        ({"lr": {"loguniform": [0, 1]}}, "no logarithm of 0"),
        ({"lr": {"choice": []}}, "expected a list of one or more values; got []"),
        ({"lr": {"choice": [1, 1]}}, "stands there twice"),
        ({"lr": {"normal": [0, 1]}}, "expected one of choice, uniform"),
        ({"lr": {"uniform": ["a", 1]}}, "expected [low, high], numbers"),
        ({"lr": {"uniform": [float("nan"), 1]}}, "expected [low, high], numbers"),
        ({"batch_size": {"randint": [1.5, 4]}}, "expected whole numbers"),
        ({"batch_size": {"quniform": [8, 16, 0]}}, "step 0"),
        ({"lr": 0.1}, "a sweep varies some"),
        ({"learning_rate": {"uniform": [0, 1]}}, "unknown key"),
        ({"models.gru.hiden": {"choice": [8, 16]}}, "did you mean 'models.gru.hidden'?"),
        ({"models.lstm.hidden": {"choice": [8, 16]}}, "model.name is gru"),
        ({"model.name": {"choice": ["gru", "vgg"]}}, "model.name: 'vgg': unknown"),
        ({"lr": {"uniform": [-1, 1]}}, "lr: expected greater than 0; got -1.0"),
        ({"train.optimiser": {"choice": ["adam", "lion"]}}, "got 'lion'"),
        ({"models.gru.layers": {"choice": [1, 0]}}, "got 0"),
        ({"bandpass.low": {"uniform": [1, 60]}}, "must be below bandpass.high"),
        ({"lr": {"uniform": [1e-4, 1]}, "batch_size": 0}, "batch_size: expected greater than"),
        ({"seed": {"randint": [0, 9]}}, "a sweep may not change it; every trial has that of"),
        ({"epochs": {"choice": [5, 10]}}, "--max-epochs sets it"),
        ({"split.fold": {"randint": [0, 4]}}, "all trials must answer the same recordings"),
        ({"train.score": {"choice": ["ece", "accuracy"]}}, "--score sets it"),
        ({"models.gru": {"choice": [1, 2]}}, "unknown key"),
    ],
)
def test_what_a_space_may_not_say_is_one_sentence(
    tmp_path: Path, entries: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError) as raised:
        _space(tmp_path, entries)

    assert sentence in str(raised.value)
    assert str(raised.value).startswith("mine.yaml: ")
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize("text", ["- lr", "", "lr: [", "\xff\x00"])
def test_a_file_that_is_no_space_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "mine.yaml").write_bytes(text.encode("latin-1"))

    with pytest.raises(InputError, match=r"^mine\.yaml: "):
        spaces.read(tmp_path / "mine.yaml", "gru")


def test_a_space_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(InputError, match=r"no rnm\.yaml; name one of spaces/ \(.*rnn"):
        spaces.find(ROOT, "rnm")
