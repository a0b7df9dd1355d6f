# Every target makes .venv by itself; it is made anew when pyproject.toml or constraints.txt changes.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
WORKERS ?= 2
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS)

BENCHMARKS := exactness training_step search_vs_ofa nsga2_front latency_prediction mcu_instructions mcu_search mcu_kernels

CHECKS := check-format check-lint check-layers check-sizes check-internals check-types

.PHONY: help demo test test-all check $(CHECKS) format bench cases docs clean

help:
	@echo "make demo      the whole way on scikit-learn's digits: train, measure, search, export, report"
	@echo "make test      the default tests (make test-all: the slow ones too)"
	@echo "make check     formatting, lint, layers, sizes, types (make format: mend the formatting)"
	@echo "make bench     the quick form of every benchmark"
	@echo "make cases     files that once failed, with their right values: make cases DATA=path/to/data"
	@echo "make docs      build the documentation into site/"
	@echo "make clean     remove .venv and everything that is built"

$(STAMP): pyproject.toml constraints.txt
	@echo "Making $(VENV) with everything that is needed: some minutes, and some gigabytes for PyTorch."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -e '.[test,dev,docs]' -c constraints.txt
	touch $@

demo: $(STAMP)
	$(BIN)/netwright demo

test: $(STAMP)
	$(PYTEST)

test-all: $(STAMP)
	$(PYTEST) -m 'slow or not slow'

# `make -k check` goes on after a failure and shows them all.
check: $(CHECKS)

check-format: $(STAMP)
	$(BIN)/ruff format --check .

check-lint: $(STAMP)
	$(BIN)/ruff check .

check-layers: $(STAMP)
	$(BIN)/lint-imports --no-logo

check-sizes: $(STAMP)
	$(BIN)/python tools/check_size.py

check-internals: $(STAMP)
	$(BIN)/python tools/check_private_torch.py

check-types: $(STAMP)
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP)
	@set -e; for name in $(BENCHMARKS); do \
		echo "$(BIN)/python benchmarks/$$name.py --quick"; OMP_NUM_THREADS=1 $(BIN)/python benchmarks/$$name.py --quick; \
	done
	@echo "Others take a path to data or models (benchmarks/cifar10*.py, mcu_networks.py, mcu_exact.py, ...): see the top of each."

cases: $(STAMP)
	NETWRIGHT_DATA="$(or $(DATA),$(NETWRIGHT_DATA))" OMP_NUM_THREADS=1 $(BIN)/python benchmarks/cases.py

docs: $(STAMP)
	$(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) site build dist .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
