"""Command `sweep`: a model on every machine of a grid, and the Pareto front."""

from __future__ import annotations

import argparse
from pathlib import Path

from tritloom.arch.errors import InputError, require_int
from tritloom.arch.files import cache_folder
from tritloom.console.command import Command, Interrupted
from tritloom.console.sheet import show
from tritloom.energy_model.options import add_format, named_model


def sweep_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `sweep`."""
    parser.add_argument(
        "file", type=Path, metavar="FILE", help="YAML file of a sweep: docs/sweep.md"
    )
    parser.add_argument(
        "--backend",
        choices=("loky", "dask", "sequential"),
        default="loky",
        help="evaluate in processes here, on a Dask cluster, or in this process alone [loky]",
    )
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="number of processes with loky [all cores]"
    )
    parser.add_argument(
        "--scheduler", metavar="ADDRESS", help="address of the Dask cluster's scheduler"
    )
    parser.add_argument(
        "--benchmark", action="store_true", help="print evaluations a second and keep no result"
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="file of the results: .csv or .parquet [NAME.csv, after FILE, in build/sweep of a "
        "checkout or in the user's cache]",
    )
    add_format(output)
    output.add_argument(
        "--plot",
        type=Path,
        metavar="FILE",
        help="picture of the front to draw too: .png, .svg, ...",
    )


def run_sweep(options: argparse.Namespace) -> None:
    """Write the results of a sweep and print its Pareto front, or print how fast it runs."""
    from tritloom.energy_model.picture import picture_format

    from . import run
    from .file import read_sweep
    from .sheets import fronts_sheet, speeds_sheet
    from .sweep import fronts

    if (options.backend == "dask") != (options.scheduler is not None):
        raise InputError("--backend dask and --scheduler ADDRESS need each other")
    if options.jobs is not None:
        require_int("--jobs", options.jobs)
    if options.plot:
        # Before the sweep, not after it.
        picture_format(options.plot)
    sweep = read_sweep(options.file, find_model=named_model)
    if options.benchmark:
        show(speeds_sheet(run.benchmark(sweep, jobs=options.jobs)), options.format)
        return
    out = options.out or cache_folder("sweep") / f"{options.file.stem}.csv"
    where = {"jobs": options.jobs, "scheduler": options.scheduler or ""}
    try:
        rows = run.run_sweep(sweep, out, backend=options.backend, **where)
    except KeyboardInterrupt:
        raise Interrupted("the same command continues") from None
    found = fronts(sweep, rows)
    if options.plot:
        from .plot import plot_fronts

        plot_fronts(sweep, rows, found, options.plot)
    show(fronts_sheet(sweep, rows, found, out), options.format)


COMMANDS = (
    Command(
        name="sweep",
        help="evaluate many machines and workloads, and print the Pareto front",
        description="""\
Evaluates a model on every machine of a grid, or on random ones of it, and prints the Pareto front:
docs/sweep.md. Results go to a file; a sweep that was killed continues with the same command.""",
        arguments=sweep_arguments,
        run=run_sweep,
        examples="""\
{prog} sweep examples/sweep.yaml --plot front.png
{prog} sweep examples/sweep.yaml --out arrays.parquet --jobs 2
{prog} sweep examples/sweep.yaml --backend dask --scheduler tcp://10.0.0.1:8786
{prog} sweep examples/sweep.yaml --benchmark""",
    ),
)
