"""What the service keeps of its models: versions, their monitoring, suspensions."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from retrace.service.tables import Table, belongs, key, now


class Version(Table):
    """A version of a model; its files lie in HOME/registry/ID.

    number: from 1 on within its model. source: "published" or "training". weights, file: SHA-256 of
    its weights, of its model.onnx. commit: the revision that it was trained at. data: what it was
    trained on, see `registry.New`. metrics: "validation" and "test" of its own run. comparison:
    with the version that was in production when it was made. params, lock: params.yaml, dvc.lock.
    """

    __tablename__ = "versions"
    __table_args__ = (UniqueConstraint("model", "number"),)
    id: Mapped[str] = key()
    model: Mapped[str] = mapped_column(String(100))
    number: Mapped[int]
    source: Mapped[str] = mapped_column(String(16))
    job_id: Mapped[str | None] = mapped_column(String(32))
    weights: Mapped[str] = mapped_column(String(64))
    file: Mapped[str] = mapped_column(String(64))
    commit: Mapped[str | None] = mapped_column(String(64))
    data: Mapped[dict[str, Any]]
    metrics: Mapped[dict[str, Any]]
    comparison: Mapped[dict[str, Any] | None]
    params: Mapped[str] = mapped_column(Text)
    lock: Mapped[str] = mapped_column(Text)
    user_id: Mapped[str | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    created: Mapped[datetime] = mapped_column(default=now)


class Promotion(Table):
    """A version that was put into production; stays as history.

    action: "publish" (the first one), "promote", "rollback". before: the promotion that it
    replaced, to which a rollback returns. user_id: None where a rule of the staff did it.
    """

    __tablename__ = "promotions"
    id: Mapped[str] = key()
    model: Mapped[str] = mapped_column(String(100), index=True)
    version_id: Mapped[str] = belongs("versions")
    action: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str] = mapped_column(Text, default="")
    before: Mapped[str | None] = mapped_column(String(32))
    user_id: Mapped[str | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    created: Mapped[datetime] = mapped_column(default=now)


class Alias(Table):
    """A name for one version of a model: "production" is the one that answers."""

    __tablename__ = "aliases"
    model: Mapped[str] = mapped_column(String(100), primary_key=True)
    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    promotion_id: Mapped[str] = mapped_column(ForeignKey("promotions.id"))


class Watch(Table):
    """What the staff set for the monitoring of a model; a change ends the old row and writes a new
    one. settings: see `watches.Settings`."""

    __tablename__ = "watches"
    __table_args__ = (
        Index(
            "one_watch_in_force",
            "model",
            unique=True,
            sqlite_where=text("ended IS NULL"),
            postgresql_where=text("ended IS NULL"),
        ),
    )
    id: Mapped[str] = key()
    model: Mapped[str] = mapped_column(String(100), index=True)
    settings: Mapped[dict[str, Any]]
    user_id: Mapped[str | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    created: Mapped[datetime] = mapped_column(default=now)
    ended: Mapped[datetime | None]


class Evaluation(Table):
    """What monitoring found of a model. kind: "performance" or "drift"."""

    __tablename__ = "evaluations"
    id: Mapped[str] = key()
    model: Mapped[str] = mapped_column(String(100), index=True)
    version_id: Mapped[str] = belongs("versions")
    kind: Mapped[str] = mapped_column(String(16))
    result: Mapped[dict[str, Any]]
    created: Mapped[datetime] = mapped_column(default=now, index=True)


class Suspension(Table):
    """A time in which a model gave no answers. by, released_by: user ids, None: a rule of the staff
    did it, or the account is gone. ruled: a rule did it, so performance that is back ends it."""

    __tablename__ = "suspensions"
    __table_args__ = (
        Index(
            "one_suspension_in_force",
            "model",
            unique=True,
            sqlite_where=text("released IS NULL"),
            postgresql_where=text("released IS NULL"),
        ),
    )
    id: Mapped[str] = key()
    model: Mapped[str] = mapped_column(String(100), index=True)
    reason: Mapped[str] = mapped_column(Text)
    ruled: Mapped[bool] = mapped_column(default=False)
    by: Mapped[str | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    created: Mapped[datetime] = mapped_column(default=now)
    released: Mapped[datetime | None]
    released_by: Mapped[str | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    release_reason: Mapped[str | None] = mapped_column(Text)


class Observation(Table):
    """What drift is looked for in: numbers that say how the signal of a prediction is, see
    `observations`."""

    __tablename__ = "observations"
    prediction_id: Mapped[str] = mapped_column(
        ForeignKey("predictions.id", ondelete="CASCADE"), primary_key=True
    )
    features: Mapped[dict[str, Any]]
    created: Mapped[datetime] = mapped_column(default=now)
