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
EMULATOR := .venv-bqemulator
EMULATOR_READY := $(EMULATOR)/.ready
HELDOUT := $(BIN)/heldout
ENGINES := .engines
PRISM := $(ENGINES)/prism/prism
JOB_SERVERS := $(ENGINES)/flink/job-server.jar $(ENGINES)/spark/job-server.jar
DISTRIBUTION := $(ENGINES)/flink/distribution/.ready

RATIOS := 0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9
MNIST_RUNS ?= 0:4

.PHONY: help setup demo mnist test docs release-check flink spark prism test-flink test-prism lint lock clean

help: ## say what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(READY) ## make the environment .venv from the lock

$(READY): requirements-dev.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Heldout needs Python 3.11, 3.12 or 3.13: set PYTHON=…" >&2; exit 2; }
	@test ! -L .venv || { echo ".venv is a link: remove it, or run make where it leads" >&2; exit 2; }
	$(PYTHON) -m venv --clear .venv
	$(BIN)/pip install --quiet --requirement requirements-dev.txt
	$(BIN)/pip install --quiet --no-deps --editable .
	touch $@

demo: $(READY) ## train, score and report the embedded digits
	$(HELDOUT) train --experiment=demo/runs --dataset=digits --model=mlp_small --ratios=0.7 --runs=0:200
	$(HELDOUT) train --experiment=demo/runs --dataset=digits --model=mlp_small --ratios=$(RATIOS) --runs=0:20
	$(HELDOUT) score --experiment=demo/runs --scores=demo/scores --dataset=digits
	$(HELDOUT) report --scores=demo/scores --dataset=digits --output=demo/report.html

# The published campaign is this with MNIST_RUNS=0:2000.
mnist: $(READY) ## the same on real MNIST; MNIST_RUNS=0:2000 for all of a campaign
	dataset=$$(scripts/mnist_dataset.sh); \
	flags="--dataset=$$dataset --data_dir=data/tfds"; \
	$(HELDOUT) train --experiment=mnist/runs $$flags --ratios=$(RATIOS) --runs=$(MNIST_RUNS); \
	$(HELDOUT) score --experiment=mnist/runs --scores=mnist/scores $$flags; \
	$(HELDOUT) report --scores=mnist/scores $$flags --output=mnist/report.html

# DuckDB looks for its extensions below the home directory: the emulator gets one of its own.
$(EMULATOR_READY): requirements-bqemulator.txt
	$(PYTHON) -m venv --clear $(EMULATOR)
	$(EMULATOR)/bin/pip install --quiet --requirement requirements-bqemulator.txt
	HOME=$(CURDIR)/$(EMULATOR) $(EMULATOR)/bin/python -c \
	  "from duckdb_extensions import import_extension as add; add('avro'); add('spatial')"
	touch $@

# In the order of their files: those with the fewest tests, which take longest, must not come last.
test: $(READY) $(EMULATOR_READY) ## run all tests
	$(BIN)/pytest --numprocesses=auto --dist=loadfile --no-loadscope-reorder --ignore=tests/engines

flink: $(DISTRIBUTION) ## get Beam's job server for Flink, with Maven, and Flink

spark: $(ENGINES)/spark/job-server.jar ## get Beam's job server for Spark, with Maven

$(ENGINES)/flink/job-server.jar: MAIN := org.apache.beam.runners.flink.FlinkJobServerDriver
$(ENGINES)/spark/job-server.jar: MAIN := org.apache.beam.runners.spark.SparkJobServerDriver

$(JOB_SERVERS): $(ENGINES)/%/job-server.jar: engines/%/pom.xml engines/merged_jar.py
	rm -rf $(@D)/jars
	mvn --quiet --batch-mode --file $< dependency:copy-dependencies \
	  -DincludeScope=runtime -DoutputDirectory=$(CURDIR)/$(@D)/jars
	$(PYTHON) engines/merged_jar.py $(MAIN) $(@D)/jars $@

# Flink itself, of the version that Beam's job server brings parts of: all that PyPI's package holds.
$(DISTRIBUTION): $(ENGINES)/flink/job-server.jar | $(READY)
	rm -rf $(@D)
	mkdir $(@D)
	runtime=$$(echo $(ENGINES)/flink/jars/flink-runtime-*.jar); version=$${runtime##*-}; \
	$(BIN)/pip download --quiet --no-deps --dest $(@D) "apache-flink-libraries==$${version%.jar}"
	tar -xzf $(@D)/*.tar.gz -C $(@D) --strip-components=2 --wildcards '*/deps/lib'
	rm $(@D)/*.tar.gz
	touch $@

prism: $(PRISM) ## build Beam's Prism, with Go

$(PRISM): requirements.txt
	version=$$(sed -n 's/^apache-beam.*==\([0-9.]*\).*/\1/p' $<); \
	GOFLAGS=-mod=mod GOBIN=$(CURDIR)/$(@D) \
	  go install "github.com/apache/beam/sdks/v2/go/cmd/prism@v$$version"
	touch $@

# Two at once, each with clusters of its own: they wait a lot, for Java to start and jobs to restart.
test-flink: $(READY) ## the same jobs on a cluster of Flink, with workers killed
	@if ! command -v java >/dev/null || ! command -v mvn >/dev/null; then \
	  echo "test-flink: skipped: it needs Java 17 and Maven"; \
	else $(MAKE) --no-print-directory flink && $(BIN)/pytest --numprocesses=2 --dist=loadfile tests/engines/flink; fi

test-prism: $(READY) ## the same jobs on Prism
	@if ! command -v go >/dev/null; then echo "test-prism: skipped: it needs Go"; \
	else $(MAKE) --no-print-directory prism && $(BIN)/pytest tests/engines/prism; fi

# MkDocs says at each start that its theme will have a successor.
docs: $(READY) ## build the documentation site, build/site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

release-check: $(READY) ## build wheel and sdist, and use the wheel outside of the clone
	scripts/release_check.sh

lint: $(READY) ## ruff, mypy and hadolint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/hadolint Dockerfile

lock: $(READY) ## resolve the dependencies anew for all supported Pythons
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-annotate \
	  --custom-compile-command 'make lock' pyproject.toml --output-file requirements.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-annotate \
	  --custom-compile-command 'make lock' pyproject.toml --extra gpu \
	  --constraint requirements.txt --output-file requirements-gpu.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-annotate \
	  --custom-compile-command 'make lock' pyproject.toml --extra dev \
	  --constraint requirements.txt --output-file requirements-dev.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-annotate \
	  --custom-compile-command 'make lock' requirements-bqemulator.in \
	  --output-file requirements-bqemulator.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-annotate \
	  --custom-compile-command 'make lock' requirements-peers.in \
	  --constraint requirements-dev.txt --output-file requirements-peers.txt

clean: ## remove everything that can be made again
	rm -rf .venv $(EMULATOR) $(ENGINES) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
