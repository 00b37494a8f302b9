"""Commands `trace`, `ledger` and `counts`: a model's work as a file, and the price of work."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tritloom.arch.counts import Counts
from tritloom.arch.errors import InputError, require_int
from tritloom.arch.files import parse_json, read_json, write_text
from tritloom.arch.workload import BLOCK_DTYPES
from tritloom.console.command import Command
from tritloom.console.sheet import show
from tritloom.energy_model.options import (
    add_costs,
    add_format,
    add_machine,
    add_model,
    add_out,
    add_workload,
    chosen_costs,
    chosen_machine,
    chosen_model,
)

from .file import TRACE_FORMATS


def trace_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `trace`."""
    add_model(parser)
    work = add_workload(
        parser,
        phase="decode",
        which="pass to write: the whole prompt, or one token of each sequence",
    )
    work.add_argument(
        "--weight",
        choices=BLOCK_DTYPES,
        help="number format of the blocks' weights [that of the checkpoint; ternary for a SIZE]",
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "--format",
        choices=tuple(TRACE_FORMATS),
        default="yaml",
        help="form of the trace: yaml (everything), or scalesim (its GEMM topology CSV: names and "
        "shapes) [yaml]",
    )
    add_out(output)


def run_trace(options: argparse.Namespace) -> None:
    """Write the trace of a model to a file or to standard output."""
    from tritloom.arch.models.trace import build_trace

    model = chosen_model(options)
    trace = build_trace(
        model,
        weight=options.weight or model.weight,
        phase=options.phase,
        batch=options.batch,
        context=options.context,
        head_weight=options.lm_head,
        kv=options.kv_cache,
    )
    text = TRACE_FORMATS[options.format](trace)
    if options.out is None:
        print(text, end="")
    else:
        write_text(options.out, text)
    if options.context > (model.max_context or options.context):
        print(
            f"note: {model.name} is made for {model.max_context} tokens, not {options.context}",
            file=sys.stderr,
        )


def ledger_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `ledger`."""
    parser.add_argument("file", type=Path, metavar="FILE", help="trace file, as YAML or as CSV")
    parser.add_argument(
        "--weight", choices=BLOCK_DTYPES, help="number format of the weights of a CSV"
    )
    add_machine(parser)
    add_format(parser)


def run_ledger(options: argparse.Namespace) -> None:
    """Print the energy and the time of a trace file on a machine."""
    from tritloom.energy_model.machine.ledger import run_pass

    from .file import read_scalesim, read_trace
    from .sheets import ledger_sheet

    csv = options.file.suffix.lower() == ".csv"
    if csv != (options.weight is not None):
        raise InputError(
            f"{options.file} states no number format: give --weight"
            if csv
            else f"{options.file} states its number formats: no --weight {options.weight}"
        )
    trace = read_scalesim(options.file, weight=options.weight) if csv else read_trace(options.file)
    machine = chosen_machine(options)
    one, prices = run_pass(None, trace, machine), machine.prices(chosen_costs(options))
    show(ledger_sheet(one, trace, prices), options.format)


def counts_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `counts`."""
    parser.add_argument(
        "file", metavar="FILE", help="JSON file of action counts, or - for standard input"
    )
    add_costs(parser)
    add_format(parser)


def run_counts(options: argparse.Namespace) -> None:
    """Print the energy of action counts, by category."""
    from tritloom.energy_model.costs.table import price

    from .sheets import energy_sheet

    costs = chosen_costs(options)
    show(energy_sheet(price(_read_counts(options.file), costs), costs), options.format)


def _read_counts(name: str) -> Counts:
    """Return the action counts of a JSON file, or of standard input for "-"."""
    from tritloom.energy_model.costs import datafile

    where = "standard input" if name == "-" else name
    content = parse_json(sys.stdin.buffer.read(), where) if name == "-" else read_json(Path(name))
    counts = datafile.mapping(where, content)
    if not counts:
        raise InputError(f"{where} holds no counts")
    return Counts(
        **{
            action: require_int(action, count, low=0, high=1 << 100)
            for action, count in counts.items()
        }
    )


COMMANDS = (
    Command(
        name="trace",
        help="write the matrix products of a model as a file",
        description="""\
Writes the matrix products of one pass through a model and its vector work (norms, softmax, ...) as
YAML, or the matrix products alone as SCALE-Sim's GEMM topology CSV: docs/models.md.""",
        arguments=trace_arguments,
        run=run_trace,
        examples="""\
{prog} trace --size 7b --context 4096
{prog} trace --model bitnet-2b4t --kv-cache int8 --out 2b4t.yaml
{prog} trace --size 7b --phase prefill --format scalesim --out 7b.csv""",
    ),
    Command(
        name="ledger",
        help="price a trace file in energy and time",
        description="""\
Prints the energy, line by line, and the time of a trace file (YAML, of `trace` or yours) on a
machine, in the number formats that the file states. SCALE-Sim's CSV states none: --weight does.""",
        arguments=ledger_arguments,
        run=run_ledger,
        examples="""\
{prog} trace --size 7b --batch 8 --out 7b.yaml
{prog} ledger 7b.yaml --hardware kv260
{prog} ledger gemms.csv --weight ternary""",
    ),
    Command(
        name="counts",
        help="price counted actions in energy",
        description="""\
Prices action counts: a JSON object of action names and numbers, such as
{"add_int8": 4096, "act_hop_bits": 32768, "weight_dram_bits": 8192}. Energy is printed by category
(arithmetic, registers, buffer, DRAM) with low, nominal and high; actions without a cost are listed
as unpriced.""",
        arguments=counts_arguments,
        run=run_counts,
    ),
)
