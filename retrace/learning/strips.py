"""The strips on the page of examples: what the model saw, and around a beat its neighbours."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from retrace.files import NpyReader, read_csv
from retrace.learning.answers import Answers
from retrace.learning.data import Segments
from retrace.scoring.examples import Example, choose
from retrace.signals.domain import SignalDomain
from retrace.signals.records import Record

AROUND = 1.5  # s before and behind a beat: whether it is early shows beside its neighbours alone


def examples(
    answers: Answers,
    segments: Segments,
    domain: SignalDomain,
    *,
    waveforms: Path,
    scalograms: Path,
    records: Iterable[Record],
) -> list[Example]:
    """For each class a typical right answer and the surest wrong one, with what was seen.

    waveforms, scalograms: the folders that the stages wrote; a model that takes waveforms has no
    scalograms to show. Of a record with several windows the first is shown, of a beat the seconds
    of its recording around it (`records`, filtered), if it was not cut by its publisher.
    """
    chosen = choose(answers.y, answers.probabilities, len(answers.classes))
    peaks = {index: segments.samples[int(answers.rows[index])] for index in chosen}
    owners = {answers.record_ids[index] for index in chosen if peaks[index] is not None}
    read = records if owners else ()
    whole = {record.record_id: record for record in read if record.record_id in owners}
    hertz = np.array([float(row["frequency"]) for row in read_csv(scalograms / "frequencies.csv")])
    X, images = NpyReader(waveforms / "X.npy"), NpyReader(scalograms / "X.npy")
    shown = []
    for index in chosen:
        row, p, peak = int(answers.rows[index]), answers.probabilities[index], peaks[index]
        said = {
            "actual": answers.classes[answers.y[index]],
            "predicted": answers.classes[int(p.argmax())],
            "probability": float(p.max()),
        }
        if peak is not None:
            record = whole[answers.record_ids[index]]
            shown.append(_around(record, peak, segments.starts[row], domain.window, **said))
            continue
        shown.append(
            Example(
                record_id=answers.record_ids[index],
                waveform=X.rows(row, row + 1)[0],
                fs=domain.fs,
                scalogram=images.rows(row, row + 1)[0, 0].astype(np.float64)
                if len(hertz)
                else None,
                frequencies=hertz if len(hertz) else None,
                scaled=answers.unit == "beat" or domain.normalise != "none",
                **said,
            )
        )
    return shown


def _around(record: Record, peak: int, start: float, window: float, **said: Any) -> Example:
    """The seconds around the beat whose R peak is at sample `peak`; from `start`, s, the model saw
    the `window`, s."""
    reach = round(AROUND * record.fs)
    first = max(0, peak - reach)
    return Example(
        record_id=f"{record.record_id} at {_clock(peak / record.fs)}",
        waveform=record.signal[:, first : peak + reach],
        fs=record.fs,
        scalogram=None,
        frequencies=None,
        seen=(start - first / record.fs, start - first / record.fs + window),
        **said,
    )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds, 1), 60)
    return f"{int(minutes)}:{rest:04.1f}"
