# Everything a person does with this project. Each target first sets up what it needs, inside this folder only:
# .venv (development, tests, the application on one machine), .build/emulator and .build/sam. An environment is made again
# or brought up to date when its lock file changes.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

PYTHON311 ?= python3.11
python := .venv/bin/python
key = $(shell cat $(1) | sha256sum | cut -c1-16)
dev := .venv/.complete-$(call key,requirements/dev.txt pyproject.toml)
emulator := .build/emulator/.complete-$(call key,requirements/emulator.txt)
sam := .build/sam/.complete-$(call key,requirements/sam.txt)
region := $(or $(AWS_REGION),$(AWS_DEFAULT_REGION),eu-central-1)
SAM := SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=$(region) PYTHON=$(CURDIR)/$(python) .build/sam/bin/sam

export PYTHONUNBUFFERED := 1

.PHONY: help
help: ## this list
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

.PHONY: run
run: $(dev) $(emulator) ## the application on this machine, with a live view of events and what became of them
	@exec $(python) -m local run

.PHONY: demo
demo: $(dev) $(emulator) ## the same without a terminal: sends the events under events/ and checks the outcomes
	@exec $(python) -m local demo

.PHONY: test
test: $(dev) $(emulator) $(sam) ## all tests; ARGS="-k name" chooses
	@exec $(python) -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder $(ARGS)

.PHONY: lint
lint: $(dev) $(emulator) $(sam) ## style, types, the rooms' order, and the template
	$(python) -m ruff check .
	$(python) -m ruff format --check .
	$(python) -m mypy
	PYTHONPATH=layers/shared:. .venv/bin/lint-imports --cache-dir .build/import-linter
	$(python) -m local.translation .build/translated.json
	.venv/bin/cfn-lint .build/translated.json
	$(SAM) validate --lint

.PHONY: format
format: $(dev) ## rewrites the code in the project's style, and copies the SSM documents into the template
	$(python) -m ruff check --fix-only --quiet .
	$(python) -m ruff format .
	$(python) -m local.documents

.PHONY: bench
bench: $(dev) $(emulator) ## one benchmark: NAME=imports
	@test -n "$(NAME)" || { echo "which? make bench NAME=$$(cd bench && ls -d *.py */ | sed 's/\.py$$//; s,/$$,,' | grep -v '^_' | paste -sd'|')"; exit 2; }
	@exec $(python) -m bench.$(NAME)

.PHONY: invoke
invoke: $(dev) $(emulator) $(sam) ## one function in a container: FUNCTION=clean_dangling_images EVENT=image_pushed.json
	@exec $(python) -m local.invoke "$(FUNCTION)" "$(EVENT)" $(ARGS)

.PHONY: deploy
deploy: $(dev) $(sam) ## to an AWS account: ENV=staging (see samconfig.toml)
	$(SAM) build --cached --parallel
	$(SAM) deploy --config-env $(or $(ENV),staging)

.PHONY: uninstall
uninstall: $(dev) $(sam) ## brings the stack of ENV=staging to rest and deletes it; the ledger stays. ARGS=--yes does not ask
	@AWS_DEFAULT_REGION=$(region) $(python) -m local.uninstall $(or $(ENV),staging) $(ARGS)
	$(SAM) delete --config-env $(or $(ENV),staging) $(if $(filter --yes --force,$(ARGS)),--no-prompts)

.PHONY: lock
lock: $(dev) ## writes the lock files; ARGS=--upgrade takes the newest versions
	$(python) requirements/lock.py $(ARGS)

.PHONY: clean
clean: ## removes all that was set up or built here; the state of the local application too
	rm -rf .venv .build .aws-sam .paydown .pytest_cache .hypothesis *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +

# ---- the environments ------------------------------------------------------------------------------------------------

.PHONY: machine
machine:
	@command -v $(PYTHON311) > /dev/null || { \
		echo "Python 3.11 is missing. Debian: apt-get install python3.11 python3.11-venv"; exit 1; }
	@$(PYTHON311) -c 'import ensurepip, venv' 2> /dev/null || { \
		echo "$(PYTHON311) cannot make environments. Debian: apt-get install python3.11-venv"; exit 1; }

# $(1) folder, $(2) lock file, $(3) the stamp, $(4) what it is for
define environment
	@echo "setting up $(4) in $(1)"
	@[ -x $(1)/bin/python ] || $(PYTHON311) -m venv $(1)
	@rm -f $(1)/.complete-*
	@$(1)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement $(2)
endef

$(dev): | machine
	$(call environment,.venv,requirements/dev.txt,$@,the tools and libraries)
	@PYTHONWARNINGS=ignore $(python) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(emulator): | machine
	$(call environment,.build/emulator,requirements/emulator.txt,$@,the AWS emulator)
	@touch $@

$(sam): | machine
	$(call environment,.build/sam,requirements/sam.txt,$@,the SAM CLI)
	@touch $@
