"""Command `report`: BitNet b1.58 next to FP16 LLaMA."""

from __future__ import annotations

import argparse
import contextlib
import io
from collections.abc import Iterator
from pathlib import Path

from tritloom.arch.files import write_text
from tritloom.console.command import Command
from tritloom.console.sheet import FORMS, show
from tritloom.energy_model.options import (
    add_format,
    add_machine,
    add_model,
    add_out,
    add_workload,
    chosen_costs,
    chosen_machine,
    chosen_model,
    chosen_workload,
)

# Options that say where results go, and nothing of what they are.
_ASIDE = ("command", "out", "plot")


def report_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `report`."""
    add_model(parser)
    add_workload(
        parser,
        phase="prefill",
        which="pass whose energy is counted: the whole prompt, or one token of each sequence "
        "(latency and throughput are always those of decode)",
    )
    add_machine(parser)
    output = parser.add_argument_group("output")
    output.add_argument("--layers", action="store_true", help="print the figures of each layer too")
    output.add_argument(
        "-v",
        "--details",
        action="store_true",
        help="print all lines of the table, ranges and notes",
    )
    add_format(output, (*FORMS, "html"))
    add_out(output)
    output.add_argument(
        "--plot", type=Path, metavar="FILE", help="picture to draw too: .png, .svg, .pdf, ..."
    )


def run_report(options: argparse.Namespace) -> None:
    """Print a report, or write it to a file, and draw it where asked for."""
    from .report import build_report
    from .sheets import report_sheet

    report = build_report(
        chosen_model(options),
        workload=chosen_workload(options),
        machine=chosen_machine(options),
        costs=chosen_costs(options),
    )
    if options.plot:
        from .plot import plot_report

        plot_report(report, options.plot)
    with _standard_output_to(options.out):
        if options.format == "html":
            from .page import report_html

            given = {name: value for name, value in vars(options).items() if name not in _ASIDE}
            print(report_html(report, given), end="")
        else:
            # Only a table has to fit a width; Markdown has always all lines.
            details = options.details or options.format == "markdown"
            show(report_sheet(report, layers=options.layers, details=details), options.format)


@contextlib.contextmanager
def _standard_output_to(path: Path | None) -> Iterator[None]:
    """Write what is printed to a file, where there is one."""
    if path is None:
        yield
        return
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        yield
    write_text(path, printed.getvalue())


COMMANDS = (
    Command(
        name="report",
        help="print BitNet b1.58 next to FP16 LLaMA",
        description="""\
Prints, for BitNet b1.58 next to FP16 LLaMA: the arithmetic energy of the weight products and its
parts, the paper's end-to-end energy, the energy of a whole machine with its memory traffic, memory,
decode latency and throughput, and what dominates. Each figure comes with the ratio,
its tier (MEASURED, PUBLISHED, DERIVED, PROJECTED or INFERRED) and, under the paper's conditions,
the published ratio.""",
        arguments=report_arguments,
        run=run_report,
        examples="""\
{prog} report --size 70b
{prog} report --size 7b --layers --plot 7b.png
{prog} report --size 7b --format html --out 7b.html
{prog} report --model figure3-70b --format json
{prog} report --size 13b --phase decode --batch 16 --context 2048
{prog} report --model Mixtral-8x7B-v0.1/config.json --kv-cache int8
{prog} report --size 70b --hardware 4x1024x16/64
{prog} report --size 7b --hardware kv260 --leakage 2""",
    ),
)
