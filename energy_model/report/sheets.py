"""Sheet of a report, and the tables that it shares with the page."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from tritloom.arch.models.shape import ModelShape
from tritloom.console.sheet import RULE, Bold, Heading, Notes, Part, Sheet, Table
from tritloom.energy_model.costs.range import Range
from tritloom.energy_model.costs.units import si, si_range, times
from tritloom.energy_model.machine.text import hardware_text, machine_dict

from .figures import Figure
from .report import LayerRow, Report

SYSTEMS = ("FP16 LLaMA", "BitNet b1.58")
# A short report fits into so many columns.
_WIDTH = 100
_CSV_FIELDS = (
    *("layer", "figure", "part", "unit", "llama", "bitnet", "ratio"),
    *("llama_low", "llama_high", "bitnet_low", "bitnet_high", "ratio_low", "ratio_high"),
    *("tier", "inferred", "published_ratio", "published_source"),
)


def report_sheet(report: Report, *, layers: bool, details: bool = True) -> Sheet:
    """Figures of both systems next to each other, what dominates, and notes.

    JSON has all of a report; its amounts are in the unit that ends their key.

    Parameters
    ----------
    layers : bool
        Whether tables and CSV also have each layer.
    details : bool
        Whether tables have every part, range and note, or the large ones within 100 columns.
    """
    references = note_numbers(report)
    parts: list[Part] = [Heading(title(report)), "", headline_table(report), ""]
    parts += [headline.text for headline in report.headlines]
    parts += ["", figure_table(report) if details else _summary_table(report), ""]
    for table in layer_tables(report) if layers else ():
        parts += [table, ""]
    notes = [f"[{n}] {note.tier} {note.text}." for n, note in enumerate(report.notes, 1)]
    if not details:
        notes = [f"{note.tier} {note.text}." for note in report.notes if note.caution]
        notes.append(f"INFERRED: {', '.join(references)}. --details explains and prints all lines.")
    return Sheet(
        parts=[*parts, *set_up(report), "", Notes(notes)],
        records=_records(report, layers=layers),
        fields=_CSV_FIELDS,
        data=_report_dict(report),
        width=None if details else _WIDTH,
    )


def note_numbers(report: Report) -> dict[str, str]:
    """Numbers of the notes that figures refer to, by key."""
    return {note.key: str(n) for n, note in enumerate(report.notes, 1) if note.key}


def title(report: Report) -> str:
    """Title that says what is compared, in which workload."""
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
        hardware_text(machine),
    )


def _some(layers: int | None, model: ModelShape) -> bool:
    """Whether a number of layers is known, and neither none nor all of them."""
    return layers not in (None, 0, model.layers)


def headline_table(report: Report) -> Table:
    """A row for each ratio of energies: the paper's first, then those of the whole machine."""
    paper = report.figure("energy")
    figures = [report.figure(f"system_{headline.phase}") for headline in report.headlines]
    rows = []
    for label, figure in [
        (f"The paper's: arithmetic alone, {report.llama.workload.phase}", paper),
        *((figure.label, figure) for figure in figures),
    ]:
        ratio = figure.ratio
        levels = [times(None)] * 3
        if ratio is not None:
            ends = (ratio.low, ratio.nominal, ratio.high)
            levels = [times(Range.point(level)) for level in ends]
        rows.append(Bold((label, *levels, _published(figure), str(figure.tier))))
    return Table(
        headers=(
            *("Energy, FP16 LLaMA / BitNet b1.58", ">Low", ">Nominal", ">High"),
            *(">PUBLISHED", "Tier"),
        ),
        rows=rows,
    )


def figure_table(report: Report) -> Table:
    """A row for each figure with its range, and one for each part of it.

    Of two passes, only the parts of the one asked for.
    """
    references = note_numbers(report)
    rows: list[tuple[str, ...]] = []
    for figure in report.figures:
        aside = figure.key == "system_decode" and report.llama.workload.phase != "decode"
        rows.append(Bold(_cells(figure, references)))
        for part in () if aside else figure.parts:
            label, *rest = _cells(part, references)
            rows.append((f"  {label}", *rest))
        rows.append(RULE)
    return Table(
        headers=("", *(f">{system}" for system in SYSTEMS), ">Ratio", ">PUBLISHED", "Tier [notes]"),
        rows=rows,
    )


def _summary_table(report: Report) -> Table:
    """Make a table of nominal totals, and of the lines of energy above a hundredth of it."""
    rows: list[tuple[str, ...]] = []
    for figure in report.figures:
        label, llama, bitnet, *rest = _nominal(figure)
        rows.append(Bold((label, llama, bitnet, "", *rest)))
        if figure.key != f"system_{report.llama.workload.phase}":
            continue
        shares = {part.key: _shares(part, figure) for part in figure.parts}
        parts = sorted(figure.parts, key=lambda part: -max(shares[part.key]))
        large = [part for part in parts if max(shares[part.key]) >= 0.01]
        for part in large:
            label, llama, bitnet, *rest = _nominal(part)
            share = ", ".join(f"{share:.0%}" for share in shares[part.key])
            rows.append((f"  {label}", llama, bitnet, share, *rest))
        rows.append((f"  {len(parts) - len(large)} lines below 1%", *[""] * 6))
    systems = (f">{system}" for system in SYSTEMS)
    return Table(
        headers=("Nominal values", *systems, ">Shares", ">Ratio", ">Paper", "Tier"), rows=rows
    )


def _shares(part: Figure, total: Figure) -> tuple[float, float]:
    return (part.llama.nominal / total.llama.nominal, part.bitnet.nominal / total.bitnet.nominal)


def _nominal(figure: Figure) -> tuple[str, ...]:
    """Label, both amounts, ratio, published ratio and tier."""
    amounts = [si(amount.nominal, figure.unit.symbol) for amount in (figure.llama, figure.bitnet)]
    ratio = times(figure.ratio and Range.point(figure.ratio.nominal))
    return (figure.label, *amounts, ratio, _published(figure), str(figure.tier))


def _published(figure: Figure) -> str:
    return times(Range.point(figure.published.value)) if figure.published else ""


def _report_dict(report: Report) -> dict:
    model, workload, machine = report.llama.model, report.llama.workload, report.llama.machine
    return {
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
                action: dataclasses.asdict(report.costs.priced(action))
                for action in (report.llama.energy + report.bitnet.energy).by_action
            },
            "with_memory": {
                action: dataclasses.asdict(cost)
                for action, cost in sorted(report.bitnet.prices.entries.items())
            },
        },
        "headlines": [dataclasses.asdict(headline) for headline in report.headlines],
        **{figure.key: _figure_dict(figure) for figure in report.figures},
        "layers": [_row_dict(row) for row in report.rows],
        "notes": [dataclasses.asdict(note) for note in report.notes],
    }


def _records(report: Report, *, layers: bool) -> list[dict]:
    """Make one line for each figure and part of the total, then of each layer if asked for."""
    lines = list(_csv_lines("total", report.figures))
    if layers:
        for row in report.rows:
            figures = tuple(f for f in row.figures if f.key in row.bitnet.scope)
            lines.extend(_csv_lines(row.bitnet.layer.name, figures))
    return lines


def _cells(figure: Figure, references: Mapping[str, str]) -> tuple[str, ...]:
    """Label, both amounts, ratio, published ratio, tier with references to notes."""
    amounts = [si_range(amount, figure.unit.symbol) for amount in (figure.llama, figure.bitnet)]
    notes = ",".join(references[key] for key in figure.inferred)
    tier = f"{figure.tier} [{notes}]" if notes else str(figure.tier)
    return (figure.label, *amounts, times(figure.ratio), _published(figure), tier)


def layer_tables(report: Report) -> Iterator[Table]:
    """One table for each total, of the layers that belong to it."""
    references = note_numbers(report)
    for total in report.figures:
        members = [row for row in report.rows if total.key in row.bitnet.scope]
        if not members:
            continue
        with_tokens = total.key in ("arithmetic", "energy")
        shape = "m x k x n" if with_tokens else "k x n"
        systems = (f">{system}" for system in SYSTEMS)
        bound = ("Bound by",) if total.bounds else ()
        rows = []
        for member in members:
            layer = member.bitnet.layer
            sides = (layer.gemm.m,) * with_tokens + (layer.gemm.k, layer.gemm.n)
            figure = next(figure for figure in member.figures if figure.key == total.key)
            _, llama, bitnet, ratio, _, tier = _cells(figure, references)
            bounds = (" / ".join(figure.bounds),) if figure.bounds else ()
            cells = (layer.name, str(layer.count), " x ".join(map(str, sides)))
            rows.append((*cells, llama, bitnet, ratio, *bounds, tier))
        yield Table(
            headers=(total.label, ">Count", f">{shape}", *systems, ">Ratio", *bound, "Tier"),
            rows=rows,
        )


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
