"""Verilog of each top that a user may ask for: its modules joined, emitted, with its ports."""

from __future__ import annotations

from collections.abc import Callable

from amaranth.lib import wiring

from tritloom.arch.board import Board
from tritloom.arch.config import ArrayConfig, Dataflow
from tritloom.arch.errors import InputError
from tritloom.arch.ports import Port, clock_ports, core_ports

from .array import array, pe, row
from .board import top as board_top
from .core import core
from .emit import Rtl, emit, listed
from .parts import asic


def generate(config: ArrayConfig, *, name: str | None = None) -> Rtl:
    """RTL of an array with its streams.

    Parameters
    ----------
    config : ArrayConfig
    name : str, optional
        Distinguishes this array's modules from another's in the same design; its shape by default,
        and its dataflow where that is weight-stationary.

    Returns
    -------
    Rtl
        Verilog-2005 text, ports, and counts of Yosys cells.
    """
    top = _top(config, name)
    verilog, cells = emit(array.modules(config, prefix=top), top=top)
    ports = (*clock_ports(), *listed(array.ports(config)))
    return Rtl(top=top, config=config, ports=ports, verilog=verilog, cells=cells)


def _top(config: ArrayConfig, name: str | None) -> str:
    output = config.dataflow == Dataflow.OUTPUT_STATIONARY
    return f"tritloom_{name or (config.shape if output else f'{config.shape}_weight_stationary')}"


def generate_core(config: ArrayConfig, *, name: str | None = None) -> Rtl:
    """RTL of a core: an array behind AXI.

    Parameters
    ----------
    config : ArrayConfig
    name : str, optional
        Distinguishes the core's modules; as for `generate`.

    Returns
    -------
    Rtl
        Verilog-2005 text, ports (docs/interfaces.md), and counts of Yosys cells.

    Raises
    ------
    InputError
        The configuration has no diagnostics, or psums too wide for their stream.
    """
    ports, top = _core_ports(config), _top(config, name)
    verilog, cells = emit(core.modules(config, prefix=top), top=top)
    return Rtl(top=top, config=config, ports=ports, verilog=verilog, cells=cells)


def _core_ports(config: ArrayConfig) -> tuple[Port, ...]:
    """Ports of a core; refuses what cannot be one before a component of it is made."""
    if not config.diagnostics:
        raise InputError("diagnostics must be on in a core, whose registers show its counters")
    return core_ports(config)


def generate_board(config: ArrayConfig, board: Board, *, name: str | None = None) -> Rtl:
    """RTL of a core between the pins of a board, with its UART and its loader.

    Parameters
    ----------
    name : str, optional
        Distinguishes the core's modules; as for `generate`.
    """
    _core_ports(config)
    inner = _top(config, name)
    top = f"{inner}_{board.name}"
    verilog, cells = emit(board_top.modules(config, board, prefix=top, core_name=inner), top=top)
    ports = listed(board_top.PORTS)
    return Rtl(top=top, config=config, ports=ports, verilog=verilog, cells=cells)


# A PE of `hw.baselines`, by its class.
Kind = Callable[[ArrayConfig], wiring.Component]


def generate_pe(config: ArrayConfig, *, name: str | None = None, kind: Kind | None = None) -> Rtl:
    """RTL of one PE of a single row, without the hop that feeds it.

    Parameters
    ----------
    name : str, optional
        Distinguishes the PE's modules; as for `generate`.
    kind : callable, optional
        A PE of `hw.baselines` in place of the array's own.
    """
    config = config.replace(rows=1, cols=1, cols_per_hop=1)
    top = f"{_top(config, name)}_pe"
    modules = asic.modules(config, prefix=top)
    if kind is None:
        modules[top], ports = array.make_pe(config, prefix=top), array.pe_ports(config)
    else:
        modules[top] = one = kind(config)
        ports = pe.pe_ports(config, weight_bits=one.weight_bits, psum_bits=one.psum_bits)
    verilog, cells = emit(modules, top=top)
    told = (*clock_ports()[:1], *listed(ports))
    return Rtl(top=top, config=config, ports=told, verilog=verilog, cells=cells)


def generate_hop(config: ArrayConfig, *, name: str | None = None, kind: Kind | None = None) -> Rtl:
    """RTL of one hop of a single row: act registers, and the PEs of its columns.

    Parameters
    ----------
    name : str, optional
        Distinguishes the hop's modules; as for `generate`.
    kind : callable, optional
        A PE of `hw.baselines` in place of the array's own; the hop is output-stationary then.
    """
    config = config.replace(rows=1, cols=config.cols_per_hop)
    top = f"{_top(config, name)}_hop"
    modules = asic.modules(config, prefix=top)
    if kind is None:
        modules[f"{top}_pe"] = array.make_pe(config, prefix=top)
        modules[top], ports = array.make_hop(config, prefix=top), row.hop_ports(config)
    else:
        modules[f"{top}_pe"] = one = kind(config)
        widths = {"weight_bits": one.weight_bits, "psum_bits": one.psum_bits}
        modules[top] = row.OutputStationaryHop(config, prefix=top, **widths)
        ports = row.hop_ports(config, **widths)
    verilog, cells = emit(modules, top=top)
    told = (*clock_ports(), *listed(ports))
    return Rtl(top=top, config=config, ports=told, verilog=verilog, cells=cells)
