"""A small array at work, register by register, as a page: `python -m sim film`.

The RTL of either dataflow runs a Gemm in lockstep with its cycle model (`sim.figures.film_bench`);
what every PE held in every cycle becomes one self-contained HTML file that opens offline.
"""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

from tritloom.arch.config import ArrayConfig, Dataflow
from tritloom.arch.files import write_files
from tritloom.hw.verilog import generate
from tritloom.sim.bench.runner import TOP, build, run_bench

from .film_bench import FILM, REGISTERS

FILE = "film.html"
CONFIG = ArrayConfig(rows=3, cols=3, lanes=2, buffer_tokens=16)
# Two tiles of six slices output-stationary, four tiles of three weight-stationary.
GEMM = (3, 12, 6)
SEED = 0
_SEEN = "|".join(["acts_east", *REGISTERS.values()])


def visible(verilog: str) -> str:
    """RTL whose registers of hops and PEs a bench in Verilator can read."""
    pattern = rf"^(  reg (?:signed )?\[\d+:0\] (?:{_SEEN})\b)"
    return re.sub(pattern, r"\1 /*verilator public_flat_rd*/", verilog, flags=re.MULTILINE)


def record(dataflow: Dataflow, *, folder: Path | None = None) -> dict:
    """Record what happens in the RTL of that dataflow, cycle by cycle.

    Raises
    ------
    RuntimeError
        The lockstep bench found a difference.
    """
    config = CONFIG.replace(dataflow=dataflow)
    verilog = visible(generate(config, name="dut").verilog)
    target = build(config, simulator="verilator", folder=folder, verilog=verilog)
    run = {"config": dataclasses.asdict(config), "gemms": [GEMM], "seed": SEED}
    bench = "tritloom.sim.figures.film_bench"
    failed = run_bench(target, top=TOP, bench=bench, run=run, tests=1, simulator="verilator")
    if failed:
        raise RuntimeError(failed)
    return json.loads((target / f"seed-{SEED}" / FILM).read_text())


def page(films: list[dict]) -> str:
    """Text of the HTML file of some films."""
    template = Path(__file__).with_name("film.html").read_text()
    return template.replace("[/*films*/]", json.dumps(films, separators=(",", ":")))


def write_film(folder: Path) -> tuple[Path, ...]:
    """Write the page of both dataflows; returns its path."""
    return write_files(folder, {FILE: page([record(dataflow) for dataflow in Dataflow])})
