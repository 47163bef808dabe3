# Every target builds .venv by itself, once per state of the requirements files; afterwards it starts at once.
.DEFAULT_GOAL := help
.PHONY: help run test acceptance lint lock soak bench mutants clean

# The first Python on this machine that is new enough; `make PYTHON=… run` picks another.
PYTHON ?= $(shell for candidate in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$candidate && break; done)
BIN := .venv/bin
RUNTIME := .venv/.runtime-$(shell cksum < requirements.txt | cut -d' ' -f1)
DEVELOPMENT := .venv/.development-$(shell cksum < requirements-dev.txt | cut -d' ' -f1)
# uv where it is there, since it takes a tenth of pip's time, else or where it fails pip. Both refuse a package whose hash
# is not the locked one.
OPTIONS := --quiet --require-hashes -r
install = $(if $(shell command -v uv),uv pip install --python $(BIN)/python $(OPTIONS) $(1) ||) \
	$(BIN)/python -m pip install --disable-pip-version-check $(OPTIONS) $(1)
# Production as .env.example shows it, with an invented key for each secret.
PRODUCTION := ENV_FILE=.env.example DEBUG=False SECRET_KEY=$$($(BIN)/python -c 'import secrets; print(secrets.token_urlsafe(50))') \
	OPENAI_API_KEY=an-invented-key TELEGRAM_BOT_TOKEN=1:an-invented-token TELEGRAM_WEBHOOK_SECRET=an-invented-secret \
	BEHIND_PROXY=True DATABASE_URL=postgres://nobody@localhost/nothing REDIS_URL=redis://localhost/0

# A virtual environment whose Python has gone, or is not the one that PYTHON=… names, is built anew.
$(shell $(BIN)/python -c '' 2>/dev/null || rm -f .venv/.runtime-* .venv/.development-*)
ifneq ($(origin PYTHON),file)
ifneq ($(shell $(PYTHON) -c 'print(1)' 2>&1),1)
$(error PYTHON is $(PYTHON), which is no Python that runs)
endif
VERSION := -c 'import sys; print(sys.version)'
$(shell wanted=$$($(PYTHON) $(VERSION)) && [ "$$wanted" != "$$($(BIN)/python $(VERSION) 2>/dev/null)" ] && \
	rm -f .venv/.runtime-* .venv/.development-* $(BIN)/python)
endif

help: ## Show these lines
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1	\2/p' $(MAKEFILE_LIST) | expand -t 17

run: $(RUNTIME) ## Start everything in this terminal: http://localhost:8000
	@$(BIN)/python -m aibot.firstrun
	@exec $(BIN)/python manage.py run

# Without ARGS the first run counts lines; the second would only add the few that differ on PostgreSQL. The second mostly
# waits (for locks, pauses, processes that are killed), so both run at once, and it is printed after the first.
COVERAGE := -m slipcover --source aibot,providers,requests_app,telegram_bot --omit '*/migrations/*' --skip-covered
ON_POSTGRESQL := $(BIN)/python -m tests.servers python -m pytest --database-only
test: $(DEVELOPMENT) ## Run the tests on SQLite, and those with a database on PostgreSQL and Valkey (ARGS="-k word")
ifdef ARGS
	$(BIN)/python -m pytest $(ARGS)
	$(ON_POSTGRESQL) $(ARGS)
else
	@log=$$(mktemp) && trap 'rm -f "$$log"' EXIT; $(ON_POSTGRESQL) >"$$log" 2>&1 & beside=$$!; \
	$(BIN)/python $(COVERAGE) -m pytest; on_sqlite=$$?; \
	echo "On PostgreSQL and Valkey:"; wait $$beside; on_postgresql=$$?; cat "$$log"; \
	exit $$((on_sqlite || on_postgresql))
endif

lint: $(DEVELOPMENT) ## Check style, requirements, deployment files, types, import directions, migrations, production settings
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python .ci/check_requirements.py
	$(BIN)/python .ci/check_deploy.py
	$(BIN)/python -m mypy
	$(BIN)/python $(BIN)/lint-imports --no-logo
	$(BIN)/python -m pip check --disable-pip-version-check
	@echo "manage.py makemigrations --check, manage.py check --deploy"; \
	DATA_DIR=$$(mktemp -d) && export DATA_DIR && trap 'rm -rf "$$DATA_DIR"' EXIT && \
	$(PRODUCTION) DATABASE_URL= $(BIN)/python manage.py makemigrations --check --dry-run && \
	$(PRODUCTION) $(BIN)/python manage.py check --deploy --fail-level WARNING

# --universal: one file for every Python from 3.11 on and every system.
lock: ## Compile requirements*.in into requirements*.txt, with the hash of everything that they bring along (needs uv)
	@command -v uv >/dev/null || { echo "make lock needs uv: pip install uv"; exit 1; }
	@for name in requirements requirements-dev; do uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-strip-extras --no-emit-index-url --custom-compile-command "make lock" $$name.in -o $$name.txt || exit 1; done

MINUTES ?= 20
soak: $(DEVELOPMENT) ## Kill, freeze and restart everything under traffic for MINUTES=20, then prove that nothing is lost
	@$(BIN)/python -m tests.proof.soak --minutes $(MINUTES) $(ARGS)

acceptance: $(DEVELOPMENT) ## Try what needs PgBouncer or libfaketime, or minutes; a missing program is a failure
	$(BIN)/python -m tests.servers python -m pytest tests/acceptance -m acceptance $(ARGS)

# With fsync, as in production.
bench: $(DEVELOPMENT) ## Measure, on the same servers as the tests
	@for name in chat requests service http_client jobs statistics pages retention; do echo "== $$name"; \
	POSTGRES_FSYNC=on $(BIN)/python -m tests.servers python -m tests.bench.$$name || exit 1; done

mutants: $(DEVELOPMENT) ## Break the promise on purpose, rule by rule, and show which test notices (ARGS=lease)
	@$(BIN)/python -m tests.servers python -m tests.proof.mutants $(ARGS)

clean: ## Remove the virtual environment; .env and the data in var/ stay
	rm -rf .venv

$(RUNTIME):
	@$(MAKE) -s --no-print-directory .venv/bin/python
	@$(call install,requirements.txt)
	@touch $@

$(DEVELOPMENT):
	@$(MAKE) -s --no-print-directory .venv/bin/python
	@$(call install,requirements-dev.txt)
	@touch $@ $(RUNTIME)

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed, and there is none in PATH. Install it, or name it: make PYTHON=/path/to/python3 run"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) has no venv module. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@echo "Building .venv; this takes about a minute, once."
	@$(PYTHON) -m venv --clear .venv
