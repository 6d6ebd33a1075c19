# Every command of the project. `make help` lists them. Needs Python 3.11+ and network access to the package registries, nothing else.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

UV_VERSION := 0.13.9
ROOT := $(CURDIR)
BUILD := $(ROOT)/build
BOOTSTRAP := $(BUILD)/bootstrap
VENV ?= $(ROOT)/.venv
PYTHON := $(VENV)/bin/python
KEHU := $(VENV)/bin/kehu
STAMP := $(VENV)/.kehu-installed

# Tools want a home to cache in; without a usable one they get a folder of the build.
ifeq ($(shell [ -n "$${HOME:-}" ] && [ -d "$${HOME:-}" ] && [ -w "$${HOME:-}" ] && echo yes),)
export HOME := $(BUILD)/home
$(shell mkdir -p $(BUILD)/home)
endif

export UV_PROJECT_ENVIRONMENT := $(VENV)
export UV_PYTHON_DOWNLOADS := never
export UV_LINK_MODE := copy
# Compiled once here, not by each of five services at each start: where Python may not write beside its sources, that is 1 s of CPU each.
export UV_COMPILE_BYTECODE := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore

.PHONY: help setup check test test-all up down status demo bench crash-test fuzz compose-check clean

help: ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | while IFS=$$'\t' read -r name text; do printf '  make %-14s %s\n' "$$name" "$$text"; done

setup: $(STAMP) ## Install everything into .venv (first time a few minutes)

$(STAMP): pyproject.toml uv.lock
	@mkdir -p $(BUILD)
	@[ -x $(BOOTSTRAP)/bin/uv ] || bash deploy/local/bootstrap.sh $(BOOTSTRAP) $(UV_VERSION)
	UV_PYTHON=$(BOOTSTRAP)/bin/python $(BOOTSTRAP)/bin/uv sync --frozen --all-extras --all-groups
	$(PYTHON) -m compileall -q shared services deploy
	@touch $@

check: setup ## Lint, types, import rules
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-cache

test: setup ## Run the tests (real Kafka and MongoDB are started when none are given)
	$(PYTHON) -m pytest -m "not long" $(PYTEST_ARGS)

test-all: setup ## Run the tests, the long ones included
	$(PYTHON) -m pytest $(PYTEST_ARGS)

up: setup ## Start Kafka, MongoDB and the five services in the background
	$(KEHU) up

down: setup ## Stop what `make up` started; data are kept
	$(KEHU) down

status: setup ## Services, lag, dead letters
	$(KEHU) status

demo: setup ## Start everything, send the real input through it, print the report
	$(KEHU) demo

bench: setup ## Measure the whole flow: events/s, CPU per event, memory, idle; cost with few and many customers
	$(PYTHON) -m benchmarks
	$(PYTHON) -m benchmarks.flatness

crash-test: setup ## Kill everything at random and at named places, and count: nothing lost, nothing doubled (20 minutes)
	$(PYTHON) -m pytest -m long -s tests/chaos tests/integration/test_*_crash.py $(PYTEST_ARGS)

fuzz: setup ## Send 20,000 generated inputs to the door and the other services: no server error
	KEHU_FUZZ_INPUTS=20000 $(PYTHON) -m pytest tests/journey/test_fuzz.py -s

compose-check: setup ## Check docker-compose.yml against the compose specification
	$(PYTHON) -m pytest tests/contract/test_compose_file.py

clean: ## Remove the environment and build results (data of `make up` are kept)
	rm -rf $(VENV) $(BUILD)
