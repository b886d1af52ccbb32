"""Where MLflow keeps runs: a server, or a database in a file."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

EXPERIMENT = "retrace"  # unless MLFLOW_EXPERIMENT_NAME says another
# Of MLflow itself: with its own seven retries, a server that is down holds a training for minutes.
SETTINGS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",  # seconds
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT": "60",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_CONFIGURE_LOGGING": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "DO_NOT_TRACK": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}


def connected(uri: str, home: Path) -> tuple["MlflowClient", str]:
    """A client, and the id of the experiment in which runs are kept."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    store = resolved(uri, home)
    client = MlflowClient(store)
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
    if found := client.get_experiment_by_name(name):
        return client, found.experiment_id
    beside = None  # where the server keeps what runs leave
    if store.startswith("sqlite:///"):
        beside = (Path(store.removeprefix("sqlite:///")).parent / "artifacts").as_uri()
    try:
        return client, client.create_experiment(name, beside)
    except MlflowException:
        if found := client.get_experiment_by_name(name):  # another training was faster
            return client, found.experiment_id
        raise


def resolved(uri: str, home: Path) -> str:
    """The same for every working folder: a relative sqlite:///FILE lies in `home`."""
    if not uri.startswith("sqlite:///"):
        return uri
    path = home / uri.removeprefix("sqlite:///")
    path.parent.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{path}"
