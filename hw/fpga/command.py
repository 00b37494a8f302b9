"""The commands that measure RTL on FPGAs: `synth`, `fpga` and `area`."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from tritloom.arch.board import BOARDS, find_board
from tritloom.arch.errors import require_int
from tritloom.arch.files import write_files
from tritloom.console.command import Command
from tritloom.console.progress import status
from tritloom.console.sheet import render, show
from tritloom.hw.options import (
    configuration_arguments,
    elaborate,
    format_argument,
    out_argument,
    print_files,
)


def synth_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `synth`."""
    parser.add_argument(
        "--target",
        required=True,
        metavar="NAME",
        help="FPGA: ecp5, ice40 or xilinx7 (AMD 7 series)",
    )
    format_argument(parser)
    configuration_arguments(parser)


def run_synth(options: argparse.Namespace) -> None:
    """Synthesise what the options ask for and print its cells."""
    from . import synth

    synth.find_target(options.target)
    with status("generating") as tell:
        _, rtl = elaborate(options)
        tell(f"synthesising {rtl.top} for {options.target}")
        done = synth.synthesise(rtl, options.target)
    show(synth.sheet(done), options.format)


def place_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of every command that places and routes."""
    parser.add_argument(
        "--seeds",
        type=int,
        default=2,
        metavar="N",
        help="number of runs of the placer [%(default)s]",
    )
    out_argument(parser, "build/fpga")
    format_argument(parser)


def fpga_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `fpga`."""
    parser.add_argument(
        "--board", metavar="NAME", help=f"board: {', '.join(BOARDS)} [none: any pins]"
    )
    place_arguments(parser)
    configuration_arguments(parser)


def run_fpga(options: argparse.Namespace) -> None:
    """Place and route what the options ask for; write and print the result."""
    board = None if options.board is None else find_board(options.board)

    def measure(tell):
        from .placement import place, place_on_board

        name, rtl = elaborate(options, board=board)
        tell(f"placing {rtl.top}, which takes minutes where it is large")
        if board is None:
            return name, {rtl.top: place(rtl, seeds=options.seeds)}, {}
        placement, bitstream = place_on_board(rtl, board, seeds=options.seeds)
        return name, {rtl.top: placement}, {f"{name}.bit": bitstream}

    _place(options, measure)


def run_area(options: argparse.Namespace) -> None:
    """Place and route PEs side by side; write and print the result."""

    def measure(tell):
        from . import area

        return "area", area.measure(seeds=options.seeds, progress=tell), {}

    _place(options, measure)


def _place(options: argparse.Namespace, measure: Callable) -> None:
    """Write and print placements, and files besides, that `measure` returns under a name."""
    require_int("seeds", options.seeds)
    from . import nextpnr
    from .sheets import sheet

    nextpnr.require_nextpnr()
    with status("generating") as tell:
        name, placements, more = measure(tell)
    made = sheet(placements)
    texts = {
        f"{name}.json": render(made, "json") + "\n",
        f"{name}.md": render(made, "markdown") + "\n",
    }
    files = write_files(options.out, texts | more)
    show(made, options.format)
    if options.format == "table":
        print_files(files)


COMMANDS = (
    Command(
        name="synth",
        help="count the FPGA cells that the Verilog becomes",
        description="Synthesises with Yosys and prints the cells, before place and route.",
        arguments=synth_arguments,
        run=run_synth,
        examples="{prog} synth --target ecp5 --preset tiny",
    ),
    Command(
        name="fpga",
        help="place and route on an ECP5",
        description="Synthesises, places and routes, prints cells and Fmax, and writes NAME.json "
        "and NAME.md;\nfor a board, with its pins and its UART, also the bitstream NAME.bit.",
        arguments=fpga_arguments,
        run=run_fpga,
        examples="{prog} fpga --preset tiny\n{prog} fpga --preset tiny --board ulx3s --seeds 1",
    ),
    Command(
        name="area",
        help="place and route PEs side by side: ours and plainer ones",
        description="Places and routes the PEs of hw/fpga/area.py on an ECP5, prints cells per "
        "operation and Fmax,\nand writes area.json and area.md.",
        arguments=place_arguments,
        run=run_area,
    ),
)
