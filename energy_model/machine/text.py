"""A machine in a line, and for JSON."""

from __future__ import annotations

import dataclasses

from tritloom.energy_model.costs.units import si

from .machine import Machine


def hardware_text(machine: Machine) -> str:
    """Its name, what it computes with, and its DRAM."""
    dram = machine.dram
    return (
        f"hardware {machine.name}: {machine_text(machine)}; {dram.title}, "
        f"{si(dram.bytes_per_s, 'B/s')} ({dram.tier})"
    )


def machine_text(machine: Machine) -> str:
    """Shape and clock of an array, or peak rates."""
    if machine.array:
        return f"{machine.array.shape} at {si(machine.array.clock_hz, 'Hz')}"
    peaks = machine.peaks.ops_per_s.items()
    rates = ", ".join(f"{si(rate, 'op/s')} {dtype}" for dtype, rate in peaks)
    return f"{machine.title}, {rates} ({machine.peaks.tier})"


def machine_dict(machine: Machine) -> dict:
    """A machine for JSON: its parameters with tiers and sources."""
    array = machine.array
    shape = ("rows", "cols", "lanes", "cols_per_hop", "clock_hz", "dataflow")
    return {
        "name": machine.name,
        "title": machine.title,
        **({name: getattr(array, name) for name in shape} if array else {}),
        "peaks": machine.peaks and dataclasses.asdict(machine.peaks),
        "compute": dict(machine.compute),
        "sram": dataclasses.asdict(machine.sram),
        "static_w": dataclasses.asdict(machine.static),
        "dram": dataclasses.asdict(machine.dram),
    }
