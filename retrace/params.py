"""The schema of params.yaml: every knob, its type and its range, and no default anywhere.

Read with PyYAML and typed by pydantic: `1e-05`, as `dvc exp run -S` writes it, is a string to
YAML 1.1 and becomes a float here.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from retrace import registry
from retrace.errors import InputError
from retrace.params_problems import contradictions, hint, sentence
from retrace.scoring.scores import NAMES, RULES
from retrace.signals.domain import BeatWindow, SignalDomain
from retrace.signals.plan import BEAT_FEATURES, Plan


def _no_switch(value: Any) -> Any:
    """Refuse yes, no, true, false where a number is meant: YAML and pydantic would take them."""
    if isinstance(value, bool):
        raise ValueError("expected a number")
    return value


Number = BeforeValidator(_no_switch)
Positive = Annotated[float, Number, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Number, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Number, Field(ge=0, lt=1)]
Count = Annotated[int, Number, Field(ge=1)]
Seed = Annotated[int, Number, Field(ge=0, lt=2**32)]


class Section(BaseModel):
    """A part of params.yaml: unknown keys are refused, values are never changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


def _one_of(known: Sequence[str]) -> AfterValidator:
    """A name that another part of the library lists."""

    def check(name: str) -> str:
        if name not in known:
            raise ValueError(f"expected {', '.join(known)}")
        return name

    return AfterValidator(check)


class Dataset(Section):
    name: Annotated[str, _one_of(registry.names("datasets"))]


class Synthetic(Section):
    seed: Seed
    patients: Count
    records_per_patient: Count
    fs: Positive
    duration: Positive
    noise: NotNegative


class Fetch(Section):
    folder: str | None
    form: str | None


class Bandpass(Section):
    low: Positive
    high: Positive
    order: Annotated[int, Number, Field(ge=0, le=10)]
    unusable: Literal["error", "drop"]


class BeatCut(Section):
    peak: Share
    rr_length: Positive | None


class Segment(Section):
    anchor: Literal["start", "beat"]
    fs: Positive | None
    window: Positive
    hop: Positive
    short: Literal["pad", "drop"]
    flat: Literal["error", "drop"]
    normalise: Literal["none", "window", "range", "record"]
    beat: BeatCut


class Cwt(Section):
    wavelet: str
    low: Positive
    high: Positive
    scales: Annotated[int, Field(ge=2)]
    frames: Count


class Split(Section):
    method: Literal["stratified", "published", "ds1_ds2", "intra_patient"]
    seed: Seed
    folds: Annotated[int, Number, Field(ge=2, le=100)]
    fold: Annotated[int, Number, Field(ge=0)]
    val: Annotated[float, Field(gt=0, lt=1)]


class Model(Section):
    name: Annotated[str, _one_of(registry.names("models"))]
    input: Literal["scalograms", "waveforms"]
    aggregate: Annotated[str, _one_of(RULES)]
    features: list[Annotated[str, _one_of(BEAT_FEATURES)]]


class Early(Section):
    patience: Count
    min_delta: NotNegative


class Augment(Section):
    noise: NotNegative
    shift: Share
    scale: NotNegative
    time_mask: Share
    frequency_mask: Share


class Train(Section):
    optimiser: Literal["adamw", "adam", "sgd"]
    schedule: Literal["constant", "cosine", "plateau", "step"]
    warmup: NotNegative
    plateau_factor: Annotated[float, Field(gt=0, lt=1)]
    plateau_patience: Count
    step_factor: Annotated[float, Field(gt=0, lt=1)]
    step_epochs: Count
    label_smoothing: Share
    clip: NotNegative
    imbalance: Literal["none", "inverse", "effective", "focal", "sampler", "oversample", "smote"]
    score: Annotated[str, _one_of(NAMES)]
    early_stopping: Early
    augment: Augment
    accelerator: str
    devices: int | Literal["auto"]
    nodes: Count
    strategy: str
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"]
    compile: bool
    workers: Annotated[int, Number, Field(ge=0, le=256)]


class Evaluate(Section):
    resamples: Annotated[int, Field(ge=100)]


class Robustness(Section):
    segments: Count


class Params(Section):
    """All of params.yaml."""

    seed: Seed
    threads: Count
    lr: Positive
    weight_decay: NotNegative
    batch_size: Count
    epochs: Count
    dataset: Dataset
    synthetic: Synthetic
    datasets: dict[str, dict[str, Any]]
    fetch: Fetch
    bandpass: Bandpass
    segment: Segment
    cwt: Cwt
    split: Split
    model: Model
    models: dict[str, dict[str, Any]]
    train: Train
    evaluate: Evaluate
    robustness: Robustness

    @property
    def dataset_options(self) -> dict[str, Any]:
        """Keyword arguments of the chosen data set's `records`."""
        return _options("datasets", self.dataset.name, self.datasets)

    @property
    def model_options(self) -> dict[str, Any]:
        """Keyword arguments of the chosen model's `build`."""
        return _options("models", self.model.name, self.models)

    @property
    def classes(self) -> list[str]:
        """The classes in order: the values of the data set's label map, without null."""
        return [name for name in dict.fromkeys(self.dataset_options["labels"].values()) if name]

    @property
    def plan(self) -> Plan:
        """How recordings are cut into segments."""
        cutting = vars(self.segment) | {"beat": BeatWindow(**vars(self.segment.beat))}
        return Plan(**cutting, labels=self.dataset_options["labels"])

    def domain(self, fs: float) -> SignalDomain:
        """What a model will expect of a signal whose segments have `fs` Hz."""
        band = self.bandpass
        return SignalDomain(
            fs=fs,
            leads=tuple(self.dataset_options.get("leads", ())),
            low=band.low,
            high=band.high,
            order=band.order,
            window=self.segment.window,
            anchor=self.segment.anchor,
            normalise=self.segment.normalise,
            beat=BeatWindow(**vars(self.segment.beat)) if self.segment.anchor == "beat" else None,
        )


def _options(
    kind: Literal["datasets", "models"], name: str, sections: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    return dict(registry.options(kind, name)(**sections[name]))


def load(path: Path) -> Params:
    """Read and check a params.yaml; one InputError names all that is wrong in it."""
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{path.name}: no such file here; the stages run where params.yaml lies: "
            "change to the repository's folder"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path.name}: not YAML ({error}): mend it there") from None
    if not isinstance(raw, dict):
        raise InputError(f"{path.name}: expected `key: value` lines; got {type(raw).__name__}")
    return checked(raw, path.name)


def checked(raw: dict[str, Any], name: str = "params.yaml") -> Params:
    """The params of a tree; one InputError names all that is wrong in it, as `name`."""
    problems: list[str] = []
    params = None
    try:
        params = Params(**raw)
    except ValidationError as error:
        problems += [sentence(item, Params) for item in error.errors()]
    wrong = _option_problems(raw)
    problems += wrong
    if params is not None and not wrong:
        problems += contradictions(params)
    if params is None or problems:
        raise InputError("\n       ".join(f"{name}: {problem}" for problem in problems))
    return params


def _option_problems(raw: dict[str, Any]) -> list[str]:
    """What is wrong in the sections datasets.<name> and models.<name>."""
    problems = []
    kinds: tuple[Literal["datasets", "models"], ...] = ("datasets", "models")
    for kind in kinds:
        sections, chooser = raw.get(kind), raw.get(kind[:-1])
        if not isinstance(sections, dict) or not isinstance(chooser, dict):
            continue  # Params itself reports that
        known, chosen = registry.names(kind), chooser.get("name")
        if chosen in known and chosen not in sections:
            problems.append(f"{kind}.{chosen}: missing; {kind[:-1]}.name asks for it")
        for name, values in sections.items():
            if name not in known:
                problems.append(f"{kind}.{name}: unknown key{hint(name, known)}")
                continue
            schema = registry.options(kind, name)
            try:
                schema.model_validate(values)
            except ValidationError as error:
                problems += [f"{kind}.{name}.{sentence(item, schema)}" for item in error.errors()]
    return problems
