"""MIT-BIH with own recordings beside it: who judges a model stays the same, and is never learned
from."""

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wfdb
import yaml

from retrace.datasets.collected import records
from retrace.errors import InputError
from retrace.files import read_csv, write_csv
from retrace.learning.splits import DS1, DS2, divide
from retrace.runs import recipes
from retrace.sources import pin
from stages import bandpass, fetch, segment, split
from tests.sources import ROOT

REAL = Path(os.environ.get("RETRACE_MIRROR", "")) / "physionet.org/files/mitdb/1.0.0"
needs_mirror = pytest.mark.skipif(
    not REAL.is_dir(), reason="RETRACE_MIRROR is no folder with mitdb"
)
# Whose recordings are uploaded: of DS1's training part, with every class; then one each that
# models are validated (101) and tested (100) by, and one that is in neither (217, paced).
LEARNED = ("119", "203", "205", "208", "209")
OTHERS = ("101", "100", "217")


def own(folder: Path, names: tuple[str, ...], gain: float = 1.0) -> Path:
    """Records of MIT-BIH as a service writes them: each with a person of its own, without the first
    seconds, and with another gain."""
    folder.mkdir(parents=True)
    for name in names:
        found = wfdb.rdrecord(str(REAL / name), sampfrom=9_000, channels=[0])
        marks = wfdb.rdann(str(REAL / name), "atr")
        later = marks.sample >= 9_000
        wfdb.wrsamp(
            f"own{name}",
            fs=360,
            units=["mV"],
            sig_name=["MLII"],
            p_signal=found.p_signal * gain,
            fmt=["16"],
            adc_gain=[1000.0],
            baseline=[0],
            write_dir=str(folder),
        )
        at, symbols = marks.sample[later] - 9_000, np.array(marks.symbol)[later].tolist()
        wfdb.wrann(f"own{name}", "atr", at, symbol=symbols, write_dir=str(folder))
    rows = [(f"own{name}", f"person{name}") for name in names]
    write_csv(folder / "persons.csv", ("record_id", "patient_id"), rows)
    return folder


def run(folder: Path, with_ds1: bool | None, names: tuple[str, ...] = ()) -> Path:
    """The stages up to the split, as a work tree runs them. with_ds1: None for mitdb itself."""
    tree: Any = yaml.safe_load(recipes.render(ROOT, "mitdb_ds1_ds2"))
    (folder / "stages/sources").mkdir(parents=True)
    for name in ("sources.yaml", "sources/mitdb.sha256"):
        shutil.copy(ROOT / "stages" / name, folder / "stages" / name)
    if with_ds1 is not None:
        text = pin(own(folder / "own", names, gain=1.3))
        (folder / "stages/sources/collected.sha256").write_text(text)
        tree["dataset"]["name"], tree["fetch"]["folder"] = "collected", "own"
        tree["datasets"]["collected"] = tree["datasets"]["mitdb"] | {"with_ds1": with_ds1}
    (folder / "params.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))
    with chdir(folder):
        for stage in (fetch, bandpass, segment, split):
            stage.main()
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    folder = tmp_path_factory.mktemp("runs")
    names = LEARNED + OTHERS
    yield {
        "mitdb": run(folder / "mitdb", None),
        "all": run(folder / "all", True, names),
        "newest": run(folder / "newest", False, names),
    }
    shutil.rmtree(folder)


def part(run: Path, subset: str) -> tuple[list[tuple[str, ...]], bytes]:
    """The segments of a part, and their samples."""
    subsets = read_csv(run / "data/split.csv")
    segments = read_csv(run / "data/waveforms/segments.csv")
    rows = [n for n, row in enumerate(subsets) if row["subset"] == subset]
    X = np.load(run / "data/waveforms/X.npy", mmap_mode="r")
    return [tuple(segments[row].values()) for row in rows], X[rows].tobytes()


@needs_mirror
@pytest.mark.parametrize("data", ["all", "newest"])
@pytest.mark.parametrize("subset", ["val", "test"])
def test_models_are_judged_by_the_very_same_segments(
    runs: dict[str, Path], data: str, subset: str
) -> None:
    assert part(runs[data], subset) == part(runs["mitdb"], subset)
    assert len(part(runs["mitdb"], subset)[0]) > 10_000


@needs_mirror
def test_what_is_added_is_trained_on_beside_ds1_or_in_its_place(runs: dict[str, Path]) -> None:
    trained = {name: Counter(row[1] for row in part(run, "train")[0]) for name, run in runs.items()}
    added = {f"own{name}" for name in LEARNED}

    assert trained["all"].keys() == trained["mitdb"].keys() | added
    assert trained["newest"].keys() == added
    assert {row[1] for row in part(runs["newest"], "kept")[0]} == trained["mitdb"].keys()


@needs_mirror
@pytest.mark.parametrize("data", ["all", "newest"])
def test_nobody_by_whom_models_are_judged_is_learned_from(runs: dict[str, Path], data: str) -> None:
    """Their recordings came cut, with another gain and a name of their own."""
    people = {
        row["record_id"]: row["patient_id"]
        for row in read_csv(runs[data] / "data/filtered/records.csv")
    }
    unused = {row[1] for row in part(runs[data], "unused")[0]}

    assert {people[f"own{name}"] for name in OTHERS} == set(OTHERS)
    assert unused >= {f"own{name}" for name in OTHERS}


def rows(added: dict[str, str], part: str = "mitdb") -> list[dict[str, str]]:
    """MIT-BIH's records, and behind them recordings of these persons."""
    known = [(name, name, part) for name in (*DS1, *DS2)]
    known += [(name, person, "added") for name, person in added.items()]
    names = ("record_id", "patient_id", "part")
    return [dict(zip(names, row, strict=True)) | {"same_as": ""} for row in known]


def sides(added: dict[str, str], part: str = "mitdb", labels: str = "NV") -> dict[str, set[str]]:
    """The subsets of each record, each having a segment of every class."""
    table = rows(added, part)
    given = [row["record_id"] for row in table for _ in labels]
    options: Any = {"folds": 5, "fold": 0, "val": 0.1, "seed": 1}
    found = divide("ds1_ds2", list(labels) * len(table), given, table, **options)
    return {
        name: {side for side, one in zip(found, given, strict=True) if one == name}
        for name in dict.fromkeys(given)
    }


def test_all_recordings_of_a_person_stand_where_one_of_them_must() -> None:
    val = next(name for name, side in sides({}).items() if side == {"val"})

    found = sides({"first": val, "second": val, "third": "somebody"})

    assert found["first"] == found["second"] == {"unused"}
    assert found["third"] == {"train"}


def test_a_person_who_joins_two_patients_of_mitdb_moves_neither() -> None:
    before = sides({})
    train = [name for name, side in before.items() if side == {"train"}]
    table = rows({"a": train[0], "b": "somebody"})
    table[-1]["same_as"] = train[1]
    table[-2]["same_as"] = train[1]
    given = [row["record_id"] for row in table for _ in "NV"]
    found = divide(
        "ds1_ds2", list("NV") * len(table), given, table, folds=5, fold=0, val=0.1, seed=1
    )

    theirs = {one: {side} for one, side in zip(given, found, strict=True) if one in before}
    assert theirs == before


def test_where_nothing_added_can_be_learned_from_that_is_said() -> None:
    with pytest.raises(InputError, match="no beat that was added can be trained on"):
        sides({"first": "100"})


def test_without_ds1_every_class_must_be_among_what_is_added() -> None:
    table = rows({"first": "somebody"}, "kept")
    given = [row["record_id"] for row in table for _ in "NV"]
    labels = [*"NV"] * (len(table) - 1) + ["N", "N"]

    with pytest.raises(InputError, match=r"no segment of class V is left for train.*with_ds1"):
        divide("ds1_ds2", labels, given, table, folds=5, fold=0, val=0.1, seed=1)


def test_a_person_with_recordings_of_two_of_mitdb_is_left_out(tmp_path: Path) -> None:
    """He may be on both sides of the split: one of the two may be of the test part."""
    rng = np.random.default_rng(1)
    beats = {name: np.cumsum(300 + rng.integers(0, 60, 60)) for name in ("100", "101", "new")}
    mitdb = [("mitdb", name, name) for name in ("100", "101")]
    uploads = [("own", "a", "100"), ("own", "b", "101"), ("own", "c", "101"), ("own", "d", "new")]
    for folder, name, heart in mitdb + uploads:
        (tmp_path / folder).mkdir(exist_ok=True)
        wfdb.wrsamp(
            name,
            fs=360,
            units=["mV"],
            sig_name=["V5"],
            p_signal=np.sin(np.arange(25_000) / 9)[:, None],
            fmt=["16"],
            write_dir=str(tmp_path / folder),
        )
        wfdb.wrann(name, "atr", beats[heart], symbol=["N"] * 60, write_dir=str(tmp_path / folder))
    owners = [("a", "demo"), ("b", "demo"), ("c", "one"), ("d", "demo2")]
    write_csv(tmp_path / "own/persons.csv", ("record_id", "patient_id"), owners)

    found = list(records(tmp_path, labels={"N": "N", "V": "V"}, leads=["V5"], with_ds1=True))

    assert [(one.record_id, one.patient_id) for one in found] == [
        ("100", "100"),
        ("101", "101"),
        ("c", "101"),
        ("d", "demo2"),
    ]


def test_other_hearts_are_not_taken_for_those_of_mitdb(tmp_path: Path) -> None:
    """Not even where the intervals hardly differ, as under a pacemaker."""
    rng = np.random.default_rng(1)
    for folder, name, spread in (
        ("mitdb", "102", 2),
        ("own", "paced", 2),
        ("own", "sinus", 9),
    ):
        at = np.cumsum(300 + rng.integers(0, spread, 300))
        (tmp_path / folder).mkdir(exist_ok=True)
        wfdb.wrsamp(
            name,
            fs=360,
            units=["mV"],
            sig_name=["V5"],
            p_signal=np.sin(np.arange(at[-1] + 10) / 9)[:, None],
            fmt=["16"],
            write_dir=str(tmp_path / folder),
        )
        wfdb.wrann(name, "atr", at, symbol=["/"] * 300, write_dir=str(tmp_path / folder))
    table = [("paced", "own1"), ("sinus", "own2")]
    write_csv(tmp_path / "own/persons.csv", ("record_id", "patient_id"), table)

    found = list(records(tmp_path, labels={"/": "Q", "N": "N"}, leads=["V5"], with_ds1=True))

    assert [(r.record_id, r.patient_id, r.part) for r in found] == [
        ("102", "102", "mitdb"),
        ("paced", "own1", "added"),
        ("sinus", "own2", "added"),
    ]
