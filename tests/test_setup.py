"""The set-up of the repository: dependencies, make, the launcher and Git's line ends."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = (ROOT / "requirements.lock").read_text().splitlines()

# Each package that has to do real work here, and the sign of it: the module that is imported, or
# what stands in a file. DVC is run as a command; dvc-gs is a plugin that DVC loads for gs://.
WORK = {
    "dvc": r"^\t\.venv/bin/dvc repro$",
    "dvc-gs": r"gs://",
    "torch": "torch",
    "torchvision": "torchvision",
    "scipy": "scipy",
    "pywavelets": "pywt",
    "numpy": "numpy",
    "scikit-learn": "sklearn",
    "dvclive": "dvclive",
    "pyyaml": "yaml",
    "matplotlib": "matplotlib",
    "pytest": "pytest",
}
WANTED = [
    *("dvc.yaml", "dvc.lock", "params.yaml", ".dvc/config", "pyproject.toml", "README.md"),
    *("data", "stages", "metrics", "plots", "models", "tests"),
]


def name_of(requirement: str) -> str:
    name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def direct_dependencies() -> set[str]:
    extras: dict[str, list[str]] = PYPROJECT["project"]["optional-dependencies"]
    groups = [PYPROJECT["project"]["dependencies"], *extras.values()]
    return {name_of(requirement) for group in groups for requirement in group}


def imported_modules() -> set[str]:
    modules = set()
    for folder in ("retrace", "stages", "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
                if isinstance(node, ast.Import):
                    modules |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    modules.add(node.module.split(".")[0])
    return modules


def run(
    *command: str, cwd: Path, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
    )


def executable(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(0o755)
    return path


# Dependencies


@pytest.mark.parametrize("package", WORK)
def test_a_wanted_package_is_a_direct_dependency_and_used(package: str) -> None:
    assert package in direct_dependencies()
    sign = WORK[package]
    if sign.isidentifier():
        assert sign in imported_modules()
    else:
        files = [ROOT / "Makefile", *(path for path in (ROOT / "tests").glob("*.py"))]
        files.remove(Path(__file__))
        assert any(re.search(sign, path.read_text(), re.MULTILINE) for path in files)


def test_the_lock_pins_every_direct_dependency_and_names_no_host() -> None:
    pin = r"[a-z0-9-]+==[a-z0-9.]+( ; [^/@:]+)?"
    assert [line for line in LOCK if not re.fullmatch(pin, line)] == []
    assert direct_dependencies() - {name_of(line) for line in LOCK} == set()


def test_uv_sync_is_held_to_the_same_pins() -> None:
    assert PYPROJECT["tool"]["uv"]["constraint-dependencies"] == LOCK, "run `make lock`"


def test_what_the_readme_names_stands_in_a_clone() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a Git clone")
    tracked = run("git", "ls-files", "-z", cwd=ROOT).stdout.split("\0")
    missing = [
        name
        for name in WANTED
        if not any(path == name or path.startswith(name + "/") for path in tracked)
    ]
    assert missing == []


# The launcher of the stages


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with a space in its path, whose .venv/bin/python tells what it was given."""
    root = tmp_path / "my retrace"
    (root / "stages").mkdir(parents=True)
    shutil.copy(ROOT / "stages" / "python.sh", root / "stages")
    executable(root / ".venv/bin/python", 'echo "checkout: $PWD: $*"\n')
    return root


def test_the_launcher_finds_the_venv_from_an_experiments_copy(checkout: Path) -> None:
    copy = checkout / ".dvc/tmp/exps/standalone/tmp one"
    shutil.copytree(checkout / "stages", copy / "stages")
    result = run("sh", "stages/python.sh", "-m", "stages.train", cwd=copy)
    assert result.stdout == f"checkout: {copy}: -m stages.train\n"


def test_the_launcher_passes_over_a_venv_of_something_else(checkout: Path) -> None:
    inner = checkout / "stages" / "other project"
    executable(inner / ".venv/bin/python", "echo wrong\n")
    result = run("sh", str(checkout / "stages/python.sh"), cwd=inner)
    assert result.stdout.startswith("checkout")


def test_the_launcher_takes_the_active_environment_where_there_is_no_venv(checkout: Path) -> None:
    shutil.rmtree(checkout / ".venv")
    executable(checkout / "env/bin/python", "echo active\n")
    result = run("sh", "stages/python.sh", cwd=checkout, env={"VIRTUAL_ENV": f"{checkout}/env"})
    assert result.stdout == "active\n"


# make


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An unpacked archive with a space in its path, outside any Git repository."""
    root = tmp_path / "un packed"
    (root / ".dvc").mkdir(parents=True)
    for name in ("Makefile", "setup.sh", "pyproject.toml", "requirements.lock", "requirements.txt"):
        shutil.copy(ROOT / name, root)
    for variable in ("PYTHON", "TORCH", "MAKEFLAGS", "MAKELEVEL"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    return root


def fake_venv(root: Path) -> Path:
    """A .venv that installs nothing; what it was asked to do stands in the returned file."""
    log = root / "log.txt"
    executable(root / ".venv/bin/python", 'if [ "$1" = -m ]; then echo "$*" >> log.txt; fi\n')
    executable(
        root / ".venv/bin/dvc",
        'echo "dvc $*" >> log.txt\nprintf "[core]\\n    no_scm = true\\n" > .dvc/config.local\n',
    )
    return log


@pytest.mark.parametrize(
    ("python", "complaint"),
    [
        ("echo 3.9\n", "is Python 3.9; Retrace needs 3.11 or newer, such as python3.12"),
        ("exit 127\n", "does not start; name a Python 3.11 or newer, such as python3.12"),
        (
            'case "$*" in *ensurepip*) exit 1 ;; esac\necho 3.12\n',
            "has no venv module; Debian, Ubuntu: apt install python3.12-venv",
        ),
    ],
)
def test_make_names_what_is_wrong_with_python(folder: Path, python: str, complaint: str) -> None:
    fake = executable(folder / "bin/python", python)
    result = run("make", "repro", f"PYTHON={fake}", cwd=folder)
    assert result.returncode != 0
    assert complaint in result.stderr
    assert not (folder / ".venv").exists()


def test_make_refuses_an_unknown_build_of_torch(folder: Path) -> None:
    log = fake_venv(folder)
    result = run("make", "setup", "TORCH=gpu", cwd=folder)
    assert result.returncode != 0
    assert "TORCH=gpu: expected cpu" in result.stderr
    assert "install" not in log.read_text()


def test_torch_without_cuda_comes_from_its_own_index_alone(folder: Path) -> None:
    log = fake_venv(folder)
    assert run("make", "setup", "TORCH=cpu", cwd=folder).returncode == 0
    torch, rest = [line for line in log.read_text().splitlines() if "pip install" in line]
    assert "--no-deps --index-url https://download.pytorch.org/whl/cpu" in torch
    assert torch.endswith("torch torchvision")
    assert "index" not in rest


def test_make_installs_once_and_again_when_the_lock_changes(folder: Path) -> None:
    log = fake_venv(folder)
    installs = []
    for change in ("", "", "another==1.0\n"):
        with (folder / "requirements.lock").open("a") as lock:
            lock.write(change)
        assert run("make", "setup", cwd=folder).returncode == 0
        installs.append(log.read_text().count("pip install"))
    assert installs == [1, 1, 2]


def test_without_git_dvc_is_told_so_once(folder: Path) -> None:
    log = fake_venv(folder)
    results = [run("make", "setup", cwd=folder) for _ in range(2)]
    assert all("Not a Git clone: the pipeline works; experiments" in r.stderr for r in results)
    assert log.read_text().count("dvc config --local core.no_scm true") == 1


def test_a_clone_is_not_taken_for_an_archive(folder: Path) -> None:
    log = fake_venv(folder)
    (folder / ".dvc/config.local").write_text("[core]\n    no_scm = true\n")
    run("git", "init", cwd=folder)
    assert run("make", "setup", cwd=folder).returncode == 0
    assert "dvc config --local --unset core.no_scm" in log.read_text()


def test_another_users_folder_gets_the_line_that_git_wants(folder: Path) -> None:
    log = fake_venv(folder)
    run("git", "init", cwd=folder)
    result = run("make", "setup", cwd=folder, env={"GIT_TEST_ASSUME_DIFFERENT_OWNER": "1"})
    assert result.returncode == 0
    assert f"git config --global --add safe.directory '{folder}'" in result.stderr
    assert "no_scm" not in log.read_text()


# Files that DVC and Git hand out


def test_line_ends_are_the_same_on_every_machine(tmp_path: Path) -> None:
    origin, clone = tmp_path / "origin", tmp_path / "clone"
    origin.mkdir()
    shutil.copy(ROOT / ".gitattributes", origin)
    files = {"store/files/md5/ab/cd": b"1,2\r\n3,4\n", "stages/train.py": b"a = 1\nb = 2\n"}
    for name, content in files.items():
        (origin / name).parent.mkdir(parents=True)
        (origin / name).write_bytes(content)
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    run("git", "init", cwd=origin)
    run("git", "-c", "core.autocrlf=true", "add", "-A", cwd=origin)
    run("git", *identity, "commit", "-m", "all", cwd=origin)
    run("git", "clone", "-c", "core.autocrlf=true", str(origin), str(clone), cwd=tmp_path)
    assert {name: (clone / name).read_bytes() for name in files} == files


def test_every_remote_checks_what_it_hands_out() -> None:
    config = ConfigParser()
    config.read(ROOT / ".dvc/config")
    remotes = [section for section in config.sections() if "remote" in section]
    assert remotes
    assert all(config.getboolean(section, "verify") for section in remotes)


def test_the_plots_page_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    shutil.copytree(
        ROOT / ".dvc",
        tmp_path / ".dvc",
        ignore=shutil.ignore_patterns("cache", "tmp", "config.local"),
    )
    (tmp_path / ".dvc/config.local").write_text("[core]\n    no_scm = true\n")
    (tmp_path / "loss.csv").write_text("step,loss\n0,1.0\n1,0.5\n")
    (tmp_path / "dvc.yaml").write_text("plots:\n  - loss.csv: {x: step, y: loss}\n")
    result = run(sys.executable, "-m", "dvc", "plots", "show", cwd=tmp_path)
    page = (tmp_path / "dvc_plots/index.html").read_text(encoding="utf8")
    assert result.returncode == 0, result.stderr
    assert "vegaEmbed('#" in page
    assert "<script src" not in page
    assert "<link" not in page
