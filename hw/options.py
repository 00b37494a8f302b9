"""Options that choose a configuration, shared by commands, and the RTL that they ask for."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from tritloom.arch.board import Board
from tritloom.arch.config import PRESETS, ArrayConfig, Dataflow, Technology, preset
from tritloom.arch.errors import InputError
from tritloom.console.sheet import FORMS

from . import names

# Options that change one number of the preset.
PARAMETERS = {
    "rows": "PEs down: tokens, or slices of k in a weight-stationary array",
    "cols": "PEs across: output features",
    "lanes": "trits x acts of one PE's adder tree",
    "act_bits": "bits of an act, 2 to 16",
    "cols_per_hop": "columns that share one set of act registers",
    "input_stages": "registers between ports and selects, 1 or 0",
    "levels_per_stage": "adder-tree levels between pipeline registers",
    "select_stages": "pipeline registers between selects and adders, 0 or 1",
    "lanes_per_chain": "lanes that one chain of adders sums, technology ecp5",
    "lanes_per_stage": "lanes that a chain adds between pipeline registers, technology ecp5",
    "hosted_selects": "bits of a chain's first select in spare carry cells, technology ecp5",
    "carries_per_stage": "full adders' carries between pipeline registers, technology asic",
    "max_k": "largest reduction length that the accumulator holds",
    "buffer_tokens": "tokens in the output buffer of a weight-stationary array",
}
# Parameters of the preset that options change, those that are no numbers included.
CHANGES = (*PARAMETERS, "clock_hz", "dataflow", "technology", "diagnostics")
# Tops that a command may elaborate.
TOPS = {
    "core": "the core with its AXI interfaces",
    "array": "the bare array",
    "pe": "one PE",
}


def configuration_arguments(
    parser: argparse.ArgumentParser, *, tops: tuple[str, ...] = tuple(TOPS)
) -> None:
    """Add the options of a configuration, and `--top` with these of `TOPS`."""
    parser.add_argument(
        "--preset",
        metavar="NAME",
        default=names.DEFAULT,
        help=f"preset: {', '.join(PRESETS)} [{names.DEFAULT}]",
    )
    for name, what in PARAMETERS.items():
        option, help_ = f"--{name.replace('_', '-')}", f"{what} [preset's]"
        parser.add_argument(option, dest=name, type=int, metavar="N", help=help_)
    parser.add_argument(
        "--clock-hz",
        type=float,
        metavar="HZ",
        help="clock that turns cycles into seconds; the RTL is the same [preset's]",
    )
    parser.add_argument(
        "--dataflow", metavar="NAME", help=f"dataflow: {' or '.join(Dataflow)} [preset's]"
    )
    parser.add_argument(
        "--technology",
        metavar="NAME",
        help=f"what adders are made of: {', '.join(Technology)} [preset's]",
    )
    parser.add_argument(
        "--no-diagnostics",
        dest="diagnostics",
        action="store_const",
        const=False,
        help="leave out the bare array's event counters and its check of trit codes",
    )
    listed = [TOPS[name] for name in tops]
    told = f"top module: {', '.join(listed[:-1])} or {listed[-1]} [core]"
    parser.add_argument("--top", choices=tops, default="core", help=told)


def name_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--name` and `--prefix`, what the modules are called in the user's own design."""
    parser.add_argument(
        "--name",
        help="name of the top module and of the files; modules below begin with it [see below]",
    )
    parser.add_argument(
        "--prefix",
        help=f"prefix of every module's name [{names.PREFIX}, and none in front of --name]",
    )


def chosen_name(options: argparse.Namespace) -> tuple[str | None, str]:
    """Name and prefix of `name_arguments`; without a name, it follows from the configuration."""
    name, prefix = getattr(options, "name", None), getattr(options, "prefix", None)
    if name is not None:
        names.require_identifier("name", name)
    if prefix is not None:
        names.require_identifier("prefix", prefix)
    if prefix is None:
        prefix = names.PREFIX if name is None else ""
    return name, prefix


def out_argument(parser: argparse.ArgumentParser, folder: str) -> None:
    """Add `--out`, the folder that files are written to."""
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        default=Path(folder),
        help="folder for the files [%(default)s]",
    )


def format_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--format`, the form in which a sheet is printed."""
    parser.add_argument(
        "--format", choices=FORMS, default="table", help="form of the output [%(default)s]"
    )


def print_files(files: Iterable[Path]) -> None:
    """Print each file with its size."""
    for file in files:
        print(f"{file}  {file.stat().st_size:,} bytes")


def configuration(options: argparse.Namespace) -> ArrayConfig:
    """The preset with what the options change; `InputError` where they do not go together."""
    changes = {name: getattr(options, name) for name in CHANGES}
    config = preset(options.preset).replace(
        **{name: value for name, value in changes.items() if value is not None}
    )
    if options.buffer_tokens is not None and config.dataflow == Dataflow.OUTPUT_STATIONARY:
        raise InputError(
            f"buffer_tokens is of {Dataflow.WEIGHT_STATIONARY} arrays only, "
            f"not {options.buffer_tokens} of an {config.dataflow} one"
        )
    return config


def elaborate(options: argparse.Namespace, *, board: Board | None = None):
    """(file name, `Rtl`) of what the options ask for, on a board where there is one."""
    config = configuration(options)
    if board and options.top != "core":
        raise InputError(f"a board has a top of its own, not --top {options.top}")
    name, prefix = chosen_name(options)
    # Imported once the options are sound, since Amaranth takes a quarter of a second.
    from tritloom.hw.verilog import generate, generate_board, generate_core, generate_pe

    generators = {"core": generate_core, "array": generate, "pe": generate_pe}
    if board:
        rtl = generate_board(config, board, name=name, prefix=prefix)
    else:
        rtl = generators[options.top](config, name=name, prefix=prefix)
    if "$mul" in rtl.cells:
        raise AssertionError(f"{rtl.cells['$mul']} multipliers in {rtl.top}")
    return rtl.top.removeprefix(prefix), rtl
