"""Helpers of components that instantiate each other by name.

The ports of a component are a table: name -> (direction, shape, description). Descriptions stand
alone, as readers of the JSON sidecar see one at a time.
"""

from __future__ import annotations

from typing import Protocol

from amaranth.hdl import ClockDomain, ClockSignal, Instance, Module, ResetSignal, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In

Ports = dict[str, tuple]


class Written(Protocol):
    """A module that is Verilog already."""

    def verilog(self, name: str) -> str:
        """Verilog of the module under this name."""


# Modules of a design by name, as `hw.emit.emit` takes them. Each gateware file has a function
# `modules` that returns those of its component and of all below it.
Modules = dict[str, wiring.Component | Written]


def members(ports: Ports) -> dict:
    """Members of a component with these ports."""
    return {name: flow(shape) for name, (flow, shape, *_) in ports.items()}


def inner_domain(m: Module, reset: Value) -> None:
    """Add a domain `inner` on the same clock, with a reset of its own.

    A domain rather than a submodule, so that all a component's own logic is one Verilog module.
    """
    m.domains.inner = ClockDomain(local=True)
    m.d.comb += [ClockSignal("inner").eq(ClockSignal()), ResetSignal("inner").eq(reset)]


def part(m: Module, module: str, ports: Ports, reset: Value, *, name: str) -> dict[str, Signal]:
    """Instantiate a module by its name and return its ports as signals.

    Parameters
    ----------
    ports : dict of str to tuple
        The module's table of ports, without clk and rst.
    name : str
        Name of the instance.
    """
    signals = {port: Signal(shape, name=f"{name}_{port}") for port, (_, shape, *_) in ports.items()}
    m.submodules[name] = Instance(
        module,
        i_clk=ClockSignal(),
        i_rst=reset,
        **{
            f"{'i' if flow is In else 'o'}_{port}": signals[port]
            for port, (flow, *_) in ports.items()
        },
    )
    return signals
