# One vocabulary for people and CI. On a fresh machine `make demo` and `make test` do all the set-up themselves.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO_HOME ?= demo_home
# LOCK=requirements.lock installs exactly what CI was tested with; empty: the newest versions within the bounds of pyproject.toml.
LOCK ?=

# Tests: one process a core, one file at a time in each. OMP_NUM_THREADS: their threads would only wait for each other.
export OMP_NUM_THREADS ?= 1
WORKERS ?= logical
PYTEST = $(BIN)/python -m pytest -q -n $(WORKERS) --maxprocesses=8 --dist=loadfile --no-loadscope-reorder --durations=15 -rs $(COVERAGE)
REST := slow or server or faults or soak or real_home
# One process more than cores where tests that wait for servers are among the others.
MORE_WORKERS ?= $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 1)')
TESTS ?= taskclf_dagster_tests
# How much of these packages their own tests run. Elsewhere, Dagster makes so many calls that tracing them would double the time.
MEASURED := domain config
COVERED := 95

.DEFAULT_GOAL := help
.PHONY: help install demo dev test test-rest test-both test-long test-all test-sabotage test-faults soak check format lock bench clean

help: ## Show this list.
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 14

install: $(VENV)/installed ## Make a virtual environment and install the project into it.

$(VENV)/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	@$(if $(LOCK),$(BIN)/python -m pip install --quiet --no-compile --require-hashes --requirement $(LOCK))
	$(BIN)/python -m pip install --quiet --no-compile $(if $(LOCK),--no-deps) --editable '.[dev]'
	@$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true # pip would compile on one core; some libraries ship files that do not compile
	@touch $@

demo: install ## Set up, write a demo home, retrain on it, and say where to look.
	$(BIN)/taskclf-dagster demo $(DEMO_HOME)
	$(BIN)/taskclf-dagster retrain --home $(DEMO_HOME) --config configs/demo.yaml
	@echo
	@echo 'Look at it:    make dev     then open http://127.0.0.1:3000/retrain'
	@echo 'A week later:  $(BIN)/taskclf-dagster demo $(DEMO_HOME) --extend 7   and retrain as it says'

dev: install ## Show the demo home in the browser; for your own, `taskclf-dagster serve`.
	$(BIN)/taskclf-dagster serve --home $(DEMO_HOME) --config configs/demo.yaml

test: install ## Run the tests of a change, all that take neither servers nor minutes.
	$(PYTEST) -m 'not ($(REST) or long)' $(TESTS)

test-rest: install ## Run the others: real servers, retrains that are killed, faults, simulated days.
	$(PYTEST) -m '($(REST)) and not long'

test-both: WORKERS = $(MORE_WORKERS)
test-both: install ## Run both in one session, which takes less time: some tests compute while others wait for a server.
	$(PYTEST) -m 'not long'

test-long: install ## Run the tests that take minutes.
	$(PYTEST) -m long

test-all: ## Run all tests, and see how much of domain and config their own tests run.
	rm -f .coverage .coverage.*
	$(MAKE) test TESTS='$(MEASURED:%=taskclf_dagster_tests/%)' COVERAGE='$(MEASURED:%=--cov=taskclf_dagster/%) --cov-report='
	$(MAKE) test TESTS='$(MEASURED:%=--ignore=taskclf_dagster_tests/%) taskclf_dagster_tests'
	$(MAKE) test-rest
	$(MAKE) test-long
	$(MAKE) test-sabotage
	$(BIN)/coverage report --skip-covered --fail-under=$(COVERED)

test-sabotage: install ## Remove each protection of a list from a copy, and run the test that must notice (three minutes).
	$(BIN)/python -m taskclf_dagster_tests.sabotage.run

test-faults: install ## Break the registry at every call, in every order, by SIGKILL and by edited files (some minutes).
	TASKCLF_DAGSTER_ALL_FAULTS=1 $(PYTEST) taskclf_dagster_tests/faults taskclf_dagster_tests/cycle/test_edited_files.py

soak: install ## Sixty simulated days: labels, drift, bad days, power cuts, rollbacks (some minutes).
	TASKCLF_DAGSTER_SOAK=1 $(BIN)/python -m pytest -q -s taskclf_dagster_tests/soak

check: install ## Lint, check types and import directions, load the definitions. The same as pre-commit.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/dg check defs

format: install ## Format the code.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: install ## Renew requirements.lock: names, versions and hashes, without host names.
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --upgrade --no-strip-extras --generate-hashes --no-emit-index-url \
		--no-annotate --no-header --all-extras --output-file requirements.lock pyproject.toml

bench: install ## Count the files that a retrain opens, time the domain path beside LightGBM itself, and see how both grow (two hours).
	$(BIN)/python benchmarks/opens.py
	$(BIN)/python benchmarks/run.py
	$(BIN)/python benchmarks/scale.py
	$(BIN)/python benchmarks/scale.py --sizes 10000000:1000 --rounds 2
	$(BIN)/python benchmarks/scale.py --compare
	$(BIN)/python benchmarks/homes.py

clean: ## Remove the virtual environment, the demo home and Dagster's history.
	rm -rf $(VENV) $(DEMO_HOME) .coverage .dagster .tmp_dagster_home_*
