"""What each command of `python -m energy_model` does with its options: evaluate, then print.

`energy_model.cli` has the commands, their options and their help. Imports that only some commands
need are theirs, which keeps the others quick.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from tritloom.arch.counts import Counts
from tritloom.arch.errors import InputError, MismatchError, require_int
from tritloom.arch.files import read_text
from tritloom.arch.models.huggingface import read_config
from tritloom.arch.models.known import MODELS, SIZES, find_model
from tritloom.arch.models.shape import ModelShape
from tritloom.arch.models.trace import build_trace
from tritloom.energy_model.costs import datafile
from tritloom.energy_model.trace.file import (
    read_scalesim,
    read_trace,
    trace_scalesim,
    trace_yaml,
    write_text,
)


def write_report(options: argparse.Namespace) -> None:
    """A report of BitNet b1.58 next to FP16 LLaMA, and its plot."""
    from tritloom.energy_model.costs.table import load_costs
    from tritloom.energy_model.report import sheets as render
    from tritloom.energy_model.report.report import build_report

    report = build_report(
        _model(options),
        workload=_workload(options),
        machine=_machine(options),
        costs=load_costs(options.costs),
    )
    if options.plot:
        from tritloom.energy_model.report.plot import plot_report

        plot_report(report, options.plot)
    with _standard_output_to(options.out):
        if options.format == "json":
            print(render.report_json(report))
        elif options.format == "csv":
            print(render.report_csv(report, layers=options.layers))
        elif options.format == "html":
            from tritloom.energy_model.report.page import report_html

            aside = ("run", "out", "plot")
            given = {name: value for name, value in vars(options).items() if name not in aside}
            print(report_html(report, given), end="")
        else:
            markdown = options.format == "markdown"
            details = options.details or markdown
            render.print_report(report, layers=options.layers, details=details, markdown=markdown)


@contextlib.contextmanager
def _standard_output_to(path: Path | None) -> Iterator[None]:
    """Write what is printed to a file, where there is one."""
    if path is None:
        yield
        return
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        yield
    write_text(path, printed.getvalue())


def compare_models(options: argparse.Namespace) -> None:
    """Two models, or the paper's pairs, on one machine."""
    from tritloom.energy_model.compare import sheets as render
    from tritloom.energy_model.compare.compare import SCALING_LAW, SCALING_SOURCE, compare
    from tritloom.energy_model.costs.table import load_costs

    if len(options.pair) not in (0, 2):
        raise InputError(f"compare takes two models or none, not {len(options.pair)}")
    rest = {
        "workload": _workload(options),
        "machine": _machine(options),
        "costs": load_costs(options.costs),
        "find": _find_model,
    }
    pairs = [tuple(options.pair)] if options.pair else SCALING_LAW
    comparisons = [compare(first, second, **rest) for first, second in pairs]
    source = None if options.pair else SCALING_SOURCE
    if options.format == "json":
        print(render.comparisons_json(comparisons, source))
    elif options.format == "csv":
        print(render.comparisons_csv(comparisons))
    else:
        render.print_comparisons(comparisons, source, markdown=options.format == "markdown")


def _workload(options: argparse.Namespace):
    from tritloom.energy_model.machine.evaluation import Workload

    return Workload(
        phase=options.phase,
        batch=options.batch,
        context=options.context,
        kv=options.kv_cache,
        head_weight=options.lm_head,
    )


def _machine(options: argparse.Namespace):
    from tritloom.energy_model.machine.file import load_machine
    from tritloom.energy_model.machine.machine import Static

    machine = load_machine(options.hardware)
    if options.leakage is None:
        return machine
    watts = datafile.number("leakage", options.leakage)
    return dataclasses.replace(machine, static=Static.given(watts))


def _model(options: argparse.Namespace) -> ModelShape:
    """The model of a size, of a name, or of a config file."""
    if options.size is not None:
        if options.size.lower() not in SIZES:
            raise InputError(f"unknown size {options.size!r}; known: {', '.join(SIZES)}")
        return find_model(options.size)
    return _find_model(options.model)


def _find_model(name: str) -> ModelShape:
    """The model of a name, or of a config file; a known name is no path."""
    path = Path(name)
    if name.lower() not in MODELS and (path.suffix == ".json" or path.is_dir()):
        return read_config(path)
    return find_model(name)


def write_trace(options: argparse.Namespace) -> None:
    """The trace of a model, as a file or on standard output."""
    model = _model(options)
    trace = build_trace(
        model,
        weight=options.weight or model.weight,
        phase=options.phase,
        batch=options.batch,
        context=options.context,
        head_weight=options.lm_head,
        kv=options.kv_cache,
    )
    text = trace_yaml(trace) if options.format == "yaml" else trace_scalesim(trace)
    if options.out is None:
        print(text, end="")
    else:
        write_text(options.out, text)
    if options.context > (model.max_context or options.context):
        print(
            f"note: {model.name} is made for {model.max_context} tokens, not {options.context}",
            file=sys.stderr,
        )


def price_trace(options: argparse.Namespace) -> None:
    """The ledger of a trace file."""
    from tritloom.energy_model.costs.table import load_costs
    from tritloom.energy_model.machine.ledger import run_pass
    from tritloom.energy_model.trace import sheets as render

    csv = options.file.suffix.lower() == ".csv"
    if csv != (options.weight is not None):
        raise InputError(
            f"{options.file} states no number format: give --weight"
            if csv
            else f"{options.file} states its number formats: no --weight {options.weight}"
        )
    trace = read_scalesim(options.file, weight=options.weight) if csv else read_trace(options.file)
    machine = _machine(options)
    one, prices = run_pass(None, trace, machine), machine.prices(load_costs(options.costs))
    if options.format == "json":
        print(render.ledger_json(one, trace, prices))
    elif options.format == "csv":
        print(render.ledger_csv(one, prices))
    else:
        render.print_ledger(one, trace, prices, markdown=options.format == "markdown")


def reproduce_papers(options: argparse.Namespace) -> None:
    """The papers' figures next to the model's; raises MismatchError for a missed target."""
    from tritloom.energy_model.papers import sheets as render
    from tritloom.energy_model.papers.assumptions import assumptions
    from tritloom.energy_model.papers.reproduce import reproduce
    from tritloom.energy_model.papers.targets import targets

    rows, notes = reproduce(), assumptions()
    held = targets(rows)
    if options.plots:
        from tritloom.energy_model.papers.plot import plot_figures

        plot_figures(rows, options.plots)
    if options.format == "json":
        print(render.to_json(rows, notes))
    elif options.format == "csv":
        print(render.to_csv(rows))
    elif options.format == "markdown":
        print(render.markdown(rows, held, notes))
    else:
        render.print_tables(rows, held, notes)
    missed = [
        f"{target.name}: {target.reached}, not {target.limit}" for target in held if not target.met
    ]
    if options.check and missed:
        raise MismatchError(f"missed {'; '.join(missed)}")


def validate_machines(options: argparse.Namespace) -> None:
    """Measured accelerators, or SCALE-Sim's cycles, next to the model's."""
    from tritloom.energy_model.validate import sheets as render

    if options.scalesim:
        from tritloom.energy_model.validate.scalesim import crosscheck

        sheet = render.scalesim_sheet(crosscheck())
    else:
        from tritloom.energy_model.validate.validate import summaries, validate

        sheet = render.validate_sheet(validate(), summaries(validate()))
    render.print_sheet(sheet, options.format)


def sweep_machines(options: argparse.Namespace) -> None:
    """The results of a sweep into their file, and its Pareto front; or its speed."""
    from tritloom.energy_model.sweep import sheets as render
    from tritloom.energy_model.sweep.file import read_sweep
    from tritloom.energy_model.sweep.run import benchmark, run_sweep
    from tritloom.energy_model.sweep.sweep import fronts

    if (options.backend == "dask") != (options.scheduler is not None):
        raise InputError("--backend dask and --scheduler ADDRESS need each other")
    if options.jobs is not None:
        require_int("--jobs", options.jobs)
    if options.plot:
        render.check_plot(options.plot)
    sweep = read_sweep(options.file, find_model=_find_model)
    if options.benchmark:
        speeds = benchmark(sweep, jobs=options.jobs)
        if options.format == "json":
            print(render.speeds_json(speeds))
        else:
            render.print_speeds(speeds)
        return
    out = options.out or Path("build", "sweep", f"{options.file.stem}.csv")
    where = {"jobs": options.jobs, "scheduler": options.scheduler or ""}
    try:
        rows = run_sweep(sweep, out, backend=options.backend, **where)
    except KeyboardInterrupt:
        print("interrupted: the same command continues", file=sys.stderr)
        sys.exit(130)
    found = fronts(sweep, rows)
    if options.plot:
        render.plot_fronts(sweep, rows, found, options.plot)
    if options.format == "json":
        print(render.fronts_json(sweep, found))
    elif options.format == "csv":
        print(render.fronts_csv(found))
    else:
        render.print_fronts(sweep, rows, found, out)


def price_counts(options: argparse.Namespace) -> None:
    """The energy of action counts."""
    from tritloom.energy_model.costs.table import load_costs, price
    from tritloom.energy_model.trace import sheets as render

    costs = load_costs(options.costs)
    energy = price(_read_counts(options.file), costs)
    if options.format == "json":
        print(render.energy_json(energy, costs))
    elif options.format == "csv":
        print(render.energy_csv(energy, costs))
    else:
        render.print_energy(energy, costs, markdown=options.format == "markdown")


def _read_counts(name: str) -> Counts:
    """Action counts of a JSON file, or of standard input for "-"."""
    where = "standard input" if name == "-" else name
    try:
        text = sys.stdin.read() if name == "-" else read_text(Path(name))
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
