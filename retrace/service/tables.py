"""What the service keeps, a class for each table."""

import random
import time
import zlib
from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    DateTime,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

ID = "^[0-9a-f]{32}$"  # what `new_id` gives, as routes check it
SHORT = 4096  # bytes of JSON
ROLES = ("staff", "data_scientist", "admin")


def new_id() -> str:
    """32 hex digits that sort by time (us), so that an index grows at its end; 72 bits are random.

    They are no secret: who may see what is asked of the account.
    """
    return f"{time.time_ns() // 1_000:014x}{random.getrandbits(72):018x}"


def now() -> datetime:
    """The present in UTC."""
    return datetime.now(UTC)


class Utc(TypeDecorator[datetime]):
    """A time in UTC, aware on the way in and out: SQLite forgets the zone."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: object) -> datetime | None:
        return value and value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: object) -> datetime | None:
        return value and value.replace(tzinfo=UTC)


class Packed(TypeDecorator[bytes]):
    """JSON as bytes, behind zlib where it is long: of a short one it saves little, and takes as
    long as the rest of its row."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: bytes | None, dialect: object) -> bytes | None:
        return zlib.compress(value, 1) if value and len(value) > SHORT else value

    def process_result_value(self, value: bytes | None, dialect: object) -> bytes | None:
        return value if not value or value.startswith(b"{") else zlib.decompress(value)


class Table(DeclarativeBase):
    """What all have in common. Constraints have names, by which a migration finds them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar = {datetime: Utc, dict[str, Any]: JSON, list[Any]: JSON}


def key() -> Mapped[str]:
    """The id of a row."""
    return mapped_column(String(32), primary_key=True, default=new_id)


def belongs(table: str, **options: Any) -> Mapped[Any]:
    """A row that goes with the row it belongs to."""
    return mapped_column(ForeignKey(f"{table}.id", ondelete="CASCADE"), index=True, **options)


class Identity(Table):
    """One row, by which a service's folder knows its database again."""

    __tablename__ = "identity"
    id: Mapped[str] = key()


class User(Table):
    """An account. role: None until an admin gives one; until then it sees itself alone."""

    __tablename__ = "users"
    id: Mapped[str] = key()
    email: Mapped[str] = mapped_column(String(254), unique=True)
    password: Mapped[str] = mapped_column(Text)  # argon2id
    role: Mapped[str | None] = mapped_column(String(16))
    active: Mapped[bool] = mapped_column(default=True)
    created: Mapped[datetime] = mapped_column(default=now)


class Login(Table):
    """A login and the chain of its refresh tokens. refresh: SHA-256 of the one that is valid."""

    __tablename__ = "logins"
    id: Mapped[str] = key()
    user_id: Mapped[str] = belongs("users")
    refresh: Mapped[str] = mapped_column(String(64))
    created: Mapped[datetime] = mapped_column(default=now)
    expires: Mapped[datetime]
    revoked: Mapped[bool] = mapped_column(default=False)


class Reset(Table):
    """A password reset that was asked for. token: SHA-256 of what was mailed."""

    __tablename__ = "resets"
    id: Mapped[str] = key()
    user_id: Mapped[str] = belongs("users")
    token: Mapped[str] = mapped_column(String(64), unique=True)
    expires: Mapped[datetime]


class ApiKey(Table):
    """A key for a machine, which acts as its user. digest: SHA-256 of the key."""

    __tablename__ = "api_keys"
    id: Mapped[str] = key()
    user_id: Mapped[str] = belongs("users")
    name: Mapped[str] = mapped_column(String(100))
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    created: Mapped[datetime] = mapped_column(default=now)
    expires: Mapped[datetime | None]


class Audit(Table):
    """Who did what; stays when the user goes, and holds neither a signal nor a secret."""

    __tablename__ = "audit"
    id: Mapped[str] = key()
    at: Mapped[datetime] = mapped_column(default=now, index=True)
    user_id: Mapped[str | None] = mapped_column(String(32), index=True)
    action: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str | None] = mapped_column(String(64))
    detail: Mapped[dict[str, Any]] = mapped_column(default=dict)


class Recording(Table):
    """An uploaded recording; its files lie in HOME/recordings/ID.

    person: whose it is, as the uploader names them (a pseudonym). labels: how many of each symbol,
    where it came with annotations; None: without.
    """

    __tablename__ = "recordings"
    id: Mapped[str] = key()
    user_id: Mapped[str] = belongs("users")
    person: Mapped[str | None] = mapped_column(String(100), index=True)
    name: Mapped[str] = mapped_column(String(200))
    file: Mapped[str] = mapped_column(String(200))  # the one it is opened by
    fs: Mapped[float]
    leads: Mapped[list[Any]]
    samples: Mapped[int]
    age: Mapped[float | None]
    sex: Mapped[str | None] = mapped_column(String(8))
    labels: Mapped[dict[str, Any] | None]
    bytes: Mapped[int]
    sha256: Mapped[str] = mapped_column(String(64))
    created: Mapped[datetime] = mapped_column(default=now, index=True)


class Prediction(Table):
    """What a model answered.

    kind: "beats" (sent as numbers), "segments" (a file of them), "recording", "random". version:
    the first 12 hex digits of its weights' SHA-256. answer: the JSON as it was given.
    signal: float32 of what was sent as numbers, of `shape`. flagged: None where no rule was set.
    """

    __tablename__ = "predictions"
    id: Mapped[str] = key()
    user_id: Mapped[str] = belongs("users")
    recording_id: Mapped[str | None] = belongs("recordings", nullable=True)
    kind: Mapped[str] = mapped_column(String(16))
    model: Mapped[str] = mapped_column(String(100))
    version: Mapped[str] = mapped_column(String(12))
    segments: Mapped[int]
    flagged: Mapped[bool | None]
    answer: Mapped[bytes] = mapped_column(Packed)
    signal: Mapped[bytes | None] = mapped_column(LargeBinary)
    shape: Mapped[list[Any] | None]
    truth: Mapped[str | None] = mapped_column(String(32))  # of a random row of the test part
    created: Mapped[datetime] = mapped_column(default=now, index=True)


class Feedback(Table):
    """What staff say of an answer. segment: its number, None for the whole recording."""

    __tablename__ = "feedback"
    id: Mapped[str] = key()
    prediction_id: Mapped[str] = belongs("predictions")
    user_id: Mapped[str | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    segment: Mapped[int | None]
    answered: Mapped[str] = mapped_column(String(32))
    label: Mapped[str] = mapped_column(String(32))
    comment: Mapped[str] = mapped_column(Text, default="")
    created: Mapped[datetime] = mapped_column(default=now, index=True)


class Rule(Table):
    """What the staff set for one class; a change ends the old row and writes a new one.

    kind: "flag", or "uncertain" (then `segment` is the probability below which an answer is
    uncertain, and name is "*"). segment: probability of the class from which a beat or window is
    flagged. count, burden, run: number, share, and longest unbroken row of segments of the class
    from which the recording is flagged. None: not set; none has a default.
    """

    __tablename__ = "rules"
    __table_args__ = (
        Index(  # two staff who set one rule at the same moment: one of them is told so
            "one_rule_in_force",
            "name",
            unique=True,
            sqlite_where=text("ended IS NULL"),
            postgresql_where=text("ended IS NULL"),
        ),
    )
    id: Mapped[str] = key()
    kind: Mapped[str] = mapped_column(String(16), default="flag")
    name: Mapped[str] = mapped_column(String(32), index=True)
    segment: Mapped[float | None]
    count: Mapped[int | None]
    burden: Mapped[float | None]
    run: Mapped[int | None]
    user_id: Mapped[str | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    created: Mapped[datetime] = mapped_column(default=now)
    ended: Mapped[datetime | None] = mapped_column(index=True)


class Alert(Table):
    """A flagged answer that somebody has to look at again.

    level: "segment" or "recording". mail: when it is due to be mailed, with all that are due by
    then; None: it was mailed, or nobody is.
    """

    __tablename__ = "alerts"
    id: Mapped[str] = key()
    prediction_id: Mapped[str] = belongs("predictions")
    name: Mapped[str] = mapped_column(String(32))  # the class
    level: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str] = mapped_column(Text)
    created: Mapped[datetime] = mapped_column(default=now, index=True)
    seen_by: Mapped[str | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    seen: Mapped[datetime | None]
    mail: Mapped[datetime | None] = mapped_column(index=True)


class Mail(Table):
    """A mail to be sent, or sent: a mail server that is down loses none."""

    __tablename__ = "mails"
    id: Mapped[str] = key()
    to: Mapped[str] = mapped_column(Text)
    subject: Mapped[str] = mapped_column(String(200))
    body: Mapped[str] = mapped_column(Text)  # emptied once it is sent: it may hold a reset token
    created: Mapped[datetime] = mapped_column(default=now)
    due: Mapped[datetime | None] = mapped_column(default=now, index=True)  # None: sent, or given up
    attempts: Mapped[int] = mapped_column(default=0)
    error: Mapped[str | None] = mapped_column(Text)
    sent: Mapped[datetime | None]


class Job(Table):
    """Work that outlasts a request. A worker holds it until `lease`, which it renews as it works.

    kind: of `worker.HANDLERS`. state: queued, running, done, failed, cancelled. request: what to
    do; result: what came of it. progress: from 0 to 1. user_id: None where the service itself asked
    for it, on a schedule.
    """

    __tablename__ = "jobs"
    id: Mapped[str] = key()
    user_id: Mapped[str | None] = belongs("users", nullable=True)
    recording_id: Mapped[str | None] = belongs("recordings", nullable=True)
    kind: Mapped[str] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(16), default="queued", index=True)
    request: Mapped[dict[str, Any]]
    progress: Mapped[float] = mapped_column(default=0.0)
    result: Mapped[dict[str, Any] | None]
    error: Mapped[str | None] = mapped_column(Text)
    attempts: Mapped[int] = mapped_column(default=0)
    worker: Mapped[str | None] = mapped_column(String(64))
    lease: Mapped[datetime | None]
    created: Mapped[datetime] = mapped_column(default=now, index=True)
    finished: Mapped[datetime | None]
