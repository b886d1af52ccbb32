"""Numbers in which drift shows, one set for each recording: of signal, rhythm and answers.

At most thirty minutes of a recording are looked at, spread evenly, one at a time: a day takes as
long as half an hour, and no more memory. Each number is the median of those minutes, so that it is
of the same kind whether a recording is short or long. It is the lead that the model looked at, the
first of several; its R peaks are always those of the detector, since few recordings come annotated.
"""

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import rfft, rfftfreq
from scipy.signal.windows import hann

from retrace.deploy.inputs import Ready, Recording, Refused, open_inputs
from retrace.deploy.predictor import Predictor
from retrace.errors import InputError
from retrace.files import read_csv
from retrace.scoring.drift import Sample
from retrace.service.parts import SPLIT, WAVEFORMS, check_run, reason
from retrace.signals.apply import choose_leads
from retrace.signals.filters import bandpass
from retrace.signals.quality import quality, restlessness
from retrace.signals.rpeaks import detect

Floats = NDArray[np.float64]

STRETCH, MOST = 60.0, 30  # s, and how many of them are looked at
SHORTEST = 3.0  # s; the filter needs two
LOWEST_FS = 80.0  # Hz; below it QRS complexes have no shape
LOW, HIGH, ORDER = 0.5, 40.0, 2  # Hz
WANDER = 0.05  # Hz, below which nothing drifts within a minute
QRS = 0.08  # s on either side of an R peak
MIDDLE = (1, 99)  # percentiles: a few artefacts move no amplitude
BEATS = 3  # from so many on there is a rhythm

SIGNAL = {
    "amplitude": "mV from the 1st to the 99th percentile, 0.5 to 40 Hz",
    "qrs": "mV from the lowest to the highest point within 80 ms of an R peak",
    "polarity": "1 where QRS complexes point up alone, -1 where they point down",
    "wander": "power from 0.05 to 0.5 Hz, as a share of that from 0.05 to 40 Hz",
    "high": "power above 40 Hz, as a share of that above 0.5 Hz",
    "restlessness": "steepness between the beats, as a share of the beats' own",
    "good": "share of ten-second stretches whose quality is good",
    "rr_median": "s from one beat to the next",
    "rr_sd": "s, standard deviation of these intervals within a minute",
    "rmssd": "s, root mean square of the change from one interval to the next",
}
CONFIDENCE, MIX = "confidence", "mix"
FEATURES = {**SIGNAL, CONFIDENCE: "mean probability of the class that was answered"}


def observed(
    recording: Recording, row: int, answered: Sequence[str], confidence: Sequence[float]
) -> dict[str, Any]:
    """`FEATURES` of a recording and its answer, None where unknown, and its "mix".

    row: number of the lead. answered, confidence: the class of each segment, and its probability.
    mix: how often each class was answered.
    """
    found: dict[str, Any] = dict(signal(recording, row))
    found[CONFIDENCE] = float(np.mean(confidence)) if len(confidence) else None
    return found | {MIX: dict(Counter(answered))}


def sample(
    observations: Sequence[Mapping[str, Any]], classes: Sequence[str], groups: Sequence[Hashable]
) -> Sample:
    """Observations as `drift.compare` takes them."""
    features = {
        name: np.array([each[name] for each in observations], np.float64) for name in FEATURES
    }
    mix = [[each[MIX].get(name, 0) for name in classes] for each in observations]
    counts = np.array(mix, np.float64).reshape(len(observations), len(classes))
    return Sample(features, counts, tuple(classes), groups)


def reference(
    root: Path,
    predictor: Predictor,
    subset: str = "test",
    progress: Callable[[float], None] | None = None,
) -> dict[str, Any]:
    """Observations of the recordings on which the model was tested, as JSON.

    root: of a repository, or of a training's work tree, whose data are of the model's own run: raw
    (WFDB), waveforms and split.csv. The raw recordings are answered as new ones are, at the beats
    that are found in them. persons: whose each is, numbered.
    Raises InputError where the data are not there, of another run, or no recordings.
    """
    card = predictor.card
    try:
        check_run(root, card)
        owners = _owners(root, subset)
        places = {path.stem: path for path in (root / "data/raw").rglob("*.hea")}
    except (OSError, ValueError, KeyError, InputError) as error:
        raise InputError(
            f"data: the {subset} part of the model's own run is not here ({reason(root, error)}): "
            "run its recipe, then dvc pull"
        ) from None
    if missing := [name for name in owners if Path(name).name not in places]:
        raise InputError(
            f"data/raw: no WFDB record {missing[0]}; drift is looked for in recordings: use the "
            "first answers of the service as a reference"
        )
    observations = []
    for number, name in enumerate(owners):
        recording = next(open_inputs([places[Path(name).name]]))
        if isinstance(recording, Refused | Ready):
            raise InputError(f"data/raw: record {name} cannot be read: obtain it again")
        row = choose_leads(name, recording.leads, card.domain)[0]
        answer = predictor.answer(recording, detect=True)
        answered = [card.classes[best] for best in answer.best.tolist()]
        observations.append(observed(recording, row, answered, answer.confidence.tolist()))
        if progress:
            progress((number + 1) / len(owners))
    numbers = {person: number for number, person in enumerate(dict.fromkeys(owners.values()))}
    return {
        "from": f"the {subset} part of the model's own run",
        "classes": list(card.classes),
        "persons": [numbers[person] for person in owners.values()],
        "observations": observations,
    }


def _owners(root: Path, subset: str) -> dict[str, str]:
    """The records of a part of the run, and whose they are; a record of nobody is its own."""
    split = read_csv(root / SPLIT, ("segment_id", "subset"))
    inside = {row["segment_id"] for row in split if row["subset"] == subset}
    segments = read_csv(
        root / WAVEFORMS / "segments.csv", ("segment_id", "record_id", "patient_id")
    )
    return {
        row["record_id"]: row["patient_id"] or row["record_id"]
        for row in segments
        if row["segment_id"] in inside
    }


def signal(recording: Recording, row: int) -> dict[str, float | None]:
    """The numbers of `SIGNAL` of one lead, None where they cannot be told."""
    minutes = [_minute(values, recording.fs) for values in _stretches(recording, row)]
    found: dict[str, float | None] = {}
    for name in SIGNAL:
        known = [minute[name] for minute in minutes if math.isfinite(minute[name])]
        # Of minutes that are mostly good the median would tell nothing.
        middle = np.mean if name == "good" else np.median
        found[name] = float(middle(known)) if known else None
    return found


def _stretches(recording: Recording, row: int) -> Iterator[NDArray[np.float32]]:
    """The minutes that are looked at, without those in which a sample is no number."""
    length = round(STRETCH * recording.fs)
    whole = recording.samples // length
    if recording.fs <= LOWEST_FS or recording.samples < SHORTEST * recording.fs:
        return
    count = min(max(whole, 1), MOST)
    for number in range(count):
        start = number * whole // count * length
        stop = min(start + length, recording.samples)
        values = recording.read(start, stop, (row,))
        if np.isfinite(values).all():
            yield values


def _minute(raw: NDArray[np.float32], fs: float) -> dict[str, float]:
    """`SIGNAL` of a minute (1, samples) or less; NaN where it cannot be told."""
    filtered = bandpass(raw, fs=fs, low=LOW, high=HIGH, order=ORDER)
    wave = filtered[0].astype(np.float64)
    low, high = np.percentile(wave, MIDDLE)
    words = [word for _, word in quality(raw, fs)]
    peaks = detect(wave, fs)
    return {
        "amplitude": float(high - low),
        **_shape(wave, peaks, fs),
        **_noise(raw[0].astype(np.float64), fs),
        "restlessness": _median(restlessness(filtered, fs)[0]),
        "good": words.count("good") / len(words) if words else math.nan,
        **_rhythm(peaks / fs),
    }


def _shape(wave: Floats, peaks: NDArray[np.int64], fs: float) -> dict[str, float]:
    """How high QRS complexes are, and where they point."""
    reach = round(QRS * fs)
    inside = peaks[(peaks >= reach) & (peaks < len(wave) - reach)]
    around = wave[inside[:, np.newaxis] + np.arange(-reach, reach + 1)]
    up, down = around.max(axis=1, initial=0), -around.min(axis=1, initial=0)
    height = up + down
    return {
        "qrs": _median(height),
        "polarity": _median((up - down)[height > 0] / height[height > 0]),
    }


def _noise(raw: Floats, fs: float) -> dict[str, float]:
    """What lies below the heart's frequencies, and above them."""
    f = rfftfreq(len(raw), 1 / fs)
    spectrum = rfft((raw - raw.mean()) * hann(len(raw), sym=False))
    power = spectrum.real**2 + spectrum.imag**2
    below, heart, above = (
        float(power[(f >= first) & (f < last)].sum())
        for first, last in ((WANDER, LOW), (LOW, HIGH), (HIGH, math.inf))
    )
    if heart == 0:
        return {"wander": math.nan, "high": math.nan}
    return {"wander": below / (below + heart), "high": above / (above + heart)}


def _rhythm(times: Floats) -> dict[str, float]:
    """Of R peaks at these times (s)."""
    if len(times) < BEATS:
        return dict.fromkeys(("rr_median", "rr_sd", "rmssd"), math.nan)
    rr = np.diff(times)
    change = np.diff(rr)
    return {
        "rr_median": float(np.median(rr)),
        "rr_sd": float(rr.std()),
        "rmssd": float(np.sqrt(np.mean(change * change))),
    }


def _median(values: NDArray[np.floating]) -> float:
    return float(np.median(values)) if len(values) else math.nan
