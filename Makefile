# `make` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
JOBS_HOME ?= .nightjar
TEST_WORKERS ?= 3

.DEFAULT_GOAL := help
.PHONY: help setup night test test-all lint up docs bench bench-past bench-model bench-quality bench-content bench-encoders bench-recommend bench-recommend-scale bench-mappings bench-export kill-test stop-test torture soak audit bench-ui oracle defects clean

help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-22s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## install everything into .venv

# torch comes first and alone: whatever asks for an open range of it brings gigabytes more.
$(STAMP): pyproject.toml setup.py constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)) and "Nightjar needs Python 3.11 or 3.12: make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing PyTorch (1 of 2), which takes a minute or two"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --progress-bar off "torch==2.13.0"
	@echo "installing everything else (2 of 2), which takes as long"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --progress-bar off -c constraints.txt -e ".[dev]"
	@touch $@
	@echo "done; make night runs a whole night on a simulated market"

night: $(STAMP) ## simulate a market and run one whole night on it
	@NIGHTJAR_HOME=$(JOBS_HOME) $(BIN)/nightjar demo

up: $(STAMP) ## Prefect server, worker, schedule and MLflow on this machine
	@NIGHTJAR_HOME=$(JOBS_HOME) $(BIN)/nightjar up

test: $(STAMP) ## the tests, but for the slow ones
	$(BIN)/python -m pytest -n $(TEST_WORKERS) -m "not slow"

test-all: $(STAMP) ## all tests, also those with servers, browsers, real data and long fuzzing
	$(BIN)/python -m pytest -n $(TEST_WORKERS)

lint: $(STAMP) ## ruff, mypy, declared dependencies, and the layer rules
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/deptry .
	$(BIN)/python -m pytest -q tests/test_layers.py tests/test_file_access.py

docs: $(STAMP) ## write docs/tables.md from the contracts
	$(BIN)/python -m contracts

bench: $(STAMP) ## benchmarks, as JSON lines
	$(BIN)/python -m tests.bench

bench-past: $(STAMP) ## what backfills, plans and nights cost, as JSON lines
	$(BIN)/python -m tests.bench.parity
	$(BIN)/python -m tests.bench.past
	$(BIN)/python -m tests.bench.nights

PEERS ?=
bench-model: $(STAMP) ## our trainer and scorer beside a bare loop (and libraries: PEERS=their python)
	$(BIN)/python -m tests.bench.model $(if $(PEERS),--peers $(PEERS))
	$(BIN)/python -m tests.bench.scoring

QUALITY ?=
bench-quality: $(STAMP) ## network, LightGBM and mixture on five data sets, as JSON lines (QUALITY="--sets ciao")
	@NIGHTJAR_HOME=$(JOBS_HOME) $(BIN)/python -m tests.bench.quality $(QUALITY)

CONTENT ?=
bench-content: $(STAMP) ## how well and how fast labelled texts and pictures are classified, and bench-encoders, as JSON lines (CONTENT="--texts FOLDER", PICTURES="--pictures FOLDER")
	@$(BIN)/python -m tests.bench.content $(CONTENT)
	@$(BIN)/python -m tests.bench.content_images $(PICTURES)
	-@$(BIN)/python -m tests.bench.content_encoders $(ENCODERS)

ENCODERS ?=
bench-encoders: $(STAMP) ## texts per CPU-second of an encoder in fp32, bf16 and ONNX, beside plain ONNX Runtime (ENCODERS="--texts FILE")
	@$(BIN)/python -m tests.bench.content_encoders $(ENCODERS)

RECOMMEND ?=
bench-recommend: $(STAMP) ## what is recommended beside its sources and simple twins, as JSON lines (RECOMMEND="--data ciao")
	@NIGHTJAR_HOME=$(JOBS_HOME) $(BIN)/python -m tests.bench.recommend $(RECOMMEND)

SCALE ?= $(JOBS_HOME)
bench-recommend-scale: $(STAMP) ## after `make night`: what recommendations cost for more and more users, as JSON lines (SCALE="HOME --users 2000 200000")
	@$(BIN)/python -m tests.bench.recommend_scale $(SCALE)

bench-mappings: $(STAMP) ## the last steps of a night for each of the 511 sets of tables that may be mapped
	$(BIN)/python -m tests.bench.mappings

kill-test: $(STAMP) ## kill nights and backfills at random instants, and lose nothing
	$(BIN)/python -m tests.bench.kills

stop-test: $(STAMP) ## stop nights at many moments, or take their servers away, and read all that they print
	$(BIN)/python -m tests.bench.stops

torture: $(STAMP) ## thousands of damaged raw files, read, landed and cleaned, and nothing lost
	$(BIN)/python -m tests.bench.torture

FOLDER ?= $(JOBS_HOME)/export
bench-export: $(STAMP) ## a shop's nested JSON export, to write a mapping of (FOLDER=where)
	$(BIN)/python -m tests.bench.export $(FOLDER)

soak: $(STAMP) ## thirty nights in a row, and what goes wrong on the way
	$(BIN)/python -m tests.bench.soak

audit: ## what is known against the pinned dependencies
	@test -x .audit/bin/pip-audit || { $(PYTHON) -m venv .audit && .audit/bin/python -m pip install --quiet pip-audit; }
	.audit/bin/pip-audit -r constraints.txt --disable-pip --no-deps

bench-ui: $(STAMP) ## from `nightjar up` and a click in a browser to a published release
	$(BIN)/python -m tests.bench.ui

DEMO = $(JOBS_HOME)/demo/1200-users
oracle: $(STAMP) ## after `make night`: each task and surface beside what could be known at best
	@NIGHTJAR_KEY=demo-key-for-simulated-users-only NIGHTJAR_HOME=$(JOBS_HOME) $(BIN)/python -m tests.bench.oracle $(DEMO)
	@NIGHTJAR_KEY=demo-key-for-simulated-users-only NIGHTJAR_HOME=$(JOBS_HOME) $(BIN)/python -m tests.bench.list_oracle $(DEMO)

defects: $(STAMP) ## precision and recall of cleaning per kind of defect
	@$(BIN)/python -m tests.bench.defects

clean: ## remove the demo's lake, never the installation
	rm -rf $(JOBS_HOME)
