"""The commands that make figures for pages: `bench`, `film` and `waves`."""

from __future__ import annotations

import argparse

from tritloom.console.command import Command
from tritloom.hw.options import out_argument, print_files


def no_arguments(parser: argparse.ArgumentParser) -> None:
    """A command without options."""


def run_bench(options: argparse.Namespace) -> None:
    """Measure the figures that pages quote; print and write them."""
    from .measured import show_figures

    show_figures()


def film_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `film`."""
    out_argument(parser, "docs")


def run_film(options: argparse.Namespace) -> None:
    """Write the film of a small array at work."""
    from .film import write_film

    print_files(write_film(options.out))


def waves_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `waves`."""
    out_argument(parser, "docs/waves")


def run_waves(options: argparse.Namespace) -> None:
    """Write the timing diagrams of either dataflow."""
    from .waves import write_waves

    print_files(write_waves(options.out))


COMMANDS = (
    Command(
        name="bench",
        help="measure the figures that the pages quote",
        description="Measures generation, utilisation, simulation speed and the report's time;\n"
        "prints them beside their targets and writes build/bench.json. Takes 10 minutes.",
        arguments=no_arguments,
        run=run_bench,
    ),
    Command(
        name="film",
        help="write a page that shows a small array at work, register by register",
        description="Runs the RTL of either dataflow in lockstep with its cycle model and writes\n"
        "what every PE held in every cycle as film.html.",
        arguments=film_arguments,
        run=run_film,
    ),
    Command(
        name="waves",
        help="draw timing diagrams of either dataflow",
        description="Runs the cycle models and writes their ports as WaveDrom's JSON and as SVG.",
        arguments=waves_arguments,
        run=run_waves,
    ),
)
