"""Ray, for the time of a sweep: of this machine alone, or a cluster that stands elsewhere."""

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from retrace.cluster import join
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
    quiet: dict[str, Any] = {"logging_level": logging.CRITICAL}
    # As Ray's own; not TMPDIR, since a socket's path has 107 characters at most.
    temporary = tempfile.mkdtemp(prefix="retrace-", dir="/tmp")
    try:
        if address:
            names = [name for name in os.environ if name.startswith(PASSED_ON)]
            passed = {name: os.environ[name] for name in names} | SETTINGS
            context = join(ray, "--address", address, passed, **quiet)
        else:
            context = ray.init(
                num_gpus=None if gpus else 0,
                include_dashboard=_dashboard(),
                dashboard_host="127.0.0.1",
                object_store_memory=_STORE,
                _temp_dir=temporary,
                _plasma_directory=temporary,  # containers have 64 MB in /dev/shm
                log_to_driver=False,
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
