# WealthOS Pipeline. `make run` and `make test` are all that a newcomer needs; both set up .venv first.

.DEFAULT_GOAL := help
SHELL := /bin/bash
ARGS ?=
PYTHON ?=
BIN := .venv/bin
READY := .venv/.ready

.PHONY: help setup run ui serve test lint types format bench soak check-peers research research-risk research-models docs lock clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(READY): requirements.lock pyproject.toml .ci/setup
	@PYTHON="$(PYTHON)" bash .ci/setup

setup: $(READY) ## create .venv from requirements.lock (every other target does this first)
	@:

run: $(READY) ## run the whole pipeline on the sample data; ARGS="--source files --path PANEL" for your own
	@$(BIN)/wealthos run $(ARGS)

ui: $(READY) ## the Dagster UI: the graph, its history, schedules and sensors
	@$(BIN)/wealthos ui $(ARGS)

serve: $(READY) ## the read-only API on this machine
	@$(BIN)/wealthos serve $(ARGS)

test: $(READY) ## the tests, two files at a time; ARGS="tests/factors -x" for some of them
	@$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

lint: $(READY) ## ruff: rules and formatting
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(READY) ## mypy, strict
	@$(BIN)/mypy

format: $(READY) ## put the code into its format
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(READY) ## measure speed and memory; writes docs/benchmarks.md; ARGS="--only factors" for the factor engine
	@$(BIN)/python benchmarks/run.py $(ARGS)

soak: $(READY) ## kill ingestion and cleaning 500 times at random instants; ARGS="--kills 50" for fewer
	@$(BIN)/python tests/support/soak.py $(ARGS)

check-peers: $(READY) ## compare numbers with other libraries, in environments of their own (.peers); ARGS="--small"
	@bash benchmarks/peers/check $(ARGS)

research: $(READY) ## what the factors were worth on the large panel; writes docs/research/factors.md
	@$(BIN)/python benchmarks/factor_ic.py $(ARGS)

research-risk: $(READY) ## how good the risk models' forecasts were on the large panel; writes docs/research/risk.md
	@$(BIN)/python benchmarks/risk_models.py $(ARGS)

research-models: $(READY) ## what the models were worth on the large panel; writes docs/research/models.md
	@$(BIN)/python benchmarks/research_models.py $(ARGS)

docs: $(READY) ## write the generated pages: tables, factors, mandates, command line
	@$(BIN)/python docs/generate.py
	@$(BIN)/python docs/infeasible.py

# The lock holds names, versions and hashes for every platform, and no address. uv is fetched into
# an environment of its own; nothing of it reaches .venv.
lock: $(READY) ## resolve pyproject.toml into requirements.lock again
	@test -x .peers/uv/bin/uv || { $(BIN)/python -m venv .peers/uv && .peers/uv/bin/pip install -q uv; }
	@.peers/uv/bin/uv pip compile --universal --python-version 3.11 --extra dev --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-header --no-annotate --quiet \
		pyproject.toml -o requirements.lock
	@! grep -n '://' requirements.lock || { echo 'error: the lock names an address' >&2; exit 1; }

clean: ## remove .venv and every cache; data/ and reports/ stay
	rm -rf .venv .peers .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
