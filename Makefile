# Everything happens in .venv, which these targets make and keep up to date by themselves.
# Needs python3 (3.11 or newer, with venv), make and git.

PYTHON ?= python3
PORT ?= 10000
HTTPS ?= 8443
PYTEST_ARGS ?=
BENCH_ARGS ?=
ATTACK_ARGS ?=
TARGETS ?= request response chunked target connection
FUZZ_TIME ?= 60

BIN := .venv/bin
TREE := setup.py setup.cfg pyproject.toml README.md ipyproxy twisted tests fuzz benchmarks docs etc packaging
SOURCES := $(shell find $(TREE) -type f -not -name '*.pyc' -not -name '*.cache' -not -path 'docs/_build/*')
METADATA := setup.cfg pyproject.toml ipyproxy/__init__.py
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help run test unit compiled test-compiled soak attacks conformance fuzz lint types schema docs bench bench-growth bench-lab bench-hub clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

run: .venv/.demo ## a real JupyterLab behind ipyproxy; prints the URL to open (PORT=10000 HTTPS=8443)
	@$(BIN)/python -m ipyproxy.cli.demo --port $(PORT) --https $(HTTPS)

test: .venv/.test .venv-sslyze/.made ## the whole test suite (PYTEST_ARGS="-k routes")
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

unit: .venv/.test ## the fast tests, without JupyterLab and browsers: about a minute
	@$(BIN)/python -m pytest -m "not soak and not integration" $(PYTEST_ARGS)

compiled: build/compiled/.made ## the code as it is deployed, compiled, beside its tests in build/compiled

build/compiled/.made: .venv/.dev $(SOURCES)
	@rm -rf build/compiled && mkdir -p build/compiled
	@cp -r $(TREE) build/compiled
	@echo "Compiling; it takes a minute or two"
	@cd build/compiled && IPYPROXY_COMPILE=1 $(CURDIR)/$(BIN)/python setup.py --quiet build_ext --inplace
	@touch $@

test-compiled: compiled ## the test suite on that, less what needs plain Python, or is of packaging
	@cd build/compiled && $(CURDIR)/$(BIN)/python -m pytest -m "not soak and not plain" \
		--ignore tests/test_packaging.py --ignore tests/test_debian.py $(PYTEST_ARGS)

soak: .venv/.test .venv-sslyze/.made ## the long forms, one by one by name: two hours and more
	@$(BIN)/python -m pytest -m soak -v -o console_output_style=count --durations=0 \
		--durations-min=1 $(PYTEST_ARGS)

attacks: .venv/.test compiled ## what a good user waits meanwhile, beside nginx (ATTACK_ARGS="--only 2")
	@$(BIN)/python -m tests.attacks --tree . --tree build/compiled --nginx $(ATTACK_ARGS)

conformance: .venv/.test ## all of Autobahn's test suite through the proxy; writes docs/conformance.md
	@$(BIN)/python -m tests.conformance

fuzz: .venv/.fuzz ## atheris over heads, chunks, targets, connections (FUZZ_TIME=60 each)
	@set -e; for target in $(TARGETS); do echo "== $$target"; \
		$(BIN)/python -m fuzz $$target -max_total_time=$(FUZZ_TIME); done

lint: .venv/.dev ## ruff, and import-linter for the layers
	$(BIN)/ruff check .
	$(BIN)/lint-imports

types: .venv/.dev ## mypy, strict
	$(BIN)/mypy

schema: .venv/.dev ## etc/ipyproxy.schema.json anew, after a change of the configuration's tables
	$(BIN)/python -m ipyproxy.config.schema etc/ipyproxy.toml >etc/ipyproxy.schema.json

docs: .venv/.docs ## docs/ as a site in docs/_build; a link that leads nowhere is an error
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build

bench: .venv/.bench compiled ## side by side with nginx, HAProxy, Apache, ... (BENCH_ARGS="--quick")
	@$(BIN)/python -m benchmarks $(BENCH_ARGS)

bench-growth: .venv/.bench compiled ## by connections and upstreams, beside nginx; writes docs/benchmarks-growth.md
	@$(BIN)/python -m benchmarks.growth --write $(BENCH_ARGS)

bench-lab: .venv/.bench compiled ## opening JupyterLab over a slow line (BENCH_ARGS="--rounds 1 --links 100/10")
	@$(BIN)/python -m benchmarks.lab --write $(BENCH_ARGS)

bench-hub: .venv/.bench compiled ## as a JupyterHub's proxy, beside its own (BENCH_ARGS="--rounds 3")
	@$(BIN)/python -m benchmarks.hub $(BENCH_ARGS)

clean: ## removes .venv and everything that was built
	rm -rf .venv .venv-sslyze .venv-apps build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -rf .import_linter_cache _trial_temp* twistd.pid twisted/plugins/dropin.cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "ipyproxy needs Python 3.11 or newer; name one: make PYTHON=python3.11 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || \
		{ echo "python3 has no venv: apt-get install python3-venv" >&2; exit 1; }
	@echo "Making .venv"
	@$(PYTHON) -m venv --clear .venv
	@touch $@

# sslyze wants an older cryptography than the proxy does, so it lives by itself.
.venv-sslyze/.made: .venv/.made
	@$(PYTHON) -m venv --clear .venv-sslyze
	@.venv-sslyze/bin/python -m pip install --quiet 'sslyze>=6.3' || \
		echo "sslyze cannot be had here: its test will be skipped"
	@touch $@

# A stamp .venv/.EXTRA says that this extra of setup.cfg is installed as it stands there now.
.venv/.%: .venv/.made $(METADATA)
	@echo "Installing what 'make' needs for $* into .venv; the first time takes a minute or two"
	@$(BIN)/python -m pip install --editable '.[$*]'
	@touch $@
