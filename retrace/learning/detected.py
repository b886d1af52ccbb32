"""What a trained model answers where nobody has marked the beats: at those that are detected."""

from collections.abc import Collection, Iterable
from typing import Any

import numpy as np

from retrace.learning.answers import BATCH, reference
from retrace.learning.checkpoint import Model, logits
from retrace.scoring.calibration import softmax
from retrace.scoring.ec57_recording import Recording
from retrace.scoring.matching import Beats
from retrace.signals.beats import cut_beats
from retrace.signals.domain import SignalDomain
from retrace.signals.plan import BEAT_FEATURES
from retrace.signals.records import Record
from retrace.signals.rpeaks import detect


def detected(
    model: Model,
    config: dict[str, Any],
    domain: SignalDomain,
    records: Iterable[Record],
    wanted: Collection[str],
) -> list[Recording]:
    """The wanted recordings with the model's answers at the peaks of `rpeaks.detect`.

    config: the checkpoint's. domain: of the beats it was trained on. records: filtered, with their
    annotations, which are the reference alone. A beat whose window would reach over an end of the
    recording gets no answer, and counts as missed. So do all beats of a recording with but one: it
    has no interval.
    """
    assert domain.beat is not None
    columns = [BEAT_FEATURES.index(name) for name in config["model"].get("features", [])]
    found = []
    for record in records:
        if record.record_id not in wanted:
            continue
        peaks = detect(record.signal[0], record.fs)
        cut = cut_beats(
            record.signal,
            record.fs,
            peaks if len(peaks) > 1 else peaks[:0],
            rate=domain.fs,
            samples=domain.samples,
            window=domain.beat,
            normalise=domain.normalise,
        )
        probabilities = np.empty((0, len(config["classes"])))
        if len(cut.rows):
            features = cut.features[:, columns].astype(np.float32)
            out = logits(model, cut.windows, features, np.arange(len(cut.rows)), BATCH)
            probabilities = softmax(out, config["temperature"])
        letters = tuple(config["classes"][number] for number in probabilities.argmax(axis=1))
        found.append(
            Recording(
                record.record_id,
                record.patient_id,
                record.age,
                record.sex,
                record.fs,
                reference=reference(record),
                test=Beats(peaks[cut.rows], letters),
                probabilities=probabilities,
            )
        )
    return found
