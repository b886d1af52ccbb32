"""MIT-BIH's own patients among the stored recordings: they judge no model of MIT-BIH.

Whoever tries the service has MIT-BIH at hand and uploads it. A model of MIT-BIH has learned from
some of these patients, and was tested by others: judged by them again, it would be flattered, or
its test part would decide. They are found as `datasets.collected` finds them in a training, by
intervals between beats that repeat theirs to the sample, but without MIT-BIH: TABLE has digests of
some of these. So MIT-BIH at another sampling rate, with beats that were marked anew, or cut into
pieces of fewer than 80 beats, need not be recognised.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from retrace.datasets.collected import rhythms
from retrace.deploy.inputs import Ready, Refused, open_inputs
from retrace.deploy.readers.annotations import read_beats
from retrace.errors import InputError
from retrace.service.recordings import KEPT
from retrace.service.tables import Recording

if TYPE_CHECKING:
    from retrace.service.state import Service

DATASETS = frozenset({"mitdb", "collected", "heartbeat"})  # made of MIT-BIH, which Kaggle's is too
TABLE = Path(__file__).with_name("mitbih.txt")  # see `table`
FS, SAMPLES = 360.0, 650_000  # of each record
# Of so many digests in a row the least is in the table (winnowing: Schleimer, Wilkerson and Aiken,
# SIGMOD 2003): whoever repeats 80 beats in a row has one that is.
ROW = 64
BYTES = 6  # of a digest; two thousand of another heart meet one by chance in 1 of 40 million cases


class Patients:
    """Who of the persons whose recordings are stored is one of MIT-BIH's patients."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._found: dict[str, bool] = {}

    def have(self, person: str) -> bool:
        """Whether one of this person's recordings repeats MIT-BIH; it reads their annotations."""
        if person not in self._found:
            with self._service.database.read() as session:
                rows = list(session.scalars(select(Recording).where(Recording.person == person)))
            self._found[person] = any(self._is_one(row) for row in rows if row.labels)
        return self._found[person]

    def _is_one(self, row: Recording) -> bool:
        try:
            return _repeats(self._service.settings.home / KEPT / row.id / row.file, row.fs)
        except InputError:  # damaged, or deleted meanwhile: it judges nothing
            return False


def table(folder: Path) -> str:
    """The content of TABLE, made of the annotations (.atr) of MIT-BIH's records in a folder."""
    found: set[bytes] = set()
    for path in folder.glob("*.atr"):
        each = _digests(read_beats(path, FS, SAMPLES, FS))
        found.update(min(each[n : n + ROW]) for n in range(len(each) - ROW + 1))
    return "".join(f"{digest.hex()}\n" for digest in sorted(found))


@lru_cache(maxsize=1 << 17)  # a stored recording never changes
def _repeats(file: Path, fs: float) -> bool:
    """Whether a recording repeats MIT-BIH. Raises InputError where it cannot be read."""
    found = next(open_inputs([file], fs))
    if isinstance(found, Refused | Ready):
        raise InputError("recording: it cannot be read, or is none: upload it again")
    if found.beats is None:
        return False
    beats = np.rint(found.beats * (FS / found.fs)).astype(np.int64)
    return not _known().isdisjoint(_digests(beats))


@lru_cache(maxsize=1)
def _known() -> frozenset[bytes]:
    return frozenset(map(bytes.fromhex, TABLE.read_text(encoding="ascii").split()))


def _digests(beats: NDArray[np.int64]) -> Sequence[bytes]:
    return [hashlib.sha256(rhythm).digest()[:BYTES] for rhythm in rhythms(beats)]
