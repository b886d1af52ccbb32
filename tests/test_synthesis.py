"""The synthetic recordings: exact, complete, and with the physiology that their labels claim."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import wfdb
from numpy.typing import NDArray
from scipy.signal import butter, sosfiltfilt

from retrace.errors import InputError
from retrace.files import read_csv
from retrace.synthesis import synthesise

SMALL: dict[str, Any] = {
    "seed": 7,
    "patients": 3,
    "records_per_patient": 2,
    "fs": 128.0,
    "duration": 10.0,
    "noise": 1.0,
}


class Strip(NamedTuple):
    row: dict[str, str]
    header: Any
    signal: NDArray[np.float64]
    beats: NDArray[np.int64]
    symbols: list[str]
    rhythm: str


def make(folder: Path, **changes: Any) -> dict[str, bytes]:
    folder.mkdir()
    synthesise(folder, **{**SMALL, **changes})
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def read(folder: Path) -> list[Strip]:
    strips = []
    for row in read_csv(folder / "labels.csv"):
        record = wfdb.rdrecord(str(folder / row["record_id"]))
        annotation = wfdb.rdann(str(folder / row["record_id"]), "atr")
        assert annotation.symbol[0] == "+"
        strips.append(
            Strip(
                row,
                record,
                record.p_signal[:, 0],
                annotation.sample[1:],
                annotation.symbol[1:],
                annotation.aux_note[0].rstrip("\0"),
            )
        )
    return strips


@pytest.fixture(scope="module")
def ambulatory(tmp_path_factory: pytest.TempPathFactory) -> list[Strip]:
    folder = tmp_path_factory.mktemp("ambulatory") / "raw"
    make(folder, patients=45, records_per_patient=3)
    return read(folder)


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> list[Strip]:
    folder = tmp_path_factory.mktemp("quiet") / "raw"
    make(folder, patients=25, records_per_patient=4, noise=0.05)
    return [strip for strip in read(folder) if strip.row["label"] != "Noise"]


def irregularity(strip: Strip) -> float:
    rr = np.diff(strip.beats)
    return float(rr.std() / rr.mean())


def of_class(strips: list[Strip], *labels: str) -> list[Strip]:
    return [strip for strip in strips if strip.row["label"] in labels]


def test_the_bytes_do_not_depend_on_the_processor(tmp_path: Path) -> None:
    here = make(tmp_path / "here")
    (tmp_path / "elsewhere").mkdir()
    program = f"""
from pathlib import Path
from numpy._core._multiarray_umath import __cpu_features__ as features
from retrace.synthesis import synthesise
assert not features.get("X86_V3") and not features.get("X86_V4")
synthesise(Path({str(tmp_path / "elsewhere")!r}), **{SMALL!r})
"""
    # AVX2 and AVX-512 off: read when NumPy is imported, hence another process.
    subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        cwd=Path(__file__).parents[1],
        env=os.environ | {"NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4"},
    )
    elsewhere = {path.name: path.read_bytes() for path in (tmp_path / "elsewhere").iterdir()}
    assert elsewhere == here


def test_another_seed_gives_other_recordings(tmp_path: Path) -> None:
    one, other = make(tmp_path / "one"), make(tmp_path / "other", seed=8)
    assert one.keys() == other.keys()
    assert all(one[name] != other[name] for name in one)


def test_more_patients_and_records_leave_the_earlier_ones_as_they_were(tmp_path: Path) -> None:
    few = make(tmp_path / "few")
    many = make(tmp_path / "many", patients=5, records_per_patient=3)
    few.pop("labels.csv"), many.pop("labels.csv")
    assert few == {name: many[name] for name in few}
    assert len(many) == 3 * 5 * 3


def test_every_record_is_complete_and_agrees_with_its_label_line(ambulatory: list[Strip]) -> None:
    for row, header, signal, beats, symbols, _ in ambulatory:
        assert (header.fs, header.sig_name, header.units) == (128, ["II"], ["mV"])
        assert header.comments == [f"age: {row['age']}", f"sex: {row['sex']}"]
        assert 18 <= int(row["age"]) <= 95
        assert row["sex"] in "FM"
        assert row["record_id"].startswith(row["patient_id"])
        assert len(signal) == 1280
        assert set(symbols) <= {"N", "A", "V"}
        assert np.all(np.diff(beats) > 0)


def test_classes_are_unbalanced_but_none_is_rare_and_patients_mix_them(
    ambulatory: list[Strip],
) -> None:
    labels = [strip.row["label"] for strip in ambulatory]
    shares = {label: labels.count(label) / len(labels) for label in set(labels)}
    assert set(shares) == {"NSR", "AF", "Other", "Noise"}
    assert min(shares.values()) > 0.07
    assert max(shares.values()) < 0.5
    classes_of: dict[str, set[str]] = {}
    for strip in ambulatory:
        classes_of.setdefault(strip.row["patient_id"], set()).add(strip.row["label"])
    assert sum(len(classes) > 1 for classes in classes_of.values()) > 0.8 * len(classes_of)


def test_signals_are_plausible_and_never_reach_the_ends_of_the_converter(
    ambulatory: list[Strip],
) -> None:
    for strip in ambulatory:
        assert np.abs(strip.signal).max() < 2047 / 200
        assert 0.4 < np.ptp(strip.signal) < 12


def test_the_signal_peaks_where_the_beats_are_annotated(quiet: list[Strip]) -> None:
    # Above the baseline's wander and without f-waves, which may move a top by a sample.
    sos = butter(2, 3, "highpass", fs=128, output="sos")
    for strip in of_class(quiet, "NSR", "Other"):
        filtered = sosfiltfilt(sos, strip.signal)
        for beat, symbol in zip(strip.beats, strip.symbols, strict=True):
            if symbol == "V" or not 10 < beat < 1270:
                continue
            assert abs(int(filtered[beat - 10 : beat + 11].argmax()) - 10) <= 1


def test_ventricular_beats_are_wide_and_premature_with_a_full_pause(quiet: list[Strip]) -> None:
    checked = 0
    for strip in of_class(quiet, "Other"):
        for i in range(2, len(strip.beats) - 1):
            if strip.symbols[i - 1 : i + 2] != ["N", "V", "N"] or strip.symbols[i - 2] != "N":
                continue
            sinus, early, pause = np.diff(strip.beats[i - 2 : i + 2])
            assert early < 0.85 * sinus
            # The pause makes up for what the beat came early: twice a sinus interval in all.
            assert early + pause == pytest.approx(2 * sinus, rel=0.2)
            wide, narrow = (_width(strip.signal, strip.beats[j]) for j in (i, i - 1))
            assert wide > 1.4 * narrow
            checked += 1
    assert checked > 10


def _width(signal: NDArray[np.float64], beat: int) -> int:
    """Samples around `beat` beyond half the height of its main deflection."""
    window = np.abs(signal[beat - 12 : beat + 13] - np.median(signal))
    return int((window > 0.5 * window[12]).sum())


def test_fibrillation_is_irregular_and_sinus_rhythm_is_not(ambulatory: list[Strip]) -> None:
    sinus = [irregularity(strip) for strip in of_class(ambulatory, "NSR")]
    fibrillation = [irregularity(strip) for strip in of_class(ambulatory, "AF")]
    assert np.median(sinus) < 0.06
    assert np.median(fibrillation) > 0.15
    assert np.quantile(fibrillation, 0.1) > np.quantile(sinus, 0.9)


def test_the_heart_rate_does_not_give_fibrillation_away(ambulatory: list[Strip]) -> None:
    sinus, fibrillation = (
        [60 * 128 / np.diff(strip.beats).mean() for strip in of_class(ambulatory, label)]
        for label in ("NSR", "AF")
    )
    assert np.quantile(fibrillation, 0.3) < np.quantile(sinus, 0.9)
    assert min(sinus) > 50
    assert max(sinus) < 110


def test_p_waves_stand_before_sinus_beats_and_fibrillation_has_none(quiet: list[Strip]) -> None:
    def p_wave(strip: Strip) -> float:
        """Height in mV of the averaged signal .2 to .1 s before R over its surroundings."""
        beats = strip.beats[(strip.beats > 45) & (strip.beats < 1270)]
        mean = np.mean([strip.signal[beat - 45 : beat] for beat in beats], axis=0)
        before, during, after = mean[8:18], mean[20:34], mean[37:39]
        return float(during.max() - 0.5 * (before.mean() + after.mean()))

    sinus = [p_wave(strip) for strip in of_class(quiet, "NSR")]
    fibrillation = [p_wave(strip) for strip in of_class(quiet, "AF")]
    assert np.median(sinus) > 0.08
    assert np.median(fibrillation) < 0.5 * np.median(sinus)


def test_f_waves_fill_4_to_9_hz_between_the_beats_of_fibrillation(quiet: list[Strip]) -> None:
    """After the QRS is cut out, with T waves below 4 Hz left aside."""

    def f_wave_power(strip: Strip) -> float:
        sos = butter(3, (4, 9), "bandpass", fs=128, output="sos")
        signal = strip.signal.copy()
        for beat in strip.beats:
            low, high = max(beat - 9, 0), min(beat + 10, 1279)
            signal[low : high + 1] = np.linspace(signal[low], signal[high], high - low + 1)
        return float(np.std(sosfiltfilt(sos, signal)))

    sinus = [f_wave_power(strip) for strip in of_class(quiet, "NSR")]
    fibrillation = [f_wave_power(strip) for strip in of_class(quiet, "AF")]
    assert np.median(fibrillation) > 1.3 * np.median(sinus)


def test_the_power_of_the_noise_class_is_not_out_of_the_ordinary(ambulatory: list[Strip]) -> None:
    sos = butter(3, (0.5, 50), "bandpass", fs=128, output="sos")
    readable, hidden = (
        [np.std(sosfiltfilt(sos, strip.signal)) for strip in of_class(ambulatory, *labels)]
        for labels in (("NSR", "AF", "Other"), ("Noise",))
    )
    assert np.quantile(hidden, 0.25) < np.quantile(readable, 0.9)


def test_the_annotated_rhythm_names_fibrillation(ambulatory: list[Strip]) -> None:
    assert {strip.rhythm for strip in of_class(ambulatory, "AF")} == {"(AFIB"}
    assert "(AFIB" not in {strip.rhythm for strip in of_class(ambulatory, "NSR", "Other")}
    # What noise hides is annotated too: missing beats would tell the class.
    assert {"(AFIB", "(N"} <= {strip.rhythm for strip in of_class(ambulatory, "Noise")}


@pytest.mark.parametrize(
    ("name", "value"),
    [("fs", 50.0), ("duration", 1.0), ("noise", float("nan")), ("patients", 0)],
)
def test_a_value_out_of_range_is_named(tmp_path: Path, name: str, value: float) -> None:
    with pytest.raises(InputError, match=rf"synthetic\.{name}: {value}; expected at least"):
        make(tmp_path / "raw", **{name: value})


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(InputError, match="not empty"):
        synthesise(tmp_path, **SMALL)
