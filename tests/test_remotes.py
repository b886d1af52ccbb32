"""DVC remotes: what one pushes another pulls, unharmed; what was harmed is never taken for whole.

A small scratch repository stands for ours; .dvc/config, .dvcignore and .gitattributes are ours.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests
import yaml
from gcp_storage_emulator.server import create_server

from tests.serving import free_port

ROOT = Path(__file__).parents[1]
OURS = (".dvc/config", ".dvc/.gitignore", ".dvcignore", ".gitattributes")
STAGE = """
from pathlib import Path

print("computed")
text = Path("in.txt").read_text()
Path("data").mkdir()
Path("data/a.txt").write_text(text * 2)
Path("data/b.txt").write_text(text * 3)
Path("model.bin").write_bytes(b"\\r\\n\\0\\n" + text.encode())
"""
# gcsfs asks an unreachable bucket six times, 33 s in all; here it does not pause between.
DVC_WITHOUT_PAUSES = """
import asyncio, sys, types
import gcsfs.retry
sleep = asyncio.sleep
gcsfs.retry.asyncio = types.SimpleNamespace(sleep=lambda seconds: sleep(0))
from dvc.cli import main
sys.exit(main(sys.argv[1:]))
"""


@dataclass
class Repository:
    """A folder under Git and DVC, with caches and settings of nobody else."""

    folder: Path
    env: dict[str, str] = field(repr=False)
    code: int = 0

    def run(self, *command: str) -> str:
        result = subprocess.run(
            command, cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=60
        )
        self.code = result.returncode
        return result.stdout + result.stderr

    def git(self, *arguments: str) -> str:
        output = self.run("git", *arguments)
        assert self.code == 0, output
        return output

    def dvc(self, *arguments: str) -> str:
        """Run DVC; the exit code of the last command is `code`."""
        return self.run(sys.executable, "-m", "dvc", *arguments)

    def clone(self, name: str, *options: str) -> "Repository":
        self.git("clone", "-q", *options, str(self.folder), str(self.folder.parent / name))
        return Repository(self.folder.parent / name, self.env)

    def forget(self) -> None:
        """Remove the cache and all outputs."""
        shutil.rmtree(self.folder / ".dvc" / "cache", ignore_errors=True)
        shutil.rmtree(self.folder / "data", ignore_errors=True)
        (self.folder / "model.bin").unlink(missing_ok=True)

    def outs(self) -> dict[str, bytes]:
        paths = [self.folder / name for name in ("data/a.txt", "data/b.txt", "model.bin")]
        return {path.name: path.read_bytes() for path in paths if path.exists()}

    def stored(self, name: str) -> str:
        """Where a remote keeps the output `name`, below its address; `data/` is its listing."""
        lock = yaml.safe_load((self.folder / "dvc.lock").read_text())
        outs = {out["path"]: out["md5"] for out in lock["stages"]["make"]["outs"]}
        return f"files/md5/{outs[name][:2]}/{outs[name][2:]}"

    def damage(self, name: str) -> None:
        """Change an object of the bundled remote, in the mode in which DVC pushed it.

        DVC takes a read-only object for checked, unless the remote says `verify = true`.
        """
        path = self.folder / "store" / self.stored(name)
        path.chmod(0o644)
        path.write_bytes(path.read_bytes().replace(b"a.txt", b"e.txt").replace(b"h", b"j"))
        path.chmod(0o444)


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    home = tmp_path_factory.mktemp("home")
    ours = {name: value for name, value in os.environ.items() if name[:4] not in ("DVC_", "GIT_")}
    return ours | {
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home),
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(home / "site"),
        "DVC_GLOBAL_CONFIG_DIR": str(home),
        "DVC_SYSTEM_CONFIG_DIR": str(home),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        **{f"GIT_{who}_{what}": "nobody@localhost"
           for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
        "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }  # fmt: skip


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, env: dict[str, str]) -> Repository:
    """A repository whose run was pushed to store/ and committed."""
    repository = Repository(tmp_path_factory.mktemp("published") / "original", env)
    for name in OURS:
        (repository.folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, repository.folder / name)
    (repository.folder / "in.txt").write_text("hello\n")
    (repository.folder / "stage.py").write_text(STAGE)
    (repository.folder / "params.yaml").write_text("lr: 1\n")
    make = {
        "cmd": f'"{sys.executable}" stage.py',
        "deps": ["in.txt", "stage.py"],
        "params": ["lr"],
        "outs": ["data", "model.bin"],
    }
    (repository.folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"make": make}}))
    repository.git("init", "-q")
    assert "computed" in repository.dvc("repro")
    assert "4 files pushed" in repository.dvc("push")
    repository.git("add", "-A")
    repository.git("commit", "-q", "-m", "A run")
    return repository


@pytest.fixture
def clone(published: Repository, tmp_path: Path) -> Iterator[Repository]:
    repository = published.clone(f"{tmp_path.name} with a space")
    yield repository
    shutil.rmtree(repository.folder)


def assert_up_to_date(repository: Repository) -> None:
    assert "up to date" in repository.dvc("status")
    assert "computed" not in repository.dvc("repro")
    assert repository.git("status", "--short") == ""


def test_clone_and_pull_bring_the_run_whatever_git_does_to_line_ends(
    published: Repository,
) -> None:
    clone = published.clone("crlf", "-c", "core.autocrlf=true")
    assert clone.outs() == {}
    clone.dvc("pull")
    assert clone.code == 0
    assert clone.outs() == published.outs()
    assert_up_to_date(clone)


def test_a_damaged_file_in_the_store_is_refused_until_it_is_mended(
    published: Repository, clone: Repository
) -> None:
    clone.damage("model.bin")
    output = clone.dvc("pull")
    assert clone.code != 0
    assert "failed to pull" in output and "model.bin" in output
    assert "model.bin" not in clone.outs()
    clone.git("checkout", "--", "store")
    clone.dvc("pull")
    assert clone.outs() == published.outs()
    assert_up_to_date(clone)


def test_a_damaged_listing_in_the_store_never_passes_for_up_to_date(
    published: Repository, clone: Repository
) -> None:
    # DVC checks files as they arrive, but a folder's listing only when it is asked for the status.
    clone.damage("data")
    clone.dvc("pull")
    assert "a.txt" not in clone.outs()
    status = clone.dvc("status")
    assert "changed outs" in status and "data" in status
    assert "computed" in clone.dvc("repro")
    assert clone.outs() == published.outs()


def test_repro_pull_takes_what_the_remote_has(published: Repository, clone: Repository) -> None:
    assert "computed" not in clone.dvc("repro", "--pull")
    assert clone.outs() == published.outs()
    assert_up_to_date(clone)


def test_repro_pull_computes_where_the_remote_is_away_and_says_so(
    published: Repository, clone: Repository
) -> None:
    shutil.rmtree(clone.folder / "store")
    output = clone.dvc("repro", "--pull")
    assert clone.code == 0
    assert "Unable to pull data for stage: 'make'" in output and "computed" in output
    assert clone.outs() == published.outs()


def test_a_temporary_experiment_finds_the_store_of_its_own_copy(clone: Repository) -> None:
    assert "computed" not in clone.dvc("exp", "run", "--temp", "--pull", "--name", "same")
    assert clone.code == 0
    # The copy pulled into the cache that it shares with the user's folder.
    clone.dvc("checkout")
    assert len(clone.outs()) == 3
    assert "computed" in clone.dvc("exp", "run", "--temp", "--pull", "-S", "lr=2")
    assert clone.git("status", "--short") == ""


def readme_lines(url: str) -> list[str]:
    """What a team types to add its bucket, and what this emulator needs besides."""
    return [
        "remote add --local gs gs://team/retrace",
        "remote modify --local gs verify true",
        f"remote modify --local gs endpointurl {url}",
        "remote modify --local gs allow_anonymous_login true",
    ]


@dataclass
class Bucket:
    """A team's bucket on loopback."""

    url: str

    def objects(self) -> list[str]:
        answer = requests.get(f"{self.url}/storage/v1/b/team/o", timeout=5).json()
        return [item["name"] for item in answer.get("items", [])]

    def write(self, name: str, body: bytes) -> None:
        query = {"uploadType": "media", "name": name}
        address = f"{self.url}/upload/storage/v1/b/team/o"
        requests.post(address, params=query, data=body, timeout=5).raise_for_status()


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    port = free_port()
    with create_server("127.0.0.1", port, in_memory=True, default_bucket="team"):
        yield Bucket(f"http://127.0.0.1:{port}")


def test_a_bucket_keeps_the_run_and_a_damaged_object_is_refused(
    published: Repository, clone: Repository, bucket: Bucket
) -> None:
    clone.dvc("pull")
    for line in readme_lines(bucket.url):
        clone.dvc(*line.split())
    assert "4 files pushed" in clone.dvc("push", "-r", "gs")
    model = f"retrace/{clone.stored('model.bin')}"
    assert model in bucket.objects()

    clone.forget()
    clone.dvc("pull", "-r", "gs")
    assert clone.code == 0
    assert clone.outs() == published.outs()
    assert_up_to_date(clone)

    clone.forget()
    bucket.write(model, clone.folder.joinpath("in.txt").read_bytes())
    output = clone.dvc("pull", "-r", "gs")
    assert clone.code != 0
    assert "failed to pull" in output and "model.bin" in output
    assert "model.bin" not in clone.outs()


def test_a_bucket_that_is_away_fails_by_name_and_hinders_nothing_else(
    published: Repository, clone: Repository
) -> None:
    closed = f"http://127.0.0.1:{free_port()}"
    (clone.folder / ".dvc" / "config.local").write_text(
        "['remote \"gs\"']\n"
        f"url = gs://team/retrace\nendpointurl = {closed}\nallow_anonymous_login = true\n"
    )
    output = clone.run(sys.executable, "-c", DVC_WITHOUT_PAUSES, "pull", "-r", "gs")
    assert clone.code == 1
    assert "failed to connect to gs (team/retrace/files/md5)" in output
    assert "failed to pull data from the cloud" in output
    assert clone.outs() == {}
    assert "computed" not in clone.dvc("repro", "--pull")
    assert clone.outs() == published.outs()
