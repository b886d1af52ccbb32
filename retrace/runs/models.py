"""Published models as ONNX: which there are, where their files lie, and what they say of
themselves."""

import json
import re
from pathlib import Path
from typing import Any

from retrace.errors import InputError
from retrace.runs.hashes import md5
from retrace.runs.words import columns, meant

# Beside a published run: the model, what `dvc pull` brings it by, and its own description.
SHOWN = ("accuracy", "f1_macro")
FILE, POINTER, CARD = "model.onnx", "model.onnx.dvc", "model.json"


def find(root: Path, name: str | None) -> Path:
    """The ONNX file of a published run; None: of the workspace's last run.

    Raises InputError, with the remedy, where there is none, or it was not pulled.
    """
    if name is None:
        if (last := root / "models" / FILE).is_file():
            return last
        raise InputError(
            "models/model.onnx: missing; without --model the last run's is taken: run dvc pull for "
            "the default run's, dvc repro for your own, or name one: retrace list"
        )
    if name not in (runs := _runs(root)):
        raise InputError(f"model {name!r}: no published run has this name; {meant(name, runs)}")
    folder = root / "recipes" / name
    if not (folder / POINTER).is_file():
        raise InputError(
            f"model {name}: its run was published without the model as a file; rebuild it: run "
            f"retrace recipe {name}, then dvc repro, then leave --model away"
        )
    if not (folder / FILE).is_file():
        raise InputError(f"model {name}: not pulled yet: run dvc pull recipes/{name}/{FILE}")
    if not _as_published(folder):
        raise InputError(
            f"model {name}: recipes/{name}/{FILE} is not the file that was published: run dvc "
            f"checkout --force recipes/{name}/{FILE}"
        )
    return folder / FILE


def _as_published(folder: Path) -> bool:
    """Whether the file has the hash that its pointer names."""
    return md5(folder / FILE) in (folder / POINTER).read_text(encoding="utf-8")


def listing(root: Path) -> str:
    """A line for each published model: what it takes, what it answers, how well."""
    named = [name for name in _runs(root) if (root / "recipes" / name / POINTER).is_file()]
    if not named:
        raise InputError(
            "recipes: no published run has a model; models/model.onnx is the last run's: run dvc "
            "repro, or retrace publish NAME to keep it"
        )
    rows = [_row(root / "recipes" / name) for name in named]
    header = ["model", "data set", "network", "classes", "takes", "split"]
    header += ["accuracy", "macro-F1", "MB", "here"]
    said = [columns([header, *rows]), ""]
    if any("INTRA" in row[5] for row in rows):
        said.append(
            "INTRA-PATIENT: tested on patients that the model may know from its training; such "
            "scores flatter."
        )
    if any(row[-1] != "yes" for row in rows):
        said.append("next: dvc pull, then retrace predict --model MODEL PATH_OF_A_RECORDING")
    else:
        said.append("next: retrace predict --model MODEL PATH_OF_A_RECORDING")
    return "\n".join(said)


def card(path: Path) -> dict[str, Any]:
    """What an ONNX file of ours says of itself; InputError where it is not ours."""
    from onnxruntime import InferenceSession

    try:
        session = InferenceSession(path, providers=["CPUExecutionProvider"])
        said: dict[str, Any] = json.loads(session.get_modelmeta().custom_metadata_map["retrace"])
    except Exception as error:  # ONNX Runtime has no common class for what it raises
        raise InputError(
            f"{path}: no model of Retrace ({error}); it must be what the export stage wrote: run "
            "dvc repro export"
        ) from None
    return said


def _runs(root: Path) -> list[str]:
    return sorted(path.parent.name for path in (root / "recipes").glob("*/dvc.lock"))


def _row(folder: Path) -> list[str]:
    about, scores = (_json(folder / name) for name in (CARD, "scores.json"))
    size = re.search(r"size: (\d+)", (folder / POINTER).read_text(encoding="utf-8"))
    stamp = str((scores.get("split") or {}).get("stamp") or "").upper()
    return [
        folder.name,
        about["dataset"],
        about["model"],
        " ".join(about["classes"]),
        _takes(about),
        f"{about['split']} {stamp}".strip(),
        *(
            "{value:.3f} ({low:.3f} to {high:.3f})".format(**scores["overall"][one])
            for one in SHOWN
        ),
        f"{int(size[1]) / 1e6:.1f}" if size else "",
        ("yes" if _as_published(folder) else "damaged") if (folder / FILE).is_file() else "no",
    ]


def _takes(about: dict[str, Any]) -> str:
    """The name of its signal domain, or where it has none window and rate; scalograms are said."""
    from retrace.signals.domain import NAMED, BeatWindow

    domain = about["domain"]
    beat = BeatWindow(**domain["beat"]) if domain.get("beat") else None
    own = (domain["fs"], round(domain["window"] * domain["fs"]), beat)
    plain = f"{'a beat, ' if beat else ''}{domain['window']:g} s at {domain['fs']:g} Hz"
    said = next((name for name, known in NAMED.items() if known == own), plain)
    more = [*(["scalogram"] if domain["representation"] else []), *about["features"]]
    return ", ".join([said, *more])


def _json(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: not readable ({error}); a published model has it: restore it from Git"
        ) from None
    return found
