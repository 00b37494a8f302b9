"""Options that several commands share, and the model, workload and machine that they stand for.

Every start of a program adds all options of all commands, so this module imports only what is
quick; the functions that read options import the rest.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tritloom.arch.errors import InputError
from tritloom.arch.models.known import MODELS, SIZES, find_model
from tritloom.arch.models.shape import ModelShape
from tritloom.arch.workload import DTYPES, KV_DTYPES, PHASES
from tritloom.console.sheet import FORMS

if TYPE_CHECKING:
    from .costs.table import CostTable
    from .machine.evaluation import Workload
    from .machine.machine import Machine


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add the options that name a model; `chosen_model` reads them."""
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--size", metavar="SIZE", help=f"size of a LLaMA-shaped model: {', '.join(SIZES)}"
    )
    which.add_argument(
        "--model",
        metavar="NAME|PATH",
        help="model: any known one (the sizes, or figure3-1.3b, -3b, -7b, -13b, -70b, the "
        "GPT-shaped models behind the paper's figure 3), or a Hugging Face config.json or a "
        "folder with one",
    )


def chosen_model(options: argparse.Namespace) -> ModelShape:
    """Return the model that `--size` or `--model` names."""
    if options.size is None:
        return named_model(options.model)
    if options.size.lower() not in SIZES:
        raise InputError(f"unknown size {options.size!r}; known: {', '.join(SIZES)}")
    return find_model(options.size)


def named_model(name: str) -> ModelShape:
    """Return a known model, or that of a config file or of its folder; a known name is no path."""
    path = Path(name)
    if name.lower() not in MODELS and (path.suffix == ".json" or path.is_dir()):
        from tritloom.arch.models.huggingface import read_config

        return read_config(path)
    return find_model(name)


def add_workload(
    parser: argparse.ArgumentParser, *, phase: str, which: str
) -> argparse._ArgumentGroup:
    """Add the options of a workload and return their group; `chosen_workload` reads them.

    Parameters
    ----------
    phase : str
        The phase by default.
    which : str
        What the phase decides, as a phrase for the help.
    """
    work = parser.add_argument_group("workload")
    work.add_argument("--phase", choices=PHASES, default=phase, help=f"{which} [{phase}]")
    work.add_argument(
        "--batch", type=int, metavar="N", default=1, help="number of sequences side by side [1]"
    )
    work.add_argument(
        "--context",
        type=int,
        metavar="N",
        default=512,
        help="number of tokens in each sequence [512]",
    )
    work.add_argument(
        "--kv-cache",
        choices=KV_DTYPES,
        default="fp16",
        help="number format of cached keys and values [fp16]",
    )
    work.add_argument(
        "--lm-head", choices=DTYPES, default="fp16", help="number format of the output head [fp16]"
    )
    return work


def chosen_workload(options: argparse.Namespace) -> Workload:
    """Return the workload that the options state."""
    from .machine.evaluation import Workload

    return Workload(
        phase=options.phase,
        batch=options.batch,
        context=options.context,
        kv=options.kv_cache,
        head_weight=options.lm_head,
    )


def add_machine(parser: argparse.ArgumentParser) -> None:
    """Add the options of a machine and its costs, for `chosen_machine` and `chosen_costs`."""
    machine = parser.add_argument_group("machine")
    machine.add_argument(
        "--hardware",
        metavar="NAME",
        default="large",
        help="machine: a preset (large, large-ws, large-fp16, a100, kv260, ...), a .yaml file, or "
        "ROWSxCOLSxLANES with an optional /COLS_PER_HOP [large]",
    )
    machine.add_argument(
        "--leakage",
        type=float,
        metavar="W",
        help="watts drawn whatever is computed, instead of the machine's own",
    )
    add_costs(machine)


def chosen_machine(options: argparse.Namespace) -> Machine:
    """Return the machine of `--hardware`, with the static power of `--leakage` where given."""
    from .costs import datafile
    from .machine.file import load_machine
    from .machine.machine import Static

    machine = load_machine(options.hardware)
    if options.leakage is None:
        return machine
    watts = datafile.number("leakage", options.leakage)
    return dataclasses.replace(machine, static=Static.given(watts))


def add_costs(group: argparse._ActionsContainer) -> None:
    """Add the option that names a cost table; `chosen_costs` reads it."""
    group.add_argument(
        "--costs",
        metavar="NAME",
        default="paper",
        help="cost table: paper (published 7 nm energies), asap7 (this RTL's own netlists), or a "
        ".yaml file [paper]",
    )


def chosen_costs(options: argparse.Namespace) -> CostTable:
    """Return the cost table of `--costs`."""
    from .costs.table import load_costs

    return load_costs(options.costs)


def add_format(group: argparse._ActionsContainer, forms: Sequence[str] = FORMS) -> None:
    """Add the option that says in which form results are printed."""
    group.add_argument(
        "--format",
        choices=forms,
        default="table",
        help=f"form of the output: {', '.join(forms)} [table]",
    )


def add_out(group: argparse._ActionsContainer) -> None:
    """Add the option that names a file to write instead of standard output."""
    group.add_argument(
        "--out", type=Path, metavar="FILE", help="file to write instead of standard output"
    )
