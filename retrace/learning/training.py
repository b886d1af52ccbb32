"""Training a model, from segments on disk to a checkpoint with its calibration."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import torch

from retrace.learning import checkpoint
from retrace.learning.checkpoint import Model
from retrace.learning.classifier import Network
from retrace.learning.data import Segments
from retrace.learning.engine import Callback
from retrace.learning.fitting import fit_estimator
from retrace.learning.networks import fit_network
from retrace.learning.outcome import Folders, keep
from retrace.learning.oversampling import METHODS, enlarged
from retrace.learning.progress import EpochTable
from retrace.learning.tracking import DvcLiveCurves, History, Listener, Telling
from retrace.params import Params
from retrace.signals.domain import SignalDomain


def run_key(params: Params, inputs: list[Path]) -> str:
    """A name for "this training": a hash of its params and of the bytes of its inputs.

    inputs: data files and source files. A resume point is only ever used by the training that
    would write the same one.
    """
    digest = hashlib.sha256(json.dumps(params.model_dump(), sort_keys=True).encode())
    digest.update(str(torch.__version__).encode())
    for path in inputs:
        digest.update(path.name.encode())
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:16]


def history_of(params: Params, folder: Path) -> History:
    """The history of a training that begins; folder: of its resume point."""
    stop = params.train.early_stopping
    return History(folder, f"val_{params.train.score}", stop.patience, stop.min_delta)


def fit(
    params: Params,
    segments: Segments,
    history: History,
    listener: Listener | None = None,
    watching: Sequence[Callback] = (),
) -> tuple[Model, bool]:
    """Train a model on the training part and give it its best epoch by the validation part.

    Broken off at any moment and called again with a new history of the same folder, it ends with
    the same model (on one machine, with the same `threads`): a network goes on after its last
    finished epoch, an estimator begins anew. listener: is told of each epoch as it ends; of an
    estimator's rounds when all have ended. watching: what else looks on while a network is trained.

    Returns the model, and whether this process is the one that writes.
    """
    torch.set_num_threads(params.threads)
    torch.manual_seed(params.seed)
    shape, n_features = tuple(segments.X.shape[1:]), segments.features.shape[1]
    model = checkpoint.build(
        params.model.name, shape, len(segments.classes), params.model_options, n_features
    )
    shown, method = segments, params.train.imbalance
    if method in METHODS:
        shown = enlarged(segments, method, params.seed)
    if isinstance(model, Network):
        model.fit(segments)
        watchers = [*watching, *([Telling(history, listener)] if listener else [])]
        return model, fit_network(params, model, shown, history, watchers)
    fit_estimator(params, model, shown, history)
    if listener:
        history.tell(listener)
    return model, True


def train(
    params: Params,
    segments: Segments,
    domain: SignalDomain,
    folders: Folders,
    key: str,
    listener: Listener | None = None,
) -> History:
    """Train, keep the best epoch, fit temperature and thresholds on validation, write it all.

    Broken off at any moment and called again, it ends with the same bytes: see `fit`, which also
    says what a listener is told.
    """
    run = folders.runs / key
    history = history_of(params, run / "resume")
    curves = DvcLiveCurves(folders.curves, history)
    watching = [curves, EpochTable(history)]
    model, writes = fit(params, segments, history, listener, watching)
    if writes:
        curves.close()
        keep(params, model, segments, domain, history, folders, run)
        history.forget()  # it is kept elsewhere now
    return history
