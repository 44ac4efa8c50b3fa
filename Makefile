# The common jobs. Each installs what it needs into .venv first, once; `make help` lists them.
#
# A machine without an NVIDIA GPU can do without torch's CUDA libraries (several GB):
#     PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make demo

VENV ?= .venv
PYTHON ?= $(shell python3.11 -V >/dev/null 2>&1 && echo python3.11 || echo python3)
BIN := $(VENV)/bin
INSTALL = $(BIN)/python -m pip install -c constraints.txt -e

.PHONY: help demo table report test bench browser gpu lint clean

help: ## list these jobs
	@sed -n 's/^\([a-z]*\):.*## /make \1\t/p' Makefile

demo: $(VENV)/.installed ## run the default sweep (all methods on the embedded model) and print its table
	$(BIN)/tunebench sweep

table: $(VENV)/.installed ## print the table of all results so far
	$(BIN)/tunebench table

report: $(VENV)/.installed ## write all results so far as one HTML page, report.html
	$(BIN)/tunebench report

test: $(VENV)/.installed-test ## run the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

bench: $(VENV)/.installed-test ## measure the harness itself and compare with the committed ratios (MARK=regression: in short)
	OMP_NUM_THREADS=2 $(BIN)/python -m pytest -m $(or $(MARK),benchmark) tests/benchmarks

browser: $(VENV)/.installed-test ## run the tests of the report page, which need Chromium
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m browser tests/browser

gpu: $(VENV)/.installed-test ## make reference records on this machine's GPU (HOURS=0.4) and hold the advisor to them
	TUNEBENCH_GPU_HOURS=$(or $(HOURS),0.4) $(BIN)/python -m pytest -m gpu -rP tests/gpu

lint: $(VENV)/.installed-dev ## check style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

clean: ## remove the virtual environment and all caches; results stay
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .benchmarks build dist *.egg-info
	find bench methods tests -name __pycache__ -prune -exec rm -rf {} +

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("tunebench needs Python 3.11 or later")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) .
	touch $@

$(VENV)/.installed-%: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) '.[$*]'
	touch $@
