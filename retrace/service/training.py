"""What is asked of a training, checked before anything runs."""

from importlib.util import find_spec
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.config import JsonDict

from retrace.errors import InputError
from retrace.service.problems import Problem
from retrace.service.settings import Settings
from retrace.service.training_data import Data, Form

WITHOUT = (
    "training: this process cannot train; it needs the training packages and the repository as a "
    "Git clone: install retrace[train] there, or set TRAINER_URL"
)

Text = Annotated[str, StringConstraints(max_length=200)]
MOST = 2**53  # whole numbers up to this one every JSON keeps as they are
Whole = Annotated[int, Field(ge=-MOST, le=MOST)]
Number = Annotated[float, Field(ge=-MOST, le=MOST, allow_inf_nan=False)]  # 1e25 is whole, too
One = bool | Whole | Number | Text | None
Value = One | Annotated[list[One], Field(max_length=50)]
Key = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Name = Annotated[str, StringConstraints(pattern="^[a-z][a-z0-9_]{0,63}$")]
EXAMPLE: JsonDict = {"recipe": "mitdb_ds1_ds2", "params": {"lr": 0.05}, "data": "all"}
UNNAMED = "default"  # the model of the committed params.yaml
OWN = "own"  # the folder of own recordings, in a work tree
# Where and on how much of the machine it runs is the server's affair: 64 devices are 64 processes.
SERVERS = ("fetch", "threads", "train.accelerator", "train.devices", "train.nodes",
           "train.strategy", "train.workers")  # fmt: skip


class Asked(BaseModel):
    """What to train. recipe: of recipes/; null: the params.yaml of the last commit. params: values
    that differ from it, by dotted key. model: the name in the registry under which it becomes a
    version; null: that of the recipe.

    data: "recipe": what the recipe names. For recipes that train on MIT-BIH's DS1, "all": that and
    the labelled recordings that were uploaded; "newest": of these alone, those that the version in
    production was not trained on. Whichever it is, models are validated and tested by the same
    patients of MIT-BIH.
    """

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": EXAMPLE})
    recipe: Name | None = None
    params: Annotated[dict[Key, Value], Field(max_length=50)] = {}
    model: Name | None = None
    data: Data = "recipe"

    @property
    def name(self) -> str:
        """The model's name in the registry."""
        return self.model or self.recipe or UNNAMED


def checked(settings: Settings, asked: Asked) -> str:
    """The params.yaml of a training, which the schema accepts.

    Raises InputError for an unknown recipe, an unknown key, and values that the schema refuses;
    Problem 503 where this process cannot train.
    """
    if not (settings.root / ".git").exists() or not all(map(find_spec, ("dvc", "torch", "ruamel"))):
        raise Problem(503, WITHOUT, Retry_After="3600")
    import yaml  # with what follows of the extra `train`, which the gateway need not have

    from retrace import params
    from retrace.runs import recipes
    from retrace.runs.commands import at_head

    root = settings.root
    committed = None if asked.recipe else at_head(root, "params.yaml")
    text = recipes.render(root, asked.recipe) if asked.recipe else committed
    tree = yaml.safe_load(text or "")
    if not isinstance(tree, dict):
        raise InputError("params.yaml: not in the last commit: commit it, or name a recipe")
    for key, value in asked.params.items():
        _set(tree, key, value)
    params.checked(tree)
    if asked.data != "recipe":
        _collect(tree, asked.data)
        params.checked(tree)
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)


def form(text: str) -> Form:
    """How the data set of a params.yaml is read."""
    import yaml

    tree = yaml.safe_load(text)
    options = tree["datasets"][tree["dataset"]["name"]]
    return Form(options.get("leads", ()), options["labels"])


def _collect(tree: dict[str, Any], data: Data) -> None:
    """Let params of MIT-BIH be those of the same with own recordings beside it."""
    name, method = tree["dataset"]["name"], tree["split"]["method"]
    if (name, method) != ("mitdb", "ds1_ds2"):
        raise InputError(
            f"data: {data}; recordings are added to DS1 of MIT-BIH alone, and this recipe trains "
            f"on {name} with split {method}: choose mitdb_ds1_ds2 or another ds1_ds2, or data "
            "recipe"
        )
    tree["dataset"]["name"] = "collected"
    tree["datasets"]["collected"] = tree["datasets"]["mitdb"] | {"with_ds1": data == "all"}
    tree["fetch"]["folder"] = OWN
    tree["segment"]["flat"] = "drop"  # MIT-BIH has no such beat; one of an upload ends no training


def _set(tree: dict[str, Any], dotted: str, value: Any) -> None:
    *parents, key = dotted.split(".")
    if f"{dotted}.".startswith(tuple(f"{name}." for name in SERVERS)):
        raise InputError(
            f"params: {dotted}: says which files or how much of the server are used, which a "
            "request cannot: put it into a recipe there"
        )
    section: Any = tree
    for parent in parents:
        section = section.get(parent) if isinstance(section, dict) else None
    if not isinstance(section, dict) or key not in section:
        raise InputError(f"params: {dotted}: unknown key; params.yaml has every key: correct it")
    section[key] = value
