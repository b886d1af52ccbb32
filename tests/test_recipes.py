"""Recipes: what is written into params.yaml, what a recipe may hold, and what is never lost."""

import io
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from ruamel.yaml import YAML

from retrace import params, registry
from retrace.errors import InputError
from retrace.runs import advice, recipes
from tests.scratch import commit_all
from tests.sources import ROOT

FAST = """# A fast one. It shows what a recipe is,
# and nothing else.
lr: 1e-05
datasets:
  synthetic:
    leads: [V5, "II"] # in this order
fetch: {folder: here}
train:
  augment:
    noise: 0
"""


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """The params and the default recipe of this repository, committed, with the recipe `fast`."""
    for name in ("params.yaml", "recipes/synthetic.yaml", "stages/sources.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "stages/sources", tmp_path / "stages/sources")
    (tmp_path / "recipes/fast.yaml").write_text(FAST)
    commit_all(tmp_path)
    return tmp_path


def _text(repo: Path) -> str:
    return (repo / "params.yaml").read_text()


def _comments(text: str) -> list[str]:
    return re.findall("#.*", text)


@pytest.mark.parametrize("name", recipes.names(ROOT))
def test_every_recipe_makes_valid_params_that_all_readers_read_alike(
    name: str, tmp_path: Path
) -> None:
    text = recipes.render(ROOT, name)
    path = tmp_path / "params.yaml"
    path.write_text(text)

    params.load(path)
    assert yaml.safe_load(text) == YAML(typ="safe", pure=True).load(text)
    assert recipes.about(ROOT, name)


def test_the_default_recipe_is_written_byte_for_byte() -> None:
    assert recipes.render(ROOT, recipes.DEFAULT).encode() == (
        (ROOT / "recipes/synthetic.yaml").read_bytes()
    )


def test_a_recipe_changes_its_keys_and_nothing_else(repo: Path) -> None:
    recipes.apply(repo, "fast")

    expected = yaml.safe_load((ROOT / "params.yaml").read_text())
    expected["lr"] = 1e-5  # a number to PyYAML too, which takes 1e-05 for a string
    expected["datasets"]["synthetic"]["leads"] = ["V5", "II"]
    expected["fetch"]["folder"] = "here"
    expected["train"]["augment"]["noise"] = 0
    assert yaml.safe_load(_text(repo)) == expected
    assert not list(repo.glob(".params.yaml*"))


def test_comments_stay_whatever_values_change(repo: Path) -> None:
    def other(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: other(inner) for key, inner in value.items()}
        return [*value, "another"] if isinstance(value, list) else f"a longer one than {value}"

    default = (repo / "recipes/synthetic.yaml").read_text()
    stream = io.StringIO()
    YAML().dump(other(YAML(typ="safe").load(default)), stream)
    (repo / "recipes/all.yaml").write_text(stream.getvalue())

    text = recipes.render(repo, "all")

    assert _comments(text) == _comments(default)
    assert YAML(typ="safe").load(text) == other(YAML(typ="safe").load(default))


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [
        ("train: {augment: {nois: 1}}", "train.augment.nois: unknown key"),
        ("foo: 1", "foo: unknown key"),
        ("dataset: {name: synthetic}", "dataset.name: 'synthetic', as in recipes/synthetic.yaml"),
        ("train: 3", "train: a section in one and a value in"),
        ("lr: {a: 1}", "lr: a section in one and a value in"),
        ("lr: [", "recipes/bad.yaml: not YAML"),
        ("lr: 1\nlr: 2", "recipes/bad.yaml: not YAML"),
        ("# nothing", "recipes/bad.yaml: no `key: value` lines"),
        ("lr: -1", "recipes/bad.yaml: lr: expected greater than 0; got -1"),
        ("dataset: {name: wfdb_folder}", "recipes/bad.yaml: fetch.folder: empty"),
        ("base: slow\nlr: 1", "recipes/bad.yaml: base: 'slow'; it must be another recipe"),
        ("base: bad\nlr: 1", "recipes/bad.yaml: base: 'bad'; it must be another recipe"),
        ("base: fast\nlr: 1e-05", "recipes/bad.yaml: lr: 1e-05, as in recipes/fast.yaml"),
    ],
)
def test_a_mistake_in_a_recipe_is_named_and_params_stay_as_they_are(
    repo: Path, recipe: str, sentence: str
) -> None:
    (repo / "recipes/bad.yaml").write_text(recipe)
    before = _text(repo)

    with pytest.raises(InputError, match=re.escape(sentence)):
        recipes.apply(repo, "bad")

    assert _text(repo) == before
    assert not list(repo.glob(".params.yaml*"))


def test_a_recipe_is_laid_over_its_base(repo: Path) -> None:
    (repo / "recipes/_beats.yaml").write_text("epochs: 3\nseed: 9")
    (repo / "recipes/_net.yaml").write_text("lr: 7")
    (repo / "recipes/child.yaml").write_text("base: [_beats, _net]\nseed: 11")

    values = recipes.content(recipes.render(repo, "child"))

    default = recipes.content((ROOT / "recipes/synthetic.yaml").read_text())
    assert values == default | {"epochs": 3, "seed": 11, "lr": 7}
    assert recipes.names(repo) == ["child", "fast", "synthetic"]


def test_all_mistakes_of_a_recipe_are_named_at_once(repo: Path) -> None:
    (repo / "recipes/bad.yaml").write_text("foo: 1\ntrain: {bar: 2, score: f1_macro}")

    with pytest.raises(InputError) as error:
        recipes.render(repo, "bad")

    assert all(key in str(error.value) for key in ("foo:", "train.bar:", "train.score:"))


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("fas", r"did you mean fast\?"),
        ("synthetic.yaml", r"did you mean synthetic\?"),
        ("../params", "there are fast, synthetic: name one"),
    ],
)
def test_an_unknown_recipe_is_answered_with_what_it_may_have_meant(
    repo: Path, name: str, answer: str
) -> None:
    with pytest.raises(InputError, match=f"unknown; {answer}"):
        recipes.apply(repo, name)


@pytest.mark.parametrize("data", ["mitdb_ds1_ds2", "mitdb_intra_patient", "heartbeat", "ptbdb"])
def test_every_model_of_waveforms_has_its_recipe_on_every_data_set_of_beats(data: str) -> None:
    models = [name for name in registry.names("models") if name != "efficientnet"]

    assert {f"{data}_{name}" for name in models} <= set(recipes.names(ROOT))


def test_unsaved_edits_are_not_replaced_unless_forced(repo: Path) -> None:
    edited = _text(repo).replace("seed: 7", "seed: 8")
    (repo / "params.yaml").write_text(edited)

    with pytest.raises(InputError, match=r"edits that are neither committed nor.*--force"):
        recipes.apply(repo, "fast")
    assert _text(repo) == edited

    recipes.apply(repo, "fast", force=True)
    assert _text(repo) == recipes.render(repo, "fast")


def test_committed_edits_and_other_recipes_are_replaced(repo: Path) -> None:
    (repo / "params.yaml").write_text(_text(repo).replace("seed: 7", "seed: 8"))
    commit_all(repo)

    for name in ("fast", "synthetic", "fast"):
        recipes.apply(repo, name)
        assert _text(repo) == recipes.render(repo, name)


def test_without_git_a_recipe_is_known_by_its_text(repo: Path) -> None:
    shutil.rmtree(repo / ".git")
    recipes.apply(repo, "fast")
    (repo / "params.yaml").write_text(_text(repo) + "# mine\n")

    with pytest.raises(InputError, match="neither committed nor"):
        recipes.apply(repo, "synthetic")


def test_the_keys_in_which_params_differ_from_a_recipe_are_known(repo: Path) -> None:
    recipes.apply(repo, "fast")
    # As `dvc exp run -S` writes it: other spaces, the same content.
    (repo / "params.yaml").write_text(_text(repo).replace("lr: 1.0e-05", "lr:   1e-05"))
    assert recipes.differing(repo, "fast") == []

    (repo / "params.yaml").write_text(_text(repo).replace("seed: 7", "seed: 8"))
    assert recipes.differing(repo, "fast") == ["seed"]


def test_the_list_says_what_each_recipe_is(repo: Path) -> None:
    rows = advice.listing(repo).splitlines()

    assert [row.split() for row in rows if row.startswith("fast")] == [
        ["fast", "none", "A", "fast", "one"]
    ]


def test_after_a_recipe_its_data_are_told(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (repo / "recipes/fast.yaml").write_text("dataset: {name: cinc2017}")
    recipes.apply(repo, "fast")

    monkeypatch.delenv("RETRACE_MIRROR", raising=False)
    assert "8,529 files from their publisher" in advice.steps(repo, "fast")
    monkeypatch.setenv("RETRACE_MIRROR", "there")
    said = advice.steps(repo, "fast")
    assert "8,529 files from the mirror that RETRACE_MIRROR names" in said
    assert said.endswith("next: dvc repro, then retrace summary")
