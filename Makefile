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

lint: .venv/dev node_modules/.package-lock.json
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	node_modules/.bin/eslint .
	node_modules/.bin/tsc --project .
	node_modules/.bin/tsc --project tests/javascript

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

# Tools that check the pages' JavaScript. The app and the wheel need none of them.
node_modules/.package-lock.json: package.json package-lock.json
	@command -v npm >/dev/null && command -v node >/dev/null \
		|| { echo "error: Node.js 20 or newer and npm are needed to check the JavaScript: apt-get install nodejs npm"; exit 2; }
	npm ci --no-audit --no-fund
	@touch $@
