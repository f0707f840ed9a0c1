# Three commands, each complete on a fresh machine with Python 3.11 and make:
#   make compare    compare the bundled teacher with its distilled student
#   make test       lint, types, import contracts, tests and notebooks
#   make docs       the documentation as a site that opens from disk: site/index.html
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
OUT ?= runs/teacher-student
ROLES := teacher student teacher-plain student-plain student-debiased
VIT_ROLES := $(addprefix vit-,$(ROLES))
RESNET_ROLES := $(addprefix resnet-,$(ROLES))
CONTROLS := assistant plain-augmented plain-teacher-init student-alpha1 student-augmented student-large \
    student-long student-short student-t1 student-t4 student-teacher-init student-via-assistant \
    student-wide teacher-poe teacher-short
WORKERS ?= 1
SEED ?= 21
VIT_SEED ?= 23
RESNET_SEED ?= 21
comma := ,
space := $(subst ,, )
listed = $(subst $(space),$(comma),$(strip $(1)))
BIN := $(VENV)/bin

# Train roles with one seed and put them into checkpoints/: $(call bundle,ROLES,SEED)
define bundle
$(BIN)/python -m distillation.grid recipes --recipes $(call listed,$(1)) --seeds $(2) --runs runs/checkpoints
for role in $(1); do \
    rm -rf checkpoints/$$role && cp -r runs/checkpoints/$$role/seed-$(2) checkpoints/$$role; \
done
endef

.PHONY: compare test docs lint types contracts tests checkpoints evidence methods bench clean

compare: $(VENV)/.installed
	$(BIN)/python -m circuits.compare teacher student --out $(OUT) --overwrite

test: lint types contracts tests

docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/basedpyright

contracts: $(VENV)/.installed-dev
	$(BIN)/lint-imports

tests: $(VENV)/.installed-dev
	GOMP_SPINCOUNT=0 $(BIN)/python -m pytest -n 2 -q
	GOMP_SPINCOUNT=0 OMP_NUM_THREADS=1 $(BIN)/python -m pytest --nbmake notebooks -n 2 -q --nbmake-timeout=300

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@ $(VENV)/.installed

$(VENV)/.installed-docs: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[docs]"
	touch $@ $(VENV)/.installed

# The bundled models again, from their recipes; bit for bit on one kind of machine.
checkpoints: $(VENV)/.installed
	$(call bundle,$(ROLES),$(SEED))
	$(call bundle,$(VIT_ROLES),$(VIT_SEED))
	$(call bundle,$(RESNET_ROLES),$(RESNET_SEED))

# Every recipe with the seeds of docs/demonstration.md and docs/demonstration-images.md, then the
# tables: some hours on one core. With `make evidence WORKERS=4`, four runs at a time.
evidence: $(VENV)/.installed
	$(BIN)/python -m distillation.grid recipes --recipes $(call listed,$(ROLES)) --seeds 20-24 --runs runs/evidence --workers $(WORKERS)
	$(BIN)/python -m distillation.grid recipes --recipes $(call listed,$(CONTROLS)) --seeds 20-21 --runs runs/evidence --workers $(WORKERS)
	$(BIN)/python -m distillation.evidence --runs runs/evidence --out docs/evidence
	$(BIN)/python -m distillation.grid recipes --recipes $(call listed,$(VIT_ROLES) $(RESNET_ROLES)) --seeds 20-24 --runs runs/evidence-images --workers $(WORKERS)
	$(BIN)/python -m distillation.evidence --runs runs/evidence-images --task digits --out docs/evidence/images

# The debiasing methods, and the controls with the grid of temperatures, weights and sizes.
methods: $(VENV)/.installed
	$(BIN)/python -m distillation.grid recipes/grids/nli-methods.yaml --runs runs/methods --workers $(WORKERS)
	$(BIN)/python -m distillation.evidence runs/methods --out docs/evidence/methods
	$(BIN)/python -m distillation.grid recipes/grids/controls.yaml --runs runs/controls --workers $(WORKERS)
	$(BIN)/python -m distillation.evidence runs/controls --out docs/evidence/controls

bench: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/head_patching.py
	OMP_NUM_THREADS=2 $(BIN)/python benchmarks/head_patching.py --threads 2 --no-peers
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/memory.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/backend_parity.py

clean:
	rm -rf $(VENV) runs site build *.egg-info
