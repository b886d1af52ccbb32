"""The examples are what their README says: small, synthetic, reproducible and physiological."""

import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from examples import make, ward
from retrace.signals.beats import cut_beats
from retrace.signals.filters import bandpass
from retrace.signals.quality import quality
from retrace.signals.records import Record, read_wfdb
from retrace.signals.rpeaks import detect
from retrace.signals.wavelets import Scalogram
from tests.processor import without_features
from tests.sources import ROOT

EXAMPLES = ROOT / "examples"
KEPT = (".hea", ".dat", ".atr", ".npy")


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.suffix in KEPT
    }


@pytest.fixture(scope="module")
def ectopics() -> Record:
    return read_wfdb(EXAMPLES / "ectopics")


@pytest.fixture(scope="module")
def paroxysm() -> Record:
    return read_wfdb(EXAMPLES / "paroxysm")


def filtered(record: Record) -> NDArray[np.float32]:
    return bandpass(record.signal, fs=record.fs, **make.BAND)


def numbers(record: Record, symbol: str) -> Iterator[int]:
    """The beats of one kind between two normal ones, by number."""
    for n in range(1, len(record.beats) - 1):
        if record.symbols[n - 1 : n + 2] == ("N", symbol, "N"):
            yield n


def test_a_virtual_person_has_the_same_heart_again_and_with_swapped_electrodes(
    tmp_path: Path,
) -> None:
    for name, swapped in (("one", False), ("two", False), ("three", True)):
        (tmp_path / name).mkdir()
        ward.write(tmp_path / name, 7, swapped)
    one, three = read_wfdb(tmp_path / "one/w07"), read_wfdb(tmp_path / "three/w07")

    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert one.symbols == three.symbols and {"N", "A", "V"} <= set(one.symbols)
    beats = filtered(one)[:, one.beats], filtered(three)[:, three.beats]
    np.testing.assert_allclose(np.median(beats[0], 1), np.median(beats[1], 1)[::-1], atol=0.1)


def test_the_generator_writes_the_same_bytes_again(tmp_path: Path) -> None:
    make.make(tmp_path)

    assert files(tmp_path) == files(EXAMPLES)


def test_the_bytes_do_not_depend_on_the_processor() -> None:
    assert without_features("tests.test_examples") == digest()


def digest() -> str:
    """Of all that the generator writes; the test above calls it with and without CPU features."""
    with tempfile.TemporaryDirectory() as folder:
        make.make(Path(folder))
        return hashlib.sha256(repr(sorted(files(Path(folder)).items())).encode()).hexdigest()


def test_they_are_small_and_the_readme_names_each_and_says_that_they_are_synthetic() -> None:
    paths = [path for path in EXAMPLES.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")

    assert sum(path.stat().st_size for path in paths) < 300_000
    assert "All of them are synthetic" in text
    assert all(path.stem in text for path in paths if path.suffix in KEPT)


def test_they_are_what_the_params_and_the_recipe_of_mitdb_ask_for() -> None:
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    beats = yaml.safe_load((ROOT / "recipes/_mitdb.yaml").read_text(encoding="utf-8"))["segment"]

    assert {**params["bandpass"], **make.BAND} == params["bandpass"]
    assert {**params["cwt"], "fs": params["synthetic"]["fs"], "samples": 1280} == make.CWT
    assert make.CWT["samples"] == params["segment"]["window"] * make.CWT["fs"]
    assert make.BEATS["samples"] == round(beats["window"] * make.BEATS["rate"])
    assert make.BEATS["normalise"] == beats["normalise"]
    assert make.BEATS["window"].peak == params["segment"]["beat"]["peak"]


def test_the_annotations_lie_on_the_peaks_and_the_detector_finds_them(ectopics: Record) -> None:
    found = detect(ectopics.signal[0], ectopics.fs)

    assert (ectopics.leads, ectopics.fs) == (("MLII", "V1"), 360)
    assert len(found) == len(ectopics.beats)
    assert np.abs(found - ectopics.beats).max() <= 7  # samples: 20 ms


def test_ventricular_beats_have_a_full_pause_and_atrial_ones_a_short_one(ectopics: Record) -> None:
    rr = np.diff(ectopics.beats) / ectopics.fs
    usual = float(np.median(rr))
    both = {
        symbol: [float(rr[n - 1] + rr[n]) / usual for n in numbers(ectopics, symbol)]
        for symbol in "AVF"
    }
    early = [float(rr[n - 1]) / usual for symbol in "AV" for n in numbers(ectopics, symbol)]

    assert [len(found) for found in both.values()] == [6, 7, 2]
    assert max(early) < 0.75
    assert both["V"] + both["F"] == pytest.approx([2] * 9, abs=0.1)
    assert max(both["A"]) < 1.85


def test_ventricular_beats_are_wide_without_a_p_wave_and_fusion_lies_between(
    ectopics: Record,
) -> None:
    lead = filtered(ectopics)[0]

    def median(symbol: str) -> NDArray[Any]:
        beats = [lead[at - 90 : at + 91] for at in ectopics.beats[list(numbers(ectopics, symbol))]]
        return np.asarray(np.median(beats, axis=0))

    def width(beat: NDArray[Any]) -> float:
        """Samples for which the main deflection is above a third of its height."""
        return float((beat[60:121] > beat[90] / 3).sum())

    def p_wave(beat: NDArray[Any]) -> float:
        """The deflection 190 to 80 ms before the peak from the line between its ends."""
        part = beat[22:62]
        bump = part - np.linspace(part[:3].mean(), part[-3:].mean(), len(part))
        return float(bump[np.abs(bump).argmax()])

    normal, atrial, ventricular, fusion = (median(symbol) for symbol in "NAVF")
    assert width(ventricular) > 2 * width(normal)
    assert width(normal) < width(fusion) < width(ventricular)
    assert abs(width(atrial) - width(normal)) <= 1
    assert p_wave(normal) > 0.08
    assert p_wave(atrial) < -0.06


@pytest.mark.parametrize(("label", "number"), list(make.SHOWN.items()))
def test_a_beat_s_file_is_cut_out_of_the_recording(
    ectopics: Record, label: str, number: int
) -> None:
    cut = cut_beats(filtered(ectopics)[:1], ectopics.fs, ectopics.beats, **make.BEATS)
    stored = np.load(EXAMPLES / f"beats/{label}.npy")

    assert ectopics.symbols[number] == {"S": "A"}.get(label, label)
    np.testing.assert_array_equal(stored, cut.windows[cut.rows == number])


@pytest.mark.parametrize("label", "NSVFQ")
def test_a_beat_s_file_is_one_window_of_mitbih360(label: str) -> None:
    beat = np.load(EXAMPLES / f"beats/{label}.npy")

    assert (beat.shape, beat.dtype) == ((1, 1, 187), np.float32)
    # Each is marked at its main peak; a paced one at its first, of which the other is the largest.
    middle = slice(60, 130) if label != "Q" else slice(80, 105)
    assert abs(int(beat[0, 0, middle].argmax()) + middle.start - 93) <= 4


def test_the_rhythm_turns_irregular_after_20_s(paroxysm: Record) -> None:
    beats = detect(paroxysm.signal[0], paroxysm.fs) / paroxysm.fs
    before, after = np.diff(beats[beats < 19.5]), np.diff(beats[beats > 20.5])

    assert (paroxysm.leads, paroxysm.fs, len(paroxysm.beats)) == (("II",), 128, 0)
    assert before.std() / before.mean() < 0.06
    assert after.std() / after.mean() > 0.15


def test_the_scalogram_is_ten_seconds_of_the_fibrillation(paroxysm: Record) -> None:
    window = filtered(paroxysm)[None, :, 40 * 128 : 50 * 128]
    stored = np.load(EXAMPLES / "scalogram.npy")

    assert (stored.shape, stored.dtype) == ((1, 1, 32, 160), np.float16)
    np.testing.assert_array_equal(stored, Scalogram(**make.CWT)(window))


def test_their_signals_are_good(ectopics: Record, paroxysm: Record) -> None:
    for record in (ectopics, paroxysm):
        assert [word for _, word in quality(record.signal, record.fs)] == ["good"] * 6
