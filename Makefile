# `make check` is what CI runs. PYTHON may name another interpreter with the package installed.
PYTHON ?= .venv/bin/python

.PHONY: check lint types test install bench tables clean

check: install lint types test

install:
	$(PYTHON) -m pip install --quiet -c constraints.txt -e '.[dev]'

lint:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

types:
	$(PYTHON) -m mypy

test:
	$(PYTHON) -m pytest -n 2

tables:
	$(PYTHON) docs/make_tables.py

bench:
	$(PYTHON) benchmarks/synchronize.py

clean:
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
