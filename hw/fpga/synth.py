"""Synthesis statistics: the cells of an FPGA that Yosys maps the generated Verilog to.

Cells are counted after technology mapping, before place and route: no clock frequency, no routing.
Multipliers would be inferred as DSP blocks on every target, and the array has none.
"""

from __future__ import annotations

import dataclasses
import json
import re
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from tritloom.arch.config import Technology
from tritloom.arch.errors import InputError
from tritloom.console.sheet import Heading, Sheet, Table
from tritloom.hw import yosys
from tritloom.hw.emit import Rtl

# Resources in the order of the table; a cell that matches none is listed as "other".
RESOURCES = ("LUT", "wide mux", "carry", "FF", "LUT RAM", "block RAM", "DSP", "latch", "other")


@dataclass(frozen=True, kw_only=True)
class Family:
    """An FPGA family.

    Attributes
    ----------
    name : str
        Vendor and family.
    command : str
        Yosys' command that synthesises for it.
    cells : dict of str to str
        Resource -> pattern of the names of its cells.
    """

    name: str
    command: str
    cells: dict[str, str]


TARGETS = {
    "ecp5": Family(
        name="Lattice ECP5",
        command="synth_ecp5",
        cells={
            "LUT": r"LUT4",
            "wide mux": r"PFUMX|L6MUX21",
            "carry": r"CCU2C",
            "FF": r"TRELLIS_FF",
            "LUT RAM": r"TRELLIS_DPR16X4",
            "block RAM": r"DP16KD|PDPW16KD",
            "DSP": r"MULT18X18D|MULT9X9D|ALU54B|ALU24B",
        },
    ),
    "ice40": Family(
        name="Lattice iCE40",
        # Multipliers become DSP blocks only where they are asked for.
        command="synth_ice40 -dsp",
        cells={
            "LUT": r"SB_LUT4",
            "carry": r"SB_CARRY",
            "FF": r"SB_DFF\w*",
            "block RAM": r"SB_RAM40_4K\w*|SB_SPRAM256KA",
            "DSP": r"SB_MAC16",
        },
    ),
    "xilinx7": Family(
        name="AMD 7 series",
        # The core is part of a larger design, which has the pads.
        command="synth_xilinx -family xc7 -flatten -noiopad -noclkbuf",
        cells={
            "LUT": r"LUT[1-6]|INV",
            "wide mux": r"MUXF[78]",
            "carry": r"CARRY4",
            "FF": r"FD[RSCP]E",
            "LUT RAM": r"RAM(32|64|128|256)[XM]\w*|SRL16E|SRLC32E",
            "block RAM": r"RAMB(18|36)E1",
            "DSP": r"DSP48E1",
            "latch": r"LD[CP]E",
        },
    ),
}


@dataclass(frozen=True, kw_only=True)
class Synthesis:
    """Cells that a run of Yosys counted.

    Attributes
    ----------
    top, target : str
    resources : dict of str to int
        Cells by resource, every one of `RESOURCES`.
    cells : dict of str to int
        Cells by type.
    tool : str
        Yosys' version.
    seconds : float
        Wall time.
    """

    top: str
    target: str
    resources: dict[str, int]
    cells: dict[str, int]
    tool: str
    seconds: float
    tier: str = "MEASURED"


def find_target(name: str) -> Family:
    """The named target; an unknown name raises `InputError` that lists the known ones."""
    if name not in TARGETS:
        raise InputError(f"unknown target {name!r}; known: {', '.join(TARGETS)}")
    return TARGETS[name]


def synthesise(rtl: Rtl, target: str, *, options: str = "", then: str = "") -> Synthesis:
    """Map the Verilog to the cells of an FPGA and count them.

    Parameters
    ----------
    options : str, optional
        Further options of the target's command.
    then : str, optional
        Script of Yosys that goes on with the mapped module.

    Raises
    ------
    InputError
        The target is unknown, or the RTL's technology is for another one.
    hw.yosys.YosysError
        The RTL has a latch, on whatever target, or Yosys fails.
    """
    family = find_target(target)
    technology = rtl.config.technology
    if technology not in (Technology.GENERIC, target):
        raise InputError(f"technology {technology} is not for target {target!r}")
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        verilog, stat = Path(folder, "dut.v"), Path(folder, "stat.json")
        verilog.write_text(rtl.verilog)
        yosys.run(
            f"read_verilog {verilog}\n"
            f"{yosys.library(rtl.verilog)}"
            f"hierarchy -check -top {rtl.top}\n"
            "proc\n"
            "select -assert-none t:$dlatch t:$adlatch t:$dlatchsr t:$sr\n"
            f"{family.command} {options} -top {rtl.top}\n"
            f"tee -q -o {stat} stat -json -top {rtl.top}\n"
            f"{then}"
        )
        counted = json.loads(stat.read_text())["design"]["num_cells_by_type"]
    # Yosys keeps the names of flattened modules as cells.
    cells = {kind: n for kind, n in sorted(counted.items()) if kind != "$scopeinfo"}
    resources = dict.fromkeys(RESOURCES, 0)
    for kind, number in cells.items():
        resources[_resource(kind, family)] += number
    return Synthesis(
        top=rtl.top,
        target=target,
        resources=resources,
        cells=cells,
        tool=f"Yosys {version('pyosys')}",
        seconds=time.perf_counter() - start,
    )


def _resource(kind, family):
    found = (name for name, cells in family.cells.items() if re.fullmatch(cells, kind))
    return next(found, "latch" if "LATCH" in kind else "other")


def sheet(done: Synthesis) -> Sheet:
    """The cells by resource; a resource without cells only where a reader looks for the zero."""
    family = TARGETS[done.target]
    rows = []
    for resource, number in done.resources.items():
        kinds = [
            f"{kind} {n:,}" for kind, n in done.cells.items() if _resource(kind, family) == resource
        ]
        if number or resource in ("LUT", "FF", "block RAM", "DSP", "latch"):
            rows.append([resource, f"{number:,}", done.tier, ", ".join(kinds)])
    title = f"{done.top} on {family.name}, {done.tool}, {done.seconds:.0f} s"
    return Sheet(
        parts=[
            Heading(title),
            Table(headers=["resource", ">cells", "tier", "of which"], rows=rows),
        ],
        records=[
            {
                "top": done.top,
                "target": done.target,
                "resource": resource,
                "cells": number,
                "tier": done.tier,
            }
            for resource, number in done.resources.items()
        ],
        data=dataclasses.asdict(done),
    )
