"""A recording as a model takes it: the functions of the stages, one after the other.

The stages never use this module: each depends on its own functions alone, so that a change of the
wavelets filters nothing again. A test holds both ways together, bit for bit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrace.errors import InputError
from retrace.signals.beats import cut_beats
from retrace.signals.domain import BeatWindow, Representation, SignalDomain
from retrace.signals.filters import filtered
from retrace.signals.records import Record
from retrace.signals.resampling import resample
from retrace.signals.rpeaks import detect
from retrace.signals.scaling import lively, normalised
from retrace.signals.segments import cut
from retrace.signals.wavelets import Scalogram

LARGEST = 20.0  # mV; of a filtered ECG 99 of 100 samples stay far below
STRIDE = 16  # one in so many samples tells that as well
FINEST = 100_000  # of a ratio of rates: resampling takes twenty taps for each

AT_AN_END = "its window reaches over an end of the recording"
FLAT_LEAD = "a lead does not change in it"


@dataclass(frozen=True)
class Prepared:
    """The k segments of one recording, as data/waveforms or data/scalograms hold them.

    X: (k, leads, samples) float32 or (k, leads, scales, frames) float16. starts: (k,) s. samples:
    (k,) at the recording's rate, of a beat its R peak, else the segment's first. features: of
    beats (k, 4), named by `plan.BEAT_FEATURES`, NaN where there is no interval; else (k, 0).
    left_out: sample and reason of each segment that the stages refuse. record: the recording
    behind the filter. peaks: (m,) the R peaks that were given or found.
    """

    X: NDArray[Any]
    starts: NDArray[np.float64]
    samples: NDArray[np.int64]
    features: NDArray[np.float64]
    left_out: tuple[tuple[int, str], ...]
    record: Record
    peaks: NDArray[np.int64]


def domain_from(fields: Mapping[str, Any]) -> SignalDomain:
    """The inverse of `SignalDomain.to_dict`; KeyError or TypeError for anything else."""
    parts = dict(fields)
    representation, beat = parts.pop("representation"), parts.pop("beat", None)
    return SignalDomain(
        **parts | {"leads": tuple(parts["leads"])},
        representation=Representation(**representation) if representation else None,
        beat=BeatWindow(**beat) if beat else None,
    )


def choose_leads(
    name: str, leads: Sequence[str], domain: SignalDomain, given: str | None = None
) -> tuple[int, ...]:
    """The numbers of those of a recording's leads that the model takes, in its order.

    They are found by name, as `Record.with_leads` does, unless the user names them himself:
    `given`, several joined by ",". A domain that names none, as of a data set with but one lead,
    takes that of a recording which has no other.
    """
    has = f"it has {', '.join(leads)}"
    wanted = list(domain.leads or ("",))
    if given is not None:
        named = given.split(",") if len(wanted) > 1 else [given]
        if len(named) != len(wanted):
            raise InputError(
                f"{name}: --lead {given} names {len(named)} leads, the model takes {len(wanted)} "
                f"({', '.join(wanted)}); {has}: name as many, joined by a comma"
            )
        wanted = named
    elif not domain.leads and len(leads) == 1:
        return (0,)
    rows: list[int] = []
    for item in wanted:
        of_item = [item] if given is not None else item.split("|")
        found = [row for one in of_item for row, lead in enumerate(leads) if lead == one]
        if not (free := [row for row in found if row not in rows]):
            what = f"no lead {' or '.join(of_item)}" if item else "the model takes a single lead"
            raise InputError(
                f"{name}: {what}; {has}: say which one to take, with --lead {leads[0]} for instance"
            )
        rows.append(free[0])
    return tuple(rows)


def prepare(
    record: Record,
    domain: SignalDomain,
    *,
    hop: float,
    short: str,
    peaks: NDArray[np.int64] | None = None,
) -> Prepared:
    """Filter a recording and cut it into the segments that a model of this domain takes.

    record: as its source gives it, in mV, with the leads of the domain or others. hop: s from one
    window to the next. short: what becomes of a recording shorter than a window, "pad" or "drop".
    peaks: (m,) ascending R peaks, around which beats are cut; None: those that are found in the
    first lead.

    Raises InputError, in one sentence that names the record, for leads that are not there, for
    samples that are no numbers, and for a rate, a length or a unit that the filter cannot take.
    """
    record = _reduced(record, domain)
    _check(record, domain)
    record = filtered(record, low=domain.low, high=domain.high, order=domain.order)
    if np.percentile(np.abs(record.signal[:, ::STRIDE]), 99) > LARGEST:
        raise InputError(
            f"{record.record_id}: most of the signal is beyond {LARGEST:g} mV, which no heart "
            "reaches; a recording must be an ECG in mV: convert its unit"
        )
    if domain.anchor == "start":
        return _windows(record, domain, hop, short)
    return _beats(record, domain, peaks)


def _reduced(record: Record, domain: SignalDomain) -> Record:
    rows = list(choose_leads(record.record_id, record.leads, domain))
    if rows == list(range(len(record.leads))):
        return record
    return Record(
        record.record_id, record.fs, tuple(record.leads[row] for row in rows), record.signal[rows]
    )


def _check(record: Record, domain: SignalDomain) -> None:
    """Refuse, in words that fit a user with a recording, what the stages' functions refuse."""
    name, fs, samples = record.record_id, record.fs, record.signal.shape[1]
    ratio = Fraction(domain.fs).limit_denominator(10_000) / Fraction(fs).limit_denominator(10_000)
    if max(ratio.numerator, ratio.denominator) > FINEST:
        raise InputError(
            f"{name}: {fs!r} Hz; the model takes {domain.fs:g} Hz, and from such a rate no short "
            "filter leads there: give the rate with fewer digits"
        )
    if domain.order and fs <= 2 * domain.high:
        raise InputError(
            f"{name}: {fs:g} Hz; the model needs what a signal holds up to {domain.high:g} Hz, "
            f"and so a rate above {2 * domain.high:g} Hz: use a recording with a higher rate"
        )
    shortest = max(3 * (2 * domain.order + 1), ceil(fs / domain.low)) if domain.order else 0
    if samples <= shortest:
        raise InputError(
            f"{name}: {samples / fs:g} s long; the model's filter needs more than "
            f"{shortest / fs:g} s: use a longer recording"
        )
    for lead, missing in zip(record.leads, (~np.isfinite(record.signal)).sum(axis=1), strict=True):
        if missing:
            raise InputError(
                f"{name}: {missing} samples of lead {lead} are no numbers, and a filter needs a "
                "whole signal: interpolate them, or cut them off"
            )


def _windows(record: Record, domain: SignalDomain, hop: float, short: str) -> Prepared:
    """As `segments.write_segments` cuts windows."""
    signal, samples = resample(record.signal, record.fs, domain.fs), domain.samples
    starts, windows = cut(signal, samples, max(1, round(hop * domain.fs)), short)
    lengths = np.full(len(starts), min(samples, signal.shape[1]))
    alive = lively(windows, lengths)
    places = np.rint(starts * (record.fs / domain.fs)).astype(np.int64)
    windows = normalised(windows[alive], lengths[alive], signal, domain.normalise)
    return Prepared(
        _represented(windows, domain),
        starts[alive] / domain.fs,
        places[alive],
        np.empty((len(windows), 0)),
        tuple((place, FLAT_LEAD) for place in places[~alive].tolist()),
        record,
        np.empty(0, np.int64),
    )


def _beats(record: Record, domain: SignalDomain, given: NDArray[np.int64] | None) -> Prepared:
    """As `segments.write_segments` cuts annotated beats, and `learning.detected` found ones."""
    assert domain.beat is not None
    peaks = detect(record.signal[0], record.fs) if given is None else given
    beats = cut_beats(
        record.signal,
        record.fs,
        peaks,
        rate=domain.fs,
        samples=domain.samples,
        window=domain.beat,
        normalise=domain.normalise,
    )
    reasons = np.full(len(peaks), AT_AN_END, dtype=object)
    reasons[beats.rows], reasons[beats.flat] = "", FLAT_LEAD
    return Prepared(
        _represented(beats.windows, domain),
        beats.starts,
        peaks[beats.rows],
        beats.features,
        tuple((peaks.item(row), reasons[row]) for row in np.flatnonzero(reasons != "").tolist()),
        record,
        peaks,
    )


def _represented(windows: NDArray[np.float32], domain: SignalDomain) -> NDArray[Any]:
    """As `scalograms.write_scalograms` transforms them, where the model takes scalograms."""
    return windows if domain.representation is None else _scalogram(domain)(windows)


@cache  # its filter bank takes longer than a recording of ten seconds
def _scalogram(domain: SignalDomain) -> Scalogram:
    shape = vars(domain.representation)
    return Scalogram(fs=domain.fs, samples=domain.samples, **shape)
