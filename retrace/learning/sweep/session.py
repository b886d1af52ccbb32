"""Ray, for the time of a sweep: of this machine alone, or a cluster that stands elsewhere."""

import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from retrace.errors import InputError

# Nothing phones home; paths stay the driver's; an epoch may take long; one writer for the table.
SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "60",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",  # a trial without a GPU sees none
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}
# What a worker elsewhere must be told of this environment.
PASSED_ON = ("MLFLOW_", "RETRACE_", "DO_NOT_TRACK", "GOMP_SPINCOUNT", "OMP_")
_STORE = 80_000_000  # bytes of the object store: trials read files, and send rows of numbers
# Ray listens on every interface: who reaches it could run code here, were it not for this token.
_TOKEN = Path.home() / ".ray/auth_token"
PACKAGE = Path(__file__).parents[2]
_TIMEOUT = 3.0  # s for the head of a cluster to answer


@contextmanager
def session(address: str | None, gpus: bool) -> Iterator[tuple[Any, str]]:
    """The module `ray`, connected, and the address of its dashboard, empty where there is none.

    address: "auto" or HOST:PORT of a cluster's head. gpus: whether trials need them.

    Raises InputError where Ray is not installed or nothing answers at the address.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError:
        raise InputError(
            "retrace sweep needs Ray, which is not installed: pip install 'retrace[sweep]'"
        ) from None
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    quiet: dict[str, Any] = {"logging_level": logging.CRITICAL, "log_to_driver": False}
    temporary = tempfile.mkdtemp(prefix="retrace-")  # short: a socket's path has 107 characters
    try:
        if address:
            context = _join(ray, address, quiet)
        else:
            context = ray.init(
                num_gpus=None if gpus else 0,
                include_dashboard=_dashboard(),
                dashboard_host="127.0.0.1",
                object_store_memory=_STORE,
                _temp_dir=temporary,
                _plasma_directory=temporary,  # containers have 64 MB in /dev/shm
                **quiet,
            )
            with suppress(OSError):  # given by the environment, or another's
                _TOKEN.chmod(0o600)
        yield ray, context.dashboard_url or ""
    finally:
        ray.shutdown()
        shutil.rmtree(temporary, ignore_errors=True)


def _dashboard() -> bool:
    """Whether Ray's own page is installed: `ray[default]`."""
    return all(find_spec(name) for name in ("aiohttp_cors", "opencensus"))


def _join(ray: Any, address: str, quiet: dict[str, Any]) -> Any:
    """Connect to a cluster and send our own code along."""
    _answers(address)
    passed = {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}
    environment = {
        "py_modules": [str(PACKAGE)],
        "excludes": ["__pycache__"],
        "env_vars": passed | SETTINGS,
    }
    try:
        return ray.init(address=address, runtime_env=environment, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise _no_cluster(address, str(error).split("\n")[0]) from None


def _answers(address: str) -> None:
    """A refused port is found at once here, and after a minute by Ray."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdigit():
        raise InputError(
            f"--address {address}: expected HOST:PORT of the cluster's head, or auto on one of its "
            "own machines: start the sweep there"
        )
    try:
        socket.create_connection((host, int(port)), _TIMEOUT).close()
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, str(error)) from None


def _no_cluster(address: str, why: str) -> InputError:
    return InputError(
        f"--address {address}: no Ray cluster answers there ({why}): start its head with ray start "
        "--head, or leave --address out to use this machine"
    )
