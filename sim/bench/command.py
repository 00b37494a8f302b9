"""The command that runs random configurations through their benches: `fuzz-configs`."""

from __future__ import annotations

import argparse

from tritloom.arch.errors import require_int
from tritloom.console.command import Command
from tritloom.sim.options import jobs_argument, seed_argument


def fuzz_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `fuzz-configs`."""
    parser.add_argument(
        "--seconds",
        type=int,
        default=3600,
        metavar="N",
        help="seconds after which no more are begun [%(default)s]",
    )
    seed_argument(parser, "configurations and Gemms", default=1)
    parser.add_argument(
        "--first", type=int, default=0, metavar="N", help="number to begin with [%(default)s]"
    )
    parser.add_argument(
        "--number",
        type=int,
        metavar="N",
        help="number of the one configuration to repeat, from 0 [all]",
    )
    jobs_argument(parser)


def run_fuzz(options: argparse.Namespace) -> None:
    """Check random configurations and print what failed."""
    require_int("seed", options.seed, low=0)
    if options.number is not None:
        require_int("number", options.number, low=0)
    from . import configs

    if options.number is not None:
        configs.show_number(options.seed, options.number)
        return
    configs.show_configs(options.seconds, seed=options.seed, first=options.first, jobs=options.jobs)


COMMANDS = (
    Command(
        name="fuzz-configs",
        help="run random configurations through lint and benches",
        description="Draws configurations over all parameters, extremes among them. Each is\n"
        "refused in one line, or made, linted and co-simulated, array and core;\n"
        "prints what failed and how to repeat it: docs/verification.md.",
        arguments=fuzz_arguments,
        run=run_fuzz,
        examples="{prog} fuzz-configs --seconds 600 --jobs 2",
    ),
)
