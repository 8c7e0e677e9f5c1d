# Every target is one call of a real tool. PROFILE: quick, small, labels, paper, full, labels_full, encoders, smoke.
# DATA, VGG_WEIGHTS and DINO_WEIGHTS name files of your own; DEVICE is auto, cpu or cuda; LAB is for JupyterLab.
# These come from the command line alone: what a cluster calls DATA in its environment is something else.
PROFILE = quick
DATA =
VGG_WEIGHTS =
DINO_WEIGHTS =
DEVICE =
LAB =
CORES = all
PYTHON = python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
# The study is the same anywhere: no packages, options or profiles of somebody else.
unexport PYTHONPATH PYTHONHOME PIP_TARGET PIP_PREFIX SNAKEMAKE_PROFILE
export PIP_USER := 0
export PYTHONNOUSERSITE := 1
# The GNU C library caches small blocks, which then part the memory that one batch's feature maps leave to the next.
# Without these caches training takes as long and a few hundred megabytes less.
export GLIBC_TUNABLES ?= glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0
# Threads that wait spin for a short time only: on a busy machine notebooks train twice as fast, on an idle one as fast.
export GOMP_SPINCOUNT ?= 30000

.PHONY: report test lab bench lint
report: .venv/installed
	exec $(BIN)/snakemake --cores $(CORES) --quiet all --scheduler greedy --rerun-incomplete --nolock --config profile=$(PROFILE) data='"$(DATA)"' vgg_weights='"$(VGG_WEIGHTS)"' dino_weights='"$(DINO_WEIGHTS)"' device='"$(DEVICE)"'
	@echo "reports/$(PROFILE)/index.html"

test: .venv/installed
	$(BIN)/pytest -n auto

lab: .venv/installed
	JUPYTER_CONFIG_PATH=config/jupyter exec $(BIN)/jupyter lab --notebook-dir notebooks --LabApp.default_url=/lab/tree/00_start.md $(LAB)

bench: .venv/installed
	$(BIN)/python benchmarks/run.py $(if $(DEVICE),--device $(DEVICE)) $(if $(DATA),--data "$(DATA)")

lint: .venv/installed
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

# The file says for which folder it was made: in a copied or moved checkout everything is installed anew.
ifneq ($(shell [ "$$(cat .venv/installed 2>/dev/null)" = "$$(pwd -P)" ] && echo here),here)
.PHONY: .venv/installed
CLEAR = --clear
endif
.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "The study needs Python 3.11 or newer; name one, such as make PYTHON=python3.12."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "Python's venv is missing: on Debian, apt install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(CLEAR) .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@pwd -P > $@
