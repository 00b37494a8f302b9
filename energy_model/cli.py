"""`python -m energy_model`: arguments in, tables out."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from arch.config import PRESETS
from arch.counts import Counts
from arch.errors import InputError, require_int
from arch.models import SIZES, find_model
from arch.workload import PHASES

from . import datafile

FORMATS = ("table", "json", "csv")

_REPORT = """\
Print, for BitNet b1.58 next to FP16 LLaMA: the arithmetic energy of the weight products and its
parts, end-to-end energy, memory, decode latency and throughput. Each figure comes with the ratio,
its tier (MEASURED, PUBLISHED, DERIVED, PROJECTED or INFERRED) and, under the paper's conditions,
the published ratio."""

_REPORT_EXAMPLES = """\
examples:
  python -m energy_model report --size 70b
  python -m energy_model report --size 7b --layers --plot 7b.png
  python -m energy_model report --model figure3-70b --format json
  python -m energy_model report --size 13b --phase decode --batch 16 --context 2048
  python -m energy_model report --size 70b --hardware 4x1024x16/64"""

_COUNTS = """\
Price action counts: a JSON object of action names and numbers, such as
{"add_int8": 4096, "act_hop_bits": 32768, "weight_dram_bits": 8192}. Energy is printed by category
(arithmetic, registers, buffer, DRAM) with low, nominal and high; actions without a cost are listed
as unpriced."""


class _Parser(argparse.ArgumentParser):
    """Errors in one line, without the usage."""

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {message}\n")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit status is 2 for bad input."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        options.run(options)
        sys.stdout.flush()
    except InputError as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader has enough. Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = _Parser(
        prog="python -m energy_model",
        description="What a ternary large language model costs in joules, bytes and seconds.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    report = commands.add_parser(
        "report",
        help="BitNet b1.58 next to FP16 LLaMA",
        description=_REPORT,
        epilog=_REPORT_EXAMPLES,
        formatter_class=raw,
        allow_abbrev=False,
    )
    which = report.add_mutually_exclusive_group(required=True)
    which.add_argument("--size", metavar="SIZE", help=f"LLaMA-shaped model: {', '.join(SIZES)}")
    which.add_argument(
        "--model",
        metavar="NAME",
        help="any known model: the sizes, or figure3-1.3b, -3b, -7b, -13b, -70b, "
        "the GPT-shaped models behind the paper's figure 3",
    )
    work = report.add_argument_group("workload")
    work.add_argument(
        "--phase",
        choices=PHASES,
        default="prefill",
        help="pass whose energy is counted: the whole prompt, or one token of each sequence "
        "(latency and throughput are always those of decode) [prefill]",
    )
    work.add_argument(
        "--batch", type=int, metavar="N", default=1, help="sequences side by side [1]"
    )
    work.add_argument(
        "--context", type=int, metavar="N", default=512, help="tokens of each sequence [512]"
    )
    machine = report.add_argument_group("machine")
    machine.add_argument(
        "--hardware",
        metavar="NAME",
        default="large",
        help=f"array of the latency: {', '.join(PRESETS)}, or ROWSxCOLSxLANES with an optional "
        "/COLS_PER_HOP [large]",
    )
    _add_costs(machine)
    output = report.add_argument_group("output")
    output.add_argument("--layers", action="store_true", help="the same for each layer")
    _add_format(output)
    output.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw it too: .png, .svg, .pdf, ..."
    )
    report.set_defaults(run=_report)

    counts = commands.add_parser(
        "counts",
        help="energy of counted actions",
        description=_COUNTS,
        formatter_class=raw,
        allow_abbrev=False,
    )
    counts.add_argument("file", metavar="FILE", help="JSON file, or - for standard input")
    _add_costs(counts)
    _add_format(counts)
    counts.set_defaults(run=_counts)
    return parser


def _add_costs(group) -> None:
    group.add_argument(
        "--costs",
        metavar="NAME",
        default="paper",
        help="cost table: paper (published 7 nm energies), or a .yaml file [paper]",
    )


def _add_format(group) -> None:
    group.add_argument(
        "--format", choices=FORMATS, default="table", help=f"{', '.join(FORMATS)} [table]"
    )


def _report(options: argparse.Namespace) -> None:
    from . import render
    from .costs import load_costs
    from .evaluation import Workload
    from .machine import Machine, load_dram, parse_array
    from .report import build_report

    name = options.model if options.size is None else options.size
    if options.size is not None and name.lower() not in SIZES:
        raise InputError(f"unknown size {name!r}; known: {', '.join(SIZES)}")
    report = build_report(
        find_model(name),
        workload=Workload(phase=options.phase, batch=options.batch, context=options.context),
        machine=Machine(
            name=options.hardware, array=parse_array(options.hardware), dram=load_dram()
        ),
        costs=load_costs(options.costs),
    )
    if options.plot:
        from .plot import plot_report

        plot_report(report, options.plot)
    if options.format == "json":
        print(render.report_json(report))
    elif options.format == "csv":
        print(render.report_csv(report, layers=options.layers))
    else:
        render.print_report(report, layers=options.layers)


def _counts(options: argparse.Namespace) -> None:
    from . import render
    from .costs import load_costs, price

    costs = load_costs(options.costs)
    energy = price(_read_counts(options.file), costs)
    if options.format == "json":
        print(render.energy_json(energy, costs))
    elif options.format == "csv":
        print(render.energy_csv(energy, costs))
    else:
        render.print_energy(energy, costs)


def _read_counts(name: str) -> Counts:
    """Action counts of a JSON file, or of standard input for "-"."""
    where = "standard input" if name == "-" else name
    try:
        text = sys.stdin.read() if name == "-" else datafile.read_text(Path(name))
        content = json.loads(text, object_pairs_hook=_unique)
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not JSON: {error}") from None
    counts = datafile.mapping(where, content)
    if not counts:
        raise InputError(f"{where} holds no counts")
    return Counts(
        **{
            action: require_int(action, count, low=0, high=1 << 100)
            for action, count in counts.items()
        }
    )


def _unique(pairs: list[tuple[str, object]]) -> dict:
    """A JSON object; a key that is there twice would otherwise hide the first."""
    found: dict = {}
    for key, value in pairs:
        if key in found:
            raise InputError(f"{key} is there twice")
        found[key] = value
    return found
