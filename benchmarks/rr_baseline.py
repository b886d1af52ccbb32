"""What ten RR features know: gradient boosting on the last run's split, and the network beside it.

    python -m benchmarks.rr_baseline [--json FILE]

To be run where `dvc repro` ran. Whoever finds the R peaks and looks at their intervals alone gets
these scores; a network that sees the whole signal and stays below them has a fault.

Trees are scikit-learn's with half its learning rate, trained on train and val together: the network
uses val too, to choose its epoch. The answers for the test records are scored as the network's are,
by the same functions and the same resamples; the gain is paired, so its interval says whether the
network is above the trees even where theirs overlap.

A record's length may give its class away (in CinC 2017 half of Noise is shorter than 30 s), and a
network sees where a short one was padded. So the trees run once more with the length as one more
feature, and all are scored once more on the records that fill a window.
"""

import argparse
import os
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from retrace import params
from retrace.errors import InputError, reported
from retrace.files import read_csv, write_json
from retrace.scoring import scores
from retrace.scoring.intervals import Where, measure
from retrace.signals.features import RR_FEATURES, rr_features
from retrace.signals.recordings import Recordings
from retrace.signals.rpeaks import detect

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

DATA, PREDICTIONS = Path("data"), Path("plots/test/predictions.csv")
TREES = f"gradient boosting on {len(RR_FEATURES)} RR features"
NETWORK = "network"
WITH_LENGTH = "the same and the record's length"
RATE = 0.05


@dataclass(frozen=True)
class Table:
    """The records of a subset: names, whose they are, features (n, 10), lengths in s (n,), class
    numbers (n,)."""

    record_ids: list[str]
    groups: list[Hashable]  # the patient, or the record where that is unknown
    X: Floats
    seconds: Floats
    y: Integers

    @property
    def X_and_length(self) -> Floats:
        """Features (n, 11), the last of which is the length."""
        return np.column_stack([self.X, self.seconds])


def tabulate(data: Path, classes: Sequence[str]) -> tuple[Table, Table]:
    """What is known of the records to learn from (train and val) and of the test records.

    The beats are found in the first lead of data/filtered, in every record that has a segment.
    """
    subset_of = subsets(data)
    rows: dict[bool, list[tuple[str, Hashable, Floats, float, int]]] = {False: [], True: []}
    for record in Recordings(data / "filtered"):
        if (name := record.record_id) in subset_of:
            patient = record.patient_id
            features = rr_features(detect(record.signal[0], record.fs), record.fs)
            owner = ("patient", patient) if patient else ("record", name)
            number = classes.index(str(record.label))
            seconds = record.signal.shape[1] / record.fs
            rows[subset_of[name] == "test"].append((name, owner, features, seconds, number))
    if not rows[True] or not rows[False]:
        raise InputError(
            f"{data}/split.csv: no records to learn from or none to test; both are needed: run "
            "dvc repro"
        )
    seen, unseen = (
        Table(list(names), list(owners), np.array(X), np.array(seconds), np.array(y))
        for names, owners, X, seconds, y in (
            zip(*rows[test], strict=True) for test in (False, True)
        )
    )
    return seen, unseen


def subsets(data: Path) -> dict[str, str]:
    """The subset of each record: that of its segments."""
    owner = {
        row["segment_id"]: row["record_id"]
        for row in read_csv(data / "waveforms/segments.csv", ("segment_id", "record_id"))
    }
    found: dict[str, str] = {}
    for row in read_csv(data / "split.csv", ("segment_id", "subset")):
        record = owner.get(row["segment_id"])
        if record is None or found.setdefault(record, row["subset"]) != row["subset"]:
            raise InputError(
                f"split.csv: segment {row['segment_id']} is not in segments.csv, or its record is "
                "in two subsets; a record must stand on one side: run dvc repro"
            )
    return found


def answer(X_seen: Floats, y_seen: Integers, X: Floats, seed: int) -> Integers:
    """The class of each row of X, from trees that know the rows of X_seen."""
    known = ~np.isnan(X_seen).all(axis=0)  # the library fails on a column without a value
    if not known.any():
        raise InputError(
            "data/filtered: no record of the training part has three beats; RR features need "
            "them: use recordings of a heart"
        )
    trees = HistGradientBoostingClassifier(
        learning_rate=RATE, early_stopping=False, random_state=seed
    )
    trees.fit(X_seen[:, known], y_seen)
    return np.asarray(trees.predict(X[:, known]), dtype=np.int64)


def network_answer(path: Path, record_ids: Sequence[str], classes: Sequence[str]) -> Integers:
    """What the last run's network answered for the same records."""
    rows = read_csv(path, ("record_id", "predicted"))
    said = {row["record_id"]: row["predicted"] for row in rows}
    if said.keys() != set(record_ids) or not set(said.values()) <= set(classes):
        raise InputError(
            f"{path}: not of the records and classes of data/split.csv and params.yaml; all must "
            "come from one run: run dvc repro"
        )
    return np.array([classes.index(said[record]) for record in record_ids])


def compare(
    y: Integers,
    answers: dict[str, Integers],
    groups: Sequence[Hashable],
    classes: Sequence[str],
    *,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Scores of each answer by name, and the network's gain: leaves of value, low, high.

    y and each of the answers: (n,) class numbers. groups: what the bootstrap draws, n.
    """
    here = scores.present(y, len(classes))
    columns = scores.challenge_columns(classes)

    def statistic(weights: Floats) -> dict[Where, Floats]:
        found: dict[Where, Floats] = {}
        for name, predicted in answers.items():
            f1 = scores.rates(scores.confusion(y, predicted, len(classes), weights)).f1
            found[name, "f1_macro"] = scores.macro(f1, here)
            if columns and here[columns].any():
                found[name, "challenge_f1"] = scores.challenge_f1(f1, here, columns)
            found |= {(name, f"f1 {label}"): f1[:, c] for c, label in enumerate(classes)}
        if NETWORK in answers:
            for name, score in list(found):
                if name == TREES:
                    found["gain", score] = found[NETWORK, score] - found[TREES, score]
        return found

    return measure(groups, statistic, resamples=resamples, seed=seed)


def report(tree: dict[str, Any], records: str) -> list[dict[str, Any]]:
    """Print a table of the scores of `records`; the same figures as a list."""
    print(f"\n{records}")
    print(f"{'':14}" + "".join(f"{name:>{len(TREES) + 2}}" for name in tree))
    for score in tree[TREES]:
        cells = (f"{_text(of[score]):>{len(TREES) + 2}}" for of in tree.values())
        print(f"{score:14}" + "".join(cells))
    figures = []
    for score, trees in tree[TREES].items():
        ours = tree[NETWORK][score] if NETWORK in tree else None
        both = ours is not None and ours["value"] is not None and trees["value"]
        figures.append(
            {
                "name": f"{score} of {records}",
                "unit": "0 to 1",
                "ours": ours and ours["value"],
                "peers": {name: tree[name][score]["value"] for name in (TREES, WITH_LENGTH)},
                "gain": tree["gain"][score] if "gain" in tree else None,
                "ratio": ours["value"] / trees["value"] if ours and both else None,
                "error": None,
                "load": os.getloadavg()[0],
                "intervals": {
                    name: [of[score]["low"], of[score]["high"]]
                    for name, of in tree.items()
                    if name != "gain"
                },
            }
        )
    return figures


def _text(leaf: dict[str, float | None]) -> str:
    if leaf["value"] is None:
        return "-"
    span = "" if leaf["low"] is None else f" [{leaf['low']:.3f}, {leaf['high']:.3f}]"
    return f"{leaf['value']:.3f}{span}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    options = parser.parse_args()
    settings = params.load(Path("params.yaml"))
    seen, unseen = tabulate(DATA, settings.classes)
    answers = {
        TREES: answer(seen.X, seen.y, unseen.X, settings.seed),
        WITH_LENGTH: answer(seen.X_and_length, seen.y, unseen.X_and_length, settings.seed),
    }
    if PREDICTIONS.is_file():
        answers[NETWORK] = network_answer(PREDICTIONS, unseen.record_ids, settings.classes)
    else:
        print(f"{PREDICTIONS}: not there, so the trees stand alone; dvc repro writes it")
    window = settings.segment.window
    filled = unseen.seconds >= window
    print(f"{len(seen.y)} records to learn from")
    figures = []
    for chosen, which in (
        (np.ones(len(filled), bool), "test records"),
        (filled, f"test records of {window:g} s and longer"),
    ):
        if which != "test records" and (filled.all() or not filled.any()):
            continue
        tree = compare(
            unseen.y[chosen],
            {name: said[chosen] for name, said in answers.items()},
            [group for group, taken in zip(unseen.groups, chosen, strict=True) if taken],
            settings.classes,
            resamples=settings.evaluate.resamples,
            seed=settings.seed,
        )
        figures += report(tree, f"{int(chosen.sum())} {which}")
    if options.json:
        write_json(options.json, figures)


if __name__ == "__main__":
    with reported():
        main()
