"""What a model says of one recording, and the words it is said in."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

STATEMENT = "It supports decisions; it makes no diagnosis."
WORDS = {
    "N": "Normal",
    "S": "Supraventricular",
    "V": "Ventricular",
    "F": "Fusion",
    "Q": "Unknown",
    "NSR": "Normal rhythm",
    "AF": "Atrial fibrillation",
}
# What data sets call a healthy beat or rhythm, in small letters; all else is abnormal.
NORMAL = ("n", "nsr", "normal")


def word(name: str) -> str:
    """A class as people read it; one that needs no words stays as it is named."""
    return WORDS.get(name, name)


def normal(classes: Sequence[str]) -> str | None:
    """The class of a healthy beat or rhythm; None where no class is named like one."""
    return next((name for name in classes if name.lower() in NORMAL), None)


@dataclass(frozen=True)
class Answer:
    """The answers of a model to the k segments of one recording.

    name: of the recording. fs: Hz, seconds: its length. unit: what a segment is. samples: (k,) at
    `fs`, the R peak of a beat or the first sample of a window. span: s of a segment. classes: as
    the model names them. probabilities: (k, classes), calibrated. together: (classes,) the answer
    for the recording as a whole, its windows joined by the model's rule; None for beats. peaks:
    (m,) all R peaks, found or annotated; none where nobody looked. peaks_from: who marked them.
    left_out: sample and reason of each segment that got no answer. quality: start (s) and a word
    ("good", or what is wrong) for each ten seconds of the signal; empty where it is not known.
    leads: the names of those that were looked at.
    """

    name: str
    fs: float
    seconds: float
    unit: Literal["beat", "window"]
    samples: NDArray[np.int64]
    span: float
    classes: tuple[str, ...]
    probabilities: NDArray[np.float64]
    together: NDArray[np.float64] | None
    peaks: NDArray[np.int64]
    peaks_from: Literal["annotations", "detector", "nobody"]
    left_out: tuple[tuple[int, str], ...] = ()
    quality: tuple[tuple[float, str], ...] = ()
    leads: tuple[str, ...] = ()

    @property
    def best(self) -> NDArray[np.int64]:
        """(k,) number of the most probable class of each segment."""
        return np.asarray(self.probabilities.argmax(axis=1), np.int64)

    @property
    def confidence(self) -> NDArray[np.float64]:
        """(k,) the probability of that class."""
        return np.asarray(self.probabilities.max(axis=1), np.float64)
