"""MLflow and TensorBoard, told of a training as it goes on where the environment asks for them.

MLFLOW_TRACKING_URI: a server of MLflow's, or sqlite:///FILE. RETRACE_TENSORBOARD: a folder. No
param asks for them, since they change nothing that a stage writes. What a tracker cannot take is
lost to that tracker alone: it is not asked again, the training goes on, and a sentence at the end
says so.
"""

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from retrace.learning.mlflow_runs import MlflowRun, sha256
from retrace.learning.tensorboard_runs import TensorBoardRun
from retrace.learning.tracking import Row
from retrace.params import Params

Status = Literal["FINISHED", "FAILED", "KILLED"]


class Run(Protocol):
    """What one tracker knows of a training; each method may raise anything."""

    where: str  # the tracker, as a sentence names it
    variable: str  # of the environment, that asks for it
    remedy: str  # what makes it answer next time

    @property
    def id(self) -> str | None: ...

    def begin(self) -> None: ...

    def epoch(self, number: int, row: Row) -> None: ...

    def result(self, values: Mapping[str, float], tags: Mapping[str, str]) -> None: ...

    def artifact(self, path: Path, folder: str) -> None: ...

    def model(self, onnx: Path, example: Mapping[str, NDArray[np.float32]]) -> None: ...

    def end(self, status: Status, why: str) -> None: ...


class Tracker:
    """A training (or a sweep) that the trackers asked for are told of; none of it ever raises.

    It begins with its first epoch, or with `failed`; before that nothing is told. So the processes
    of a training on several devices that hear of no epoch, all but the first, leave no run.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        self._runs = list(runs)
        self._epochs = 0
        self._begun = False
        self._why = ""
        self._missed: list[str] = []

    @property
    def id(self) -> str | None:
        """The id of its MLflow run; None before its first epoch, or where MLflow has none."""
        return next((run.id for run in self._runs if run.id), None)

    @property
    def begun(self) -> bool:
        """Whether a tracker listens and has been told of an epoch."""
        return self._begun and bool(self._runs)

    @property
    def missed(self) -> list[str]:
        """A sentence for each tracker that was not told all of it: what it lacks, what to do."""
        return list(self._missed)

    def begin(self) -> None:
        """Begin now, and not with the first epoch."""
        if not self._begun:
            self._begun = True
            self._tell(lambda run: run.begin())

    def epoch(self, number: int, row: Row) -> None:
        """A `tracking.Listener`. Epochs that a run has from before a break are not told twice."""
        self.begin()
        self._tell(lambda run: run.epoch(number, row))
        self._epochs = number

    def result(self, values: Mapping[str, float], tags: Mapping[str, str] | None = None) -> None:
        """Scores of the whole run, and what to find it by."""
        if self._begun:
            self._tell(lambda run: run.result(values, tags or {}))

    def artifact(self, path: Path, folder: str = "") -> None:
        """A file, or a folder with all in it, into a folder of the run; TensorBoard: PNGs alone."""
        if self._begun:
            self._tell(lambda run: run.artifact(path, folder))

    def drawn(self, draw: Callable[[Path], object], folder: str = "") -> None:
        """What `draw` writes into an empty folder; what it raises is a tracker's failure."""

        def told(run: Run) -> None:
            with TemporaryDirectory() as made:
                draw(Path(made))
                run.artifact(Path(made), folder)

        if self._begun:
            self._tell(told)

    def model(self, onnx: Path, example: Mapping[str, NDArray[np.float32]]) -> None:
        """The model that others load, with its signature. example: by name of its inputs."""
        if self._begun:
            self._tell(lambda run: run.model(onnx, example))

    def failed(self, sentence: str) -> None:
        """It ends without a result, and why. Begins the run if no epoch did."""
        self.begin()
        self._why = sentence

    def end(self, status: Status) -> None:
        """Nothing more will be told."""
        if self._begun:
            status = "FAILED" if self._why else status
            self._tell(lambda run: run.end(status, self._why))

    def _tell(self, act: Callable[[Run], None]) -> None:
        for run in list(self._runs):
            try:
                act(run)
            except Exception as error:  # whatever a tracker does, the training goes on
                self._runs.remove(run)
                self._missed.append(_sentence(run, error, self._epochs))


@contextmanager
def tracked(
    params: Params,
    key: str,
    *,
    data: Sequence[Path] = (),
    parent: str | None = None,
    name: str | None = None,
) -> Iterator[Tracker]:
    """A training: `with tracked(params, key) as tracker: fit(..., listener=tracker.epoch)`.

    key: of `run_key`; a run of that key that was broken off goes on. data: the files of whose
    SHA-256 the tag retrace.data is the SHA-256. name: of a trial of a sweep, "SWEEP/trial_007",
    also its folder in TensorBoard's; then `parent` is the `id` of that sweep, and where it is None
    (the sweep is not in MLflow) the trial is not either. A trial prints nothing of what was missed:
    the sweep does, from `missed`. Not named: a run of its own, with the DVC experiment's name. An
    exception inside ends the run as failed with its sentence, and goes through.
    """
    title = name or run_name(params, key)
    runs: list[Run] = []
    if (uri := os.environ.get(MlflowRun.variable)) and (parent or not name):
        given = flattened(params)
        runs.append(MlflowRun(uri, home(), title, given, key=key, data=data, parent=parent))
    if folder := os.environ.get(TensorBoardRun.variable):
        runs.append(TensorBoardRun(home() / folder / title, flattened(params)))
    with _ending(Tracker(runs), loud=not name) as tracker:
        yield tracker


@contextmanager
def sweep_started(name: str, params: Mapping[str, object]) -> Iterator[Tracker]:
    """A sweep, which begins at once: in MLflow the parent of its trials' runs (`tracker.id`).

    params: its space and settings, by name, any values. At the end `result` takes the best trial's
    scores (tags: its values), `artifact` table and plots; trials that the scheduler ended with no
    time to say so are ended. A sweep that was broken off goes on in the run of its name.
    """
    uri = os.environ.get(MlflowRun.variable)
    runs = [MlflowRun(uri, home(), name, params, key=f"sweep {name}")] if uri else []
    with _ending(Tracker(runs), loud=True) as tracker:
        tracker.begin()
        yield tracker


@contextmanager
def of_weights(params: Params, weights: Path) -> Iterator[Tracker]:
    """The MLflow run in which a checkpoint's weights were trained, for what later stages find.

    It is found by its tag retrace.weights; where the training was not tracked, a run begins that
    has the same tags.
    """
    uri = os.environ.get(MlflowRun.variable)
    runs: list[Run] = []
    if uri:
        title = run_name(params, digest := sha256(weights))
        runs.append(MlflowRun(uri, home(), title, flattened(params), weights=digest))
    with _ending(Tracker(runs), loud=True) as tracker:
        tracker.begin()
        yield tracker


@contextmanager
def _ending(tracker: Tracker, loud: bool) -> Iterator[Tracker]:
    status: Status = "KILLED"
    try:
        yield tracker
        status = "FINISHED"
    except Exception as error:
        if tracker.begun:
            tracker.failed(str(error))
        raise
    finally:
        tracker.end(status)
        if loud:
            for sentence in tracker.missed:
                print(f"warning: {sentence}", file=sys.stderr)


def home() -> Path:
    """The user's own repository.

    DVC runs a queued or `--temp` experiment in a copy that vanishes, and tells the stage of the
    repository that it was copied from by DVC_ROOT.
    """
    return Path(os.environ.get("DVC_ROOT") or Path.cwd())


def run_name(params: Params, key: str) -> str:
    """That of the DVC experiment, where the training is one; else what was trained on what."""
    named = os.environ.get("DVC_EXP_NAME")
    return named or f"{params.dataset.name}_{params.model.name}_{key[:8]}"


def flattened(params: Params) -> dict[str, object]:
    """params.yaml by dotted key, without the sections of data sets and models not chosen."""
    values = params.model_dump()
    values["datasets"] = {params.dataset.name: params.dataset_options}
    values["models"] = {params.model.name: params.model_options}
    return dict(_leaves(values, ""))


def _leaves(values: Mapping[str, object], above: str) -> Iterator[tuple[str, object]]:
    for key, value in values.items():
        # A map from labels to classes is one value: "~" and "|" are no names to a tracker.
        if isinstance(value, dict) and key != "labels":
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", "null" if value is None else value


def _sentence(run: Run, error: Exception, epochs: int) -> str:
    told = f"the first {epochs} epochs alone" if epochs else "nothing"
    cause: BaseException = error
    while cause.__cause__ or cause.__context__:
        cause = cause.__cause__ or cause.__context__ or cause
    # Of a connection the last cause says it in a few words; of all else the error itself.
    named = cause if isinstance(cause, OSError) else error
    why = (str(named).strip() or type(named).__name__).splitlines()[0]
    absent = isinstance(cause, ImportError)
    remedy = "pip install 'retrace[tracking]'" if absent else run.remedy
    where, why = (re.sub(r"//[^/\s]*@", "//", text) for text in (run.where, why))  # no password
    return (
        f"{where} was told {told} of this ({why[:200]}); its result is whole all the same: "
        f"{remedy}, or unset {run.variable}"
    )
