"""An answer as a WFDB annotation file, which lies beside a record and every WFDB viewer opens.

Beats stand at their R peaks as N, S, V, F and Q, windows as rhythm changes "+". The field `num` has
the probability in percent: of the beat, or of the windows of that rhythm on average. A flagged beat
has the note "flagged"; an uncertain one is written as Q, the standard's unclassifiable beat, with
the note "uncertain, perhaps V". A segment that got no answer is a comment with the reason, and no
beat.

Format: https://physionet.org/physiotools/wag/annot-5.htm. The library wfdb writes it too, and is
not used: its import alone takes longer than a day's recording may.
"""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from retrace.deploy.answers import STATEMENT
from retrace.deploy.judged import Judged, Row
from retrace.errors import InputError
from retrace.files import new_file

ANNOTATOR = "retrace"
BEATS = {"N": 1, "V": 5, "F": 6, "S": 9, "Q": 13}  # their codes
COMMENT, RHYTHM = 22, 28
# The names that PhysioNet's databases use; another class keeps its own.
RHYTHMS = {"NSR": "(N", "AF": "(AFIB"}
UNCERTAIN, UNANSWERED = "(UNCERTAIN", "(NOANSWER"
_NUM, _AUX, _SKIP = 60, 63, 59
_LONGEST_STEP = 1023  # samples, to the next annotation; a longer one is a skip
_LONGEST_NOTE = 255  # bytes

Mark = tuple[int, int, int, str]  # sample, code, num, note


def check(unit: str, classes: tuple[str, ...]) -> None:
    """Refuse beats that have no symbol."""
    if unit == "beat" and (unknown := [name for name in classes if name not in BEATS]):
        raise InputError(
            f"--format wfdb: class {unknown[0]} has no symbol of a beat, those are "
            f"{', '.join(BEATS)}: use text, json or csv"
        )


def write(judged: Judged, folder: Path) -> Path:
    """Write `folder`/NAME.retrace and return its path.

    Raises InputError for beats of classes that have no symbol, and for segments without a time.
    """
    answer = judged.answer
    if not judged.placed:
        raise InputError(
            f"{answer.name}: --format wfdb marks times in a recording, but these segments came "
            "without one: use text, json or csv"
        )
    check(answer.unit, answer.classes)
    marks = _beats(judged) if answer.unit == "beat" else _rhythms(judged)
    path = folder / f"{answer.name}.{ANNOTATOR}"
    with new_file(path) as part:
        part.write_bytes(encode(marks, answer.fs))
    return path


def _beats(judged: Judged) -> Iterator[Mark]:
    for row in judged.rows():
        if row.name is None:
            yield row.sample, COMMENT, 0, f"no answer: {row.left_out}"
            continue
        flagged = "flagged" if row.flagged else ""
        if row.uncertain:
            note = f"uncertain, perhaps {row.name}"
            yield row.sample, BEATS["Q"], _percent([row]), f"{flagged}, {note}" if flagged else note
        else:
            yield row.sample, BEATS[row.name], _percent([row]), flagged


def _rhythms(judged: Judged) -> Iterator[Mark]:
    for rhythm, windows in groupby(judged.rows(), key=_rhythm):
        rows = list(windows)
        yield rows[0].sample, RHYTHM, _percent(rows), rhythm


def _rhythm(row: Row) -> str:
    if row.name is None:
        return UNANSWERED
    return UNCERTAIN if row.uncertain else RHYTHMS.get(row.name, f"({row.name.upper()}")


def _percent(rows: list[Row]) -> int:
    return round(100 * sum(row.probability or 0 for row in rows) / len(rows))


def encode(marks: Iterator[Mark], fs: float) -> bytes:
    """The bytes of an annotation file at `fs` Hz, its marks in the order of time."""
    # First comes the sampling rate, in the words that readers look for.
    parts = [_one(0, COMMENT, 0, f"## time resolution: {fs:.10g}"), _one(0, COMMENT, 0, STATEMENT)]
    before = 0
    for sample, code, num, note in marks:
        parts.append(_one(sample - before, code, num, note))
        before = sample
    return b"".join([*parts, bytes(2)])


def _one(step: int, code: int, num: int, note: str) -> bytes:
    data = b""
    if step > _LONGEST_STEP:  # its high half comes first
        data += _word(_SKIP, 0) + (step >> 16).to_bytes(2, "little")
        data += (step & 0xFFFF).to_bytes(2, "little")
        step = 0
    data += _word(code, step)
    if code != COMMENT:
        data += _word(_NUM, num)
    if note:
        text = note.encode("ascii", "replace")[:_LONGEST_NOTE]
        data += _word(_AUX, len(text)) + text + bytes(len(text) % 2)
    return data


def _word(code: int, value: int) -> bytes:
    return (code << 10 | value).to_bytes(2, "little")
