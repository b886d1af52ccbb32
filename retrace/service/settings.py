"""What the service is told from outside: environment variables, and the file that --init wrote."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from retrace.errors import InputError

FILE = "service.env"  # in the service's folder, readable by its owner alone
SHORTEST = 32  # characters of a secret: 256 bits written as hex have 64, as base64 43
VARIED = 12  # different characters at least: 32 times "x" is no secret


class Settings(BaseSettings):
    """Every setting, as RETRACE_NAME in the environment (three have names that are used
    everywhere: DATABASE_URL, PREDICTOR_URL, TRAINER_URL)."""

    model_config = SettingsConfigDict(
        env_prefix="RETRACE_", extra="ignore", populate_by_name=True, env_ignore_empty=True
    )

    secret: SecretStr = Field(description="signs tokens; no default: --init makes one")
    home: Path = Field(Path("var"), description="database, recordings, log and mail of the service")
    root: Path = Field(Path(), description="the repository whose published models are served")
    database_url: str = Field("", validation_alias="DATABASE_URL", description="empty: SQLite")
    predictor_url: str = Field("", validation_alias="PREDICTOR_URL", description="empty: here")
    trainer_url: str = Field("", validation_alias="TRAINER_URL", description="empty: here")

    models: str = Field("", description="to serve, joined by commas; empty: all that are here")
    access_minutes: float = Field(15, gt=0, le=60, description="an access token is valid")
    refresh_days: float = Field(14, gt=0, le=90, description="a login ends so long after it began")
    predict_limit: str = Field("180/minute", description="predictions of one account")
    train_limit: str = Field("5/minute", description="trainings of one account")
    login_limit: str = Field(
        "10/minute", description="attempts of one address; on one account ten times as many"
    )
    concurrent: int = Field(64, ge=1, description="predictions at a time; more are answered 503")

    largest_upload: int = Field(256 << 20, gt=0, description="bytes of all files of a request")
    largest_body: int = Field(
        4 << 20, gt=0, description="bytes of beats or samples as JSON, unpacked"
    )
    body_seconds: float = Field(
        30, gt=0, description="that a body may take, and one more for each 64 KiB of it"
    )
    longest_hours: float = Field(48, gt=0, description="hours of a recording")
    job_minutes: float = Field(10, ge=0, description="longer recordings become jobs")
    training_hours: float = Field(24, gt=0, description="a training is ended behind that")
    training_gigabytes: float = Field(
        16, gt=0, description="of memory, for each process of a training"
    )
    worker: bool = Field(True, description="the server keeps a worker for jobs beside it")
    header_comments: Literal["strip", "keep"] = Field(
        "strip", description="age, sex, drugs, and whatever else the head of a recording says"
    )
    log_requests: bool = Field(True, description="a line in app.log for each request")
    trusted_proxies: str = Field(
        "", description="addresses, joined by commas, whose X-Forwarded-For is believed"
    )
    retention_days: float | None = Field(None, gt=0, description="None: kept until deleted")

    smtp_url: SecretStr = Field(
        SecretStr(""), description="smtp[s]://user:password@host:port; empty: into HOME/mail"
    )
    mail_from: str = Field("retrace@localhost", description="sender of the mails")
    alert_mail: str = Field("", description="who is told of alerts, joined by commas")
    alert_seconds: float = Field(60, ge=0, le=3600, description="alerts of so long are one mail")
    public_url: str = Field("http://127.0.0.1:8000", description="how links in mails begin")

    @field_validator("secret")
    @classmethod
    def _strong(cls, secret: SecretStr) -> SecretStr:
        text = secret.get_secret_value()
        if len(text) < SHORTEST or len(set(text)) < VARIED:
            raise ValueError(
                f"a secret has at least {SHORTEST} characters, {VARIED} of them different: let "
                "retrace serve --init make one"
            )
        return secret

    @property
    def database(self) -> str:
        """The address of the database, as SQLAlchemy writes it."""
        url = self.database_url or f"sqlite:///{self.home.absolute() / 'retrace.db'}"
        for name in ("postgresql://", "postgres://"):
            if url.startswith(name):
                return "postgresql+psycopg://" + url.removeprefix(name)
        return url


def read_settings(home: Path, root: Path) -> Settings:
    """Settings from the environment, then from HOME/service.env.

    Raises InputError, with all that is wrong at once and never a value, for settings that are
    missing, unknown to their type or weak.
    """
    try:
        return Settings(_env_file=home / FILE, home=home, root=root)  # type: ignore[call-arg]
    except ValidationError as error:
        said = "; ".join(
            f"{_name(problem['loc'])}: {_why(problem['type'], problem['msg'])}"
            for problem in error.errors(include_input=False, include_url=False)
        )
        raise InputError(f"{said}: set it in the environment or in {home / FILE}") from None


def environment_file(secret: str) -> str:
    """The text of service.env: every setting with what it is without a line. secret: "" where it
    comes from the environment."""
    said = ["# Settings of the Retrace service. What the environment says goes before this file."]
    for name, field in Settings.model_fields.items():
        if name in ("home", "root"):  # the command line has them
            continue
        value = secret if name == "secret" else field.default
        if isinstance(value, SecretStr):
            value = value.get_secret_value()
        chosen = name == "header_comments" or (name == "secret" and secret)
        said.append(f"\n# {field.description}")
        said.append(f"{'' if chosen else '# '}{_name((name,))}={'' if value is None else value}")
    return "\n".join(said) + "\n"


def _name(place: tuple[int | str, ...]) -> str:
    name = str(place[0]).upper() if place else "settings"
    return name if name in ("DATABASE_URL", "PREDICTOR_URL", "TRAINER_URL") else f"RETRACE_{name}"


def _why(kind: str, message: str) -> str:
    if kind == "missing":
        return "not set, and it has no default: run retrace serve --init"
    return message.removeprefix("Value error, ")
