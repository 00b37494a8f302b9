"""`validate` as tables, Markdown, JSON and CSV."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from tritloom.console import terminal
from tritloom.energy_model.costs.range import Range
from tritloom.energy_model.costs.tiers import Tier

from .scalesim import TERMS
from .scalesim import Row as Product
from .validate import CLOSE, NEAR, QUANTITIES, Row, Summary


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A table with notes below it, and the same as records.

    Attributes
    ----------
    headers : tuple of str
        One that starts with > is right-aligned.
    cells : tuple of tuple of str
    notes : tuple of str
    records : tuple of dict
        For JSON and CSV.
    """

    headers: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]
    records: tuple[dict, ...]


def print_sheet(sheet: Sheet, form: str) -> None:
    """Print a sheet as "table", "markdown", "json" or "csv"."""
    if form == "json":
        print(json.dumps(sheet.records, indent=2, allow_nan=False))
    elif form == "csv":
        print(terminal.csv_text(sheet.records[0], sheet.records))
    elif form == "markdown":
        print(terminal.markdown_table(sheet.headers, sheet.cells))
        print("\n" + "\n".join(f"- {note}" for note in sheet.notes))
    else:
        console = terminal.Paper()
        table = terminal.table(console, *sheet.headers)
        for line in sheet.cells:
            table.add_row(*line)
        terminal.print_lines(console, table, "", *sheet.notes)


def validate_sheet(rows: Sequence[Row], means: Sequence[Summary]) -> Sheet:
    """Predicted against measured, and what each prediction rests on."""
    systems = list(dict.fromkeys(row.system.name for row in rows))
    by_name = {row.system.name: row.system for row in rows}
    notes = [_mean(summary) for summary in means]
    for number, name in enumerate(systems, 1):
        system = by_name[name]
        missed = any(row.missed for row in rows if row.system is system)
        reason = f" Misses because: {system.miss}." if missed else ""
        notes.append(
            f"[{number}] {name}, {system.source}. Published: {system.published}. "
            f"{Tier.INFERRED}: {system.inferred}.{reason}"
        )
    return Sheet(
        headers=("System", "Quantity", ">PUBLISHED", ">Predicted", ">Ratio", "", "Tier [notes]"),
        cells=tuple(
            (
                row.system.title,
                QUANTITIES[row.quantity],
                "-" if row.measured is None else f"{row.measured:g}",
                _range(row.predicted),
                "-" if row.ratio is None else f"{row.ratio:.2f}x",
                row.verdict,
                f"{row.tier} [{systems.index(row.system.name) + 1}]",
            )
            for row in rows
        ),
        notes=tuple(notes),
        records=tuple(map(_record, rows)),
    )


def _mean(summary: Summary) -> str:
    return (
        f"{QUANTITIES[summary.quantity]}: {summary.close} of {summary.count} within {CLOSE:g}x, "
        f"{summary.near} within {NEAR:g}x; geometric mean of predicted / measured "
        f"{summary.mean_ratio:.2f}x, of the factor between them {summary.mean_factor:.2f}x"
    )


def _range(amount: Range | None) -> str:
    if amount is None:
        return "not predicted"
    if amount.is_point:
        return f"{amount.nominal:.0f}" if amount.nominal >= 1000 else f"{amount.nominal:.4g}"
    return f"{amount.nominal:.3g} ({amount.low:.3g} to {amount.high:.3g})"


def _record(row: Row) -> dict:
    system, amount = row.system, row.predicted
    return {
        "system": system.name,
        "quantity": row.quantity,
        "measured": row.measured,
        "measured_tier": Tier.PUBLISHED,
        "predicted": amount and amount.nominal,
        "predicted_low": amount and amount.low,
        "predicted_high": amount and amount.high,
        "ratio": row.ratio,
        "verdict": row.verdict,
        "tier": row.tier,
        "hardware": system.hardware,
        "model": system.model.name,
        "source": system.source,
        "published": system.published,
        "inferred": system.inferred,
        "miss": system.miss,
    }


def scalesim_sheet(products: Sequence[Product]) -> Sheet:
    """Our cycles, what is to be added to them, and SCALE-Sim's."""
    records = [
        {
            "model": product.model,
            "phase": product.phase,
            "layer": product.layer,
            "m": product.gemm.m,
            "k": product.gemm.k,
            "n": product.gemm.n,
            "dataflow": product.dataflow,
            "ours": product.ours,
            **product.terms,
            "scalesim": product.scalesim,
            "unexplained": product.unexplained,
            "source": product.source,
        }
        for product in products
    ]
    numbers = ("m", "k", "n", "ours", *TERMS, "scalesim", "unexplained")
    shown = [key for key in records[0] if key != "model"]
    cells = [
        tuple(f"{line[key]:,}" if key in numbers else line[key] for key in shown)
        for line in records
    ]
    left = sum(product.unexplained != 0 for product in products)
    return Sheet(
        headers=tuple(f">{key}" if key in numbers else key for key in shown),
        cells=tuple(cells),
        notes=(
            f"{len(products) - left} of {len(products)} products explained to the cycle: ours + "
            f"{' + '.join(TERMS)} = scalesim",
            *(f"{key}: {text}" for key, text in TERMS.items()),
            "ours: arch.timing of the FP16 array, one lane a PE; is: weight-stationary on the "
            "transposed product. Other number formats take the same cycles",
        ),
        records=tuple(records),
    )
