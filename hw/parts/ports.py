"""What components share that instantiate each other by name.

Their ports are tables: name -> (direction, width, and what else).
"""

from __future__ import annotations

from amaranth.hdl import ClockDomain, ClockSignal, Instance, Module, ResetSignal, Signal, Value
from amaranth.lib.wiring import In


def members(ports: dict[str, tuple]) -> dict:
    """Members of a component with these ports."""
    return {name: flow(width) for name, (flow, width, *_) in ports.items()}


def inner_domain(m: Module, reset: Value) -> None:
    """A domain `inner`: the same clock, with a reset of its own.

    A domain rather than a submodule, so that all a component's own logic is one Verilog module.
    """
    m.domains.inner = ClockDomain(local=True)
    m.d.comb += [ClockSignal("inner").eq(ClockSignal()), ResetSignal("inner").eq(reset)]


def part(m: Module, module: str, ports: dict[str, tuple], reset, *, name: str) -> dict[str, Signal]:
    """An instance of a module by its name; returns its ports as signals.

    Parameters
    ----------
    ports : dict of str to tuple
        Direction and width of each port but clk and rst, by name.
    name : str
        Of the instance.
    """
    signals = {port: Signal(width, name=f"{name}_{port}") for port, (_, width, *_) in ports.items()}
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
