"""Placements as a table, as Markdown and as JSON."""

from __future__ import annotations

import dataclasses
import json
import sys
from io import StringIO

from .place import Placement


def as_json(placements: dict[str, Placement]) -> str:
    """Everything as JSON: an object for each design."""
    told = {
        name: dataclasses.asdict(placement)
        | {
            "luts": placement.luts,
            "placed_luts": placement.placed_luts,
            "fmax_hz": placement.best.fmax_hz,
            "operations_per_s": placement.operations_per_s,
        }
        for name, placement in placements.items()
    }
    return json.dumps(told, indent=2)


def table(placements: dict[str, Placement]):
    """Designs side by side, as a table of Rich."""
    from rich.table import Table

    some = next(iter(placements.values()))
    made = Table(box=None, pad_edge=False)
    made.add_column("design")
    headings = ("op/cycle", "LUT", "LUT4", "carry", "LUT RAM", "FF", "block RAM", "DSP")
    seeds = [f"Fmax MHz, seed {route.seed}" for route in some.routes]
    for heading in (*headings, "LUT/op", "placed LUT/op", "FF/op", *seeds, "Gop/s"):
        made.add_column(heading, justify="right")
    for name, placement in placements.items():
        counts = placement.synthesis.resources
        operations = placement.macs_per_cycle
        numbers = (
            operations,
            placement.luts,
            *(counts[kind] for kind in ("LUT", "carry", "LUT RAM", "FF", "block RAM", "DSP")),
        )
        made.add_row(
            name,
            *(f"{number:,}" for number in numbers),
            f"{placement.luts / operations:.1f}",
            f"{placement.placed_luts / operations:.1f}",
            f"{counts['FF'] / operations:.1f}",
            *(
                f"{'>= ' if route.in_harness else ''}{route.fmax_hz / 1e6:.0f}"
                for route in placement.routes
            ),
            f"{placement.operations_per_s / 1e9:.3g}",
        )
    return made


def caption(placements: dict[str, Placement]) -> str:
    """What the table does not say: tier, device, tools, and how it counts."""
    some = next(iter(placements.values()))
    return (
        f"{some.tier}: {some.synthesis.tool}, {some.tool}, {some.device}. "
        "LUT = LUT4 + 2 CCU2C + 6 TRELLIS_DPR16X4; placed LUT = TRELLIS_COMB, harness apart; "
        f"Gop/s at {f'{some.clock_hz / 1e6:g} MHz' if some.clock_hz else 'the best Fmax'}."
    )


def markdown(placements: dict[str, Placement]) -> str:
    """The table and its caption as Markdown."""
    from rich import box
    from rich.console import Console

    made = table(placements)
    made.box, made.pad_edge = box.MARKDOWN, True
    text = StringIO()
    Console(file=text, width=1000).print(made)
    lines = [line.rstrip() for line in text.getvalue().splitlines() if line.strip()]
    return "\n".join([*lines, "", caption(placements), ""])


def show(placements: dict[str, Placement]) -> None:
    """Print the table and its caption."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(table(placements))
    console.print(caption(placements), soft_wrap=True)
