"""Which stretches of a recording a page shows, and what is drawn of each."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrace.deploy.inputs import Recording
from retrace.deploy.judged import Judged
from retrace.errors import InputError
from retrace.signals.domain import SignalDomain
from retrace.signals.filters import bandpass
from retrace.signals.wavelets import Scalogram

SECONDS = 10.0  # of a row
ROWS = 6  # of a page at most: a taller one fits no screen
OPENING = 3  # rows from the beginning, where nothing is flagged
BEFORE = 4.0  # s of a row that lie before the flagged beat for which it is drawn
MARGIN = 5.0  # s read on either side, in which filter and wavelets settle
LOWEST, HIGHEST, SCALES = 1.0, 40.0, 60  # Hz; the wavelet at 1 Hz is as long as a beat
LEAST, MOST = (-0.5, 1.0), (-3.0, 3.0)  # mV that a row shows at least and at most


@dataclass(frozen=True)
class Strip:
    """A row from `start` s on: the lead (n,) in mV, NaN where the file has no number, and its
    scalogram (scales, frames) at the frequencies `hertz`."""

    start: float
    lead: NDArray[np.float64]
    image: NDArray[np.float32]
    hertz: NDArray[np.float64]

    @property
    def limits(self) -> tuple[float, float]:
        """mV, whole half millivolts."""
        known = self.lead[np.isfinite(self.lead)]
        low, high = (known.min(), known.max()) if known.size else (0.0, 0.0)
        low, high = np.floor(2 * low - 0.1) / 2, np.ceil(2 * high + 0.1) / 2
        return (
            float(max(min(low, LEAST[0]), MOST[0])),
            float(min(max(high, LEAST[1]), MOST[1])),
        )


def choose(judged: Judged) -> tuple[list[float], str]:
    """Where the rows start (s), and what they show."""
    answer = judged.answer
    latest = max(0.0, np.ceil(answer.seconds - SECONDS))
    times = answer.samples / answer.fs
    if not judged.flagged.any():
        # A second or less that is left over gets no row of its own.
        count = min(OPENING, max(1, int(np.ceil((answer.seconds - 1) / SECONDS))))
        said = "none flagged" if judged.limits.threshold is not None else "no --threshold given"
        return [n * SECONDS for n in range(count)], f"the beginning ({said})"
    assert judged.abnormal is not None
    starts: list[float] = []
    shown = np.zeros(len(times), np.bool_)
    order = np.flatnonzero(judged.flagged)
    order = order[np.argsort(-judged.abnormal[order], kind="stable")]
    for number in order.tolist():
        if len(starts) == ROWS:
            break
        if shown[number]:
            continue
        if answer.unit == "beat":
            # Rows begin at whole seconds, so that their grid is the clock's.
            found = [min(max(0.0, np.floor(times[number] - BEFORE)), latest)]
        else:
            pieces = range(int(np.ceil(min(answer.span, answer.seconds) / SECONDS)))
            found = [min(times[number] + n * SECONDS, latest) for n in pieces]
        for start in found[: ROWS - len(starts)]:
            starts.append(float(start))
            shown |= (times >= start) & (times < start + SECONDS)
    total, seen = int(judged.flagged.sum()), int((judged.flagged & shown).sum())
    what = f"{total:,} {answer.unit}{'s' if total > 1 else ''} flagged"
    most = "" if seen == total else f"; {seen:,} are shown, the most probable among them"
    return sorted(starts), what + most


def read(recording: Recording, row: int, start: float, domain: SignalDomain) -> Strip:
    """The row that begins `start` s into lead number `row`, behind the filter of `domain`."""
    fs = recording.fs
    first = max(0, round((start - MARGIN) * fs))
    last = min(recording.samples, round((start + SECONDS + MARGIN) * fs))
    lead = recording.read(first, last, (row,))
    known = np.isfinite(lead)
    whole = np.where(known, lead, 0).astype(np.float32)
    try:
        if domain.order:
            whole = bandpass(whole, fs=fs, low=domain.low, high=domain.high, order=domain.order)
    except InputError:  # too short, or sampled too slowly: then as it is
        whole = whole - np.median(whole, axis=1, keepdims=True)
    begin = round(start * fs) - first
    length = min(round(SECONDS * fs), last - first - begin)
    shown = np.where(known, whole, np.nan)[0, begin : begin + length].astype(np.float64)
    hop = max(1, int(fs / 50))
    padded = np.pad(whole, ((0, 0), (0, -whole.shape[1] % hop)))
    scalogram = Scalogram(
        wavelet="cmor1.5-1.0",
        fs=fs,
        samples=padded.shape[1],
        low=LOWEST,
        high=min(HIGHEST, fs / 2),
        scales=SCALES,
        frames=padded.shape[1] // hop,
    )
    image = scalogram.magnitude(padded[None])[0, 0]
    return Strip(
        start, shown, image[:, begin // hop : (begin + length) // hop], scalogram.frequencies
    )
