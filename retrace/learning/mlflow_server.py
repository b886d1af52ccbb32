"""`make mlflow`: MLflow's server for this machine alone; what it keeps lies below runs/mlflow."""

import os
import socket
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from retrace.errors import InputError, reported
from retrace.learning.mlflow_store import SETTINGS

HOST, FOLDER = "127.0.0.1", Path("runs/mlflow")


def serve(port: str) -> None:
    """Become the server; InputError where the port is none, or taken, or MLflow is missing."""
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 2**16):
        raise InputError(f"PORT: expected a number from 1 to 65535; got {port!r}: make mlflow")
    if find_spec("mlflow") is None:
        raise InputError("MLflow is not installed: run pip install 'retrace[tracking]'")
    address = f"http://{HOST}:{port}"
    if why := _taken(int(port)):
        raise InputError(
            f"port {port} of {HOST} cannot be used ({why}); a server may run there already: open "
            f"{address}, or choose another: make mlflow PORT=5050"
        )
    FOLDER.mkdir(parents=True, exist_ok=True)
    folder = FOLDER.resolve()
    print(f"In the terminal in which you train:\n\n  export MLFLOW_TRACKING_URI={address}\n")
    print(f"Then open {address}/#/experiments/1?workflowType=machine_learning")
    print(f"Runs are kept in {FOLDER}; Ctrl-C ends the server.", flush=True)
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", port]
    command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    # Its job runner is for evaluations of language models.
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_LOGGING_LEVEL": "WARNING"}
    os.execve(sys.executable, command, os.environ | SETTINGS | quiet)


def _taken(port: int) -> str:
    """Why no server can be started there, empty where one can."""
    with socket.socket() as client, suppress(OSError):
        client.settimeout(1)
        client.connect((HOST, port))  # some systems let two listen at one port
        return "it answers"
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            return str(error.strerror)
    return ""


if __name__ == "__main__":
    with reported(status=2):
        serve(sys.argv[1])
