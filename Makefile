# Everything runs from .venv. Each target first installs there what it needs. `make` lists the targets.

PYTHON ?= python3
BIN := .venv/bin
COMMA := ,
# Tests of one xdist_group share a worker, and with it what was costly to set up.
PARALLEL := --numprocesses auto --dist loadgroup

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

# -- Environments ------------------------------------------------------------------------------------------------------
# One virtual environment that grows: the demo needs few packages, the tests more, the type checkers most. A stamp stands
# for each layer, so that no target installs what is there already.

PIP := $(BIN)/python -m pip install --quiet --constraint constraints.txt

# $(call run,WHAT,COMMAND) says what it does and how long it took, and shows the command's output only if it fails.
define run
	printf '%s ... ' '$(1)'; began=$$(date +%s); \
	if output=$$( { $(2); } 2>&1 ); then echo "$$(( $$(date +%s) - began )) s"; \
	else echo failed; printf '%s\n' "$$output" >&2; exit 1; fi
endef

.venv/.python:
	@command -v $(PYTHON) >/dev/null || { echo "There is no '$(PYTHON)' here. Name a Python of 3.11 or later: make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$(PYTHON) is $$($(PYTHON) -V 2>&1), and Python 3.11 or later is needed. Name one: make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo "$(PYTHON) cannot make virtual environments. Debian and Ubuntu have that apart: apt install python3-venv" >&2; exit 1; }
	@$(call run,Creating .venv,$(PYTHON) -m venv .venv)
	@touch $@

.venv/.demo: .venv/.python pyproject.toml constraints.txt
	@$(call run,Installing the client$(COMMA) the command line and the emulator,$(PIP) hatchling && $(PIP) --no-build-isolation --editable '.[cli$(COMMA)emulator]')
	@touch $@

.venv/.test: .venv/.demo
	@$(call run,Installing what the tests need,$(PIP) --no-build-isolation --editable '.[all$(COMMA)test]')
	@touch $@

.venv/.dev: .venv/.test
	@$(call run,Installing the linters and type checkers,$(PIP) --no-build-isolation --editable '.[all$(COMMA)dev]')
	@touch $@

.venv/.browser: .venv/.test
	@$(call run,Installing the browser driver,$(PIP) --no-build-isolation --editable '.[all$(COMMA)browser]')
	@touch $@

.venv/.docs: .venv/.test
	@$(call run,Installing the documentation builder,$(PIP) --no-build-isolation --editable '.[docs]')
	@touch $@

.venv/.mutation: .venv/.test
	@$(call run,Installing the mutation tools,$(PIP) --no-build-isolation --editable '.[all$(COMMA)mutation]')
	@touch $@

.PHONY: setup
setup: .venv/.dev ## make .venv with everything the other targets need (PYTHON=... names another Python)
	@:

.PHONY: constraints
constraints: ## renew constraints.txt: the newest releases that pyproject.toml allows
	@rm -rf .venv-constraints
	@$(PYTHON) -m venv .venv-constraints
	@.venv-constraints/bin/python -m pip install --quiet --editable '.[all,dev,browser,docs,mutation]'
	@{ echo "# What development and CI install, each at one exact version. Renew it with: make constraints"; \
		.venv-constraints/bin/python -m pip freeze --exclude-editable | LC_ALL=C sort -f; } > constraints.txt.new
	@rm -rf .venv-constraints
	@mv constraints.txt.new constraints.txt

.PHONY: gen
gen: .venv/.dev ## write generated/ anew from the schema
	@$(BIN)/python -m generator

.PHONY: gen-check
gen-check: .venv/.dev ## is generated/ what the schema gives?
	@$(BIN)/python -m generator --check

.PHONY: evolutions
evolutions: .venv/.dev ## 200 changes of the schema and broken inputs: is each generated in full, or rejected? (ARGS='-k enum')
	@$(BIN)/python -m tests.generator.evolutions $(ARGS)

UPSTREAM := $(if $(RELEASE),--release '$(RELEASE)') $(if $(WHEEL),--wheel '$(WHEEL)') \
	$(if $(DESCRIPTORS),--descriptors '$(DESCRIPTORS)')

.PHONY: upstream
upstream: .venv/.test ## does the schema say what the vendor publishes? (RELEASE=1.1.0, WHEEL=FILE or DESCRIPTORS=FILE)
	@$(BIN)/python -m generator.upstream $(UPSTREAM)

.PHONY: upstream-apply
upstream-apply: .venv/.test ## write what the vendor publishes into the schema (the same arguments)
	@$(BIN)/python -m generator.upstream --apply $(UPSTREAM)

.PHONY: format
format: .venv/.dev ## format the code, and mend what the linter can mend
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format --quiet .

.PHONY: lint
lint: .venv/.dev ## is the code formatted, and does the linter agree?
	@$(BIN)/ruff format --quiet --check . || { echo "Not formatted (see above); this mends it: make format" >&2; exit 1; }
	@$(BIN)/ruff check --quiet .

.PHONY: types
types: .venv/.dev ## mypy and pyright, both strict
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/pyright --warnings > .venv/pyright.log || { cat .venv/pyright.log; exit 1; }

.PHONY: imports
imports: .venv/.dev ## do the packages import only what they may?
	@$(BIN)/lint-imports > .venv/imports.log || { cat .venv/imports.log; exit 1; }

.PHONY: test
test: .venv/.test ## all tests, on all cores (ARGS=tests/client for one area, ARGS='-k pool' for some tests)
	@$(BIN)/python -m pytest -q $(PARALLEL) $(ARGS)

.PHONY: campaigns
campaigns: .venv/.test ## the long tests at full size: thousands of faulted calls, load, kills (ARGS=tests/client)
	@$(BIN)/python -m pytest -q $(PARALLEL) --campaign $(ARGS)

.PHONY: contract
contract: .venv/.test ## does the emulator keep the contract? (ARGS='-k pool' for a part of it)
	@$(BIN)/python -m pytest -q tests/contract/test_emulator.py $(ARGS)

# The file's name keeps it out of `make test`: not every machine has a browser.
.PHONY: browser
browser: .venv/.browser ## the emulator's page in Chromium (CHROMIUM=... names another browser; ARGS='-k fault')
	@command -v $${CHROMIUM:-chromium} >/dev/null \
		|| { echo "There is no Chromium here. Install it (Debian: apt install chromium), or name one: make browser CHROMIUM=/path" >&2; exit 1; }
	@$(BIN)/python -m pytest -q $(PARALLEL) tests/browser/page.py $(ARGS)

.PHONY: load
load: .venv/.test ## the emulator under load for a minute and a half, and killed twenty times
	@$(BIN)/python -m pytest -q -s --campaign tests/emulator/test_load.py tests/emulator/test_durability.py

.PHONY: matrix
matrix: .venv/.dev ## the client's and generator's tests on all Pythons found, and with the lowest allowed releases (ARGS=3.12)
	@$(BIN)/python -m tests.interpreters $(ARGS)

.PHONY: check
check: lint types imports gen-check upstream docs test matrix ## lint, types, imports, gen-check, upstream, docs, test and matrix, as CI does

# The vendor's clients, each in an environment of its own: the two cannot be installed side by side.
INTEROP := $(patsubst tests/interop/%.txt,.venv-interop/%/set-up,$(wildcard tests/interop/*.txt))

.venv-interop/%/set-up: tests/interop/%.txt
	@echo "Setting up $(@D) ..."
	@$(PYTHON) -m venv --clear $(@D)
	@$(@D)/bin/python -m pip install --quiet --requirement $<
	@touch $@

.PHONY: interop
interop: .venv/.test $(INTEROP) ## the vendor's own clients, unmodified, against the emulator
	@$(BIN)/python -m tests.interop

.PHONY: fuzz
fuzz: .venv/.test ## 100,000 hostile requests to the emulator (ARGS='--requests 1000 --seed 1')
	@$(BIN)/python -m tests.emulator.fuzzing $(ARGS)

.PHONY: mutants
mutants: .venv/.test ## what the contract kit finds in 283 buggy emulators, and in correct servers (half an hour; ARGS='--seeds 1')
	@$(BIN)/python -m tests.contract.mutants $(ARGS)

.PHONY: mutation
mutation: .venv/.mutation ## how many of 300 small changes to the code the tests notice (an hour; ARGS='--area client')
	@$(BIN)/python -m tests.mutation $(ARGS)

.PHONY: bench
bench: .venv/.test ## how fast the models decode and the emulator answers (a few minutes)
	@$(BIN)/python -m tests.benchmarks

# The client as its users have it: httpx imports more where trio, click or rich are installed.
.venv-peers/.set-up: pyproject.toml constraints.txt
	@echo "Setting up $(@D) ..."
	@$(PYTHON) -m venv --clear $(@D)
	@$(@D)/bin/python -m pip install --quiet --constraint constraints.txt hatchling
	@$(@D)/bin/python -m pip install --quiet --constraint constraints.txt --no-build-isolation --editable '.[fast]'
	@touch $@

.PHONY: peers
peers: .venv/.test .venv-peers/.set-up $(INTEROP) ## the CPU time of our client beside that of the vendor's (a few minutes; ARGS='-k list --rounds 9')
	@$(BIN)/python -m tests.peers $(ARGS)

.PHONY: docs
docs: .venv/.docs ## build the documentation into build/site/, without a network; a warning is an error
	@$(BIN)/python -m docs.builder

.PHONY: demo
demo: .venv/.demo ## the client at work on the bundled emulator (ARGS='--help' tells more)
	@$(BIN)/prebuilds demo $(ARGS)

.PHONY: emulator
emulator: .venv/.demo ## run the emulator on a free port (ARGS='--port 8080')
	@$(BIN)/prebuilds emulator $(ARGS)

.PHONY: clean
clean: ## remove .venv and everything the tools left behind
	@rm -rf .venv .venv-interop .venv-matrix .venv-peers .cache .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
