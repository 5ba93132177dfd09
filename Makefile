# make run     a demo site in ./demo, on loopback           make test    everything; what could not run is listed at the end
# make setup   only sets up .venv                           make check   lint, types, import directions, unit tests: 2 minutes
# make bench   measure, beside other servers if they exist  make fuzz    coverage-guided fuzzing of every parser
# make soak    the long tests                               make clean   removes what these made (and ./demo, ./cluster* not)
# make cluster nodes of every kind in ./cluster, on loopback: PostgreSQL, a dynamic and two static pools, directory, frontends, MX
# make cluster-static  the same in ./cluster-static without PostgreSQL, so without the dynamic pool

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.complete
FAST := $(shell test -w /dev/shm && echo /dev/shm || echo $${TMPDIR:-/tmp})

.PHONY: setup run cluster cluster-static test check bench fuzz soak docs wheel constraints clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Rookery needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; try make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

run: setup
	@$(BIN)/rookery demo demo

cluster: setup
	@$(BIN)/rookery cluster try cluster

cluster-static: setup
	@$(BIN)/rookery cluster try --static cluster-static

test: setup
	@tests/debian-packages
	$(BIN)/python -m pytest

# quicker than 'make test': files in memory where that can be, and the power is cut at each seventh step, not at all
check: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	SPARSE=7 TMPDIR=$(FAST) $(BIN)/python -m pytest -q -m "not journey and not crash and not postgres and not root and not soak"

bench: setup
	$(BIN)/python -m bench

fuzz: setup
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt 'atheris' \
		|| echo "no atheris for this Python: the mutations are random, not guided by coverage"
	$(BIN)/python -m fuzz

soak: setup
	@tests/debian-packages
	$(BIN)/python -m pytest -m soak

# the pages that are made from the code; a test compares them
docs: setup
	$(BIN)/python -m rookery.management.docs docs

wheel: setup
	$(BIN)/python -m build --wheel --no-isolation

constraints: setup
	@{ echo "# Every version the tests were run with; no addresses. Made by 'make constraints'."; $(BIN)/python -m pip freeze --all | grep -viE '^(pip|rookery)==' | grep -vE '^-e| @ '; } > constraints.txt

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
