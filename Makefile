# Two commands, each complete on a fresh machine with Python 3.11 and make:
#   make compare    compare the bundled teacher with its distilled student
#   make test       lint, types, import contracts and tests
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
OUT ?= runs/teacher-student
ROLES := teacher,student,teacher-plain,student-plain,student-debiased
SEED ?= 21
comma := ,
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

# The five bundled models again, from their recipes; bit for bit on one kind of machine.
checkpoints: $(VENV)/.installed
	$(BIN)/python -m distillation.grid recipes --recipes $(ROLES) --seeds $(SEED) --runs runs/checkpoints
	for role in $(subst $(comma), ,$(ROLES)); do \
	    rm -rf checkpoints/$$role && cp -r runs/checkpoints/$$role/seed-$(SEED) checkpoints/$$role; \
	done

# Every recipe with the seeds of docs/demonstration.md, then its tables: some hours on one core.
evidence: $(VENV)/.installed
	$(BIN)/python -m distillation.grid recipes --recipes $(ROLES) --seeds 20-24 --runs runs/evidence
	$(BIN)/python -m distillation.grid recipes --seeds 20-21 --runs runs/evidence
	$(BIN)/python -m distillation.evidence --runs runs/evidence --out docs/evidence

bench: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/head_patching.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/memory.py

clean:
	rm -rf $(VENV) runs build *.egg-info
