"""docker/: images that are linted, run as nobody in particular, and bring no secret."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.sources import ROOT

FOLDER = ROOT / "docker"
FILES = sorted(FOLDER.glob("*.Dockerfile"))
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_hadolint_finds_nothing(path: Path) -> None:
    hadolint = Path(sys.executable).with_name("hadolint")

    done = subprocess.run([hadolint, path], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_an_image_is_nobody_s_and_says_whether_it_is_healthy(path: Path) -> None:
    last = path.read_text(encoding="utf-8").rpartition("\nFROM ")[2]

    assert re.search(r"^USER 10001:10001$", last, re.MULTILINE)
    assert "HEALTHCHECK" in last and 'ENTRYPOINT ["retrace", "serve"]' in last
    assert not re.search(r"^(ENV|ARG).*(SECRET|PASSWORD)", last, re.MULTILINE)


def test_the_api_image_has_no_torch() -> None:
    text = (FOLDER / "api.Dockerfile").read_text(encoding="utf-8")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert "'.[service]'" in text
    named = extras["dependencies"] + extras["optional-dependencies"]["service"]
    assert not [name for name in named if name.startswith(("torch", "dvc", "lightning"))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_what_is_copied_is_let_in_and_nothing_else_is(path: Path) -> None:
    let_in = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    copied = {
        name.removeprefix("./")
        for line in re.findall(
            r"^COPY (?!--from)(.+)$", path.read_text(encoding="utf-8"), re.MULTILINE
        )
        for name in line.split()[:-1]
    }

    assert {f"!{name}" for name in copied} <= set(let_in)
    assert all((ROOT / name).exists() for name in copied)
    assert "*" in let_in and not {"!var", "!data", "!.git", "!recipes"} & set(let_in)


def test_no_secret_has_a_default() -> None:
    for name, service in SERVICES.items():
        for key, value in service.get("environment", {}).items():
            if re.search("SECRET|PASSWORD|DATABASE_URL", key):
                assert ":?" in value, f"{name}: {key}"


def test_what_is_ours_writes_to_its_volume_alone_and_is_reached_from_this_machine_alone() -> None:
    for name, service in SERVICES.items():
        if name != "postgres":
            assert service["read_only"] and service["cap_drop"] == ["ALL"], name
            assert "..:/repository:ro" in service["volumes"]
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_compose_reads_it() -> None:
    if (
        shutil.which("docker") is None
        or subprocess.run(
            ["docker", "compose", "version"], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("docker compose is not installed")
    command = ["docker", "compose", "--file", str(FOLDER / "compose.yaml"), "config"]
    env = {"PATH": "/usr/bin:/usr/local/bin"}

    refused = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert refused.returncode and "openssl rand" in refused.stderr
    env |= {"RETRACE_SECRET": "x", "POSTGRES_PASSWORD": "x"}
    subprocess.run(command, capture_output=True, check=True, env=env)
