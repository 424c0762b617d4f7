# The targets install what they need. `make` alone lists them.
PYTHON ?= python3
VENV := .venv
CORES ?= all
DEVICE ?= cpu
# One more than the cores, because many tests wait.
TEST_PROCESSES ?= $(shell expr $$(nproc) + 1)
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest --numprocesses $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

.PHONY: help venv test-tools cluster demo lint test test-all bench docs

help:  # list the targets
	@sed -n 's/^\([a-z-]*\):.*  # /\1\t/p' Makefile | expand -t 14

venv: $(VENV)/installed  # a virtual environment in .venv with the pinned packages and this one

test-tools: $(VENV)/installed-test  # the same with the linters and what the tests need

cluster: venv  # the same with the plugins for schedulers, and data from S3
	$(BIN)/python -m pip install --requirement requirements-cluster.txt

$(VENV)/installed: requirements.txt requirements-no-deps.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' || \
	  { echo "$(PYTHON) is $$($(PYTHON) --version 2>&1), but I2CRC needs Python 3.11 or 3.12 (pydensecrf2" \
	  "does not build on 3.13): make venv PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --requirement requirements.txt
	$(BIN)/python -m pip install --no-deps --requirement requirements-no-deps.txt
	$(BIN)/python -m pip install --no-deps --editable .
	touch $@

$(VENV)/installed-test: requirements-test.txt requirements-cluster.txt $(VENV)/installed
	$(BIN)/python -m pip install --requirement requirements-test.txt
	touch $@

demo: UNSEEN := results/demo/unseen
demo: venv  # the whole pipeline on the embedded demo, its report, and a photograph it has not seen
	$(BIN)/snakemake --cores $(CORES)
	$(BIN)/snakemake --report results/demo/report.html --quiet
	@$(BIN)/python workflow_scripts/data/render_demo.py --train 0 --val 1 --size 128 --seed 1 \
	  --archive $(UNSEEN)/saliency.tar.gz --manifest $(UNSEEN)/manifest.json --log $(UNSEEN)/render_demo.log
	$(BIN)/i2crc segment results/demo $(UNSEEN)/JPEGImages --crf --output results/demo/segmented
	@echo "A photograph that the network has not seen: $(CURDIR)/results/demo/segmented/demo_val_0001_overlay.jpg"
	@echo "Report: $(CURDIR)/results/demo/report.html (open it in a browser)"

lint: test-tools  # the linters
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/snakemake --lint

test: lint  # the linters, then the tests
	$(PYTEST)

test-all: lint  # the linters, then all tests, also the long ones
	$(PYTEST) -m 'exhaustive or not exhaustive'

bench: venv  # each stage against the published way (PHOTOGRAPHS=FOLDER DEVICE=cuda: benchmarks/README.md)
	$(BIN)/python benchmarks/all.py --device $(DEVICE) $(if $(PHOTOGRAPHS),--photographs "$(PHOTOGRAPHS)")

docs: venv  # the documents as a site, in site/; a broken link is an error
	$(BIN)/python -m pip install --quiet --requirement requirements-docs.txt
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
