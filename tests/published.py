"""Published runs of beats, made up: what `retrace publish` would have left in recipes/."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from retrace.runs import run
from retrace.runs.run import Run
from retrace.scoring.beats import reports
from retrace.scoring.calibration import softmax
from retrace.scoring.ec57_recording import Recording
from retrace.scoring.evaluation import Evaluation, evaluate
from retrace.scoring.matching import Beats
from tests.sources import ROOT

CLASSES = tuple("NSVFQ")
DRAWS = {"resamples": 100, "seed": 7}


def evaluated(skill: float, seed: int = 0) -> Evaluation:
    """The scores of a model with some skill on 8 recordings of 100 beats."""
    rng = np.random.default_rng(seed)
    y = rng.choice(5, size=800, p=[0.8, 0.08, 0.08, 0.03, 0.01])
    logits = rng.normal(size=(800, 5))
    logits[np.arange(800), y] += skill
    names = [f"{number}" for number in np.repeat(np.arange(100, 108), 100)]
    p = softmax(logits)
    return evaluate(
        record_ids=names,
        patient_ids=names,
        ages=[60.0] * 800,
        sexes=["F"] * 800,
        y=y,
        probabilities=p,
        raw_probabilities=p,
        classes=CLASSES,
        thresholds=[0.5] * 5,
        unit="beat",
        **DRAWS,
    )


def by_ec57(skill: float, **options: Any) -> dict[str, Any]:
    """The reports of the same kind of model on 4 recordings of 6 minutes."""
    rng = np.random.default_rng(1)
    made = []
    for number in range(4):
        samples = np.arange(1, 401) * 324
        symbols = rng.choice(list("NNNNNNAVFj"), size=400)
        right = rng.random(400) < skill
        wrong = rng.choice(list("NSV"), size=400)
        answers = np.where(right, np.where(np.isin(symbols, ["j"]), "N", symbols), wrong)
        test = Beats(samples, tuple(str(a).replace("A", "S") for a in answers))
        p = np.eye(5)[["NSVFQ".index(symbol) for symbol in test.symbols]] * 0.5 + 0.1
        marks = Beats(samples, tuple(map(str, symbols)))
        made.append(Recording(f"{200 + number}", f"{number}", 60.0, "M", 360.0, marks, test, p))
    settings: dict[str, Any] = {
        "classes": CLASSES,
        "with_paced": False,
        "apart": {"202": ["202"]},
        "notes": [],
    }
    return reports(made, made[:2], **settings | options | DRAWS)


def beat_run(name: str, skill: float, method: str, **params: Any) -> Run:
    """A run of a beat model by its split; params: of train, by dotted key."""
    base = run.published(ROOT, "synthetic")
    lock: Any = copy.deepcopy(base.lock)
    lock["split"]["params"]["params.yaml"]["split"]["method"] = method
    lock["export"]["params"]["params.yaml"]["split"]["method"] = method
    lock["evaluate"]["params"]["params.yaml"]["split.method"] = method
    lock["split"]["outs"][0]["md5"] = method
    for stage in ("train", "export", "evaluate", "robustness"):
        lock[stage]["params"]["params.yaml"] |= params
    stamp = "intra-patient" if method == "intra_patient" else None
    found = evaluated(skill)
    note = "INTRA-PATIENT: 8 of 8" if stamp else "None of the 8 test patients"
    scores = found.scores | {
        "split": {"method": method, "stamp": stamp, "note": note},
        "ec57": by_ec57(skill / 6),
    }
    return Run(name, lock, found.headline, scores, base.cost, base.environment)


def keep(root: Path, *runs: Run) -> None:
    """Write runs as publish does, with what their pages need beside them."""
    for path in ("stages/sources.yaml", "recipes/synthetic.yaml"):
        (root / path).parent.mkdir(exist_ok=True)
        (root / path).write_bytes((ROOT / path).read_bytes())
    for one in runs:
        folder = root / "recipes" / one.name
        folder.mkdir(parents=True)
        folder.with_suffix(".yaml").write_text("# A made-up run.\nseed: 8\n", encoding="utf-8")
        (folder / "dvc.lock").write_text(yaml.safe_dump({"stages": one.lock}), encoding="utf-8")
        for file in ("metrics", "scores", "cost", "environment"):
            text = json.dumps(getattr(one, file))
            (folder / f"{file}.json").write_text(text, encoding="utf-8")
