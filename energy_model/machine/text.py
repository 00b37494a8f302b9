"""Descriptions of a machine, in a line of text and for JSON."""

from __future__ import annotations

import dataclasses

from tritloom.arch.config import ArrayConfig
from tritloom.energy_model.costs.units import si

from .machine import Machine


def hardware_text(machine: Machine) -> str:
    """A machine's name, what it computes with, and its DRAM, in a line."""
    dram = machine.dram
    return (
        f"hardware {machine.name}: {machine_text(machine)}; {dram.title}, "
        f"{si(dram.bytes_per_s, 'B/s')} ({dram.tier})"
    )


def machine_text(machine: Machine) -> str:
    """Shape and clock of an array, or peak rates."""
    engine = machine.engine
    if isinstance(engine, ArrayConfig):
        return f"{engine.shape} at {si(engine.clock_hz, 'Hz')}"
    peaks = engine.ops_per_s.items()
    rates = ", ".join(f"{si(rate, 'op/s')} {dtype}" for dtype, rate in peaks)
    return f"{machine.title}, {rates} ({engine.tier})"


def machine_parameters(machine: Machine) -> dict:
    """Every parameter of a machine for JSON; of "array" and "peaks" one is None."""
    content: dict = {}
    for name, value in dataclasses.asdict(machine).items():
        if name == "engine":
            content["array"] = None if machine.is_roofline else value
            content["peaks"] = value if machine.is_roofline else None
        else:
            content[name] = value
    return content | {"packing": machine.packing.name}


def machine_dict(machine: Machine) -> dict:
    """Parameters of a machine for JSON, with tiers and sources."""
    engine, roofline = machine.engine, machine.is_roofline
    shape = ("rows", "cols", "lanes", "cols_per_hop", "clock_hz", "dataflow")
    return {
        "name": machine.name,
        "title": machine.title,
        **({} if roofline else {name: getattr(engine, name) for name in shape}),
        "peaks": dataclasses.asdict(engine) if roofline else None,
        "compute": dict(machine.compute),
        "sram": dataclasses.asdict(machine.sram),
        "static_w": dataclasses.asdict(machine.static),
        "dram": dataclasses.asdict(machine.dram),
    }
