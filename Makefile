# Everything from a fresh clone: `make demo` and `make test` set up what they need in .venv, once.
#
#   PYTHON=python3.12    the interpreter to build on (3.11 or newer; the pins are tested on 3.11)
#   TORCH_INDEX=URL      one more package index, such as PyTorch's own index of CPU-only builds
#   TORCH=system         use the torch that PYTHON has already (your GPU build) instead of the pinned one

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
TORCH ?= pinned
TORCH_INDEX ?=

VENV := .venv
BIN := $(VENV)/bin
PINS := $(VENV)/pins.txt
PIP := $(BIN)/python -m pip install -qq --no-compile --no-input --disable-pip-version-check -c $(PINS) \
	$(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))

.PHONY: help setup dev demo test check clean
help:
	@echo 'make demo    one lap of the loop: train the embedded model, measure the gain (about 10 minutes on 2 cores)'
	@echo 'make test    the tests'
	@echo 'make check   linters, types, layers and tests, silent when green'
	@echo 'make setup   only the environment, in $(VENV); `make dev` adds the tools of the tests'
	@echo 'make clean   remove $(VENV) and what the tools left behind'

setup: $(VENV)/.runtime
dev: $(VENV)/.dev

demo: setup
	@$(BIN)/honed demo

test: dev
	@$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

check: dev
	@./check

clean:
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(VENV)/.runtime: pyproject.toml constraints.txt
	@$(if $(PYTHON),,echo 'error: there is no Python 3.11 or newer with its venv module here'; \
		echo '  On Debian or Ubuntu: apt install python3 python3-venv; or: make PYTHON=/path/to/python3'; exit 1)
	@$(if $(filter system,$(TORCH)),$(PYTHON) -c 'import torch' 2>/dev/null,true) || { \
		echo 'error: TORCH=system, but $(PYTHON) has no torch'; \
		echo '  Install one for it, or name the interpreter that has it: make PYTHON=/path/to/python3'; exit 1; }
	@echo 'Setting up $(VENV) with $(PYTHON), once: some 400 MB to download, then a minute ...'
	@$(if $(TORCH_INDEX)$(filter system,$(TORCH)),true,command -v nvidia-smi >/dev/null) || \
		echo 'No GPU here: if pip would fetch CUDA builds (gigabytes), point TORCH_INDEX at the CPU builds of PyTorch.'
	@$(PYTHON) -m venv $(if $(filter system,$(TORCH)),--system-site-packages) $(VENV)
	@grep $(if $(filter system,$(TORCH)),-v '^torch==',.) constraints.txt > $(PINS)
	@$(PIP) --upgrade pip
	@$(PIP) --build-constraint constraints.txt -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	@echo 'Adding the tools of the tests ...'
	@$(PIP) --group dev
	@touch $@
