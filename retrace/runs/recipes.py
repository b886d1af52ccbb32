"""Recipes: the default run's params.yaml whole, of every other only the keys in which it differs.

recipes/synthetic.yaml is the first; recipes/<name>.yaml is laid over it, or over the recipe or
recipes that its key `base` names, one over the other. A file whose name begins with _ is a base
alone, no experiment. The lines of comment at the head of a recipe say what it is.
"""

import io
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import RoundTripRepresenter
from ruamel.yaml.scalarfloat import ScalarFloat

from retrace import params
from retrace.errors import InputError
from retrace.files import new_file
from retrace.runs.commands import at_head
from retrace.runs.locks import flat
from retrace.runs.words import meant

DEFAULT = "synthetic"


def names(root: Path) -> list[str]:
    """The recipes there are."""
    return sorted(path.stem for path in (root / "recipes").glob("[a-z]*.yaml"))


def known(root: Path, name: str) -> str:
    """`name` itself; raises InputError where no recipe has it."""
    if name not in names(root):
        raise InputError(
            f"recipe {name!r}: unknown; {meant(name, names(root))} (retrace recipe lists all)"
        )
    return name


def about(root: Path, name: str) -> list[str]:
    """What a recipe is: the lines of comment at its head."""
    if name == DEFAULT:  # its head explains params.yaml
        return ["The default run, on recordings that it makes itself."]
    lines = _text(root, name).splitlines()
    head = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return [line.lstrip("# ").rstrip() for line in lines[:head]]


def content(text: str) -> dict[str, Any]:
    """The values of a params.yaml by dotted key, read as DVC reads them: 1e-05 is a number."""
    try:
        tree = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise InputError(f"params.yaml: not YAML ({error}): mend it there") from None
    return flat(tree) if isinstance(tree, Mapping) else {}


def present(root: Path) -> dict[str, Any]:
    """The values of the workspace's params.yaml; none where there is no such file."""
    path = root / "params.yaml"
    return content(_read(path)) if path.is_file() else {}


def differing(root: Path, name: str) -> list[str]:
    """The dotted keys in which params.yaml is not that of the recipe."""
    ours, theirs = present(root), content(render(root, name))
    return [
        key
        for key in {**theirs, **ours}
        if (key in ours) != (key in theirs) or ours.get(key) != theirs.get(key)
    ]


def render(root: Path, name: str) -> str:
    """The params.yaml of a recipe: the default's text and comments, with the recipe's values.

    Raises InputError for a recipe that is unknown, not YAML, or holds a key that the default
    does not have or a value that its base has already.
    """
    stream = io.StringIO()
    _yaml().dump(_whole(root, known(root, name)), stream)
    return stream.getvalue()


def _whole(root: Path, name: str, above: tuple[str, ...] = ()) -> Any:
    """A recipe laid over its base, that over its own, down to the default."""
    changes = _load(root, name)
    if name == DEFAULT:
        return changes
    bases = changes.pop("base", DEFAULT)
    first, *others = (bases or [""]) if isinstance(bases, list) else [bases]
    for base in (first, *others):
        if base in (*above, name) or not (root / "recipes" / f"{base}.yaml").is_file():
            raise InputError(
                f"recipes/{name}.yaml: base: {base!r}; it must be another recipe, and none that is "
                "based on this one: correct it"
            )
    tree = _whole(root, first, (*above, name))
    for own, values in [*((base, _load(root, base)) for base in others), (name, changes)]:
        if "base" in values:
            raise InputError(
                f"recipes/{own}.yaml: base: of the bases of {name} only the first may have one "
                "itself: name it first"
            )
        if problems := list(_lay_over(tree, values, first)):
            raise InputError("\n       ".join(f"recipes/{own}.yaml: {one}" for one in problems))
    return tree


def apply(root: Path, name: str, *, force: bool = False) -> None:
    """Write the recipe into params.yaml, checked before anything is replaced.

    Raises InputError where params.yaml holds edits that are neither committed nor a recipe's,
    unless `force`.
    """
    text = render(root, name)
    path = root / "params.yaml"
    if not force and path.is_file() and not _saved(root, _read(path)):
        raise InputError(
            f"params.yaml: has edits that are neither committed nor a recipe's; recipe {name} "
            "would replace them: commit them, or add --force"
        )
    with new_file(path) as part:
        part.write_text(text, encoding="utf-8")
        try:
            params.load(part)
        except InputError as error:
            raise InputError(str(error).replace(part.name, f"recipes/{name}.yaml")) from None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path.name}: not UTF-8 text ({error}): mend it there") from None


def _saved(root: Path, text: str) -> bool:
    if text == at_head(root, "params.yaml"):
        return True
    for name in names(root):
        with suppress(InputError):  # another recipe may be broken
            if text == render(root, name):
                return True
    return False


def _text(root: Path, name: str) -> str:
    return (root / "recipes" / f"{name}.yaml").read_text(encoding="utf-8")


def _load(root: Path, name: str) -> Any:
    """A recipe with its comments."""
    try:
        tree = _yaml().load(_text(root, name))
    except (YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"recipes/{name}.yaml: not YAML ({error}): mend it there") from None
    if not isinstance(tree, dict):
        raise InputError(
            f"recipes/{name}.yaml: no `key: value` lines; a recipe holds the keys in which it "
            f"differs from recipes/{DEFAULT}.yaml: write them there"
        )
    return tree


def _lay_over(tree: Any, changes: Mapping[Any, Any], base: str, below: str = "") -> Iterator[str]:
    """Set the values of `changes` in `tree`; yields what is wrong with them."""
    for key, value in changes.items():
        place = f"{below}{key}"
        if key not in tree:
            yield f"{place}: unknown key; recipes/{DEFAULT}.yaml has every key: correct it"
        elif isinstance(tree[key], dict) != isinstance(value, dict):
            yield f"{place}: a section in one and a value in recipes/{DEFAULT}.yaml: correct it"
        elif isinstance(value, dict):
            yield from _lay_over(tree[key], value, base, f"{place}.")
        elif tree[key] == value:
            yield (
                f"{place}: {value!r}, as in recipes/{base}.yaml; a recipe holds only the keys "
                "in which it differs: remove it"
            )
        else:
            tree[key] = value
            comment = tree.ca.items.get(key, [None] * 3)[2]
            if comment is not None:
                comment.start_mark.column = 0  # one space after the new value, however long


class _Representer(RoundTripRepresenter):
    """Values so that PyYAML, DVC and people read the same."""

    def none(self, _: None) -> ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:null", "null")

    def number(self, value: ScalarFloat) -> ScalarNode:
        node: ScalarNode = self.represent_scalar_float(value)
        if not isinstance(yaml.safe_load(node.value), float):  # 1e-05: a string to PyYAML
            node.value = yaml.safe_dump(float(value)).split()[0]
        return node


_Representer.add_representer(type(None), _Representer.none)
_Representer.add_representer(ScalarFloat, _Representer.number)


def _yaml() -> YAML:
    made = YAML()
    made.Representer = _Representer
    made.preserve_quotes = True
    made.width = 1 << 16  # never fold a line
    return made
