"""A training as a run of MLflow's."""

import getpass
import hashlib
import os
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from retrace.learning.mlflow_store import connected, resolved
from retrace.learning.tracking import Row

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

BATCH, LONGEST = 100, 500  # params in a request, and characters of a value, that each server takes


class MlflowRun:
    """One `trackers.Run`.

    uri: a server's, or sqlite:///FILE; a relative file is in `home`, and what runs leave lies in
    the folder artifacts beside it. key or weights: whose run it is. A run of this key (and parent)
    that has not finished goes on; so does the newest with these weights, finished or not.
    """

    variable = "MLFLOW_TRACKING_URI"
    remedy = "start the server (make mlflow starts one here)"

    def __init__(
        self,
        uri: str,
        home: Path,
        name: str,
        params: Mapping[str, object],
        *,
        key: str = "",
        weights: str = "",
        data: Sequence[Path] = (),
        parent: str | None = None,
    ) -> None:
        self.where = f"MLflow at {uri}"
        self._id = ""
        self._uri, self._home, self._name, self._params = uri, home, name, params
        self._own = {"retrace.key": key} if key else {"retrace.weights": weights}
        self._data, self._parent = data, parent
        self._since = 0  # the last epoch that an earlier training told
        self._ended = False
        self._client: MlflowClient
        self._experiment = ""

    @property
    def id(self) -> str | None:
        """Of the run, once it has begun."""
        return self._id or None

    def begin(self) -> None:
        self._client, self._experiment = connected(self._uri, self._home)
        found = self._found()
        if found is None:
            self._start()
            return
        self._id = found.info.run_id
        self._ended = found.info.status == "FINISHED"
        if not self._ended:
            self._client.update_run(self._id, "RUNNING")
            if "retrace.failed" in found.data.tags:
                self._client.delete_tag(self._id, "retrace.failed")
            told = self._client.get_metric_history(self._id, "train_loss")
            self._since = max((metric.step for metric in told), default=0)

    def epoch(self, number: int, row: Row) -> None:
        if number > self._since:
            self._log(row, number)

    def result(self, values: Mapping[str, float], tags: Mapping[str, str]) -> None:
        self._log(values, 0)
        for name, value in tags.items():
            self._client.set_tag(self._id, name, value)

    def artifact(self, path: Path, folder: str) -> None:
        log = self._client.log_artifacts if path.is_dir() else self._client.log_artifact
        log(self._id, str(path), folder or None)

    def model(self, onnx: Path, example: Mapping[str, NDArray[np.float32]]) -> None:
        """As mlflow.onnx and mlflow.pyfunc load it; inputs and outputs are those of the graph."""
        import mlflow
        import onnx as library
        import onnxruntime
        from mlflow.models import ModelSignature
        from mlflow.types import Schema, TensorSpec

        def schema(values: Any) -> Schema:
            specs: list[Any] = []
            for value in values:
                tensor = value.type.tensor_type
                shape = tuple(axis.dim_value or -1 for axis in tensor.shape.dim)
                kind = library.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
                specs.append(TensorSpec(np.dtype(kind), shape, value.name))
            return Schema(specs)

        loaded = library.load(onnx)
        mlflow.set_tracking_uri(resolved(self._uri, self._home))
        mlflow.set_experiment(experiment_id=self._experiment)
        mlflow.onnx.log_model(
            loaded,
            name="model",
            run_id=self._id,
            signature=ModelSignature(schema(loaded.graph.input), schema(loaded.graph.output)),
            input_example=dict(example),
            pip_requirements=[
                f"{package.__name__}=={package.__version__}"
                for package in (library, onnxruntime, np)
            ],
            onnx_execution_providers=["CPUExecutionProvider"],  # as `retrace predict`
            save_as_external_data=False,
        )

    def end(self, status: Literal["FINISHED", "FAILED", "KILLED"], why: str) -> None:
        if why:
            self._client.set_tag(self._id, "retrace.failed", why[:LONGEST])
        if not self._ended:
            self._client.set_terminated(self._id, status)
        if self._own.get("retrace.key", "").startswith("sweep "):
            self._end_trials()

    def _end_trials(self) -> None:
        """Those that the scheduler stopped had no time to say so."""
        query = f"tags.`mlflow.parentRunId` = '{self._id}' and attributes.status = 'RUNNING'"
        while left := self._client.search_runs([self._experiment], query):
            for run in left:
                self._client.set_terminated(run.info.run_id, "KILLED")

    def _found(self) -> Any:
        ((name, value),) = self._own.items()
        query = f"tags.`{name}` = '{value}'"
        if name == "retrace.key":
            query += " and attributes.status != 'FINISHED'"
        runs = self._client.search_runs([self._experiment], query, order_by=["start_time DESC"])
        for run in runs:
            if run.data.tags.get("mlflow.parentRunId") == self._parent:
                return run
        return None

    def _start(self) -> None:
        from mlflow.entities import Dataset, DatasetInput

        tags = self._own | self._tags()
        run = self._client.create_run(self._experiment, run_name=self._name, tags=tags)
        self._id = run.info.run_id
        self._log_params()
        if (digest := tags.get("retrace.data")) and (name := self._params.get("dataset.name")):
            data = Dataset(str(name), digest[:16], "code", "dvc repro split")
            self._client.log_inputs(self._id, [DatasetInput(data)])

    def _tags(self) -> dict[str, str]:
        tags = {"mlflow.source.name": "retrace", "mlflow.source.type": "LOCAL"}
        if self._parent:
            tags["mlflow.parentRunId"] = self._parent
        if named := os.environ.get("DVC_EXP_NAME"):
            tags["retrace.dvc_experiment"] = named
        if self._data:
            hashes = "".join(sha256(path) for path in self._data)
            tags["retrace.data"] = hashlib.sha256(hashes.encode()).hexdigest()
        if commit := _git("rev-parse", "HEAD"):
            tags["mlflow.source.git.commit"] = commit
            tags["retrace.git_dirty"] = "yes" if _git("status", "--porcelain") else "no"
        with suppress(OSError, KeyError):  # a container's user has no name
            tags["mlflow.user"] = getpass.getuser()
        return tags

    def _log_params(self) -> None:
        from mlflow.entities import Param

        given = [
            Param(re.sub(r"[^\w\-./ ]", "_", key), str(value)[:LONGEST])
            for key, value in self._params.items()
        ]
        for start in range(0, len(given), BATCH):
            self._client.log_batch(self._id, params=given[start : start + BATCH])

    def _log(self, values: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(name, float(value), now, step) for name, value in values.items()]
        self._client.log_batch(self._id, metrics=metrics)


def sha256(path: Path) -> str:
    """Of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _git(*arguments: str) -> str:
    """What git says; nothing where there is no repository, or no git."""
    try:
        done = subprocess.run(
            ["git", *arguments], capture_output=True, text=True, check=False, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
