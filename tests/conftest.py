"""What all tests share: the same examples on every run, and a publisher on loopback."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

if "PYTEST_XDIST_WORKER" in os.environ:
    # As many workers as processors: threads of numerical libraries would only get in their way.
    # They read it when they are imported; what a test starts inherits it.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from tests.desk import desk, shared_desk
from tests.publisher import Publisher, publishing
from tests.serving import client, database_url, people

__all__ = [
    "client",
    "database_url",
    "desk",
    "people",
    "shared_desk",
]  # fixtures, for every test file

# The same commit gives the same answer: hypothesis draws the same examples every time, and a busy
# machine fails no test by its clock.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


# Files of minutes are begun first: begun last, each would leave the other workers idle at the end.
LONGEST = (
    "cachet_run",
    "pipeline",
    "sweep",
    "runs",
    "service_faults",
    "service_trainings",
    "resume",
    "devices",
    "service_schema",
    "cluster",
    "workers",
    "trackers",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Longest first (xdist deals them in this order: see the Makefile)."""
    last = len(LONGEST)
    place = {f"test_{name}": number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, last))


@pytest.fixture
def publisher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Publisher]:
    """A server of published files, with a cache of its own for what is fetched."""
    with publishing(tmp_path / "cache", monkeypatch) as server:
        yield server
