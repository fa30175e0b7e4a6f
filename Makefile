# Two commands on a machine with Python and make: `make demo` and `make test`.
# TORCH chooses another build, e.g. make demo TORCH="torch --index-url https://download.pytorch.org/whl/cpu"
PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0

BIN := $(VENV)/bin
DONE := $(VENV)/.installed

# The JavaScript runtime is installed and tested where Node is new enough; its packages' install scripts are not run.
NODE_20 := $(shell node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null && echo yes)
JS := runtime/js
JS_DONE := $(JS)/node_modules/.installed
PHONE := samples/react-native
PHONE_DONE := $(PHONE)/types/node_modules/.installed

.PHONY: demo test test-js lint types types-js fuzz clean

demo: $(DONE)
	$(BIN)/edgetune demo --force

test: $(DONE) test-js
	$(BIN)/python -m pytest -q -n auto --dist loadfile

# every reader of files and texts, with changed inputs: make fuzz MINUTES=30
MINUTES ?= 30
fuzz: $(DONE)
	$(BIN)/python tests/fuzz/run.py --minutes $(MINUTES) --log fuzz.log

lint: $(DONE)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(DONE) types-js
	$(BIN)/pyright --pythonpath $(BIN)/python

ifeq ($(NODE_20),yes)
test-js: $(JS_DONE)
	cd $(JS) && npm test

types-js: $(JS_DONE) $(PHONE_DONE)
	cd $(JS) && npm run --silent types && npm run --silent types:phone
else
test-js types-js:
	@echo "$(JS) is skipped: Node 20 or newer is not here."
endif

$(JS_DONE): $(JS)/package.json $(JS)/package-lock.json
	cd $(JS) && npm ci --ignore-scripts --no-audit --no-fund
	touch $@

# types alone: see its README
$(PHONE_DONE): $(PHONE)/types/package.json $(PHONE)/types/package-lock.json
	cd $(PHONE)/types && npm ci --ignore-scripts --legacy-peer-deps --no-audit --no-fund
	touch $@

$(DONE): pyproject.toml runtime/python/pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet -e runtime/python -e ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) $(JS)/node_modules $(JS)/dist $(JS)/build $(PHONE)/types/node_modules
