"""Options that several commands of the simulations share, and what they ask for."""

from __future__ import annotations

import argparse

from tritloom.arch.config import PRESETS, ArrayConfig, Dataflow, preset
from tritloom.arch.errors import InputError
from tritloom.arch.ternary import PACKINGS, Packing


def preset_argument(parser: argparse.ArgumentParser, default: str) -> None:
    """Add `--preset`, the configuration of the core."""
    parser.add_argument(
        "--preset",
        metavar="NAME",
        default=default,
        help=f"preset: {', '.join(PRESETS)} [%(default)s]",
    )


def dataflow_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--dataflow`, which takes the place of the preset's."""
    parser.add_argument(
        "--dataflow", metavar="NAME", help=f"dataflow: {' or '.join(Dataflow)} [preset's]"
    )


def packing_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--packing`, the format of the weight stream."""
    parser.add_argument(
        "--packing",
        metavar="NAME",
        default="trit5",
        help=f"packing of the weights: {' or '.join(PACKINGS)} [%(default)s]",
    )


def seed_argument(parser: argparse.ArgumentParser, what: str, *, default: int = 0) -> None:
    """Add `--seed`, from which `what` are drawn."""
    parser.add_argument(
        "--seed", type=int, metavar="N", default=default, help=f"seed of {what} [%(default)s]"
    )


def jobs_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--jobs`, the number of processes."""
    parser.add_argument(
        "--jobs", type=int, metavar="N", default=1, help="number of processes [%(default)s]"
    )


def configuration(options: argparse.Namespace) -> ArrayConfig:
    """The preset with the dataflow that `preset_argument` and `dataflow_argument` were given."""
    config = preset(options.preset)
    return config if options.dataflow is None else config.replace(dataflow=options.dataflow)


def chosen_packing(options: argparse.Namespace) -> Packing:
    """The packing that `packing_argument` was given; `InputError` where there is no such one."""
    if options.packing not in PACKINGS:
        known = ", ".join(PACKINGS)
        raise InputError(f"unknown packing {options.packing!r}; known: {known}")
    return PACKINGS[options.packing]
