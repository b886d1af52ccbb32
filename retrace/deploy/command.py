"""The work of `retrace predict`: recordings in, answers out, in one of four formats."""

import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from retrace.deploy import annotations
from retrace.deploy.judged import Judged, Limits
from retrace.deploy.output import check_output, progress, writer
from retrace.errors import InputError

if TYPE_CHECKING:
    from retrace.deploy.inputs import Ready, Recording, Refused


def predict(
    paths: Sequence[Path],
    model: Path,
    *,
    limits: Limits,
    fs: float | None = None,
    lead: str | None = None,
    detect: bool = False,
    form: str = "text",
    output: Path | None = None,
    plot: Path | None = None,
) -> bool:
    """Answer every recording below `paths`; whether all could be answered.

    One that cannot gets its sentence on stderr. form: text, json, csv or wfdb. output: a file, or
    for wfdb a folder; None: stdout, or for wfdb the working folder. The rest is as `retrace predict
    --help` says. Raises InputError, before anything is written, for what concerns all of them.
    """
    check_output(form, output)
    if plot:
        from retrace.deploy.plot import check, draw

        check(plot)
    from retrace.deploy.inputs import Ready, Refused, open_inputs
    from retrace.deploy.predictor import Predictor

    predictor = Predictor(model)
    card = predictor.card
    limits.check(card.classes)
    if form == "wfdb":
        annotations.check(card.unit, card.classes)
    inputs = _only(open_inputs(paths, fs), plot) if plot else open_inputs(paths, fs)
    about = {"name": card.model, "dataset": card.dataset, "split": card.split}
    about["weights"] = card.hashes.get("weights", "")
    about["note"] = card.note
    whole = True
    with writer(form, output, about) as write:
        for given in inputs:
            try:
                if isinstance(given, Refused):
                    raise InputError(given.why)
                if isinstance(given, Ready):
                    judged = Judged(predictor.answer_ready(given), limits, placed=False)
                else:
                    with progress(given.name) as show:
                        answer = predictor.answer(given, lead=lead, detect=detect, progress=show)
                    judged = Judged(answer, limits)
                    if plot:
                        draw(plot, judged, given, lead, card.domain)
                write(judged)
            except InputError as error:
                print(f"error: {error}", file=sys.stderr)
                whole = False
    return whole


def _only(
    inputs: "Iterator[Recording | Ready | Refused]", plot: Path
) -> "Iterator[Recording | Ready | Refused]":
    """The one recording that a plot shows; InputError where there are more, or none with a time."""
    from retrace.deploy.inputs import Ready

    found = list(islice(inputs, 2))
    if len(found) > 1:
        raise InputError(f"--plot {plot}: it draws one recording, but there are more: name one")
    if found and isinstance(found[0], Ready):
        raise InputError(
            f"--plot {plot}: it draws a recording, but {found[0].path} holds segments that were "
            "cut out of one: name the recording"
        )
    return iter(found)
