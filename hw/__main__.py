"""Command line of the generators: `python -m hw verilog`; `synth`, `fpga`, `area`; `regmap`."""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

from tritloom.arch import regmap, timing
from tritloom.arch.board import BOARDS, find_board
from tritloom.arch.config import PRESETS, ArrayConfig, Dataflow, Technology, preset
from tritloom.arch.errors import InputError, one_line, require_int
from tritloom.arch.files import write_files

# Options that change one parameter of the preset.
PARAMETERS = {
    "rows": "PEs down: tokens, or slices of k where weights are stationary",
    "cols": "PEs across: output features",
    "lanes": "trits x acts of one PE's adder tree",
    "cols_per_hop": "columns that share one set of act registers",
    "input_stages": "registers between ports and selects, 1 or 0",
    "levels_per_stage": "adder-tree levels between pipeline registers",
    "select_stages": "pipeline registers between selects and adders, 0 or 1",
    "lanes_per_chain": "lanes that a chain of adders sums, technology ecp5",
    "lanes_per_stage": "lanes that it adds between pipeline registers, technology ecp5",
    "hosted_selects": "bits of a chain's first select in spare carry cells, technology ecp5",
    "carries_per_stage": "full adders' carries between pipeline registers, technology asic",
    "max_k": "largest reduction length that the accumulator holds",
    "buffer_tokens": "tokens in the output buffer of a weight-stationary array",
}
# And these, which are no numbers.
CHANGES = (*PARAMETERS, "dataflow", "technology", "diagnostics")


def parser() -> argparse.ArgumentParser:
    """Options of the command line."""
    main = argparse.ArgumentParser(
        prog="python -m hw",
        description="Generates RTL and register maps, and measures the RTL on FPGAs.",
    )
    commands = main.add_subparsers(dest="command", required=True)
    verilog = commands.add_parser(
        "verilog",
        help="write Verilog, a JSON sidecar and lint waivers",
        description="Writes NAME.v, NAME.json (ports, cells) and NAME.vlt (what Verilator's lint "
        "need not warn of, and why), NAME being the preset or the shape.",
    )
    verilog.add_argument("--out", type=Path, default=Path("build/verilog"), help="[%(default)s]")
    synth = commands.add_parser(
        "synth",
        help="count what the Verilog becomes on an FPGA",
        description="Synthesises with Yosys and prints the cells, before place and route.",
    )
    synth.add_argument(
        "--target", required=True, metavar="NAME", help="ecp5, ice40 or xilinx7 (AMD 7 series)"
    )
    fpga = commands.add_parser(
        "fpga",
        help="place and route it on an ECP5",
        description="Synthesises, places and routes, prints cells and Fmax, and writes NAME.json "
        "and NAME.md; for a board, with its pins and its UART, also the bitstream NAME.bit.",
    )
    fpga.add_argument("--board", metavar="NAME", help=f"{', '.join(BOARDS)} [none: any pins]")
    area = commands.add_parser(
        "area",
        help="place and route PEs side by side: ours and plainer ones",
        description="Places and routes the PEs of hw/fpga/area.py on an ECP5, prints cells per "
        "operation and Fmax, and writes area.json and area.md.",
    )
    for command in (fpga, area):
        command.add_argument("--seeds", type=int, default=2, metavar="N", help="[%(default)s]")
        command.add_argument("--out", type=Path, default=Path("build/fpga"), help="[%(default)s]")
    for command in (synth, fpga, area):
        command.add_argument(
            "--format", choices=("table", "json"), default="table", help="[%(default)s]"
        )
    for command in (verilog, synth, fpga):
        command.add_argument("--preset", default="base", help=f"{', '.join(PRESETS)} [base]")
        for name, what in PARAMETERS.items():
            option = f"--{name.replace('_', '-')}"
            help_ = f"{what} [preset's]"
            command.add_argument(option, dest=name, type=int, metavar="N", help=help_)
        command.add_argument(
            "--dataflow",
            metavar="NAME",
            help=f"{' or '.join(Dataflow)} [preset's: output-stationary]",
        )
        pe = [] if command is verilog else ["pe"]
        command.add_argument(
            "--technology",
            metavar="NAME",
            help=f"what adders are made of: {' or '.join(Technology)} [preset's: generic]",
        )
        command.add_argument(
            "--no-diagnostics",
            dest="diagnostics",
            action="store_const",
            const=False,
            help="leave the bare array's counters out, and its look at trit codes",
        )
        command.add_argument(
            "--top",
            choices=("core", "array", *pe),
            default="core",
            help=f"the core with its AXI interfaces, the bare array{', or one PE' if pe else ''} "
            "[core]",
        )
    registers = commands.add_parser(
        "regmap",
        help="write the register map as a C header and as a page",
        description="Writes tritloom_regs.h and registers.md.",
    )
    registers.add_argument("--out", type=Path, default=Path("build/regmap"), help="[%(default)s]")
    return main


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


def elaborate(options: argparse.Namespace):
    """File name, and RTL, of what the options ask for."""
    changes = {name: getattr(options, name) for name in CHANGES}
    config = preset(options.preset).replace(
        **{name: value for name, value in changes.items() if value is not None}
    )
    if options.buffer_tokens is not None and config.dataflow == Dataflow.OUTPUT_STATIONARY:
        raise InputError(
            f"buffer_tokens is of {Dataflow.WEIGHT_STATIONARY} arrays only, "
            f"not {options.buffer_tokens} of an {config.dataflow} one"
        )
    named = getattr(options, "board", None)
    board = None if named is None else find_board(named)
    if board and options.top != "core":
        raise InputError(f"a board has a top of its own, not --top {options.top}")
    # Amaranth takes a quarter of a second to import: not before the options are sound.
    from tritloom.hw.verilog import generate, generate_board, generate_core, generate_pe

    name = stem(options.preset, config)
    if options.top == "array":
        name += "_array"
    generators = {"core": generate_core, "array": generate, "pe": generate_pe}
    if board:
        rtl = generate_board(config, board, name=name)
    else:
        rtl = generators[options.top](config, name=name)
    name = rtl.top.removeprefix("tritloom_")
    if "$mul" in rtl.cells:
        raise AssertionError(f"{rtl.cells['$mul']} multipliers in {rtl.top}")
    return name, rtl


def generate_verilog(options: argparse.Namespace) -> tuple[Path, ...]:
    """Write Verilog and what belongs to it; returns the files."""
    name, rtl = elaborate(options)
    from tritloom.hw.verilog import write

    config = rtl.config
    files = write(rtl, options.out, stem=name)
    if config.dataflow == Dataflow.OUTPUT_STATIONARY:
        latency = f"{timing.drain_latency(config)} cycles from a tile's last beat to its first psum"
    else:
        latency = (
            f"{timing.pass_latency(config)} cycles from a token's last beat to its psums, "
            f"buffer of {config.buffer_tokens:,} tokens"
        )
    print(
        f"{rtl.top}: {config.macs_per_cycle:,} ternary multiply-accumulates a cycle, "
        f"{sum(rtl.cells.values()):,} cells, none of them $mul; {latency}"
    )
    return files


def synthesise(options: argparse.Namespace) -> tuple[Path, ...]:
    """Print what the RTL becomes on an FPGA; writes no file."""
    from rich.console import Console

    from tritloom.hw.fpga import synth

    synth.find_target(options.target)
    # Shows on a terminal alone.
    with Console(stderr=True).status("generating") as status:
        _, rtl = elaborate(options)
        status.update(f"synthesising {rtl.top} for {options.target}")
        done = synth.synthesise(rtl, options.target)
    if options.format == "json":
        print(synth.as_json(done))
    else:
        synth.show(done)
    return ()


def place_one(options: argparse.Namespace) -> tuple[Path, ...]:
    """Place and route what the options ask for; print what became of it and write it to files."""
    from tritloom.hw.fpga import place as fpga

    def measure(progress):
        name, rtl = elaborate(options)
        progress(f"placing {rtl.top}, which takes minutes where it is large")
        if options.board is None:
            return name, {rtl.top: fpga.place(rtl, seeds=options.seeds)}, {}
        board = find_board(options.board)
        placement, bitstream = fpga.place_on_board(rtl, board, seeds=options.seeds)
        return name, {rtl.top: placement}, {f"{name}.bit": bitstream}

    return _place(options, measure)


def place_all(options: argparse.Namespace) -> tuple[Path, ...]:
    """Place and route PEs side by side; print what became of them and write it to files."""
    from tritloom.hw.fpga import area

    def measure(progress):
        return "area", area.measure(seeds=options.seeds, progress=progress), {}

    return _place(options, measure)


def _place(options, measure):
    from rich.console import Console

    from tritloom.hw.fpga import nextpnr
    from tritloom.hw.fpga import table as fpga_render

    require_int("seeds", options.seeds)
    nextpnr.require_nextpnr()
    # Shows on a terminal alone.
    with Console(stderr=True).status("generating") as status:
        name, placements, more = measure(status.update)
    texts = {
        f"{name}.json": fpga_render.as_json(placements) + "\n",
        f"{name}.md": fpga_render.markdown(placements),
    }
    files = write_files(options.out, texts | more)
    if options.format == "json":
        print(texts[f"{name}.json"], end="")
        return ()
    fpga_render.show(placements)
    return files


def generate_regmap(options: argparse.Namespace) -> tuple[Path, ...]:
    """Write the C header and the page; returns the files."""
    texts = {"tritloom_regs.h": regmap.c_header(), "registers.md": regmap.markdown()}
    files = write_files(options.out, texts)
    print(f"{len(regmap.REGISTERS)} registers in {1 << regmap.ADDRESS_BITS} bytes of addresses")
    return files


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = parser().parse_args(argv)
    commands = {
        "verilog": generate_verilog,
        "regmap": generate_regmap,
        "synth": synthesise,
        "fpga": place_one,
        "area": place_all,
    }
    try:
        files = commands[options.command](options)
    except InputError as error:
        print(f"hw: {one_line(error)}", file=sys.stderr)
        return 2
    except OSError as error:
        message = f"cannot write to {getattr(options, 'out', error.filename)}: {error.strerror}"
        print(f"hw: {one_line(message)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        # Amaranth warns of gateware that was not yet Verilog, when it is dropped.
        warnings.simplefilter("ignore")
        print("hw: interrupted", file=sys.stderr)
        return 130
    for file in files:
        print(f"{file}  {file.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
