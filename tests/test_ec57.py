"""The beat-by-beat scorer: who belongs to whom, the table of a record, the figures of EC57."""

import json
import math
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wfdb
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchmarks.bxb import by_bxb, by_wfdb_python, disturb, reference
from benchmarks.rpeaks import FOLDER
from retrace.errors import InputError
from retrace.learning.splits import DS1, DS2, PACED
from retrace.scoring.beats import record_rows, reports
from retrace.scoring.ec57 import CONVENTIONS, LETTERS, figures, is_paced, majority, table
from retrace.scoring.ec57_recording import Recording
from retrace.scoring.ec57_report import report
from retrace.scoring.matching import Beats, match, read
from tests.published import by_ec57

BXB, PAPERS = CONVENTIONS["bxb"], CONVENTIONS["papers"]
FS = 1000.0  # so that a sample is a millisecond and the window 150 of them
MITDB = Path(os.environ.get("RETRACE_MIRROR", "")) / FOLDER
NUMBERS = sorted(DS1 + DS2 + PACED)
on_real_records = pytest.mark.skipif(
    not (MITDB / "100.atr").is_file(), reason="RETRACE_MIRROR holds no MIT-BIH"
)


def beats(text: str) -> Beats:
    """From "N1000 [2000 ]3000": symbol and sample; "u" opens and "r" ends a shutdown."""
    words = text.split()
    symbols = ["~" if word[0] in "ur" else word[0] for word in words]
    subtypes = [-1 if word[0] == "u" else 0 for word in words]
    return read([int(word[1:]) for word in words], symbols, FS, subtypes)


def cells(ours: str, theirs: str, start: float = 0.0) -> str:
    """The cells of the table that are not empty, with their counts."""
    one, other = beats(ours), beats(theirs)
    counts = table(one, other, match(one, other, FS, start=start), BXB)
    rows, columns = np.nonzero(counts)
    found = (
        f"{LETTERS[row]}{LETTERS[column].lower()}{counts[row, column]}"
        for row, column in zip(rows, columns, strict=True)
    )
    return " ".join(found)


# Worked out by hand, 150 ms on either side; the words say which rule decides.
CASES = {
    "the same sample": ("N1000", "N1000", "Nn1"),
    "the window includes its own width, late": ("N1000", "N1150", "Nn1"),
    "the window includes its own width, early": ("N1150", "N1000", "Nn1"),
    "one more is too far": ("N1000", "N1151", "No1 On1"),
    "another class": ("V1000", "N1050", "Vn1"),
    "a beat is missed": ("N1000 S2000", "N1000", "Nn1 So1"),
    "a beat is too many": ("N1000", "N1000 V2000", "Nn1 Ov1"),
    "the later of two is closer": ("N1000", "V900 N1010", "Nn1 Ov1"),
    "the earlier of two is closer": ("N1000", "N990 V1100", "Nn1 Ov1"),
    "of two equally close the later": ("N1000", "V950 N1050", "Nn1 Ov1"),
    "of two beats the later is closer": ("N1000 V1100", "V1090", "No1 Vv1"),
    "of two beats equally close the later": ("N1000 V1200", "V1100", "No1 Vv1"),
    "the rival has a closer partner": ("N1000 V1120", "N1070 V1160", "Nn1 Vv1"),
    "the rival has a closer partner, mirrored": ("N1070 V1160", "N1000 V1120", "Nn1 Vv1"),
    "the rival has none": ("N1000 V1120", "N1070 V1190", "No1 Vn1 Ov1"),
    "a detection in flutter is not counted": ("[1000 ]3000", "N1500 V3000 F3001", "Of1"),
    "a beat in flutter is not counted": ("N900 [1000 V2000 ]3000", "N900 V2000", "Nn1"),
    "flutter ends within the window of a beat": ("[1000 ]3000 V3050", "V2950", "Vv1"),
    "flutter has no end": ("N900 [1000 V2000", "N900 V2000 V9000", "Nn1"),
    "the test's own flutter excuses nothing": ("N1000", "[900 N1000 ]1100", "No1"),
    "missed while the test was off": ("N1000 V2000 N3000", "N1000 u1500 r2500", "Nn1 No1 Vx1"),
    "found in what the reference cannot read": ("N1000 u1500 r2500", "N1000 V2000", "Nn1 Xv1"),
    "a pair in shutdown is a pair": ("u1500 r2500 N2510", "N2450", "Nn1"),
    "shutdown marked in the middle": (
        "N1000 u2000 N3000",
        "N1000 S1149 V1150 V2850 S2851 N3000",
        "Nn2 Os2 Xv2",
    ),
    "shutdown has no end": ("N1000 V2000", "N1000 u1500", "Nn1 Vx1"),
    "no annotation on one side": ("N1000 V2000", "", "No1 Vo1"),
}


@pytest.mark.parametrize(("ours", "theirs", "expected"), CASES.values(), ids=CASES)
def test_pairs_worked_out_by_hand(ours: str, theirs: str, expected: str) -> None:
    assert cells(ours, theirs) == expected


BORDER = {
    "what lies before the start is not counted": ("N900 V1300", "V900 V1300", "Vv1"),
    "the pair stands on the border": ("V1010", "V990", "Vv1"),
    "a beat before the start is no partner if the next is closer": (
        "V1100",
        "N960 V1150",
        "Vv1",
    ),
    "the partner lies before the start": ("N990 N2000", "V1010 N2000", "Nn1"),
    "only the first may have its partner there": ("N900 N2000", "V1010 V1100 N2000", "Nn1 Ov1"),
    "too far behind the border": ("N990 N2000", "V1151 N2000", "Nn1 Ov1"),
}


@pytest.mark.parametrize(("ours", "theirs", "expected"), BORDER.values(), ids=BORDER)
def test_the_border_of_the_learning_period(ours: str, theirs: str, expected: str) -> None:
    assert cells(ours, theirs, start=1.0) == expected


def test_annotations_that_are_no_beats_are_none() -> None:
    # Rhythm, noise, a blocked P wave, a comment, a flutter wave and an end without its start.
    assert cells("+10 r20 x30 |40 !50 ]60 N1000", "N1000") == "Nn1"


def test_bad_annotations_are_one_sentence() -> None:
    with pytest.raises(InputError, match=r"2 samples, 1 symbols.*give lists of one length"):
        read([1, 2], ["N"], FS)
    with pytest.raises(InputError, match="not in order: sort them"):
        read([2, 1], ["N", "N"], FS)
    with pytest.raises(InputError, match=r"beat symbol \?: not in the map.*add it"):
        nobody = beats("")
        table(beats("?10"), nobody, match(beats("?10"), nobody, FS), {"N": "N"})


places = st.lists(st.integers(1, 5000), max_size=40, unique=True).map(sorted)
marked = places.flatmap(
    lambda at: st.tuples(st.just(at), st.lists(st.sampled_from("NSVFQ"), min_size=len(at)))
)


def drawn(at: list[int], symbols: list[str]) -> Beats:
    return read(at, symbols[: len(at)], FS)


@given(marked, marked)
def test_every_beat_is_counted_once_and_pairs_are_within_the_window(
    ours: tuple[list[int], list[str]], theirs: tuple[list[int], list[str]]
) -> None:
    one, other = drawn(*ours), drawn(*theirs)
    pairs = match(one, other, FS)
    assert sorted(pairs.reference[pairs.reference >= 0]) == list(range(len(one.samples)))
    assert sorted(pairs.test[pairs.test >= 0]) == list(range(len(other.samples)))
    gaps = one.samples[pairs.reference[pairs.both]] - other.samples[pairs.test[pairs.both]]
    assert (np.abs(gaps) <= 150).all()
    counts = table(one, other, pairs, BXB)
    assert dict(zip(LETTERS, counts.sum(axis=1)[:5], strict=False)) == {
        letter: one.symbols.count(letter) for letter in "NSVFQ"
    }


@given(marked, st.integers(0, 10**6))
def test_who_agrees_has_a_diagonal_table_wherever_the_record_starts(
    ours: tuple[list[int], list[str]], later: int
) -> None:
    one, other = drawn(*ours), drawn([at + later for at in ours[0]], ours[1])
    counts = table(one, one, match(one, one, FS), BXB)
    assert np.array_equal(counts, np.diag(counts.diagonal()))
    assert np.array_equal(counts, table(other, other, match(other, other, FS), BXB))


def numbered() -> NDArray[np.int64]:
    """A table whose cells are all different: row 1 is 11 to 17, row 2 is 21 to 27 and so on."""
    counts = 10 * np.arange(1, 8)[:, None] + np.arange(1, 8)
    counts[5:, 5:] = 0
    return counts


def test_the_figures_count_the_cells_that_the_standard_names() -> None:
    found = {name: float(value) for name, value in figures(numbered().astype(float)).items()}
    total = sum(10 * row + column for row in range(1, 6) for column in range(1, 6))
    missed = 16 + 17 + 26 + 27 + 36 + 37 + 46 + 47 + 56 + 57
    extra = sum(range(61, 66)) + sum(range(71, 76))
    v_false = 13 + 23 + 63 + 73  # Fv and Qv are no false VEB
    v_spared = sum(10 * r + c for r in (1, 2, 4, 5, 6, 7) for c in (1, 2, 4, 5))
    s_false = 12 + 32 + 42 + 62 + 72  # Qs is no false SVEB
    s_spared = sum(10 * r + c for r in (1, 3, 4, 5, 6, 7) for c in (1, 3, 4, 5))
    assert found["qrs_sensitivity"] == total / (total + missed)
    assert found["qrs_ppv"] == total / (total + extra)
    assert found["veb_sensitivity"] == 33 / sum(range(31, 38))
    assert found["veb_ppv"] == 33 / (33 + v_false)
    assert found["veb_fpr"] == v_false / (v_false + v_spared)
    assert found["sveb_sensitivity"] == 22 / sum(range(21, 28))
    assert found["sveb_ppv"] == 22 / (22 + s_false)
    assert found["sveb_fpr"] == s_false / (s_false + s_spared)
    assert found["accuracy"] == (11 + 22 + 33 + 44 + 55) / total
    f1 = [
        2 * (10 * k + k) / (sum(range(10 * k + 1, 10 * k + 8)) + sum(range(10 + k, 80, 10)))
        for k in range(1, 5)
    ]
    assert found["f1_macro_nsv"] == pytest.approx(sum(f1[:3]) / 3)
    assert found["f1_macro_nsvf"] == pytest.approx(sum(f1) / 4)


def test_a_figure_without_a_case_does_not_exist_and_takes_no_part_in_a_mean() -> None:
    counts = np.zeros((7, 7))
    counts[0, 0], counts[2, 2] = 90, 10
    found = figures(counts)
    assert math.isnan(found["sveb_sensitivity"]) and math.isnan(found["sveb_ppv"])
    assert found["sveb_fpr"] == 0
    assert found["f1_macro_nsv"] == found["f1_macro_nsvf"] == 1


def test_the_majority_baseline_finds_the_same_beats_and_calls_them_all_normal() -> None:
    counts = numbered().astype(float)
    counts[0, 0] = 1000
    blunt = majority(counts)
    assert np.array_equal(blunt.sum(axis=1), counts.sum(axis=1))
    assert figures(blunt)["qrs_ppv"] == figures(counts)["qrs_ppv"]
    assert figures(blunt)["veb_sensitivity"] == 0 and math.isnan(figures(blunt)["veb_ppv"])


def test_the_two_conventions_differ_in_escape_beats_alone() -> None:
    assert {symbol for symbol in BXB if BXB[symbol] != PAPERS[symbol]} == {"e", "j"}
    assert BXB["e"] == BXB["j"] == "S" and PAPERS["e"] == PAPERS["j"] == "N"
    assert all(aami[letter] == letter for aami in (BXB, PAPERS) for letter in "NSVFQ")


def recording(name: str, patient: str | None, ours: str, theirs: str, sex: str = "F") -> Recording:
    test = beats(theirs)
    p = np.eye(5)[["NSVFQ".index(symbol) for symbol in test.symbols]] * 0.9 + 0.02
    return Recording(name, patient, 69, sex, FS, beats(ours), test, p)


def row(symbols: str) -> str:
    return " ".join(f"{symbol}{1000 * (n + 1)}" for n, symbol in enumerate(symbols))


RECORDS = [
    recording("a", "1", row("NNNNNNNNNNNNNNNNVVVV"), row("NNNNNNNNNNNNNNNNVVNN")),
    recording("b", "1", row("NNNNNNNNNNNNNNNNSSVF"), row("NNNNNNNNNNNNNNNVNSVV"), "M"),
    recording("c", "2", row("NNNNNNNNNNNNNNNNNNNj"), row("NNNNNNNNNNNNNNNNNNNS"), "M"),
    recording("d", "3", row("NNNN////////////////"), row("NNNNVVVVVVVVVVVVVVVV")),
]


def scored(convention: str = "bxb", **options: Any) -> dict[str, Any]:
    settings: dict[str, Any] = {"peaks": "annotated", "resamples": 200, "seed": 1} | options
    return report(RECORDS, convention=convention, **settings)


def test_a_report_has_gross_average_and_each_record_without_the_paced_ones() -> None:
    apart = {"b": ["b"], "a and b": ["a", "b"], "of another": ["x"]}
    text = json.loads(json.dumps(scored(apart=apart), allow_nan=False))
    assert text["protocol"]["paced_left_out"] == ["d"]
    assert list(text["records"]) == ["a", "b", "c"]
    assert text["counts"] == {
        "records": 3,
        "patients": 2,
        "beats": {"N": 51, "S": 3, "V": 5, "F": 1, "Q": 0},
    }
    assert text["gross"]["veb_sensitivity"]["value"] == 0.6  # 3 of 5
    assert text["average"]["veb_sensitivity"]["value"] == 0.75  # 2 of 4 and 1 of 1; c has none
    assert text["gross"]["veb_ppv"]["value"] == 0.75  # the F called V is no error
    assert list(text["without"]) == ["b", "a and b"]
    assert text["without"]["b"]["gross"]["veb_sensitivity"]["value"] == 0.5
    assert text["without"]["a and b"]["counts"]["records"] == 1
    assert text["baselines"]["majority"]["class"] == "N"
    assert text["baselines"]["majority"]["f1_macro_nsv_gain"]["value"] > 0
    assert text["subgroups"]["sex"]["groups"]["M"]["counts"]["records"] == 2
    assert "e) count as S" in text["notes"][0] and "annotated peaks" in text["notes"][0]
    assert text["records"]["b"]["cells"] == {"Nn": 15, "Nv": 1, "Sn": 1, "Ss": 1, "Vv": 1, "Fv": 1}
    assert text["cells"]["Vn"] == 2


def test_paced_records_are_scored_on_request() -> None:
    assert scored(with_paced=True)["counts"]["beats"]["Q"] == 16


def test_the_convention_decides_whether_a_junctional_escape_beat_is_a_sveb() -> None:
    found = {name: scored(name)["gross"]["sveb_ppv"]["value"] for name in CONVENTIONS}
    assert found == {"bxb": 1.0, "papers": 0.5}


def test_the_intervals_draw_patients() -> None:
    tree = scored()
    assert tree["bootstrap"]["groups"] == 2
    # Both VEB records are one patient's: no resample that has them says anything else.
    veb = tree["gross"]["veb_sensitivity"]
    assert veb["low"] == veb["high"] == 0.6


def test_calibration_is_pooled_and_of_the_worst_record() -> None:
    sure = scored()["calibration"]
    # .92 sure everywhere; right in 18, 17 and 20 of 20.
    assert sure["worst_record"] == {"record_id": "c", "ece": pytest.approx(0.08)}
    assert sure["ece"] == pytest.approx(0.92 - 55 / 60, abs=1e-6)


def test_reports_of_other_classes_or_of_nothing_do_not_exist() -> None:
    assert by_ec57(1.0, classes=("normal", "abnormal")) == {}
    settings: dict[str, Any] = {"classes": "NSVFQ", "with_paced": False, "apart": {}, "notes": []}
    assert reports([], [], **settings, resamples=10, seed=1) == {}
    # Where every record is paced, they are what there is to score.
    only = reports(RECORDS[3:], [], **settings, resamples=10, seed=1)
    assert only["papers"]["counts"]["beats"]["Q"] == 16


def test_the_table_of_records_is_that_of_the_headline() -> None:
    ec57 = by_ec57(0.9)
    found = record_rows({"ec57": ec57})
    assert found is not None
    columns, rows = found
    assert [row[0] for row in rows] == ["200", "201", "202", "203"]
    first = dict(zip(columns, rows[0], strict=True))
    own = ec57["papers"]["records"]["200"]
    assert first["beats_v"] == own["beats"]["V"]
    assert first["veb_ppv"] == own["veb_ppv"]
    assert record_rows({"ec57": {}}) is None


def test_nothing_to_score_is_one_sentence() -> None:
    with pytest.raises(InputError, match=r"all 1 records are paced.*include the paced ones"):
        report(RECORDS[3:], convention="bxb", peaks="annotated", resamples=10, seed=1)
    with pytest.raises(InputError, match="expected papers or bxb; got 'mine'"):
        scored("mine")
    with pytest.raises(InputError, match="expected annotated or detected; got 'both'"):
        scored(peaks="both")


@on_real_records
def test_the_classes_of_mit_bih_are_those_that_were_counted() -> None:
    symbols: Counter[str] = Counter()
    paced = []
    for number in NUMBERS:
        annotated, *_ = reference(MITDB / number)
        symbols.update(annotated.symbols)
        if is_paced(annotated):
            paced.append(number)
    assert paced == ["102", "104", "107", "217"]
    for aami, expected in (
        (PAPERS, {"N": 90631, "S": 2781, "V": 7236, "F": 803, "Q": 8043}),
        (BXB, {"N": 90386, "S": 3026, "V": 7236, "F": 803, "Q": 8043}),
    ):
        found: Counter[str] = Counter()
        for symbol, count in symbols.items():
            found[aami[symbol]] += count
        assert found == expected


@on_real_records
@pytest.mark.parametrize("number", ["105", "207"])  # unreadable stretches, ventricular flutter
def test_as_many_pairs_as_wfdb_python_makes(number: str) -> None:
    annotated, fs, length = reference(MITDB / number)
    for draw in range(3):
        test = disturb(annotated, fs, length, np.random.default_rng([int(number), draw]))
        pairs = match(annotated, test, fs)
        assert int(pairs.both.sum()) == by_wfdb_python(annotated, test, fs)


@on_real_records
@pytest.mark.skipif(
    shutil.which("bxb") is None, reason="bxb of the WFDB Software Package is absent"
)
@pytest.mark.parametrize("number", ["105", "207"])
@pytest.mark.parametrize("start", [0.0, 300.0])
def test_the_cells_are_those_of_bxb(number: str, start: float, tmp_path: Path) -> None:
    annotated, fs, length = reference(MITDB / number)
    for suffix in (".hea", ".atr"):
        shutil.copy(MITDB / f"{number}{suffix}", tmp_path)
    test = disturb(annotated, fs, length, np.random.default_rng(int(number)))
    own = table(annotated, test, match(annotated, test, fs, start=start), BXB)
    assert np.array_equal(own, by_bxb(tmp_path, number, test, start))
    assert wfdb.rdann(str(tmp_path / number), "test").ann_len == len(test.samples)
