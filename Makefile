# Everything a newcomer or a maintainer runs. Needs Python 3.10 to 3.13, make and git, nothing else:
# each target makes the virtual environment if it is not there yet.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:

VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# The first interpreter that really runs and can make a virtual environment. (With pyenv, a
# `python3.13` may be on the path and still refuse to start.)
FIND_PYTHON = for candidate in python3 python3.13 python3.12 python3.11 python3.10; do \
	"$$candidate" -c 'import ensurepip, sys, venv; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' \
	>/dev/null 2>&1 && { echo "$$candidate"; break; }; done
PYTHON ?= $(shell $(FIND_PYTHON))

# Nothing here asks a model hub for anything: a forgotten download fails at once instead of hanging.
export HF_HUB_OFFLINE := 1
export TRANSFORMERS_OFFLINE := 1
export HF_HUB_DISABLE_TELEMETRY := 1

.PHONY: help
help: ## list the targets (the default)
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' \
		| while IFS="$$(printf '\t')" read -r name what; do printf '  make %-17s %s\n' "$$name" "$$what"; done

PROGRAMS := tests/programs/requirements.txt

$(INSTALLED): pyproject.toml constraints.txt $(PROGRAMS)
	@test -n "$(PYTHON)" || { echo "No Python 3.10 to 3.13 with venv found. Install one, or name it: make PYTHON=/path/to/python" >&2; exit 1; }
	@echo "Installing clora and its tools into $(VENV) with $(PYTHON) (minutes the first time)"
	@"$(PYTHON)" -m venv "$(VENV)"
	@"$(BIN)/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@"$(BIN)/python" -m pip install --quiet --disable-pip-version-check --no-deps -r $(PROGRAMS)
	@touch "$@"

.PHONY: install
install: $(INSTALLED) ## make .venv and install clora with its tools

.PHONY: demo
demo: $(INSTALLED) ## teach the demo model three concepts and show what it remembers
	@"$(BIN)/python" examples/demo.py

.PHONY: check
check: $(INSTALLED) ## format, lint, types, layers, spelling
	"$(BIN)/ruff" format --check .
	"$(BIN)/ruff" check .
	"$(BIN)/mypy"
	"$(BIN)/lint-imports"
	"$(BIN)/codespell"

# Each worker imports torch and diffusers for itself: many of them take longer than a few. Each computes in one
# thread: threads of several workers on one core wait for each other, and a step takes many times as long.
.PHONY: test
test: check ## what CI runs: check, then the tests with a coverage report
	OMP_NUM_THREADS=1 "$(BIN)/python" -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --cov --cov-report=term

# Whole runs of everything that a run can be asked for: in `make test` each file of tests has a short one.
.PHONY: test-long
test-long: $(INSTALLED) ## the tests that take seconds each, half an hour together: whole runs, resumed, stopped, undone
	OMP_NUM_THREADS=1 "$(BIN)/python" -m pytest -m "long and not slow" --numprocesses auto --maxprocesses 4 --dist loadfile

.PHONY: test-slow
test-slow: $(INSTALLED) ## the tests that take minutes each
	"$(BIN)/python" -m pytest -m slow

.PHONY: test-gpu
test-gpu: $(INSTALLED) ## the tests that need a CUDA device; without one they are named and skipped
	@"$(BIN)/python" -c 'import torch; print(torch.cuda.get_device_name() if torch.cuda.is_available() \
		else "no CUDA device on this machine: none of these tests can run")'
	"$(BIN)/python" -m pytest -m gpu -rs

COMFYUI_VENV ?= .venv-comfyui
COMFYUI_INSTALLED := $(COMFYUI_VENV)/.installed

# ComfyUI's own packages beside ours, but for its torch: torchaudio exists for CUDA only, and has a stand-in
# in tests/comfyui.
$(COMFYUI_INSTALLED): pyproject.toml constraints.txt
	@test -f "$(COMFYUI_DIR)/main.py" || { echo "Name a ComfyUI: make test-comfyui COMFYUI_DIR=/path/to/ComfyUI" >&2; exit 1; }
	@test -n "$(PYTHON)" || { echo "No Python 3.10 to 3.13 with venv found. Name one: make PYTHON=/path/to/python" >&2; exit 1; }
	@"$(PYTHON)" -m venv "$(COMFYUI_VENV)"
	@grep -vE '^torch(vision|audio)?([^a-z]|$$)' "$(COMFYUI_DIR)/requirements.txt" > "$(COMFYUI_VENV)/requirements.txt"
	@"$(COMFYUI_VENV)/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt \
		-e '.[dev]' -r "$(COMFYUI_VENV)/requirements.txt" requests torchvision==0.28.0
	@npm install --silent --no-audit --no-fund --prefix "$(COMFYUI_VENV)/page" playwright-core@1.64.1
	@touch "$@"

IN_COMFYUI := COMFYUI_DIR="$(abspath $(COMFYUI_DIR))" PYTHONPATH=tests \
	PLAYWRIGHT_MODULES="$(abspath $(COMFYUI_VENV))/page/node_modules" "$(COMFYUI_VENV)/bin/python"

.PHONY: test-comfyui
test-comfyui: $(COMFYUI_INSTALLED) ## the tests with a real ComfyUI and Chromium: COMFYUI_DIR=...
	$(IN_COMFYUI) -m pytest -m comfyui tests/comfyui

.PHONY: example-workflows
example-workflows: $(COMFYUI_INSTALLED) ## have ComfyUI's page write example_workflows: COMFYUI_DIR=...
	$(IN_COMFYUI) tests/comfyui/make_examples.py

.PHONY: screenshot
screenshot: $(COMFYUI_INSTALLED) ## teach the demo model on ComfyUI's page, photograph it: COMFYUI_DIR=...
	$(IN_COMFYUI) tests/comfyui/make_screenshot.py

.PHONY: benchmark
benchmark: $(INSTALLED) ## measure folding against other tools, write docs/benchmarks.md (long, 30 GB of disk)
	@"$(BIN)/python" -m pip install --quiet --disable-pip-version-check -e '.[benchmark]'
	"$(BIN)/python" tests/benchmarks/report.py

.PHONY: format
format: $(INSTALLED) ## format the code and apply the safe fixes
	"$(BIN)/ruff" format .
	"$(BIN)/ruff" check --fix .

.PHONY: wheel
wheel: $(INSTALLED) ## build the wheel into dist/
	rm -rf build
	"$(BIN)/python" -m build --wheel --no-isolation

.PHONY: clean
clean: ## remove what builds and tests leave behind, keep .venv
	rm -rf build dist ./*.egg-info .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find clora_ext cli comfyui_nodes examples tests -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: distclean
distclean: clean ## clean, and remove .venv too
	rm -rf "$(VENV)"
