"""Uploaded recordings that a training may learn from: chosen, and written as WFDB for its stages.

Learned from are labelled recordings of known persons. A third of the persons is kept out of every
training (`truths.kept_out`), and feedback is never learned from. Persons are numbered here: no
name, and no recording's own comments, reach a work tree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import wfdb
from numpy.typing import NDArray
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from retrace.errors import InputError
from retrace.files import new_folder, read_csv, write_csv
from retrace.service import labels, recordings, registry
from retrace.service.problems import Problem
from retrace.service.tables import Recording
from retrace.service.truths import kept_out
from retrace.signals.records import BEATS, read_wfdb, unusable
from retrace.signals.resampling import resample

if TYPE_CHECKING:
    from retrace.service.state import Service
    from retrace.service.worktree import Progress

Data = Literal["recipe", "all", "newest"]
FEWEST = 5  # persons
MOST = 2000  # recordings, the newest
RATE = 360.0  # Hz, of MIT-BIH
LARGEST = 32_000  # of 16 bits
TALLEST = 1000.0  # mV; no electrode says so
GROUP = 500  # ids of one question to the database
PERSONS = "persons.csv"
LONGEST = 16_000_000  # samples of all leads, at `RATE` or the recording's own; 12 hours of one lead


@dataclass(frozen=True)
class Form:
    """How a data set is read, see params.yaml. labels: the class of each symbol."""

    leads: Sequence[str]
    labels: Mapping[str, str | None]


@dataclass(frozen=True)
class Collected:
    """What was written for a training. recordings: their ids. left_out: reason and count."""

    recordings: tuple[str, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)


def chosen(session: Session, model: str, data: Data) -> list[Recording]:
    """The recordings of a training of `model`, see `candidates`; none of which a person who is kept
    out has a copy."""
    everyone = session.execute(select(Recording.person, Recording.sha256))
    theirs = {row.sha256 for row in everyone if row.person and kept_out(row.person)}
    return [row for row in candidates(session, model, data) if row.sha256 not in theirs]


def candidates(session: Session, model: str, data: Data) -> Iterator[Recording]:
    """What a training of `model` may learn from, the newest first.

    data: "all", or "newest": those that the version in production was not trained on.
    """
    known: Collection[str] = ()
    if data == "newest" and (version := registry.production(session, model)):
        known = set(version.data.get("recordings") or ())
    wanted = select(Recording).where(Recording.person.is_not(None)).order_by(Recording.id.desc())
    rows = session.scalars(wanted.execution_options(yield_per=GROUP))
    usable = (
        row
        for row in rows
        if row.person and not kept_out(row.person) and _beats(row) and row.id not in known
    )
    yield from islice(usable, MOST)


def check(rows: Iterable[Recording], data: Data, form: Form | None) -> None:
    """Raise InputError where there is too little to learn from. It looks at no more of the rows
    than it needs. form: None where not known yet."""
    persons, classes = set[str | None](), set[str | None]()
    wanted = set(form.labels.values()) - {None} if data == "newest" and form else set()
    for row in rows:
        persons.add(row.person)
        classes.update(form.labels.get(symbol) for symbol in _beats(row) if form)
        if len(persons) >= FEWEST and classes >= wanted:
            return
    if len(persons) < FEWEST:
        raise InputError(
            f"data: {data}; there are labelled recordings of {len(persons)} persons to learn from, "
            f"and at least {FEWEST} are needed (a third of all persons is kept out of every "
            "training, and recordings without a person are never learned from): upload more with "
            "POST /recordings/labelled, or train on the recipe's data"
        )
    lacking = min(str(name) for name in wanted - classes)
    raise InputError(
        f"data: newest; no beat of class {lacking} is among the labelled recordings, and every "
        "class needs examples: upload some, or train on all"
    )


def collect(
    service: Service, rows: Sequence[Recording], form: Form, folder: Path, progress: Progress
) -> Collected:
    """Write `rows` into `folder`, which appears whole or not at all: ID.hea, ID.dat, ID.atr at
    360 Hz with the leads of `form`, and persons.csv.

    progress: called with the share that is done. Raises InputError where too few are left.
    """
    left_out, persons, kept = Counter[str](), dict[str, str](), list[tuple[str, str]]()
    with new_folder(folder) as part:
        for done, row in enumerate(rows):
            progress(done / len(rows))
            assert row.person is not None
            if why := _write(service, row, form, part):
                left_out[why] += 1
            else:
                number = persons.setdefault(row.person, f"own{len(persons) + 1:05}")
                kept.append((row.id, number))
        if len(persons) < FEWEST:
            said = "; ".join(f"{count} {why}" for why, count in left_out.items())
            raise InputError(
                f"data: recordings of {len(persons)} persons can be used, and at least {FEWEST} "
                f"are needed; left out: {said}: upload more, or name their leads in params"
            )
        write_csv(part / PERSONS, ("record_id", "patient_id"), kept)
    return Collected(tuple(name for name, _ in kept), dict(left_out))


def check_present(session: Session, ids: Sequence[str]) -> None:
    """Raise InputError where one of these recordings was deleted: nothing is to be learned from
    it any more."""
    found = 0
    for start in range(0, len(ids), GROUP):
        group = Recording.id.in_(ids[start : start + GROUP])
        found += session.scalar(select(func.count()).where(group)) or 0
    if found < len(ids):
        raise InputError(
            f"training: {len(ids) - found} of its recordings were deleted meanwhile, so nothing of "
            "it is kept: ask for it again"
        )


def trained_on(tree: Path) -> dict[str, Any]:
    """Of the finished run in `tree`: the ids of the own recordings that it has learned from, how
    many persons they are of, and of the others why they stayed unused."""
    owners = {row["record_id"]: row["patient_id"] for row in read_csv(tree / "own" / PERSONS)}
    segments = read_csv(tree / "data/waveforms/segments.csv", ("record_id",))
    subsets = read_csv(tree / "data/split.csv", ("subset",))
    used = {
        segment["record_id"]
        for segment, row in zip(segments, subsets, strict=True)
        if row["subset"] == "train" and segment["record_id"] in owners
    }
    unused = {segment["record_id"] for segment in segments if segment["record_id"] in owners} - used
    other = len(owners) - len(used) - len(unused)
    left_out = {
        "recordings of MIT-BIH's patients by whom models are judged": len(unused),
        "recordings without a beat to cut, or of two of MIT-BIH's patients": other,
    }
    return {
        "recordings": sorted(used),
        "persons": len({owners[name] for name in used}),
        "left_out": {why: count for why, count in left_out.items() if count},
    }


def _beats(row: Recording) -> list[str]:
    """The symbols that its beats have."""
    return [symbol for symbol in row.labels or {} if symbol in BEATS]


def _write(service: Service, row: Recording, form: Form, folder: Path) -> str | None:
    """Write one recording; why it cannot be used, None where it was written."""
    rows = _leads(row.leads, form.leads)
    if rows is None:
        return "recordings without the lead"
    if row.samples / row.fs * max(row.fs, RATE) * len(rows) > LONGEST:
        return "recordings too long to be learned from"  # one is in memory as a whole
    try:
        found = recordings.opened(service, row)
        signal = found.read(0, found.samples, rows)
        marks = (service.settings.home / recordings.KEPT / row.id / row.file).with_suffix(".atr")
        symbols = labels.beats(labels.read(marks))
    except (InputError, Problem, OSError):
        return "recordings that are damaged or were deleted"
    beats = found.beats
    if beats is None or len(beats) != len(symbols):
        return "recordings whose annotations cannot be read"
    if not np.isfinite(signal).all():
        return "recordings with samples that are no numbers"
    signal = resample(signal - np.median(signal, axis=1, keepdims=True), found.fs, RATE)
    tallest = float(np.abs(signal).max())
    if tallest > TALLEST:
        return "recordings of no plausible voltage"
    at = np.rint(beats * (RATE / found.fs)).astype(np.int64)
    inside = (at < signal.shape[1]) & [symbol in form.labels for symbol in symbols]
    kept = [symbol for symbol, one in zip(symbols, inside.tolist(), strict=True) if one]
    names = [str(row.leads[lead]) for lead in rows]
    _wfdb(folder, row.id, names, signal, LARGEST / max(tallest, 1.0), at[inside], kept)
    try:
        if unusable(read_wfdb(folder / row.id, form.leads), "drop") or not kept:
            raise InputError("a flat lead, or no beat of the map")
    except InputError:
        for path in folder.glob(f"{row.id}.*"):
            path.unlink()
        return "recordings with a flat lead or without beats"
    return None


def _wfdb(
    folder: Path,
    name: str,
    leads: list[str],
    signal: NDArray[np.float32],
    gain: float,
    beats: NDArray[np.int64],
    symbols: list[str],
) -> None:
    wfdb.wrsamp(
        name,
        fs=RATE,
        units=["mV"] * len(leads),
        sig_name=leads,
        p_signal=signal.T.astype(np.float64),
        fmt=["16"] * len(leads),
        adc_gain=[float(int(gain))] * len(leads),
        baseline=[0] * len(leads),
        write_dir=str(folder),
    )
    if symbols:
        wfdb.wrann(name, "atr", beats, symbol=symbols, write_dir=str(folder))


def _leads(has: Sequence[str], wanted: Sequence[str]) -> tuple[int, ...] | None:
    """The numbers of the wanted leads, "MLII|V5" being alternatives; None where one is missing."""
    found: list[int] = []
    for item in wanted:
        free = [has.index(name) for name in item.split("|") if name in has]
        free = [lead for lead in free if lead not in found]
        if not free:
            return None
        found.append(free[0])
    return tuple(found)
