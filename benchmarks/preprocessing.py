"""Time bandpass, segment and cwt with 1, 2 and 4 processes and on a Ray cluster of two nodes.

    python -m benchmarks.preprocessing [--json FILE] [--recipe NAME ...] [--rounds N] [--no-ray]

Each recipe's data set is read from RETRACE_MIRROR (made, where it is synthetic) and goes through
the three stages in a folder of its own, once for each way of working and round; the table has
medians, and the bytes of every output are compared with those of one process. `auto` is what a user
gets who sets nothing. The nodes of the cluster are processes of this machine, so that its column
shows what the way over Ray costs, not what more machines bring. Starting Python and importing NumPy
is part of each figure.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RECIPES = ("synthetic", "mitdb_ds1_ds2", "cinc2017_efficientnet")
STAGES = {"bandpass": "filtered", "segment": "waveforms", "cwt": "scalograms"}
PROCESSES = {"1": "1", "2": "2", "4": "4", "auto": ""}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument(
        "--recipe", nargs="+", default=RECIPES, help=f"default: {', '.join(RECIPES)}"
    )
    parser.add_argument("--rounds", type=int, default=3, help="the medians' (default 3)")
    parser.add_argument("--no-ray", action="store_true", help="leave the cluster out")
    options = parser.parse_args()
    figures = []
    nodes = nullcontext("") if options.no_ray else cluster()
    with TemporaryDirectory(prefix="retrace-") as folder, nodes as address:
        ways = {name: {"RETRACE_WORKERS": number} for name, number in PROCESSES.items()}
        if address:
            ways["Ray, 2 nodes"] = {"RAY_ADDRESS": address}
        for recipe in options.recipe:
            figures += compare(Path(folder) / recipe, recipe, ways, options.rounds)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


@contextmanager
def cluster() -> Iterator[str]:
    """The address of two nodes with a CPU each and a store of its own."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    # Not 127.0.0.1, which Ray would take for the machine's address in the network.
    node: dict[str, Any] = {
        "num_cpus": 1,
        "object_store_memory": 80_000_000,
        "include_dashboard": False,
        "node_ip_address": "127.0.0.2",
    }
    nodes = Cluster(initialize_head=True, head_node_args=node)
    nodes.add_node(**node)
    try:
        yield nodes.address
    finally:
        nodes.shutdown()  # type: ignore[no-untyped-call]


def compare(
    folder: Path, recipe: str, ways: dict[str, dict[str, str]], rounds: int
) -> list[dict[str, object]]:
    prepare(folder, recipe)
    times = {(stage, way): list[float]() for stage in STAGES for way in ways}
    for turn in range(rounds):
        for way, environment in ways.items():
            for stage, output in STAGES.items():
                times[stage, way].append(seconds(folder, stage, environment))
                made = digest(folder / "data" / output)
                expected = folder / f"{output}.sha256"
                if not turn and way == "1":
                    expected.write_text(made)
                elif made != expected.read_text():
                    sys.exit(f"{recipe}, {stage}: other bytes with {way}")

    print(f"\n{recipe}: s, medians of {rounds}; the bytes are equal; load {os.getloadavg()[0]:.1f}")
    print(f"{'':10}" + "".join(f"{way:>14}" for way in ways))
    for stage in STAGES:
        print(f"{stage:10}" + "".join(f"{median(times[stage, way]):14.2f}" for way in ways))
    return [
        {
            "name": f"{stage} of {recipe}",
            "unit": "s",
            "ours": median(times[stage, "auto"]),
            "peers": {way: median(times[stage, way]) for way in ways if way != "auto"},
            "load": os.getloadavg()[0],
        }
        for stage in STAGES
    ]


def prepare(folder: Path, recipe: str) -> None:
    """A folder with the recipe's params.yaml, the stages and data/raw."""
    from retrace.runs.recipes import render

    folder.mkdir()
    (folder / "params.yaml").write_text(render(ROOT, recipe), encoding="utf-8")
    for name in ("stages", "retrace"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    seconds(folder, "fetch", {})


def seconds(folder: Path, stage: str, environment: dict[str, str]) -> float:
    """What a stage takes, as a process of its own."""
    ours = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", f"stages.{stage}"],
        cwd=folder,
        env=ours | environment,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - start


def digest(folder: Path) -> str:
    """One hash of every file in the folder."""
    whole = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        with path.open("rb") as stream:
            whole.update(hashlib.file_digest(stream, "sha256").digest())
    return whole.hexdigest()


if __name__ == "__main__":
    main()
