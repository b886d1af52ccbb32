"""Changes to a training segment that leave its class as it is."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrace.padding import real_length


@dataclass(frozen=True)
class Augmentation:
    """How far a training segment is changed; 0 turns a change off.

    noise: standard deviation of white noise, in units of the segment's own. shift: largest
    circular shift in time, share of the window. scale: standard deviation of the logarithm of
    the amplitude. time_mask, frequency_mask: largest share of frames, of scales that is blanked
    (Park et al., "SpecAugment", Interspeech 2019).
    """

    noise: float
    shift: float
    scale: float
    time_mask: float
    frequency_mask: float

    @property
    def off(self) -> bool:
        """Whether nothing is changed at all."""
        return not any(vars(self).values())

    def __call__(self, segment: NDArray[np.float32], key: list[int]) -> NDArray[np.float32]:
        """A changed copy of (leads, ..., time); `key` alone, (seed, epoch, segment), decides."""
        draw = np.random.default_rng(key)
        # Every number is drawn whether it is used or not: one switch does not move the others.
        gain, shift = draw.standard_normal(), draw.uniform(-1, 1)
        spans = draw.uniform(size=(2, 2))
        length = real_length(segment) if segment.ndim == 2 else segment.shape[-1]
        whole = segment.copy()
        changed = whole[..., :length]  # padding stays what it is
        changed[:] = np.roll(changed, round(shift * self.shift * length), axis=-1)
        changed *= np.float32(np.exp(gain * self.scale))
        if self.noise:
            size = self.noise * float(changed.std())
            changed += np.float32(size) * draw.standard_normal(changed.shape, np.float32)
            if changed.ndim == 3:  # a scalogram is a magnitude
                np.abs(changed, out=changed)
        changed[..., _span(length, self.time_mask, spans[0])] = 0
        if changed.ndim == 3:
            scales = changed.shape[1]
            changed[:, _span(scales, self.frequency_mask, spans[1])] = 0
        return whole


def _span(length: int, share: float, draw: NDArray[np.float64]) -> slice:
    width = round(share * length * draw[0])
    start = int(draw[1] * (length - width + 1))
    return slice(start, start + width)
