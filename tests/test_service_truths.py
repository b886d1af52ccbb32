"""A model is judged by what is true of a recording, and by nobody whom it was trained on."""

import io
import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wfdb
from sqlalchemy import delete, select

from retrace.deploy.predictor import Predictor
from retrace.errors import InputError
from retrace.files import read_csv
from retrace.runs import answers as counts
from retrace.runs import models
from retrace.service import parts, reanswered, tables, uploaded
from retrace.service.evaluations import label_map
from retrace.service.measured import LEAST, scored
from retrace.service.truths import WHOLE, Labelled, kept_out, of_part
from retrace.signals.domain import SignalDomain
from tests.desk import DATABASES
from tests.heartbeats import MITBIH, WINDOWS, heartbeat
from tests.linear_model import beats_of, write_model
from tests.serving import accounts_of, in_process, postgres_database, service_settings
from tests.sources import ROOT
from tests.test_service_pool import publish

MITDB = Path(os.environ.get("RETRACE_MIRROR", "")) / "physionet.org/files/mitdb/1.0.0"
SYMBOLS = {"N": "N", "V": "V", "A": "S", "Q": None}
KEPT_OUT = [name for n in range(99) if kept_out(name := f"p{n}")]
TRAINED = [name for n in range(99) if not kept_out(name := f"p{n}")]


@pytest.fixture(scope="module", params=DATABASES)
def clinic(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator["Clinic"]:
    """A service with a linear model "mine" of beats, and nothing else."""
    root = tmp_path_factory.mktemp("clinic")
    publish(root, "mine")
    with nullcontext("") if request.param == "sqlite" else postgres_database() as url:
        settings = service_settings(root, root=root, models="mine", database_url=url)
        with in_process(settings) as client:
            yield Clinic(client, accounts_of(client)["staff"])


@pytest.fixture
def empty(clinic: "Clinic") -> "Clinic":
    """The same without recordings, predictions and feedback."""
    with clinic.service.database.write() as session:
        for table in (tables.Prediction, tables.Recording):
            session.execute(delete(table))
    return clinic


class Clinic:
    """A service in this process, and what its staff do."""

    def __init__(self, client: Any, staff: Any) -> None:
        self.client, self.staff = client, staff
        self.service = client.app.state.service
        self.predictor: Predictor = self.service.models.get(None).predictor

    def upload(self, files: list[Path], person: str | None, route: str = "/labelled") -> str:
        """Send files as a labelled recording; its id."""
        answer = self.client.post(
            f"/recordings{route}",
            files=[("files", (path.name, path.read_bytes())) for path in files],
            data={"person": person} if person else {},
            headers=self.staff.headers,
        )
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def heart(self, folder: Path, person: str | None = "p", **changes: Any) -> str:
        """Send a drawn heart; see `drawn`."""
        return self.upload(drawn(folder, **changes), person)

    def predict(self, recording: str, **asked: Any) -> dict[str, Any]:
        answer = self.client.post(
            f"/predict/recordings/{recording}", json=asked, headers=self.staff.headers
        )
        assert answer.status_code == 200, answer.text
        said: dict[str, Any] = answer.json()
        return said

    def say(self, prediction: dict[str, Any], segment: int | None, label: str) -> None:
        """Give feedback."""
        answer = self.client.post(
            f"/predictions/{prediction['id']}/feedback",
            json={"segment": segment, "label": label},
            headers=self.staff.headers,
        )
        assert answer.status_code == 201, answer.text

    def newest(self, **options: Any) -> Labelled:
        options = {"predictor": self.predictor, "most": 10, **options}
        return uploaded.newest(self.service, options.pop("predictor"), SYMBOLS, **options)

    def feedback(self, **options: Any) -> Labelled:
        options = {"predictor": self.predictor, **options}
        return reanswered.feedback(self.service, options.pop("predictor"), "mine", **options)


def drawn(
    folder: Path,
    lead: str = "MLII",
    fs: float = 360,
    seconds: float = 30,
    symbols: tuple[str, ...] | None = None,
    rhythms: tuple[str, ...] = (),
) -> list[Path]:
    """The files of a drawn heart as a WFDB record, its beats annotated as they are, or by
    `symbols` in turn; and rhythms a second apart."""
    record, name = heartbeat(seconds, fs, (lead,)), "heart"
    wfdb.wrsamp(
        name,
        fs=fs,
        units=["mV"],
        sig_name=[lead],
        p_signal=record.signal.T.astype(np.float64),
        fmt=["16"],
        write_dir=str(folder),
    )
    own = [symbols[n % len(symbols)] for n in range(len(record.symbols))] if symbols else None
    marks = [
        (at, symbol, "") for at, symbol in zip(record.beats, own or record.symbols, strict=True)
    ]
    marks = sorted([*marks, *((round(n * fs), "+", one) for n, one in enumerate(rhythms))])
    samples, names, notes = zip(*marks, strict=True)
    wfdb.wrann(
        name, "atr", np.array(samples), list(names), aux_note=list(notes), write_dir=str(folder)
    )
    return [folder / f"{name}{suffix}" for suffix in (".hea", ".dat", ".atr")]


def other_model(path: Path, domain: SignalDomain = MITBIH, **changes: Any) -> Predictor:
    return Predictor(write_model(path / "other.onnx", domain, **changes))


# --- parts of runs ---


def test_the_published_default_run_is_answered_as_published() -> None:
    published = json.loads((ROOT / "recipes/synthetic/scores.json").read_text())
    try:
        predictor = Predictor(models.find(ROOT, "synthetic"))
        part = parts.from_run(ROOT, predictor.card, "test")
    except InputError as error:
        pytest.skip(f"the default run was not pulled: {error}")
    found = of_part(predictor, part)

    rows = read_csv(ROOT / "recipes/synthetic" / counts.FILE)
    expected = counts.read((list(row.values()) for row in rows), predictor.card.classes)
    assert found.answers.groups == expected.groups
    assert np.array_equal(found.answers.matrices, expected.matrices)
    measured = scored(found, seed=7, resamples=1000)
    for metric in ("accuracy", "f1_macro", "challenge_f1"):
        assert measured["scores"][metric] == published["overall"][metric]
    for sex, group in measured["subgroups"]["sex"]["groups"].items():
        its = published["subgroups"]["sex"]["groups"][sex]
        names = ("value", "low", "high") if group["persons"] >= LEAST else ("value",)
        assert {name: group["scores"]["f1_macro"][name] for name in names} == {
            name: its["f1_macro"][name] for name in names
        }
        assert (group["persons"], group["support"]) == (its["patients"], its["support"])


def some_part(**changes: Any) -> parts.Part:
    X = beats_of(MITBIH)
    n = len(X)
    part = parts.Part(
        X=X,
        features=np.linspace(0.3, 1.5, 4 * n, dtype=np.float32).reshape(n, 4),
        labels=np.array([("N", "S", "V")[row % 3] for row in range(n)]),
        records=np.array([f"r{row % 5}" for row in range(n)]),
        persons=np.array(["" if row % 5 == 4 else f"p{row % 5}" for row in range(n)]),
        ages=np.array([np.nan if row % 5 == 4 else 60.0 for row in range(n)]),
        sexes=np.array(["" if row % 5 == 4 else "F" for row in range(n)]),
        split="0" * 64,
    )
    return replace(part, **changes)


def test_a_part_comes_back_as_it_was_kept(tmp_path: Path) -> None:
    part = some_part()
    parts.save(tmp_path / "test.npz", part)
    back = parts.load(tmp_path / "test.npz")

    for name, values in vars(part).items():
        np.testing.assert_array_equal(getattr(back, name), values)
    assert back.split == part.split


def test_a_model_gets_the_features_that_it_names_in_its_order(tmp_path: Path) -> None:
    part = some_part()
    predictor = other_model(tmp_path, features=["likeness", "rr_previous"])
    found = of_part(predictor, part)

    expected = predictor.probabilities(part.X, part.features[:, [3, 0]]).argmax(axis=1)
    rows = np.argsort(part.records, kind="stable")
    assert found.predicted.tolist() == expected[rows].tolist()
    assert [found.classes[y] for y in found.y] == part.labels[rows].tolist()


def test_windows_are_joined_to_one_answer_for_a_recording(tmp_path: Path) -> None:
    labels = np.array([("N", "S", "V", "N", "S")[row % 5] for row in range(len(some_part().X))])
    part = some_part(labels=labels)
    predictor = other_model(tmp_path, aggregate="mean")
    found = of_part(predictor, part)

    p = predictor.probabilities(part.X)
    means = [p[part.records == f"r{n}"].mean(axis=0).argmax() for n in range(5)]
    assert (found.unit, len(found)) == ("record", 5)
    assert found.predicted.tolist() == means
    assert found.answers.groups[4] == ("record", "r4")


def huge(stream: io.BytesIO) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": (1 << 40,)}
    np.lib.format.write_array_header_1_0(stream, header)


def pickled(stream: io.BytesIO) -> None:
    np.save(stream, np.array([{}], dtype=object), allow_pickle=True)


@pytest.mark.parametrize("write", [huge, pickled, lambda stream: stream.write(b"no array")])
def test_a_damaged_part_is_refused(tmp_path: Path, write: Any) -> None:
    path = tmp_path / "test.npz"
    parts.save(path, some_part())
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    stream = io.BytesIO()
    write(stream)
    with zipfile.ZipFile(path, "w") as archive:
        for name, own in (content | {"X.npy": stream.getvalue()}).items():
            archive.writestr(name, own)

    with pytest.raises(InputError, match="no part of a run that can be read"):
        parts.load(path)


def test_a_part_with_a_wrong_byte_is_refused_or_read_and_no_folder_is_named(tmp_path: Path) -> None:
    path, rng = tmp_path / "test.npz", np.random.default_rng(0)
    parts.save(path, some_part())
    whole = path.read_bytes()
    heads = [n for n in range(len(whole)) if whole[n : n + 2] == b"PK"]
    for n in [*(head + at for head in heads for at in range(30)), *rng.integers(0, len(whole), 99)]:
        damaged = bytearray(whole)
        damaged[min(n, len(whole) - 1)] ^= 1 << rng.integers(0, 8)
        path.write_bytes(damaged)
        try:
            parts.load(path)
        except InputError as error:
            assert str(tmp_path) not in str(error)
    path.unlink()
    with pytest.raises(InputError, match="No such file or directory") as gone:
        parts.load(path)
    assert str(tmp_path) not in str(gone.value)


def test_parts_that_are_missing_or_of_uneven_length_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no part of a run that can be read"):
        parts.load(tmp_path / "test.npz")
    parts.save(tmp_path / "test.npz", some_part(persons=np.array(["p"])))
    with pytest.raises(InputError, match="arrays of different lengths"):
        parts.load(tmp_path / "test.npz")


# --- labelled recordings ---


@pytest.mark.skipif(not MITDB.is_dir(), reason="RETRACE_MIRROR has no MIT-BIH records")
@pytest.mark.parametrize("model", ["mitdb_ds1_ds2", "mitdb_ds1_ds2_simple_cnn"])
def test_uploaded_records_of_mitbih_are_answered_as_in_the_published_run(
    tmp_path: Path, model: str
) -> None:
    names = ("100", "202", "213")
    with in_process(service_settings(tmp_path, models=model)) as client:
        clinic = Clinic(client, accounts_of(client)["staff"])
        for name in names:
            clinic.upload([MITDB / f"{name}{suffix}" for suffix in (".hea", ".dat", ".atr")], name)
        lock = (ROOT / "recipes" / model / "dvc.lock").read_text()
        symbols = label_map("mitdb", "", lock)
        found = uploaded.newest(clinic.service, clinic.predictor, symbols, most=9, with_mitbih=True)

    rows = [
        row for row in read_csv(ROOT / "recipes" / model / counts.FILE) if row["record_id"] in names
    ]
    # By their own names: 202 is the patient 201.
    plain = [("", *list(row.values())[1:]) for row in rows]
    expected = counts.read(plain, clinic.predictor.card.classes)
    published = {
        record: matrix
        for (_, record), matrix in zip(expected.groups, expected.matrices, strict=True)
    }
    for (_, person), matrix in zip(found.answers.groups, found.answers.matrices, strict=True):
        assert np.array_equal(matrix, published.pop(person))
    assert not published


def test_each_answered_beat_has_the_class_of_its_own_symbol(empty: Clinic, tmp_path: Path) -> None:
    recording = empty.heart(tmp_path, symbols=("N", "V", "Q", "A", "F"))
    found = empty.newest()

    (told,) = found.told
    beats = heartbeat(30, 360).beats.tolist()
    names = dict(
        zip(beats, (("N", "V", None, "S", None)[n % 5] for n in range(len(beats))), strict=True)
    )
    assert [found.classes[y] for y in told.y] == [names[place] for place in told.places.tolist()]
    asked = empty.predict(recording)["segments"]
    answered = {segment["sample"]: segment["class"] for segment in asked}
    assert [found.classes[c] for c in told.predicted] == [answered[p] for p in told.places.tolist()]
    known = [beat for beat in answered if names[beat] is None]
    assert len(told.y) == len(answered) - len(known) > 0
    assert found.left_out == {"beats of no class of the model": len(known)}


def test_what_cannot_be_judged_is_left_out_with_its_reason_and_the_rest_counts(
    empty: Clinic, tmp_path: Path
) -> None:
    gone = empty.heart(tmp_path, "gone")
    damaged = empty.heart(tmp_path, "damaged")
    empty.heart(tmp_path, "of another rate", fs=250)
    empty.heart(tmp_path, "too slow", fs=80)
    empty.heart(tmp_path, "of another lead", lead="V1")
    empty.heart(tmp_path, None)
    empty.heart(tmp_path, "without a class", symbols=("Q",))
    empty.heart(tmp_path, "whole")
    plain = drawn(tmp_path)[:2]
    empty.upload(plain, "without labels", route="")
    kept = empty.service.settings.home / "recordings"
    shutil.rmtree(kept / gone)
    (kept / damaged / "heart.dat").write_bytes(b"")

    found = empty.newest()

    assert [told.person for told in found.told] == ["whole", "of another rate"]
    recordings = {why: n for why, n in found.left_out.items() if why.startswith("recordings")}
    assert recordings == {
        "recordings without a person": 1,
        "recordings without a lead that the model takes": 1,
        "recordings without a beat of a class of the model": 1,
        "recordings whose annotations cannot be read": 1,
        "recordings that the model cannot answer": 2,
    }


def test_only_so_many_of_the_newest_are_answered(empty: Clinic, tmp_path: Path) -> None:
    for person in ("a", "b", "c"):
        empty.heart(tmp_path, person)
    shares = list[float]()
    found = empty.newest(most=2, progress=shares.append)

    assert [told.person for told in found.told] == ["c", "b"]
    assert shares == sorted(shares)
    assert 0.5 in shares


def test_a_person_who_was_trained_on_is_left_out_with_every_recording(
    empty: Clinic, tmp_path: Path
) -> None:
    trained = empty.heart(tmp_path, TRAINED[0])
    empty.heart(tmp_path, TRAINED[0], seconds=20)
    empty.heart(tmp_path, TRAINED[1], seconds=20)
    empty.heart(tmp_path, KEPT_OUT[0], seconds=20)

    found = empty.newest(without=[trained])
    assert [told.person for told in found.told] == [KEPT_OUT[0], TRAINED[1]]
    assert found.left_out["recordings of persons who were trained on"] == 2
    never = empty.newest(only_kept_out=True)
    assert [told.person for told in never.told] == [KEPT_OUT[0]]


def test_a_copy_of_what_was_trained_on_does_not_judge_under_another_name(
    empty: Clinic, tmp_path: Path
) -> None:
    paths = drawn(tmp_path)
    trained = empty.upload(paths, TRAINED[0])
    empty.upload(paths, KEPT_OUT[0])
    empty.heart(tmp_path, KEPT_OUT[1], seconds=20)

    found = empty.newest(without=[trained])
    assert [told.person for told in found.told] == [KEPT_OUT[1]]
    assert found.left_out["recordings of persons who were trained on"] == 2


def test_where_a_trained_recording_is_gone_only_kept_out_persons_judge(
    empty: Clinic, tmp_path: Path
) -> None:
    trained = empty.heart(tmp_path, TRAINED[0])
    empty.client.delete(f"/recordings/{trained}", headers=empty.staff.headers).raise_for_status()
    empty.heart(tmp_path, TRAINED[0])  # the same person, under another id
    empty.heart(tmp_path, KEPT_OUT[0])

    found = empty.newest(without=[trained])
    assert [told.person for told in found.told] == [KEPT_OUT[0]]


def test_a_third_of_all_persons_is_kept_out_whoever_asks() -> None:
    names = [f"person {n}" for n in range(3000)]
    assert 0.31 < sum(map(kept_out, names)) / len(names) < 0.36
    # For ever: another rule would let a model know who was kept out before.
    assert [kept_out(name) for name in names[:6]] == [True, False, False, False, True, False]


@pytest.mark.parametrize(
    ("rhythms", "truth"),
    [
        (("(N", "(N"), "NSR"),
        (("(AFIB",), "AF"),
        (("(B",), "Other"),
        (("(N", "(AFIB"), None),
        ((), None),
    ],
)
def test_a_model_of_windows_is_judged_by_the_only_rhythm_of_a_recording(
    empty: Clinic, tmp_path: Path, rhythms: tuple[str, ...], truth: str | None
) -> None:
    classes = ["NSR", "AF", "Other"]
    predictor = other_model(tmp_path, WINDOWS, aggregate="mean", classes=classes)
    empty.heart(tmp_path, lead="II", rhythms=rhythms)
    found = empty.newest(predictor=predictor)

    if truth is None:
        assert not found.told
        assert found.left_out == {"recordings of several rhythms, or of none": 1}
    else:
        (told,) = found.told
        assert (found.unit, told.places.tolist()) == ("record", [WHOLE])
        assert classes[told.y[0]] == truth


# --- feedback ---


def test_the_latest_feedback_of_a_beat_counts_also_across_two_answers(
    empty: Clinic, tmp_path: Path
) -> None:
    recording = empty.heart(tmp_path)
    first, second = empty.predict(recording), empty.predict(recording)
    for prediction, segment, label in [
        (first, 3, "N"),
        (first, 3, "S"),
        (first, 5, "V"),
        (second, 5, "N"),
    ]:
        empty.say(prediction, segment, label)
    found = empty.feedback()

    (told,) = found.told
    segments = first["segments"]
    assert told.places.tolist() == [segments[3]["sample"], segments[5]["sample"]]
    assert [found.classes[y] for y in told.y] == ["S", "N"]
    assert [found.classes[y] for y in told.predicted] == [segments[n]["class"] for n in (3, 5)]
    assert (told.key, told.person, found.left_out) == (recording, "p", {})


def test_the_nearest_beat_is_meant_where_another_model_found_others(
    empty: Clinic, tmp_path: Path
) -> None:
    recording = empty.heart(tmp_path)
    detected = empty.predict(recording, detect=True)
    annotated = {one["sample"] for one in empty.predict(recording)["segments"]}
    sample = detected["segments"][4]["sample"]
    empty.say(detected, 4, "V")
    (told,) = empty.feedback().told

    assert told.places[0] in annotated
    assert abs(int(told.places[0]) - sample) <= 0.15 * 360


def test_what_was_sent_is_answered_again_where_that_can_be(empty: Clinic, tmp_path: Path) -> None:
    beats = beats_of(MITBIH)[:4, 0].tolist()
    said = empty.client.post("/predict/beats", json={"beats": beats}, headers=empty.staff.headers)
    empty.say(said.json(), 2, "S")
    record = heartbeat(20, 360, ("MLII",))
    sent = {"fs": 360, "leads": {"MLII": record.signal[0].tolist()}}
    said = empty.client.post("/predict/samples", json=sent, headers=empty.staff.headers)
    empty.say(said.json(), 1, "V")

    again = empty.feedback()
    assert sorted(again.classes[y] for y in again.y) == ["S", "V"]
    assert again.answers.groups[0][0] == "record"
    model = other_model(tmp_path, features=["rr_previous"])
    assert empty.feedback(predictor=model).left_out == {
        "feedback on segments whose features were not kept": 1
    }
    model = other_model(tmp_path, replace(MITBIH, normalise="window"))
    assert empty.feedback(predictor=model).left_out == {
        "feedback on segments of another signal domain": 1
    }
    assert empty.feedback(without=["x"]).left_out == {"feedback on what nobody said whose it is": 2}


def test_feedback_on_persons_who_were_trained_on_is_left_out(empty: Clinic, tmp_path: Path) -> None:
    trained = empty.heart(tmp_path, TRAINED[0])
    empty.say(empty.predict(trained), 0, "N")
    nobody = empty.heart(tmp_path, None)
    empty.say(empty.predict(nobody), 0, "N")

    found = empty.feedback(without=[trained])
    assert not found.told
    assert found.left_out == {
        "recordings of persons who were trained on": 1,
        "recordings without a person": 1,
    }


def test_one_segment_is_the_same_by_its_number_and_without(empty: Clinic) -> None:
    beat = beats_of(MITBIH)[0, 0].tolist()
    said = empty.client.post("/predict/beats", json={"beats": [beat]}, headers=empty.staff.headers)
    empty.say(said.json(), None, "S")
    empty.say(said.json(), 0, "V")

    with empty.service.database.read() as session:
        assert len(session.scalars(select(tables.Feedback)).all()) == 2
        (one,) = reanswered.latest(session, "mine")
    assert one.label == "V"
    assert [empty.predictor.card.classes[y] for y in empty.feedback().y] == ["V"]
