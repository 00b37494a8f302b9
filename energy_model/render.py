"""A report as a table, as JSON and as CSV; an energy by category likewise."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence

from rich.table import Table

from arch.workload import ModelShape, Trace

from . import terminal
from .compare import Comparison
from .costs import Cost, CostTable, Energy, Range, category
from .ledger import LINES, Pass
from .machine import Machine
from .report import Figure, LayerRow, Report, times
from .tiers import Tier
from .units import si

SYSTEMS = ("FP16 LLaMA", "BitNet b1.58")
# Headers; one that starts with > stands over numbers.
HEADLINE = ("Energy, FP16 LLaMA / BitNet b1.58", ">Low", ">Nominal", ">High", ">PUBLISHED", "Tier")
FIGURES = ("", *(f">{system}" for system in SYSTEMS), ">Ratio", ">PUBLISHED", "Tier [notes]")
NOT_IN_TRACE = (
    "A trace does not say what a pass adds to the key-value cache: writing it is in no line."
)
_CSV_FIELDS = (
    *("layer", "figure", "part", "unit", "llama", "bitnet", "ratio"),
    *("llama_low", "llama_high", "bitnet_low", "bitnet_high", "ratio_low", "ratio_high"),
    *("tier", "inferred", "published_ratio", "published_source"),
)


def si_range(amount: Range, symbol: str) -> str:
    """The nominal value, and the range where there is one."""
    nominal = si(amount.nominal, symbol)
    if amount.is_point:
        return nominal
    return f"{nominal} ({si(amount.low, symbol)} to {si(amount.high, symbol)})"


def print_report(
    report: Report, *, layers: bool, details: bool = True, markdown: bool = False
) -> None:
    """Print tables to standard output, plain where that is not a terminal, or as Markdown.

    Parameters
    ----------
    details : bool
        Whether to print every part, range and note, or the large ones within 100 columns.
    """
    console = terminal.Paper(markdown=markdown)
    references = note_numbers(report)
    ratios = terminal.table(console, *HEADLINE, rows=headline_rows(report), style="bold")
    table = _details(console, report, references) if details else _summary(console, report)
    terminal.print_lines(console, title(report), "", ratios, "")
    terminal.print_lines(console, *(headline.text for headline in report.headlines), "", table, "")
    for headers, rows in layer_tables(report, references) if layers else ():
        terminal.print_lines(console, terminal.table(console, *headers, rows=rows), "")
    notes = [f"[{n}] {note.tier} {note.text}." for n, note in enumerate(report.notes, 1)]
    if not details:
        notes = [f"{note.tier} {note.text}." for note in report.notes if note.caution]
        notes.append(f"INFERRED: {', '.join(references)}. --details explains and prints all lines.")
    lines = (*set_up(report), "", *notes)
    terminal.print_lines(console, *(lines if details else _folded(lines)))


def _folded(lines: Iterable[str]) -> Iterator[str]:
    """Lines of at most 100 columns."""
    for line in lines:
        yield from textwrap.wrap(line, 100) or [""]


def note_numbers(report: Report) -> dict[str, str]:
    """By key, of the notes that figures refer to."""
    return {note.key: str(n) for n, note in enumerate(report.notes, 1) if note.key}


def title(report: Report) -> str:
    """What is compared, in which workload."""
    model, workload = report.llama.model, report.llama.workload
    formats = (("key-value cache", workload.kv), ("output head", workload.head_weight))
    others = "".join(f", {name} {dtype}" for name, dtype in formats if dtype != "fp16")
    return (
        f"{model.name}: BitNet b1.58 next to FP16 LLaMA, {workload.phase}, batch {workload.batch}, "
        f"context {workload.context}{others}"
    )


def set_up(report: Report) -> tuple[str, str]:
    """Dimensions of the model, and the machine, in a line each."""
    model, machine = report.llama.model, report.llama.machine
    grouped = f" ({model.kv_heads} for keys and values)" * (model.kv_heads != model.heads)
    parts = [
        f"hidden {model.hidden}",
        f"feed-forward {model.ffn}" if model.dense_layers else "",
        f"{model.experts} experts of {model.expert_ffn}, {model.experts_per_token} a token"
        if model.experts
        else "",
        f"shared expert of {model.shared_ffn}" if model.shared_ffn else "",
        f"{model.layers} blocks"
        + f" ({model.dense_layers} dense)" * _some(model.dense_layers, model),
        f"{model.heads} heads of {model.head_dim}{grouped}",
        f"window {model.window}"
        + f" in {model.windowed_layers} blocks" * _some(model.windowed_layers, model)
        if model.window
        else "",
        f"vocabulary {model.vocab}",
    ]
    return (
        f"model: {', '.join(filter(None, parts))}",
        _hardware_text(machine),
    )


def _some(layers: int | None, model: ModelShape) -> bool:
    """Whether that is a part of the blocks."""
    return layers not in (None, 0, model.layers)


def headline_rows(report: Report) -> list[tuple[str, ...]]:
    """A row for each ratio of energies: the paper's first, then those of the whole machine."""
    paper = report.figure("energy")
    figures = [report.figure(f"system_{headline.phase}") for headline in report.headlines]
    rows = []
    for label, figure in [
        (f"The paper's: arithmetic alone, {report.llama.workload.phase}", paper),
        *((figure.label, figure) for figure in figures),
    ]:
        ratio = figure.ratio
        levels = (ratio.low, ratio.nominal, ratio.high)
        rows.append(
            (
                label,
                *(times(Range.point(level)) for level in levels),
                _published(figure),
                str(figure.tier),
            )
        )
    return rows


def _summary(console: terminal.Paper, report: Report) -> Table:
    """Nominal totals, and the lines of energy above a hundredth of it."""
    headers = (*(f">{s}" for s in SYSTEMS), ">Shares", ">Ratio", ">Paper", "Tier")
    table = terminal.table(console, "Nominal values", *headers)
    for figure in report.figures:
        row = _nominal(figure)
        table.add_row(*row[:3], "", *row[3:], style="bold")
        if figure.key != f"system_{report.llama.workload.phase}":
            continue
        shares = {part.key: _shares(part, figure) for part in figure.parts}
        parts = sorted(figure.parts, key=lambda part: -max(shares[part.key]))
        large = [part for part in parts if max(shares[part.key]) >= 0.01]
        for part in large:
            label, *amounts, ratio, published, tier = _nominal(part)
            share = ", ".join(f"{share:.0%}" for share in shares[part.key])
            table.add_row(f"  {label}", *amounts, share, ratio, published, tier)
        table.add_row(f"  {len(parts) - len(large)} lines below 1%")
    return table


def _shares(part: Figure, total: Figure) -> tuple[float, float]:
    return (part.llama.nominal / total.llama.nominal, part.bitnet.nominal / total.bitnet.nominal)


def _nominal(figure: Figure) -> tuple[str, ...]:
    """Label, both amounts, ratio, published ratio and tier."""
    amounts = [si(amount.nominal, figure.unit.symbol) for amount in (figure.llama, figure.bitnet)]
    ratio = times(figure.ratio and Range.point(figure.ratio.nominal))
    return (figure.label, *amounts, ratio, _published(figure), str(figure.tier))


def _published(figure: Figure) -> str:
    return times(Range.point(figure.published.value)) if figure.published else ""


def _details(console: terminal.Paper, report: Report, references: Mapping[str, str]) -> Table:
    table = terminal.table(console, *FIGURES)
    for row, *parts in figure_rows(report, references):
        table.add_row(*row, style="bold")
        for part in parts:
            table.add_row(*part)
        terminal.end_section(table)
    return table


def figure_rows(report: Report, references: Mapping[str, str]) -> Iterator[list[tuple[str, ...]]]:
    """Of each figure a row with its range, and one for each part.

    Of two passes, the parts of the one asked for.
    """
    for figure in report.figures:
        aside = figure.key == "system_decode" and report.llama.workload.phase != "decode"
        rows = [_cells(part, references) for part in (() if aside else figure.parts)]
        yield [_cells(figure, references), *((f"  {label}", *rest) for label, *rest in rows)]


def _hardware_text(machine: Machine) -> str:
    dram = machine.dram
    return (
        f"hardware {machine.name}: {_machine_text(machine)}; {dram.title}, "
        f"{si(dram.bytes_per_s, 'B/s')} ({dram.tier})"
    )


def _machine_text(machine: Machine) -> str:
    if machine.array:
        return f"{machine.array.shape} at {si(machine.array.clock_hz, 'Hz')}"
    peaks = machine.peaks.ops_per_s.items()
    rates = ", ".join(f"{si(rate, 'op/s')} {dtype}" for dtype, rate in peaks)
    return f"{machine.title}, {rates} ({machine.peaks.tier})"


def report_json(report: Report) -> str:
    """The report as one JSON object; amounts in the unit that ends their key."""
    model, workload, machine = report.llama.model, report.llama.workload, report.llama.machine
    content = {
        "size": model.name,
        "phase": workload.phase,
        "batch": workload.batch,
        "context": workload.context,
        "tokens": report.llama.tokens,
        "model": dataclasses.asdict(model) | {"tier": report.notes[0].tier},
        "hardware": machine_dict(machine),
        "costs": {
            "name": report.costs.name,
            "node": report.costs.node,
            "used": {
                action: _cost_dict(report.costs.cost(action))
                for action in (report.llama.energy + report.bitnet.energy).by_action
            },
            "with_memory": {
                action: _cost_dict(cost)
                for action, cost in sorted(report.bitnet.prices.entries.items())
            },
        },
        "headlines": [dataclasses.asdict(headline) for headline in report.headlines],
        **{figure.key: _figure_dict(figure) for figure in report.figures},
        "layers": [_row_dict(row) for row in report.rows],
        "notes": [dataclasses.asdict(note) for note in report.notes],
    }
    return json.dumps(content, indent=2, allow_nan=False)


def machine_dict(machine: Machine) -> dict:
    """A machine for JSON: its parameters with tiers and sources."""
    array = machine.array
    shape = ("rows", "cols", "lanes", "cols_per_hop", "clock_hz", "dataflow")
    return {
        "name": machine.name,
        "title": machine.title,
        **({name: getattr(array, name) for name in shape} if array else {}),
        "peaks": machine.peaks and dataclasses.asdict(machine.peaks),
        "compute": dict(machine.compute),
        "sram": dataclasses.asdict(machine.sram),
        "static_w": dataclasses.asdict(machine.static),
        "dram": dataclasses.asdict(machine.dram),
    }


def report_csv(report: Report, *, layers: bool) -> str:
    """One line for each figure and part of the total, then of each layer if asked for."""
    lines = list(_csv_lines("total", report.figures))
    if layers:
        for row in report.rows:
            figures = tuple(f for f in row.figures if f.key in row.bitnet.scope)
            lines.extend(_csv_lines(row.bitnet.layer.name, figures))
    return _csv(_CSV_FIELDS, lines)


def print_comparisons(
    comparisons: Sequence[Comparison], source: str | None, *, markdown: bool = False
) -> None:
    """Print a table of each pair, and where the first needs less than the second."""
    console = terminal.Paper(markdown=markdown)
    machine, workload = comparisons[0].machine, comparisons[0].workload
    terminal.print_lines(
        console,
        f"hardware {machine.name}: {_machine_text(machine)}; {workload.phase}, batch "
        f"{workload.batch}, context {workload.context}",
        *([f"claimed for each first: {source}"] if source else []),
        "",
    )
    for pair in comparisons:
        table = terminal.table(
            console, "", f">{pair.first}", f">{pair.second}", ">Second / first", "First", "Tier"
        )
        for m in pair.measures:
            amounts = [si_range(amount, m.unit.symbol) for amount in (m.first, m.second)]
            table.add_row(m.label, *amounts, times(m.ratio), m.verdict, m.tier)
        terminal.print_lines(console, table, "")


def comparisons_json(comparisons: Sequence[Comparison], source: str | None) -> str:
    """Pairs as one JSON object; amounts in SI units."""
    content = {
        "hardware": machine_dict(comparisons[0].machine),
        "workload": dataclasses.asdict(comparisons[0].workload),
        "claim": source,
        "pairs": [
            {
                "first": pair.first,
                "second": pair.second,
                **{
                    m.key: {
                        "unit": m.unit.symbol,
                        "first": dataclasses.asdict(m.first),
                        "second": dataclasses.asdict(m.second),
                        "ratio": dataclasses.asdict(m.ratio),
                        "verdict": m.verdict,
                        "tier": m.tier,
                    }
                    for m in pair.measures
                },
            }
            for pair in comparisons
        ],
    }
    return json.dumps(content, indent=2, allow_nan=False)


def comparisons_csv(comparisons: Sequence[Comparison]) -> str:
    """One line for each quantity of each pair; amounts in SI units."""
    levels = ("low", "nominal", "high")
    lines = [
        {
            "first": pair.first,
            "second": pair.second,
            "quantity": m.key,
            "unit": m.unit.symbol,
            **{
                f"{name}_{level}": getattr(getattr(m, what), level)
                for name, what in (("of_first", "first"), ("of_second", "second"))
                for level in levels
            },
            **{f"ratio_{level}": getattr(m.ratio, level) for level in levels},
            "verdict": m.verdict,
            "tier": m.tier,
        }
        for pair in comparisons
        for m in pair.measures
    ]
    return _csv(lines[0], lines)


def print_energy(energy: Energy, costs: CostTable, *, markdown: bool = False) -> None:
    """Print a table of energy by category."""
    console = terminal.Paper(markdown=markdown)
    _print_energies(console, energy.by_category, energy, costs)


def _print_energies(
    console: terminal.Paper, parts: Mapping[str, Energy], energy: Energy, costs: CostTable
) -> None:
    """Print a table of energies that add up to one."""
    table = terminal.table(console, "", ">Low", ">Nominal", ">High", "Tier", "Unpriced")
    for name, part in parts.items():
        table.add_row(name, *_joules_cells(part), ", ".join(part.unpriced))
    terminal.end_section(table)
    table.add_row("total priced", *_joules_cells(energy), style="bold")
    terminal.print_lines(console, table)
    if energy.unpriced:
        terminal.print_lines(
            console,
            "",
            f"Unpriced: costs `{costs.name}` ({costs.node}) do not cover these actions. Their "
            "energy is unknown, not zero, and in no total.",
        )


def energy_json(energy: Energy, costs: CostTable) -> str:
    """Energy by category and by action as one JSON object."""
    content = {
        "costs": {"name": costs.name, "node": costs.node},
        "total": {**_joules_dict(energy.total_j), "tier": energy.tier},
        "categories": {
            name: {**_joules_dict(part.total_j), "tier": part.tier}
            for name, part in energy.by_category.items()
            if part.by_action
        },
        "actions": {
            action: {**_joules_dict(joules), "cost": _cost_dict(costs.cost(action))}
            for action, joules in energy.by_action.items()
        },
        "unpriced": dict(energy.unpriced),
    }
    return json.dumps(content, indent=2, allow_nan=False)


def energy_csv(energy: Energy, costs: CostTable) -> str:
    """One line for each action; an unpriced one has no joules."""
    lines = [
        {
            "action": action,
            "category": category(action),
            **_joules_dict(joules),
            "tier": energy.tiers[action],
            "source": costs.cost(action).source,
        }
        for action, joules in energy.by_action.items()
    ]
    lines += [
        {"action": action, "category": category(action), "source": "unpriced"}
        for action in energy.unpriced
    ]
    return _csv(("action", "category", "low_j", "nominal_j", "high_j", "tier", "source"), lines)


def print_ledger(one: Pass, trace: Trace, prices: CostTable, *, markdown: bool = False) -> None:
    """Print the energy of a trace by line of the ledger, and its time."""
    console = terminal.Paper(markdown=markdown)
    machine, lines = one.machine, _ledger_lines(one, prices)
    tokens = f"{trace.tokens} token{'s' * (trace.tokens > 1)}"
    terminal.print_lines(
        console, f"{trace.name}: {trace.phase}, {tokens}", _hardware_text(machine), ""
    )
    total = sum(lines.values(), start=Energy())
    _print_energies(console, {LINES[key]: line for key, line in lines.items()}, total, prices)
    terminal.print_lines(
        console,
        "",
        f"latency {si(one.latency_s, 's')} (array alone {si(one.compute_s, 's')}, DRAM alone "
        f"{si(one.dram_s, 's')}), {si(one.dram_bytes, 'B')} across the DRAM interface "
        f"({Tier.DERIVED})",
        NOT_IN_TRACE,
    )


def ledger_json(one: Pass, trace: Trace, prices: CostTable) -> str:
    """The same as one JSON object."""
    lines = _ledger_lines(one, prices)
    total = sum(lines.values(), start=Energy())
    content = {
        "name": trace.name,
        "phase": trace.phase,
        "tokens": trace.tokens,
        "hardware": machine_dict(one.machine),
        "total": {**_joules_dict(total.total_j), "tier": total.tier},
        "lines": {
            key: {**_joules_dict(line.total_j), "tier": line.tier} for key, line in lines.items()
        },
        "unpriced": dict(total.unpriced),
        "latency_s": one.latency_s,
        "compute_s": one.compute_s,
        "dram_s": one.dram_s,
        "dram_bytes": one.dram_bytes,
        "note": NOT_IN_TRACE,
    }
    return json.dumps(content, indent=2, allow_nan=False)


def ledger_csv(one: Pass, prices: CostTable) -> str:
    """One line for each line of the ledger."""
    return _csv(
        ("line", "low_j", "nominal_j", "high_j", "tier"),
        [
            {"line": key, **_joules_dict(line.total_j), "tier": line.tier}
            for key, line in _ledger_lines(one, prices).items()
        ],
    )


def _ledger_lines(one: Pass, prices: CostTable) -> dict[str, Energy]:
    """Without the lines that the pass has not."""
    return {
        key: line for key, line in one.energies(prices).items() if line.by_action or line.unpriced
    }


def _cells(figure: Figure, references: Mapping[str, str]) -> tuple[str, ...]:
    """Label, both amounts, ratio, published ratio, tier with references to notes."""
    amounts = [si_range(amount, figure.unit.symbol) for amount in (figure.llama, figure.bitnet)]
    notes = ",".join(references[key] for key in figure.inferred)
    tier = f"{figure.tier} [{notes}]" if notes else str(figure.tier)
    return (figure.label, *amounts, times(figure.ratio), _published(figure), tier)


def layer_tables(
    report: Report, references: Mapping[str, str]
) -> Iterator[tuple[tuple[str, ...], list[tuple[str, ...]]]]:
    """Headers and rows of one table for each total, of the layers that belong to it."""
    for total in report.figures:
        rows = [row for row in report.rows if total.key in row.bitnet.scope]
        if not rows:
            continue
        with_tokens = total.key in ("arithmetic", "energy")
        shape = "m x k x n" if with_tokens else "k x n"
        systems = (f">{system}" for system in SYSTEMS)
        bound = ("Bound by",) if total.bounds else ()
        headers = (total.label, ">Count", f">{shape}", *systems, ">Ratio", *bound, "Tier")
        lines = []
        for row in rows:
            layer = row.bitnet.layer
            sides = (layer.gemm.m,) * with_tokens + (layer.gemm.k, layer.gemm.n)
            figure = next(figure for figure in row.figures if figure.key == total.key)
            _, llama, bitnet, ratio, _, tier = _cells(figure, references)
            bound = (" / ".join(figure.bounds),) if figure.bounds else ()
            cells = (layer.name, str(layer.count), " x ".join(map(str, sides)))
            lines.append((*cells, llama, bitnet, ratio, *bound, tier))
        yield headers, lines


def _figure_dict(figure: Figure) -> dict:
    """Amounts, ratio and tier; low and high where they differ."""
    unit = figure.unit
    amounts = {"llama": figure.llama, "bitnet": figure.bitnet}
    content: dict = {
        f"{side}_{unit.name}": unit.scale * amount.nominal for side, amount in amounts.items()
    }
    ratio = figure.ratio
    content["ratio"] = ratio and ratio.nominal
    for name, amount in ({f"{k}_{unit.name}": unit.scale * a for k, a in amounts.items()}).items():
        if not amount.is_point:
            content[f"{name}_range"] = [amount.low, amount.high]
    if ratio and not ratio.is_point:
        content["ratio_range"] = [ratio.low, ratio.high]
    content |= {"tier": figure.tier, "inferred": list(figure.inferred)}
    if figure.bounds:
        content["bound"] = dict(zip(amounts, figure.bounds, strict=True))
    if figure.published:
        published = figure.published
        content["published"] = {
            "ratio": published.value,
            "tier": published.tier,
            "source": published.source,
        }
    if figure.parts:
        content["parts"] = {part.key: _figure_dict(part) for part in figure.parts}
    return content


def _row_dict(row: LayerRow) -> dict:
    layer = row.bitnet.layer
    return {
        "name": layer.name,
        "count": layer.count,
        "m": layer.gemm.m,
        "k": layer.gemm.k,
        "n": layer.gemm.n,
        "weight": {"llama": row.llama.layer.weight, "bitnet": layer.weight},
        "scope": list(row.bitnet.scope),
        **{figure.key: _figure_dict(figure) for figure in row.figures},
    }


def _joules_cells(energy: Energy) -> tuple[str, ...]:
    """Low, nominal, high and tier; dashes where nothing is priced."""
    if not energy.by_action:
        return ("-", "-", "-", "-")
    joules = energy.total_j
    return (*(si(j, "J") for j in (joules.low, joules.nominal, joules.high)), energy.tier)


def _cost_dict(cost: Cost) -> dict:
    return dataclasses.asdict(cost)


def _joules_dict(joules: Range) -> dict:
    return {"low_j": joules.low, "nominal_j": joules.nominal, "high_j": joules.high}


def _csv_lines(layer: str, figures: tuple[Figure, ...]) -> Iterator[dict]:
    for figure in figures:
        for part, line in (("", figure), *((part.key, part) for part in figure.parts)):
            scale, ratio, published = line.unit.scale, line.ratio, line.published
            yield {
                "layer": layer,
                "figure": figure.key,
                "part": part,
                "unit": line.unit.name,
                "llama": scale * line.llama.nominal,
                "bitnet": scale * line.bitnet.nominal,
                "ratio": ratio and ratio.nominal,
                "llama_low": scale * line.llama.low,
                "llama_high": scale * line.llama.high,
                "bitnet_low": scale * line.bitnet.low,
                "bitnet_high": scale * line.bitnet.high,
                "ratio_low": ratio and ratio.low,
                "ratio_high": ratio and ratio.high,
                "tier": line.tier,
                "inferred": "; ".join(line.inferred),
                "published_ratio": published and published.value,
                "published_source": published and published.source,
            }


def _csv(fields: Iterable[str], lines: Iterable[dict]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, fields, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return out.getvalue().rstrip("\n")
