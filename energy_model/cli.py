"""`python -m energy_model`: its commands, their options and help, and its exit status.

What a command does is in `energy_model.commands`.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from tritloom.arch.errors import InputError, MismatchError, one_line
from tritloom.arch.models.known import SIZES
from tritloom.arch.workload import BLOCK_DTYPES, DTYPES, KV_DTYPES, PHASES
from tritloom.energy_model.trace.file import TRACE_FORMATS

from . import commands

FORMATS = ("table", "json", "csv", "markdown")

_REPORT = """\
Print, for BitNet b1.58 next to FP16 LLaMA: the arithmetic energy of the weight products and its
parts, the paper's end-to-end energy, the energy of a whole machine with its memory traffic, memory,
decode latency and throughput, and what dominates. Each figure comes with the ratio,
its tier (MEASURED, PUBLISHED, DERIVED, PROJECTED or INFERRED) and, under the paper's conditions,
the published ratio."""

_REPORT_EXAMPLES = """\
examples:
  python -m energy_model report --size 70b
  python -m energy_model report --size 7b --layers --plot 7b.png
  python -m energy_model report --size 7b --format html --out 7b.html
  python -m energy_model report --model figure3-70b --format json
  python -m energy_model report --size 13b --phase decode --batch 16 --context 2048
  python -m energy_model report --model Mixtral-8x7B-v0.1/config.json --kv-cache int8
  python -m energy_model report --size 70b --hardware 4x1024x16/64
  python -m energy_model report --size 7b --hardware kv260 --leakage 2"""

_COMPARE = """\
Compare two models in memory, decode latency and energy, by arithmetic alone and with memory, on one
machine; without a pair, check the paper's scaling law, and print where it holds."""

_COMPARE_EXAMPLES = """\
examples:
  python -m energy_model compare
  python -m energy_model compare --hardware a100
  python -m energy_model compare 70b:ternary 7b:fp16 --batch 16 --format json"""

_TRACE = """\
Write the matrix products of one pass through a model and its vector work (norms, softmax, ...) as
YAML, or the matrix products alone as SCALE-Sim's GEMM topology CSV: docs/models.md."""

_TRACE_EXAMPLES = """\
examples:
  python -m energy_model trace --size 7b --context 4096
  python -m energy_model trace --model bitnet-b1.58-2B-4T --kv-cache int8 --out 2b4t.yaml
  python -m energy_model trace --size 7b --phase prefill --format scalesim --out 7b.csv"""

_LEDGER = """\
Energy, line by line, and time of a trace file (YAML, of `trace` or yours) on a machine, in the
number formats that the file states. SCALE-Sim's CSV states none: --weight does."""

_LEDGER_EXAMPLES = """\
examples:
  python -m energy_model trace --size 7b --batch 8 --out 7b.yaml
  python -m energy_model ledger 7b.yaml --hardware kv260
  python -m energy_model ledger gemms.csv --weight ternary"""

_REPRODUCE = """\
Print every figure of the BitNet papers that a model here predicts (arXiv 2402.17764: figures 2 and
3, tables 1 and 3; arXiv 2310.11453: table 1): published value, model value, residual, and below
them each assumption that the papers do not state, as INFERRED."""

_VALIDATE = """\
Print, for ternary accelerators that others measured, what the model predicts from their public
parameters next to what was measured, with the ratio, what is published and what INFERRED, and why
it misses. With --scalesim: cycles of the FP16 array next to SCALE-Sim's, and each cycle between."""

_SWEEP = """\
Evaluate a model on every machine of a grid, or on random ones of it, and print the Pareto front:
docs/sweep.md. Results go to a file; a sweep that was killed continues with the same command."""

_SWEEP_EXAMPLES = """\
examples:
  python -m energy_model sweep examples/sweep.yaml --plot front.png
  python -m energy_model sweep examples/sweep.yaml --out arrays.parquet --jobs 2
  python -m energy_model sweep examples/sweep.yaml --backend dask --scheduler tcp://10.0.0.1:8786
  python -m energy_model sweep examples/sweep.yaml --benchmark"""

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
    """Run the command line; the exit status is 2 for bad input, 1 for a missed target."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        options.run(options)
        sys.stdout.flush()
    except MismatchError as error:
        print(f"{parser.prog}: {one_line(error)}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader has enough. Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (InputError, OSError) as error:
        print(f"{parser.prog}: error: {one_line(error)}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = _Parser(
        prog="python -m energy_model",
        description="What a ternary large language model costs in joules, bytes and seconds.",
        allow_abbrev=False,
    )
    subparsers = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    report = subparsers.add_parser(
        "report",
        help="BitNet b1.58 next to FP16 LLaMA",
        description=_REPORT,
        epilog=_REPORT_EXAMPLES,
        formatter_class=raw,
        allow_abbrev=False,
    )
    _add_model(report)
    _add_workload(
        report,
        phase="prefill",
        which="pass whose energy is counted: the whole prompt, or one token of each sequence "
        "(latency and throughput are always those of decode)",
    )
    _add_machine(report)
    output = report.add_argument_group("output")
    output.add_argument("--layers", action="store_true", help="the same for each layer")
    output.add_argument(
        "-v", "--details", action="store_true", help="all lines of the table, ranges and notes"
    )
    _add_format(output, (*FORMATS, "html"))
    output.add_argument("--out", type=Path, metavar="FILE", help="file to write [standard output]")
    output.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw it too: .png, .svg, .pdf, ..."
    )
    report.set_defaults(run=commands.write_report)

    compare = subparsers.add_parser(
        "compare",
        help="two models on one machine; the paper's scaling law",
        description=_COMPARE,
        epilog=_COMPARE_EXAMPLES,
        formatter_class=raw,
        allow_abbrev=False,
    )
    compare.add_argument(
        "pair",
        nargs="*",
        metavar="MODEL:FORMAT",
        help="two of them, such as 13b:ternary 3b:fp16 [the paper's three pairs]",
    )
    _add_workload(
        compare,
        phase="prefill",
        which="pass whose energy is compared besides that of a decode step",
    )
    _add_machine(compare)
    _add_format(compare)
    compare.set_defaults(run=commands.compare_models)

    trace = subparsers.add_parser(
        "trace",
        help="the matrix products of a model as a file",
        description=_TRACE,
        epilog=_TRACE_EXAMPLES,
        formatter_class=raw,
        allow_abbrev=False,
    )
    _add_model(trace)
    work = _add_workload(
        trace, phase="decode", which="the whole prompt, or one token of each sequence"
    )
    work.add_argument(
        "--weight",
        choices=BLOCK_DTYPES,
        help="number format of the blocks' weights [that of the checkpoint; ternary for a SIZE]",
    )
    output = trace.add_argument_group("output")
    output.add_argument(
        "--format",
        choices=TRACE_FORMATS,
        default="yaml",
        help="yaml (everything), or scalesim (its GEMM topology CSV: names and shapes) [yaml]",
    )
    output.add_argument("--out", type=Path, metavar="FILE", help="file to write [standard output]")
    trace.set_defaults(run=commands.write_trace)

    ledger = subparsers.add_parser(
        "ledger",
        help="energy and time of a trace file",
        description=_LEDGER,
        epilog=_LEDGER_EXAMPLES,
        formatter_class=raw,
        allow_abbrev=False,
    )
    ledger.add_argument("file", type=Path, metavar="FILE", help="trace as YAML, or as CSV")
    ledger.add_argument(
        "--weight", choices=BLOCK_DTYPES, help="number format of the weights of a CSV"
    )
    _add_machine(ledger)
    _add_format(ledger)
    ledger.set_defaults(run=commands.price_trace)

    reproduce = subparsers.add_parser(
        "reproduce",
        help="the BitNet papers' figures next to the model's",
        description=_REPRODUCE,
        formatter_class=raw,
        allow_abbrev=False,
    )
    _add_format(reproduce)
    reproduce.add_argument(
        "--plots", type=Path, metavar="DIR", help="draw them too, as figure2.png and so on"
    )
    reproduce.add_argument(
        "--check", action="store_true", help="exit with status 1 if a target is missed"
    )
    reproduce.set_defaults(run=commands.reproduce_papers)

    validate = subparsers.add_parser(
        "validate",
        help="measured accelerators, or SCALE-Sim's cycles, next to the model's",
        description=_VALIDATE,
        formatter_class=raw,
        allow_abbrev=False,
    )
    validate.add_argument(
        "--scalesim", action="store_true", help="cycles of SCALE-Sim instead, term by term"
    )
    _add_format(validate)
    validate.set_defaults(run=commands.validate_machines)
    _add_sweep(subparsers)

    counts = subparsers.add_parser(
        "counts",
        help="energy of counted actions",
        description=_COUNTS,
        formatter_class=raw,
        allow_abbrev=False,
    )
    counts.add_argument("file", metavar="FILE", help="JSON file, or - for standard input")
    _add_costs(counts)
    _add_format(counts)
    counts.set_defaults(run=commands.price_counts)
    return parser


def _add_sweep(subparsers) -> None:
    sweep = subparsers.add_parser(
        "sweep",
        help="many machines and workloads; the Pareto front",
        description=_SWEEP,
        epilog=_SWEEP_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    sweep.add_argument("file", type=Path, metavar="FILE", help="YAML file: docs/sweep.md")
    sweep.add_argument(
        "--backend",
        choices=("loky", "dask", "sequential"),
        default="loky",
        help="processes here, a Dask cluster, or none of both [loky]",
    )
    sweep.add_argument("--jobs", type=int, metavar="N", help="processes with loky [all cores]")
    sweep.add_argument("--scheduler", metavar="ADDRESS", help="of the Dask cluster")
    sweep.add_argument(
        "--benchmark", action="store_true", help="print evaluations a second and keep no result"
    )
    output = sweep.add_argument_group("output")
    output.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="results: .csv or .parquet [build/sweep/NAME.csv, after FILE]",
    )
    _add_format(output, ("table", "json", "csv"))
    output.add_argument("--plot", type=Path, metavar="FILE", help="draw the front: .png, .svg, ...")
    sweep.set_defaults(run=commands.sweep_machines)


def _add_model(parser) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--size", metavar="SIZE", help=f"LLaMA-shaped model: {', '.join(SIZES)}")
    which.add_argument(
        "--model",
        metavar="NAME|PATH",
        help="any known model (the sizes, or figure3-1.3b, -3b, -7b, -13b, -70b, the GPT-shaped "
        "models behind the paper's figure 3), or a Hugging Face config.json or a folder with one",
    )


def _add_workload(parser, *, phase: str, which: str):
    work = parser.add_argument_group("workload")
    work.add_argument(
        "--phase",
        choices=PHASES,
        default=phase,
        help=f"{which} [{phase}]",
    )
    work.add_argument(
        "--batch", type=int, metavar="N", default=1, help="sequences side by side [1]"
    )
    work.add_argument(
        "--context", type=int, metavar="N", default=512, help="tokens of each sequence [512]"
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


def _add_machine(parser) -> None:
    machine = parser.add_argument_group("machine")
    machine.add_argument(
        "--hardware",
        metavar="NAME",
        default="large",
        help="a preset (large, large-ws, large-fp16, a100, kv260, ...), a .yaml file, or "
        "ROWSxCOLSxLANES with an optional /COLS_PER_HOP [large]",
    )
    machine.add_argument(
        "--leakage",
        type=float,
        metavar="W",
        help="watts drawn whatever is computed, instead of the machine's own",
    )
    _add_costs(machine)


def _add_costs(group) -> None:
    group.add_argument(
        "--costs",
        metavar="NAME",
        default="paper",
        help="cost table: paper (published 7 nm energies), asap7 (this RTL's own netlists), or a "
        ".yaml file [paper]",
    )


def _add_format(group, formats: tuple[str, ...] = FORMATS) -> None:
    group.add_argument(
        "--format", choices=formats, default="table", help=f"{', '.join(formats)} [table]"
    )
