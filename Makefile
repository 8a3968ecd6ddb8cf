# Everything runs in .venv, which the first command makes. `make demo` and `make test` need only Python and make.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
WORKERS ?= auto

.PHONY: demo test check format bench clean

demo: $(READY)
	$(BIN)/mambascope trace "The capital of France is" --subject France --out out/demo

test: $(READY)
	$(BIN)/pytest -n $(WORKERS) --dist worksteal

check: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(READY)
	for script in benchmarks/forward.py benchmarks/replay.py benchmarks/sweep.py benchmarks/knockout.py benchmarks/attention.py benchmarks/evaluate.py; do $(BIN)/python $$script || exit 1; done

clean:
	rm -rf .venv out dist build .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests scripts benchmarks -name __pycache__ -prune -exec rm -rf {} +

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@
