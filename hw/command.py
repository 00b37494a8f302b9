"""The commands that generate: `verilog` and `regmap`."""

from __future__ import annotations

import argparse

from tritloom.arch import regmap, timing
from tritloom.arch.config import ArrayConfig, Dataflow
from tritloom.arch.files import write_files
from tritloom.console.command import Command

from . import svd
from .options import (
    configuration_arguments,
    elaborate,
    name_arguments,
    out_argument,
    print_files,
)


def verilog_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `verilog`."""
    out_argument(parser, "build/verilog")
    configuration_arguments(parser, tops=("core", "array"))
    name_arguments(parser)


def run_verilog(options: argparse.Namespace) -> None:
    """Write Verilog, its sidecar and its lint waivers; print size and latency."""
    name, rtl = elaborate(options)
    from .emit import write

    files = write(rtl, options.out, stem=name)
    print(
        f"{rtl.top}: {rtl.config.macs_per_cycle:,} ternary multiply-accumulates a cycle, "
        f"{sum(rtl.cells.values()):,} cells, none of them $mul; {latency(rtl.config)}"
    )
    print(f"memories: {memories(rtl)}")
    print_files(files)


def memories(rtl) -> str:
    """The memories of a design with their bytes, in words."""
    told = [f"{name.replace('_', ' ')} {size:,} bytes" for name, size in rtl.memories.items()]
    return ", ".join(told) or "none"


def latency(config: ArrayConfig) -> str:
    """The latency of an array in words, and the size of its output buffer where it has one."""
    if config.dataflow == Dataflow.OUTPUT_STATIONARY:
        return f"{timing.drain_latency(config)} cycles from a tile's last beat to its first psum"
    return (
        f"{timing.pass_latency(config)} cycles from a token's last beat to its psums, "
        f"buffer of {config.buffer_tokens:,} tokens"
    )


def regmap_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `regmap`."""
    out_argument(parser, "build/regmap")


def run_regmap(options: argparse.Namespace) -> None:
    """Write the C header, the page and the SVD file of the register map."""
    texts = {
        "tritloom_regs.h": regmap.c_header(),
        "registers.md": regmap.markdown(),
        "tritloom.svd": svd.svd(),
    }
    files = write_files(options.out, texts)
    print(f"{len(regmap.REGISTERS)} registers in {1 << regmap.ADDRESS_BITS} bytes of addresses")
    print_files(files)


COMMANDS = (
    Command(
        name="verilog",
        help="write Verilog, a JSON sidecar and lint waivers",
        description="Writes NAME.v, NAME.json (ports, cells) and NAME.vlt (the warnings of "
        "Verilator's lint that are waived, and why).\nNAME is --name, or the preset, or the shape "
        "with what else is not as in the preset base;\nwhere that is long, a hash ends it.",
        arguments=verilog_arguments,
        run=run_verilog,
        examples="{prog} verilog --preset tiny\n"
        "{prog} verilog --preset tiny --name accelerator\n"
        "{prog} verilog --rows 4 --cols 8 --lanes 16 --dataflow weight-stationary",
    ),
    Command(
        name="regmap",
        help="write the register map as a C header, a page and a CMSIS-SVD file",
        description="Writes tritloom_regs.h, registers.md and tritloom.svd.",
        arguments=regmap_arguments,
        run=run_regmap,
    ),
)
