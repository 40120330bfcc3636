# Two commands do everything, set-up included: `make demo` and `make test`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# The benchmark and corpus tests look here; they skip where the folder is absent.
export MAILROOM_DATA ?= $(abspath ../shared/data)
# Everything mailroom needs comes from packages; no code of ours may wait for a hub.
export HF_HUB_OFFLINE ?= 1

# Processes that share the tests: one for each of two cores. 0 runs them in one.
TEST_WORKERS ?= 2

.PHONY: help setup demo test check lint types fast format clean

help:
	@echo "make demo    set up, make a workspace from examples/helpdesk, sort its mailbox"
	@echo "make test    set up, then lint, types and all tests"
	@echo "make check   lint, types and the fast tests"
	@echo "make format  rewrite the code as ruff wants it"
	@echo "make clean   remove the virtual environment and the demo workspace"

setup: $(STAMP)

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "mailroom needs Python 3.11 or newer; $$($(PYTHON) --version) found. Try: make PYTHON=python3.12"; exit 1; }
	@echo "Setting up $(VENV) (a minute or two, once) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[train,serve,postgres,dev]'
	@touch $@

demo: setup
	@$(BIN)/python examples/helpdesk/demo.py

# Tests of one file stay together, since they share what its fixtures build.
test: setup lint types
	$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile

check: setup lint types fast

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

fast: setup
	$(BIN)/python -m pytest -m "not slow and not corpus" -n $(TEST_WORKERS) --dist loadfile

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) demo
