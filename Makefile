# Everything runs from .venv, which the first target that needs it sets up. `make` lists the targets.

PYTHON ?= python3
BIN := .venv/bin
SETUP := .venv/set-up

# The generator and the tests look for ruff and others where the virtual environment has them.
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Pyright says where a newer one is to be had; ours is pinned.
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(SETUP) ## make .venv with everything the other targets need (PYTHON=... names another Python)
	@:

$(SETUP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "There is no '$(PYTHON)' here. Name a Python of 3.11 or later: make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$(PYTHON) is $$($(PYTHON) -V 2>&1), and Python 3.11 or later is needed. Name one: make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo "$(PYTHON) cannot make virtual environments. Debian and Ubuntu have that apart: apt install python3-venv" >&2; exit 1; }
	@echo "Setting up .venv (a minute or two) ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt hatchling
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation --editable '.[all,dev]'
	@# Compiled once, so that what is measured and used starts as an installed package does.
	@$(BIN)/python -m compileall -q generated overlays
	@touch $@

.PHONY: constraints
constraints: ## renew constraints.txt: the newest releases that pyproject.toml allows
	@rm -rf .venv-constraints
	@$(PYTHON) -m venv .venv-constraints
	@.venv-constraints/bin/python -m pip install --quiet --editable '.[all,dev]'
	@{ echo "# What development and CI install, each at one exact version. Renew it with: make constraints"; \
		.venv-constraints/bin/python -m pip freeze --exclude-editable | LC_ALL=C sort -f; } > constraints.txt.new
	@rm -rf .venv-constraints
	@mv constraints.txt.new constraints.txt

.PHONY: gen
gen: $(SETUP) ## write generated/ anew from the schema
	@$(BIN)/python -m generator

.PHONY: gen-check
gen-check: $(SETUP) ## is generated/ what the schema gives?
	@$(BIN)/python -m generator --check

.PHONY: upstream
upstream: $(SETUP) ## does the schema say what the vendor publishes?
	@$(BIN)/python -m generator.upstream

.PHONY: format
format: $(SETUP) ## format the code, and mend what the linter can mend
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format --quiet .

.PHONY: lint
lint: $(SETUP) ## is the code formatted, and does the linter agree?
	@$(BIN)/ruff format --quiet --check . || { echo "Not formatted (see above); this mends it: make format" >&2; exit 1; }
	@$(BIN)/ruff check --quiet .

.PHONY: types
types: $(SETUP) ## mypy and pyright, both strict
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/pyright --warnings > .venv/pyright.log || { cat .venv/pyright.log; exit 1; }

.PHONY: imports
imports: $(SETUP) ## do the packages import only what they may?
	@$(BIN)/lint-imports > .venv/imports.log || { cat .venv/imports.log; exit 1; }

.PHONY: test
test: $(SETUP) ## all tests (ARGS='-k pool' for some of them)
	@$(BIN)/python -m pytest -q $(ARGS)

.PHONY: contract
contract: $(SETUP) ## does the emulator keep the contract? (ARGS='-k pool' for a part of it)
	@$(BIN)/python -m pytest -q tests/contract/test_emulator.py $(ARGS)

.PHONY: load
load: $(SETUP) ## the emulator under load for a minute and a half, and killed twenty times
	@LOAD_SECONDS=60 KILLS=20 $(BIN)/python -m pytest -q -s tests/emulator/test_load.py tests/emulator/test_durability.py

.PHONY: check
check: lint types imports gen-check upstream test ## lint, types, imports, gen-check, upstream and test, as CI does

# The vendor's clients, each in an environment of its own: the two cannot be installed side by side.
INTEROP := $(patsubst tests/interop/%.txt,.venv-interop/%/set-up,$(wildcard tests/interop/*.txt))

.venv-interop/%/set-up: tests/interop/%.txt
	@echo "Setting up $(@D) ..."
	@$(PYTHON) -m venv --clear $(@D)
	@$(@D)/bin/python -m pip install --quiet --requirement $<
	@touch $@

.PHONY: interop
interop: $(SETUP) $(INTEROP) ## the vendor's own clients, unmodified, against the emulator
	@$(BIN)/python -m tests.interop

.PHONY: fuzz
fuzz: $(SETUP) ## 100,000 hostile requests to the emulator (ARGS='--requests 1000 --seed 1')
	@$(BIN)/python -m tests.emulator.fuzzing $(ARGS)

.PHONY: mutants
mutants: $(SETUP) ## what the contract kit finds in 217 buggy emulators, and in correct servers (half an hour; ARGS='--seeds 1')
	@$(BIN)/python -m tests.contract.mutants $(ARGS)

.PHONY: bench
bench: $(SETUP) ## how fast the models decode and the emulator answers (a few minutes)
	@$(BIN)/python -m tests.benchmarks

.PHONY: demo
demo: $(SETUP) ## the client at work on the bundled emulator (ARGS='--help' tells more)
	@$(BIN)/prebuilds demo $(ARGS)

.PHONY: emulator
emulator: $(SETUP) ## run the emulator on a free port (ARGS='--port 8080')
	@$(BIN)/prebuilds emulator $(ARGS)

.PHONY: clean
clean: ## remove .venv and everything the tools left behind
	@rm -rf .venv .venv-interop .cache .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
