# `make study` (first result), `make check` (while working), `make test` (before a change is
# handed in), `make test-slow` (what takes long, or destroys something) and `make docs`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
export OMP_NUM_THREADS ?= 1
KILLS  := tests/slow/test_random_kills.py tests/slow/test_soak.py tests/slow/test_transitions.py
BENCHES ?= cli features encoders training storage inference report growth thousand orchestration nodes tracking simulation whole_study

.PHONY: study check test test-slow lint bench docs docs-serve clean
.DEFAULT_GOAL := study

study: $(VENV)/.installed
	$(BIN)/study launch quickstart

# While working: minutes.
check: $(VENV)/.installed-dev lint
	$(BIN)/python -m pytest tests/unit --numprocesses=2 --dist=loadfile

# Tests that start Ray follow one another beside the others, and are shown when both have ended.
test: $(VENV)/.installed-dev lint
	@$(BIN)/python -m pytest tests/integration -m "ray and not slow" --durations=5 \
	    > $(VENV)/ray.log 2>&1 & ray=$$!; \
	  trap 'kill $$ray 2>/dev/null' EXIT; \
	  $(BIN)/python -m pytest tests/unit tests/contracts tests/integration \
	    -m "not ray and not slow" --durations=5; rest=$$?; \
	  wait $$ray; with_ray=$$?; cat $(VENV)/ray.log; \
	  exit $$((rest ? rest : with_ray))

# The rest: kills, soaks, nodes, servers, a browser, 10,000 cases of fuzzing. Kills and soaks mostly
# wait: they run beside the others, and are shown when both have ended.
test-slow: $(VENV)/.installed-dev
	@$(BIN)/python -m pytest -m slow $(KILLS) > $(VENV)/kills.log 2>&1 & kills=$$!; \
	  trap 'kill $$kills 2>/dev/null' EXIT; \
	  $(BIN)/python -m pytest -m slow $(KILLS:%=--ignore=%) --durations=5; slow=$$?; \
	  FUZZ_TIMES=1 $(BIN)/python -m pytest tests/integration/fuzz; fuzz=$$?; \
	  wait $$kills; killed=$$?; cat $(VENV)/kills.log; \
	  exit $$((slow ? slow : fuzz ? fuzz : killed))

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

# All of them, also after one that missed a bar; it ends with 1 then. Some: make bench BENCHES="cli growth"
bench: $(VENV)/.installed-dev
	@status=0; for name in $(BENCHES); do \
	  echo "== bench_$$name.py"; $(BIN)/python tests/benchmarks/bench_$$name.py || status=1; \
	done; exit $$status

# The site of docs/, in site/. A broken link, an unknown name or a key without a meaning fails.
docs: $(VENV)/.installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

docs-serve: $(VENV)/.installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs serve

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing into $(VENV) (some minutes the first time)"
	$(PIP) --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing into $(VENV) (some minutes the first time)"
	$(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) site
