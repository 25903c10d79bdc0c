# One command per task, the same on every machine and in CI. `make help` lists them.
PYTHON ?= python3
PORT ?= 8000
# One more than there are cores: tests often wait.
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
VENV := .venv
BIN := $(VENV)/bin
# For the projects of the tests with Django 6, where $(VENV) has an older one.
DJANGO6 := .venv-django6
INSTALL := -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
PIP := $(BIN)/python $(INSTALL)
HAS_DJANGO6 := $(BIN)/python -c 'import django, sys; sys.exit(django.VERSION < (6,))'
IMAGE ?= djwsbridge
# Node.js 18 has CustomEvent behind this flag; newer ones ignore it.
NODE_TEST := node --experimental-global-customevent --test
# Whole files, in the order in which they are collected: long ones first.
SHARE := --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder
TEST_PROGRAMS := chromium-headless-shell,chromium,chromium-browser,google-chrome:chromium redis-server:redis-server \
	postgres:postgresql nginx:nginx-light node:nodejs wget:wget

.DEFAULT_GOAL := help
# `make bench BENCH="fanout --rounds 5"` for one question only.
BENCH ?= all
.PHONY: help run test test-slow venv-django6 test-faults test-fuzz bench bench-smoke coverage check format docs image lock clean

help: ## Say what each target does
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' Makefile | expand -t 15

run: $(VENV)/site.stamp ## Serve the chat with demo data at http://127.0.0.1:8000 (PORT=8001 for another)
	@$(BIN)/python scripts/run.py $(PORT)

# Else each of hundreds of processes would compile the package for itself.
test test-slow test-faults coverage: export PYTHONDONTWRITEBYTECODE :=

test: $(VENV)/dev.stamp ## Run the tests, with real servers and a real browser (under 12 minutes on two cores)
	@scripts/need $(TEST_PROGRAMS)
	$(BIN)/python -m pytest $(SHARE)
	$(BIN)/python -m pytest $(SHARE) --database postgresql -m database
	$(NODE_TEST) $(wildcard tests/js/*.test.js)

test-slow: $(VENV)/dev.stamp ## Run what else must hold before a release: whole projects, every server, every journey
	@scripts/need $(TEST_PROGRAMS)
	@$(HAS_DJANGO6) || $(MAKE) --no-print-directory venv-django6 || true # then its tests say what is missing
	$(BIN)/python -m pytest $(SHARE) -m "slow and not faults"

venv-django6: $(DJANGO6)/stamp ## Make the environment of the tests that need Django 6, and so Python 3.12 or newer

test-faults: $(VENV)/dev.stamp ## Run every fault, on every system, two at a time (half an hour, as root)
	@scripts/need $(TEST_PROGRAMS) cc:gcc
	rm -rf artifacts/faults
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal -m faults tests/faults; \
		status=$$?; sort -n artifacts/faults/table.txt; exit $$status

test-fuzz: $(VENV)/dev.stamp ## Give the decoders 100,000 frames each, and every server 10,000 (half an hour)
	$(BIN)/python -m pytest tests/fuzz/fuzz_frames.py

bench: $(VENV)/bench.stamp ## Measure us and our peers, and write benchmarks/results (about two hours)
	$(BIN)/python -m benchmarks $(BENCH)

bench-smoke: $(VENV)/dev.stamp ## See that the benchmarks work, in less than a minute
	@scripts/need cc:gcc redis-server:redis-server
	$(BIN)/python -m benchmarks all --smoke --rounds 1 --seconds 0.3 \
		--systems djwsbridge ordinary floor --output build/benchmarks/smoke

coverage: $(VENV)/dev.stamp ## Run the Python tests and report what they did not reach
	@scripts/need $(TEST_PROGRAMS)
	@$(HAS_DJANGO6) || $(MAKE) --no-print-directory venv-django6 || true
	$(BIN)/python -m pytest $(SHARE) -m "not faults" --cov --cov-report=term

check: $(VENV)/dev.stamp node_modules/.package-lock.json ## Lint, types and import contracts
	$(BIN)/ruff check && $(BIN)/ruff format --check
	$(BIN)/mypy && $(BIN)/lint-imports
	$(BIN)/hadolint deploy/Dockerfile && npm run --silent typecheck

format: $(VENV)/dev.stamp ## Format the Python code and repair what ruff can
	$(BIN)/ruff check --fix && $(BIN)/ruff format

docs: $(VENV)/dev.stamp ## Build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

image: ## Build the container image with buildah (or BUILD="docker build")
	$(or $(BUILD),buildah build --format docker) --file deploy/Dockerfile --tag $(IMAGE) .

lock: $(VENV)/dev.stamp ## Choose the pinned versions again
	scripts/lock $(BIN)/python constraints.txt

clean: ## Remove what the other targets made, but not the demo database
	rm -rf $(VENV) $(DJANGO6) node_modules site dist build artifacts htmlcov .coverage* .*_cache staticfiles

$(BIN)/python:
	@scripts/venv $(PYTHON) $(VENV)

$(VENV)/site.stamp: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing the pinned dependencies ..."
	@$(PIP) pip && $(PIP) --group site --editable '.[redis,postgres,server,chat]' && touch $@

$(VENV)/dev.stamp: $(VENV)/site.stamp
	@echo "Installing the development tools ..."
	@$(PIP) --group dev && touch $@

$(DJANGO6)/stamp: pyproject.toml constraints.txt
	@echo "Installing Django 6 ..."
	@python=$$(scripts/python-3.12) && scripts/venv $$python $(DJANGO6)
	@$(DJANGO6)/bin/python $(INSTALL) pip
	@$(DJANGO6)/bin/python $(INSTALL) --group site --editable '.[redis,postgres,server,chat]' 'Django>=6,<7' && touch $@

$(VENV)/bench.stamp: $(VENV)/dev.stamp
	@scripts/need cc:gcc node:nodejs npm:npm redis-server:redis-server postgres:postgresql
	@$(PIP) --group bench && touch $@

node_modules/.package-lock.json: package.json package-lock.json
	@scripts/need npm:npm && npm ci --silent --no-audit --no-fund && touch $@
