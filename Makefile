# Every target is one call of a real tool. PROFILE: quick, small, paper, smoke.
# DATA, VGG_WEIGHTS and DINO_WEIGHTS name files of your own; DEVICE is auto, cpu or cuda.
PROFILE ?= quick
DATA ?=
VGG_WEIGHTS ?=
DINO_WEIGHTS ?=
DEVICE ?=
CORES ?= all
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
# The GNU C library caches small blocks, which then part the memory that one batch's feature maps leave to the next.
# Without these caches training takes as long and a few hundred megabytes less.
export GLIBC_TUNABLES ?= glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0

.PHONY: report test lab bench lint
report: .venv/installed
	snakemake --cores $(CORES) --resources gpu=$(if $(filter cuda,$(DEVICE)),1,64) --quiet all --rerun-incomplete --nolock --config profile=$(PROFILE) data="$(DATA)" vgg_weights="$(VGG_WEIGHTS)" dino_weights="$(DINO_WEIGHTS)" device="$(DEVICE)" && echo "reports/$(PROFILE)/index.html"

test: .venv/installed
	pytest

lab: .venv/installed
	JUPYTER_CONFIG_PATH=config/jupyter jupyter lab --notebook-dir notebooks --LabApp.default_url=/lab/tree/00_start.md

bench: .venv/installed
	python benchmarks/run.py $(if $(DEVICE),--device $(DEVICE)) $(if $(DATA),--data "$(DATA)")

lint: .venv/installed
	ruff check . && ruff format --check .

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv || { echo "Python's venv is missing: on Debian, apt install python3-venv"; exit 1; }
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@
