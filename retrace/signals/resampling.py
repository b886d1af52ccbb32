"""Another sampling rate."""

from fractions import Fraction

import numpy as np
import scipy.signal
from numpy.typing import NDArray


def resample(signal: NDArray[np.float32], fs: float, to: float) -> NDArray[np.float32]:
    """Change the sampling rate of (leads, samples) from `fs` to `to` Hz.

    Polyphase filtering with SciPy's Kaiser-windowed anti-aliasing filter, along the samples.
    """
    if fs == to:
        return signal
    ratio = Fraction(to).limit_denominator(10_000) / Fraction(fs).limit_denominator(10_000)
    slow = scipy.signal.resample_poly(
        signal.astype(np.float64), ratio.numerator, ratio.denominator, axis=-1
    )
    return slow.astype(np.float32)
