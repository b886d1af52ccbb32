"""How recordings are cut into segments."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from retrace.signals.domain import BeatWindow

# What a model may ask for beside the waveform of a beat, see `signals.beats`.
RR_COLUMNS = ("rr_previous", "rr_next", "rr_ratio")
BEAT_FEATURES = (*RR_COLUMNS, "likeness")


@dataclass(frozen=True)
class Plan:
    """How recordings are cut: the section `segment` of params.yaml.

    fs: Hz of the segments, None for that of the recordings, which then must be one and the same.
    window, hop: s. flat: what to do with a segment in which a lead does not change, "error" or
    "drop". normalise: see `scaling.normalised`. beat: of anchor "beat". labels: from the symbols of
    beats to classes; None leaves a kind of beat out.
    """

    anchor: Literal["start", "beat"]
    fs: float | None
    window: float
    hop: float
    short: str
    flat: str
    normalise: str
    beat: BeatWindow
    labels: Mapping[str, str | None]

    def samples(self, rate: float) -> int:
        """The length of a segment at `rate` Hz."""
        return max(1, round(self.window * rate))
