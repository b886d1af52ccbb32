"""The predictor answers what `evaluate` answers, however long the recording, and without torch."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from retrace.deploy.hours import LONGEST
from retrace.deploy.inputs import Ready
from retrace.deploy.predictor import NO_INTERVAL, Predictor
from retrace.deploy.session import LARGEST
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
from tests.sources import ROOT, imports, reachable
from tests.test_apply import KAGGLE, MITBIH, SCALOGRAMS, WINDOWS, heartbeat

CARD: dict[str, Any] = {
    "format": 1,
    "model": "linear",
    "dataset": "mitdb",
    "split": "ds1_ds2",
    "classes": ["N", "S", "V"],
    "hop": 10.0,
    "short": "pad",
    "aggregate": "none",
    "features": [],
    "temperature": 1.5,
    "thresholds": [0.5, 0.5, 0.5],
    "int8": False,
    "hashes": {"weights": "0" * 64},
}


@dataclass
class Memory:
    """A recording that is not on disk."""

    signal: NDArray[np.float32]
    fs: float
    leads: tuple[str, ...]
    beats: NDArray[np.int64] | None
    samples: int
    name: str = "a"
    path: Path = Path("a")
    age: float | None = None
    sex: str | None = None
    most: int = 0  # samples that were asked for at once

    def read(self, start: int, stop: int, rows: tuple[int, ...]) -> NDArray[np.float32]:
        self.most = max(self.most, stop - start)
        return self.signal[list(rows), start:stop]


def memory(record: Record, beats: NDArray[np.int64] | None = None) -> Memory:
    return Memory(record.signal, record.fs, record.leads, beats, record.signal.shape[1])


def shape_of(domain: SignalDomain) -> tuple[int, ...]:
    form, leads = domain.representation, max(1, len(domain.leads))
    return (leads, form.scales, form.frames) if form else (leads, domain.samples)


def write_model(path: Path, domain: SignalDomain, **changes: Any) -> Path:
    """A linear model with random weights, as the export stage would write it."""
    card = CARD | {"domain": domain.to_dict()} | changes
    rng, classes = np.random.default_rng(0), len(card["classes"])
    shape, features = shape_of(domain), len(card["features"])
    size = int(np.prod(shape))
    weights = {"w": rng.normal(0, size**-0.5, (size, classes)), "u": rng.normal(size=(4, classes))}
    nodes = [
        helper.make_node("Flatten", ["segments"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["shape" if features else "logits"]),
    ]
    inputs = [helper.make_tensor_value_info("segments", TensorProto.FLOAT, ["batch", *shape])]
    if features:
        told = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", features])
        inputs.append(told)
        nodes.append(helper.make_node("MatMul", ["features", "u"], ["rhythm"]))
        nodes.append(helper.make_node("Add", ["shape", "rhythm"], ["logits"]))
    weights["u"] = weights["u"][:features]
    graph = helper.make_graph(
        nodes,
        "linear",
        inputs,
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", classes])],
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"retrace": json.dumps(card)})
    onnx.save(model, path)
    return path


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
            "a: none of its 1 beats .*over an end",
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


def beats_of(domain: SignalDomain) -> NDArray[np.float32]:
    record = heartbeat(60, 360, ("MLII",))
    return prepare(record, domain, hop=1.0, short="pad", peaks=record.beats).X


@pytest.mark.parametrize("normalise", ["none", "window", "range", "record"])
@pytest.mark.parametrize("domain", [MITBIH, KAGGLE], ids=["mitbih360", "kaggle125"])
def test_ready_beats_of_the_model_s_domain_are_answered(
    tmp_path: Path, domain: SignalDomain, normalise: str
) -> None:
    domain = replace(domain, normalise=normalise)
    predictor = Predictor(write_model(tmp_path / "m.onnx", domain))
    X = beats_of(domain)

    answer = predictor.answer_ready(Ready("a", Path("a.npy"), X))

    np.testing.assert_array_equal(answer.probabilities, predictor.probabilities(X))
    assert answer.samples.tolist() == list(range(len(X)))
    assert predictor.answer_ready(Ready("a", Path("a.npy"), X[3:4])).peaks_from == "nobody"


MIXED = [
    ("none", "range", "no value below 0"),
    ("record", "range", "no value below 0"),
    ("window", "range", "no value below 0"),
    ("range", "record", "values up to"),
    ("range", "none", "values down to|values up to"),
    ("window", "record", "mean and deviation"),
]


@pytest.mark.parametrize(("model", "given", "said"), MIXED)
def test_beats_scaled_otherwise_are_refused(
    tmp_path: Path, model: str, given: str, said: str
) -> None:
    predictor = Predictor(write_model(tmp_path / "m.onnx", replace(MITBIH, normalise=model)))
    X = beats_of(replace(MITBIH, normalise=given))

    for beats in (X, X[5:6]):
        with pytest.raises(InputError, match=f"^a: ({said}).*the model takes beats of shape"):
            predictor.answer_ready(Ready("a", Path("a.npy"), beats))


@pytest.mark.parametrize(
    ("X", "said"),
    [
        (np.zeros((2, 1, 186)), r"shape \(2, 1, 186\); the model takes beats of shape \(1, 187\)"),
        (np.zeros((0, 1, 187)), r"shape \(0, 1, 187\)"),
        (np.full((2, 1, 187), np.nan), "some values are no numbers"),
        (np.zeros((2, 1, 187)), "segment 0 is flat"),
        (np.linspace(-1, 1, 187)[None, None] * 1e5, "values up to 1e"),
    ],
)
def test_what_is_no_beat_is_refused(tmp_path: Path, X: Any, said: str) -> None:
    predictor = Predictor(write_model(tmp_path / "m.onnx", MITBIH))

    with pytest.raises(InputError, match=f"^a: {said}"):
        predictor.answer_ready(Ready("a", Path("a.npy"), X.astype(np.float32)))


def test_a_scalogram_is_answered_and_one_below_zero_refused(tmp_path: Path) -> None:
    predictor = Predictor(write_model(tmp_path / "m.onnx", SCALOGRAMS))
    X = prepare(heartbeat(20, 128), SCALOGRAMS, hop=10.0, short="pad").X.astype(np.float32)

    assert len(predictor.answer_ready(Ready("a", Path("a.npy"), X)).probabilities) == 2
    with pytest.raises(InputError, match=r"a: a magnitude of -.*\(1, 32, 160\)"):
        predictor.answer_ready(Ready("a", Path("a.npy"), -X))


def test_a_model_of_beats_that_were_cut_by_their_publisher_takes_those_alone(
    tmp_path: Path,
) -> None:
    domain = replace(KAGGLE, order=0, normalise="none", leads=())  # what recipe heartbeat_* says
    predictor = Predictor(write_model(tmp_path / "m.onnx", domain))
    beats, millivolts = (beats_of(replace(KAGGLE, normalise=scale)) for scale in ("range", "none"))

    assert len(predictor.answer_ready(Ready("a", Path("a.npy"), beats)).samples) == len(beats)
    with pytest.raises(InputError, match=r"a: values .*in 0 to 1"):
        predictor.answer_ready(Ready("a", Path("a.npy"), millivolts))
    with pytest.raises(InputError, match="a: a recording; the model was trained on beats"):
        predictor.answer(memory(heartbeat(30, 360)))


def test_bare_beats_are_refused_where_the_model_asks_for_features(tmp_path: Path) -> None:
    predictor = Predictor(write_model(tmp_path / "m.onnx", MITBIH, features=["rr_ratio"]))

    with pytest.raises(InputError, match="a: beats alone; the model also asks for rr_ratio"):
        predictor.answer_ready(Ready("a", Path("a.npy"), beats_of(MITBIH)))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": 2}, r"written by a newer Retrace \(format 2, this one reads 1\): update"),
        ({"format": None}, "damaged metadata"),
        ({"classes": ["N"]}, "damaged metadata .*classes"),
        ({"temperature": 0}, "damaged metadata .*temperature"),
        ({"features": ["age"]}, "damaged metadata .*features"),
        ({"more": 1}, "damaged metadata"),
        ({"domain": {}}, "damaged metadata"),
        ({"domain": MITBIH.to_dict() | {"window": 1e9}}, "damaged metadata .*window"),
        ({"domain": MITBIH.to_dict() | {"order": 99}}, "damaged metadata .*order"),
        ({"domain": MITBIH.to_dict() | {"fs": float("nan")}}, "damaged metadata"),
        ({"domain": replace(MITBIH, fs=180).to_dict()}, r"takes .*187.* metadata .*94"),
    ],
)
def test_metadata_that_cannot_be_true_are_refused(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    model = onnx.load(write_model(tmp_path / "m.onnx", MITBIH))
    card = CARD | {"domain": MITBIH.to_dict()} | changes
    del model.metadata_props[:]
    helper.set_model_props(model, {"retrace": json.dumps(card)})
    onnx.save(model, tmp_path / "m.onnx")

    with pytest.raises(InputError, match=f"m.onnx: {said}"):
        Predictor(tmp_path / "m.onnx")


def test_a_model_with_other_classes_than_it_says_is_refused(tmp_path: Path) -> None:
    model = onnx.load(write_model(tmp_path / "m.onnx", MITBIH))
    card = CARD | {"domain": MITBIH.to_dict(), "classes": ["N", "S", "V", "F"]}
    helper.set_model_props(model, {"retrace": json.dumps(card)})
    onnx.save(model, tmp_path / "m.onnx")

    with pytest.raises(InputError, match="gives no 4 finite logits"):
        Predictor(tmp_path / "m.onnx").probabilities(beats_of(MITBIH))


def _others(path: Path) -> None:
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, path)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:500])


def _outside(path: Path) -> None:
    onnx.save(onnx.load(path), path, save_as_external_data=True, size_threshold=0, location="w.bin")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (Path.unlink, "no such file.*dvc pull"),
        (lambda path: path.write_bytes(b""), "no readable ONNX model"),
        (lambda path: path.write_bytes(b"PK\x03\x04" * 99), "no readable ONNX model"),
        (_cut, "no readable ONNX model"),
        (_outside, "no readable ONNX model"),
        (_others, "no model of Retrace"),
        (lambda path: (path.unlink(), path.mkdir()), "no ordinary file"),
        (lambda path: os.truncate(path, LARGEST + 1), "larger than 1 GB"),
    ],
)
def test_a_file_that_is_no_model_is_refused(
    tmp_path: Path, damage: Callable[[Path], object], said: str
) -> None:
    path = write_model(tmp_path / "m.onnx", MITBIH)
    damage(path)

    with pytest.raises(InputError, match=f"m.onnx: {said}"):
        Predictor(path)


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


@given(places=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_a_damaged_model_is_refused_or_answers_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, places: list[tuple[float, int]]
) -> None:
    path = write_model(tmp_path_factory.mktemp("model") / "m.onnx", MITBIH)
    content = bytearray(path.read_bytes())
    for share, byte in places:
        content[round(share * (len(content) - 1))] = byte
    path.write_bytes(content)

    try:
        found = Predictor(path).probabilities(np.ones((2, 1, 187), np.float32))
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert found.shape[0] == 2


LEAN = ("predictor", "inputs", "answers", "command")


def test_nothing_behind_the_predictor_asks_for_more_than_it_needs() -> None:
    start = {Path(f"retrace/deploy/{name}.py") for name in LEAN}

    for file in reachable(start, exempt=set()):
        assert file.parts[1] in {"deploy", "signals", "scoring"} or len(file.parts) == 2
        assert not {name.partition(".")[0] for name in imports(ROOT / file)} & BANNED, file
