"""Components to Verilog, by way of RTLIL and Yosys, and the sidecar that describes it."""

from __future__ import annotations

import dataclasses
import json
import re
import tempfile
import textwrap
from dataclasses import dataclass
from pathlib import Path

from amaranth.back import rtlil
from amaranth.hdl import ClockDomain, Shape
from amaranth.lib import wiring

from tritloom.arch import timing
from tritloom.arch.config import ArrayConfig, Dataflow
from tritloom.arch.files import write_files
from tritloom.arch.ports import Port

from . import lint, yosys
from .parts.ports import Modules, Ports

# Characters of a line that is broken; a line of a wide array's trits has ten times as many.
LONG_LINE = 10_000


@dataclass(frozen=True, kw_only=True)
class Rtl:
    """Generated RTL.

    Attributes
    ----------
    top : str
        Name of the top module.
    config : ArrayConfig
    ports : tuple of Port
        Ports of the top module.
    verilog : str
        Verilog-2005 of all modules.
    cells : dict of str to int
        Yosys cells of the flattened design by type, before mapping.
    """

    top: str
    config: ArrayConfig
    ports: tuple[Port, ...]
    verilog: str
    cells: dict[str, int]

    def sidecar(self) -> dict:
        """Configuration, ports and cells, for scripts around the Verilog."""
        config = self.config
        derived = ("psum_bits", "hops", "tree_stages", "macs_per_cycle")
        if config.dataflow == Dataflow.OUTPUT_STATIONARY:
            latency = {"drain_latency_cycles": timing.drain_latency(config)}
        else:
            latency = {"pass_latency_cycles": timing.pass_latency(config)}
        return {
            "top": self.top,
            "configuration": dataclasses.asdict(config)
            | {name: getattr(config, name) for name in derived}
            | latency,
            "ports": [dataclasses.asdict(port) for port in self.ports],
            "cells": self.cells,
        }


def listed(ports: Ports) -> tuple[Port, ...]:
    """A component's table of ports as those of its Verilog module, without clock and reset."""
    return tuple(
        Port(
            name=name,
            direction=f"{flow.value.lower()}put",
            width=Shape.cast(shape).width,
            what=what,
        )
        for name, (flow, shape, what) in ports.items()
    )


def emit(modules: Modules, *, top: str) -> tuple[str, dict[str, int]]:
    """Write modules that instantiate each other by name as one Verilog text.

    A component whose class has a true attribute `reset_less` gets no reset port.

    Returns
    -------
    str
        Verilog-2005.
    dict of str to int
        Yosys cells of the flattened design by type.
    """
    components = {n: m for n, m in modules.items() if isinstance(m, wiring.Component)}
    written = {name: module for name, module in modules.items() if name not in components}
    with tempfile.TemporaryDirectory() as folder:
        names = ("in.il", "written.v", "out.v", "stat.json")
        source, texts, verilog, stat = (Path(folder, file) for file in names)
        texts.write_text("".join(module.verilog(name) for name, module in written.items()))
        text = "\n".join(_rtlil(name, component) for name, component in components.items())
        source.write_text(text)
        yosys.run(
            f"{yosys.library(text)}"
            f"read_rtlil {source}\n"
            f"read_verilog {texts}\n"
            f"hierarchy -check -top {top}\n"
            # Processes become multiplexers and registers, which become clock enables and resets:
            # plain text without `always @*`, that every simulator starts alike.
            "proc\n"
            "memory_collect\n"
            "opt_clean\n"
            "opt_dff\n"
            "opt_dff\n"
            # One multiplexer of many inputs would be a `casez` whose items overlap.
            "pmuxtree\n"
            # Where one wire has several names, one is kept.
            "opt_clean -purge\n"
            "rename -unescape\n"
            "attrmap -remove generator -remove top -remove src -remove amaranth.hierarchy\n"
            "attrmap -modattr -remove generator -remove src\n"
            f"tee -q -o {stat} stat -json -top {top}\n"
            # Modules that are Verilog already keep their text: tools recognise memories by it.
            f"{''.join(f'blackbox {name}; ' for name in written)}\n"
            f"write_verilog -noattr {verilog}\n"
        )
        design = json.loads(stat.read_text())["design"]["num_cells_by_type"]
        cells = {kind: n for kind, n in sorted(design.items()) if kind.startswith("$")}
        # `!` of a vector is correct, but every linter warns of it.
        text = re.sub(r"= ! (?=.*;$)", "= ~| ", verilog.read_text(), flags=re.MULTILINE)
        lines = map(_broken, text.splitlines(keepends=True))
        return "".join(lines) + texts.read_text(), cells


def _rtlil(name: str, component: wiring.Component) -> str:
    reset_less = getattr(component, "reset_less", False)
    return rtlil.convert(
        component,
        name=name,
        emit_src=False,
        missing_domain=lambda domain: ClockDomain(domain, reset_less=reset_less),
    )


def _broken(line: str) -> str:
    """A line of Verilog, over several if it has more tokens than tools take (Verilator: 40,000)."""
    if len(line) <= LONG_LINE:
        return line
    return textwrap.fill(line, 100, break_long_words=False, break_on_hyphens=False) + "\n"


def write(rtl: Rtl, folder: Path, *, stem: str) -> tuple[Path, ...]:
    """Write `stem`.v, .json and .vlt into `folder`; none exists half-written at any time."""
    texts = {
        f"{stem}.v": rtl.verilog,
        f"{stem}.json": json.dumps(rtl.sidecar(), indent=2) + "\n",
        f"{stem}.vlt": lint.configuration(),
    }
    return write_files(folder, texts)
