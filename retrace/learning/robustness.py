"""What a trained model answers where the signal gets worse: noise, a wrong sign, gain or lead.

The change comes before the band-pass, as in life. Since a band-pass is linear, what it gives for a
recording with noise is the filtered recording plus the filtered noise: each is filtered once, for
all strengths of the noise.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrace.errors import InputError
from retrace.learning.checkpoint import Model, logits
from retrace.learning.classifier import per_record
from retrace.learning.data import Segments
from retrace.padding import real_length
from retrace.scoring.calibration import softmax
from retrace.signals.domain import SignalDomain
from retrace.signals.filters import filtered
from retrace.signals.noise import KINDS, noise_for, strength
from retrace.signals.plan import Plan
from retrace.signals.records import Record, read_header, read_wfdb, unusable
from retrace.signals.rpeaks import detect
from retrace.signals.segments import BEAT_COLUMNS, pieces
from retrace.signals.wavelets import Scalogram

_BATCH = 64
_DOUBLE = 10 ** (6 / 20)  # 6 dB


class Condition(NamedTuple):
    """What was done to the signal; snr: dB, None where no noise is added."""

    name: str
    snr: int | None = None


SNRS = (24, 18, 12, 6, 0, -6)  # those of the Noise Stress Test Database, see `signals.noise`
CONDITIONS = (
    Condition("clean"),
    *(Condition(kind, snr) for kind in KINDS for snr in SNRS),
    Condition("inverted polarity"),
    Condition("gain +6 dB"),
    Condition("gain -6 dB"),
    Condition("wrong lead"),
)


def drawn(segments: Segments, limit: int, rule: str, seed: int) -> NDArray[np.int64]:
    """At most `limit` rows of the test part: beats one by one, windows with their whole record.

    rule: how windows are joined; "none" says that each answers for itself. seed decides which.
    """
    rows = segments.rows("test")
    if len(rows) <= limit:
        return rows
    draw = np.random.default_rng([seed, *b"robustness"])
    if rule == "none":
        return np.sort(draw.choice(rows, limit, replace=False))
    names, owner, sizes = np.unique(
        np.array(segments.record_ids)[rows], return_inverse=True, return_counts=True
    )
    order = draw.permutation(len(names))
    fitting = np.searchsorted(np.cumsum(sizes[order]), limit, side="right")
    return rows[np.isin(owner, order[: max(1, int(fitting))])]


def answer_worse(
    model: Model,
    segments: Segments,
    rows: NDArray[np.int64],
    records: Iterable[Record],
    other: Callable[[Record], Record | None],
    *,
    plan: Plan,
    domain: SignalDomain,
    features: Sequence[str],
    seed: int,
) -> NDArray[np.float64]:
    """The model's logits (conditions, len(rows), classes) for segments under all `CONDITIONS`.

    NaN where there is no such segment: the lead does not exist, or does not change there.
    records: as the data set gives them, before the band-pass. other: see `OtherLeads`. domain: of
    the model's input. features: the columns of beats that the model gets beside them. Beats stay
    where they are in the clean signal: their RR features do not change, others may.
    """
    places: dict[str, dict[float, int]] = {}
    for place, row in enumerate(rows.tolist()):
        places.setdefault(segments.record_ids[row], {})[segments.starts[row]] = place
    kept, transform = replace(plan, flat="drop"), _transform(domain)
    columns = [BEAT_COLUMNS.index(name) for name in features]
    out = np.full((len(CONDITIONS), len(rows), len(segments.classes)), np.nan)
    for record in records:
        if (mine := places.pop(record.record_id, None)) is None:
            continue
        found: list[tuple[int, int, NDArray[np.float32], list[float]]] = []
        for number, changed in enumerate(_worse(record, other(record), kept, domain, seed)):
            if changed is None:
                continue
            cut = pieces(changed, kept, domain.fs)
            for n, start in enumerate(cut.starts):
                if start in mine:
                    beside = [cut.beats[n][column] for column in columns]
                    found.append((number, mine[start], cut.windows[n], beside))
        if found:
            numbers, spots, windows, besides = zip(*found, strict=True)
            X, values = transform(np.stack(windows)), np.array(besides, np.float32)
            out[numbers, spots] = logits(model, X, values, np.arange(len(X)), _BATCH)
        if not places:
            break
    if np.isnan(out[0]).any():
        lost = rows[np.isnan(out[0]).any(axis=-1)]
        raise InputError(
            f"segment {segments.segment_ids[lost[0]]} and {len(lost) - 1} more: data/raw does not "
            "give them; its recordings must be those that were cut: run dvc repro"
        )
    return out


def predictions(
    out: NDArray[np.float64], segments: Segments, rows: NDArray[np.int64], config: dict[str, Any]
) -> tuple[NDArray[np.int64], NDArray[np.int64], list[tuple[str, str]]]:
    """From the logits of `answer_worse` to answers for records, or by the model's rule for beats.

    config: the checkpoint's. Returns class numbers (n,), the model's answers (conditions, n), -1
    where it has none, and of whom each of the n is: the patient, or where unknown the record.
    """
    owners, rule = [segments.record_ids[row] for row in rows], config["aggregate"]
    answering = owners if rule == "none" else list(dict.fromkeys(owners))
    place = {name: number for number, name in enumerate(answering)}
    y = np.empty(len(answering), np.int64)
    predicted = np.full((len(out), len(answering)), -1)
    for number, found in enumerate(out):
        given = np.flatnonzero(~np.isnan(found[:, 0]))
        if not len(given):
            continue
        mine, p = [owners[spot] for spot in given], softmax(found[given], config["temperature"])
        labels, joined = per_record(mine, segments.labels[rows[given]], p, rule)
        spots = given if rule == "none" else [place[name] for name in dict.fromkeys(mine)]
        y[spots] = labels
        predicted[number, spots] = joined.argmax(axis=1)
    patient_of = dict(zip(owners, (segments.patient_ids[row] for row in rows), strict=True))
    people = [
        ("patient", patient) if (patient := patient_of[name]) else ("record", name)
        for name in answering
    ]
    return y, predicted, people


def _transform(domain: SignalDomain) -> Callable[[NDArray[np.float32]], NDArray[Any]]:
    """From windows to the model's input, as the stage cwt makes it."""
    if domain.representation is None:
        return lambda windows: windows
    scalogram = Scalogram(fs=domain.fs, samples=domain.samples, **vars(domain.representation))
    return lambda windows: scalogram(windows).astype(np.float16)


def _worse(
    record: Record, other: Record | None, plan: Plan, domain: SignalDomain, seed: int
) -> Iterator[Record | None]:
    """The filtered record under each of `CONDITIONS`; None where one does not exist."""
    passed = partial(filtered, low=domain.low, high=domain.high, order=domain.order)
    clean = passed(record)
    if plan.anchor == "beat" and not clean.symbols and pieces(clean, plan, domain.fs).beats:
        # Beats that nobody annotated are found in the clean signal: noise does not move them.
        peaks = detect(clean.signal[0], clean.fs)
        clean = replace(clean, beats=peaks, symbols=("N",) * len(peaks))
    yield clean
    # A beat that its publisher has cut ends where its padding starts.
    end = real_length(record.signal) if record.cut else record.signal.shape[1]
    real = record.with_signal(record.signal[:, :end])
    for kind in KINDS:
        noise = np.zeros(record.signal.shape, np.float32)
        noise[:, :end] = noise_for(real, kind, seed)
        # A publisher's filter (`Record.band`) had let noise through as ours does.
        heard = passed(replace(record, signal=noise, band=None)).signal
        for snr in SNRS:
            noisy = clean.signal + strength(real, snr) * heard
            yield clean.with_signal(noisy.astype(np.float32))
    for factor in (-1, _DOUBLE, 1 / _DOUBLE):
        yield clean.with_signal(clean.signal * np.float32(factor))
    yield clean.with_signal(passed(other).signal) if other is not None else None


class OtherLeads:
    """The leads that a data set's reader left out, from the WFDB files in `raw`, if it has some."""

    def __init__(self, raw: Path) -> None:
        self._headers = {path.stem: path.with_suffix("") for path in raw.rglob("*.hea")}

    def __call__(self, record: Record) -> Record | None:
        """The record with a lead that was not asked for, its first one, in place of the first.

        None where the recording has no other lead, or where that is no living signal.
        """
        if (path := self._headers.get(Path(record.record_id).name)) is None:
            return None
        header = read_header(path)
        units = dict(zip(header.sig_name, header.units, strict=True))
        own = units.get(record.leads[0])
        spare = [lead for lead, unit in units.items() if lead not in record.leads and unit == own]
        if not spare:
            return None
        both = read_wfdb(path, [*record.leads, spare[0]])
        *ours, wrong = both.signal
        if not np.array_equal(ours, record.signal):
            return None  # another recording of that name
        exchanged = replace(
            record,
            leads=(spare[0], *record.leads[1:]),
            signal=np.stack([wrong, *record.signal[1:]]),
        )
        return None if unusable(exchanged, "drop") else exchanged
