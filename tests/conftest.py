"""What all tests share: the same examples on every run, and a publisher on loopback."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

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


@pytest.fixture
def publisher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Publisher]:
    """A server of published files, with a cache of its own for what is fetched."""
    with publishing(tmp_path / "cache", monkeypatch) as server:
        yield server
