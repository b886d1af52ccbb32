"""Work on a Ray cluster: the bytes of one process, and one sentence where that cannot be."""

import logging
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import preprocessing
from retrace import cluster, workers
from retrace.errors import InputError
from retrace.workers import spread
from tests.chores import die, square
from tests.test_workers import built, folder

__all__ = ["folder"]  # a fixture


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[str]:
    """The address of a cluster of two nodes, each with a store of its own, on loopback."""
    if sys.platform != "linux":
        pytest.skip("Ray joins clusters of several nodes on Linux alone")
    pytest.importorskip("ray", reason="the extra sweep is not installed")
    with preprocessing.cluster() as address:
        yield address
        logging.getLogger("ray").setLevel(logging.CRITICAL)


def test_two_nodes_write_the_bytes_of_one_process(
    two_nodes: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "BATCH", 20_000)  # so that there is something to share
    monkeypatch.setenv("RETRACE_WORKERS", "1")
    expected = built(folder)

    monkeypatch.setenv("RAY_ADDRESS", two_nodes)

    assert built(folder) == expected


def test_an_error_on_a_node_is_its_own_sentence(
    two_nodes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", two_nodes)

    with pytest.raises(InputError, match=r"\A13 brings bad luck\Z"), spread() as mapped:
        list(mapped(square, range(20)))


def test_a_cluster_that_is_busy_is_waited_for_aloud(
    two_nodes: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cluster, "PATIENCE", 0)
    monkeypatch.setenv("RAY_ADDRESS", two_nodes)

    with spread() as mapped:
        assert list(mapped(square, [3])) == [9]

    assert capsys.readouterr().err.count("waiting for a free CPU of the cluster\n") == 1


def test_a_worker_that_is_killed_on_a_node_is_one_sentence(
    two_nodes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_RETRIES", 0)
    monkeypatch.setenv("RAY_ADDRESS", two_nodes)

    with pytest.raises(InputError, match="a worker was lost"), spread() as mapped:
        list(mapped(die, [1]))


def test_a_node_with_another_version_is_refused() -> None:
    here = cluster.surroundings() | {"numpy": "1.0"}

    results, error = cluster.checked(here, square, [])

    assert results == []
    assert "has numpy" in str(error) and "1.0 is that of this machine" in str(error)


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("nonsense", "must be HOST:PORT"),
        ("127.0.0.1:99999", "must be HOST:PORT"),
        ("ray://127.0.0.1:10001", "must be HOST:PORT"),
        ("127.0.0.2:1", "no cluster can be joined there"),
    ],
)
def test_an_address_without_a_cluster_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, address: str, sentence: str
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)

    with pytest.raises(InputError, match=sentence), spread():
        pass


def test_a_server_that_is_not_ray_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.2", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.2:{server.getsockname()[1]}")

        with pytest.raises(InputError, match="what listens there is not Ray"), spread():
            pass


def test_a_server_that_is_silent_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.2", 0)) as server:
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.2:{server.getsockname()[1]}")

        with pytest.raises(InputError, match="timed out"), spread():
            pass


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.2:6379")

    with pytest.raises(InputError, match=r"pip install 'retrace\[sweep\]'"), spread():
        pass
