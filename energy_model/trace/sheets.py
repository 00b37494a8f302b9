"""Sheets of energy by category, and of a trace's ledger."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from tritloom.arch.workload import Trace
from tritloom.console.sheet import RULE, Bold, Part, Sheet, Table
from tritloom.energy_model.costs.range import Range
from tritloom.energy_model.costs.table import CostTable, Energy, category
from tritloom.energy_model.costs.tiers import Tier
from tritloom.energy_model.costs.units import si
from tritloom.energy_model.machine.ledger import Pass
from tritloom.energy_model.machine.text import hardware_text, machine_dict

NOT_IN_TRACE = (
    "A trace does not say what a pass adds to the key-value cache: writing it is in no line."
)


def energy_sheet(energy: Energy, costs: CostTable) -> Sheet:
    """Energy by category for readers, by category and action for programs; CSV by action.

    An action without a price has no joules.
    """
    records: list[dict] = [
        {
            "action": action,
            "category": category(action),
            **_joules_dict(joules),
            "tier": energy.tiers[action],
            "source": costs.priced(action).source,
        }
        for action, joules in energy.by_action.items()
    ]
    records += [
        {"action": action, "category": category(action), "source": "unpriced"}
        for action in energy.unpriced
    ]
    return Sheet(
        parts=_energy_parts(energy.by_category, energy, costs),
        records=records,
        fields=("action", "category", "low_j", "nominal_j", "high_j", "tier", "source"),
        data={
            "costs": {"name": costs.name, "node": costs.node},
            "total": {**_joules_dict(energy.total_j), "tier": energy.tier},
            "categories": {
                name: {**_joules_dict(part.total_j), "tier": part.tier}
                for name, part in energy.by_category.items()
                if part.by_action
            },
            "actions": {
                action: {**_joules_dict(joules), "cost": dataclasses.asdict(costs.priced(action))}
                for action, joules in energy.by_action.items()
            },
            "unpriced": dict(energy.unpriced),
        },
    )


def ledger_sheet(one: Pass, trace: Trace, prices: CostTable) -> Sheet:
    """Energy of a trace by line of the ledger, and its time."""
    # Lines that the pass does not have are left out.
    lines = {
        key: line for key, line in one.energies(prices).items() if line.by_action or line.unpriced
    }
    total = sum(lines.values(), start=Energy())
    tokens = f"{trace.tokens} token{'s' * (trace.tokens > 1)}"
    return Sheet(
        parts=[
            f"{trace.name}: {trace.phase}, {tokens}",
            hardware_text(one.machine),
            "",
            *_energy_parts({key.label: line for key, line in lines.items()}, total, prices),
            "",
            f"latency {si(one.latency_s, 's')} (array alone {si(one.compute_s, 's')}, DRAM alone "
            f"{si(one.dram_s, 's')}), {si(one.dram_bytes, 'B')} across the DRAM interface "
            f"({Tier.DERIVED})",
            NOT_IN_TRACE,
        ],
        records=[
            {"line": key, **_joules_dict(line.total_j), "tier": line.tier}
            for key, line in lines.items()
        ],
        fields=("line", "low_j", "nominal_j", "high_j", "tier"),
        data={
            "name": trace.name,
            "phase": trace.phase,
            "tokens": trace.tokens,
            "hardware": machine_dict(one.machine),
            "total": {**_joules_dict(total.total_j), "tier": total.tier},
            "lines": {
                key: {**_joules_dict(line.total_j), "tier": line.tier}
                for key, line in lines.items()
            },
            "unpriced": dict(total.unpriced),
            "latency_s": one.latency_s,
            "compute_s": one.compute_s,
            "dram_s": one.dram_s,
            "dram_bytes": one.dram_bytes,
            "note": NOT_IN_TRACE,
        },
    )


def _energy_parts(parts: Mapping[str, Energy], total: Energy, costs: CostTable) -> list[Part]:
    """Make a table of energies that add up to the total, and a line on what has no price."""
    rows = [(name, *_joules_cells(part), ", ".join(part.unpriced)) for name, part in parts.items()]
    table = Table(
        headers=("", ">Low", ">Nominal", ">High", "Tier", "Unpriced"),
        rows=[*rows, RULE, Bold(("total priced", *_joules_cells(total), ""))],
    )
    if not total.unpriced:
        return [table]
    return [
        table,
        "",
        f"Unpriced: costs `{costs.name}` ({costs.node}) do not cover these actions. Their energy "
        "is unknown, not zero, and in no total.",
    ]


def _joules_cells(energy: Energy) -> tuple[str, ...]:
    """Low, nominal, high and tier; dashes where nothing is priced."""
    if not energy.by_action:
        return ("-", "-", "-", "-")
    joules = energy.total_j
    return (*(si(j, "J") for j in (joules.low, joules.nominal, joules.high)), str(energy.tier))


def _joules_dict(joules: Range) -> dict:
    return {"low_j": joules.low, "nominal_j": joules.nominal, "high_j": joules.high}
