# One surface for every routine. `make` lists the targets.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
RUN := $(VENV)/.runtime-installed
DEV := $(VENV)/.dev-installed
PEERS := $(VENV)/.bench-installed

.DEFAULT_GOAL := help
.PHONY: help setup demo console test lint check format bench clean lock release api-server simulate fuzz audit manifests dashboards reference docs

help: ## List the targets
	@grep -hE '^[a-z%-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

setup: $(RUN) ## Set up .venv

$(VENV)/bin/python:
	@if [ -z "$(PYTHON)" ]; then echo "error: Python 3.11 or newer is needed; install it, or say make PYTHON=/path/to/python3" >&2; exit 1; fi
	$(PYTHON) -m venv $(VENV)

$(RUN): requirements.lock pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(DEV): $(RUN) requirements-dev.lock
	$(BIN)/python -m pip install --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

$(PEERS): $(DEV) requirements-bench.lock
	# The lock is complete; pip itself would refuse what pyproject.toml overrides (RecTools' bounds).
	$(BIN)/python -m pip install --disable-pip-version-check --require-hashes --no-deps -r requirements-bench.lock
	@touch $@

demo: $(RUN) ## Everything against a simulated shop, for three minutes at most (LEARN=1: until a model is promoted; KEEP=1: until stopped; CONSOLE=1: with a page that shows it)
	$(BIN)/veilstream demo $(if $(LEARN),--learn) $(if $(KEEP),--keep) $(if $(CONSOLE),--console)

console: $(RUN) ## The demo until it is stopped, with the console: a page that shows what runs
	$(BIN)/veilstream demo --keep --console

lint: $(DEV) ## Style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint ## Style, types, fast tests (of properties, a quarter of the examples)
	HYPOTHESIS_PROFILE=quick $(PYTEST) -q -m "not kafka and not slow"

# A process a core; the tests of a file stay together. What torch computes has one thread then.
PROCESSES ?= $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(PROCESSES) --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test: $(DEV) ## Every test (Apache Kafka's need Java 17 and Maven; LONG=1: the longest ones whole, for an hour)
	$(PYTEST)

SCHEDULES ?= 1000000
FIRST ?= 0
simulate: $(DEV) ## The delivery engine in a million simulated schedules (SCHEDULES=n, FIRST=seed)
	$(BIN)/python -m tests.simulation --schedules $(SCHEDULES) --first $(FIRST)

AUDIT := $(VENV)/audit
audit: | $(VENV)/bin/python ## Known vulnerabilities of what is pinned (asks the Python Package Index)
	$(BIN)/python -m venv $(AUDIT)
	$(AUDIT)/bin/python -m pip install --disable-pip-version-check -q pip-audit==2.10.1
	$(AUDIT)/bin/pip-audit --strict --disable-pip --no-deps -r requirements.lock
	$(AUDIT)/bin/pip-audit --strict --disable-pip --no-deps -r requirements-dev.lock

INPUTS ?= 1000000
fuzz: $(DEV) ## A million made-up inputs for everything that reads foreign bytes (INPUTS=n)
	$(BIN)/python -m tests.fuzz --inputs $(INPUTS)

format: $(DEV) ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: bench-anonymity bench-at-rest bench-audit bench-avro bench-consent bench-encoder bench-engines bench-finetune bench-large-catalogues bench-latency bench-lookup bench-pipeline bench-poison bench-privacy bench-pruning bench-quality bench-ranker bench-ranker-pipeline bench-scrub bench-search bench-simulated bench-sources bench-withdrawal ## Every benchmark

bench-%: $(PEERS) ## One benchmark: bench-anonymity, bench-at-rest, bench-audit, bench-avro, bench-consent, bench-encoder, bench-engines, bench-finetune, bench-gpu (needs a GPU), bench-large-catalogues, bench-latency, bench-lookup, bench-pipeline, bench-poison, bench-privacy, bench-pruning, bench-quality, bench-ranker, bench-ranker-pipeline, bench-scrub, bench-search, bench-simulated, bench-sources, bench-withdrawal
	$(BIN)/python -m benchmarks.$(subst -,_,$*)
	$(BIN)/python -m benchmarks.report

# Kafka's resources of k8s/ follow from the tables of topics and rights; overlays change what a cluster wants otherwise.
manifests: $(RUN) ## Write the topics and users of k8s/ anew, from the tables in the code
	VEILSTREAM_PARTITIONS=12 VEILSTREAM_REPLICATION=3 $(BIN)/veilstream topics strimzi --cluster veilstream > k8s/base/topics/kafkatopics.yaml
	$(BIN)/veilstream access acls --format strimzi --cluster veilstream > k8s/base/users/kafkausers.yaml

dashboards: $(DEV) ## Write dashboards anew from k8s/dashboards, and the alerts for compose.yaml
	$(BIN)/python -m k8s.dashboards
	$(BIN)/python -m k8s.compose

api-server: $(DEV) ## Build an API server of Kubernetes for the tests of k8s/, once (needs go; ten minutes, 3 GiB)
	$(BIN)/python -m tests.support.api_server

reference: $(RUN) ## Write the reference pages of docs/ anew, from the code
	$(BIN)/python -m docs.generator
	$(BIN)/veilstream metrics --markdown > docs/metrics.md

DOCS := $(VENV)/docs
SITE := build/docs
docs: $(RUN) requirements-docs.lock ## The documents as a site in build/docs/site, searchable offline
	$(BIN)/python -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install --disable-pip-version-check -q --require-hashes -r requirements-docs.lock
	mkdir -p $(SITE)
	$(BIN)/python -m docs.generator.site $(SITE)
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --strict --quiet --clean --config-file $(SITE)/mkdocs.yml

# The same commit gives the same bytes: build tools are pinned, and times are the commit's.
RELEASE := $(VENV)/release
release: $(DEV) ## A wheel, its bill of materials and their checksums, in dist/ (CONTRIBUTING.md says what comes before)
	$(BIN)/python -m pytest -q -p no:cacheprovider tests/schemas tests/test_release.py
	$(BIN)/python -m venv $(RELEASE)
	$(RELEASE)/bin/python -m pip install --disable-pip-version-check -q --require-hashes -r k8s/image/build.lock
	$(RELEASE)/bin/python -m pip install --disable-pip-version-check -q cyclonedx-bom==7.5.0
	rm -rf dist build/lib build/bdist.*
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(RELEASE)/bin/python -m pip wheel --disable-pip-version-check -q --no-deps --no-build-isolation -w dist .
	$(RELEASE)/bin/cyclonedx-py requirements --pyproject pyproject.toml --mc-type application --output-reproducible -o "$$(ls dist/*.whl).cdx.json" requirements.lock
	cd dist && sha256sum * > SHA256SUMS && cat SHA256SUMS

lock: ## Renew the lock files (needs uv and npm)
	uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes --no-annotate --no-header -q -o requirements.lock
	uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --group dev --generate-hashes --no-annotate --no-header -q -c requirements.lock -o requirements-dev.lock
	uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --group bench --generate-hashes --no-annotate --no-header -q -c requirements-dev.lock -o requirements-bench.lock
	uv pip compile --group docs --universal --python-version 3.11 --generate-hashes --no-annotate --no-header -q -o requirements-docs.lock
	uv pip compile docs/clients/python/requirements.in --universal --python-version 3.11 --generate-hashes --no-annotate --no-header -q -o docs/clients/python/requirements.txt
	echo "setuptools>=77" | uv pip compile - --universal --python-version 3.11 --generate-hashes --no-annotate --no-header -q -c requirements.lock -o k8s/image/build.lock
	uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-annotate --no-header -q -c requirements.lock -o k8s/image/worker.lock
	uv pip compile pyproject.toml --extra model --universal --python-version 3.11 --generate-hashes --no-annotate --no-header -q -c requirements.lock -o k8s/image/model.lock
	uv pip compile pyproject.toml --extra model --extra demo --universal --python-version 3.11 --generate-hashes --no-annotate --no-header -q -c requirements.lock -o k8s/image/demo.lock
	uv pip compile pyproject.toml --extra train --universal --python-version 3.11 --generate-hashes --no-annotate --no-header -q -c requirements.lock -o k8s/image/trainer.lock
	npm install --package-lock-only --no-audit --no-fund --prefix docs/clients/node

clean: ## Remove what was built and what demos and tests left; .venv stays
	rm -rf var build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
