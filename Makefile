# Every verb has its line in `make help`. `make` itself needs nothing but a shell; see local/bootstrap for the rest.
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
SHELL := /bin/sh
PYTHON ?= python3
export PYTHON

# A polluted environment must not change what runs.
unexport PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE VIRTUAL_ENV

RUN := .venv/bin/python -m
TYPED := $(wildcard scoring plugins/training plugins/baton_airflow plugins/baton_plugin.py local models dags deploy tests bench hatch_build.py)

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: venv
venv: ## Install everything the project needs: .venv from the lock, the broker's jars
	@local/bootstrap

.PHONY: up
up: venv ## Start the local stack and wait until it is ready (ARGS="--without airflow" leaves parts out)
	@$(RUN) local up $(ARGS)

.PHONY: down
down: ## Stop the local stack; no process stays behind
	@if [ -x .venv/bin/python ]; then $(RUN) local down; fi

.PHONY: status
status: venv ## Show what runs, and where
	@$(RUN) local status

.PHONY: logs
logs: venv ## Show the end of the logs (NAME=daemon for one process, FOLLOW=1 to go on)
	@$(RUN) local logs $(NAME) $(if $(FOLLOW),--follow)

.PHONY: demo
demo: venv ## Train, promote and replace a model under a running stream of flights
	@$(RUN) local.demo $(ARGS)

.PHONY: check
check: venv ## Check format, lint, types and import contracts
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy $(TYPED)
	.venv/bin/lint-imports --no-cache

.PHONY: format
format: venv ## Format the code and mend what the linter can mend
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

.PHONY: test
test: venv ## Run the tests, on a broker of their own (ARGS="-k name" for some)
	@local/test-tools
	@$(RUN) pytest -m "not faults" $(ARGS)

.PHONY: faults
faults: venv ## Run the long campaigns: outages, frozen processes, planted bugs
	@$(RUN) pytest -m faults $(ARGS)

.PHONY: bench
bench: venv ## Measure throughput, latency, swaps and cost beside the alternatives (ARGS=--short for a minute's worth)
	@$(RUN) bench $(ARGS)

.PHONY: test-unit
test-unit: venv ## Run the tests that need no broker, registry or Airflow
	@$(RUN) pytest tests/unit tests/contract -m "not integration and not acceptance and not faults" $(ARGS)

.PHONY: lock
lock: venv ## Write the lock files anew from pyproject.toml (ARGS=--upgrade for newer versions)
	PYTHON=.venv/bin/python local/lock $(ARGS)

.PHONY: clean
clean: down ## Stop the stack and delete its state and all caches; .venv stays
	rm -rf var .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis local/kafka/target
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
