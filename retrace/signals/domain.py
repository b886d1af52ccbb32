"""What a trained model expects of a signal: pure data, written beside every model."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from retrace.files import write_json


@dataclass(frozen=True)
class Representation:
    """The scalogram that the model was trained on (see `signals.wavelets`)."""

    wavelet: str
    low: float
    high: float
    scales: int
    frames: int


@dataclass(frozen=True)
class BeatWindow:
    """How a beat lies in its window.

    peak: where its R peak is, as a share of the window: 0 the start, 0.5 the middle. rr_length:
    after so many median RR of its 10 s the beat ends, and zeros complete the window; None: it
    fills the window.
    """

    peak: float
    rr_length: float | None


@dataclass(frozen=True)
class SignalDomain:
    """Rate, leads, filter, window, normalisation and representation of the model's input.

    fs: Hz of the segments. leads: the names asked for, alternatives joined by "|". low, high:
    pass band in Hz, order: of one pass of the Butterworth filter, 0 for none. window: s. anchor:
    where a window starts: "start" of the recording and every hop from there, or at a "beat",
    which then says how. representation: None for a model that takes waveforms.
    """

    fs: float
    leads: tuple[str, ...]
    low: float
    high: float
    order: int
    window: float
    anchor: Literal["start", "beat"]
    normalise: str
    representation: Representation | None = None
    beat: BeatWindow | None = None

    @property
    def name(self) -> str | None:
        """The named domain that this is, `mitbih360` or `kaggle125`; None for any other."""
        found = (self.fs, self.samples, self.beat)
        return next((name for name, known in NAMED.items() if known == found), None)

    @property
    def samples(self) -> int:
        """The length of a window."""
        return max(1, round(self.window * self.fs))

    def to_dict(self) -> dict[str, Any]:
        """As it stands in domain.json and in a model's config.json."""
        fields = asdict(self)
        if self.beat is None:  # windows are described as they were before there were beats
            del fields["beat"]
        return fields

    def write(self, folder: Path) -> None:
        """Write domain.json, which travels with the segments it describes."""
        write_json(folder / "domain.json", self.to_dict())


# Two domains of 187 samples that published work uses, and that must never be taken for each other:
# Hz, samples, and how a beat lies in them.
NAMED = {
    "mitbih360": (360.0, 187, BeatWindow(peak=0.5, rr_length=None)),
    "kaggle125": (125.0, 187, BeatWindow(peak=0.0, rr_length=1.2)),
}


def read_domain(folder: Path) -> SignalDomain:
    """The domain of the segments in `folder`."""
    fields = json.loads((folder / "domain.json").read_text(encoding="utf-8"))
    representation, beat = fields.pop("representation"), fields.pop("beat", None)
    return SignalDomain(
        **fields | {"leads": tuple(fields["leads"])},
        representation=Representation(**representation) if representation else None,
        beat=BeatWindow(**beat) if beat else None,
    )
