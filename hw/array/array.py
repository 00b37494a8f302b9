"""The array of either dataflow: the one that its configuration names."""

from __future__ import annotations

from amaranth.lib import wiring

from tritloom.arch.config import ArrayConfig, Dataflow
from tritloom.hw.parts.ports import Modules, Ports

from . import output_stationary, pe, row, weight_stationary


def _is_output_stationary(config: ArrayConfig) -> bool:
    return config.dataflow == Dataflow.OUTPUT_STATIONARY


def ports(config: ArrayConfig) -> Ports:
    """Ports of the array: name -> (direction, shape, description)."""
    table = (output_stationary if _is_output_stationary(config) else weight_stationary).PORTS
    return {name: (flow, width(config), what) for name, (flow, width, what) in table.items()}


def pe_ports(config: ArrayConfig) -> Ports:
    """Ports of the array's PE: name -> (direction, shape, description)."""
    if _is_output_stationary(config):
        return pe.pe_ports(config)
    return weight_stationary.pe_ports(config)


def make_pe(config: ArrayConfig, *, prefix: str) -> wiring.Component:
    """One PE of the array."""
    if _is_output_stationary(config):
        return pe.OutputStationaryPE(config, prefix=prefix)
    return weight_stationary.WeightStationaryPE(config)


def make_hop(config: ArrayConfig, *, prefix: str) -> wiring.Component:
    """One hop of the array."""
    if _is_output_stationary(config):
        return row.OutputStationaryHop(config, prefix=prefix)
    return weight_stationary.WeightStationaryHop(config, prefix=prefix)


def modules(config: ArrayConfig, *, prefix: str) -> Modules:
    """Every module of the array by name; its top is `prefix` itself."""
    dataflow = output_stationary if _is_output_stationary(config) else weight_stationary
    return dataflow.modules(config, prefix=prefix)
