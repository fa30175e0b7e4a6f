# Two commands on a machine with Python and make: `make demo` and `make test`.
# TORCH chooses another build, e.g. make demo TORCH="torch --index-url https://download.pytorch.org/whl/cpu"
PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0

BIN := $(VENV)/bin
DONE := $(VENV)/.installed

.PHONY: demo test lint types clean

demo: $(DONE)
	$(BIN)/edgetune demo --force

test: $(DONE)
	$(BIN)/python -m pytest -q -n auto --dist loadfile

lint: $(DONE)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(DONE)
	$(BIN)/pyright --pythonpath $(BIN)/python

$(DONE): pyproject.toml runtime/python/pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet -e runtime/python -e ".[dev]"
	touch $@

clean:
	rm -rf $(VENV)
