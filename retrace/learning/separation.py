"""Whether the model was trained on the hearts it is tested on: measured, not declared."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from retrace.learning.data import Segments

INTRA_PATIENT = "intra-patient"
# The share of the test part's segments above which it is said to be of patients that are known to
# the model. DS2 holds one such record (202; 201, of the same patient, is in DS1): 4 %.
MOST = 0.1
# Three in four SVEB of DS2 are one patient's: gross figures of SVEB are first of all his.
DOMINANT = {"ds1_ds2": "232"}


@dataclass(frozen=True)
class Separation:
    """How a split keeps the test part's patients from train and val.

    test_patients: how many there are, None where one is unknown. shared: those who stand in train
    or val too, and shared_records their records in the test part. whole: no record of the test part
    stands in train or val. stamp: "intra-patient" where the scores flatter: the patients of more
    than a tenth of the segments are shared, or unknown.
    """

    method: str
    test_patients: int | None
    shared: list[str]
    shared_records: list[str]
    whole: bool
    stamp: str | None

    @property
    def apart(self) -> dict[str, list[str]]:
        """Sets of test records, by name, without which scores are given once more."""
        if self.stamp or not self.whole:
            return {}
        own = self.shared_records
        more = sorted({*own, *([DOMINANT[self.method]] if self.method in DOMINANT else [])})
        return {" and ".join(records): records for records in (own, more) if records}

    def to_dict(self) -> dict[str, Any]:
        """As it stands in scores.json."""
        return {
            "method": self.method,
            "test_patients": self.test_patients,
            "shared_patients": None if self.test_patients is None else len(self.shared),
            "shared_records": [] if self.stamp else self.shared_records,
            "stamp": self.stamp,
            "note": self.note,
        }

    @property
    def note(self) -> str:
        """The same in a sentence."""
        if self.test_patients is None:
            return (
                "INTRA-PATIENT: the patients are unknown, so that one heart may stand on both "
                "sides; these scores flatter, and say nothing of a new patient."
            )
        if self.stamp:
            return (
                f"INTRA-PATIENT: {len(self.shared)} of {self.test_patients} test patients are in "
                "train or val too; these scores flatter, and say nothing of a new patient."
            )
        if self.shared:
            verb = "is" if len(self.shared) == 1 else "are"
            return (
                f"{len(self.shared)} of {self.test_patients} test patients {verb} in train or val "
                f"too, with another record (here {', '.join(self.shared_records)}): scores without "
                "stand beside."
            )
        return f"None of the {self.test_patients} test patients is in train or val."


def separation(segments: Segments, method: str) -> Separation:
    """How the split of these segments, made by `method`, keeps patients apart."""
    test, seen = segments.rows("test"), np.isin(segments.subsets, ("train", "val"))
    known = np.flatnonzero(seen)
    trained = {segments.patient_ids[row] for row in known}
    patients = {segments.patient_ids[row] for row in test}
    shared = sorted(name for name in patients & trained if name is not None)
    of_shared = [row for row in test if segments.patient_ids[row] in shared]
    unknown = None in patients
    return Separation(
        method=method,
        test_patients=None if unknown else len(patients),
        shared=shared,
        shared_records=sorted({segments.record_ids[row] for row in of_shared}),
        whole={segments.record_ids[row] for row in test}.isdisjoint(
            segments.record_ids[row] for row in known
        ),
        stamp=INTRA_PATIENT if unknown or len(of_shared) > MOST * len(test) else None,
    )
