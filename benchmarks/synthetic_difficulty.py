"""Is the synthetic data set a fair task? Not separable by trifles, yet separable.

Three classifiers see new patients only (five folds by patient), each with a kind of knowledge:
the power in eight bands, the mean heart rate, and the true beats with a measure of how alike
they look. The first two should fail and the last should succeed: what tells the classes apart
is the rhythm, not a spectrum or a rate.

    python -m benchmarks.synthetic_difficulty --patients 100 --json
"""

import argparse
import json
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import wfdb
from numpy.typing import NDArray
from scipy.signal import butter, periodogram, sosfiltfilt
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from retrace.files import read_csv
from retrace.synthesis import synthesise

Floats = NDArray[np.float64]
CLASSES = ("NSR", "AF", "Other", "Noise")
BANDS = np.geomspace(0.5, 50, 9)


def band_powers(signal: Floats, fs: float) -> Floats:
    """Log power of the band-passed signal in eight bands between 0.5 and 50 Hz."""
    filtered = sosfiltfilt(butter(3, (0.5, 50), "bandpass", fs=fs, output="sos"), signal)
    f, power = periodogram(filtered, fs)
    inside = [(f >= low) & (f < high) for low, high in pairwise(BANDS)]
    return np.log([power[band].sum() + 1e-9 for band in inside])


def rhythm_features(
    signal: Floats, beats: NDArray[np.int64], symbols: list[str], fs: float
) -> Floats:
    """Irregularity of RR, shares of premature beats, and likeness of the beats to their mean."""
    rr = np.diff(beats) / fs
    half = int(0.1 * fs)
    beats = beats[(beats > half) & (beats < len(signal) - half)]
    windows = np.stack([signal[beat - half : beat + half + 1] for beat in beats])
    windows = windows - windows.mean(axis=1, keepdims=True)
    template = np.median(windows, axis=0)
    likeness = windows @ template / np.sqrt((windows**2).sum(1) * (template**2).sum())
    return np.array(
        [
            rr.mean(),
            rr.std() / rr.mean(),
            np.sqrt(np.mean(np.diff(rr) ** 2)) / rr.mean(),
            symbols.count("V") / len(symbols),
            symbols.count("A") / len(symbols),
            np.median(likeness),
        ]
    )


def measure(folder: Path) -> list[dict[str, Any]]:
    """Macro-F1 of each classifier on the recordings in `folder`."""
    rows = read_csv(folder / "labels.csv")
    powers, rhythms = [], []
    for row in rows:
        record = wfdb.rdrecord(str(folder / row["record_id"]))
        annotation = wfdb.rdann(str(folder / row["record_id"]), "atr")
        signal = record.p_signal[:, 0]
        powers.append(band_powers(signal, record.fs))
        # The first annotation names the rhythm.
        rhythms.append(
            rhythm_features(signal, annotation.sample[1:], annotation.symbol[1:], record.fs)
        )
    labels = np.array([row["label"] for row in rows])
    patients = np.array([row["patient_id"] for row in rows])
    linear = make_pipeline(
        StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000)
    )
    boosted = HistGradientBoostingClassifier(
        class_weight="balanced", random_state=0, min_samples_leaf=5, max_iter=60
    )
    tried = {
        "majority class": (DummyClassifier(), np.array(powers)),
        "mean RR, boosted trees": (boosted, np.array(rhythms)[:, :1]),
        "band powers, logistic regression": (linear, np.array(powers)),
        "band powers, boosted trees": (boosted, np.array(powers)),
        "true beats, boosted trees": (boosted, np.array(rhythms)),
    }
    results = []
    for name, (model, features) in tried.items():
        predicted = cross_val_predict(model, features, labels, groups=patients, cv=GroupKFold(5))
        per_class = f1_score(labels, predicted, labels=CLASSES, average=None, zero_division=0)
        results.append({"name": name, "f1_macro": float(per_class.mean())})
        results[-1] |= dict(zip(CLASSES, per_class.tolist(), strict=True))
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--patients", type=int, default=100)
    parser.add_argument("--records-per-patient", type=int, default=4)
    parser.add_argument("--noise", type=float, default=1.0)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        synthesise(
            Path(folder),
            seed=options.seed,
            patients=options.patients,
            records_per_patient=options.records_per_patient,
            fs=128,
            duration=10,
            noise=options.noise,
        )
        results = measure(Path(folder))
    if options.json:
        print(json.dumps(results, indent=2))
        return
    print(f"{'F1 on unseen patients':34}" + "".join(f"{name:>8}" for name in ("macro", *CLASSES)))
    for result in results:
        figures = [result[key] for key in ("f1_macro", *CLASSES)]
        print(f"{result['name']:34}" + "".join(f"{figure:8.3f}" for figure in figures))


if __name__ == "__main__":
    main()
