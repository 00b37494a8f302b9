"""Counts the ones of a wide word: halves side by side, each emitted once, a register a level."""

from __future__ import annotations

from amaranth.hdl import ClockSignal, Instance, Module, ResetSignal, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .row import halves

# As many bits as a pair of six-input lookups sums without a register.
LEAF = 6


def popcount_name(prefix: str, width: int) -> str:
    """Module name of a counter of so many bits."""
    return f"{prefix}_popcount_{width}"


class Popcount(wiring.Component):
    """Ones of `bits`, some cycles later: for running totals, which the delay does not change.

    Members
    -------
    bits : In(width)
    total : Out
    """

    def __init__(self, *, width: int, prefix: str):
        self.width = width
        self.prefix = prefix
        super().__init__({"bits": In(width), "total": Out(width.bit_length())})

    def elaborate(self, platform):
        m = Module()
        if self.width <= LEAF:
            m.d.comb += self.total.eq(sum(self.bits))
            return m
        start, totals = 0, []
        for half, width in zip(("low", "high"), halves(self.width), strict=True):
            bits = self.bits[start : start + width]
            totals.append(popcount(m, bits, prefix=self.prefix, reset=ResetSignal(), name=half))
            start += width
        m.d.sync += self.total.eq(sum(totals))
        return m


def popcount(m: Module, bits: Value, *, prefix: str, reset: Value, name: str) -> Signal:
    """Ones of `bits`, by an instance of a `Popcount`."""
    total = Signal(len(bits).bit_length(), name=f"{name}_total")
    # The smallest has no register.
    clocked = {"i_clk": ClockSignal(), "i_rst": reset} if len(bits) > LEAF else {}
    m.submodules[name] = Instance(
        popcount_name(prefix, len(bits)), **clocked, i_bits=bits, o_total=total
    )
    return total
