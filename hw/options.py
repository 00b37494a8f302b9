"""Options that choose a configuration, shared by commands, and the RTL that they ask for."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from tritloom.arch.board import Board
from tritloom.arch.config import PRESETS, ArrayConfig, Dataflow, Technology, preset
from tritloom.arch.errors import InputError
from tritloom.console.sheet import FORMS

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
CHANGES = (*PARAMETERS, "dataflow", "technology", "diagnostics")
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
        "--preset", metavar="NAME", default="base", help=f"preset: {', '.join(PRESETS)} [base]"
    )
    for name, what in PARAMETERS.items():
        option, help_ = f"--{name.replace('_', '-')}", f"{what} [preset's]"
        parser.add_argument(option, dest=name, type=int, metavar="N", help=help_)
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


def stem(name: str, config: ArrayConfig) -> str:
    """File name of a configuration: its preset's where it is one, its parameters otherwise."""
    base = preset(name)
    dataflow = [] if config.dataflow == base.dataflow else [config.dataflow.replace("-", "_")]
    if config.technology != base.technology:
        dataflow.append(config.technology)
    if config == base.replace(dataflow=config.dataflow, technology=config.technology):
        return "_".join([name, *dataflow])
    changed = [
        f"{parameter}{getattr(config, parameter)}"
        for parameter in PARAMETERS
        if parameter not in ("rows", "cols", "lanes")
        and getattr(config, parameter) != getattr(base, parameter)
    ]
    if not config.diagnostics:
        changed.append("bare")
    return "_".join([config.shape, *changed, *dataflow])


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
    # Imported once the options are sound, since Amaranth takes a quarter of a second.
    from tritloom.hw.verilog import generate, generate_board, generate_core, generate_pe

    name = stem(options.preset, config)
    if options.top == "array":
        name += "_array"
    generators = {"core": generate_core, "array": generate, "pe": generate_pe}
    if board:
        rtl = generate_board(config, board, name=name)
    else:
        rtl = generators[options.top](config, name=name)
    if "$mul" in rtl.cells:
        raise AssertionError(f"{rtl.cells['$mul']} multipliers in {rtl.top}")
    return rtl.top.removeprefix("tritloom_"), rtl
