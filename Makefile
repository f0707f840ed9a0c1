# Two commands, each complete on a fresh machine with Python 3.11 and make:
#   make compare    compare the bundled teacher with its distilled student
#   make test       lint, types, import contracts and tests
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
OUT ?= runs/teacher-student
BIN := $(VENV)/bin

.PHONY: compare test lint types contracts tests checkpoints evidence bench clean

compare: $(VENV)/.installed
	$(BIN)/python -m circuits.compare teacher student --out $(OUT) --overwrite

test: lint types contracts tests

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/basedpyright

contracts: $(VENV)/.installed-dev
	$(BIN)/lint-imports

tests: $(VENV)/.installed-dev
	GOMP_SPINCOUNT=0 $(BIN)/python -m pytest -n 2 -q

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) runs build *.egg-info
