"""Builders of the generated RTL for a simulator, and runs of benches on it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import cocotb_tools.config
from cocotb_tools.runner import get_runner

from tritloom.arch.config import ArrayConfig
from tritloom.hw import yosys
from tritloom.hw.core import unpacker
from tritloom.hw.emit import emit
from tritloom.hw.verilog import generate
from tritloom.sim import verilator

from .scenarios import SCENARIOS, UNPACKER_SCENARIOS

ROOT = Path(__file__).parents[2]
# Models of the cells of Lattice ECP5.
CELLS = Path(__file__).with_name("ecp5_cells.v")
TOP = "tritloom_dut"
# What Verilator compiles once where weights come 256 bytes and more a beat, or a PE has the carry
# cells of 64 lanes, or hundreds of full adders. It writes a function for each instance of what is
# not among these: 170 MB of C++ for 4,096 byte lanes and 1,024 PEs.
BLOCKS = re.compile(r"^module (\w+_(?:hop|row|byte_lanes_16|byte_lanes_256|popcount_1024))\b", re.M)
CELL_BLOCKS = re.compile(r"^module (\w+_(?:pe|byte_lanes_16|byte_lanes_256|popcount_1024))\b", re.M)
LARGE = re.compile(r"_byte_lanes_256\(|CCU2C.* lane_63_0 |_full_adder full_adder_\d{3} ", re.DOTALL)
UNPACKER = "dut_unpacker"
# Verilator's counters, and signals inside the core for the sampling of crosses; a bench then
# leaves its `coverage.dat` beside its results.
COVERAGE = ("--coverage-line", "--coverage-toggle", "--public-depth", "2")


@contextlib.contextmanager
def _variables(changes):
    saved = dict(os.environ)
    os.environ.update(changes)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(saved)


def build(
    config: ArrayConfig,
    *,
    simulator: str,
    folder: Path | None = None,
    verilog: str | None = None,
    options: tuple[str, ...] = (),
) -> Path:
    """Compile the array of `config`, or other RTL for it, once; returns the build folder."""
    text = verilog or generate(config, name="dut").verilog
    return compile_rtl(
        text, top=TOP, label=config.shape, simulator=simulator, folder=folder, options=options
    )


def compile_rtl(
    verilog: str,
    *,
    top: str,
    label: str,
    simulator: str,
    folder: Path | None = None,
    options: tuple[str, ...] = (),
) -> Path:
    """Compile RTL once; returns the build folder, whose name holds `label` and a hash.

    Builds are kept in `folder`, by default in `verilator.builds_folder`; `options` are Verilator's,
    beside ours.
    """
    target = verilator.build_folder(
        f"{simulator}-{label}", simulator, *options, verilog, folder=folder
    )
    source = verilator.write_source(target / "dut.v", verilog)
    cells = [CELLS] if yosys.library(verilog) else []
    # It includes the models that come with Yosys.
    includes = [yosys.path(yosys.ECP5_CELLS).parent] if cells else []
    if simulator == "verilator":
        gates = cells or "_full_adder " in verilog
        found = (CELL_BLOCKS if gates else BLOCKS).findall(verilog)
        blocks = found if LARGE.search(verilog) else []
        options = (*options, *(f"+incdir+{include}" for include in includes))
        _verilate(source, *cells, top=top, folder=target, blocks=blocks, options=options)
    else:
        get_runner(simulator).build(
            sources=[source, *cells],
            includes=includes,
            hdl_toplevel=top,
            build_dir=target,
            timescale=("1ns", "1ps"),
            always=True,
            log_file=target / "build.log",
        )
    return target


def _verilate(*sources: Path, top: str, folder: Path, blocks: list[str], options: tuple):
    libraries = cocotb_tools.config.libs_dir
    main = cocotb_tools.config.share_dir / "lib" / "verilator" / "verilator.cpp"
    verilator.build(
        folder,
        *("--vpi", "--timescale", "1ns/1ps"),
        # The bench looks at the ports only; everything else may be optimised.
        *("--public-depth", "1"),
        *("-LDFLAGS", f"-Wl,-rpath,{libraries} -L{libraries} -lcocotbvpi_verilator"),
        *options,
        *map(str, (main, *sources)),
        top=top,
        blocks=blocks,
    )


def run_array_bench(
    config: ArrayConfig,
    gemms: list[tuple[int, int, int]],
    *,
    seed: int,
    simulator: str,
    folder: Path | None = None,
    verilog: str | None = None,
    module: str = "tritloom.sim.bench.lockstep",
    tests: int = len(SCENARIOS),
    only: str | None = None,
) -> str:
    """Run a bench inside the simulator; what failed, or "" where all its tests ran and passed.

    Parameters
    ----------
    gemms : list of (m, k, n), streamed back to back
    verilog : str, optional
        RTL to test instead of what `generate` gives: of another component, or with a fault.
    module, tests : str, int
        The bench, and the number of tests that must have run.
    only : str, optional
        Regular expression of the tests to run; all by default.
    """
    target = build(config, simulator=simulator, folder=folder, verilog=verilog)
    return run_bench(
        target,
        top=TOP,
        bench=module,
        run={"config": dataclasses.asdict(config), "gemms": gemms, "seed": seed},
        tests=tests,
        only=only,
        simulator=simulator,
    )


def run_unpacker_bench(
    positions: int,
    *,
    seed: int,
    simulator: str,
    folder: Path | None = None,
    verilog: str | None = None,
) -> str:
    """Run all of `sim.bench.lockstep_unpacker`; the result is like that of `run_array_bench`."""
    target = compile_rtl(
        verilog or unpacker_verilog(positions),
        top=UNPACKER,
        label=f"unpacker-{positions}",
        simulator=simulator,
        folder=folder,
    )
    return run_bench(
        target,
        top=UNPACKER,
        bench="tritloom.sim.bench.lockstep_unpacker",
        run={"positions": positions, "seed": seed},
        tests=len(UNPACKER_SCENARIOS),
        simulator=simulator,
    )


def plant(verilog: str, pattern: str, replacement: str) -> str:
    """RTL with a fault: every match of a regular expression replaced; LookupError without one."""
    faulty, count = re.subn(pattern, replacement, verilog)
    if not count:
        raise LookupError(f"nothing in the RTL matches {pattern}")
    return faulty


def unpacker_verilog(positions: int) -> str:
    """Verilog of an unpacker as the top `UNPACKER`."""
    verilog, _ = emit(unpacker.modules(positions, prefix="dut"), top=UNPACKER)
    return verilog


def run_bench(
    target: Path,
    *,
    top: str,
    bench: str,
    run: dict,
    tests: int,
    simulator: str,
    only: str | None = None,
    plusargs: Sequence[str] = (),
    failures: int = 0,
) -> str:
    """Run a bench on what was built in `target`; what failed, or "" where all passed.

    Parameters
    ----------
    bench : str
        Module of the cocotb tests.
    run : dict
        What to run, for the bench; its `seed` among it.
    tests : int
        Tests that must have run.
    only : str, optional
        Regular expression of the tests to run; all by default.
    plusargs : sequence of str
        For the simulator's command line.
    failures : int
        Failed tests after which no other is run; 0 for all tests.
    """
    # Runs may share a build, so each has a folder of its own for what it writes.
    results = target / f"seed-{run['seed']}{''.join(plusargs)}"
    results.mkdir(exist_ok=True)
    report = results / "results.xml"
    report.unlink(missing_ok=True)
    environment = {
        "TRITLOOM_RUN": json.dumps(run),
        "COCOTB_MAX_FAILURES": str(failures),
        "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
    }
    # Outside pytest's own process the runner neither raises on a failing test nor notices a bench
    # that could not be imported; the results file tells, and its absence is a failure.
    with _variables(environment), contextlib.suppress(SystemExit, AssertionError):
        get_runner(simulator).test(
            test_module=bench,
            hdl_toplevel=top,
            hdl_toplevel_lang="verilog",
            build_dir=target,
            test_dir=results,
            results_xml=str(report),
            extra_env=environment,
            test_filter=only,
            plusargs=plusargs,
            log_file=results / "run.log",
        )
    log = results / "run.log"
    if not report.exists():
        return f"the simulation ended without a report, see {log}"
    cases = ElementTree.parse(report).getroot().findall(".//testcase")
    failures = [
        f"{case.get('name')}: {problem.get('message') or problem.text}"
        for case in cases
        for problem in (*case.findall("failure"), *case.findall("error"))
    ]
    if len(cases) != tests:
        failures.append(f"{len(cases)} of {tests} tests ran, see {log}")
    return "\n".join(failures)
