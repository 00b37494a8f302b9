"""Sheets of a validation: measured accelerators, and SCALE-Sim's cycles."""

from __future__ import annotations

from collections.abc import Sequence

from tritloom.console.sheet import Notes, Sheet, Table
from tritloom.energy_model.costs.range import Range
from tritloom.energy_model.costs.tiers import Tier

from .scalesim import TERMS, Product
from .validate import CLOSE, NEAR, QUANTITIES, Prediction, Summary


def validation_sheet(rows: Sequence[Prediction], means: Sequence[Summary]) -> Sheet:
    """Table of predictions next to what was measured, with what each prediction rests on."""
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
    table = Table(
        headers=("System", "Quantity", ">PUBLISHED", ">Predicted", ">Ratio", "", "Tier [notes]"),
        rows=[
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
        ],
    )
    return Sheet(parts=[table, "", Notes(notes)], records=list(map(_record, rows)))


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


def _record(row: Prediction) -> dict:
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
    """Table of our cycles, the terms that are added to them, and SCALE-Sim's cycles."""
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
        tuple(f"{line[key]:,}" if key in numbers else str(line[key]) for key in shown)
        for line in records
    ]
    left = sum(product.unexplained != 0 for product in products)
    table = Table(
        headers=[f">{key}" if key in numbers else key for key in shown],
        rows=cells,
    )
    notes = Notes(
        [
            f"{len(products) - left} of {len(products)} products explained to the cycle: ours + "
            f"{' + '.join(TERMS)} = scalesim",
            *(f"{key}: {text}" for key, text in TERMS.items()),
            "ours: arch.timing of the FP16 array, one lane a PE; is: weight-stationary on the "
            "transposed product. Other number formats take the same cycles",
        ]
    )
    return Sheet(parts=[table, "", notes], records=records)
