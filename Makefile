# Needs Python 3.11 or later and a network for packages; everything goes into .venv.
#   make run ARGS="--port 8081"    make test ARGS="-k settings"    make PYTHON=python3.12 check

PYTHON ?= python3
ARGS ?=
# One more than there are cores: many tests wait for a server.
JOBS ?= $(shell echo $$(( $$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2) + 1 )))

VENV := .venv
BROWSER := chromium fonts-liberation fonts-dejavu-core
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-warn-script-location

.DEFAULT_GOAL := run
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: run test coverage fuzz soak check bench strace chromium clean

run: $(VENV)/.installed-run
	exec $(BIN)/runlog serve --data-dir var $(ARGS)

# By file, so that the tests of one file share their server.
test: $(VENV)/.installed-test strace chromium
	$(BIN)/python -m pytest -q -ra -n $(JOBS) --maxprocesses 4 --dist loadfile --cov --cov-branch --cov-report=term $(ARGS)

# What the servers and commands run that the tests start counts too; slower.
coverage: $(VENV)/.installed-test strace chromium
	awk '{ print } $$0 == "branch = true" { print "patch = [\"subprocess\", \"_exit\"]" }' pyproject.toml > $(VENV)/coverage.toml
	$(MAKE) test ARGS='--cov-config=$(VENV)/coverage.toml $(ARGS)'

# The server against its own OpenAPI document and against bare bytes, with many more requests than `make test`: minutes.
fuzz: $(VENV)/.installed-test
	FUZZ=1 $(BIN)/python -m pytest -q -ra -n $(JOBS) --maxprocesses 4 tests/api/http/test_schemathesis.py tests/faults/test_hostile.py $(ARGS)

# The whole of what `make test` samples: hours. docs/faults.md tells of what.
soak: $(VENV)/.installed-test strace
	SOAK=1 $(BIN)/python -m pytest -q -ra -n $(JOBS) --maxprocesses 4 tests/eventlog/test_crash.py tests/eventlog/test_crash_words.py tests/faults tests/model $(ARGS)

check: $(VENV)/.installed-dev
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m ruff check .
	$(BIN)/python -m mypy --strict
	$(BIN)/python .ci/audit.py

bench: $(VENV)/.installed-run
	$(BIN)/python -m bench $(ARGS)

# The tests that fail the disk under a real process leave themselves out without it, each with its reason.
strace:
	@command -v strace >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && \
		export DEBIAN_FRONTEND=noninteractive && \
		{ apt-get install -qq -y strace || { apt-get update -qq && apt-get install -qq -y strace; }; } >/dev/null 2>&1; } || \
		echo "strace is missing and could not be installed (that needs Debian and root): the tests marked" \
			"'strace', which make the disk fail under a real process, are left out."

# The same for the tests of the pages, which look at them with a real browser.
chromium:
	@command -v chromium >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && \
		export DEBIAN_FRONTEND=noninteractive && \
		{ apt-get install -qq -y --no-install-recommends $(BROWSER) || \
			{ apt-get update -qq && apt-get install -qq -y --no-install-recommends $(BROWSER); }; } >/dev/null 2>&1; } || \
		echo "chromium is missing and could not be installed (that needs Debian and root): the tests of the pages" \
			"in a browser are left out."

# Installed anew when what is to be installed has changed; one stamp for each set of packages.
# The producers' client is a distribution of its own: a server needs nothing of it, its tests and checks do.
$(VENV)/.installed-run: WHAT := --editable .
$(VENV)/.installed-test: WHAT := --editable ".[test]" --editable ./client
$(VENV)/.installed-dev: WHAT := --editable ".[dev]" --editable ./client
$(VENV)/.installed-%: pyproject.toml client/pyproject.toml constraints.txt $(BIN)/python
	$(PIP) --constraint constraints.txt $(WHAT)
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Runlog needs Python 3.11 or later: name it with make PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

# Never var/: that is data.
clean:
	rm -rf $(VENV) build dist *.egg-info client/build client/*.egg-info .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find eventlog projections api client tests bench -name __pycache__ -type d -prune -exec rm -rf {} +
