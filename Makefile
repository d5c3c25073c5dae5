# `make demo` and `make test` need Python 3.11–3.13, make and a package index; all else follows.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

FIND_PYTHON := for p in python3 python3.13 python3.12 python3.11; do \
  $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null \
  && echo $$p && break; done
PYTHON ?= $(shell $(FIND_PYTHON))

BIN := .venv/bin
READY := .venv/.ready

.PHONY: help setup demo mnist test lint lock clean

help: ## say what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(READY) ## make the environment .venv from the lock

$(READY): requirements-dev.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Heldout needs Python 3.11, 3.12 or 3.13: set PYTHON=…" >&2; exit 2; }
	$(PYTHON) -m venv --clear .venv
	$(BIN)/pip install --quiet --requirement requirements-dev.txt
	$(BIN)/pip install --quiet --no-deps --editable .
	touch $@

demo: $(READY) ## train, score and report the embedded digits
	$(BIN)/python examples/digits.py

mnist: $(READY) ## the same on real MNIST
	$(BIN)/python examples/mnist.py $(MNIST_FLAGS)

test: $(READY) ## run all tests
	$(BIN)/pytest

lint: $(READY) ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lock: $(READY) ## resolve the dependencies anew for all supported Pythons
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-annotate \
	  --custom-compile-command 'make lock' pyproject.toml --output-file requirements.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-annotate \
	  --custom-compile-command 'make lock' pyproject.toml --extra dev \
	  --constraint requirements.txt --output-file requirements-dev.txt

clean: ## remove everything that can be made again
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
