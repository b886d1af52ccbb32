"""Uploaded recordings whose annotations say what is true, answered by a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from retrace.deploy.answers import Answer
from retrace.deploy.inputs import Recording as Found
from retrace.deploy.predictor import Predictor
from retrace.errors import InputError
from retrace.service import labels, recordings
from retrace.service.mitbih import DATASETS, Patients
from retrace.service.problems import Problem
from retrace.service.tables import Recording
from retrace.service.truths import WHOLE, Classes, Labelled, Places, Told, kept_out, unit
from retrace.signals.apply import choose_leads

if TYPE_CHECKING:
    from retrace.service.state import Service

# What PhysioNet's rhythms are to models of windows; any other one is Other.
RHYTHMS = {"(N": "NSR", "(AFIB": "AF"}
PAGE = 100  # rows that are read at a time

Progress = Callable[[float], None]


class LeftOut(Exception):
    """A recording or an answer that cannot be judged; its words are the reason that is counted."""


@dataclass(frozen=True)
class Unseen:
    """Whom a model may be judged by, that was trained on stored recordings.

    persons: whose these are. copies: the SHA-256 of each, which may have come twice. known: whether
    all of them are still here; where one was deleted, nobody can tell whose it was, and the person
    may have come back with another recording. mitbih: of a model of MIT-BIH, who is one of its
    patients.
    """

    persons: frozenset[str] = frozenset()
    copies: frozenset[str] = frozenset()
    known: bool = True
    mitbih: Patients | None = None

    def check(self, row: Recording, *, only_kept_out: bool = False) -> None:
        """Raise LeftOut for a recording of a person whom the model may know."""
        person = row.person
        if person is None:
            raise LeftOut("recordings without a person")
        if person in self.persons or row.sha256 in self.copies:
            raise LeftOut("recordings of persons who were trained on")
        if (only_kept_out or not self.known) and not kept_out(person):
            raise LeftOut("recordings of persons who may be trained on")
        if self.mitbih and self.mitbih.have(person):
            raise LeftOut("recordings of MIT-BIH's patients, of whom the model is made")


def unseen(
    service: Service, predictor: Predictor, trained: Collection[str], *, with_mitbih: bool
) -> Unseen:
    """Of a model that was trained on the stored recordings with the ids `trained`. with_mitbih:
    MIT-BIH's patients judge it, too."""
    of_mitbih = predictor.card.dataset in DATASETS
    patients = Patients(service) if of_mitbih and not with_mitbih else None
    if not (ids := set(trained)):
        return Unseen(mitbih=patients)
    with service.database.read() as session:
        rows = session.execute(select(Recording.id, Recording.person, Recording.sha256))
        found = [row for row in rows if row.id in ids]
    persons = frozenset(row.person for row in found if row.person)
    copies = frozenset(row.sha256 for row in found)
    return Unseen(persons, copies, len(found) == len(ids), patients)


def newest(
    service: Service,
    predictor: Predictor,
    symbols: Mapping[str, str | None],
    *,
    most: int,
    without: Collection[str] = (),
    only_kept_out: bool = False,
    with_mitbih: bool = False,
    progress: Progress | None = None,
) -> Labelled:
    """The newest `most` labelled recordings, answered at their annotated beats or as a whole.

    symbols: the label map, from the symbol of a beat to its class. without: ids of recordings that
    were trained on; all recordings of their persons are left out. only_kept_out: of those persons
    alone who are never trained on. with_mitbih: a model of MIT-BIH answers MIT-BIH's own patients,
    too, which tells whether it answers as in its run, and not how good it is.

    What cannot be answered is left out with a reason, and where the model answers windows, so is a
    recording that has not one and the same rhythm throughout.
    """
    left_out: Counter[str] = Counter()
    rows, told = list[Recording](), list[Told]()
    seen = unseen(service, predictor, without, with_mitbih=with_mitbih)
    for row in _labelled(service):
        if len(rows) == most:
            break
        if progress:
            progress(0.0)
        try:
            seen.check(row, only_kept_out=only_kept_out)
            rows.append(row)
        except LeftOut as why:
            left_out[str(why)] += 1
    for done, row in enumerate(rows):
        try:
            told.append(
                _told(service, predictor, symbols, row, left_out, shared(progress, done, len(rows)))
            )
        except LeftOut as why:
            left_out[str(why)] += 1
    return Labelled(predictor.card.classes, unit(predictor), tuple(told), dict(+left_out))


def shared(progress: Progress | None, done: int, total: int) -> Progress | None:
    """The progress of one of `total` like pieces of work, of which some are done."""
    return progress and (lambda share: progress((done + share) / total))


def answered(
    service: Service,
    predictor: Predictor,
    row: Recording,
    lead: str | None = None,
    progress: Progress | None = None,
) -> tuple[Found, Answer]:
    """A stored recording and what the model answers for it; LeftOut where it cannot be answered.

    Problem 503 of a predictor that is away passes: then nothing is known of the recording.
    """
    try:
        found = recordings.opened(service, row)
        return found, predictor.answer(found, lead=lead, progress=progress)
    except InputError:
        why = "recordings that the model cannot answer"
    except Problem as problem:
        if problem.status != 404:
            raise
        why = "recordings that were deleted meanwhile"
    raise LeftOut(why)


def _labelled(service: Service) -> Iterator[Recording]:
    """Recordings with a beat or a rhythm among their annotations, the newest first. No transaction
    stays open between them."""
    chosen = select(Recording).order_by(Recording.id.desc()).limit(PAGE)
    older = chosen
    while True:
        with service.database.read() as session:
            rows = list(session.scalars(older))
        yield from (row for row in rows if labels.labelled(row.labels or {}))
        if len(rows) < PAGE:
            return
        older = chosen.where(Recording.id < rows[-1].id)


def _told(
    service: Service,
    predictor: Predictor,
    symbols: Mapping[str, str | None],
    row: Recording,
    left_out: Counter[str],
    progress: Progress | None,
) -> Told:
    """The answers for a recording beside its annotations; LeftOut where there are none."""
    card = predictor.card
    try:
        choose_leads(row.name, row.leads, card.domain)
    except InputError:
        raise LeftOut("recordings without a lead that the model takes") from None
    if unit(predictor) != "beat":
        y = np.array([card.classes.index(_rhythm(row, card.classes))], np.int16)
        _, answer = answered(service, predictor, row, progress=progress)
        if answer.together is None:
            return _of(row, answer.samples, np.repeat(y, len(answer.samples)), answer.best)
        return _of(row, np.array([WHOLE]), y, np.array([answer.together.argmax()]))
    number = {name: place for place, name in enumerate(card.classes)}
    truth = np.array(
        [number.get(symbols.get(symbol) or "", -1) for symbol in _symbols(service, row)], np.int16
    )
    found, answer = answered(service, predictor, row, progress=progress)
    if found.beats is None or len(found.beats) != len(truth):
        raise LeftOut("recordings whose annotations cannot be read")
    y = truth[np.searchsorted(found.beats, answer.samples)]
    known = y >= 0
    if not known.any():
        raise LeftOut("recordings without a beat of a class of the model")
    left_out["beats without an answer"] += len(truth) - len(y)
    left_out["beats of no class of the model"] += int((~known).sum())
    return _of(row, answer.samples[known], y[known], answer.best[known])


def _of(row: Recording, places: Places, y: Classes, predicted: NDArray[np.int64]) -> Told:
    return Told(row.id, row.person, row.age, row.sex, places, y, predicted.astype(np.int16))


def _rhythm(row: Recording, classes: Collection[str]) -> str:
    """The class of the only rhythm that is annotated in a recording."""
    names = [name for name in row.labels or {} if name.startswith("(")]
    if len(names) != 1:
        raise LeftOut("recordings of several rhythms, or of none")
    if (name := RHYTHMS.get(names[0], "Other")) not in classes:
        raise LeftOut("recordings whose rhythm is no class of the model")
    return name


def _symbols(service: Service, row: Recording) -> list[str]:
    """The symbols of the annotated beats of a recording, in the order of time."""
    folder = service.settings.home / recordings.KEPT / row.id
    try:
        return labels.beats(labels.read((folder / row.file).with_suffix(".atr")))
    except (InputError, OSError):
        raise LeftOut("recordings whose annotations cannot be read") from None
