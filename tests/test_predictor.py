"""The predictor answers a recording segment by segment, however long, and without torch."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from retrace.deploy.hours import LONGEST
from retrace.deploy.predictor import NO_INTERVAL, Predictor
from retrace.errors import InputError
from retrace.scoring.calibration import softmax
from retrace.scoring.scores import aggregate
from retrace.signals.apply import prepare
from retrace.signals.domain import SignalDomain
from retrace.signals.filters import bandpass
from retrace.signals.plan import BEAT_FEATURES
from retrace.signals.records import Record
from retrace.signals.rpeaks import detect
from retrace.synthesis import synthesise
from tests.heartbeats import KAGGLE, MITBIH, SCALOGRAMS, WINDOWS, heartbeat
from tests.linear_model import memory, write_model
from tests.sources import ROOT, imports, reachable


def by_hand(record: Record, domain: SignalDomain, **more: Any) -> NDArray[np.float64]:
    """What the linear model says of the segments of a whole recording."""
    prepared = prepare(record, domain, hop=10.0, short="pad", **more)
    shape = prepared.X.shape[1:]
    rng = np.random.default_rng(0)
    w = rng.normal(0, int(np.prod(shape)) ** -0.5, (int(np.prod(shape)), 3))
    return softmax(prepared.X.reshape(len(prepared.X), -1).astype(np.float64) @ w, 1.5)


@pytest.mark.parametrize("domain", [WINDOWS, SCALOGRAMS, MITBIH, KAGGLE])
def test_a_recording_is_answered_segment_by_segment(tmp_path: Path, domain: SignalDomain) -> None:
    record = heartbeat(65, 250, ("V1", *(lead.split("|")[0] for lead in domain.leads)))
    peaks = {"peaks": record.beats} if domain.beat else {}

    answer = Predictor(write_model(tmp_path / "m.onnx", domain)).answer(
        memory(record, record.beats)
    )

    np.testing.assert_allclose(answer.probabilities, by_hand(record, domain, **peaks), atol=1e-5)
    assert answer.unit == ("beat" if domain.beat else "window")
    assert (answer.seconds, answer.peaks_from) == (65, "annotations")
    assert answer.together is None
    assert [start for start, _ in answer.quality][:3] == [0, 10, 20]


@pytest.mark.parametrize("rule", ["mean", "max", "median"])
def test_windows_are_joined_as_evaluate_joins_them(tmp_path: Path, rule: str) -> None:
    model = write_model(tmp_path / "m.onnx", WINDOWS, aggregate=rule)

    answer = Predictor(model).answer(memory(heartbeat(65, 128)))

    _, joined = aggregate(["a"] * 6, answer.probabilities, rule)
    np.testing.assert_array_equal(answer.together, joined[0])
    assert answer.peaks_from == "detector"
    assert 60 < len(answer.peaks) < 100


def test_beats_are_those_that_are_annotated_unless_the_detector_is_asked(tmp_path: Path) -> None:
    record = heartbeat(60, 360, ("MLII",))
    predictor = Predictor(write_model(tmp_path / "m.onnx", MITBIH))
    marked = memory(record, record.beats[::2])

    assert len(predictor.answer(marked).peaks) == len(record.beats[::2])
    for found in (predictor.answer(marked, detect=True), predictor.answer(memory(record))):
        assert found.peaks_from == "detector"
        assert abs(len(found.peaks) - len(record.beats)) <= 2


def test_features_stand_beside_a_beat_in_the_model_s_order(tmp_path: Path) -> None:
    record = heartbeat(60, 360, ("MLII",))
    names = ["likeness", "rr_previous"]
    prepared = prepare(record, MITBIH, hop=1.0, short="pad", peaks=record.beats)
    model = write_model(tmp_path / "m.onnx", MITBIH, features=names, temperature=1.0)

    answer = Predictor(model).answer(memory(record, record.beats))

    rng = np.random.default_rng(0)
    w, u = rng.normal(0, 187**-0.5, (187, 3)), rng.normal(size=(4, 3))[:2]
    columns = [BEAT_FEATURES.index(name) for name in names]
    logits = prepared.X[:, 0] @ w + prepared.features[:, columns] @ u
    np.testing.assert_allclose(answer.probabilities, softmax(logits), atol=1e-5)


def test_a_single_beat_has_no_interval_and_so_no_answer_from_a_model_that_asks_for_it(
    tmp_path: Path,
) -> None:
    record = heartbeat(60, 360, ("MLII",))
    model = write_model(tmp_path / "m.onnx", MITBIH, features=["rr_ratio"])

    with pytest.raises(InputError, match=NO_INTERVAL):
        Predictor(model).answer(memory(record, record.beats[5:6]))


def test_two_leads_enter_in_the_model_s_order(tmp_path: Path) -> None:
    domain = replace(MITBIH, leads=("MLII", "V1"))
    record = heartbeat(30, 360, ("V1", "MLII"))

    answer = Predictor(write_model(tmp_path / "m.onnx", domain)).answer(
        memory(record, record.beats)
    )

    np.testing.assert_allclose(
        answer.probabilities, by_hand(record, domain, peaks=record.beats), atol=1e-5
    )


def repeated(record: Record, hours: float) -> Record:
    """The recording over and over, with every beat's mark."""
    samples = record.signal.shape[1]
    times = round(hours * 3600 * record.fs / samples)
    beats = (record.beats + samples * np.arange(times)[:, None]).ravel()
    signal = np.tile(record.signal, times)
    return replace(record, signal=signal, beats=beats, symbols=record.symbols * times)


LONG = [
    (WINDOWS, 128.0, False),
    (replace(WINDOWS, fs=100.0, window=7.0), 125.0, False),  # no part begins at a full second
    (replace(MITBIH, fs=180.0, window=187 / 180, normalise="none"), 125.0, True),
    (replace(MITBIH, fs=180.0, window=187 / 180, normalise="none"), 125.0, False),
    (KAGGLE, 125.0, True),
]


@pytest.mark.parametrize(("domain", "fs", "annotated"), LONG)
def test_a_long_recording_is_answered_in_parts_as_in_the_whole(
    tmp_path: Path, domain: SignalDomain, fs: float, annotated: bool
) -> None:
    lead = domain.leads[0].split("|")[0]
    record = repeated(heartbeat(151, fs, (lead,)), 2.5)
    peaks = record.beats if annotated else None
    whole = prepare(record, domain, hop=10.0, short="pad", peaks=peaks)
    model = write_model(tmp_path / "m.onnx", domain)
    recording, done = memory(record, peaks), list[float]()

    answer = Predictor(model).answer(recording, progress=done.append)

    np.testing.assert_array_equal(answer.samples, whole.samples)
    np.testing.assert_allclose(
        answer.probabilities, by_hand(record, domain, peaks=peaks), atol=1e-4
    )
    assert [place for place, _ in answer.left_out] == [place for place, _ in whole.left_out]
    assert recording.most < (LONGEST + 200) * fs < recording.samples
    assert done == sorted(done) and len(done) == 3 and done[-1] == 1


@pytest.mark.parametrize("shift", [0.0, 0.2, 0.4, 0.6])
def test_no_window_and_no_beat_is_lost_or_told_twice_at_a_seam(
    tmp_path: Path, shift: float
) -> None:
    record = repeated(heartbeat(20, 128), 1.2)
    record = record.with_signal(np.roll(record.signal, round(shift * 128), axis=1))
    whole = detect(bandpass(record.signal, fs=128, low=0.5, high=50, order=3)[0], 128)

    answer = Predictor(write_model(tmp_path / "m.onnx", WINDOWS)).answer(memory(record))

    np.testing.assert_array_equal(answer.samples, np.arange(0, 1.2 * 3600, 10) * 128)
    np.testing.assert_array_equal(answer.peaks, whole)


def test_noise_has_no_beats(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).normal(size=(1, 20 * 360)).astype(np.float32)
    record = replace(heartbeat(20, 360, ("MLII",)), signal=noise)

    with pytest.raises(InputError, match="noisy in all of its 2 stretches of ten seconds"):
        Predictor(write_model(tmp_path / "m.onnx", MITBIH)).answer(memory(record))


def test_any_number_of_threads_gives_the_same_answer(tmp_path: Path) -> None:
    model = write_model(tmp_path / "m.onnx", KAGGLE)
    record = repeated(heartbeat(151, 125, ("MLII",)), 3.5)

    one, three = (Predictor(model, threads).answer(memory(record)) for threads in (1, 3))

    np.testing.assert_array_equal(one.probabilities, three.probabilities)
    np.testing.assert_array_equal(one.samples, three.samples)
    assert one.left_out == three.left_out and one.quality == three.quality


def flat(seconds: float, fs: float, lead: str) -> Record:
    return Record("a", fs, (lead,), np.full((1, round(seconds * fs)), 0.3, np.float32))


@pytest.mark.parametrize(
    ("domain", "record", "said"),
    [
        (WINDOWS, flat(30, 128, "II"), "a: a lead is flat all along.*electrodes and unit"),
        (MITBIH, flat(30, 360, "MLII"), "a: no beat found in 30 s"),
        (
            MITBIH,
            heartbeat(2.5, 360, ("V5",), beats=[30]),
            "a: no beat has an answer .*over an end",
        ),
        (WINDOWS, heartbeat(9, 128), "a: 9 s long; the model takes windows of 10 s"),
        (WINDOWS, heartbeat(9, 128, ("V1",)), "a: no lead II; it has V1: .*--lead V1"),
    ],
)
def test_a_recording_without_an_answer_is_refused_with_the_reason(
    tmp_path: Path, domain: SignalDomain, record: Record, said: str
) -> None:
    model = write_model(tmp_path / "m.onnx", domain, short="drop")

    with pytest.raises(InputError, match=f"^{said}"):
        Predictor(model).answer(memory(record, np.asarray(record.beats)))


WITHOUT_TORCH = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {banned}:
            raise ImportError(name + " is not installed")

sys.meta_path.insert(0, Missing())
from pathlib import Path
from retrace.deploy.inputs import open_inputs
from retrace.deploy.predictor import Predictor

(recording,) = open_inputs([Path({record!r})])
print(Predictor(Path({model!r})).answer(recording).probabilities.shape[1])
"""


# All that `pip install retrace` does not bring.
BANNED = {
    *("torch", "torchvision", "lightning", "pytorch_lightning", "safetensors", "onnx", "sklearn"),
    *("dvc", "dvclive", "pydantic", "yaml", "ruamel", "rich", "xgboost", "imblearn", "h5py"),
    *("platformdirs", "filelock", "pyarrow", "hypothesis", "pytest"),
}


def test_a_recording_is_answered_where_torch_is_not_installed(tmp_path: Path) -> None:
    model = write_model(tmp_path / "m.onnx", SCALOGRAMS)
    raw = tmp_path / "raw"
    raw.mkdir()
    synthesise(raw, seed=1, patients=1, records_per_patient=1, fs=128, duration=20, noise=1)
    script = WITHOUT_TORCH.format(banned=BANNED, record=str(raw / "p0000r00"), model=str(model))

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)

    assert (done.stdout, done.stderr) == ("3\n", "")


LEAN = ("predictor", "inputs", "answers", "command")


def test_nothing_behind_the_predictor_asks_for_more_than_it_needs() -> None:
    start = {Path(f"retrace/deploy/{name}.py") for name in LEAN}

    for file in reachable(start, exempt=set()):
        assert file.parts[1] in {"deploy", "signals", "scoring"} or len(file.parts) == 2
        assert not {name.partition(".")[0] for name in imports(ROOT / file)} & BANNED, file
