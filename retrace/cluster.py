"""A Ray cluster that stands elsewhere: joining it, and giving it work.

Retrace's own code travels there with the work, so that the nodes need only the packages of
requirements.txt. They must have the versions of this machine, and its kind of processor: with
others the last bits may differ, and such a node is refused.
"""

import hashlib
import logging
import os
import pickle
import platform
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from retrace.errors import InputError
from retrace.workers import Answer, Pool, answered

TIMEOUT = 3.0  # s in which the head must answer: Ray itself would wait for two minutes
PATIENCE = 30.0  # s without a free CPU after which we say what we wait for
COMPUTING = ("numpy", "scipy", "PyWavelets")  # what results depend on
PACKAGE = Path(__file__).parent
# The start of HTTP/2, which Ray's head speaks: the preface and an empty frame of settings.
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
_RETRIES = 2  # of a batch whose worker was lost


@contextmanager
def joined(address: str) -> Iterator[Pool]:
    """The CPUs of the cluster at `address`, HOST:PORT or "auto", as workers.

    This machine must be one of its nodes (`ray start --address HOST:PORT`).

    Raises:
        InputError: Ray is not installed, no cluster answers, a node has other versions than this
            machine, or a worker was lost.
    """
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_task_oom_retries": str(_RETRIES)}
    try:
        import ray
    except ImportError:
        raise InputError(
            f"RAY_ADDRESS is {address!r}, but Ray is not installed: pip install 'retrace[sweep]', "
            "or unset RAY_ADDRESS to work on this machine alone"
        ) from None
    join(ray, "RAY_ADDRESS", address, {}, logging_level=logging.ERROR)
    try:
        cpus: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        _await_cpu(ray, address)
        yield Pool(int(cpus.get("CPU", 1)), _submitter(ray))
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, ImportError):
            raise InputError(
                f"RAY_ADDRESS {address}: {error.cause} on a node of that cluster; every node needs "
                "what requirements.txt lists: install it there"
            ) from None
        raise
    except ray.exceptions.RayError as error:
        raise InputError(
            f"RAY_ADDRESS {address}: a worker was lost ({type(error).__name__}), most often for "
            "want of memory, and nothing was left half-written: look at `ray status`, or unset "
            "RAY_ADDRESS to work on this machine alone"
        ) from None
    finally:
        ray.shutdown()


def join(ray: Any, given: str, address: str, env_vars: dict[str, str], **options: Any) -> Any:
    """Connect to the cluster at `address`, HOST:PORT or "auto", and send our own code along.

    given: what the user names it by, RAY_ADDRESS or --address. env_vars: of the workers. options:
    of `ray.init`, whose answer is returned.

    Raises InputError where no cluster answers within seconds.
    """
    if address != "auto":
        _greet(given, address, ray.util.get_node_ip_address())
    environment = {"py_modules": [str(PACKAGE)], "excludes": ["__pycache__"], "env_vars": env_vars}
    try:
        return ray.init(address, runtime_env=environment, log_to_driver=False, **options)
    except (ConnectionError, RuntimeError, ValueError, SystemExit) as error:
        raise _refused(given, address, str(error).partition("\n")[0]) from None


def _greet(given: str, address: str, own: str) -> None:
    """Make sure that what listens at HOST:PORT may be the head of a cluster.

    own: this machine's address, by which Ray replaces a loopback one.
    """
    host, _, port = address.rpartition(":")
    if not (host and port.isascii() and port.isdigit() and 0 < int(port) < 65536) or "/" in host:
        raise InputError(
            f"{given} is {address!r} but must be HOST:PORT of the cluster's head, as `ray start "
            "--head` prints it, or auto: correct it or go without"
        )
    host = own if host in ("localhost", "127.0.0.1", "[::1]") else host.strip("[]")
    try:
        with socket.create_connection((host, int(port)), TIMEOUT) as connection:
            connection.settimeout(TIMEOUT)
            connection.sendall(_HELLO)
            reply = connection.recv(len(_HELLO))
    except OSError as error:
        raise _refused(given, address, str(error)) from None
    if reply[3:4] != b"\x04":
        raise _refused(given, address, "what listens there is not Ray")


def _refused(given: str, address: str, why: str) -> InputError:
    return InputError(
        f"{given} {address}: no cluster can be joined there ({why}); this machine must be a node "
        "of one that runs: `ray start --head` there and `ray start --address HOST:PORT` here, or "
        f"go without {given} to work on this machine alone"
    )


def _await_cpu(ray: Any, address: str) -> None:
    """Say it once where the cluster is busy: work that waits for its CPUs gives no sign."""
    begun = ray.remote(num_cpus=1)(lambda: None).remote()
    if not ray.wait([begun], timeout=PATIENCE)[0]:
        print(f"RAY_ADDRESS {address}: waiting for a free CPU of the cluster", file=sys.stderr)


@cache
def surroundings() -> dict[str, str]:
    """All that the bytes of a result depend on beside params and data."""
    digest = hashlib.sha256()
    for path in sorted((PACKAGE / "signals").glob("*.py")):
        digest.update(path.read_bytes())
    versions = {name: metadata.version(name) for name in COMPUTING}
    return versions | {"processor": platform.machine(), "code": digest.hexdigest()[:12]}


def checked(here: dict[str, str], function: Callable[[Any], Any], batch: list[bytes]) -> Answer:
    """What a worker of the cluster does with a batch; here: the driver's own surroundings."""
    there = surroundings()
    if there == here:
        return answered(function, batch)
    name = next(name for name in here if there[name] != here[name])
    return [], InputError(
        f"node {platform.node()} of the Ray cluster has {name} {there[name]}, but {here[name]} "
        "is that of this machine, and all must be equal for equal bytes: install there what "
        "requirements.txt lists, or give the node back"
    )


def _submitter(ray: Any) -> Callable[[Callable[[Any], Any], list[bytes]], Callable[[], Answer]]:
    here = surroundings()

    # A function in a function travels as code: on a node that lacks a package it can still say so.
    def answer(packed: bytes, batch: list[bytes]) -> Answer:
        from retrace.cluster import checked

        return checked(here, pickle.loads(packed), batch)  # noqa: S301 - the driver's own

    remote = ray.remote(num_cpus=1, max_retries=_RETRIES)(answer)

    def submit(function: Callable[[Any], Any], batch: list[bytes]) -> Callable[[], Answer]:
        reference = remote.remote(ray.cloudpickle.dumps(function), batch)
        return lambda: ray.get(reference)

    return submit
