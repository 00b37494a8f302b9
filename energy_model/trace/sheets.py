"""Energy by category, and a ledger, as a table, as JSON and as CSV."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping

from tritloom.arch.workload import Trace
from tritloom.console import terminal
from tritloom.energy_model.costs.range import Range
from tritloom.energy_model.costs.table import CostTable, Energy, category
from tritloom.energy_model.costs.tiers import Tier
from tritloom.energy_model.costs.units import si
from tritloom.energy_model.machine.ledger import Pass
from tritloom.energy_model.machine.line import Line
from tritloom.energy_model.machine.text import hardware_text, machine_dict

NOT_IN_TRACE = (
    "A trace does not say what a pass adds to the key-value cache: writing it is in no line."
)


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
            action: {**_joules_dict(joules), "cost": dataclasses.asdict(costs.cost(action))}
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
    return terminal.csv_text(
        ("action", "category", "low_j", "nominal_j", "high_j", "tier", "source"), lines
    )


def print_ledger(one: Pass, trace: Trace, prices: CostTable, *, markdown: bool = False) -> None:
    """Print the energy of a trace by line of the ledger, and its time."""
    console = terminal.Paper(markdown=markdown)
    machine, lines = one.machine, _ledger_lines(one, prices)
    tokens = f"{trace.tokens} token{'s' * (trace.tokens > 1)}"
    terminal.print_lines(
        console, f"{trace.name}: {trace.phase}, {tokens}", hardware_text(machine), ""
    )
    total = sum(lines.values(), start=Energy())
    _print_energies(console, {key.label: line for key, line in lines.items()}, total, prices)
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
    return terminal.csv_text(
        ("line", "low_j", "nominal_j", "high_j", "tier"),
        [
            {"line": key, **_joules_dict(line.total_j), "tier": line.tier}
            for key, line in _ledger_lines(one, prices).items()
        ],
    )


def _ledger_lines(one: Pass, prices: CostTable) -> dict[Line, Energy]:
    """Without the lines that the pass has not."""
    return {
        key: line for key, line in one.energies(prices).items() if line.by_action or line.unpriced
    }


def _joules_cells(energy: Energy) -> tuple[str, ...]:
    """Low, nominal, high and tier; dashes where nothing is priced."""
    if not energy.by_action:
        return ("-", "-", "-", "-")
    joules = energy.total_j
    return (*(si(j, "J") for j in (joules.low, joules.nominal, joules.high)), energy.tier)


def _joules_dict(joules: Range) -> dict:
    return {"low_j": joules.low, "nominal_j": joules.nominal, "high_j": joules.high}
