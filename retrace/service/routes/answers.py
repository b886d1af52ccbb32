"""What the documentation says of an answer: its fields and an example."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

DOMAIN: dict[str, Any] = {
    "fs": 360.0,
    "leads": ["MLII|V5"],
    "low": 0.5,
    "high": 50.0,
    "order": 3,
    "window": 0.52,
    "anchor": "beat",
    "normalise": "record",
    "representation": None,
    "beat": {"peak": 0.5, "rr_length": None},
}
ABOUT: dict[str, Any] = {
    "name": "mitdb_ds1_ds2_simple_cnn",
    "version": "7484c25add25",
    "network": "simple_cnn",
    "dataset": "mitdb",
    "split": "ds1_ds2",
    "note": "",
}
EXAMPLE: dict[str, Any] = {
    "id": "0199f1d6a3c04b8f3a52c1d9e0f7a6b5",
    "model": ABOUT,
    "domain": DOMAIN | {"name": "mitbih360"},
    "unit": "beat",
    "classes": {"N": "Normal", "S": "Supraventricular", "V": "Ventricular", "F": "Fusion",
                "Q": "Unknown"},
    "statement": "It supports decisions; it makes no diagnosis.",
    "recording": None,
    "truth": None,
    "flagging": {
        "set": False,
        "flagged": None,
        "sentence": "Nothing is flagged: the staff have set no rule.",
    },
    "uncertainty": {"set": False, "sentence": "Nothing is uncertain: the staff set no limit."},
    "segments": [
        {
            "sample": None,
            "seconds": None,
            "class": "V",
            "probability": 0.990318,
            "probabilities": [0.006121, 0.001934, 0.990318, 0.001502, 0.000125],
            "uncertain": None,
            "flagged": None,
        }
    ],
    "flags": [],
    "fs": None,
    "seconds": None,
    "leads": [],
    "summary": None,
    "left_out": [],
    "quality": [],
}  # fmt: skip


class About(BaseModel):
    """What answered. version: the first 12 hex digits of its weights' SHA-256. note: what has to be
    known beside its answers."""

    name: str
    version: str
    network: str
    dataset: str
    split: str
    note: str


class Flagging(BaseModel):
    """set: whether the staff have set any rule for these classes. flagged: null where no rule
    applies."""

    set: bool
    flagged: bool | None
    sentence: str


class Uncertainty(BaseModel):
    """set: whether the staff have set the limit below which an answer is uncertain."""

    set: bool
    sentence: str


class Segment(BaseModel):
    """A beat or window. sample, seconds: where it lies, null where it came without a recording.
    probabilities: in the order of `classes`. uncertain, flagged: null where no rule is set."""

    model_config = ConfigDict(populate_by_name=True)
    sample: int | None
    seconds: float | None
    name: str = Field(alias="class")
    probability: float
    probabilities: list[float]
    uncertain: bool | None
    flagged: bool | None


class Flag(BaseModel):
    """level: "segment" or "recording"."""

    model_config = ConfigDict(populate_by_name=True)
    level: str
    name: str = Field(alias="class")
    reason: str


class Answered(BaseModel):
    """The answer of a model, the same for beats, segments and recordings.

    domain: of the signal that the model takes. unit: "beat" or "window". classes: with the words
    for them. truth: the label of a random row. fs, seconds, leads, summary, left_out and quality
    are told of recordings.
    """

    model_config = ConfigDict(json_schema_extra={"example": EXAMPLE})
    id: str
    model: About
    domain: dict[str, Any]
    unit: str
    classes: dict[str, str]
    statement: str
    recording: str | None
    truth: str | None
    flagging: Flagging
    uncertainty: Uncertainty
    segments: list[Segment]
    flags: list[Flag]
    fs: float | None
    seconds: float | None
    leads: list[str]
    summary: dict[str, Any] | None
    left_out: list[dict[str, Any]]
    quality: list[dict[str, Any]]


class Queued(BaseModel):
    """The recording is long: a job answers it. GET /jobs/{job} says how far it is."""

    job: str = Field(examples=["0199f1d6a3c04b8f3a52c1d9e0f7a6b5"])
    recording: str = Field(examples=["0199f1d6a1b24b8f3a52c1d9e0f7a6b4"])
