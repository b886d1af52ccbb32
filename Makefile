# Every command runs from .venv: nothing has to be activated.
#   PYTHON=python3.12   interpreter for a new .venv (default: the first of 3.11 to 3.14 found)
#   TORCH=cpu           PyTorch without CUDA: 0.5 GB to download instead of 3.1 GB (Linux x86-64)
#   ARGS="-k cwt"       for pytest
#   PORT=5050           for mlflow
export PYTHON TORCH
ARGS =
PORT = 5000
UPGRADE =

.PHONY: help setup setup-dev repro mlflow test lint lock clean
.DEFAULT_GOAL := help

help: ## this list
	@sed -n 's/^#   /  /p' Makefile
	@echo
	@sed -n 's/^\([a-z-]*\):.*## /  make \1|/p' Makefile | awk -F '|' '{printf "%-18s %s\n", $$1, $$2}'

setup: ## make .venv and install what the pipeline needs
	@sh setup.sh requirements.txt

setup-dev: ## the same, with what tests and linters need
	@sh setup.sh requirements_dev.txt

repro: setup ## run the whole pipeline, then print the scores
	-@.venv/bin/dvc pull --quiet --recursive recipes # `dvc exp apply` misses models that are not there
	.venv/bin/dvc repro
	@.venv/bin/retrace summary

mlflow: setup ## a local server of MLflow's, which keeps its runs below runs/mlflow
	@.venv/bin/python -m retrace.learning.mlflow_server $(PORT)

test: setup-dev ## run every test
	-@.venv/bin/dvc pull --quiet # tests ask the published models
	.venv/bin/python -m pytest -n auto --maxprocesses 4 --dist loadfile \
	    --no-loadscope-reorder $(ARGS)

lint: setup-dev ## check style, types and the pre-commit hooks
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	SKIP=ruff-check,ruff-format,mypy .venv/bin/pre-commit run --all-files

# One set of versions for every system and each Python from 3.11. uv keeps those of the present
# lock where they still fit; `make lock UPGRADE=--upgrade` takes the newest.
lock: setup-dev ## write requirements.lock, and the same pins for uv into pyproject.toml
	.venv/bin/python -m pip install --quiet --disable-pip-version-check uv
	.venv/bin/uv pip compile pyproject.toml --extra train --extra service --extra sweep --extra tracking --extra dev --no-config $(UPGRADE) \
		--universal --python-version 3.11 --fork-strategy fewest \
		--no-annotate --no-header --quiet --output-file requirements.lock
	@sed '/^constraint-dependencies/q' pyproject.toml > pyproject.toml.new
	@sed 's/.*/    "&",/' requirements.lock >> pyproject.toml.new
	@echo ']' >> pyproject.toml.new
	@mv pyproject.toml.new pyproject.toml

clean: ## remove what tools leave behind; results and .venv stay
	rm -rf .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist dvc_plots *.egg-info
	find . -name .venv -prune -o -name __pycache__ -prune -exec rm -rf {} +
