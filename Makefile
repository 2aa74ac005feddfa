# Needs Python 3.11 or newer, git, make and a package index; everything else is installed
# into .venv. On a CUDA machine: make setup EXTRA=gpu
PYTHON ?= python3
EXTRA ?= cpu
# Further arguments, of the demo or of pytest for example: make test ARGS="-k views"
ARGS ?=

VENV := .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/.installed-$(EXTRA)

.DEFAULT_GOAL := help
.PHONY: help setup demo ablate eval report test chaos fuzz lint bench clean

help:
	@echo "make setup | demo | ablate | eval | report | test | chaos | fuzz | lint | bench | clean   (EXTRA=cpu or gpu, ARGS=...)"

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt .ci/install
	@bash .ci/install "$(PYTHON)" "$(VENV)" "$(EXTRA)"
	@touch $@

demo: setup
	$(RUN) pipelines/unisd_full.py --preset demo $(ARGS)

ablate: setup
	$(RUN) pipelines/ablate.py --grid minitools $(ARGS)

eval: setup
	$(RUN) pipelines/evaluate.py --tasks minitools,cos_e,scienceqa,arc_easy,humaneval $(ARGS)

# All runs under runs/, or those in ARGS.
report: setup
	$(RUN) pipelines/report.py $(ARGS)

# The tests that start engines run one after the other, beside all the others.
test: setup
	$(RUN) -m pytest -n 2 $(ARGS)

chaos: setup
	$(RUN) -m tests.faults.campaign $(ARGS)

fuzz: setup
	$(RUN) -m pytest tests/fuzz --hypothesis-profile=campaign $(ARGS)

lint: setup
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

bench: setup
	$(RUN) -m tests.benchmarks.suite $(ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
