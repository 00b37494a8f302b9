"""Command `compare`: two models on one machine, or the paper's scaling law."""

from __future__ import annotations

import argparse

from tritloom.arch.errors import InputError
from tritloom.console.command import Command
from tritloom.console.sheet import show
from tritloom.energy_model.options import (
    add_format,
    add_machine,
    add_workload,
    chosen_costs,
    chosen_machine,
    chosen_workload,
    named_model,
)


def compare_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `compare`."""
    parser.add_argument(
        "pair",
        nargs="*",
        metavar="MODEL:FORMAT",
        help="two models with the number formats of their weights, such as 13b:ternary 3b:fp16 "
        "[the paper's three pairs]",
    )
    add_workload(
        parser,
        phase="prefill",
        which="pass whose energy is compared besides that of a decode step",
    )
    add_machine(parser)
    add_format(parser)


def run_compare(options: argparse.Namespace) -> None:
    """Print two models, or each of the paper's pairs, side by side on one machine."""
    from .compare import SCALING_LAW, SCALING_SOURCE, compare
    from .sheets import comparison_sheet

    if len(options.pair) not in (0, 2):
        raise InputError(f"compare takes two models or none, not {len(options.pair)}")
    pairs = [tuple(options.pair)] if options.pair else SCALING_LAW
    workload, machine = chosen_workload(options), chosen_machine(options)
    costs = chosen_costs(options)
    comparisons = [
        compare(first, second, workload=workload, machine=machine, costs=costs, find=named_model)
        for first, second in pairs
    ]
    claim = None if options.pair else SCALING_SOURCE
    show(comparison_sheet(comparisons, claim), options.format)


COMMANDS = (
    Command(
        name="compare",
        help="compare two models on one machine, or check the paper's scaling law",
        description="""\
Compares two models in memory, decode latency and energy, by arithmetic alone and with memory, on
one machine; without a pair, checks the paper's scaling law, and prints where it holds.""",
        arguments=compare_arguments,
        run=run_compare,
        examples="""\
{prog} compare
{prog} compare --hardware a100
{prog} compare 70b:ternary 7b:fp16 --batch 16 --format json""",
    ),
)
