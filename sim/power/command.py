"""The commands that measure switching and energy: `toggles` and `asap7`."""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path

from tritloom.arch.config import preset
from tritloom.arch.errors import require_int
from tritloom.console.command import Command
from tritloom.hw.options import format_argument, out_argument, print_files
from tritloom.sim.options import jobs_argument, preset_argument, seed_argument


def share(text: str) -> Fraction:
    """The fraction that a text such as 1/3 or 0.25 stands for."""
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(f"invalid share: {text!r}") from None


def toggles_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `toggles`."""
    preset_argument(parser, "base")
    parser.add_argument("--rows", type=int, metavar="N", default=4, help="PEs down [%(default)s]")
    parser.add_argument("--cols", type=int, metavar="N", default=4, help="PEs across [%(default)s]")
    parser.add_argument("--lanes", type=int, metavar="N", help="lanes of a PE [preset's]")
    parser.add_argument(
        "--zero-share",
        type=share,
        nargs="+",
        default=[Fraction(0), Fraction(1, 3), Fraction(2, 3)],
        metavar="SHARE",
        help="shares of trits that are zero [0 1/3 2/3]",
    )
    parser.add_argument(
        "--bubbles",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="share of cycles without a beat [0]",
    )
    seed_argument(parser, "the operands")
    format_argument(parser)


def run_toggles(options: argparse.Namespace) -> None:
    """Print toggles of the array's nets for each ternary operation."""
    changes = {name: getattr(options, name) for name in ("rows", "cols", "lanes")}
    given = {name: value for name, value in changes.items() if value is not None}
    config = preset(options.preset).replace(**given)
    from tritloom.console.sheet import show

    from . import toggles

    activities = toggles.measure(
        config,
        zero_shares=options.zero_share,
        bubbles=options.bubbles,
        seed=options.seed,
    )
    show(toggles.toggles_sheet(config, activities), options.format)


def asap7_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `asap7`."""
    parser.add_argument(
        "--liberty",
        type=Path,
        nargs="+",
        required=True,
        metavar="FILE",
        help="Liberty files of ASAP7: RVT, TT, NLDM; gzipped or not",
    )
    parser.add_argument("--quick", action="store_true", help="take three small designs only")
    parser.add_argument(
        "--no-half-drive",
        dest="half_drive",
        action="store_false",
        help="leave out cells of drive strengths below 1",
    )
    parser.add_argument(
        "--update",
        action="store_true",
        help="also write the energy model's cost table and the figures that it is made of",
    )
    jobs_argument(parser)
    out_argument(parser, "build/asap7")


def run_asap7(options: argparse.Namespace) -> None:
    """Price designs in standard cells; print a table and write what it is made of."""
    require_int("jobs", options.jobs)
    from . import table

    files = table.run(
        options.liberty,
        out=options.out,
        quick=options.quick,
        half_drive=options.half_drive,
        jobs=options.jobs,
        update=options.update,
    )
    print_files(files)


COMMANDS = (
    Command(
        name="toggles",
        help="measure the switching activity of the array",
        description="Streams random acts and trits through the generated array and prints how\n"
        "often its nets toggle per ternary operation. Compiling takes 20 seconds for 16 PEs,\n"
        "9 minutes for 256.",
        arguments=toggles_arguments,
        run=run_toggles,
        examples="{prog} toggles --rows 2 --cols 2 --zero-share 1/3",
    ),
    Command(
        name="asap7",
        help="measure area, clock and energy in a library of 7 nm standard cells",
        description="Maps our PE and baselines to the library, sizes and times them, simulates\n"
        "them and prices their toggles; prints a table and writes it as JSON and Markdown, with a\n"
        "plot and a cost table for the energy model.",
        arguments=asap7_arguments,
        run=run_asap7,
    ),
)
