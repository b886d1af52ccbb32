"""The bar for the network: scored by the network's own functions, and blind to the test labels."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import rr_baseline
from benchmarks.rr_baseline import NETWORK, TREES, Table, answer, compare, network_answer, tabulate
from retrace.errors import InputError
from retrace.files import read_csv, write_csv
from retrace.scoring.evaluation import evaluate
from retrace.scoring.scores import score
from retrace.signals.recordings import recordings_writer
from retrace.signals.records import Record
from tests.sources import ROOT

CLASSES = ["NSR", "AF", "Other", "Noise"]
FS, SECONDS, EACH = 100, 15, 20  # EACH: records of a class; every fifth is a test record


def signal(label: str, generator: np.random.Generator) -> NDArray[np.float32]:
    """Pulses at the instants of the class; Noise has none."""
    usual = generator.uniform(0.6, 1.0)
    intervals = {
        "NSR": usual + generator.normal(0, 0.01, 40),
        "AF": generator.uniform(0.4, 1.2, 40),
        "Other": usual * np.tile([0.7, 1.3], 20),
        "Noise": np.full(40, 99.0),
    }[label]
    t = np.arange(FS * SECONDS) / FS
    beats = np.cumsum(intervals)[:, None]
    pulses = np.exp(-0.5 * ((t - beats) / 0.012) ** 2).sum(axis=0)
    noise = 0.3 if label == "Noise" else 0.02
    return np.asarray(pulses + noise * generator.standard_normal(len(t)), dtype=np.float32)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder as the stages leave it, of recordings whose rhythm gives the class away."""
    generator = np.random.default_rng(4)
    folder = tmp_path / "data"
    (folder / "filtered").mkdir(parents=True)
    (folder / "waveforms").mkdir()
    segments, split = [], []
    with recordings_writer(folder / "filtered") as writer:
        for number in range(EACH * len(CLASSES)):
            name, label = f"r{number:03d}", CLASSES[number % len(CLASSES)]
            writer.append(Record(name, FS, ("I",), signal(label, generator)[None], label=label))
            subset = ("test", "val", "train", "train", "train")[number // len(CLASSES) % 5]
            segments.append((f"{name}_000", name))
            split.append((f"{name}_000", label, subset))
    write_csv(folder / "waveforms/segments.csv", ("segment_id", "record_id"), segments)
    write_csv(folder / "split.csv", ("segment_id", "label", "subset"), split)
    return folder


def run(data: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """The list that the benchmark writes when it is run beside the folder."""
    (data.parent / "params.yaml").write_bytes((ROOT / "recipes/synthetic.yaml").read_bytes())
    monkeypatch.chdir(data.parent)
    monkeypatch.setattr("sys.argv", ["rr_baseline", "--json", "figures.json"])
    rr_baseline.main()
    figures: list[dict[str, object]] = json.loads(Path("figures.json").read_text())
    return figures


def relabel(data: Path, names: Sequence[str]) -> None:
    """Give these records the next class in records.csv."""
    path = data / "filtered/records.csv"
    rows = read_csv(path)
    for row in rows:
        if row["record_id"] in names:
            row["label"] = CLASSES[(CLASSES.index(row["label"]) + 1) % len(CLASSES)]
    write_csv(path, list(rows[0]), [list(row.values()) for row in rows])


def one_hot(answers: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.eye(len(CLASSES))[answers]


def test_the_figures_are_what_the_scores_give(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    figures, printed = run(data, monkeypatch), capsys.readouterr().out

    seen, unseen = tabulate(data, CLASSES)
    probabilities = one_hot(answer(seen.X, seen.y, unseen.X, seed=7))
    assert (len(seen.y), len(unseen.y)) == (64, 16)
    assert all(figure["ours"] is None for figure in figures)
    found: dict[str, dict[str, float]] = {
        str(figure["name"]).split()[0]: figure["peers"]  # type: ignore[misc]
        for figure in figures
    }
    for name in ("f1_macro", "challenge_f1"):
        expected = score(name, unseen.y, probabilities, CLASSES)
        assert expected > 0.8  # the rhythm does give the class away
        assert found[name][TREES] == pytest.approx(expected, abs=1e-6)
        assert f"{expected:.3f} [" in printed


def test_the_network_has_the_figures_of_its_own_evaluation(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, unseen = tabulate(data, CLASSES)
    said = (unseen.y + (np.arange(len(unseen.y)) % 3 == 0)) % len(CLASSES)
    rows = [(name, CLASSES[c]) for name, c in zip(unseen.record_ids, said, strict=True)]
    predictions = data.parent / "plots/test/predictions.csv"
    write_csv(predictions, ("record_id", "predicted"), rows)

    figures = run(data, monkeypatch)

    nothing = [None] * len(rows)
    own = evaluate(
        record_ids=unseen.record_ids,
        patient_ids=nothing,
        ages=nothing,
        sexes=nothing,
        y=unseen.y,
        probabilities=one_hot(said),
        raw_probabilities=one_hot(said),
        classes=CLASSES,
        thresholds=[0.5] * len(CLASSES),
        resamples=1000,
        seed=7,
    ).scores["overall"]["f1_macro"]
    macro = next(figure for figure in figures if str(figure["name"]).startswith("f1_macro"))
    assert macro["ours"] == own["value"]
    assert isinstance(macro["intervals"], dict)
    assert macro["intervals"][NETWORK] == [own["low"], own["high"]]


def test_a_length_that_gives_the_class_away_shows_beside_the_rhythm(data: Path) -> None:
    assert set(tabulate(data, CLASSES)[1].seconds) == {SECONDS}
    y = np.arange(400) % len(CLASSES)
    nothing = np.random.default_rng(1).normal(size=(800, 10))
    seen, unseen = (
        Table([], [], X, (10.0 + y).astype(np.float64), y) for X in (nothing[:400], nothing[400:])
    )

    by_rhythm = answer(seen.X, y, unseen.X, seed=7)
    by_both = answer(seen.X_and_length, y, unseen.X_and_length, seed=7)

    assert (by_rhythm == y).mean() < 0.4
    assert (by_both == y).mean() > 0.9


def test_test_labels_do_not_alter_the_answers(data: Path) -> None:
    seen, unseen = tabulate(data, CLASSES)
    before = answer(seen.X, seen.y, unseen.X, seed=7)

    relabel(data, unseen.record_ids)
    other_seen, other_unseen = tabulate(data, CLASSES)
    assert (other_unseen.y != unseen.y).all()
    assert np.array_equal(answer(other_seen.X, other_seen.y, other_unseen.X, seed=7), before)

    relabel(data, seen.record_ids)  # while those of the other records do
    other_seen, other_unseen = tabulate(data, CLASSES)
    assert not np.array_equal(answer(other_seen.X, other_seen.y, other_unseen.X, seed=7), before)


def test_the_gain_is_paired() -> None:
    y = np.arange(400) % 4
    wrong = np.where(np.arange(400) < 200, (y + 1) % 4, y)
    better = wrong.copy()
    better[:24] = y[:24]
    answers = {TREES: wrong, NETWORK: better}

    tree = compare(y, answers, range(400), CLASSES, resamples=200, seed=1)

    assert tree[TREES]["f1_macro"]["high"] > tree[NETWORK]["f1_macro"]["low"]
    assert tree["gain"]["f1_macro"]["low"] > 0


def test_predictions_of_another_run_are_refused(data: Path) -> None:
    _, unseen = tabulate(data, CLASSES)
    path = data.parent / "predictions.csv"
    for rows in ([("other", "NSR")], [(name, "N") for name in unseen.record_ids]):
        write_csv(path, ("record_id", "predicted"), rows)
        with pytest.raises(InputError, match="must come from one run"):
            network_answer(path, unseen.record_ids, CLASSES)


def test_recordings_without_beats_are_refused_and_a_few_are_not(data: Path) -> None:
    seen, unseen = tabulate(data, CLASSES)
    seen.X[:, 1:] = np.nan
    assert len(answer(seen.X, seen.y, unseen.X, seed=7)) == len(unseen.y)
    seen.X[:] = np.nan
    with pytest.raises(InputError, match="no record of the training part has three beats"):
        answer(seen.X, seen.y, unseen.X, seed=7)
