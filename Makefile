# make demo   set up and run the bundled digit classifier on every device of this machine
# make test   set up and run all tests
# make lint   formatting, style and types
# make models compile real networks for every target and compare them with onnxruntime (downloads some 300 MB of packages)
# make compression  compress those networks, and let onnxruntime's and NNCF's quantizers do it: sizes, accuracy, bars
# make nna    run networks that Vela compiled on the Ethos-U interpreter, against LiteRT
# make clean  forget the virtual environment and everything built

PYTHON ?= python3
PYTEST_ARGS ?=
# PyTorch, for training and "make models" only. Where the index serves a CUDA build and the CPU build is wanted, set
# TORCH_ARGS to pip's --index-url and the address of PyTorch's own CPU index.
TORCH_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install --constraint constraints.txt
SOURCES := pyproject.toml setup.py constraints.txt $(wildcard runtime/src/* runtime/src/nna/* runtime/include/*/*)
CXX_FILES := $(shell git ls-files "*.cc" "*.h" "*.c" 2>/dev/null)

.PHONY: demo test lint format models compression nna clean
.DELETE_ON_ERROR:

demo: $(VENV)/demo.stamp
	@$(BIN)/python examples/mnist/demo.py

test: $(VENV)/test.stamp
	@$(BIN)/python -m pytest --numprocesses auto --dist worksteal $(PYTEST_ARGS)

lint: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python scripts/typecheck.py -p benchmarks.zoo -p benchmarks.rivals -p benchmarks.nna -m benchmarks.real_models -m benchmarks.compression -m benchmarks.pivot -m examples.mnist.demo
	@if command -v clang-format >/dev/null; then echo clang-format --dry-run; \
	    clang-format --dry-run --Werror $(CXX_FILES); \
	else echo "skipped: clang-format is missing (apt-get install clang-format)"; fi

format: $(VENV)/test.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	clang-format -i $(CXX_FILES)

models: $(VENV)/models.stamp
	@$(BIN)/python -m benchmarks.real_models

compression: $(VENV)/rivals.stamp
	@mkdir -p build
	@$(BIN)/python -m benchmarks.compression --json build/compression.json

nna: $(VENV)/test.stamp
	@$(BIN)/python -m benchmarks.nna

clean:
	rm -rf $(VENV) build *.egg-info
	find . \( -name '_native*.so' -o -name '_nna*.so' \) -not -path './.git/*' -delete

$(VENV)/made.stamp:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.10 or newer is needed, this is " + sys.version) if sys.version_info < (3, 10) else 0'
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || scripts/apt-install.sh python3-venv
	@command -v g++ >/dev/null || command -v c++ >/dev/null || scripts/apt-install.sh g++
	$(PYTHON) -m venv $(VENV)
	@touch $@

# The package itself, editable, with the C++ runtime built in place.
$(VENV)/demo.stamp: $(VENV)/made.stamp $(SOURCES)
	$(PIP) --editable .
	@touch $@

$(VENV)/test.stamp: $(VENV)/demo.stamp scripts/apt-packages.txt
	scripts/apt-install.sh
	$(PIP) --editable '.[test,cuda,nna]'
	@touch $@

$(VENV)/models.stamp: $(VENV)/demo.stamp
	$(PIP) $(TORCH_ARGS) torch
	$(PIP) --editable '.[models]'
	@touch $@

$(VENV)/rivals.stamp: $(VENV)/models.stamp
	$(PIP) --editable '.[rivals]'
	@touch $@
