# `make demo` and `make test` need Python 3.11 or newer and make; both set up .venv themselves.
# Another interpreter: `make PYTHON=python3.12 test`. Start over: `make clean`.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
OUT ?=
ROUNDS ?= 500
COVERAGE_FLOOR ?= 80
export OMP_NUM_THREADS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help demo federation test quick slow cuda audit coverage lint format types typing docs outputs faults soak lock lowest doctor clean

help:
	@echo "make demo    set up .venv, run the main job on real data, say where the release lies"
	@echo "make federation  the same as a federation of real servers: TLS, keys, own networks as root"
	@echo "make test    set up .venv, run the tests: quick ones, then real servers, browser, Flower"
	@echo "make quick   set up .venv, run the quick tests alone"
	@echo "make slow    set up .venv, run the tests that are marked slow"
	@echo "make cuda    set up .venv, run the tests that need a GPU"
	@echo "make faults  kill, cut off and put back real servers at every stage; root, about an hour"
	@echo "make soak    many rounds of four sites with faults; root, ROUNDS=500, an hour or more"
	@echo "make audit   attack every query, print how much of each claim was reached: minutes"
	@echo "make coverage  the quick tests, and how much of the source they run"
	@echo "make lint    style and the import law"
	@echo "make types   mypy --strict"
	@echo "make format  put the source in the house style"
	@echo "make docs    build the documentation site in site/"
	@echo "make outputs  write the outputs of the commands that the pages show anew"
	@echo "make lock    write requirements.lock anew"
	@echo "make lowest  the quick tests with the lowest versions that are admitted"
	@echo "make doctor  say whether this machine has what fedloom needs"
	@echo "make clean   remove .venv and what tests left behind"

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "No $(PYTHON) here. Install Python 3.11 or newer, or say make PYTHON=python3.12" >&2; \
	  exit 1; }
	@echo "Setting up .venv with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)

# The stamps are older than pyproject.toml when a dependency may have changed.
$(VENV)/.train: pyproject.toml | $(BIN)/python
	@echo "Installing fedloom with torch, opacus and flwr into .venv: minutes, about 2 GB of disk"
	@$(BIN)/python -m pip install --quiet --editable ".[train]"
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.train
	@echo "Installing what tests and linters need into .venv"
	@$(BIN)/python -m pip install --quiet --editable ".[train,dev]"
	@touch $@

demo: $(VENV)/.train
	@$(BIN)/fedloom demo $(if $(OUT),--out $(OUT))

federation: $(VENV)/.train
	@$(BIN)/fedloom demo --deploy $(if $(OUT),--out $(OUT))

doctor: $(VENV)/.train
	@$(BIN)/fedloom doctor

test: $(VENV)/.dev
	@PYTHON=$(BIN)/python bash .ci/groups

audit: $(VENV)/.dev
	@$(BIN)/python -m pytest -v tests/statistical/test_audit_sums.py \
	  tests/statistical/test_audit_gradients.py tests/statistical/test_audit_training.py \
	  tests/images/test_audit.py

faults: $(VENV)/.dev
	@FEDLOOM_FAULTS_TABLE=$(OUT) $(BIN)/python -m pytest -v tests/deploy/faults/test_faults.py

soak: $(VENV)/.dev
	@FEDLOOM_FAULTS_TABLE=$(OUT) FEDLOOM_SOAK_ROUNDS=$(ROUNDS) \
	  $(BIN)/python -m pytest -v tests/deploy/faults/test_soak.py

# The floor is a careful first one; raise it to just below what a run of this target prints.
coverage: $(VENV)/.dev
	@COVERAGE_FLOOR=$(COVERAGE_FLOOR) PYTHON=$(BIN)/python bash .ci/groups

slow: $(VENV)/.dev
	@PYTHON=$(BIN)/python bash .ci/groups slow

cuda: $(VENV)/.dev
	@$(BIN)/python -m pytest -q -rs -m cuda tests/cuda

quick: $(VENV)/.dev
	@PYTHON=$(BIN)/python bash .ci/groups quick

lint: $(VENV)/.dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/python -m pytest -q tests/test_layers.py tests/test_repository.py

format: $(VENV)/.dev
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

# The links let mypy, and what reads docstrings, see the four folders where they lie when installed.
typing:
	@rm -rf .typing && mkdir -p .typing/fedloom
	@ln -s $(addprefix ../../,common privacy client server $(filter-out %__pycache__,$(wildcard fedloom/*))) .typing/fedloom/

types: $(VENV)/.dev typing
	@cd .typing && ../$(BIN)/mypy --config-file ../pyproject.toml -p fedloom

docs: $(VENV)/.dev typing
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo "site/index.html"

outputs: $(VENV)/.dev
	@$(BIN)/python docs/run_pages.py --write

# Versions for Linux and every Python that is admitted; no hashes, so any build of torch fits.
lock: $(VENV)/.dev
	@$(BIN)/uv pip compile pyproject.toml --quiet --universal --extra train --extra dev \
	  --no-emit-index-url --custom-compile-command "make lock" --output-file requirements.lock

# The lowest versions of what we ask for ourselves; what tests and linters need is the newest.
lowest: $(VENV)/.dev
	@$(BIN)/uv venv --quiet --clear --seed --python $(PYTHON) .venv-lowest
	@$(BIN)/uv pip compile pyproject.toml --quiet --resolution lowest-direct --extra train \
	  --python .venv-lowest/bin/python --no-emit-index-url --output-file .venv-lowest/lowest.txt
	@$(BIN)/uv pip install --quiet --python .venv-lowest/bin/python \
	  --requirement .venv-lowest/lowest.txt --constraint .venv-lowest/lowest.txt --editable ".[train,dev]"
	@PYTHON=.venv-lowest/bin/python bash .ci/groups quick

clean:
	rm -rf $(VENV) .venv-lowest site .typing .test-results .pytest_cache .ruff_cache .mypy_cache .hypothesis
