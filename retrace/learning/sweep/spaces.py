"""Search spaces: files that say which params a sweep varies, and how.

A file of spaces/ has dotted keys of params.yaml. Each holds a domain (see `domains.domain`), a
list with domains in it ([{choice: [3, 5]}, {choice: [5, 7]}]), {list: [domain, ...], least: n} for
a list of n or more of them, or a plain value, which every trial gets. Options of a model that is
one of several (`model.name: {choice: [gru, lstm]}`) are drawn in trials of that model alone.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from retrace import registry
from retrace.errors import InputError
from retrace.learning.sweep.domains import Choice, Domain, Draw, Steps, domain

Point = dict[str, Draw]  # by the name of each domain; those of a list are key[0], key[1], ...
MODEL, INPUT = "model.name", "model.input"


@dataclass(frozen=True)
class Param:
    """What one key may be: `domains` by their names. least: of a list, how many it has at least;
    None for what is no list. Its length is then a domain of its own, named key[]."""

    key: str
    domains: Mapping[str, Domain]
    least: int | None = None

    def names(self, point: Point | None = None) -> list[str]:
        """The domains to draw from, of all or of those that what is drawn so far asks for."""
        length = f"{self.key}[]"
        if point is None or length not in self.domains:
            return list(self.domains)
        steps = self.domains[length]
        count = steps.value(point[length]) if length in point else 0
        return [length, *(f"{self.key}[{place}]" for place in range(int(count)))]

    def value(self, point: Point) -> Any:
        found = [
            self.domains[name].value(point[name])
            for name in self.names(point)
            if name != f"{self.key}[]"
        ]
        return found[0] if self.least is None else found

    def ends(self) -> Iterator[Any]:
        """Values to check: each choice and both ends of each range, the others at their first."""
        if self.least is None:
            yield from self.domains[self.key].ends()
            return
        parts = [self.domains[name].ends() for name in self.domains if name != f"{self.key}[]"]
        for place, ends in enumerate(parts):
            for end in ends:
                count = max(place + 1, self.least)
                yield [end if at == place else other[0] for at, other in enumerate(parts[:count])]


@dataclass(frozen=True)
class Space:
    """name: of its file. params: what varies, the model's name first. fixed: what every trial gets.
    model: whose options are drawn where the space does not name any."""

    name: str
    params: Sequence[Param]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    model: str = ""

    @property
    def domains(self) -> dict[str, Domain]:
        """All there are, by name."""
        return {name: each for param in self.params for name, each in param.domains.items()}

    def drawn(self, pick: Callable[[str, Domain], Draw]) -> Point:
        """A point: what `pick` draws from each domain that the draws before it ask for."""
        point: Point = {}
        for param in self.params:
            if self._asked(param.key, point):
                while rest := [name for name in param.names(point) if name not in point]:
                    point[rest[0]] = pick(rest[0], param.domains[rest[0]])
        return point

    def values(self, point: Point) -> dict[str, Any]:
        """What params.yaml would hold, by dotted key; the input of a drawn model follows it."""
        found = {
            param.key: param.value(point) for param in self.params if self._asked(param.key, point)
        }
        if MODEL in found and INPUT not in self.fixed:
            found[INPUT] = registry.model_input(found[MODEL])
        return found

    def _asked(self, key: str, point: Point) -> bool:
        """Whether a trial has this key: options of other models it has not."""
        if not key.startswith("models."):
            return True
        return key.split(".")[1] == (self._model(point) or self.model)

    def _model(self, point: Point) -> str | None:
        chooser = next((param for param in self.params if param.key == MODEL), None)
        return str(chooser.value(point)) if chooser else None


def find(root: Path, name: str) -> Path:
    """The file of a space by its name or path; raises InputError where there is none."""
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        path = root / "spaces" / f"{name}.yaml"
    if path.is_file():
        return path
    known = sorted(each.stem for each in (root / "spaces").glob("*.yaml"))
    raise InputError(
        f"space {name!r}: there is no {path.name}; name one of spaces/ ({', '.join(known)}) or a "
        "file of your own"
    )


def read(path: Path, model: str) -> Space:
    """The space of a file; `model` is the one that params.yaml names.

    Raises one InputError with all that is wrong in it but for what `checks` says.
    """
    try:
        # YAML 1.2, by which 1e-4 is a number.
        entries = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except (YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path.name}: not YAML ({error}): mend it there") from None
    if not isinstance(entries, dict) or not entries:
        raise InputError(f"{path.name}: expected `key: {{kind: [...]}}` lines, and found none")
    params, fixed, problems = [], {}, []
    for key, entry in entries.items():
        try:
            if (param := _param(str(key), entry)) is None:
                fixed[str(key)] = entry
            else:
                params.append(param)
        except InputError as error:
            problems.append(f"{path.name}: {key}: {error}")
    if problems:
        raise InputError("\n       ".join(problems))
    if not params:
        raise InputError(f"{path.name}: every key has one value; a sweep varies some: give a range")
    params.sort(key=lambda param: param.key != MODEL)
    model = str(fixed.get(MODEL, model))
    named = [str(each) for each in (params[0].ends() if params[0].key == MODEL else [model])]
    inputs = {registry.model_input(each) for each in named if each in registry.names("models")}
    if len(inputs) == 1 and (MODEL in fixed or params[0].key == MODEL):
        fixed.setdefault(INPUT, inputs.pop())
    return Space(path.stem, params, fixed, model)


def _param(key: str, entry: Any) -> Param | None:
    """What a key may be; None for a plain value."""
    if isinstance(entry, Mapping) and "list" in entry:
        members, least = entry["list"], entry.get("least")
        if not isinstance(members, list) or not members or set(entry) - {"list", "least"}:
            raise InputError("list: expected {list: [domain, ...], least: n}")
        least = len(members) if least is None else least
        if isinstance(least, bool) or not isinstance(least, int) or not 1 <= least <= len(members):
            raise InputError(f"least: expected a number from 1 to {len(members)}; got {least!r}")
        return _list(key, members, least)
    if isinstance(entry, Mapping):
        return Param(key, {key: domain(entry)})
    if isinstance(entry, list) and any(isinstance(member, Mapping) for member in entry):
        return _list(key, entry, len(entry))
    return None


def _list(key: str, members: list[Any], least: int) -> Param:
    length: dict[str, Domain] = {}
    if least < len(members):
        length[f"{key}[]"] = Steps(least, 1, len(members) - least + 1)
    places = {
        f"{key}[{place}]": domain(member) if isinstance(member, Mapping) else Choice([member])
        for place, member in enumerate(members)
    }
    return Param(key, length | places, least)
