# Each target does its own set-up: the virtual environment, what it needs from the package index, the
# extension module. Nothing is built again unless its sources changed.

PYTHON ?= python3
VENV ?= .venv
# Hypothesis profile of `make test`: default, ci, sanitizers or soak; see tests/conftest.py.
PROFILE ?= default
# Further arguments for pytest, or for `seqstore demo`.
ARGS ?=
# Processes that tests run in, unless ARGS names files.
JOBS ?= auto
export JOBS

run := $(VENV)/bin/python
pip := $(run) -m pip --quiet --disable-pip-version-check
native := $(wildcard src/seqstore/_native/*.c src/seqstore/_native/*.h src/seqstore/_native/*.py)

# The folder that a target runs, unless ARGS names files of its own.
unless_given = $(if $(findstring .py,$(ARGS)),,$(1))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test lint format types sanitizers coverage bench soak docs-check wheel build clean always
.PHONY: bugs plants fuzz

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "  PYTHON=python3.12 chooses the interpreter, ARGS=... goes to pytest or to the demo."

demo: $(VENV)/.built ## the story of a deletion, told on real files (ARGS="PATH" for your own)
	@$(run) -m seqstore demo $(ARGS)

test: $(VENV)/.built $(VENV)/.group-test ## the quick test suite
	$(run) -m pytest --hypothesis-profile=$(PROFILE) $(call unless_given,-n $(JOBS) --dist worksteal) $(ARGS)

lint: $(VENV)/.group-dev ## ruff: rules and format
	$(run) -m ruff check .
	$(run) -m ruff format --check .

format: $(VENV)/.group-dev ## let ruff mend what it can
	$(run) -m ruff check --fix .
	$(run) -m ruff format .

types: $(VENV)/.built $(VENV)/.group-dev ## mypy --strict
	$(run) -m mypy

sanitizers: $(VENV)/.built $(VENV)/.group-dev ## the test suite under ASan and UBSan, warnings as errors
	PYTHON=$(run) scripts/run_sanitizers.sh $(ARGS)

coverage: $(VENV)/.built $(VENV)/.group-dev ## lines and branches that the tests reach, in C and in Python
	PYTHON=$(run) scripts/run_coverage.sh $(ARGS)

bench: $(VENV)/.built $(VENV)/.group-dev ## the benchmarks, beside their peers
	$(run) -m pytest $(call unless_given,benchmarks) $(ARGS)

# A soak prints its seed; `make soak SEED=...` then tries the same examples again.
SEED ?= $(shell od -An -N4 -tu4 /dev/urandom | tr -d ' ')
soak: $(VENV)/.built $(VENV)/.group-test ## property, format and crash tests, for hours (SEED=... repeats one)
	$(run) -m pytest -m "" --hypothesis-profile=soak --hypothesis-seed=$(SEED) \
		$(call unless_given,tests/property tests/format tests/crash tests/invariants tests/simulation) $(ARGS)

bugs: $(VENV)/.built $(VENV)/.group-test ## which seeded bugs the isolation kit finds, and how fast (ARGS="--seeds 5")
	$(run) -m seqstore.testing.bugs --write docs/reference/seeded-bugs.md $(ARGS)

plants: $(VENV)/.built $(VENV)/.group-dev ## the same for bugs planted in the C core, one build each (ARGS="--seeds 2")
	$(run) scripts/plants.py --write docs/reference/seeded-bugs.md $(ARGS)

SECONDS ?= 60
fuzz: ## drives damaged on purpose, opened under sanitizers for SECONDS=60
	scripts/fuzz.sh $(SECONDS)

docs-check: $(VENV)/.built $(VENV)/.group-test ## run the code blocks of README.md and docs/
	$(run) -m pytest tests/test_docs.py $(ARGS)

wheel: $(VENV)/.group-dev ## build the sdist and the wheel, and try the wheel in an empty environment
	PYTHON=$(run) scripts/check_wheel.sh

build: $(VENV)/.built ## the virtual environment with seqstore in it, editable

clean: ## remove everything that the other targets made
	rm -rf $(VENV) build dist src/seqstore.egg-info src/seqstore/_native/_core.*.so
	rm -rf .pytest_cache .mypy_cache .ruff_cache .benchmarks .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The recipe always runs and touches the file only when the environment had to be made anew.
always:
$(VENV)/.created: always
	@scripts/create_venv.sh "$(PYTHON)" "$(VENV)"

core := $(wildcard src/seqstore/_native/_core.*.so)
$(VENV)/.built: $(VENV)/.created pyproject.toml setup.py $(native) $(if $(core),,always)
	@echo "Building seqstore"
	@$(pip) install --editable '.[cli]'
	@touch $@

$(VENV)/.group-%: $(VENV)/.created pyproject.toml
	@echo "Installing the tools of '$*'"
	@$(pip) install --group $*
	@touch $@
