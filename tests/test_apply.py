"""What a user's recording becomes is what the stages make of the same recording, bit for bit."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from retrace.errors import InputError
from retrace.files import read_csv
from retrace.signals.apply import Prepared, choose_leads, domain_from, prepare
from retrace.signals.domain import NAMED, Representation, SignalDomain
from retrace.signals.filters import filtered
from retrace.signals.plan import BEAT_FEATURES, Plan
from retrace.signals.recordings import Recordings, recordings_writer
from retrace.signals.records import BEATS, Record, read_wfdb
from retrace.signals.rpeaks import detect
from retrace.signals.scalograms import write_scalograms
from retrace.signals.segments import write_segments
from tests.heartbeats import KAGGLE, MITBIH, SCALOGRAMS, WINDOWS, heartbeat

MIRROR = Path(os.environ.get("RETRACE_MIRROR", "")) / "physionet.org/files"
MITDB, CINC = MIRROR / "mitdb/1.0.0", MIRROR / "challenge-2017/1.0.0/training2017"
real = pytest.mark.skipif(
    not (MITDB / "100.dat").is_file(), reason="RETRACE_MIRROR is no folder with mitdb"
)


def staged(
    record: Record, domain: SignalDomain, folder: Path, *, hop: float = 10.0, short: str = "pad"
) -> tuple[NDArray[Any], list[dict[str, str]]]:
    """X.npy and segments.csv as the stages write them, flat segments left out."""
    plan = Plan(
        anchor=domain.anchor,
        fs=domain.fs,
        window=domain.window,
        hop=hop,
        short=short,
        flat="drop",
        normalise=domain.normalise,
        beat=domain.beat or NAMED["mitbih360"][2],
        labels=dict.fromkeys(BEATS, "N"),
    )
    folder.mkdir()
    record = record.with_leads(domain.leads) if domain.leads else record
    with recordings_writer(folder) as writer:
        writer.append(filtered(record, low=domain.low, high=domain.high, order=domain.order))
    write_segments(Recordings(folder), folder, plan)
    rows = read_csv(folder / "segments.csv")
    if domain.representation:
        replace(domain, representation=None).write(folder)
        form = vars(domain.representation)
        (folder / "cwt").mkdir()
        write_scalograms(folder, folder / "cwt", **form)
        return np.load(folder / "cwt/X.npy"), rows
    return np.load(folder / "X.npy"), rows


def assert_same(prepared: Prepared, X: NDArray[Any], rows: list[dict[str, str]]) -> None:
    assert prepared.X.dtype == X.dtype
    np.testing.assert_array_equal(prepared.X, X)
    assert prepared.starts.tolist() == [float(row["start"]) for row in rows]
    if "sample" in rows[0]:
        assert prepared.samples.tolist() == [int(row["sample"]) for row in rows]
        table = [[float(row[name]) for name in BEAT_FEATURES] for row in rows]
        np.testing.assert_array_equal(
            prepared.features.astype(np.float32), np.array(table, np.float32)
        )


def marks(record: Record) -> NDArray[np.int64]:
    """The annotated beats of a record."""
    pairs = zip(record.beats.tolist(), record.symbols, strict=True)
    return np.array([sample for sample, symbol in pairs if symbol in BEATS])


@pytest.mark.parametrize("normalise", ["none", "window", "range", "record"])
@pytest.mark.parametrize("fs", [128.0, 250.0])
def test_windows_are_those_of_the_stages(tmp_path: Path, normalise: str, fs: float) -> None:
    record, domain = heartbeat(33, fs, label="NSR"), replace(WINDOWS, normalise=normalise)

    assert_same(
        prepare(record, domain, hop=7.0, short="drop"),
        *staged(record, domain, tmp_path / "data", hop=7.0, short="drop"),
    )


def test_scalograms_are_those_of_the_stages_padded_ones_too(tmp_path: Path) -> None:
    for seconds in (6, 25):
        record = heartbeat(seconds, 128, label="AF")
        assert_same(
            prepare(record, SCALOGRAMS, hop=10.0, short="pad"),
            *staged(record, SCALOGRAMS, tmp_path / str(seconds)),
        )


@pytest.mark.parametrize("domain", [MITBIH, KAGGLE], ids=lambda domain: str(domain.name))
def test_annotated_beats_are_those_of_the_stages(tmp_path: Path, domain: SignalDomain) -> None:
    record = heartbeat(60, 250, ("V1", "MLII"))

    assert_same(
        prepare(record, domain, hop=10.0, short="pad", peaks=record.beats),
        *staged(record, domain, tmp_path / "data"),
    )


def test_found_beats_are_those_of_the_stages(tmp_path: Path) -> None:
    record = heartbeat(60, 360, ("MLII",), beats=np.empty(0, np.int64), symbols=(), label="N")

    assert_same(
        prepare(record, MITBIH, hop=10.0, short="pad"), *staged(record, MITBIH, tmp_path / "data")
    )


@given(
    samples=st.integers(257, 3000),
    window=st.floats(0.5, 12),
    hop=st.floats(0.1, 20),
    short=st.sampled_from(["pad", "drop"]),
    fs=st.sampled_from([100.0, 128.0, 200.0]),
)
def test_windows_begin_and_end_where_the_stages_say(
    tmp_path_factory: pytest.TempPathFactory,
    samples: int,
    window: float,
    hop: float,
    short: str,
    fs: float,
) -> None:
    record = heartbeat(samples / 128, 128, label="NSR")
    domain = replace(WINDOWS, fs=fs, window=window)
    found = prepare(record, domain, hop=hop, short=short)

    folder = tmp_path_factory.mktemp("data") / "data"
    if len(found.X):
        assert_same(found, *staged(record, domain, folder, hop=hop, short=short))
    else:
        with pytest.raises(InputError, match="none of the 1 recordings is that long"):
            staged(record, domain, folder, hop=hop, short=short)


@real
@pytest.mark.parametrize("domain", [MITBIH, KAGGLE], ids=lambda domain: str(domain.name))
@pytest.mark.parametrize("name", ["100", "114"])  # in 114 the lead MLII is the second one
def test_beats_of_mitdb_are_those_of_the_stages(
    tmp_path: Path, name: str, domain: SignalDomain
) -> None:
    record = read_wfdb(MITDB / name)

    assert_same(
        prepare(record, domain, hop=10.0, short="pad", peaks=marks(record)),
        *staged(record, domain, tmp_path / "data"),
    )


@real
def test_beats_of_two_leads_are_those_of_the_stages(tmp_path: Path) -> None:
    record = read_wfdb(MITDB / "201")
    domain = replace(MITBIH, leads=("MLII", "V1"), normalise="none")

    prepared = prepare(record, domain, hop=10.0, short="pad", peaks=marks(record))

    assert prepared.X.shape[1] == 2
    assert_same(prepared, *staged(record, domain, tmp_path / "data"))


@pytest.mark.skipif(
    not (CINC / "A00001.mat").is_file(), reason="RETRACE_MIRROR is no folder with CinC 2017"
)
def test_scalograms_of_cinc2017_are_those_of_the_stages(tmp_path: Path) -> None:
    values = scipy.io.loadmat(CINC / "A00004.mat")["val"]
    record = Record("A00004", 300.0, ("I",), values.astype(np.float32) / 1000, label="AF")
    form = Representation("cmor1.5-1.0", 0.5, 40, 40, 375)
    domain = SignalDomain(300, (), 0.5, 50, 3, 30.0, "start", "none", representation=form)

    assert_same(
        prepare(record, domain, hop=30.0, short="pad"),
        *staged(record, domain, tmp_path / "data", hop=30.0),
    )


def test_what_the_stages_leave_out_is_named_with_its_reason() -> None:
    record = heartbeat(60, 360, ("MLII",))
    record.signal[:, 10 * 360 : 38 * 360] = 0.1
    peaks = np.array([20, 2000, 20 * 360, 40 * 360, 60 * 360 - 10])

    beats = prepare(record, MITBIH, hop=1.0, short="pad", peaks=peaks)
    windows = prepare(record, replace(WINDOWS, leads=("MLII",)), hop=10.0, short="pad")

    assert beats.samples.tolist() == [2000, 40 * 360]
    assert [(sample, why.split()[-1]) for sample, why in beats.left_out] == [
        (20, "recording"),
        (20 * 360, "it"),
        (60 * 360 - 10, "recording"),
    ]
    assert dict(windows.left_out).keys() == {20 * 360}


def test_a_beat_of_a_recording_keeps_its_place_at_the_recording_s_own_rate() -> None:
    record = heartbeat(30, 250, ("MLII",))

    prepared = prepare(record, MITBIH, hop=1.0, short="pad")

    np.testing.assert_array_equal(prepared.peaks, detect(prepared.record.signal[0], 250))
    assert set(prepared.samples.tolist()) <= set(prepared.peaks.tolist())
    at_rate = np.rint(prepared.samples * 360 / 250)
    np.testing.assert_array_equal(np.rint(prepared.starts * 360) + 93, at_rate)


@pytest.mark.parametrize("domain", [WINDOWS, SCALOGRAMS, MITBIH, KAGGLE])
def test_a_domain_survives_the_way_through_json(domain: SignalDomain) -> None:
    assert domain_from(json.loads(json.dumps(domain.to_dict()))) == domain


LEADS = st.lists(st.sampled_from(["I", "II", "MLII", "V1", "V5"]), min_size=1, max_size=4)


@given(LEADS, st.lists(st.sampled_from(["MLII|V5", "II", "V1|I"]), min_size=1, max_size=2))
def test_leads_are_chosen_as_the_stages_choose_them(has: list[str], wanted: list[str]) -> None:
    has = list(dict.fromkeys(has))
    record = Record("a", 360, tuple(has), np.arange(len(has), dtype=np.float32)[:, None])
    domain = replace(WINDOWS, leads=tuple(wanted))

    try:
        expected = tuple(record.with_leads(wanted).signal[:, 0].astype(int).tolist())
    except InputError:
        with pytest.raises(InputError, match=f"it has {', '.join(has)}: .*--lead {has[0]}"):
            choose_leads("a", has, domain)
    else:
        assert choose_leads("a", has, domain) == expected


def test_a_lead_may_be_named_by_the_user() -> None:
    two = replace(WINDOWS, leads=("MLII", "V1"))

    assert choose_leads("a", ["I", "V5"], WINDOWS, "V5") == (1,)
    assert choose_leads("a", ["a,b", "V5"], WINDOWS, "a,b") == (0,)
    assert choose_leads("a", ["I", "II", "V5"], two, "V5,I") == (2, 0)
    assert choose_leads("a", ["1"], replace(WINDOWS, leads=())) == (0,)
    with pytest.raises(InputError, match=r"a: --lead I names 1 leads, the model takes 2"):
        choose_leads("a", ["I", "II"], two, "I")
    with pytest.raises(InputError, match=r"a: no lead X; it has I, II: .*--lead"):
        choose_leads("a", ["I", "II"], WINDOWS, "X")
    with pytest.raises(InputError, match=r"a: the model takes a single lead; it has I, II"):
        choose_leads("a", ["I", "II"], replace(WINDOWS, leads=()))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"fs": 100.0}, r"a: 100 Hz; .*above 100 Hz: use a recording with a higher rate"),
        ({"fs": 359.9987}, r"a: 359\.9987 Hz; .*fewer digits"),
        ({"signal": np.ones((1, 100), np.float32)}, r"a: 0\.78\d+ s long; .*more than 2 s"),
        ({"signal": np.full((1, 3840), np.nan, np.float32)}, r"a: 3840 samples of lead II are no"),
        ({"leads": ("V1",)}, r"a: no lead II; it has V1: .*--lead V1"),
    ],
)
def test_what_a_filter_cannot_take_is_refused_in_one_sentence(
    changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        prepare(replace(heartbeat(30, 128), **changes), WINDOWS, hop=10.0, short="pad")


def test_counts_of_a_converter_are_no_millivolts() -> None:
    record = heartbeat(30, 128)

    with pytest.raises(InputError, match=r"a: most of the signal is beyond 20 mV"):
        prepare(record.with_signal(record.signal * 1000), WINDOWS, hop=10.0, short="pad")
