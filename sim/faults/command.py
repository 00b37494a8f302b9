"""The command that plants random faults: `mutate`."""

from __future__ import annotations

import argparse

from tritloom.console.command import Command
from tritloom.hw.options import out_argument
from tritloom.sim.options import jobs_argument, seed_argument


def mutate_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `mutate`."""
    parser.add_argument(
        "--faults", type=int, default=200, metavar="N", help="number of faults [%(default)s]"
    )
    seed_argument(parser, "the faults", default=1)
    jobs_argument(parser)
    out_argument(parser, "build/mutate")


def run_mutate(options: argparse.Namespace) -> None:
    """Run random faults; write and print what became of them."""
    from .mutate import show_faults

    show_faults(options.faults, options.seed, jobs=options.jobs, out=options.out)


COMMANDS = (
    Command(
        name="mutate",
        help="plant random faults in the RTL, which the co-simulation must notice",
        description="Puts random single faults into a small core of either dataflow and runs the\n"
        "co-simulation on each until a bench fails; prints what was killed by kind and module and\n"
        "writes every fault as JSON and Markdown: docs/verification.md.",
        arguments=mutate_arguments,
        run=run_mutate,
        examples="{prog} mutate --faults 20",
    ),
)
