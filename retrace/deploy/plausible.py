"""What a model cannot answer, and why: segments of another domain, recordings without a beat.

Two arrays of 187 numbers may be a beat in mV, one in units of its recording and one scaled to
0 ... 1, and a model answers any of them with confidence. Shape and rate do not tell them apart;
their values mostly do.
"""

import math
from collections.abc import Collection
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrace.deploy.answers import Answer
from retrace.deploy.card import Card
from retrace.deploy.inputs import Ready, Recording
from retrace.deploy.readers.common import LEADS, quoted
from retrace.errors import InputError
from retrace.signals.apply import FLAT_LEAD, LARGEST, domain_from
from retrace.signals.domain import NAMED

# By the quartiles of its recording: MIT-BIH reaches 29, the counts of a converter hundreds.
FARTHEST = 100.0
# Even noise is larger than that in mV, and a beat than that in units of its record; volts are not.
SMALLEST, SMALLEST_SCALED = 0.02, 0.1
LONGEST_RR = 60.0  # s; no heart that pauses for a minute beats again by itself
UNREADABLE = 2  # stretches of ten seconds; of a single one the word may be wrong
CLOSE = 0.05  # how far the mean and deviation of a standardised segment may be from 0 and 1
WORDS = {
    "none": "mV behind the filter",
    "record": "units of the whole recording's quartiles",
    "window": "units of its own deviation, around 0",
    "range": "0 to 1",
}


def check_ready(ready: Ready, card: Card) -> None:
    """Refuse segments that the model's domain cannot hold, with what it takes."""
    X, scale = ready.X, _scale(card)
    form = "scalograms" if card.domain.representation else f"{card.unit}s"
    takes = f"the model takes {form} of shape {card.shape}, in {WORDS[scale]}"
    if card.features and ready.features is None:
        raise InputError(
            f"{ready.name}: {form} alone; the model also asks for {', '.join(card.features)}, "
            "which only a recording can tell: name the recording they were cut from"
        )
    if X.shape[1:] != card.shape or not len(X):
        swapped = sorted(X.shape[1:]) == sorted(card.shape) and len(X)
        axes = ", the model's axes in another order" if swapped else ""
        raise InputError(f"{ready.name}: shape {X.shape}{axes}; {takes}: cut and transform it so")
    if ready.features is not None:
        _check_features(ready, ready.features, card)
    if why := _wrong(X, card):
        raise InputError(
            f"{ready.name}: {why}; {takes}: scale it so, or choose the model that was trained on it"
        )


def _check_features(ready: Ready, features: NDArray[np.float32], card: Card) -> None:
    """Refuse what is no feature of beats: RR intervals are in s, a likeness is from -1 to 1."""
    wanted = (len(ready.X), len(card.features))
    if features.shape != wanted:
        raise InputError(
            f"{ready.name}: features of shape {features.shape}; the model takes {wanted}, "
            f"{', '.join(card.features) or 'none'} for each segment: give these"
        )
    for name, values in zip(card.features, features.T, strict=True):
        low, high = (-1.0, 1.0) if name == "likeness" else (0.0, LONGEST_RR)
        if wrong := values[~((values >= low) & (values <= high))].tolist():  # NaN is one of them
            raise InputError(
                f"{ready.name}: {name} {wrong[0]:g}; it is from {low:g} to {high:g}, intervals in "
                "s: give it so"
            )


def check_domain(name: str, given: object, card: Card) -> None:
    """Refuse segments of another domain than the model's, with all that differs.

    given: what domain.json beside the segments says, or the name of a domain in `NAMED`.
    """
    differ = _named(name, given, card) if isinstance(given, str) else _told(name, given, card)
    if differ:
        raise InputError(
            f"{name}: of another signal domain than the model's: {'; '.join(differ)}: prepare the "
            "segments so, or choose the model that was trained on such"
        )


def _named(name: str, given: str, card: Card) -> list[str]:
    if given == card.domain.name:
        return []
    if given not in NAMED:
        raise InputError(
            f"{name}: domain {quoted(given)}; the named ones are {', '.join(NAMED)}: name one of "
            "these, or give what domain.json says"
        )
    fs, samples, beat = NAMED[given]
    mine = {"fs": fs, "samples": samples, "beat": asdict(beat)}
    domain = card.domain
    its = {"fs": domain.fs, "samples": domain.samples, "beat": domain.to_dict().get("beat")}
    return _differences(mine, its)


def _told(name: str, given: object, card: Card) -> list[str]:
    try:
        domain = domain_from(given)  # type: ignore[arg-type]
        same, mine = domain == card.domain, domain.to_dict()
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        raise InputError(
            f"{name}: its domain is no signal domain; it is what domain.json beside the segments "
            "says: give that"
        ) from None
    return [] if same else _differences(mine, card.domain.to_dict())


def _differences(given: dict[str, Any], wanted: dict[str, Any], above: str = "") -> list[str]:
    """What differs between two trees, as "window 1.0, the model's is 0.52"."""
    found = []
    for key in wanted | given:
        mine, its = given.get(key), wanted.get(key)
        if isinstance(mine, dict) and isinstance(its, dict):
            found += _differences(mine, its, f"{above}{key}.")
        elif mine != its:
            found.append(f"{above}{key} {_brief(mine)}, the model's is {_brief(its)}")
    return found


def _brief(value: object) -> str:
    if isinstance(value, list | tuple):
        return quoted(", ".join(map(str, value[:LEADS])))
    if isinstance(value, dict):
        return "another one"
    return (
        "none" if value is None else quoted(value) if isinstance(value, str) else repr(value)[:40]
    )


def unanswered(recording: Recording, card: Card, reasons: Collection[str]) -> InputError:
    """Why a recording has not a single answer; reasons: for which its segments were left out."""
    seconds, window = recording.samples / recording.fs, card.domain.window
    if set(reasons) == {FLAT_LEAD}:
        why = "a lead is flat all along; a model needs an ECG in mV: check electrodes and unit"
    elif reasons:
        why = f"no beat has an answer ({', '.join(sorted(reasons))}): use a longer recording"
    elif card.unit == "beat":
        why = f"no beat found in {seconds:g} s; a model of beats needs an ECG in mV: check both"
    else:
        why = f"{seconds:g} s long; the model takes windows of {window:g} s: use a longer one"
    return InputError(f"{recording.name}: {why}")


def check_readable(answer: Answer) -> None:
    """Refuse beats that were found where there is no ECG: a detector finds some in any noise."""
    found = [word for _, word in answer.quality]
    unreadable = len(found) >= UNREADABLE and "good" not in found
    if answer.unit == "beat" and answer.peaks_from == "detector" and unreadable:
        raise InputError(
            f"{answer.name}: {', '.join(sorted(set(found)))} in all of its {len(found)} stretches "
            "of ten seconds; beats are looked for in an ECG: check lead, unit and --fs, or record "
            "again"
        )


def _scale(card: Card) -> str:
    return "range" if card.cut else card.domain.normalise


def _wrong(X: NDArray[np.float32], card: Card) -> str | None:
    """What is not of the model's domain; None where all may be."""
    scale, filtered = _scale(card), card.domain.order > 0
    lows, highs = X.min(axis=-1), X.max(axis=-1)  # NaN where one is NaN
    low, high = float(lows.min()), float(highs.max())
    if not math.isfinite(high - low):
        return "some values are no numbers"
    flat = lows == highs
    if card.domain.representation:
        if low < 0:
            return f"a magnitude of {low:.3g}, and none is below 0"
        flat = (X == 0).all(axis=(-1, -2))
    if flat.any():
        return f"segment {int(flat.any(axis=tuple(range(1, flat.ndim))).argmax())} is flat"
    bound = {"none": LARGEST, "range": 1.0}.get(scale, FARTHEST)
    if max(-low, high) > bound * (1 + 1e-6):
        return f"values up to {max(-low, high):.4g}"
    if max(-low, high) < (SMALLEST if scale == "none" else SMALLEST_SCALED):
        return f"values of at most {max(-low, high):.3g}"
    if card.domain.representation:
        return None
    if scale == "range" and low < 0:
        return f"values down to {low:.3g}"
    if scale != "range" and filtered and low >= 0 and high <= 1:
        return "no value below 0, as in a beat that was scaled to 0 ... 1"
    if scale == "window" and not _standardised(X).all():
        return "mean and deviation are not 0 and 1"
    return None


def _standardised(X: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which leads (n, leads) have mean 0 and deviation 1, up to the zeros that complete them."""
    behind = (X[..., ::-1] != 0).any(axis=1, keepdims=True).argmax(axis=-1)
    length = X.shape[-1] - behind
    mean = X.sum(axis=-1, dtype=np.float64) / length
    deviation = np.sqrt((X.astype(np.float64) ** 2).sum(axis=-1) / length)
    return np.asarray((np.abs(mean) < CLOSE) & (np.abs(deviation - 1) < CLOSE))
