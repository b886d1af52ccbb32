"""What is scored of beats beside the answers themselves: how the split was made, and EC57."""

from collections.abc import Iterable
from typing import Any

from retrace.learning.answers import Answers, annotated
from retrace.learning.checkpoint import Model
from retrace.learning.data import Segments
from retrace.learning.detected import detected
from retrace.learning.separation import separation
from retrace.scoring.beats import reports
from retrace.signals.domain import SignalDomain
from retrace.signals.records import Record


def beat_scores(
    answers: Answers,
    segments: Segments,
    model: Model,
    config: dict[str, Any],
    domain: SignalDomain,
    records: Iterable[Record],
    *,
    method: str,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """The sections "split" and "ec57" of scores.json.

    config: the checkpoint's. domain: of the segments. records: filtered, with their annotations.
    method: split.method of params.yaml. Beats are detected where the test part has whole recordings
    and the model takes them as they are cut.
    """
    split = separation(segments, method)
    at_marks = annotated(answers, segments, records, whole=split.whole)
    plain = config["domain"]["representation"] is None
    at_peaks = (
        detected(model, config, domain, records, {one.record_id for one in at_marks})
        if at_marks and split.whole and plain
        else []
    )
    notes = [split.note] if split.stamp else []
    if not split.whole:
        notes.append("The reference is the beats of the test part, with those of paced records.")
    ec57 = reports(
        at_marks,
        at_peaks,
        classes=config["classes"],
        with_paced=not split.whole,
        apart=split.apart,
        notes=notes,
        resamples=resamples,
        seed=seed,
    )
    return {"split": split.to_dict(), "ec57": ec57}
