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
class SignalDomain:
    """Rate, leads, filter, window, normalisation and representation of the model's input.

    fs: Hz of the segments. leads: the names asked for, alternatives joined by "|". low, high:
    pass band in Hz, order: of one pass of the Butterworth filter. window: s. anchor: where a
    window starts: "start" of the recording and every hop from there. representation: None for
    a model that takes waveforms.
    """

    fs: float
    leads: tuple[str, ...]
    low: float
    high: float
    order: int
    window: float
    anchor: Literal["start"]
    normalise: str
    representation: Representation | None = None

    @property
    def samples(self) -> int:
        """The length of a window."""
        return max(1, round(self.window * self.fs))

    def to_dict(self) -> dict[str, Any]:
        """As it stands in domain.json and in a model's config.json."""
        return asdict(self)

    def write(self, folder: Path) -> None:
        """Write domain.json, which travels with the segments it describes."""
        write_json(folder / "domain.json", self.to_dict())


def read_domain(folder: Path) -> SignalDomain:
    """The domain of the segments in `folder`."""
    fields = json.loads((folder / "domain.json").read_text(encoding="utf-8"))
    representation = fields.pop("representation")
    return SignalDomain(
        **fields | {"leads": tuple(fields["leads"])},
        representation=Representation(**representation) if representation else None,
    )
