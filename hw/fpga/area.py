"""The array's PE beside plainer ones of the same shape, on the same device with the same tools."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tritloom.arch.config import ArrayConfig
from tritloom.hw.baselines.pe import AdderTree, BaselinePE, Mac, SelectAdd
from tritloom.hw.verilog import generate_pe

from .placement import Placement, place

# Technology ecp5 with a register behind every adder.
ECP5: dict[str, Any] = {"technology": "ecp5", "levels_per_stage": 1, "select_stages": 1}

# Design -> (its component, or None for the array's own PE; parameters of its configuration).
DESIGNS: dict[str, tuple[type[BaselinePE] | None, dict[str, Any]]] = {
    "int8 x int8 multiply-accumulate": (Mac, {"lanes": 1}),
    "select and add": (SelectAdd, {"lanes": 1}),
    "adder tree, 16 lanes": (AdderTree, {"lanes": 16, "levels_per_stage": 1}),
    "adder tree, 64 lanes": (AdderTree, {"lanes": 64, "levels_per_stage": 1}),
    "Tritloom, 16 lanes": (None, {"lanes": 16}),
    "Tritloom, 64 lanes": (None, {"lanes": 64}),
    "Tritloom ecp5, 16 lanes": (None, {"lanes": 16} | ECP5),
    "Tritloom ecp5, 64 lanes": (None, {"lanes": 64, "hosted_selects": 1} | ECP5),
}


def measure(*, seeds: int, progress: Callable[[str], None]) -> dict[str, Placement]:
    """Place and route every design, multipliers as LUTs; `progress` is told which comes next."""
    placements = {}
    for number, (design, (kind, parameters)) in enumerate(DESIGNS.items()):
        progress(design)
        config = ArrayConfig(rows=1, cols=1, **parameters)
        rtl = generate_pe(config, name=f"area{number}", kind=kind)
        placements[design] = place(rtl, seeds=seeds, dsp=False)
    return placements
