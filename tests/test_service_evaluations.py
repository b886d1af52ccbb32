"""Scores have honest intervals; models are compared only where neither was trained."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import delete, update

from retrace.errors import InputError
from retrace.runs.answers import Answers
from retrace.scoring import subgroups
from retrace.service import compared, parts, registry, tables
from retrace.service.evaluations import evaluate, label_map
from retrace.service.measured import LEAST, deviation, scored
from retrace.service.tables_models import Version
from retrace.service.truths import Labelled, Told, of_part
from tests.serving import accounts_of, in_process, service_settings
from tests.sources import ROOT
from tests.test_service_pool import publish
from tests.test_service_truths import (
    KEPT_OUT,
    SYMBOLS,
    TRAINED,
    Clinic,
    other_model,
    some_part,
)

CLASSES = ("N", "S", "V")
PARAMS = f"datasets: {{mitdb: {{labels: {SYMBOLS}}}}}".replace("None", "null")
SPLIT = {"split": "f" * 32}


def told(person: str | None, pairs: Sequence[tuple[int, int]], key: str = "", **more: Any) -> Told:
    """Answers for a recording: true and answered class of each segment."""
    y, predicted = np.array(pairs, np.int16).reshape(-1, 2).T
    given: dict[str, Any] = {"age": None, "sex": None, "places": np.arange(len(y))} | more
    return Told(key or str(person), person, y=y, predicted=predicted, **given)


def persons(rng: np.random.Generator, count: int, accuracy: float, **more: Any) -> tuple[Told, ...]:
    """Persons of unlike size, each as easy or hard to answer as hearts are."""
    found = []
    for number in range(count):
        size, own = int(rng.integers(20, 200)), rng.beta(8 * accuracy, 8 * (1 - accuracy))
        y = rng.integers(0, 3, size)
        wrong = rng.random(size) > own
        pairs = np.stack([y, np.where(wrong, (y + 1) % 3, y)], axis=1)
        found.append(told(f"p{number}", pairs.tolist(), **more))
    return tuple(found)


# --- intervals ---


def test_an_interval_covers_the_truth_nearly_as_often_as_it_says() -> None:
    rng, runs = np.random.default_rng(0), 200
    covered = gap = 0
    for run in range(runs):
        before, now = (Labelled(CLASSES, "beat", persons(rng, 20, p)) for p in (0.8, 0.7))
        own = scored(before, seed=run, resamples=300)["scores"]["accuracy"]
        covered += own["low"] <= 0.8 <= own["high"]
        moved = deviation(before.answers, now.answers, seed=run, resamples=300)["accuracy"]
        gap += moved["low"] <= -0.1 <= moved["high"]  # type: ignore[operator]

    assert 0.86 <= covered / runs <= 0.98
    assert 0.86 <= gap / runs <= 0.98


def test_of_too_few_persons_no_interval_is_told_and_why() -> None:
    rng = np.random.default_rng(0)
    enough = Labelled(CLASSES, "beat", persons(rng, LEAST, 0.8))
    few = replace(enough, told=enough.told[1:])

    assert scored(enough)["scores"]["accuracy"]["low"] is not None
    said = scored(few)
    assert said["scores"]["accuracy"] | {"value": None} == dict.fromkeys(("value", "low", "high"))
    assert f"{LEAST - 1} persons" in said["note"]
    assert deviation(enough.answers, few.answers)["accuracy"]["high"] is None
    assert "note" not in scored(enough)


def test_subgroups_are_those_of_a_published_run_with_their_counts() -> None:
    rng = np.random.default_rng(0)
    women = persons(rng, 9, 0.9, sex="F", age=50.0)
    men = tuple(
        replace(one, person=f"m{n}", key=f"m{n}")
        for n, one in enumerate(persons(rng, 12, 0.7, sex="M", age=70.0))
    )
    unknown = (told("u", [(0, 0)]),)
    labelled = Labelled(CLASSES, "beat", women + men + unknown)
    n = [len(one.y) for one in labelled.told]
    people = np.repeat([one.person for one in labelled.told], n).tolist()
    expected = subgroups.compare(
        labelled.y.astype(np.int64),
        labelled.predicted.astype(np.int64),
        CLASSES,
        groups=[("patient", person) for person in people],
        patients=people,
        ages=np.repeat(np.array([one.age for one in labelled.told], object), n).tolist(),
        sexes=np.repeat(np.array([one.sex for one in labelled.told], object), n).tolist(),
        unit="beat",
        resamples=200,
        seed=3,
    )

    found = scored(labelled, seed=3, resamples=200)["subgroups"]
    assert found["sex"]["unknown"] == expected["sex"]["unknown_beats"] == 1
    assert found["sex"]["note"] == "No fairness verdict: fewer than 10 persons in F (9)."
    for attribute in ("sex", "age"):
        for name, its in expected[attribute]["groups"].items():
            own = found[attribute]["groups"][name]
            assert (own["segments"], own["persons"]) == (its["beats"], its["patients"])
            assert own["support"] == its["support"]
            for metric in ("accuracy", "f1_macro", "sensitivity_macro"):
                assert own["scores"][metric] == its[metric]


def test_a_deviation_is_that_of_the_classes_that_both_have() -> None:
    def answers(*matrix: list[float]) -> Answers:
        return Answers(CLASSES, (("patient", "a"),), np.array([matrix]))

    before = answers([90, 0, 10], [10, 0, 0], [10, 0, 90])  # S is never found
    now = answers([90, 0, 10], [0, 0, 0], [10, 0, 90])  # and now there is none
    found = deviation(before, now)

    # Of N the ten false alarms on S are gone; that S itself is no longer missed, is no gain.
    assert found["sensitivity_macro"]["value"] == 0
    of_n = 180 / 200 - 180 / 210
    assert found["f1_macro"]["value"] == pytest.approx(of_n / 2, abs=1e-6)


# --- evaluations ---


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clinic]:
    root = tmp_path_factory.mktemp("evaluations")
    publish(root, "mine", hashes={"weights": "0" * 64, "split": "0" * 64})
    with in_process(service_settings(root, root=root, models="mine")) as client:
        yield Clinic(client, accounts_of(client)["staff"])


@pytest.fixture
def clinic(opened: Clinic) -> Clinic:
    """The model "mine" is version 1 and in production; it was trained on no recording."""
    with opened.service.database.write() as session:
        for table in (tables.Prediction, tables.Recording):
            session.execute(delete(table))
        session.execute(update(Version).values(params=PARAMS, data=SPLIT))
    for kept in folder(opened).glob("*.npz"):
        kept.unlink()
    return opened


def folder(clinic: Clinic) -> Path:
    """Of the version in production."""
    with clinic.service.database.read() as session:
        version = registry.production(session, "mine")
    assert version is not None
    return registry.path(clinic.service.settings, version.id)


def test_an_evaluation_tells_test_part_newest_recordings_feedback_and_deviation(
    clinic: Clinic, tmp_path: Path
) -> None:
    parts.save(folder(clinic) / "test.npz", some_part())
    ids = [clinic.heart(tmp_path, person) for person in ("a", "b")]
    said = clinic.predict(ids[0])
    answered = said["segments"][0]["class"]
    other = next(name for name in CLASSES if name != answered)
    for segment, label in [(0, other), (0, answered), (1, "N"), (2, "S"), (2, "V")]:
        clinic.say(said, segment, label)
    shares = list[float]()
    found = evaluate(clinic.service, "mine", newest=5, progress=shares.append)

    assert found["version"] == 1
    assert found["test"]["from"] == "registry"
    assert found["test"]["segments"] == len(some_part().labels)
    assert found["newest"]["persons"] == 2
    assert found["newest"]["segments"] == sum(found["newest"]["support"].values())
    wrong = sum(said["segments"][n]["class"] != label for n, label in ((1, "N"), (2, "V")))
    assert found["feedback"] == {"given": 3, "wrong": wrong}
    assert found["deviation"]["classes"] == ["N", "V"]
    before, now = (found[side]["scores"]["accuracy"]["value"] for side in ("test", "newest"))
    assert found["deviation"]["scores"]["accuracy"]["value"] == pytest.approx(
        now - before, abs=1e-5
    )
    assert shares[-1] == 1.0


def test_what_is_not_there_is_said_and_the_rest_is_told(clinic: Clinic, tmp_path: Path) -> None:
    clinic.heart(tmp_path, None)
    found = evaluate(clinic.service, "mine", newest=5)

    assert "the test part of the model's own run is not here" in found["test"]["missing"]
    assert str(clinic.service.settings.root) not in found["test"]["missing"]
    assert "1 recordings without a person" in found["newest"]["missing"]
    assert found["feedback"] == {"given": 0, "wrong": 0}
    assert "needs both" in found["deviation"]["missing"]


def test_a_test_part_of_another_run_is_not_taken(clinic: Clinic) -> None:
    parts.save(folder(clinic) / "test.npz", some_part(split="1" * 64))
    assert "missing" in evaluate(clinic.service, "mine", newest=1)["test"]


def test_without_its_data_a_published_model_has_its_published_counts(tmp_path: Path) -> None:
    root = tmp_path / "root"
    model = "mitdb_ds1_ds2"
    (root / "recipes" / model).mkdir(parents=True)
    for source in (ROOT / "recipes" / model).iterdir():
        if source.is_file():
            (root / "recipes" / model / source.name).write_bytes(source.read_bytes())
    if not (root / "recipes" / model / "model.onnx").is_file():
        pytest.skip(f"recipes/{model}/model.onnx was not pulled")
    settings = service_settings(tmp_path, root=root, models=model)
    with in_process(settings) as client:
        service: Any = client.app.state.service  # type: ignore[attr-defined]
        found = evaluate(service, model, newest=1)["test"]

    assert (found["from"], found["unit"], found["persons"]) == ("published counts", "beat", 22)
    assert found["scores"]["accuracy"]["value"] == 0.947966
    assert found["scores"]["f1_macro"]["value"] == 0.442847


def test_the_label_map_is_that_of_params_or_of_the_lock() -> None:
    lock = (ROOT / "recipes/mitdb_ds1_ds2/dvc.lock").read_text()
    assert label_map("mitdb", "", lock)["/"] == "Q"
    assert label_map("mitdb", PARAMS, lock) == SYMBOLS
    assert label_map("cinc2017", PARAMS) == {}


def test_a_model_without_production_or_file_is_refused_in_a_sentence(
    clinic: Clinic, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="no version is in production"):
        evaluate(clinic.service, "another", newest=1)
    model = folder(clinic) / "model.onnx"
    content = model.read_bytes()
    try:
        model.write_bytes(content[:-9])
        with pytest.raises(InputError, match="its file is damaged"):
            evaluate(clinic.service, "mine", newest=1)
    finally:
        model.write_bytes(content)


# --- comparisons ---


def candidate(clinic: Clinic, out: Path, predictor: Any = None, **data: Any) -> dict[str, Any]:
    given = {"recordings": []} | SPLIT | data
    return compared.candidate(
        clinic.service, "mine", predictor or clinic.predictor, given, out, PARAMS
    )


def test_a_model_differs_from_itself_by_nothing(clinic: Clinic, tmp_path: Path) -> None:
    parts.save(tmp_path / "validation.npz", some_part())
    for person in KEPT_OUT[:LEAST]:
        clinic.heart(tmp_path, person, symbols=("N", "V", "N", "A"))
    beats = some_part().X[:9, 0].tolist()
    said = clinic.client.post(
        "/predict/beats", json={"beats": beats}, headers=clinic.staff.headers
    ).json()
    for segment in range(9):
        clinic.say(said, segment, "NSV"[segment % 3])
    found = candidate(clinic, tmp_path)

    assert found["against"] == 1
    assert found["newest"]["persons"] == LEAST
    for side in ("validation", "newest", "feedback"):
        for score in found[side]["scores"].values():
            assert score["difference"] == 0
            assert score["candidate"] == score["production"]
    assert found["newest"]["scores"]["accuracy"] | {"candidate": 0, "production": 0} == {
        "candidate": 0,
        "production": 0,
        "difference": 0,
        "low": 0,
        "high": 0,
        "p": 1,
    }
    assert found["validation"]["scores"]["accuracy"]["low"] is None
    assert "5 persons" in found["validation"]["note"]


def test_a_better_candidate_is_shown_by_pairs_of_persons() -> None:
    rng = np.random.default_rng(0)
    production = persons(rng, 20, 0.7)
    better = tuple(
        replace(one, predicted=np.where(rng.random(len(one.y)) < 0.2, one.y, one.predicted))
        for one in production
    )
    found = compared.paired(
        Labelled(CLASSES, "beat", better), Labelled(CLASSES, "beat", production), resamples=1000
    )["scores"]["accuracy"]

    assert found["difference"] == pytest.approx(found["candidate"] - found["production"], abs=2e-6)
    assert 0.02 < found["low"] < found["difference"] < found["high"] < 0.12
    assert found["p"] < 0.01


def test_only_what_both_have_answered_is_compared() -> None:
    one = Labelled(CLASSES, "beat", (told("a", [(0, 0), (1, 1), (2, 2)]), told("b", [(0, 1)])))
    other = told("a", [(1, 0), (2, 0)], places=np.array([1, 2]))
    found = compared.paired(one, Labelled(CLASSES, "beat", (other, told("c", [(0, 0)]))))

    assert found["support"] == {"N": 0, "S": 1, "V": 1}
    assert found["scores"]["accuracy"]["difference"] == 1
    assert found["left_out"] == {"answers of one of both models alone": 3}


def test_a_training_on_a_kept_out_person_is_refused(clinic: Clinic, tmp_path: Path) -> None:
    ids = [clinic.heart(tmp_path, person) for person in (TRAINED[0], KEPT_OUT[0])]
    with pytest.raises(InputError, match=f"recording {ids[1]} is of a person who is kept out"):
        candidate(clinic, tmp_path, recordings=ids)


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"")])
def test_a_candidate_stands_alone_where_production_cannot_answer(
    clinic: Clinic, tmp_path: Path, damage: Any
) -> None:
    """It may be the remedy."""
    parts.save(tmp_path / "validation.npz", some_part())
    model = folder(clinic) / "model.onnx"
    content = model.read_bytes()
    try:
        damage(model)
        found = candidate(clinic, tmp_path)
    finally:
        model.write_bytes(content)

    assert found["against"] == 1
    for side in ("validation", "newest", "feedback"):
        assert "version 1 cannot answer" in found[side]["missing"]


def test_persons_of_whom_a_model_may_know_do_not_judge(clinic: Clinic, tmp_path: Path) -> None:
    ids = [clinic.heart(tmp_path, TRAINED[n], seconds=30 + n) for n in (0, 1)]
    clinic.heart(tmp_path, KEPT_OUT[0], seconds=20)
    for recording in ids:
        clinic.say(clinic.predict(recording), 0, "N")
    with clinic.service.database.write() as session:
        session.execute(update(Version).values(data={"recordings": ids[:1]} | SPLIT))
    found = candidate(clinic, tmp_path)

    assert found["newest"]["persons"] == 1
    assert found["newest"]["left_out"]["recordings of persons who may be trained on"] == 1
    assert found["feedback"]["segments"] == 1
    assert found["feedback"]["left_out"] == {"recordings of persons who were trained on": 1}
    assert "newest" in evaluate(clinic.service, "mine", newest=9)
    assert evaluate(clinic.service, "mine", newest=9)["newest"]["persons"] == 2


def test_a_validation_part_is_asked_only_where_production_has_the_same(
    clinic: Clinic, tmp_path: Path
) -> None:
    parts.save(tmp_path / "validation.npz", some_part())
    assert candidate(clinic, tmp_path)["validation"]["segments"] == len(some_part().labels)
    assert (
        "another validation part"
        in candidate(clinic, tmp_path, split="e" * 32)["validation"]["missing"]
    )
    assert "segments" in candidate(clinic, tmp_path, split=None, validation="f" * 32)["validation"]
    (tmp_path / "validation.npz").unlink()
    assert "train again" in candidate(clinic, tmp_path)["validation"]["missing"]


def test_each_model_is_asked_in_its_own_signal_domain(clinic: Clinic, tmp_path: Path) -> None:
    part, domain = some_part(), replace(clinic.predictor.card.domain, normalise="window")
    parts.save(tmp_path / "validation.npz", part)
    predictor = other_model(tmp_path, domain)
    assert "missing" in candidate(clinic, tmp_path, predictor)["validation"]
    # As production's own run has cut the same segments.
    own = replace(part, X=-part.X)
    parts.save(folder(clinic) / "validation.npz", own)
    found = candidate(clinic, tmp_path, predictor)["validation"]["scores"]["accuracy"]
    for name, model, its in (("candidate", predictor, part), ("production", clinic.predictor, own)):
        right = of_part(model, its)
        assert found[name] == pytest.approx((right.y == right.predicted).mean(), abs=1e-6)


def test_models_of_other_classes_and_the_first_one_are_not_compared(
    clinic: Clinic, tmp_path: Path
) -> None:
    other = other_model(tmp_path, classes=["N", "S"], thresholds=[0.5, 0.5])
    found = candidate(clinic, tmp_path, other)
    assert "other classes" in found["newest"]["missing"]
    found = compared.candidate(clinic.service, "new", other, dict(SPLIT), tmp_path, PARAMS)
    assert found["against"] is None
    assert "no version of new is in production" in found["validation"]["missing"]


def test_a_comparison_is_told_in_a_sentence() -> None:
    scores = {"f1_macro": {"candidate": 0.33, "production": 0.898, "p": 0.0002}}
    alone = {"f1_macro": {"candidate": 0.5, "production": 0.4, "p": None}}
    comparison = {"against": 1, "validation": {"scores": scores}, "newest": {"scores": alone}}

    assert compared.words({"against": None, "validation": {"missing": "none"}}) == ""
    assert compared.words(comparison | {"feedback": {"missing": "nothing"}}) == (
        "on validation f1_macro 0.330 against 0.898 of version 1 (p = 0.0002); "
        "on newest f1_macro 0.500 against 0.400 of version 1 (no p of so few persons)"
    )
