"""Which segments are asked again, and what their answers are worth."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retrace.files import read_csv
from retrace.learning.data import Segments
from retrace.learning.robustness import CONDITIONS, drawn
from retrace.scoring.robustness import compare, summarise, write


def _segments(records: int, each: int) -> Segments:
    n = records * each
    names = [f"r{number // each}" for number in range(n)]
    return Segments(
        X=np.zeros((n, 1, 4), np.float32),
        features=np.zeros((n, 0), np.float32),
        segment_ids=[f"s{number}" for number in range(n)],
        record_ids=names,
        patient_ids=[None] * n,
        starts=[0.0] * n,
        samples=[None] * n,
        symbols=[None] * n,
        labels=np.arange(n) // each % 2,
        subsets=np.array(["train" if number < each else "test" for number in range(n)]),
        classes=["a", "b"],
    )


def test_windows_are_drawn_with_their_whole_record() -> None:
    rows = drawn(_segments(20, 3), 10, "mean", seed=1)

    records = [row // 3 for row in rows.tolist()]
    assert len(rows) == 9 and 0 not in records
    assert all(records.count(record) == 3 for record in records)
    assert rows.tolist() != drawn(_segments(20, 3), 10, "mean", seed=2).tolist()


def test_beats_are_drawn_one_by_one_and_a_small_test_part_is_taken_whole() -> None:
    segments = _segments(20, 30)

    rows = drawn(segments, 100, "none", seed=1)

    assert len(set(rows.tolist())) == 100 and rows.min() >= 30
    assert (rows == drawn(segments, 100, "none", seed=1)).all()
    assert (drawn(segments, 570, "none", seed=1) == segments.rows("test")).all()


def test_the_difference_is_to_the_clean_answers_of_the_same_segments() -> None:
    y = np.array([0, 1] * 50)
    worse = np.where(np.arange(100) < 20, 1 - y, y)
    partly = np.where(np.arange(100) < 50, worse, -1)
    conditions = [("clean", None), ("muscle", 0), ("wrong lead", None), ("none", None)]
    predicted = np.stack([y, worse, partly, np.full(100, -1)])

    clean, noisy, half, none = compare(
        conditions, y, predicted, ["N", "S"], list(range(100)), resamples=200, seed=1
    )

    assert clean["difference"] == {"value": 0, "low": 0, "high": 0}
    assert noisy["difference"]["value"] == pytest.approx(-0.2)
    assert -0.3 < noisy["difference"]["low"] < -0.2 < noisy["difference"]["high"] < -0.1
    assert (half["answers"], half["f1_macro"]["value"]) == (50, pytest.approx(0.6))
    assert none["f1_macro"]["value"] is None and none["note"] == "no other lead"


def test_the_classes_of_beats_have_their_own_mean() -> None:
    y = np.array([0, 1, 2, 3] * 10)
    predicted = np.stack([y, np.where(y == 3, 0, y)])  # every F is called N

    clean, noisy = compare(
        [("clean", None), ("muscle", 0)],
        y,
        predicted,
        ["N", "S", "V", "F"],
        list(range(40)),
        resamples=100,
        seed=1,
    )

    assert clean["f1_macro_nsv"]["value"] == 1
    assert noisy["f1_macro_nsv"]["value"] == pytest.approx((2 / 3 + 1 + 1) / 3, abs=1e-6)
    assert noisy["f1_macro"]["value"] == pytest.approx((2 / 3 + 1 + 1 + 0) / 4, abs=1e-6)


@pytest.fixture
def summary() -> dict[str, Any]:
    y = np.arange(60) % 2
    generator = np.random.default_rng(0)
    wrong = generator.random((len(CONDITIONS), 60)) < 0.2
    predicted = np.where(wrong, 1 - y, y)
    predicted[-1] = -1
    people = [n // 3 for n in range(60)]
    options: dict[str, Any] = {"unit": "beat", "segments": 60, "of": 90, "resamples": 100}
    return summarise(CONDITIONS, y, predicted, ["N", "S"], people, **options, seed=1)


def test_every_condition_is_a_row_of_table_and_json(
    tmp_path: Path, summary: dict[str, Any]
) -> None:
    write(tmp_path, summary)

    rows = read_csv(tmp_path / "robustness.csv")
    assert json.loads((tmp_path / "robustness.json").read_text()) == summary
    assert [(row["condition"], row["snr_db"]) for row in rows] == [
        (name, "" if snr is None else str(snr)) for name, snr in CONDITIONS
    ]
    assert [*rows[0]][:6] == [
        "condition",
        "snr_db",
        "answers",
        "f1_macro",
        "f1_macro_low",
        "f1_macro_high",
    ]
    assert (rows[-1]["f1_macro"], rows[-1]["note"]) == ("", "no other lead")
    assert summary["notes"][0] == "60 of the 90 test segments, drawn by the seed."


def test_the_same_answers_give_the_same_picture(tmp_path: Path, summary: dict[str, Any]) -> None:
    pictures = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, summary)
        pictures.append((tmp_path / name / "robustness.png").read_bytes())

    assert pictures[0] == pictures[1] and len(pictures[0]) > 10_000
