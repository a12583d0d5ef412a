# Everything that is done to this project, by name. Needs make and Python 3.11 or newer, nothing else.

PYTHON ?= python3
PYTEST_ARGS ?=
TORCH ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip
STAMP := $(VENV)/.installed
LOCKS := requirements-dev.lock requirements-torch.lock

# Which build of PyTorch: empty takes the one that pip's own configuration finds.
TORCH_SOURCE_ :=
TORCH_SOURCE_cpu := --index-url https://download.pytorch.org/whl/cpu
TORCH_SOURCE_cuda := --index-url https://download.pytorch.org/whl/cu130
ifeq ($(origin TORCH_SOURCE_$(TORCH)),undefined)
$(error TORCH=$(TORCH) is unknown; say TORCH=cpu, TORCH=cuda, or leave it out)
endif

COMPILE := $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-annotate \
	--no-emit-package torch --custom-compile-command "make lock" --quiet

.PHONY: setup demo test dev check format bench lock licences clean

setup: $(STAMP) ## install everything into .venv, unless that is done already

demo: $(STAMP) ## train two models through HTTP on a server of its own
	@$(BIN)/onelayer demo

test: $(STAMP) ## the whole default test run
	$(BIN)/python -m pytest -n auto --maxprocesses 4 $(PYTEST_ARGS)

dev: $(STAMP) ## a server that reloads itself when the code changes
	$(BIN)/onelayer serve --reload

check: $(STAMP) ## format, lint, types, import contracts, known weaknesses of what is locked
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.audit

format: $(STAMP) ## write the format that `check` asks for
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP) ## the benchmarks; not part of the tests
	$(BIN)/python -m benchmarks

# Pins that are already locked stay unless pyproject.toml forbids them; `make lock COMPILE_ARGS=--upgrade` renews all.
lock: $(STAMP) ## write the lock files anew from pyproject.toml, by uv, for every platform and Python from 3.11 on
	$(COMPILE) --extra postgres --extra otel $(COMPILE_ARGS) --output-file requirements.lock
	$(COMPILE) --extra postgres --extra otel --extra dev $(COMPILE_ARGS) --constraints requirements.lock --output-file requirements-dev.lock

licences: $(STAMP) ## write docs/licences.md anew from what is installed
	$(BIN)/python -m tests.licences

clean: ## remove .venv and everything that tools have left; data directories stay
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find app migrations tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

$(STAMP): pyproject.toml $(LOCKS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Onelayer needs Python 3.11 or newer, and '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." >&2; \
		echo "Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv --clear $(VENV)
	$(PIP) install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(PIP) install --quiet --disable-pip-version-check $(TORCH_SOURCE_$(TORCH)) -r requirements-torch.lock
	$(PIP) install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(STAMP)
