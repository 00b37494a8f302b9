"""A report as a table, as JSON and as CSV; an energy by category likewise."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Iterable, Iterator, Mapping

from rich import box
from rich.console import Console
from rich.table import Table

from .costs import Cost, CostTable, Energy, Range, category
from .report import Figure, LayerRow, Report
from .units import si

SYSTEMS = ("FP16 LLaMA", "BitNet b1.58")
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


def times(ratio: Range | None) -> str:
    """A ratio such as 41.2x, and its range where there is one."""
    if ratio is None:
        return "-"
    nominal = _times(ratio.nominal)
    if ratio.is_point:
        return nominal
    return f"{nominal} ({_times(ratio.low)} to {_times(ratio.high)})"


def print_report(report: Report, *, layers: bool) -> None:
    """Print tables to standard output, plain where that is not a terminal."""
    console = _console()
    model, workload, machine = report.llama.model, report.llama.workload, report.llama.machine
    _print(
        console,
        f"{model.name}: BitNet b1.58 next to FP16 LLaMA, {workload.phase}, batch {workload.batch}, "
        f"context {workload.context}",
        f"hidden {model.hidden}, feed-forward {model.ffn}, {model.layers} blocks, "
        f"{model.heads} heads, vocabulary {model.vocab}",
        f"hardware {machine.name}: {machine.array.shape} at {si(machine.array.clock_hz, 'Hz')}; "
        f"{machine.dram.title}, {si(machine.dram.bytes_per_s, 'B/s')} ({machine.dram.tier})",
        "",
    )
    references = {note.key: str(n) for n, note in enumerate(report.notes, 1) if note.key}
    table = _table(console, "", *(f">{s}" for s in SYSTEMS), ">Ratio", ">PUBLISHED", "Tier [notes]")
    for figure in report.figures:
        table.add_row(*_cells(figure, references), style="bold")
        for part in figure.parts:
            label, *rest = _cells(part, references)
            table.add_row(f"  {label}", *rest)
        table.add_section()
    _print(console, table, "")
    if layers:
        _print_layers(console, report, references)
    _print(console, *(f"[{n}] {note.tier} {note.text}." for n, note in enumerate(report.notes, 1)))


def report_json(report: Report) -> str:
    """The report as one JSON object; amounts in the unit that ends their key."""
    model, workload, machine = report.llama.model, report.llama.workload, report.llama.machine
    array, dram = machine.array, machine.dram
    content = {
        "size": model.name,
        "phase": workload.phase,
        "batch": workload.batch,
        "context": workload.context,
        "tokens": report.llama.tokens,
        "model": {
            "hidden": model.hidden,
            "ffn": model.ffn,
            "layers": model.layers,
            "heads": model.heads,
            "kv_heads": model.kv_heads,
            "vocab": model.vocab,
            "tier": report.notes[0].tier,
            "source": model.source,
        },
        "hardware": {
            "name": machine.name,
            "rows": array.rows,
            "cols": array.cols,
            "lanes": array.lanes,
            "cols_per_hop": array.cols_per_hop,
            "clock_hz": array.clock_hz,
            "dram": {
                "name": dram.name,
                "bytes_per_s": dram.bytes_per_s,
                "tier": dram.tier,
                "source": dram.source,
            },
        },
        "costs": {
            "name": report.costs.name,
            "node": report.costs.node,
            "used": {
                action: _cost_dict(report.costs.cost(action))
                for action in (report.llama.energy + report.bitnet.energy).by_action
            },
        },
        **{figure.key: _figure_dict(figure) for figure in report.figures},
        "layers": [_row_dict(row) for row in report.rows],
        "notes": [dataclasses.asdict(note) for note in report.notes],
    }
    return json.dumps(content, indent=2, allow_nan=False)


def report_csv(report: Report, *, layers: bool) -> str:
    """One line for each figure and part of the total, then of each layer if asked for."""
    lines = list(_csv_lines("total", report.figures))
    if layers:
        for row in report.rows:
            figures = tuple(f for f in row.figures if f.key in row.bitnet.scope)
            lines.extend(_csv_lines(row.bitnet.layer.name, figures))
    return _csv(_CSV_FIELDS, lines)


def print_energy(energy: Energy, costs: CostTable) -> None:
    """Print a table of energy by category."""
    console = _console()
    table = _table(console, "", ">Low", ">Nominal", ">High", "Tier", "Unpriced")
    for name, part in energy.by_category.items():
        table.add_row(name, *_joules_cells(part), ", ".join(part.unpriced))
    table.add_section()
    table.add_row("total priced", *_joules_cells(energy), style="bold")
    _print(console, table)
    if energy.unpriced:
        _print(
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


def _console() -> Console:
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = 200  # a pipe has no width: do not fold cells
    return console


def _table(console: Console, *headers: str) -> Table:
    """A table, ruled on a terminal only; a header that starts with > is right-aligned."""
    table = Table(box=box.SIMPLE_HEAD if console.is_terminal else None, pad_edge=False)
    for header in headers:
        right = header.startswith(">")
        table.add_column(header.lstrip(">"), justify="right" if right else "left", no_wrap=right)
    return table


def _print(console: Console, *lines: Table | str) -> None:
    """Print without trailing blanks; a terminal folds long lines, a pipe does not."""
    with console.capture() as captured:
        for line in lines:
            console.print(line, soft_wrap=isinstance(line, str) and not console.is_terminal)
    for line in captured.get().splitlines():
        print(line.rstrip())


def _times(value: float) -> str:
    return f"{value:.{2 if value < 10 else 1}f}x"


def _cells(figure: Figure, references: Mapping[str, str]) -> tuple[str, ...]:
    """Label, both amounts, ratio, published ratio, tier with references to notes."""
    amounts = [si_range(amount, figure.unit.symbol) for amount in (figure.llama, figure.bitnet)]
    published = _times(figure.published.value) if figure.published else ""
    notes = ",".join(references[key] for key in figure.inferred)
    tier = f"{figure.tier} [{notes}]" if notes else str(figure.tier)
    return (figure.label, *amounts, times(figure.ratio), published, tier)


def _print_layers(console: Console, report: Report, references: Mapping[str, str]) -> None:
    """One table for each total, of the layers that belong to it."""
    for index, total in enumerate(report.figures):
        rows = [row for row in report.rows if total.key in row.bitnet.scope]
        if not rows:
            continue
        with_tokens = total.key in ("arithmetic", "energy")
        shape = "m x k x n" if with_tokens else "k x n"
        systems = (f">{system}" for system in SYSTEMS)
        bound = ("Bound by",) if total.bounds else ()
        table = _table(
            console, total.label, ">Count", f">{shape}", *systems, ">Ratio", *bound, "Tier"
        )
        for row in rows:
            layer = row.bitnet.layer
            sides = (layer.gemm.m,) * with_tokens + (layer.gemm.k, layer.gemm.n)
            figure = row.figures[index]
            _, llama, bitnet, ratio, _, tier = _cells(figure, references)
            bound = (" / ".join(figure.bounds),) if figure.bounds else ()
            cells = (layer.name, str(layer.count), " x ".join(map(str, sides)))
            table.add_row(*cells, llama, bitnet, ratio, *bound, tier)
        _print(console, table, "")


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
