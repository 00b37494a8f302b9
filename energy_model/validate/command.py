"""Command `validate`: measured accelerators, or SCALE-Sim's cycles, next to the model's."""

from __future__ import annotations

import argparse

from tritloom.console.command import Command
from tritloom.console.sheet import show
from tritloom.energy_model.options import add_format


def validate_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `validate`."""
    parser.add_argument(
        "--scalesim",
        action="store_true",
        help="print the cycles of SCALE-Sim instead, and each term between them and ours",
    )
    add_format(parser)


def run_validate(options: argparse.Namespace) -> None:
    """Print measured accelerators, or SCALE-Sim's cycles, next to the model's."""
    from .sheets import scalesim_sheet, validation_sheet

    if options.scalesim:
        from .scalesim import crosscheck

        sheet = scalesim_sheet(crosscheck())
    else:
        from .validate import summaries, validate

        sheet = validation_sheet(validate(), summaries(validate()))
    show(sheet, options.format)


COMMANDS = (
    Command(
        name="validate",
        help="print measured accelerators, or SCALE-Sim's cycles, next to the model's",
        description="""\
Prints, for ternary accelerators that others measured, what the model predicts from their public
parameters next to what was measured, with the ratio, what is published and what INFERRED, and why
it misses. With --scalesim, prints cycles of the FP16 array next to SCALE-Sim's, and each term
between them.""",
        arguments=validate_arguments,
        run=run_validate,
    ),
)
