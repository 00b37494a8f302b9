"""A counter of non-zero trits, or of whatever every second bit of a wide word tells.

The two halves of a word are counted by instances, each emitted once, with a register at each level.
The counter takes every second bit itself, because a word of single bits picked from thousands of
codes is a concatenation that tools give up on.
"""

from __future__ import annotations

from amaranth.hdl import ClockSignal, Instance, Module, ResetSignal, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .ports import Modules

# Bits that a few six-input LUTs add up without a register.
LEAF = 6


def halves(size: int) -> tuple[int, int]:
    """Sizes of the two halves in which a stack of rows or a wide word is emitted, larger first."""
    return size - size // 2, size // 2


def popcount_name(prefix: str, width: int) -> str:
    """Module name of a counter of so many pairs of bits."""
    return f"{prefix}_popcount_{width}"


class Popcount(wiring.Component):
    """A count of the ones in the low bits of pairs, some cycles late: running totals do not mind.

    Members
    -------
    pairs : In(2 * width)
        Pairs of bits, the first pair in the low bits.
    total : Out(width.bit_length())
        How many pairs had a one in their low bit.
    """

    def __init__(self, *, width: int, prefix: str):
        self.width = width
        self.prefix = prefix
        super().__init__({"pairs": In(2 * width), "total": Out(width.bit_length())})

    def elaborate(self, platform):
        m = Module()
        if self.width <= LEAF:
            m.d.comb += self.total.eq(sum(self.pairs[::2]))
            return m
        start, totals = 0, []
        for half, width in zip(("low", "high"), halves(self.width), strict=True):
            pairs = self.pairs[2 * start : 2 * (start + width)]
            totals.append(popcount(m, pairs, prefix=self.prefix, reset=ResetSignal(), name=half))
            start += width
        m.d.sync += self.total.eq(sum(totals))
        return m


def popcount(m: Module, pairs: Value, *, prefix: str, reset: Value, name: str) -> Signal:
    """A count of the ones in the low bits of `pairs`, by an instance of a `Popcount`."""
    width = len(pairs) // 2
    total = Signal(width.bit_length(), name=f"{name}_total")
    # The smallest counter has no register.
    clocked = {"i_clk": ClockSignal(), "i_rst": reset} if width > LEAF else {}
    m.submodules[name] = Instance(
        popcount_name(prefix, width), **clocked, i_pairs=pairs, o_total=total
    )
    return total


def modules(width: int, *, prefix: str) -> Modules:
    """Every module of a counter of `width` pairs of bits by name."""
    widths = [width]  # grows while it is walked
    for size in widths:
        if size > LEAF:
            widths += set(halves(size)) - set(widths)
    return {popcount_name(prefix, size): Popcount(width=size, prefix=prefix) for size in widths}
