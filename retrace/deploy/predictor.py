"""A published model at work: from a recording to probabilities, without PyTorch."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrace.deploy.answers import Answer
from retrace.deploy.hours import Part, parts
from retrace.deploy.inputs import Ready, Recording
from retrace.deploy.plausible import check_readable, check_ready, unanswered
from retrace.deploy.session import Network, Session
from retrace.errors import InputError
from retrace.scoring.scores import aggregate
from retrace.signals import quality
from retrace.signals.apply import choose_leads, prepare
from retrace.signals.plan import BEAT_FEATURES
from retrace.signals.records import Record
from retrace.signals.rpeaks import LOWEST_FS, REFRACTORY, detect

BATCH, NUMBERS = 64, 1 << 15  # segments at a time; of large ones fewer, with so many numbers
THREADS = 2  # each holds an hour, which takes up to 100 MB
NO_INTERVAL = "there is no interval to another beat"

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class _Found:
    """What the model says of a part, and of what it can say nothing; in samples of the whole."""

    samples: Integers
    probabilities: Floats
    peaks: Integers
    left_out: list[tuple[int, str]]
    quality: list[tuple[float, str]]

    def since(self, begin: int, unit: str) -> "_Found":
        """Without the peaks, and their beats, that lie before the sample `begin`."""
        if unit == "window":
            return replace(self, peaks=self.peaks[self.peaks >= begin])
        kept = self.samples >= begin
        return replace(
            self,
            samples=self.samples[kept],
            probabilities=self.probabilities[kept],
            peaks=self.peaks[self.peaks >= begin],
            left_out=[row for row in self.left_out if row[0] >= begin],
        )


class Predictor:
    """A model file of the export stage, ready to answer.

    model: the .onnx file, or what answers in its place, such as a server that has it. threads: so
    many parts of a long recording are answered at a time; the answer is the same for any number.

    Attributes:
        card: what the model takes and answers.

    Raises:
        InputError: the file is none of Retrace's, damaged, too large or too new.
    """

    def __init__(self, model: Path | Network, threads: int = THREADS) -> None:
        self._threads = threads
        self._session = Session(model) if isinstance(model, Path) else model
        self.card = self._session.card
        self._columns = [BEAT_FEATURES.index(name) for name in self.card.features]
        self._batch = max(1, min(BATCH, NUMBERS // prod(self.card.shape)))

    def probabilities(self, X: NDArray[Any], features: NDArray[Any] | None = None) -> Floats:
        """Calibrated probabilities (n, classes) of segments X (n, *card.shape).

        features: (n, k), where the card names k of them.
        """
        found = np.empty((len(X), len(self.card.classes)))
        for start in range(0, len(X), self._batch):
            rows = slice(start, start + self._batch)
            beside = None if features is None else features[rows]
            found[rows] = self._session.logits(X[rows], beside)
        return _softmax(found, self.card.temperature)

    def answer(
        self,
        recording: Recording,
        *,
        lead: str | None = None,
        detect: bool = False,
        progress: Callable[[float], None] | None = None,
    ) -> Answer:
        """The answer for a recording: that of the stages, if it is no longer than an hour.

        A longer one is answered in parts of at most an hour, so that memory is bounded; see
        `hours`. lead: the one that stands for the model's. detect: look for beats even where they
        are annotated. progress: called with the share that is done.

        Raises InputError for a recording that the model cannot take, or of which no segment can be
        answered.
        """
        if self.card.cut:
            raise InputError(
                f"{recording.name}: a recording; the model was trained on beats that their "
                "publisher had cut and scaled to 0 ... 1: give it such beats (.npy), or choose a "
                "model that was trained on recordings"
            )
        rows = choose_leads(recording.name, recording.leads, self.card.domain, lead)
        marks = None if detect or recording.beats is None else recording.beats
        marks = marks if marks is not None and len(marks) else None
        found: list[_Found] = []
        for part, one in self._parts(recording, rows, marks):
            if marks is None and found and len(found[-1].peaks):
                # Two parts see a beat at their seam, and may put its peak a little apart.
                last = int(found[-1].peaks[-1])
                one = one.since(last + round(REFRACTORY * recording.fs), self.card.unit)
            found.append(one)
            if progress:
                progress(part.stop / recording.samples)
        answer = self._joined(recording, found, marks, rows)
        check_readable(answer)
        return answer

    def answer_ready(self, ready: Ready) -> Answer:
        """The answer for segments that are cut, scaled and transformed already.

        Their samples are their numbers. Raises InputError for another shape than the model's, for
        values that its domain cannot have, and where features that it asks for are not given.
        """
        check_ready(ready, self.card)
        domain, count = self.card.domain, len(ready.X)
        return Answer(
            name=ready.name,
            fs=domain.fs,
            seconds=count * domain.window,
            unit=self.card.unit,
            samples=np.arange(count),
            span=domain.window,
            classes=self.card.classes,
            probabilities=self.probabilities(ready.X, ready.features),
            together=None,
            peaks=np.empty(0, np.int64),
            peaks_from="nobody",
        )

    def _parts(
        self, recording: Recording, rows: tuple[int, ...], marks: Integers | None
    ) -> Iterator[tuple[Part, _Found]]:
        """The parts of a recording in order, as many at a time as there are threads."""
        ahead: deque[tuple[Part, Future[_Found]]] = deque()
        with ThreadPoolExecutor(self._threads) as pool:
            for part in parts(recording.samples, recording.fs, self.card.domain, self.card.hop):
                # Files are read in this thread alone, so that readers need no locks.
                signal = recording.read(part.first, part.last, rows)
                if self._threads == 1:
                    yield part, self._part(recording, part, signal, marks)
                    continue
                ahead.append((part, pool.submit(self._part, recording, part, signal, marks)))
                if len(ahead) > self._threads:
                    first, found = ahead.popleft()
                    yield first, found.result()
            yield from ((part, found.result()) for part, found in ahead)

    def _part(
        self, recording: Recording, part: Part, signal: NDArray[np.float32], marks: Integers | None
    ) -> _Found:
        card, fs = self.card, recording.fs
        names = tuple(lead.split("|")[0] for lead in card.domain.leads or ("",))
        given = None
        if marks is not None:
            given = marks[(marks >= part.first) & (marks < part.last)] - part.first
        record = Record(recording.name, fs, names, signal)
        prepared = prepare(record, card.domain, hop=card.hop, short=card.short, peaks=given)
        peaks = prepared.peaks
        if card.unit == "window":  # it needs none, but whoever reads the answer does
            peaks = _peaks(prepared.record) if given is None else given

        first, stop = part.start, part.stop
        if given is None:
            first -= round(REFRACTORY * fs)
        peaks = peaks + part.first
        peaks = peaks[(peaks >= first) & (peaks < stop)]
        if card.unit == "window":  # its place is rounded, and the next one is far
            first, stop = part.start - 1, part.stop - 1
        samples, features = prepared.samples + part.first, prepared.features[:, self._columns]
        told = np.isfinite(features).all(axis=1)
        answered = (samples >= first) & (samples < stop) & told
        left_out = [(part.first + sample, why) for sample, why in prepared.left_out]
        left_out += [(sample, NO_INTERVAL) for sample in samples[~told].tolist()]
        return _Found(
            samples[answered],
            self.probabilities(prepared.X[answered], features[answered]),
            peaks,
            sorted((sample, why) for sample, why in left_out if first <= sample < stop),
            _quality(signal[:, part.start - part.first : part.stop - part.first], fs, part.start),
        )

    def _joined(
        self,
        recording: Recording,
        found: list[_Found],
        marks: Integers | None,
        rows: tuple[int, ...],
    ) -> Answer:
        left_out = tuple(row for one in found for row in one.left_out)
        peaks = np.concatenate([one.peaks for one in found])
        probabilities = np.concatenate([one.probabilities for one in found])
        if not len(probabilities):
            raise unanswered(recording, self.card, {why for _, why in left_out})
        together = None
        if self.card.aggregate != "none":
            names = [recording.name] * len(probabilities)
            together = aggregate(names, probabilities, self.card.aggregate)[1][0]
        looked = self.card.unit == "beat" or recording.fs > LOWEST_FS
        return Answer(
            name=recording.name,
            fs=recording.fs,
            seconds=recording.samples / recording.fs,
            unit=self.card.unit,
            samples=np.concatenate([one.samples for one in found]),
            span=self.card.domain.window,
            classes=self.card.classes,
            probabilities=probabilities,
            together=together,
            peaks=peaks,
            peaks_from="annotations" if marks is not None else "detector" if looked else "nobody",
            left_out=left_out,
            quality=tuple(row for one in found for row in one.quality),
            leads=tuple(recording.leads[row] for row in rows),
        )


def _softmax(logits: Floats, temperature: float) -> Floats:
    """As `calibration.softmax`, in a third of its time, and in place: of a beat it is a quarter."""
    logits /= temperature
    logits -= logits.max(axis=1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=1, keepdims=True)
    return logits


def _peaks(record: Record) -> Integers:
    """The R peaks of the first lead; none where its rate is too low to show them."""
    if record.fs <= LOWEST_FS:
        return np.empty(0, np.int64)
    return detect(record.signal[0], record.fs)


def _quality(signal: NDArray[np.float32], fs: float, start: int) -> list[tuple[float, str]]:
    """The quality of a signal that begins at the sample `start` of its recording."""
    if fs < quality.LOWEST_FS:
        return []
    return [(start / fs + second, word) for second, word in quality.quality(signal, fs)]
