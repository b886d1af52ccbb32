"""`retrace serve`: what has to stand before anybody is let in, then the server itself."""

import asyncio
import gc
import getpass
import ipaddress
import os
import secrets
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from retrace.errors import InputError
from retrace.service import accounts, audit, logs
from retrace.service.connections import Bounded
from retrace.service.database import Database
from retrace.service.home import bind
from retrace.service.settings import FILE, Settings, environment_file, read_settings
from retrace.service.tables import User

ENDING = 20  # s that requests have to end once the server is told to


def initialise(home: Path, root: Path) -> list[str]:
    """Make the service's folder, its settings with a secret, its tables and the first admin; what
    is there already stays. Returns what to tell the user.

    The admin comes from RETRACE_ADMIN_EMAIL and RETRACE_ADMIN_PASSWORD, else from the terminal.
    Raises InputError where a setting, the database or the account is not usable.
    """
    os.umask(0o077)
    _make(home)
    said = []
    if not (home / FILE).exists():
        secret = "" if os.environ.get("RETRACE_SECRET") else secrets.token_hex(32)
        (home / FILE).touch(mode=0o600)
        (home / FILE).write_text(environment_file(secret), encoding="utf-8")
        said.append(f"{home / FILE}: every setting, and a secret: show it to nobody")
    settings = read_settings(home, root)
    with _database(settings) as database:
        if not _admins(database):
            said.append(f"admin: {_first_admin(database)}")
    where = "" if home == root / "var" else f" --home {home}"
    return [*said, *_readable(home), f"next: retrace serve{where}"]


def serve(home: Path, root: Path, *, host: str, port: int, only: str | None = None) -> None:
    """Serve until SIGINT or SIGTERM. only: "predictor" or "trainer", which have no accounts.

    Raises InputError, before anything is answered, where a setting is missing or weak, the database
    not usable, no admin there, or the address taken.
    """
    os.umask(0o077)
    settings = read_settings(home, root)
    if only is None:
        with _database(settings) as database:
            if not _admins(database):
                raise InputError(
                    "no admin account: nobody could give anybody a role: run retrace serve --init"
                )
    for warning in (*_readable(home), *_open_to_others(host)):
        print(warning, file=sys.stderr)
    _make(home)
    with _listening(host, port) as listener, logs.writing(home, only or "app"):
        config = uvicorn.Config(
            app := _application(settings, only),
            http=Bounded,
            ws="none",
            lifespan="off",  # `_run` does it: what cannot start ends in its sentence
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=bool(settings.trusted_proxies),
            forwarded_allow_ips=settings.trusted_proxies,
            timeout_graceful_shutdown=ENDING,
        )
        where = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
        what = f"the {only}" if only else f"open {where}/docs"
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(_run(app, _Server(config, f"Retrace at {where}: {what}"), listener))


def _make(home: Path) -> None:
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(
            f"--home {home}: a file, or below one; the service keeps a folder: name another"
        ) from None


def _application(settings: Settings, only: str | None) -> FastAPI:
    if only == "predictor":
        from retrace.service.protocol import create_predictor

        return create_predictor(settings)
    if only == "trainer":
        from retrace.service.trainer import create_trainer

        return create_trainer(settings)
    from retrace.service.app import create_app

    return create_app(settings)


class _Server(uvicorn.Server):
    """uvicorn that says where it is. uvicorn would raise a signal again before the parts of the
    service are closed; this one leaves that out."""

    def __init__(self, config: uvicorn.Config, said: str) -> None:
        super().__init__(config)
        self._said = said

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.handle_exit)
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        gc.set_threshold(10_000)
        gc.freeze()  # what is there now stays: to go through all of it takes 0.1 s, again and again
        print(self._said, flush=True)


async def _run(app: FastAPI, server: _Server, listener: socket.socket) -> None:
    async with app.router.lifespan_context(app):
        await server.serve([listener])


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens there; InputError where it cannot."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.create_server((host, port), family=family, backlog=2048) as listener:
            yield listener
    except OverflowError:
        raise InputError(f"--port {port}: a port is a number from 0 to 65535") from None
    except OSError as error:
        if error.filename:
            raise
        raise InputError(
            f"{host}:{port}: {error.strerror or error}; the address must be this machine's and "
            "free: name another with --host or --port"
        ) from None


@contextmanager
def _database(settings: Settings) -> Iterator[Database]:
    """The database at the present version, to which the folder belongs; InputError, without its
    password, where it is not usable or the folder belongs to another one."""
    database = Database(settings.database)
    try:
        database.prepare()
        bind(settings.home, database)
        yield database
    except SQLAlchemyError as error:
        why = str(getattr(error, "orig", None) or type(error).__name__).splitlines()[0]
        what = "DATABASE_URL" if settings.database_url else settings.home / "retrace.db"
        raise InputError(
            f"{what}: the database is not usable ({why}): start it, or correct its address"
        ) from None
    finally:
        database.close()


def _admins(database: Database) -> int:
    with database.read() as session:
        query = select(func.count()).where(User.role == "admin", User.active)
        return session.scalar(query) or 0


def _first_admin(database: Database) -> str:
    """Make the first admin; returns its address."""
    email = os.environ.get("RETRACE_ADMIN_EMAIL", "")
    password = os.environ.get("RETRACE_ADMIN_PASSWORD", "")
    if not (email and password):
        if not sys.stdin.isatty():
            raise InputError(
                "no admin account: there is no terminal to ask for one: set RETRACE_ADMIN_EMAIL "
                "and RETRACE_ADMIN_PASSWORD"
            )
        email = input("Email of the first admin: ")
        password = getpass.getpass("Password: ")
        if password != getpass.getpass("The same again: "):
            raise InputError("the passwords differ: run retrace serve --init again")
    user = accounts.new(email, password, "admin")
    with database.write() as session:
        accounts.add(session, user)
        audit.record(session, "user.created", by=None, subject=user.id, role="admin")
    return user.email


def _readable(home: Path) -> list[str]:
    """A warning for what others can read."""
    return [
        f"warning: {path} can be read by others; it holds secrets: chmod go-rwx {path}"
        for path in (home, home / FILE)
        if path.exists() and path.stat().st_mode & 0o077
    ]


def _open_to_others(host: str) -> list[str]:
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    if loopback:
        return []
    return [
        f"warning: {host} can be reached by others, and nothing here is encrypted: put a proxy "
        "that speaks TLS in front"
    ]
