# Each target sets up .venv by itself and is safe to repeat. It needs Python 3.11 or newer, pip and make.
PYTHON ?= python3
JOBS ?= $(shell nproc)
PY := .venv/bin/python
READY := .venv/ready

.PHONY: help demo demo-runs test test-edges test-avx2 test-floor lint check bench docs clean
help:
	@echo "make demo   theory, simulation, networks and one page, in a few minutes"
	@echo "make test   the tests; make test-avx2: those of networks as on a processor without AVX-512;"
	@echo "            make test-floor: all with the lowest versions that are allowed;"
	@echo "            make test-edges: closed forms at 2000 settings each against mpmath"
	@echo "make lint   format, lint and types"
	@echo "make check  the same, and the tests"
	@echo "make bench  speed, side by side with what it is compared to"
	@echo "make docs   guide, statements and API as HTML in docs/_build"

# A virtual environment made without ensurepip, which Debian keeps in a package of its own.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("this needs Python 3.11 or newer, got " + sys.version.split()[0] + \
		"; say which with PYTHON=...") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv --without-pip .venv
	$(PYTHON) -m pip --python $(PY) install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

test: $(READY)
	$(PY) -m pytest -n $(JOBS)

test-edges: $(READY)
	THOROUGH=1 $(PY) -m pytest -rP tests/test_theory_edges.py

test-avx2: $(READY)
	ONEDNN_MAX_CPU_ISA=AVX2 $(PY) -m pytest -n $(JOBS) tests/test_deep_*.py

test-floor: .venv-floor/ready
	.venv-floor/bin/python -m pytest -n $(JOBS)

.venv-floor/ready: pyproject.toml constraints-floor.txt
	$(PYTHON) -m venv --without-pip .venv-floor
	$(PYTHON) -m pip --python .venv-floor/bin/python install --quiet --constraint constraints-floor.txt \
		--editable '.[attacks,certify,deep,test]' foolbox
	@touch $@

lint: $(READY)
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy

check: lint test

bench: $(READY)
	$(PY) benchmarks/theory_speed.py
	$(PY) benchmarks/sim_speed.py
	$(PY) benchmarks/deep_speed.py

# A warning is an error.
docs: .venv/ready-docs
	$(PY) -m sphinx -q -W --keep-going -b html docs docs/_build
	@echo "docs: docs/_build/index.html"

.venv/ready-docs: $(READY)
	$(PYTHON) -m pip --python $(PY) install --quiet --constraint constraints.txt --editable '.[docs]'
	@touch $@

clean:
	rm -rf .venv .venv-floor runs docs/_build docs/api docs/gallery docs/statements

# The demo keeps what is done: a run is made again only when the code it rests on has changed.
DEMO := runs/demo
METHODS := natural pgd trades frl
SEEDS := 0 1 2 3 4
FLAGS_trades := --beta 1.5  # that of FRL: FRL without its constraints, the control that isolates them
NETWORKS := $(foreach m,$(METHODS),$(foreach s,$(SEEDS),$(DEMO)/deep/$m-$s/result.json))

demo: $(READY)
	@echo "== theory: errors of the optimal natural and robust linear classifier"
	@$(PY) -m theory errors --dim 20 --eta 0.4 --sigma 1 --K 2 --eps 0.16
	@echo; echo "== simulation: does linear training reach what theory predicts?"
	@$(MAKE) --no-print-directory $(DEMO)/sim/records.jsonl
	@tail -n 3 $(DEMO)/sim/verdicts.txt
	@echo; echo "== networks: $(words $(NETWORKS)) runs on real digits, $(JOBS) at a time"
	@$(MAKE) --no-print-directory -j$(JOBS) demo-runs
	@echo; $(PY) -m deep.compare $(DEMO)/deep
	@$(PY) -m paper_figs --records $(DEMO) --out $(DEMO)/figures

demo-runs: $(NETWORKS)

$(DEMO)/sim/records.jsonl: $(wildcard theory/*.py theory/*/*.py sim/*.py sim/*/*.py)
	@rm -rf $(@D) && mkdir -p $(@D)
	@$(PY) -m sim.sweep --jobs $(JOBS) --out $(@D) > $(@D)/verdicts.txt || { cat $(@D)/verdicts.txt; exit 1; }

$(DEMO)/deep/%/result.json: $(wildcard theory/*.py theory/*/*.py deep/*.py deep/*/*.py)
	@rm -rf $(@D) && mkdir -p $(@D)
	@OMP_NUM_THREADS=1 TQDM_DISABLE=1 $(PY) -m deep.train --method $(word 1,$(subst -, ,$*)) \
		--seed $(word 2,$(subst -, ,$*)) $(FLAGS_$(word 1,$(subst -, ,$*))) --out $(@D) > $(@D)/table.txt
	@tail -n 1 $(@D)/table.txt
