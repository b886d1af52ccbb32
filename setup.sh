#!/bin/sh
# Makes .venv and installs a requirements file into it: `sh setup.sh requirements.txt`.
# make calls it before each target; where nothing has changed it returns at once.
#
#   PYTHON=python3.12   the interpreter for a new .venv
#   TORCH=cpu           PyTorch without CUDA; the address of another wheel index works too
set -eu
cd "$(dirname "$0")"
requirements=$1

say() { printf '%s\n' "$*" >&2; }
fail() {
    say "setup: $*"
    exit 1
}
version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }

[ -w . ] || fail "this folder cannot be written to; clone Retrace into a folder of your own"

choose_python() {
    if [ -n "${PYTHON:-}" ]; then
        version=$(version_of "$PYTHON") ||
            fail "PYTHON=$PYTHON does not start; name a Python 3.11 or newer, such as python3.12"
        case $version in
        3.1[1-9] | 3.[2-9][0-9]) return ;;
        esac
        fail "PYTHON=$PYTHON is Python $version; Retrace needs 3.11 or newer, such as python3.12"
    fi
    for PYTHON in python3 python3.13 python3.12 python3.11 python3.14; do
        version=$(version_of "$PYTHON") || continue
        case $version in
        3.1[1-4]) return ;; # requirements.lock holds wheels for these
        esac
    done
    fail "no Python 3.11 to 3.14 found (python3 is $(version_of python3 || echo missing));" \
        "install one (Debian, Ubuntu: apt install python3 python3-venv; macOS: brew install python)" \
        "and name it: make repro PYTHON=python3.12"
}

make_venv() {
    choose_python
    "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "$PYTHON has no venv module; Debian, Ubuntu: apt install python$version-venv"
    say "Making .venv with Python $version"
    if [ -z "${TORCH:-}" ] && [ "$(uname)" = Linux ] && [ ! -e /proc/driver/nvidia/version ] &&
        ! command -v nvidia-smi >/dev/null; then
        say "No NVIDIA driver here: TORCH=cpu (make repro TORCH=cpu) downloads 0.5 GB, not 3 GB"
    fi
    "$PYTHON" -m venv --clear .venv || fail "$PYTHON could not make .venv"
}

install() {
    index=
    case ${TORCH:-} in
    '') ;;
    cpu) index=https://download.pytorch.org/whl/cpu ;;
    *://*) index=$TORCH ;;
    *) fail "TORCH=$TORCH: expected cpu, the https:// address of a wheel index, or nothing" ;;
    esac
    # From that index alone: were it only an extra one, pip would take CUDA when it is away.
    if [ -n "$index" ]; then
        .venv/bin/python -m pip install --disable-pip-version-check --no-deps \
            --index-url "$index" --constraint requirements.lock torch torchvision ||
            fail "no torch and torchvision of requirements.lock at $index; see pip's message above"
    fi
    .venv/bin/python -m pip install --disable-pip-version-check --requirement "$requirements" ||
        fail "pip could not install $requirements; see its message above, then call make again"
}

# The scripts in .venv/bin hold the folder's path: after a move they are made anew.
folder=$(pwd -P)
if grep -qs . .venv/.folder && [ "$(cat .venv/.folder)" != "$folder" ]; then
    say "This folder has moved: making .venv anew"
    rm -rf .venv
fi
if [ -n "${PYTHON:-}" ] && present=$(version_of .venv/bin/python) &&
    [ "$present" != "$(version_of "$PYTHON")" ]; then
    say ".venv holds Python $present; remove it to have PYTHON=$PYTHON used"
fi
state=$(cat pyproject.toml requirements.lock "$requirements" | cksum)
stamp=.venv/.$requirements
if [ "$(cat "$stamp" 2>/dev/null)" != "$state" ] || ! .venv/bin/python -c '' 2>/dev/null; then
    # `uv sync` makes a .venv without pip
    .venv/bin/python -m pip --version >/dev/null 2>&1 ||
        .venv/bin/python -m ensurepip >/dev/null 2>&1 || make_venv
    install
    printf '%s\n' "$folder" >.venv/.folder
    printf '%s\n' "$state" >"$stamp"
fi

# Git: the pipeline does without, experiments do not. A folder that was unpacked from a zip has
# nothing to ask Git about, and DVC must know.
no_scm() { grep -qs 'no_scm = true' .dvc/config.local; }
without_git() {
    [ -e .git ] || no_scm || .venv/bin/dvc config --local core.no_scm true
    say "$1: the pipeline works; experiments (dvc exp) need $2"
}
if ! command -v git >/dev/null; then
    without_git "Git is not installed" "it"
elif answer=$(LC_ALL=C git rev-parse --git-dir 2>&1); then
    if no_scm; then .venv/bin/dvc config --local --unset core.no_scm; fi
else
    case $answer in
    *safe.directory*)
        say "This folder belongs to another user, so Git and dvc's exp and diff commands refuse it."
        say "If you trust it, run:"
        printf '%s\n' "$answer" | grep 'git config' >&2
        ;;
    *) without_git "Not a Git clone" "one" ;;
    esac
fi
