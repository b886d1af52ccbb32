"""A long recording in parts, each read with enough around it that it is answered as in the whole.

What is a matter of the whole recording, such as its usual amplitude or its usual beat, is in a part
a matter of that part and its margins.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

from retrace.signals.beats import BLOCK
from retrace.signals.domain import SignalDomain

LONGEST, MOST = 3600.0, 10_000_000  # s that are answered at once, and samples: memory is bounded
# s on either side in which a filter's transient dies down, the detector finds its levels, and the
# five beats on either side lie that a beat's rhythm is compared with.
MARGIN = 60.0
PERIODS = 30  # of the filter's lowest frequency: a Butterworth filter has long forgotten them


@dataclass(frozen=True)
class Part:
    """Samples start:stop are answered, and first:last read for it."""

    start: int
    stop: int
    first: int
    last: int


def parts(samples: int, fs: float, domain: SignalDomain, hop: float) -> Iterator[Part]:
    """Equal parts of a recording of `samples` at `fs` Hz, none longer than an hour.

    They begin where a window of the whole recording would, or a block of ten seconds, by whose RR
    the length of a beat may go.
    """
    count = ceil(samples / min(fs * LONGEST, MOST))
    if count == 1:
        yield Part(0, samples, 0, samples)
        return
    unit = BLOCK if domain.anchor == "beat" else max(1, round(hop * domain.fs)) / domain.fs
    margin = max(MARGIN, domain.window, PERIODS / domain.low if domain.order else 0)
    beside = ceil(margin / unit)
    steps = [round(samples / fs / count / unit * number) for number in range(count)]
    for number, step in enumerate(steps):
        begin, is_last = round(step * unit * fs), number == count - 1
        end = samples if is_last else round(steps[number + 1] * unit * fs)
        yield Part(
            start=begin,
            stop=end,
            first=round(max(0, step - beside) * unit * fs),
            last=min(samples, end + round(beside * unit * fs)),
        )
