"""What the documentation says of the registry, and versions and promotions as they are answered."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from retrace.service import registry
from retrace.service import registry_files as files
from retrace.service import registry_rows as rows
from retrace.service.settings import Settings
from retrace.service.tables_models import Promotion, Version

Name = Annotated[str, Path(max_length=100, pattern=r"^[^\x00]+$", examples=["mitdb_ds1_ds2"])]
Number = Annotated[int, Field(ge=1, lt=2**31)]
Reason = Annotated[str, Field(max_length=500, pattern=r"^[^\x00]*$")]
Score = Literal[rows.SCORES]  # type: ignore[valid-type]

ID = "0199f1d6a3c04b8f3a52c1d9e0f7a6b5"
BY = "0199f1d6a1b24b8f3a52c1d9e0f7a6b4"
METRICS: JsonDict = {
    "validation": {"best_epoch": 66, "val_f1_macro": 0.339},
    "test": {"f1_macro": 0.443, "f1_macro_low": 0.392, "f1_macro_high": 0.453},
}
VERSION: JsonDict = {
    "number": 2,
    "id": ID,
    "production": False,
    "state": "whole",
    "source": "training",
    "version": "d206193e347f",
    "weights": "d206193e347f802e8ed2618672f5e690cca07970d8cd2bca0e6104cc8def95b4",
    "file": "2a73d6f50a4237c3cb3117344d287685dbd1182727e84851da5b18768fb2511f",
    "path": f"registry/{ID}/model.onnx",
    "commit": "d4506ed36d17a7cd16949d806205768cd2907fd3",
    "data": {
        "kind": "all",
        "recordings": 12,
        "persons": 31,
        "raw": "84762602881dd7ca930a2950f4262792.dir",
        "split": "c157a79031e1c40f85931829bc5fc552",
    },
    "metrics": METRICS,
    "comparison": {
        "against": 1,
        "validation": {
            "persons": 5,
            "scores": {"f1_macro": {"candidate": 0.36, "production": 0.34, "difference": 0.02}},
        },
    },
    "job": "0199f1d6a5d64b8f3a52c1d9e0f7a6b3",
    "by": BY,
    "created": "2026-01-02T03:04:05Z",
}
PROMOTION: JsonDict = {
    "id": "0199f1d6a7e84b8f3a52c1d9e0f7a6b2",
    "action": "promote",
    "version": 2,
    "path": f"registry/{ID}/model.onnx",
    "reason": "better on the newest recordings",
    "by": BY,
    "at": "2026-01-02T04:05:06Z",
}
MODEL: JsonDict = {
    "model": "mitdb_ds1_ds2",
    "production": 1,
    "version": "d206193e347f",
    "metrics": METRICS,
    "versions": 2,
    "suspended": None,
}
EVALUATION: JsonDict = {
    "id": "0199f1d6a9fa4b8f3a52c1d9e0f7a6b1",
    "created": "2026-01-03T00:00:00Z",
    "result": {"newest": {"persons": 9, "scores": {"f1_macro": {"value": 0.58}}}},
}


class Row(BaseModel):
    """A model. production: the number of the version that answers, null where none does; version:
    how its answers name it. suspended: why it gives no answers at present."""

    model_config = ConfigDict(json_schema_extra={"example": MODEL})
    model: str
    production: int | None
    version: str | None
    metrics: dict[str, Any] | None
    versions: int
    suspended: str | None


class Shown(BaseModel):
    """A version. state: of its file; "elsewhere": the predictor has it; "removed": an admin took it
    away. version: how answers name it, the beginning of its weights' SHA-256. file: SHA-256 of its
    model.onnx. data: what it was trained on. metrics: of its own run; the test score is shown and
    no criterion. comparison: with the version that was in production then. job, by: who made it."""

    model_config = ConfigDict(json_schema_extra={"example": VERSION})
    number: int
    id: str
    production: bool
    state: files.State
    source: Literal["published", "training"]
    version: str
    weights: str
    file: str
    path: str
    commit: str | None
    data: dict[str, Any]
    metrics: dict[str, Any]
    comparison: dict[str, Any] | None
    job: str | None
    by: str | None
    created: datetime


class Promoted(BaseModel):
    """A version that was put into production. action: "publish" (the first one), "promote",
    "rollback". by: null where a rule of the staff did it, or the account is gone."""

    model_config = ConfigDict(json_schema_extra={"example": PROMOTION})
    id: str
    action: Literal["publish", "promote", "rollback"]
    version: int
    path: str
    reason: str
    by: str | None
    at: datetime


class Chosen(Promoted):
    """The same; compared: how it did against the version that was in production when it was made,
    "" where that is not known. skipped: versions that were not asked which is the best, and why."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": PROMOTION
            | {
                "compared": "on validation f1_macro 0.360 against 0.340 of version 1 (p = 0.03)",
                "skipped": {"1": "its file is gone"},
            }
        }
    )
    compared: str = ""
    skipped: dict[str, str] = {}


class Listed(BaseModel):
    """The newest versions, and what was put into production, the newest first."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "model": "mitdb_ds1_ds2",
                "production": 1,
                "suspended": None,
                "versions": [VERSION],
                "promotions": [PROMOTION],
            }
        }
    )
    model: str
    production: int | None
    suspended: str | None
    versions: list[Shown]
    promotions: list[Promoted]


class Measured(BaseModel):
    """How good the version in production is. metrics: of its own run. evaluation: the latest one of
    the monitoring, null where there is none."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "model": "mitdb_ds1_ds2",
                "production": 1,
                "metrics": METRICS,
                "evaluation": EVALUATION,
            }
        }
    )
    model: str
    production: int
    metrics: dict[str, Any]
    evaluation: dict[str, Any] | None


class Wanted(BaseModel):
    """Which version: its number, or the score of the validation part in which it is the best.
    expected: the number that is believed to be in production; another one is answered 409."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"version": 2, "reason": "better on the newest recordings", "expected": 1}
        },
    )
    version: Number | None = None
    best: Score | None = None
    reason: Reason = ""
    expected: Number | None = None

    @model_validator(mode="after")
    def _one(self) -> "Wanted":
        if (self.version is None) == (self.best is None):
            raise ValueError("give either version or best")
        return self


class Back(BaseModel):
    """Why the version before is put into production again. expected: see `Wanted`."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"reason": "too many false alarms", "expected": 2}},
    )
    reason: Reason = ""
    expected: Number | None = None


def shown(settings: Settings, one: Version, here: Version | None, *, whole: bool) -> Shown:
    """A version as it is answered. here: the one in production. whole: with the ids of the
    recordings, else how many there are."""
    data = one.data
    if not whole:
        data = data | {"recordings": len(data.get("recordings") or ())}
    names = ("number", "id", "source", "weights", "file", "commit", "metrics", "comparison",
             "created")  # fmt: skip
    return Shown(
        **{name: getattr(one, name) for name in names},
        production=here is not None and here.id == one.id,
        state=registry.state(settings, one),
        version=one.weights[:12],
        path=files.named(one.id),
        data=data,
        job=one.job_id,
        by=one.user_id,
    )


def promoted(made: Promotion, chosen: Version) -> dict[str, Any]:
    """The fields of `Promoted`."""
    return {
        "id": made.id,
        "action": made.action,
        "version": chosen.number,
        "path": files.named(chosen.id),
        "reason": made.reason,
        "by": made.user_id,
        "at": made.created,
    }
