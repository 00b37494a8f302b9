"""Verilog of an array, and the sidecar that describes it."""

from __future__ import annotations

import dataclasses
import json
import re
import tempfile
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from amaranth.back import rtlil
from amaranth.hdl import ClockDomain, Shape
from amaranth.lib import wiring

from tritloom.arch import timing
from tritloom.arch.board import Board
from tritloom.arch.config import ArrayConfig, Dataflow, Technology
from tritloom.arch.errors import InputError
from tritloom.arch.files import write_files
from tritloom.arch.ports import Port, clock_ports, core_ports
from tritloom.hw.array import output_stationary as array
from tritloom.hw.array import pe, row
from tritloom.hw.array import weight_stationary as stationary
from tritloom.hw.array.row import Row, Stack, stack_name
from tritloom.hw.baselines import pe as baselines
from tritloom.hw.board.fifo import Fifo, fifo_ram
from tritloom.hw.board.loader import Loader
from tritloom.hw.board.top import Top, top_ports
from tritloom.hw.board.uart import Receiver, Transmitter
from tritloom.hw.core import registers, unpacker
from tritloom.hw.core.core import Core
from tritloom.hw.core.sequencer import Loads, Sequencer, act_buffer
from tritloom.hw.parts import asic
from tritloom.hw.parts.delay import Delay, delay_name
from tritloom.hw.parts.popcount import LEAF, Popcount, halves, popcount_name
from tritloom.hw.parts.ram import Ram

from . import lint, yosys

# Modules that are Verilog already.
Written = Ram | asic.Gate

# Characters. A line of a wide array's trits has ten times as many.
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
        Of the top module.
    verilog : str
        Verilog-2005, all modules.
    cells : dict of str to int
        Yosys cells of the flattened design by type, before mapping.
    """

    top: str
    config: ArrayConfig
    ports: tuple[Port, ...]
    verilog: str
    cells: dict[str, int]

    def sidecar(self) -> dict:
        """What a script around the Verilog needs: configuration, ports, cells."""
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


def generate(config: ArrayConfig, *, name: str | None = None) -> Rtl:
    """Elaborate the array of `config` and write it as Verilog.

    Parameters
    ----------
    name : str, optional
        Distinguishes this array's modules from another's in the same design; its shape by default,
        and its dataflow where that is weight-stationary.
    """
    top = _top(config, name)
    output = config.dataflow == Dataflow.OUTPUT_STATIONARY
    verilog, cells = emit(array_modules(config, top=top, prefix=top), top=top)
    ports = (
        *clock_ports(),
        *(
            Port(name=name, direction=f"{flow.value.lower()}put", width=width(config), what=what)
            for name, (flow, width, what) in (array if output else stationary).PORTS.items()
        ),
    )
    return Rtl(top=top, config=config, ports=ports, verilog=verilog, cells=cells)


def _top(config, name):
    output = config.dataflow == Dataflow.OUTPUT_STATIONARY
    return f"tritloom_{name or (config.shape if output else f'{config.shape}_weight_stationary')}"


def generate_core(config: ArrayConfig, *, name: str | None = None) -> Rtl:
    """The same for the whole core: the array behind AXI."""
    if not config.diagnostics:
        raise InputError("diagnostics must be on in a core, whose registers show its counters")
    top = _top(config, name)
    verilog, cells = emit(_core_modules(config, top=top), top=top)
    return Rtl(top=top, config=config, ports=core_ports(config), verilog=verilog, cells=cells)


def generate_board(config: ArrayConfig, board: Board, *, name: str | None = None) -> Rtl:
    """The same for a core on a board, with its UART and loader: a top between pins."""
    core = _top(config, name)
    top = f"{core}_{board.name}"
    modules = _core_modules(config, top=core) | {
        f"{top}_receiver": Receiver(board),
        f"{top}_transmitter": Transmitter(board),
        f"{top}_fifo_ram": fifo_ram,
        f"{top}_fifo": Fifo(prefix=top),
        f"{top}_loader": Loader(config, prefix=top),
        top: Top(config, prefix=top, core=core),
    }
    verilog, cells = emit(modules, top=top)
    return Rtl(top=top, config=config, ports=top_ports(), verilog=verilog, cells=cells)


def _core_modules(config, *, top):
    """Every module of a core by name."""
    inner = f"{top}_array"
    modules = array_modules(config, top=inner, prefix=inner)
    modules |= unpacker.modules(config.cols * config.lanes, prefix=top)
    modules |= registers.modules(config, prefix=top)
    widths = [config.cols * config.lanes]  # grows while it is walked
    for width in widths:
        modules[popcount_name(top, width)] = Popcount(width=width, prefix=top)
        if width > LEAF:
            widths += set(halves(width)) - set(widths)
    modules |= {
        f"{top}_sequencer": Sequencer(config, prefix=top),
        f"{top}_act_buffer": act_buffer(config),
        top: Core(config, prefix=top),
    }
    if config.dataflow == Dataflow.WEIGHT_STATIONARY:
        modules[f"{top}_loads"] = Loads(config)
    return modules


def generate_pe(
    config: ArrayConfig,
    *,
    name: str | None = None,
    kind: Callable[[ArrayConfig], wiring.Component] | None = None,
) -> Rtl:
    """The same for one PE of a single row, without the hop that feeds it.

    Parameters
    ----------
    kind : callable, optional
        Another PE than the array's own, as of hw/baselines.
    """
    config = config.replace(rows=1, cols=1, cols_per_hop=1)
    top = f"{_top(config, name)}_pe"
    modules = gate_modules(config, prefix=top)
    modules[top] = kind(config) if kind else _pe(config, prefix=top)
    return _block(config, modules, top=top, clock=clock_ports()[:1])


def _pe(config, *, prefix):
    """The array's own PE."""
    output = config.dataflow == Dataflow.OUTPUT_STATIONARY
    return pe.PE(config, prefix=prefix) if output else stationary.PE(config)


def generate_hop(
    config: ArrayConfig,
    *,
    name: str | None = None,
    kind: Callable[[ArrayConfig], wiring.Component] | None = None,
) -> Rtl:
    """The same for one hop of a single row: act registers, and the PEs of its columns.

    Parameters
    ----------
    kind : callable, optional
        As of `generate_pe`.
    """
    config = config.replace(rows=1, cols=config.cols_per_hop)
    top = f"{_top(config, name)}_hop"
    output = config.dataflow == Dataflow.OUTPUT_STATIONARY
    modules = gate_modules(config, prefix=top)
    if kind is not None:
        one = modules[f"{top}_pe"] = kind(config)
        modules[top] = row.Hop(
            config, prefix=top, weight_bits=one.weight_bits, psum_bits=one.psum_bits
        )
    else:
        modules[f"{top}_pe"] = _pe(config, prefix=top)
        modules[top] = (row if output else stationary).Hop(config, prefix=top)
    return _block(config, modules, top=top, clock=clock_ports())


def _block(config, modules, *, top, clock):
    """RTL of a component that is no whole array."""
    verilog, cells = emit(modules, top=top)
    ports = (
        *clock,
        *(
            Port(
                name=port,
                direction=f"{member.flow.value.lower()}put",
                width=Shape.cast(member.shape).width,
                what="as of the component",
            )
            for port, member in modules[top].signature.members.items()
        ),
    )
    return Rtl(top=top, config=config, ports=ports, verilog=verilog, cells=cells)


def gate_modules(config: ArrayConfig, *, prefix: str) -> dict[str, Written]:
    """What selects and adders of a PE are instances of, where that is ours."""
    gates = asic.GATES if config.technology == Technology.ASIC else {}
    return {f"{prefix}_{name}": gate for name, gate in gates.items()}


def array_modules(
    config: ArrayConfig, *, top: str, prefix: str
) -> dict[str, wiring.Component | Written]:
    """Every module of an array by name."""
    skews = [
        (config.lanes * config.act_bits, config.rows),
        (config.cols_per_hop * config.lanes * 2, config.hops),
    ]
    if config.dataflow == Dataflow.OUTPUT_STATIONARY:
        hop, array_ = row.Hop, array.Array
    else:
        hop, array_ = stationary.Hop, stationary.Array
        skews.append((config.cols_per_hop * config.psum_bits, config.hops))
    modules: dict[str, wiring.Component | Written] = {
        **gate_modules(config, prefix=prefix),
        f"{prefix}_pe": _pe(config, prefix=prefix),
        f"{prefix}_hop": hop(config, prefix=prefix),
        f"{prefix}_row": Row(config, prefix=prefix),
        top: array_(config, prefix=prefix),
    }
    if config.dataflow == Dataflow.WEIGHT_STATIONARY:
        modules[f"{prefix}_psum_buffer"] = stationary.psum_buffer(config)
    sizes = [config.rows]  # grows while it is walked
    for rows in sizes:
        if rows > 1:
            modules[stack_name(prefix, rows)] = Stack(config, rows=rows, prefix=prefix)
            sizes += set(halves(rows)) - set(sizes)
    for width, blocks in skews:
        for bit in range((blocks - 1).bit_length()):
            name = delay_name(prefix, width=width, cycles=1 << bit)
            if name not in modules:
                modules[name] = Delay(width=width, cycles=1 << bit)
    return modules


def emit(modules: dict[str, wiring.Component | Written], *, top: str) -> tuple[str, dict[str, int]]:
    """Write components that instantiate each other by name as one Verilog text.

    Returns
    -------
    Verilog-2005, and the Yosys cells of the flattened design by type
    """
    with tempfile.TemporaryDirectory() as folder:
        names = ("in.il", "written.v", "out.v", "stat.json")
        source, texts, verilog, stat = (Path(folder, file) for file in names)
        written = {name: module for name, module in modules.items() if isinstance(module, Written)}
        texts.write_text("".join(module.verilog(name) for name, module in written.items()))
        text = "\n".join(
            _rtlil(name, module) for name, module in modules.items() if name not in written
        )
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
            # Names of one wire are one name.
            "opt_clean -purge\n"
            "rename -unescape\n"
            "attrmap -remove generator -remove top -remove src -remove amaranth.hierarchy\n"
            "attrmap -modattr -remove generator -remove src\n"
            f"tee -q -o {stat} stat -json -top {top}\n"
            # What we wrote stays as it is: of memories, that is how tools like them.
            f"{''.join(f'blackbox {name}; ' for name in written)}\n"
            f"write_verilog -noattr {verilog}\n"
        )
        design = json.loads(stat.read_text())["design"]["num_cells_by_type"]
        cells = {kind: n for kind, n in sorted(design.items()) if kind.startswith("$")}
        # `!` of a vector is right, and every linter warns of it.
        text = re.sub(r"= ! (?=.*;$)", "= ~| ", verilog.read_text(), flags=re.MULTILINE)
        lines = map(_broken, text.splitlines(keepends=True))
        return "".join(lines) + texts.read_text(), cells


def _broken(line):
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


def _rtlil(name, component) -> str:
    # Components that hold data alone have no reset, hence no reset port.
    held = (pe.PE, stationary.PE, baselines.PE, Delay, unpacker.ByteLane, unpacker.ByteLanes)
    reset_less = isinstance(component, held)
    return rtlil.convert(
        component,
        name=name,
        emit_src=False,
        missing_domain=lambda domain: ClockDomain(domain, reset_less=reset_less),
    )
