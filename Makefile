# Each target is one line over a Python command; `make` alone prints help.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
INSTALL = PIP_CONSTRAINT=constraints.txt $(PY) -m pip install --quiet --disable-pip-version-check
# What the whole suite needs besides, too large for those who want Verilog.
SUITE := $(VENV)/.installed-fpga,sweep,dask,prove,docs
# scalesim breaks with later NumPys than ours may be, so it has an environment of its own.
SCALESIM := build/scalesim

PRESET ?= base
OUT ?= build/verilog
SIZE ?= 70b
TARGET ?= ecp5
SWEEP ?= examples/sweep.yaml
PROMPT ?= To be, or not to be

.PHONY: help verilog synth fpga area asap7 bitstream test test-torch test-fast mutants mutate mutate-formulas coverage coverage-python prove fuzz fuzz-configs killed lint presets floats browser integrate demo speak soak products train report reproduce validate scalesim sweep bench docs clean
help:  ## print this list (less than a second)
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | awk -F'\t' '{printf "  make %-15s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, not " + sys.version.split()[0])'
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(INSTALL) -e '.[sim,board,test]'
	touch $@

# The extras are the rest of the stamp's name.
$(VENV)/.installed-%: $(STAMP)
	$(INSTALL) -e '.[$*]'
	touch $@

verilog: $(STAMP)  ## RTL of the core, PRESET=base or ROWS= COLS= LANES=, into OUT=build/verilog (seconds)
	$(PY) -m hw verilog --preset $(PRESET) $(if $(ROWS),--rows $(ROWS)) $(if $(COLS),--cols $(COLS)) $(if $(LANES),--lanes $(LANES)) --out $(OUT)

synth: $(STAMP)  ## FPGA cells of PRESET on TARGET=ecp5, ice40 or xilinx7 (tiny: half a minute)
	$(PY) -m hw synth --preset $(PRESET) --target $(TARGET)

# base and large are larger than the device.
fpga: PRESET = tiny
fpga: $(VENV)/.installed-fpga  ## PRESET=tiny placed and routed on an ECP5 (tiny: 2 minutes; decode: more than 10)
	$(PY) -m hw fpga --preset $(PRESET)

area: $(VENV)/.installed-fpga  ## our PE beside plainer ones, placed and routed on an ECP5 (2 minutes)
	$(PY) -m hw area

asap7: $(STAMP)  ## PEs and baselines in 7 nm cells, LIBERTY="FILES of ASAP7" (17 minutes)
	$(PY) -m sim asap7 --jobs 2 --liberty $(LIBERTY) $(or $(ASAP7),--update)

bitstream: PRESET = tiny
bitstream: $(VENV)/.installed-fpga  ## a core on a ULX3S, PRESET=tiny, to build/fpga/tiny_ulx3s.bit (2 minutes)
	$(PY) -m hw fpga --board ulx3s --seeds 1 --preset $(PRESET)

test: lint $(SUITE)  ## lint and the whole suite, but for what needs PyTorch (less than 20 minutes)
	$(PY) -m pytest -n 2 --dist worksteal -m 'not exhaustive'

test-torch: $(VENV)/.installed-torch  ## training and the golden decoder against PyTorch's (fetches 5 GB; 2 minutes)
	$(PY) -m pytest -m torch

mutants: $(STAMP)  ## every injected fault must be caught (about 12 minutes)
	$(PY) -m pytest sim -n 2 --dist worksteal -k catches_a_fault

mutate: $(STAMP)  ## 200 random faults of the netlist, of which the benches must catch 98 % (25 minutes)
	$(PY) -m sim mutate --faults 200 --seed 1

mutate-formulas: $(SUITE) $(VENV)/.installed-torch  ## 300 random faults of formulas, of which the unit tests must catch 90 % (20 minutes)
	$(PY) -m tests.tools.formula_mutants --count 300 --seed 1

prove: $(VENV)/.installed-prove  ## properties of the RTL for all inputs, and a mutant of each (3 minutes)
	$(PY) -m sim prove

fuzz: $(VENV)/.installed-fuzz  ## damaged model files into their readers, guided by coverage (10 minutes)
	$(PY) -m tests.tools.fuzz_readers --seconds 600

fuzz-configs: $(STAMP)  ## random configurations, each linted and through its benches (60 minutes)
	$(PY) -m sim fuzz-configs --seconds 3600 --seed 1

killed: $(STAMP)  ## commands interrupted and killed at random points, speak too (5 minutes)
	$(PY) -m pytest tests/test_killed.py tests/energy_model/test_sweep.py -k "killed or signal or without_room or cut_short"

test-fast: $(STAMP)  ## the suite without co-simulation (under 2 minutes)
	$(PY) -m pytest -n 2 -m 'not slow and not exhaustive'

coverage: $(STAMP)  ## lines and toggles of the core's RTL that its benches reach, and crosses, tiny (6 minutes)
	$(PY) -m pytest -q sim/coverage/test_coverage.py && $(PY) -m sim coverage

coverage-python: $(SUITE) $(VENV)/.installed-torch  ## branches of our Python that the suite, prove and coverage take (30 minutes)
	$(PY) -m pytest -n 2 --dist worksteal -m 'not exhaustive' --cov --cov-report= --cov-fail-under=0
	$(PY) -m coverage run -m sim prove && $(PY) -m coverage run -m sim coverage
	$(PY) -m coverage combine --quiet --append && $(PY) -m coverage report

lint: $(STAMP)  ## ruff, check and format; mypy, where rooms have no more errors than before (half a minute)
	$(PY) -m ruff check . && $(PY) -m ruff format --check . && $(PY) -m tests.tools.typecheck

presets: $(STAMP)  ## every preset, either dataflow: lint and co-simulation (35 minutes)
	$(PY) -m pytest tests/hw/test_lint.py sim/bench/test_core.py -k "warned_of or presets_run"

floats: $(STAMP)  ## floating-point baselines, 10 million pairs of operands each, against NumPy (1 minute)
	$(PY) -m pytest sim/bench/test_floating.py

browser: $(VENV)/.installed-browser  ## the HTML report and docs/film.html in Chromium (installs 260 MB; 1 minute)
	$(PY) -m pytest tests/energy_model/test_page.py tests/sim/test_film_page.py

integrate: $(VENV)/.installed-integrate  ## the core in a design of FuseSoC's and in a SoC of LiteX's (installs 30 MB; 1 minute)
	$(PY) -m pytest tests/hw/test_integration.py

demo: $(STAMP)  ## a real layer of SmolLM2-135M through the RTL (1 minute)
	$(PY) -m sim demo

# Through the environment: a prompt may hold quotes.
speak: export TRITLOOM_PROMPT = $(PROMPT)
speak: $(STAMP)  ## PROMPT="..." continued by a model whose products the RTL computes (1 minute)
	$(PY) -m sim speak --prompt "$$TRITLOOM_PROMPT"

products: $(STAMP)  ## BitNet 2B4T's products through the RTL: a block with 1 and 16 tokens, all 30 blocks (1 to 5 minutes)
	$(PY) -m sim products --blocks 1 && $(PY) -m sim products --blocks 1 --tokens 16 --preset base && $(PY) -m sim products --preset kv260 --jobs 2

soak: $(STAMP)  ## 100 million cycles of small cores, random products and stalls, all checked (5 to 15 minutes)
	$(PY) -m sim soak

train: $(VENV)/.installed-torch  ## a BitNet of a million parameters on Shakespeare, and its float32 twin (50 minutes)
	$(PY) examples/train/train.py --out build/trained && $(PY) examples/train/train.py --out build/trained --twin

report: $(STAMP)  ## BitNet b1.58 next to FP16 LLaMA, SIZE=70b (seconds)
	$(PY) -m energy_model report --size $(SIZE)

reproduce: $(STAMP)  ## the BitNet papers' figures next to the model's (seconds)
	$(PY) -m energy_model reproduce --check

validate: $(STAMP)  ## measured ternary accelerators next to the model (seconds)
	$(PY) -m energy_model validate

$(SCALESIM)/.installed:
	$(PYTHON) -m venv $(SCALESIM)
	$(SCALESIM)/bin/python -m pip install --quiet --disable-pip-version-check scalesim==3.0.0 numpy==2.3.5
	touch $@

scalesim: $(STAMP) $(SCALESIM)/.installed  ## our cycles and time beside those of PyPI's scalesim (3 to 5 minutes)
	$(PY) -m tritloom.energy_model.validate.scalesim_bench $(SCALESIM)/bin/python

sweep: $(STAMP)  ## Pareto front of the machines in SWEEP=examples/sweep.yaml (seconds)
	$(PY) -m energy_model sweep $(SWEEP)

bench: $(STAMP)  ## the figures that the pages quote (10 minutes)
	$(PY) -m sim bench

docs: $(VENV)/.installed-docs  ## the book, warnings as errors, into build/docs/html (half a minute)
	$(PY) -m sphinx -q -W --keep-going docs build/docs/html

clean:  ## remove what was built; the virtual environment stays (seconds)
	rm -rf build
