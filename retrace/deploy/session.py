"""A model file in ONNX Runtime, and the card in its metadata."""

import math
import os
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from retrace.deploy.card import Card, read_card
from retrace.errors import InputError

KEY = "retrace"  # of the metadata, where the card stands
LARGEST = 1 << 30  # bytes; EfficientNet-B7, the largest model that there is, has a quarter
REMEDY = "a model must be what the export stage wrote: run dvc repro export, or dvc pull"

onnxruntime.set_default_logger_severity(4)  # what is wrong with a file is said in one sentence
onnxruntime.disable_telemetry_events()


class Network(Protocol):
    """What answers: its card, and logits (n, classes) of a batch; several threads may ask."""

    card: Card

    def logits(self, X: NDArray[Any], features: NDArray[Any] | None) -> NDArray[np.float32]:
        """Of one batch of segments X (n, *card.shape) and the k features (n, k) beside them."""
        ...


class Session:
    """A model of the export stage on one thread of the CPU, and its card.

    Several threads may use it at a time.

    Raises InputError for a file that is missing, none of Retrace's, damaged, too large or too new.
    """

    card: Card

    def __init__(self, path: Path) -> None:
        self._path = path
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        # A model may refer to other files for its weights. Ours is whole: it finds none.
        options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", os.devnull
        )
        content = _content(path)
        try:  # without ONNX Runtime's own second attempt, which prints a banner
            self._session = onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"], enable_fallback=0
            )
            text = self._session.get_modelmeta().custom_metadata_map.get(KEY)
            self._inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
            self._outputs = [one.name for one in outputs]
        except Exception:  # ONNX Runtime's errors have no other base
            raise InputError(f"{path}: no readable ONNX model, or damaged; {REMEDY}") from None
        self.card = read_card(str(path), text, REMEDY)
        self._check()

    def _check(self) -> None:
        """Refuse a network whose inputs or output are not what its card says."""
        wanted = {"segments": list(self.card.shape)}
        if self.card.features:
            wanted["features"] = [len(self.card.features)]
        found = {one.name: one.shape[1:] for one in self._inputs}
        floats = all(one.type == "tensor(float)" for one in self._inputs)
        if found != wanted or not floats or self._outputs != ["logits"]:
            raise InputError(
                f"{self._path}: takes {found}, but by its metadata {wanted}, to answer with "
                f"logits; {REMEDY}"
            )

    def logits(self, X: NDArray[Any], features: NDArray[Any] | None) -> NDArray[np.float32]:
        """Of one batch of segments (n, ...) and what the card names beside them: (n, classes)."""
        given = {"segments": np.asarray(X, np.float32)}
        if self.card.features and features is not None:
            given["features"] = np.asarray(features, np.float32)
        try:
            (logits,) = self._session.run(["logits"], given)
        except Exception:
            logits = None
        shape = (len(X), len(self.card.classes))
        if logits is None or logits.shape != shape or not math.isfinite(logits.sum()):
            raise InputError(
                f"{self._path}: gives no {shape[1]} finite logits, one for each class; {REMEDY}"
            )
        return np.asarray(logits, np.float32)


def _content(path: Path) -> bytes:
    reason = "no ordinary file" if path.exists() else "no such file"
    try:
        if path.is_file():  # a pipe would be waited for
            if path.stat().st_size <= LARGEST:
                return path.read_bytes()
            reason = f"larger than {LARGEST >> 30} GB, as no model of Retrace is"
    except OSError as error:
        reason = str(error.strerror)
    raise InputError(
        f"{path}: {reason}; a model is a file that the export stage wrote: run dvc pull, or name "
        "another with --model"
    )
