"""The card's own path: CACHET-CADB through EfficientNet-B7, in small, but from its recipe.

A file of exactly the published layout comes out of a .zip from a local server, weights with
torchvision's own keys out of a mirror; of the recipe only image size and epochs are reduced. The
weights are pinned by their own hash, since no others begin with torchvision's eight digits.
"""

import hashlib
import json
import shutil
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import h5py
import numpy as np
import pytest
import torch
import yaml
from numpy.typing import NDArray
from safetensors import safe_open

from retrace.datasets.cachet_cadb import BLOCKS, CODES, FILE, SAMPLES, WINDOWS
from retrace.files import read_csv
from retrace.vision import import_torchvision
from tests.publisher import Publisher, serving
from tests.scratch import change_params, commit_all, copy_repository, dvc, run

REDUCED = {
    "models.efficientnet.image_size": 32,
    "split.folds": 2,  # half of it is scored, a fifth trains: less work for b7
    "split.val": 0.3,
    "epochs": 1,
    "threads": 1,
}
# Batch norm counts the batches it has seen; a network that started from the file counts on.
SEEN = 1_000_000


@dataclass(frozen=True)
class Run:
    """A finished run: its repository, and the address and SHA-256 of what it fetched."""

    folder: Path
    url: str
    sha256: str


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """The recipe's run in a copy of the repository: three gigabytes, then removed."""
    root = tmp_path_factory.mktemp("cachet")
    try:
        folder = copy_repository(root / "retrace")
        digest, archive = _publish(root)
        weights = _mirror_weights(root / "mirror")
        run(folder, sys.executable, "-m", "retrace.cli", "recipe", "cachet_efficientnet_b7")
        change_params(folder, REDUCED | {"models.efficientnet.weights_sha256": weights})
        with serving(Publisher()) as server:
            url = f"{server.url}/ndownloader/files/27917358"
            server.files[urlsplit(url).path] = archive.read_bytes()
            server.faults = ["redirect"]  # as the publisher does
            _point_to(folder, url, digest)
            commit_all(folder)
            mirror, cache = str(root / "mirror"), str(root / "cache")
            # Without export and robustness: minutes of b7 that know nothing of the data set.
            dvc(folder, "repro", "evaluate", RETRACE_MIRROR=mirror, XDG_CACHE_HOME=cache)
        yield Run(folder, url, digest)
    finally:
        shutil.rmtree(root)


def _point_to(folder: Path, url: str, digest: str) -> None:
    """The copy's own sources name the local server and the generated file."""
    path = folder / "stages/sources.yaml"
    sources = yaml.safe_load(path.read_text())
    sources["cachet_cadb"]["archives"] = {"": url}
    path.write_text(yaml.safe_dump(sources))
    (folder / "stages/sources/cachet_cadb.sha256").write_text(f"{digest}  {FILE}\n")


def _publish(folder: Path) -> tuple[str, Path]:
    """SHA-256 of a generated data set, and the .zip that holds it."""
    path, archive = folder / FILE, folder / "27917358"
    codes = [
        code
        for _, counts in BLOCKS
        for code, count in zip(CODES, counts, strict=True)
        for _ in range(count)
    ]
    templates = {code: _template(code) for code in CODES}
    with h5py.File(path, "w") as file:
        signal = file.create_dataset("signal", (WINDOWS * SAMPLES,), np.float64)
        labels = file.create_dataset("labels", (WINDOWS * SAMPLES,), np.float64)
        for window, code in enumerate(codes):
            rows = slice(window * SAMPLES, (window + 1) * SAMPLES)
            signal[rows] = np.roll(templates[code], 5 * window)  # no two windows are equal
            labels[rows] = code
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
        packed.write(path, FILE)
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    path.unlink()
    return digest, archive


def _template(code: int) -> NDArray[np.float64]:
    """Ten seconds in mV: pulses at even, random or paired intervals, or noise alone."""
    generator = np.random.default_rng(code)
    seconds = np.arange(SAMPLES) / 1024
    beats = {
        "AF": np.cumsum(generator.uniform(0.4, 1.2, 30)),
        "NSR": np.arange(0.3, 10, 0.8),
        "Noise": np.empty(0),
        "Other": np.concatenate([np.arange(0.3, 10, 1.6), np.arange(0.7, 10, 1.6)]),
    }[CODES[code]]
    pulses = np.exp(-(((seconds[:, None] - beats) / 0.02) ** 2)).sum(axis=1)
    noise = generator.normal(0, 0.3 if CODES[code] == "Noise" else 0.02, SAMPLES)
    return np.asarray(np.round((pulses + noise) * 256) / 256)  # few digits, soon packed


def _mirror_weights(mirror: Path) -> str:
    """Put a weight file of b7 where a mirror has torchvision's own, and give its SHA-256."""
    import_torchvision()
    from torchvision.models import get_model, get_model_weights

    url = urlsplit(get_model_weights("efficientnet_b7").IMAGENET1K_V1.url)
    path = mirror / url.netloc / url.path.removeprefix("/")
    path.parent.mkdir(parents=True)
    torch.manual_seed(7)
    state = get_model("efficientnet_b7", weights=None).state_dict()
    for name in state:
        if name.endswith("num_batches_tracked"):
            state[name] += SEEN
    torch.save(state, path)
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def test_the_recipe_ends_in_scores_of_the_test_records(finished: Run) -> None:
    metrics = json.loads((finished.folder / "metrics/test.json").read_text())
    split = read_csv(finished.folder / "data/split.csv")
    test = sum(row["subset"] == "test" for row in split)

    assert 0 <= metrics["f1_macro"] <= 1 and 0 <= metrics["auroc_macro"] <= 1
    assert len(split) == WINDOWS
    assert len(read_csv(finished.folder / "plots/test/predictions.csv")) == test
    assert metrics["n_records"] == test


def test_a_patient_stands_on_one_side(finished: Run) -> None:
    rows = read_csv(finished.folder / "data/waveforms/segments.csv")
    subsets = read_csv(finished.folder / "data/split.csv")
    sides: dict[str, set[str]] = {}
    for row, split in zip(rows, subsets, strict=True):
        sides.setdefault(row["patient_id"], set()).add(split["subset"])

    assert set(sides) == {patient for patient, counts in BLOCKS if sum(counts)}
    assert all(len(subset) == 1 for subset in sides.values())


def test_the_archive_is_unpacked_and_its_member_is_checked(finished: Run) -> None:
    (row,) = read_csv(finished.folder / "data/raw/manifest.csv")

    assert row["path"] == FILE
    assert row["url"] == f"{finished.url}#{FILE}"
    assert row["sha256"] == finished.sha256
    assert int(row["bytes"]) == 262_473_728  # as the published file has: the layout is its own


def test_the_published_filter_is_the_only_one(finished: Run) -> None:
    data = finished.folder / "data"
    domain = json.loads((data / "scalograms/domain.json").read_text())
    windows = np.load(data / "waveforms/X.npy", mmap_mode="r")

    assert (domain["fs"], domain["low"], domain["high"], domain["order"]) == (1024, 0.5, 40, 3)
    assert [domain["representation"][name] for name in ("scales", "frames")] == [128, 256]
    with h5py.File(data / "raw" / FILE, "r") as file:
        for window in (0, 800, WINDOWS - 1):
            published = file["signal"][window * SAMPLES : (window + 1) * SAMPLES]
            assert np.array_equal(windows[window, 0], published.astype(np.float32))


def test_b7_started_from_the_weights_in_the_mirror(finished: Run) -> None:
    folder = finished.folder / "models/checkpoint"
    options = json.loads((folder / "config.json").read_text())["model"]["options"]
    split = read_csv(finished.folder / "data/split.csv")
    batches = sum(row["subset"] == "train" for row in split) // 32
    with safe_open(folder / "weights.safetensors", "pt") as weights:
        names = weights.keys()
        seen = [weights.get_tensor(n).item() for n in names if n.endswith("_tracked")]

    assert (options["variant"], options["pretrained"]) == ("b7", True)
    assert set(seen) == {SEEN + batches}


def test_a_label_outside_the_map_is_one_sentence_and_leaves_the_recordings(finished: Run) -> None:
    folder, before = finished.folder, (finished.folder / "data/filtered/records.csv").read_bytes()
    change_params(folder, {"datasets.cachet_cadb.labels": {"2": "NSR", "1": "AF", "3": "Noise"}})

    said = run(folder, sys.executable, "-m", "stages.bandpass", check=False)

    assert said.startswith("error: record P2_069: label '4'; the map has 2, 1, 3: add it")
    assert said.count("\n") == 1
    assert (folder / "data/filtered/records.csv").read_bytes() == before
    run(folder, "git", "checkout", "--", "params.yaml")
