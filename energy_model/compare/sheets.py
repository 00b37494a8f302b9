"""Sheet of a comparison: a table for each pair of models."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from tritloom.console.sheet import Part, Sheet, Table
from tritloom.energy_model.costs.units import si_range, times
from tritloom.energy_model.machine.text import machine_dict, machine_text

from .compare import Comparison, Measure

_LEVELS = ("low", "nominal", "high")


def comparison_sheet(comparisons: Sequence[Comparison], claim: str | None) -> Sheet:
    """Tables that say where the first model of a pair needs less; amounts of JSON in SI units.

    Parameters
    ----------
    claim : str or None
        Source that claims this of each first model.
    """
    machine, workload = comparisons[0].machine, comparisons[0].workload
    parts: list[Part] = [
        f"hardware {machine.name}: {machine_text(machine)}; {workload.phase}, batch "
        f"{workload.batch}, context {workload.context}"
    ]
    if claim:
        parts.append(f"claimed for each first: {claim}")
    parts.append("")
    for pair in comparisons:
        parts += [_table(pair), ""]
    return Sheet(
        parts=parts,
        records=[_record(pair, measure) for pair in comparisons for measure in pair.measures],
        data={
            "hardware": machine_dict(machine),
            "workload": dataclasses.asdict(workload),
            "claim": claim,
            "pairs": [_pair_dict(pair) for pair in comparisons],
        },
    )


def _table(pair: Comparison) -> Table:
    rows = []
    for measure in pair.measures:
        amounts = [
            si_range(amount, measure.unit.symbol) for amount in (measure.first, measure.second)
        ]
        ratio = times(measure.ratio)
        rows.append((measure.label, *amounts, ratio, measure.verdict, str(measure.tier)))
    return Table(
        headers=("", f">{pair.first}", f">{pair.second}", ">Second / first", "First", "Tier"),
        rows=rows,
    )


def _pair_dict(pair: Comparison) -> dict:
    return {
        "first": pair.first,
        "second": pair.second,
        **{
            measure.key: {
                "unit": measure.unit.symbol,
                "first": dataclasses.asdict(measure.first),
                "second": dataclasses.asdict(measure.second),
                "ratio": dataclasses.asdict(measure.ratio),
                "verdict": measure.verdict,
                "tier": measure.tier,
            }
            for measure in pair.measures
        },
    }


def _record(pair: Comparison, measure: Measure) -> dict:
    """One quantity of one pair, for the CSV."""
    return {
        "first": pair.first,
        "second": pair.second,
        "quantity": measure.key,
        "unit": measure.unit.symbol,
        **{f"of_first_{level}": getattr(measure.first, level) for level in _LEVELS},
        **{f"of_second_{level}": getattr(measure.second, level) for level in _LEVELS},
        **{f"ratio_{level}": getattr(measure.ratio, level) for level in _LEVELS},
        "verdict": measure.verdict,
        "tier": measure.tier,
    }
