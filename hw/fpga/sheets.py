"""Placements side by side, as a sheet."""

from __future__ import annotations

import dataclasses

from tritloom.console.sheet import Sheet, Table

from .placement import Placement


def sheet(placements: dict[str, Placement]) -> Sheet:
    """A table with a row for each design, and a caption; JSON has an object for each."""
    return Sheet(
        parts=[_table(placements), "", caption(placements)],
        records=[_record(name, placement) for name, placement in placements.items()],
        data={
            name: dataclasses.asdict(placement) | _derived(placement)
            for name, placement in placements.items()
        },
    )


def caption(placements: dict[str, Placement]) -> str:
    """What the table does not say: tier, device, tools, and how it counts."""
    some = next(iter(placements.values()))
    return (
        f"{some.tier}: {some.synthesis.tool}, {some.tool}, {some.device}. "
        "LUT = LUT4 + 2 CCU2C + 6 TRELLIS_DPR16X4; placed LUT = TRELLIS_COMB, harness apart; "
        f"Gop/s at {f'{some.clock_hz / 1e6:g} MHz' if some.clock_hz else 'the best Fmax'}."
    )


def _derived(placement: Placement) -> dict[str, float]:
    """The figures that follow from a placement's counts and routes."""
    return {
        "luts": placement.luts,
        "placed_luts": placement.placed_luts,
        "fmax_hz": placement.best.fmax_hz,
        "operations_per_s": placement.operations_per_s,
    }


def _record(name: str, placement: Placement) -> dict:
    """A line of the CSV."""
    return {
        "design": name,
        "macs_per_cycle": placement.macs_per_cycle,
        **_derived(placement),
        **placement.synthesis.resources,
        "tier": placement.tier,
    }


def _table(placements: dict[str, Placement]) -> Table:
    some = next(iter(placements.values()))
    counted = ("op/cycle", "LUT", "LUT4", "carry", "LUT RAM", "FF", "block RAM", "DSP")
    seeds = [f"Fmax MHz, seed {route.seed}" for route in some.routes]
    headers = (*counted, "LUT/op", "placed LUT/op", "FF/op", *seeds, "Gop/s")
    return Table(
        headers=["design", *(f">{header}" for header in headers)],
        rows=[[name, *_cells(placement)] for name, placement in placements.items()],
    )


def _cells(placement: Placement) -> list[str]:
    """The cells of a row behind the design's name."""
    counts = placement.synthesis.resources
    operations = placement.macs_per_cycle
    numbers = (
        operations,
        placement.luts,
        *(counts[kind] for kind in ("LUT", "carry", "LUT RAM", "FF", "block RAM", "DSP")),
    )
    ratios = (placement.luts, placement.placed_luts, counts["FF"])
    return [
        *(f"{number:,}" for number in numbers),
        *(f"{number / operations:.1f}" for number in ratios),
        *(
            f"{'>= ' if route.in_harness else ''}{route.fmax_hz / 1e6:.0f}"
            for route in placement.routes
        ),
        f"{placement.operations_per_s / 1e9:.3g}",
    ]
