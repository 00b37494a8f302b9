"""A delay line, emitted once per power of two and composed by instance.

The skew of a side of n blocks needs n (n - 1) / 2 registers of a whole slice. Written out, they
would be most of the Verilog of a large array; composed from lines of 1, 2, 4, ... cycles they are
a handful of modules.
"""

from __future__ import annotations

from collections.abc import Iterable

from amaranth.hdl import Cat, ClockSignal, Instance, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from arch.config import ArrayConfig


class Delay(wiring.Component):
    """`width` bits, `cycles` advancing cycles later; no reset.

    Members
    -------
    advance : In(1)
    value, after : In, Out(width)
    """

    def __init__(self, *, width: int, cycles: int):
        self.cycles = cycles
        super().__init__({"advance": In(1), "value": In(width), "after": Out(width)})

    def elaborate(self, platform):
        m = Module()
        width = len(self.value)
        # One wide shift register rather than one signal a stage: the netlist stays small.
        line = Signal(self.cycles * width)
        with m.If(self.advance):
            m.d.sync += line.eq(Cat(self.value, line))
        m.d.comb += self.after.eq(line[-width:])
        return m


def delay_name(prefix: str, *, width: int, cycles: int) -> str:
    """Module name of a delay line."""
    return f"{prefix}_delay_{width}x{cycles}"


def powers(cycles: int) -> list[int]:
    """The powers of two that sum to `cycles`."""
    return [1 << bit for bit in range(cycles.bit_length()) if cycles >> bit & 1]


def delayed(m: Module, advance: Value, value: Value, cycles: int, *, prefix: str, name: str):
    """`value` through instances of delay lines that add up to `cycles`."""
    for part in powers(cycles):
        after = Signal(len(value), name=f"{name}_{part}")
        m.submodules[f"delay_{name}_{part}"] = Instance(
            delay_name(prefix, width=len(value), cycles=part),
            i_clk=ClockSignal(),
            i_advance=advance,
            i_value=value,
            o_after=after,
        )
        value = after
    return value


def staggered(
    m: Module, advance: Value, words: Iterable[Value], *, prefix: str, name: str
) -> list[Value]:
    """Word i of a side, i cycles later."""
    return [
        delayed(m, advance, word, i, prefix=prefix, name=f"{name}_{i}")
        for i, word in enumerate(words)
    ]


def lanes_staggered(
    m: Module, advance: Value, words: Iterable[Value], config: ArrayConfig, *, bits: int, name: str
) -> list[Value]:
    """Words of `bits` a lane, of one or more columns, each of `lane_groups` a cycle later."""
    if len(config.lane_groups) == 1:
        return list(words)
    return [
        _groups_delayed(m, advance, word, config, bits, f"{name}_{index}")
        for index, word in enumerate(words)
    ]


def _groups_delayed(m, advance, word, config, bits, name):
    starts = range(0, len(word), config.lanes * bits)
    groups = []
    for delay, lanes in enumerate(config.lane_groups):
        parts = [word[start + lanes.start * bits : start + lanes.stop * bits] for start in starts]
        if delay:
            value = Cat(parts)
            line = Signal(delay * len(value), name=f"{name}_group_{delay}", reset_less=True)
            with m.If(advance):
                m.d.sync += line.eq(Cat(value, line))
            width = len(parts[0])
            after = line[-len(value) :]
            parts = [after[i * width : (i + 1) * width] for i in range(len(parts))]
        groups.append(parts)
    return Cat(*(part for column in zip(*groups, strict=True) for part in column))
