# Every target sets itself up: nothing but python3 (3.11+), python3-venv and make is needed.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
# The local identity provider is a program of somebody else, with packages of its own.
IDP_VENV := .venv-idp
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --no-input
JOBS ?= 2
export PIP_ONLY_BINARY := :all:

.DEFAULT_GOAL := help
.PHONY: help demo demo-idp up doctor test test-postgres lint bench screenshots protos openapi clean

help:  ## Show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; %s is %s." % (sys.executable, sys.version.split()[0]) if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv $(VENV) || { echo "Could not make $(VENV): install python3-venv." >&2; rm -rf $(VENV); exit 1; }

$(VENV)/.installed: requirements.txt $(VENV)/bin/python
	@echo "Installing into $(VENV) …"
	@$(PIP) install --quiet -r requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt requirements.txt $(VENV)/.installed
	@echo "Installing the development tools into $(VENV) …"
	@$(PIP) install --quiet -r requirements-dev.txt
	@touch $@

$(IDP_VENV)/.installed: requirements-idp.txt
	@echo "Installing a local identity provider into $(IDP_VENV) …"
	@$(PYTHON) -m venv $(IDP_VENV) || { echo "Could not make $(IDP_VENV): install python3-venv." >&2; rm -rf $(IDP_VENV); exit 1; }
	@$(IDP_VENV)/bin/python -m pip --disable-pip-version-check --no-input install --quiet -r requirements-idp.txt
	@touch $@

demo: $(VENV)/.installed  ## Start everything and show the main job on real data (ARGS=--exit stops afterwards)
	@exec $(PY) manage.py demo $(ARGS)

demo-idp: $(VENV)/.installed $(IDP_VENV)/.installed  ## A local identity provider beside the demo, to try single sign-on
	@exec $(PY) manage.py demo_idp $(ARGS)

up: $(VENV)/.installed  ## Run the whole platform in the foreground
	@exec $(PY) manage.py up $(ARGS)

doctor: $(VENV)/.installed  ## Explain what is wrong with this machine
	@$(PY) manage.py doctor $(ARGS)

test: $(VENV)/.installed-dev $(IDP_VENV)/.installed  ## The whole test suite on SQLite and the embedded queue
	@env -u DATABASE_URL -u REDIS_URL $(PY) -m pytest -n $(JOBS) $(ARGS)

# What knows no database, or only looks at pages that other tests ask for too, runs once: in `test`.
NO_DATABASE := tests/browser tests/dataplane tests/kms

test-postgres: $(VENV)/.installed-dev $(IDP_VENV)/.installed  ## Everything that knows a database on PostgreSQL and Redis (DATABASE_URL, REDIS_URL)
	@DATABASE_URL=$${DATABASE_URL:-postgres://root@127.0.0.1:5432/test} \
	  REDIS_URL=$${REDIS_URL:-redis://127.0.0.1:6379/0} $(PY) -m pytest -n $(JOBS) $(NO_DATABASE:%=--ignore=%) $(ARGS)

lint: $(VENV)/.installed-dev  ## Style, types, import rules, templates, generated files
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy .
	@$(VENV)/bin/lint-imports
	@$(VENV)/bin/djlint --check --lint --quiet templates
	@$(PY) -m protos.generate --check
	@$(PY) manage.py makemigrations --check --dry-run
	@$(PY) manage.py openapi --check

bench: $(VENV)/.installed-dev  ## Measure the budgets, as ratios within one run
	@$(PIP) install --quiet -r benchmarks/requirements.txt
	@$(PY) -m benchmarks $(ARGS)

screenshots: $(VENV)/.installed-dev $(IDP_VENV)/.installed  ## Every page of the dashboard as a picture, into docs/screenshots/ (needs Chromium)
	@rm -rf docs/screenshots
	@$(PY) -m pytest -q -n0 tests/browser/screenshots.py

protos: $(VENV)/.installed-dev  ## Generate the stubs and the gateway's descriptor again
	@$(PY) -m protos.generate

openapi: $(VENV)/.installed  ## Write docs/openapi.json, the description of the REST API, again
	@$(PY) manage.py openapi

clean:  ## Remove what was installed and generated; the platform's data in var/ stays
	@rm -rf $(VENV) $(IDP_VENV) .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis htmlcov .coverage
