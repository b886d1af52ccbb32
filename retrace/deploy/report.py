"""An answer as people read it: a line for each segment, then what the recording comes to."""

from collections.abc import Iterator, Mapping
from typing import Any

from retrace.deploy.answers import STATEMENT, word
from retrace.deploy.judged import Judged
from retrace.deploy.summary import summary

_NOT_SET = "nothing, for no {option} was given: it has no default, the clinic sets it"
_FROM = {"annotations": "annotated", "detector": "detected", "nobody": "of unknown origin"}


def clock(seconds: float) -> str:
    """1:02:03.456 for 3723.456 s."""
    milliseconds = round(1000 * seconds)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60}:{minutes % 60:02}:{rest // 1000:02}.{rest % 1000:03}"


def as_text(judged: Judged, model: Mapping[str, str], first: bool = True) -> Iterator[str]:
    """The lines of one recording, each with its line end; nothing is wrapped, so it greps.

    model: name, dataset and split of what answered, and perhaps a note on it. first: whether no
    recording stands above.
    """
    answer = judged.answer
    lead = f", lead {', '.join(answer.leads)}" if answer.leads else ""
    span = f"{clock(answer.seconds)} at {answer.fs:g} Hz{lead}; " if judged.placed else ""
    yield "" if first else "\n"
    origin = f"trained on {model['dataset']} ({model['split']})"
    yield f"{judged.name}: {span}model {model['name']}, {origin}\n"
    yield f"{model['note']}\n\n" if model.get("note") else "\n"
    yield from _segments(judged)
    yield f"\nSummary of {judged.name}\n"
    for name, said in _lines(judged, summary(judged)):
        yield f"  {name:<11} {said}\n"
    yield f"{STATEMENT}\n"


def _segments(judged: Judged) -> Iterator[str]:
    """A line for each segment, and for each that got no answer, in the order of time."""
    answer = judged.answer
    wide = max(len(name) for name in ("no answer", *map(word, answer.classes)))
    deep = len(clock(answer.seconds)) if judged.placed else len("number")
    yield f"{'time' if judged.placed else 'number':<{deep}}  {'class':<{wide}}  probability\n"
    for number, row in enumerate(judged.rows(), start=1):
        place = clock(row.sample / answer.fs) if judged.placed else str(number)
        name = "no answer" if row.name is None else word(row.name)
        sure = "" if row.probability is None else f"{row.probability:.3f}"
        marks = [row.left_out, row.flagged and "flagged", row.uncertain and "uncertain"]
        said = ", ".join(mark for mark in marks if mark)
        yield f"{place:<{deep}}  {name:<{wide}}  {sure:<11}  {said}".rstrip() + "\n"


def _lines(judged: Judged, found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    answer, limits = judged.answer, judged.limits
    if (whole := found["whole"]) is not None:
        doubt = ", uncertain" if whole["uncertain"] else ""
        yield "recording", f"{word(whole['class'])} ({whole['probability']:.3f}{doubt})"
    counts = ", ".join(f"{count:,} {word(name)}" for name, count in found["classes"].items())
    yield f"{answer.unit}s", f"{found['segments']:,}: {counts}"
    if limits.reject is None:
        yield "uncertain", _NOT_SET.format(option="--reject")
    else:
        yield (
            "uncertain",
            f"{found['uncertain']:,} with a probability below {limits.reject:g}, "
            "part of no other count",
        )
    if limits.threshold is None:
        yield "flagged", _NOT_SET.format(option="--threshold")
    else:
        both = int((judged.flagged & judged.uncertain).sum())
        also = f"; of {both:,} of them the class is uncertain" if both else ""
        yield (
            "flagged",
            f"{found['flagged']:,} with a probability of being anything but "
            f"{word(str(judged.normal))} of at least {limits.threshold:g}{also}",
        )
    if found["left_out"]:
        reasons = "; ".join(f"{count:,} ({reason})" for reason, count in found["left_out"].items())
        yield "no answer", reasons
    if judged.placed:
        yield from _of_the_recording(found, answer.unit)


def _of_the_recording(found: dict[str, Any], unit: str) -> Iterator[tuple[str, str]]:
    if (rate := found["heart_rate"]) is None:
        yield "heart rate", "not known: no R peaks were found in a good signal"
    else:
        yield (
            "heart rate",
            f"mean {rate['mean']:.0f}, lowest {rate['lowest']:.0f}, highest {rate['highest']:.0f} "
            f"per minute over ten seconds; {rate['peaks']:,} R peaks, {_FROM[rate['peaks_from']]}",
        )
    if (ectopic := found["ectopic"]) is not None and ectopic["s_share"] is not None:
        yield (
            "ectopic",
            f"Supraventricular {_percent(ectopic['s_share'])}, "
            f"Ventricular {_percent(ectopic['v_share'])} of beats; Ventricular couplets: "
            f"{ectopic['v_couplets']:,}, runs of three and more: {ectopic['v_runs']:,}"
            + (f", the longest of {ectopic['v_longest_run']:,}" if ectopic["v_runs"] else ""),
        )
    if unit == "beat":
        yield "AF", "not known: the model answers single beats, not rhythms"
    elif (af := found["af"]) is not None and af["episodes"]:
        yield (
            "AF",
            f"{_percent(af['share'])} of windows; longest episode {clock(af['longest_seconds'])}, "
            f"from {clock(af['longest_start'])}",
        )
    elif af is not None:
        yield "AF", "none found"
    if (quality := found["quality"]) is None:
        yield "signal", "its quality is not known"
    else:
        wrong = "".join(f"; {count:,} {name}" for name, count in quality["wrong"].items())
        yield (
            "signal",
            f"good in {quality['good']:,} of {quality['stretches']:,} ten-second stretches{wrong}",
        )


def _percent(share: float) -> str:
    """One decimal: a burden of 0.4 % is not none."""
    return f"{100 * share:.1f} %"
