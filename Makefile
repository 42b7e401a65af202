# Two commands: `make study` (first result) and `make test` (everything that is checked).
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
export OMP_NUM_THREADS ?= 1
BENCHES ?= cli features encoders training storage inference report growth thousand orchestration nodes tracking simulation whole_study

.PHONY: study test lint bench clean
.DEFAULT_GOAL := study

study: $(VENV)/.installed
	$(BIN)/study launch quickstart

# Kills and soaks mostly wait: they run beside the rest, and are shown when both have ended.
test: $(VENV)/.installed-dev lint
	@$(BIN)/python -m pytest tests/survival > $(VENV)/survival.log 2>&1 & survival=$$!; \
	  trap 'kill $$survival 2>/dev/null' EXIT; \
	  $(BIN)/python -m pytest --deselect=tests/survival --durations=5; rest=$$?; \
	  wait $$survival; kills=$$?; cat $(VENV)/survival.log; \
	  exit $$((rest ? rest : kills))

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
	rm -rf $(VENV)
