"""Commands `reproduce` and `fit`: the BitNet papers' figures, and the constants fitted to them."""

from __future__ import annotations

import argparse
from pathlib import Path

from tritloom.arch.errors import MismatchError
from tritloom.console.command import Command
from tritloom.console.sheet import show
from tritloom.energy_model.options import add_format


def reproduce_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `reproduce`."""
    add_format(parser)
    parser.add_argument(
        "--plots",
        type=Path,
        metavar="DIR",
        help="folder for pictures to draw too, as figure2.png and so on",
    )
    parser.add_argument(
        "--check", action="store_true", help="exit with status 1 if a target is missed"
    )


def run_reproduce(options: argparse.Namespace) -> None:
    """Print the papers' figures next to the model's; a missed target may raise `MismatchError`."""
    from .assumptions import assumptions
    from .reproduce import reproduce
    from .sheets import reproduction_sheet
    from .targets import targets

    values = reproduce()
    held = targets(values)
    if options.plots:
        from .plot import plot_figures

        plot_figures(values, options.plots)
    show(reproduction_sheet(values, held, assumptions()), options.format)
    missed = [
        f"{target.name}: {target.reached}, not {target.limit}" for target in held if not target.met
    ]
    if options.check and missed:
        raise MismatchError(f"missed {'; '.join(missed)}")


def fit_arguments(parser: argparse.ArgumentParser) -> None:
    """Add nothing: `fit` has no options."""


def run_fit(options: argparse.Namespace) -> None:
    """Print the constants that are fitted to the papers' figures."""
    from .fit import fitted_yaml

    print(fitted_yaml(), end="")


COMMANDS = (
    Command(
        name="reproduce",
        help="print the BitNet papers' figures next to the model's",
        description="""\
Prints every figure of the BitNet papers that a model here predicts (arXiv 2402.17764: figures 2 and
3, tables 1 and 3; arXiv 2310.11453: table 1): published value, model value, residual, and below
them each assumption that the papers do not state, as INFERRED.""",
        arguments=reproduce_arguments,
        run=run_reproduce,
    ),
    Command(
        name="fit",
        help="print the constants that are fitted to the BitNet papers' figures",
        description="""\
Fits the constants that no data sheet has to the published values of energy_model/data/paper.yaml,
and prints them as energy_model/data/fitted.yaml holds them: docs/reproduce.md.""",
        arguments=fit_arguments,
        run=run_fit,
    ),
)
