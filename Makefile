# make demo: the whole pipeline on the embedded demo. make test: all tests. Both install first.
PYTHON ?= python3
VENV := .venv
CORES ?= all

.PHONY: venv demo test lint

venv: $(VENV)/installed

$(VENV)/installed: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --requirement requirements.txt
	touch $@

demo: venv
	$(VENV)/bin/snakemake --cores $(CORES)
	$(VENV)/bin/snakemake --report results/demo/report.html

test: lint
	$(VENV)/bin/python -m pytest --numprocesses auto --dist loadfile

lint: venv
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/snakefmt --check Snakefile rules
	$(VENV)/bin/snakemake --lint
