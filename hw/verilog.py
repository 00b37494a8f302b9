"""Verilog of each top that a user may ask for: its modules joined, emitted, with its ports."""

from __future__ import annotations

from collections.abc import Callable

from amaranth.lib import wiring

from tritloom.arch.board import Board
from tritloom.arch.config import ArrayConfig, Dataflow
from tritloom.arch.errors import InputError
from tritloom.arch.ports import Port, clock_ports, core_ports

from . import names
from .array import array, pe, row
from .board import top as board_top
from .core import core
from .emit import Rtl, emit, listed, memory_bytes
from .names import PREFIX
from .parts import asic

# Words of an act buffer; tools refuse memories of more, or count their addresses in 32 bits.
MOST_ACT_BEATS = 1 << 28


def _top(config: ArrayConfig, name: str | None, prefix: str, kind: str) -> str:
    top = prefix + (name or names.configuration_name(config) + names.SUFFIXES[kind])
    return names.require_identifier("the name of a module", top)


def generate(config: ArrayConfig, *, name: str | None = None, prefix: str = PREFIX) -> Rtl:
    """RTL of an array with its streams.

    Parameters
    ----------
    config : ArrayConfig
    name : str, optional
        Distinguishes this array's modules from another's in the same design. By default it follows
        from the configuration, so that designs that differ share no module name.
    prefix : str
        In front of every module's name.

    Returns
    -------
    Rtl
        Verilog-2005 text, ports, and counts of Yosys cells.
    """
    top = _top(config, name, prefix, "array")
    modules = array.modules(config, prefix=top)
    verilog, cells = emit(modules, top=top)
    return Rtl(
        top=top,
        config=config,
        ports=(*clock_ports(), *listed(array.ports(config))),
        verilog=verilog,
        cells=cells,
        memories=memory_bytes(modules, top=top, verilog=verilog),
        command=names.command(config, top="array", name=name, prefix=prefix),
    )


def generate_core(config: ArrayConfig, *, name: str | None = None, prefix: str = PREFIX) -> Rtl:
    """RTL of a core: an array behind AXI.

    Parameters
    ----------
    config : ArrayConfig
    name, prefix : str, optional
        Distinguish the core's modules; as for `generate`.

    Returns
    -------
    Rtl
        Verilog-2005 text, ports (docs/interfaces.md), and counts of Yosys cells.

    Raises
    ------
    InputError
        The configuration has no diagnostics, psums too wide for their stream, or an act buffer of
        more than MOST_ACT_BEATS.
    """
    ports, top = _core_ports(config), _top(config, name, prefix, "core")
    modules = core.modules(config, prefix=top)
    verilog, cells = emit(modules, top=top)
    return Rtl(
        top=top,
        config=config,
        ports=ports,
        verilog=verilog,
        cells=cells,
        memories=memory_bytes(modules, top=top, verilog=verilog),
        command=names.command(config, top="core", name=name, prefix=prefix),
    )


def _core_ports(config: ArrayConfig) -> tuple[Port, ...]:
    """Ports of a core; refuses what cannot be one before a component of it is made."""
    if not config.diagnostics:
        raise InputError("diagnostics must be on in a core, whose registers show its counters")
    ports = core_ports(config)
    beats, stationary = config.act_buffer_beats, config.dataflow == Dataflow.WEIGHT_STATIONARY
    if beats > MOST_ACT_BEATS:
        tokens = f" and buffer_tokens = {config.buffer_tokens}" if stationary else ""
        raise InputError(
            f"the act buffer of max_k = {config.max_k}{tokens} has {beats} words, "
            f"and a core has at most {MOST_ACT_BEATS}"
        )
    return ports


def generate_board(
    config: ArrayConfig, board: Board, *, name: str | None = None, prefix: str = PREFIX
) -> Rtl:
    """RTL of a core between the pins of a board, with its UART and its loader.

    Parameters
    ----------
    name, prefix : str, optional
        Distinguish the modules; as for `generate`.
    """
    _core_ports(config)
    top = f"{_top(config, name, prefix, 'core')}_{board.name}"
    # Its text differs from that of the core alone, hence a name of its own.
    inner = f"{top}_core"
    modules = board_top.modules(config, board, prefix=top, core_name=inner)
    verilog, cells = emit(modules, top=top)
    return Rtl(
        top=top,
        config=config,
        ports=listed(board_top.PORTS),
        verilog=verilog,
        cells=cells,
        memories=memory_bytes(modules, top=top, verilog=verilog),
    )


# A PE of `hw.baselines`, by its class.
Kind = Callable[[ArrayConfig], wiring.Component]


def _part_top(
    config: ArrayConfig, name: str | None, prefix: str, part: str, kind: Kind | None
) -> str:
    """Name of a PE or a hop, which is `name` and what it is."""
    if name:
        return f"{prefix}{name}_{part}"
    other = f"_{getattr(kind, '__name__', 'other').lower()}" if kind else ""
    return f"{_top(config, None, prefix, part)}{other}"


def generate_pe(
    config: ArrayConfig,
    *,
    name: str | None = None,
    prefix: str = PREFIX,
    kind: Kind | None = None,
) -> Rtl:
    """RTL of one PE of a single row, without the hop that feeds it.

    Parameters
    ----------
    name, prefix : str, optional
        Distinguish the PE's modules; as for `generate`.
    kind : callable, optional
        A PE of `hw.baselines` in place of the array's own.
    """
    config = config.replace(rows=1, cols=1, cols_per_hop=1)
    top = _part_top(config, name, prefix, "pe", kind)
    modules = asic.modules(config, prefix=top)
    if kind is None:
        modules[top], ports = array.make_pe(config, prefix=top), array.pe_ports(config)
    else:
        modules[top] = one = kind(config)
        ports = pe.pe_ports(config, weight_bits=one.weight_bits, psum_bits=one.psum_bits)
    verilog, cells = emit(modules, top=top)
    told = (*clock_ports()[:1], *listed(ports))
    return Rtl(top=top, config=config, ports=told, verilog=verilog, cells=cells)


def generate_hop(
    config: ArrayConfig,
    *,
    name: str | None = None,
    prefix: str = PREFIX,
    kind: Kind | None = None,
) -> Rtl:
    """RTL of one hop of a single row: act registers, and the PEs of its columns.

    Parameters
    ----------
    name, prefix : str, optional
        Distinguish the hop's modules; as for `generate`.
    kind : callable, optional
        A PE of `hw.baselines` in place of the array's own; the hop is output-stationary then.
    """
    config = config.replace(rows=1, cols=config.cols_per_hop)
    top = _part_top(config, name, prefix, "hop", kind)
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
