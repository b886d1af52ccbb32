"""Ten numbers that say how regular the heart beats, from its R peaks alone.

RR is the interval (s) from one R peak to the next, dRR the change from one RR to the next. Atrial
fibrillation makes RR vary without a pattern; premature beats make it vary with one. All but the
first three are relative to the mean or median RR: they do not tell the heart rate once more.

Sources: Task Force of the ESC and the NASPE, "Heart rate variability", Circulation 93 (1996)
1043-1065 (SDNN, RMSSD); K. Tateno and L. Glass, "Automatic detection of atrial fibrillation using
the coefficient of variation and density histograms of RR and dRR intervals", Med. Biol. Eng.
Comput. 39 (2001) 664-671; S. Sarkar, D. Ritscher and R. Mehra, "A detector for a chronic
implantable atrial tachyarrhythmia monitor", IEEE Trans. Biomed. Eng. 55 (2008) 1219-1224 (each dRR
against the one before it); J. S. Richman and J. R. Moorman, "Physiological time-series analysis
using approximate entropy and sample entropy", Am. J. Physiol. 278 (2000) H2039-H2049.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import median_filter

from retrace.errors import InputError

Floats = NDArray[np.float64]

RR_FEATURES = (
    "rr_median",  # s
    "rr_min",  # s
    "rr_max",  # s
    "rr_cv",  # SDNN / mean RR
    "rmssd",  # root mean square of dRR / mean RR
    "drr_median",  # median |dRR| / median RR; a few premature beats leave it small
    "irregular",  # share of RR outside 0.8 to 1.2 of the running median of nine
    "drr_entropy",  # bits, of the histogram of dRR / mean RR in bins of 0.05
    "drr_autocorrelation",  # of each dRR with the next: -0.5 in disorder, -1 in bigeminy
    "sample_entropy",  # of RR, m = 1, r = 0.1 mean RR
)

NEIGHBOURS = 9
USUAL = (0.8, 1.2)
BIN = 0.05
ALIKE = 0.1
DIGITS = 9  # processors differ over the last bits of a logarithm


def rr_features(peaks: ArrayLike, fs: float) -> Floats:
    """The features of a recording (10,), named and defined by `RR_FEATURES`.

    peaks: sample indices (k,) of the R peaks at `fs` Hz, ascending. All are NaN for fewer than
    three peaks; `drr_autocorrelation` is NaN where dRR never changes, `sample_entropy` where no
    two RR are alike.
    Raises InputError for peaks that do not ascend and for a rate that is none.
    """
    times = np.asarray(peaks, dtype=np.float64)
    if times.ndim != 1 or not (np.diff(times) > 0).all():
        raise InputError(
            f"peaks of shape {times.shape} must be one ascending list of sample indices: sort "
            "them and remove what stands twice"
        )
    if not (math.isfinite(fs) and fs > 0):
        raise InputError(f"fs is {fs:g} Hz but must be above 0: give the true sampling rate")
    if len(times) < 3:
        return np.full(len(RR_FEATURES), np.nan)
    rr = np.diff(times) / fs
    drr = np.diff(rr)
    mean, median = rr.mean(), np.median(rr)
    local = rr / median_filter(rr, NEIGHBOURS)
    features = [
        median,
        rr.min(),
        rr.max(),
        rr.std(ddof=1) / mean,
        np.sqrt(np.mean(drr * drr)) / mean,
        np.median(np.abs(drr)) / median,
        np.mean((local < USUAL[0]) | (local > USUAL[1])),
        _entropy(np.rint(drr / (BIN * mean))),
        _autocorrelation(drr),
        _sample_entropy(rr, ALIKE * mean),
    ]
    return np.asarray(np.round(np.array(features, dtype=np.float64), DIGITS), dtype=np.float64)


def _entropy(bins: Floats) -> float:
    """Shannon's, in bits, of how often each bin is met."""
    _, counts = np.unique(bins, return_counts=True)
    shares = (counts / counts.sum()).tolist()
    return math.fsum(share * math.log2(1 / share) for share in shares)


def _autocorrelation(values: Floats) -> float:
    """With lag 1. Summed without a dot product, whose order is the processor's choice."""
    centred = values - values.mean()
    power = float((centred * centred).sum())
    return float((centred[1:] * centred[:-1]).sum()) / power if power > 0 else math.nan


def _sample_entropy(values: Floats, r: float) -> float:
    """How much rarer two alike pairs in a row are than two alike values: ln of the ratio.

    Half a case is added to both counts, so that a short recording without any is not infinite.
    """
    values_alike = pairs_alike = 0
    for lag in range(1, len(values) - 1):
        alike = np.abs(values[lag:] - values[:-lag]) <= r
        values_alike += int(alike[:-1].sum())
        pairs_alike += int((alike[:-1] & alike[1:]).sum())
    return math.log((values_alike + 0.5) / (pairs_alike + 0.5)) if values_alike else math.nan
