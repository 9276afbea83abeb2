# Two commands matter: `make demo` shows it, `make test` tests it. `make help` lists the rest.
SHELL := /bin/bash
KEEP ?= 1
UPGRADE ?= --upgrade

# Processes that start each other all day need the bytecode that this would keep from being written.
unexport PYTHONDONTWRITEBYTECODE

UV := $(or $(shell command -v uv),.uv/bin/uv)
BIN := .venv/bin
READY := .venv/.installed

.PHONY: help demo test test-cluster test-slow check format install lock docs images clean

help: ## List the commands
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(READY) ## Set everything up and run the example experiment; KEEP=0 ends by itself
	@exec $(BIN)/dtx demo $(if $(filter 0,$(KEEP)),--no-keep,--keep)

test: $(READY) ## Run the test suite (about 25 minutes on 2 cores; no network)
	$(BIN)/python -m pytest -m "not slow and not cluster"

test-cluster: $(READY) ## Run what makes pods: needs KUBECONFIG and S3 in the environment (docs/deploy.md)
	$(BIN)/python -m pytest -m "cluster and not slow" tests/cluster

test-slow: $(READY) ## Run what takes longer
	$(BIN)/python -m pytest -m slow

check: $(READY) ## Format, lint, types, layers, generated documents
	$(BIN)/ruff format --check -q .
	$(BIN)/ruff check -q .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache > .venv/layers.txt || (cat .venv/layers.txt; exit 1)
	$(BIN)/python -m docs.generate --check

format: $(READY) ## Format and fix what can be fixed
	$(BIN)/ruff format -q .
	$(BIN)/ruff check --fix -q .

docs: $(READY) ## Generate the schema and the spec reference
	$(BIN)/python -m docs.generate

install: $(READY) ## Build the environment from the lock file

$(READY): requirements/embedded.lock pyproject.toml | $(UV)
	$(UV) venv -q --allow-existing --python 3.11 .venv
	$(UV) pip sync -q --python $(BIN)/python --require-hashes requirements/embedded.lock
	$(UV) pip install -q --python $(BIN)/python --no-deps -e .
	@touch $@

.uv/bin/uv:
	python3.11 -m venv .uv
	.uv/bin/pip install -q uv

COMPILE = $(UV) pip compile -q pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header

lock: | $(UV) ## Resolve the versions anew; the images' are among those of the embedded environment
	$(COMPILE) --extra airflow --extra postgres --extra train --extra dev $(UPGRADE) -o requirements/embedded.lock
	$(COMPILE) --extra train -c requirements/embedded.lock -o requirements/trainer.lock
	$(COMPILE) --extra airflow --extra postgres -c requirements/embedded.lock -o requirements/airflow.lock

images: ## Build the trainer's and Airflow's images with docker, podman or buildah; container/README.md
	container/build

clean: ## Remove the environment and everything that was made
	rm -rf .venv .uv .dtx .pytest_cache .mypy_cache .ruff_cache
