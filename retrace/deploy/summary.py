"""What a whole recording comes to: counts, heart rate, burden, episodes, signal quality."""

from collections import Counter
from typing import Any

import numpy as np

from retrace.deploy.answers import Answer
from retrace.deploy.judged import Judged

STRETCH = 10.0  # s, over which a heart rate is taken and the signal's quality is told


def summary(judged: Judged) -> dict[str, Any]:
    """A tree for JSON; None stands where something cannot be known.

    segments; classes: how many of each, without the uncertain ones; uncertain; flagged; left_out:
    how many for each reason; whole: class and probability of the recording as a whole;
    heart_rate: mean, lowest and highest per minute; ectopic: share of S and of V among the beats
    that are certain, couplets and runs (three and more) of V; af: share of AF among the windows
    that are certain, start and length (s) of its longest episode; quality: of ten-second stretches.
    """
    answer, limits, placed = judged.answer, judged.limits, judged.placed
    return {
        "segments": len(judged.best),
        "classes": {name: int(judged.are(name).sum()) for name in answer.classes},
        "uncertain": None if limits.reject is None else int(judged.uncertain.sum()),
        "flagged": None if limits.threshold is None else int(judged.flagged.sum()),
        "left_out": dict(Counter(reason for _, reason in answer.left_out)),
        "whole": _whole(judged),
        "heart_rate": _heart_rate(answer) if placed else None,
        "ectopic": _ectopic(judged) if placed else None,
        "af": _af(judged) if placed else None,
        "quality": _quality(answer) if placed else None,
    }


def _whole(judged: Judged) -> dict[str, Any] | None:
    together = judged.answer.together
    if together is None or not len(together):
        return None
    probability = float(together.max())
    return {
        "class": judged.answer.classes[int(together.argmax())],
        "probability": round(probability, 6),
        "uncertain": None if judged.limits.reject is None else probability < judged.limits.reject,
    }


def _heart_rate(answer: Answer) -> dict[str, Any] | None:
    """Over RR intervals: of all, and of the stretches with the fewest and the most beats a minute.

    An interval belongs to the stretch in which it ends, so that a pause longer than a stretch
    still counts. Where beats were detected, a stretch whose signal is not good does not.
    """
    peaks = np.unique(answer.peaks) / answer.fs  # annotations of two leads may mark one beat twice
    ends, intervals = peaks[1:], np.diff(peaks)
    # Less than half a stretch at the end belongs to the one before: a second has no heart rate.
    last = max(1, round(answer.seconds / STRETCH)) - 1
    stretch = np.minimum(ends // STRETCH, last).astype(np.int64)
    if answer.peaks_from == "detector":
        poor = [int(start // STRETCH) for start, found in answer.quality if found != "good"]
        kept = ~np.isin(stretch, poor)
        intervals, stretch = intervals[kept], stretch[kept]
    if not len(intervals):
        return None
    beats = np.bincount(stretch)
    rates = 60 * beats[beats > 0] / np.bincount(stretch, intervals)[beats > 0]
    return {
        "mean": round(60 * len(intervals) / float(intervals.sum()), 1),
        "lowest": round(float(rates.min()), 1),
        "highest": round(float(rates.max()), 1),
        "peaks": len(peaks),
        "peaks_from": answer.peaks_from,
    }


def runs(judged: Judged, name: str) -> list[tuple[int, int]]:
    """First and behind-last segment of each unbroken row of segments of one class.

    A segment that got no answer breaks a row, for nobody knows what it was; so does a window that
    begins only after the one before it has ended.
    """
    answer, inside = judged.answer, judged.are(name)
    missing = np.sort(np.array([sample for sample, _ in answer.left_out], np.int64))
    broken = np.diff(np.searchsorted(missing, answer.samples), prepend=0) > 0
    if answer.unit == "window":
        broken |= np.diff(answer.samples, prepend=0) > round(answer.span * answer.fs) + 1
    starts = inside.copy()
    starts[1:] &= broken[1:] | ~inside[:-1]
    stops = inside.copy()
    stops[:-1] &= broken[1:] | ~inside[1:]
    first, last = np.flatnonzero(starts).tolist(), np.flatnonzero(stops).tolist()
    return [(start, stop + 1) for start, stop in zip(first, last, strict=True)]


def _share(judged: Judged, name: str) -> float | None:
    """Of a class among all segments that are certain."""
    certain = int((~judged.uncertain).sum())
    return round(int(judged.are(name).sum()) / certain, 6) if certain else None


def _ectopic(judged: Judged) -> dict[str, Any] | None:
    if judged.answer.unit != "beat" or not {"S", "V"} <= set(judged.answer.classes):
        return None
    lengths = [stop - start for start, stop in runs(judged, "V")]
    return {
        "s_share": _share(judged, "S"),
        "v_share": _share(judged, "V"),
        "v_couplets": lengths.count(2),
        "v_runs": sum(length > 2 for length in lengths),
        "v_longest_run": max(lengths, default=0),
    }


def _af(judged: Judged) -> dict[str, Any] | None:
    answer = judged.answer
    if answer.unit != "window" or "AF" not in answer.classes:
        return None
    found = runs(judged, "AF")
    begin = [float(answer.samples[start]) / answer.fs for start, _ in found]
    end = [float(answer.samples[stop - 1]) / answer.fs + answer.span for _, stop in found]
    lengths = [min(b, answer.seconds) - a for a, b in zip(begin, end, strict=True)]
    longest = int(np.argmax(lengths)) if lengths else None
    return {
        "share": _share(judged, "AF"),
        "episodes": len(found),
        "longest_start": None if longest is None else round(begin[longest], 3),
        "longest_seconds": None if longest is None else round(lengths[longest], 3),
    }


def _quality(answer: Answer) -> dict[str, Any] | None:
    if not answer.quality:
        return None
    found = Counter(name for _, name in answer.quality)
    good = found.pop("good", 0)
    return {"stretches": len(answer.quality), "good": good, "wrong": dict(found.most_common())}
