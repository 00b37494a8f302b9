"""Figures that pages quote, measured: `python -m sim bench`."""

from __future__ import annotations

import json
import os
import platform
import tempfile
import time
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from tritloom.arch.config import ArrayConfig, preset
from tritloom.arch.errors import MismatchError
from tritloom.arch.files import write_files
from tritloom.arch.tiling import OutputStationaryPlan
from tritloom.arch.workload import Gemm
from tritloom.console.sheet import Sheet, Table, show
from tritloom.hw.verilog import generate, generate_core
from tritloom.sim.bench import runner
from tritloom.sim.checkpoints.fetch import DEMO_TENSOR, fetch_demo_model
from tritloom.sim.checkpoints.matrix import load_matrix
from tritloom.sim.energy import report_command_s, sweep_speeds
from tritloom.sim.run.layer import run_layer

REPORT = Path("build/bench.json")
# Input and output features.
LAYERS = ((4096, 4096), (2560, 6912), (4096, 11008))
WEIGHT_STATIONARY = preset("base").replace(dataflow="weight-stationary", buffer_tokens=512)


def show_figures() -> None:
    """Measure everything, print a table, write `REPORT`.

    Raises
    ------
    MismatchError
        A target is missed.
    """
    figures = [
        *_generation(),
        *(figure for layer in LAYERS for figure in _utilisation(preset("base"), *layer)),
        *(
            figure
            for layer in LAYERS[1:]
            for figure in _utilisation(WEIGHT_STATIONARY, *layer, m=512)
        ),
        *(figure for layer in LAYERS for figure in _utilisation(preset("decode"), *layer)),
        *_lockstep(preset("base")),
        _demo(preset("base")),
        _report_time(),
        *_sweep_rates(),
    ]
    show(figure_sheet(figures))
    machine = {"python": platform.python_version(), "cores": os.cpu_count()}
    content = json.dumps({"machine": machine, "figures": figures}, indent=2) + "\n"
    write_files(REPORT.parent, {REPORT.name: content})
    print(f"tier MEASURED, wall time on {machine['cores']} cores; written to {REPORT}")
    missed = [figure["figure"] for figure in figures if figure.get("met") is False]
    if missed:
        raise MismatchError(f"missed: {', '.join(missed)}")


def figure_sheet(figures: list[dict]) -> Sheet:
    """A row for each figure, with its target where it has one."""
    rows = [
        (
            figure["figure"],
            f"{figure['measured']:,.5g} {figure['unit']}",
            figure.get("target_text", ""),
            {True: "met", False: "MISSED", None: ""}[figure.get("met")],
        )
        for figure in figures
    ]
    return Sheet(parts=[Table(headers=("figure", "measured", "target", ""), rows=rows)])


def _figure(name, measured, unit, *, below=None, above=None) -> dict:
    figure = {"figure": name, "measured": measured, "unit": unit, "tier": "MEASURED"}
    if below is not None:
        figure |= {"target_text": f"< {below:g} {unit}", "met": bool(measured < below)}
    if above is not None:
        figure |= {"target_text": f">= {above:g} {unit}", "met": bool(measured >= above)}
    return figure


def _generation():
    for side, kind, seconds, megabytes in (
        (16, "array", 3, None),
        (64, "array", 10, 3),
        (128, "array", 30, None),
        (64, "core", 15, 5),
    ):
        config = ArrayConfig(rows=side, cols=side, lanes=16)
        start = time.perf_counter()
        verilog = (generate if kind == "array" else generate_core)(config).verilog
        spent = time.perf_counter() - start
        yield _figure(f"generate {kind} {config.shape}", spent, "s", below=seconds)
        yield _figure(f"size of {kind} {config.shape}", len(verilog) / 1e6, "MB", below=megabytes)


def _utilisation(config, k, n, m=None):
    trits = np.random.default_rng(0).integers(-1, 1, (n, k), endpoint=True)
    run = run_layer(trits.astype(np.float32), config, tokens=m)
    name = f"{k} to {n}, m = {run.job.plan.gemm.m}, {config.shape} {config.dataflow}"
    # From the core's own counters. At m = 1 it is the weight stream's rate too: a slice of trits
    # for every beat of the array.
    yield _figure(f"{name}: busy", 100 * run.busy, "%", above=99)
    yield _figure(f"{name}: slots used", 100 * run.utilisation, "%")
    yield _figure(f"{name}: weights a trit", run.bits_per_trit, "bit", below=1.62)
    macs = run.rtl.cycles * config.macs_per_cycle
    yield _figure(f"{name}: plain harness", macs / run.rtl.seconds / 1e6, "M ternary op/s")


def _lockstep(config):
    gemm = (config.rows, 2048, 4 * config.cols)
    failure = runner.run_array_bench(config, [gemm], seed=0, simulator="verilator")
    if failure:
        raise RuntimeError(failure)
    target = runner.build(config, simulator="verilator")
    for case in ElementTree.parse(target / "seed-0" / "results.xml").getroot().iter("testcase"):
        if "steady" in case.get("name"):
            # Each Gemm runs alone, for its cycles, and once more among the others.
            macs = 2 * OutputStationaryPlan(config, Gemm(*gemm)).executed_macs
            speed = macs / float(case.get("time")) / 1e6
            yield _figure(f"{config.shape}: cocotb in lockstep", speed, "M ternary op/s")


def _demo(config):
    matrix = load_matrix(fetch_demo_model(), DEMO_TENSOR)
    with tempfile.TemporaryDirectory() as empty:
        start = time.perf_counter()
        run_layer(matrix, config, builds=Path(empty) / "builds")
        return _figure("demo layer, build included", time.perf_counter() - start, "s", below=180)


def _report_time():
    return _figure("energy_model report --size 70b", report_command_s("70b"), "s", below=1.5)


def _sweep_rates():
    example = Path(__file__).parents[2] / "examples" / "sweep_random.yaml"
    for speed in sweep_speeds(example, jobs=2):
        name = f"energy_model sweep, two processes, {speed.start}"
        yield _figure(name, speed.per_s, "evaluations/s", above=2000)
