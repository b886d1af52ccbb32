"""Numbers that were sent in a request: beats that are ready, and a recording in memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrace.deploy.card import Card
from retrace.deploy.inputs import Ready
from retrace.deploy.plausible import check_domain
from retrace.deploy.readers.common import FileRecording, plausible, printable, quoted
from retrace.errors import InputError

BEATS, SAMPLES = Path("beats"), Path("samples")  # how sentences name what has no file


@dataclass(kw_only=True)
class Samples(FileRecording):
    """A recording in memory: signal (leads, samples) in mV."""

    signal: NDArray[np.float32]

    def piece(self, start: int, stop: int, rows: tuple[int, ...]) -> NDArray[Any]:
        return self.signal[list(rows), start:stop]


def recording(fs: float, leads: Mapping[str, Sequence[float]]) -> Samples:
    """A recording of these leads, in mV at `fs` Hz.

    Raises InputError for leads of different lengths, and for values that are no millivolts.
    """
    lengths = {name: len(values) for name, values in leads.items()}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{quoted(name)} {length}" for name, length in lengths.items())
        raise InputError(f"leads: {said} samples; all leads have as many: send a sample of each")
    with np.errstate(over="ignore"):  # what overflows is no number, and refused by the model
        signal = np.array(list(leads.values()), np.float32)
    rows = plausible(SAMPLES, signal, fs)
    names = tuple(printable(name) for name in leads)
    return Samples(
        name=SAMPLES.name,
        path=SAMPLES,
        fs=fs,
        leads=tuple(names[row] for row in rows),
        samples=signal.shape[1],
        signal=signal[rows],
    )


def ready(
    beats: Sequence[Any],
    features: Mapping[str, Sequence[float]] | None,
    domain: object,
    card: Card,
) -> Ready:
    """Segments of one lead (n, samples), or of any shape that the model takes (n, ...).

    features: of each segment, by name, in any order. domain: of the segments, None where the
    sender does not say. Raises InputError for rows of different lengths, for another domain than
    the model's, and for features that the model does not ask for, or asks for in vain.
    """
    if domain is not None:
        check_domain(BEATS.name, domain, card)
    X = _numbers(beats)
    if X.ndim == 2:
        X = X[:, None]
    return Ready(BEATS.name, BEATS, X, None if features is None else _columns(features, card))


def _numbers(beats: Sequence[Any]) -> NDArray[np.float32]:
    # As objects: among numbers NumPy would make text of all cells, each as long as the longest.
    cells = np.array(beats, dtype=object)
    kinds = set(map(type, cells.flat))
    if list in kinds:
        raise InputError(
            "beats: rows of different lengths; all are of one shape: send others by themselves"
        )
    try:
        if kinds <= {float, int}:
            with np.errstate(
                over="ignore"
            ):  # what overflows is no number, and refused by the model
                return cells.astype(np.float32)
    except OverflowError:  # an integer that is larger than any float
        pass
    raise InputError("beats: not all are numbers; a beat is a row of these: leave others out")


def _columns(features: Mapping[str, Sequence[float]], card: Card) -> NDArray[np.float32]:
    if set(features) != set(card.features):
        raise InputError(
            f"features: {', '.join(map(quoted, features)) or 'none'}; the model asks for "
            f"{', '.join(card.features) or 'none'}: give these, each with a number for each beat"
        )
    if len({len(values) for values in features.values()}) > 1:
        raise InputError("features: of different lengths; each has a number for each beat")
    return np.array([features[name] for name in card.features], np.float32).T
