# Each target is one line over a Python command; `make` alone prints help.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
FPGA_STAMP := $(VENV)/.installed-fpga

PRESET ?= base
OUT ?= build/verilog
SIZE ?= 70b
TARGET ?= ecp5

.PHONY: help verilog synth fpga area bitstream test test-fast mutants lint presets demo report bench clean
help:  ## print this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | awk -F'\t' '{printf "  make %-11s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, not " + sys.version.split()[0])'
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	PIP_CONSTRAINT=constraints.txt $(PY) -m pip install --quiet --disable-pip-version-check -e '.[sim,board,test]'
	touch $@

$(FPGA_STAMP): $(STAMP)
	PIP_CONSTRAINT=constraints.txt $(PY) -m pip install --quiet --disable-pip-version-check -e '.[fpga]'
	touch $@

verilog: $(STAMP)  ## RTL of the core, PRESET=base or ROWS= COLS= LANES=, into OUT=build/verilog
	$(PY) -m hw verilog --preset $(PRESET) $(if $(ROWS),--rows $(ROWS)) $(if $(COLS),--cols $(COLS)) $(if $(LANES),--lanes $(LANES)) --out $(OUT)

synth: $(STAMP)  ## FPGA cells of PRESET on TARGET=ecp5, ice40 or xilinx7 (tiny: half a minute)
	$(PY) -m hw synth --preset $(PRESET) --target $(TARGET)

# base and large are larger than the device.
fpga: PRESET = tiny
fpga: $(FPGA_STAMP)  ## PRESET=tiny placed and routed on an ECP5 (tiny: 2 minutes; decode: more than 10)
	$(PY) -m hw fpga --preset $(PRESET)

area: $(FPGA_STAMP)  ## our PE beside plainer ones, placed and routed on an ECP5 (2 minutes)
	$(PY) -m hw area

bitstream: PRESET = tiny
bitstream: $(FPGA_STAMP)  ## a core on a ULX3S, PRESET=tiny, to build/fpga/tiny_ulx3s.bit (2 minutes)
	$(PY) -m hw fpga --board ulx3s --seeds 1 --preset $(PRESET)

test: lint $(FPGA_STAMP)  ## lint and the whole suite (less than 20 minutes)
	$(PY) -m pytest -n 2 --dist worksteal -m 'not exhaustive'

mutants: $(STAMP)  ## every injected fault must be caught (about 12 minutes)
	$(PY) -m pytest sim -n 2 --dist worksteal -k catches_a_fault

test-fast: $(STAMP)  ## the suite without co-simulation (under 2 minutes)
	$(PY) -m pytest -n 2 -m 'not slow and not exhaustive'

lint: $(STAMP)  ## ruff, check and format
	$(PY) -m ruff check . && $(PY) -m ruff format --check .

presets: $(STAMP)  ## every preset, either dataflow: lint and co-simulation (half an hour)
	$(PY) -m pytest tests/test_lint.py sim/test_core.py -k "warned_of or presets_run"

demo: $(STAMP)  ## a real layer of SmolLM2-135M through the RTL (1 minute)
	$(PY) -m sim demo

report: $(STAMP)  ## BitNet b1.58 next to FP16 LLaMA, SIZE=70b
	$(PY) -m energy_model report --size $(SIZE)

bench: $(STAMP)  ## the figures that the README quotes (10 minutes)
	$(PY) -m sim bench

clean:  ## remove what was built; the virtual environment stays
	rm -rf build
