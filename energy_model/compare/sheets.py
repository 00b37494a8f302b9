"""Comparisons as tables, as JSON and as CSV."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

from tritloom.console import terminal
from tritloom.energy_model.costs.units import si_range, times
from tritloom.energy_model.machine.text import machine_dict, machine_text

from .compare import Comparison


def print_comparisons(
    comparisons: Sequence[Comparison], source: str | None, *, markdown: bool = False
) -> None:
    """Print a table of each pair, and where the first needs less than the second."""
    console = terminal.Paper(markdown=markdown)
    machine, workload = comparisons[0].machine, comparisons[0].workload
    terminal.print_lines(
        console,
        f"hardware {machine.name}: {machine_text(machine)}; {workload.phase}, batch "
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
    return terminal.csv_text(lines[0], lines)
