"""The command that measures coverage of the RTL: `coverage`."""

from __future__ import annotations

import argparse

from tritloom.console.command import Command
from tritloom.hw.options import out_argument


def coverage_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `coverage`."""
    out_argument(parser, "build/coverage")


def run_coverage(options: argparse.Namespace) -> None:
    """Measure coverage of either dataflow; print and write it."""
    from .measure import show_coverage

    show_coverage(options.out)


COMMANDS = (
    Command(
        name="coverage",
        help="measure lines, toggles and crosses of the RTL that the benches reach",
        description="Runs the benches of the core and of its registers, preset tiny, with\n"
        "Verilator's counters; prints what they reach and writes rtl.json and crosses.json:\n"
        "docs/verification.md. Takes 6 minutes.",
        arguments=coverage_arguments,
        run=run_coverage,
    ),
)
