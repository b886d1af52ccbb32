"""Training a model, from segments on disk to a checkpoint with its calibration."""

import hashlib
import json
from pathlib import Path

import torch

from retrace.learning import checkpoint
from retrace.learning.classifier import Network
from retrace.learning.data import Segments
from retrace.learning.fitting import fit_estimator
from retrace.learning.networks import fit_network
from retrace.learning.outcome import Folders, keep
from retrace.learning.oversampling import METHODS, enlarged
from retrace.learning.tracking import DvcLiveCurves, History, ResumePoint
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


def train(
    params: Params, segments: Segments, domain: SignalDomain, folders: Folders, key: str
) -> History:
    """Train, keep the best epoch, fit temperature and thresholds on validation, write it all.

    Broken off at any moment and called again, it ends with the same bytes (on one machine, with
    the same `threads`): a network goes on after its last finished epoch, an estimator begins anew.
    """
    torch.set_num_threads(params.threads)
    torch.manual_seed(params.seed)
    run, settings = folders.runs / key, params.train
    shape, n_features = tuple(segments.X.shape[1:]), segments.features.shape[1]
    model = checkpoint.build(
        params.model.name, shape, len(segments.classes), params.model_options, n_features
    )
    stop = settings.early_stopping
    history = History(run / "resume", f"val_{settings.score}", stop.patience, stop.min_delta)
    curves = DvcLiveCurves(folders.curves, history)
    resume = ResumePoint(run / "resume", history)
    shown = segments
    if settings.imbalance in METHODS:
        shown = enlarged(segments, settings.imbalance, params.seed)
    writes = True
    if isinstance(model, Network):
        model.fit(segments)
        writes = fit_network(params, model, shown, history, curves, resume)
    else:
        fit_estimator(params, model, shown, history)
    if writes:
        curves.close()
        keep(params, model, segments, domain, history, folders, run)
        resume.remove()
    return history
