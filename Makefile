# Every target works on a machine that has only Python 3.11 or newer, git and make.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# A Python of your choice: make setup PYTHON=python3.12
PYTHON ?=
PYTHONS := $(or $(PYTHON),python3.13 python3.12 python3.11 python3)

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -qq --no-input --no-compile --disable-pip-version-check -c constraints/locked.txt
# pip would compile on one core.
COMPILE := $(BIN)/python -m compileall -qq -j 0 $(VENV)/lib src
INSTALL_INPUTS := pyproject.toml hatch_build.py package.json package-lock.json constraints/locked.txt

# Tests run in this many processes; PYTEST_ARGS adds options: make test PYTEST_ARGS="tests/core -x"
WORKERS ?= 2
PYTEST_ARGS ?=

# Where tests keep their files: in memory if there is room, for on a disk most of their time goes to waiting for its commits.
# They are removed afterwards; make test TMPDIR=/tmp keeps them.
MEMORY := $(shell grep -qs '^[^ ]* /dev/shm [^ ]* [^ ]*noexec' /proc/mounts \
  || df -Pk /dev/shm 2>/dev/null | awk '$$6 == "/dev/shm" && $$4 > 4194304 {print $$6}')
IN_MEMORY = $(if $(TMPDIR),,$(if $(MEMORY),export TMPDIR=$$(mktemp -d $(MEMORY)/tm.XXXXXX); trap 'rm -rf "$$TMPDIR"' EXIT;))

# Importing polars, scipy and the rest from source on each start takes seconds.
unexport PYTHONDONTWRITEBYTECODE
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export NO_MKDOCS_2_WARNING := 1

.PHONY: help setup check test coverage demo bench docs verify lock clean

help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.stamp-dev ## Create .venv with everything a developer needs

check: $(VENV)/.stamp-dev ## Format, lint, types, import rules, docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/mkdocs build --quiet --strict

test: $(VENV)/.stamp-dev ## All tests but the slow ones
	$(IN_MEMORY) $(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal $(PYTEST_ARGS)

# Apart from `test`, for tests that compute much take up to twice as long while their lines are counted.
coverage: $(VENV)/.stamp-dev ## The same tests; fails where they run less than 90 % of the lines
	$(IN_MEMORY) $(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal --cov --cov-report=term $(PYTEST_ARGS)

# One after the other, for several keep all cores busy; each is named before it runs, for single ones take minutes.
verify: $(VENV)/.stamp-dev ## The slow tests: a quarter of an hour on two cores
	$(IN_MEMORY) $(BIN)/python -m pytest -v -m slow $(PYTEST_ARGS) || [ $$? -eq 5 ]

demo: $(VENV)/.stamp-demo ## A model's whole life on a year of flights: make demo DEMO_ARGS="--fast"
	$(BIN)/tidemill demo $(DEMO_ARGS)

bench: $(VENV)/.stamp-dev ## Measure speed; the scripts are in bench/
	$(BIN)/python -m bench $(BENCH_ARGS)

docs: $(VENV)/.stamp-dev ## Build the documentation into site/
	$(BIN)/mkdocs build --quiet --strict
	@echo "Open site/index.html, or run: $(BIN)/mkdocs serve"

lock: $(VENV)/.stamp-python ## Resolve the newest versions into constraints/locked.txt
	$(BIN)/python scripts/lock.py

clean: ## Remove everything that was made here
	rm -rf $(VENV) build dist site htmlcov .coverage .coverage.* src/tidemill/ui/static/vendor
	rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find src tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +

# -- how .venv comes to be -------------------------------------------------------------------------------------------

$(VENV)/.stamp-python:
	@for candidate in $(PYTHONS); do \
	  if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "Creating $(VENV) with $$("$$candidate" --version)"; \
	    rm -rf $(VENV); \
	    "$$candidate" -m venv $(VENV) || { \
	      echo "Could not create $(VENV) with $$candidate. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }; \
	    touch $@; exit 0; \
	  fi; \
	done; \
	echo "Found no Python 3.11 or newer among: $(PYTHONS). Install one, or name it: make setup PYTHON=/path/to/python" >&2; \
	exit 1

# The demo's extra is a part of the developer's, so one install serves both.
$(VENV)/.stamp-demo: $(VENV)/.stamp-python $(INSTALL_INPUTS)
	@echo "Installing Tidemill with its demo into $(VENV)"
	@$(PIP) -e '.[demo]'
	@$(COMPILE) || true
	@touch $@

$(VENV)/.stamp-dev: $(VENV)/.stamp-python $(INSTALL_INPUTS)
	@echo "Installing Tidemill with everything a developer needs into $(VENV)"
	@$(PIP) -e '.[dev]'
	@$(COMPILE) || true
	@touch $(VENV)/.stamp-demo $@
