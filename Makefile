# Each target works on a fresh machine with Python 3.11 or newer and make.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: app check test lint bench

app: .venv/app
	$(BIN)/lskd app

# One thread for each process: models of several tests would compete for the same cores.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

# Everything that takes seconds: for every change.
check: lint
	$(PYTEST) -m "not slow" --durations 20

# Everything: for every push.
test: .venv/dev
	$(PYTEST) --durations 20

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .

bench: .venv/dev
	$(BIN)/python benchmarks/run.py

.venv/app: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "error: Python 3.11 or newer is needed: install it, or run make PYTHON=python3.11"; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' \
		|| { echo "error: Python cannot make environments: apt-get install python3-venv"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	@touch $@

.venv/dev: .venv/app
	$(BIN)/pip install --quiet --constraint constraints.txt --group dev
	@touch $@
