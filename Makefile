# Every target sets up what it needs in .venv; the second time that costs nothing.
# Assumed: make and Python 3.11 or newer. Another interpreter: `make test PYTHON=python3.13`.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# Processes that share the tests: twice as many as cores, since tests mostly wait. `make unit WORKERS=0`: none but pytest.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(min(16, 2 * (os.cpu_count() or 1)))')
# One that crashes is a failure; its test is not tried again.
PYTEST = $(BIN)/python -m pytest --numprocesses $(WORKERS) --max-worker-restart 0
# Processes that share tests have a thread for that, and a fork of a process with threads may find what they hold locked.
FORKS = $(BIN)/python -m pytest

# What tests marked `cluster` need. With WEFT_REQUIRE_SLURM=1, WEFT_REQUIRE_CONDOR=1 it is an error when that cannot be had.
SLURM = $(BIN)/python tools/slurm install --accounting
CONDOR = $(BIN)/python tools/condor install

# Hundreds of interpreters that the tests start would each compile everything again. (Empty is: not set.)
test unit: export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test unit contract check bench bench-local bench-jobs bench-slurm clean help
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 8

demo: $(VENV)/.run ## set up and weave an atlas of this machine's standard library
	$(BIN)/python examples/stdlib_atlas.py

test: $(VENV)/.dev ## set up and run all tests; on Debian, brings Slurm (root) and HTCondor for them
	@$(CONDOR) & { $(SLURM) || test -z "$$WEFT_REQUIRE_SLURM"; } && { wait $$! || test -z "$$WEFT_REQUIRE_CONDOR"; }
	$(PYTEST) -m "not forks and not asked_for"
	$(FORKS) -m forks
	@$(SLURM) --check >/dev/null || { echo; echo "*** LEFT OUT: all tests on a real Slurm (marked cluster)."; $(SLURM) --check; } >&2 || true
	@$(CONDOR) --check >/dev/null || { echo; echo "*** LEFT OUT: all tests on a real HTCondor (marked cluster)."; $(CONDOR) --check; } >&2 || true

unit: $(VENV)/.dev ## the tests without the long stress runs and the real clusters
	$(PYTEST) -m "not slow and not forks and not cluster"

contract: $(VENV)/.dev ## the contract of executors on all that there are, a real HTCondor too (about 15 minutes)
	$(PYTEST) -m "not forks" tests/contract
	$(FORKS) -m forks tests/contract

check: $(VENV)/.dev ## lint, format, strict types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_layers.py

bench: $(VENV)/.bench ## measure the engine beside its peers (ratios; about 10 minutes)
	$(BIN)/python benchmarks/engine.py

bench-local: $(VENV)/.bench ## measure LocalExecutor beside its peers (ratios; about 25 minutes)
	$(BIN)/python benchmarks/local.py

bench-jobs: $(VENV)/.bench ## measure jobs beside their peers (ratios; about 10 minutes)
	$(BIN)/python benchmarks/jobs.py

bench-slurm: $(VENV)/.bench ## measure SlurmExecutor beside its peers, on a Slurm of its own (ratios; about 20 minutes)
	$(BIN)/python benchmarks/slurm.py

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "weft needs Python 3.11 or newer: install it, or say make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

# One stamp per set of packages, each renewed when pyproject.toml changes.
$(VENV)/.run: $(VENV)/.made pyproject.toml
	$(PIP) -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.made pyproject.toml
	$(PIP) -e '.[dev]'
	@touch $@ $(VENV)/.run

$(VENV)/.bench: $(VENV)/.made pyproject.toml
	$(PIP) -e '.[bench]'
	@touch $@ $(VENV)/.run
