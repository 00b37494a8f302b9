"""Place and route: the cells that a module takes of an ECP5, and its clock frequency there.

A PE or an array has thousands of ports, a package a few hundred pins. So the module sits in a
harness of registers with three pins. Its cells are counted before the harness comes, and the
critical path is looked at: where it lies within the harness, Fmax is no more than a lower bound.
A board's top has pins of its own, and is packed into a bitstream where its clock is met.

LUTs are counted as published comparisons count them: a LUT4 takes one, a carry cell (CCU2C) two, a
distributed RAM (TRELLIS_DPR16X4) six. What nextpnr places is more, and counted as well: it brings
the carry into each chain through a cell of its own, and out of it through another one.
"""

from __future__ import annotations

import json
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tritloom.arch.board import Board
from tritloom.arch.errors import InputError, require_int
from tritloom.hw.emit import Rtl

from . import nextpnr
from .harness import harness, harness_luts
from .nextpnr import Route
from .synth import Synthesis, synthesise

DEVICE = "LFE5U-85F, speed grade 6, CABGA381"
_OPTIONS = ("--85k", "--speed", "6", "--package", "CABGA381", "--timing-allow-fail")
_HARNESS_OPTIONS = (
    # Every path is optimised for this, which is more than any path reaches.
    *("--freq", "400"),
    # The three pins may be anywhere.
    "--lpf-allow-unconstrained",
)
_SMALL = ("--placer-heap-timingweight", "30")
# In designs of so many LUTs and more, wires limit the clock, and timing weighs more.
LARGE_LUTS = 10_000
_LARGE = ("--placer-heap-timingweight", "300")
# Cells that the device has.
CAPACITY = {"TRELLIS_COMB": 83640, "TRELLIS_FF": 83640, "DP16KD": 208, "MULT18X18D": 156}


@dataclass(frozen=True, kw_only=True)
class Placement:
    """A module, synthesised, placed and routed.

    Attributes
    ----------
    synthesis : Synthesis
        Cells of the module alone.
    macs_per_cycle : int
        Multiply-accumulates in one cycle.
    harness_luts : int
        LUTs of the harness.
    routes : tuple of Route
        One for each seed.
    clock_hz : int, optional
        Clock of the board.
    device, tool : str
    """

    synthesis: Synthesis
    macs_per_cycle: int
    harness_luts: int
    routes: tuple[Route, ...]
    clock_hz: int | None = None
    device: str = DEVICE
    tool: str
    tier: str = "MEASURED"

    @property
    def luts(self) -> int:
        """LUTs of the module, with those that carry cells and distributed RAM take."""
        return count_luts(self.synthesis.cells)

    @property
    def placed_luts(self) -> int:
        """LUTs that the module takes on the device, with the cells that nextpnr adds to carries."""
        return self.best.cells["TRELLIS_COMB"] - self.harness_luts

    @property
    def best(self) -> Route:
        """The fastest route."""
        return max(self.routes, key=lambda route: route.fmax_hz)

    @property
    def operations_per_s(self) -> float:
        """Multiply-accumulates a second at the board's clock, or without a board at best Fmax."""
        return self.macs_per_cycle * (self.clock_hz or self.best.fmax_hz)


def count_luts(cells: dict[str, int]) -> int:
    """LUTs of the device that mapped cells take."""
    takes = {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6}
    return sum(takes[kind] * number for kind, number in cells.items() if kind in takes)


def place(rtl: Rtl, *, seeds: int = 2, dsp: bool = True) -> Placement:
    """Synthesise a module, place and route it with seeds 1 to `seeds`, several at a time.

    Parameters
    ----------
    dsp : bool
        Multipliers may become DSP blocks rather than LUTs.

    Raises
    ------
    InputError
        The module does not fit the device.
    ToolError
        nextpnr is missing or gives up.
    """
    require_int("seeds", seeds)
    nextpnr.require_nextpnr()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "harness.v").write_text(harness(rtl))
        synthesis = synthesise(
            rtl,
            "ecp5",
            options="" if dsp else "-nodsp",
            # The harness is mapped around an empty shell, so that no constant crosses the edge.
            then="design -stash mapped\n"
            f"read_verilog {folder / 'harness.v'}\n"
            "synth_ecp5 -top harness\n"
            f"design -copy-from mapped {rtl.top}\n"
            "flatten\n"
            f"write_json {folder / 'design.json'}",
        )
        options = _LARGE if count_luts(synthesis.cells) >= LARGE_LUTS else _SMALL
        routes = _routes(folder, rtl, synthesis, seeds, (*_HARNESS_OPTIONS, *options))
    return Placement(
        synthesis=synthesis,
        macs_per_cycle=rtl.config.macs_per_cycle,
        harness_luts=harness_luts(rtl),
        routes=routes,
        tool=nextpnr.tool(),
    )


def constraints(board: Board) -> str:
    """Pins and clock of a board's top, for nextpnr."""
    lines = [f"# {board.source}", f"SYSCONFIG {board.system} ;"]
    for port, pin in board.pins.items():
        lines += [
            f'LOCATE COMP "{port}" SITE "{pin.site}" ; # {pin.net}',
            f'IOBUF PORT "{port}" {pin.options} ;',
        ]
    lines.append(f'FREQUENCY PORT "clk" {board.clock_hz / 1e6:g} MHZ ;')
    return "\n".join(lines) + "\n"


def place_on_board(rtl: Rtl, board: Board, *, seeds: int = 1) -> tuple[Placement, bytes]:
    """Synthesise, place and route a board's top; also return the bitstream of the fastest route.

    Raises
    ------
    InputError
        The module does not fit the device, or no route is fast enough for the board's clock.
    ToolError
        nextpnr is missing or gives up.
    """
    require_int("seeds", seeds)
    nextpnr.require_nextpnr()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "board.lpf").write_text(constraints(board))
        synthesis = synthesise(
            rtl,
            "ecp5",
            # The clock is slow: the mapper need not spend LUTs on speed.
            options="-nowidelut",
            then=f"write_json {folder / 'design.json'}",
        )
        options = ("--lpf", "board.lpf", "--textcfg", "{seed}.config")
        routes = _routes(folder, rtl, synthesis, seeds, options, module="")
        placement = Placement(
            synthesis=synthesis,
            macs_per_cycle=rtl.config.macs_per_cycle,
            harness_luts=0,
            routes=routes,
            clock_hz=board.clock_hz,
            tool=nextpnr.tool(),
        )
        if placement.best.fmax_hz < board.clock_hz:
            raise InputError(
                f"{rtl.top} reaches {placement.best.fmax_hz / 1e6:.1f} MHz, "
                f"and the clock of {board.name} has {board.clock_hz / 1e6:g}"
            )
        pack = ("--compress", f"{placement.best.seed}.config", "top.bit")
        nextpnr.run(folder, "ecppack", *nextpnr.packaged("ecppack"), *pack)
        return placement, (folder / "top.bit").read_bytes()


def _routes(folder, rtl, synthesis, seeds, options, *, module="dut."):
    """A `Route` of design.json for each seed; `InputError` where the module cannot fit."""
    command, cells = nextpnr.require_nextpnr(), synthesis.cells
    needed = cells | {
        "TRELLIS_COMB": count_luts(cells),
        "DP16KD": cells.get("DP16KD", 0) + cells.get("PDPW16KD", 0),
    }
    for kind, available in CAPACITY.items():
        if needed.get(kind, 0) > available:
            raise InputError(
                f"{rtl.top} needs {needed[kind]:,} {kind}, and {DEVICE} has {available:,}"
            )

    def route(seed):
        report = f"{seed}.json"
        files = ("--json", "design.json", "--report", report)
        chosen = [option.format(seed=seed) for option in options]
        nextpnr.run(
            folder, "nextpnr-ecp5", *command, *_OPTIONS, *chosen, "--seed", str(seed), *files
        )
        return nextpnr.read_report(
            json.loads((folder / report).read_text()), seed=seed, module=module
        )

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return tuple(pool.map(route, range(1, seeds + 1)))
