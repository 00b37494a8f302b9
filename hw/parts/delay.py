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

from tritloom.arch.config import ArrayConfig

from .ports import Modules


class Delay(wiring.Component):
    """A line that delays `width` bits by `cycles` cycles; no register has a reset.

    Members
    -------
    advance : In(1)
        Clock enable of every register.
    value : In(width)
        Word that enters the line.
    after : Out(width)
        Word that entered `cycles` enabled cycles ago.
    """

    reset_less = True

    def __init__(self, *, width: int, cycles: int):
        self.cycles = cycles
        super().__init__({"advance": In(1), "value": In(width), "after": Out(width)})

    def elaborate(self, platform):
        m = Module()
        width = len(self.value)
        # One wide shift register rather than a signal for each stage: the netlist stays small.
        line = Signal(self.cycles * width)
        with m.If(self.advance):
            m.d.sync += line.eq(Cat(self.value, line))
        m.d.comb += self.after.eq(line[-width:])
        return m


def delay_name(prefix: str, *, width: int, cycles: int) -> str:
    """Module name of a delay line."""
    return f"{prefix}_delay_{width}x{cycles}"


def modules(*sides: tuple[int, int], prefix: str) -> Modules:
    """The delay lines of sides, each (bits of a word, words), for `staggered`.

    Sides of equal width share their lines: Amaranth warns of a component that is made in vain.
    """
    shapes = dict.fromkeys(
        (width, 1 << bit) for width, blocks in sides for bit in range((blocks - 1).bit_length())
    )
    return {
        delay_name(prefix, width=width, cycles=cycles): Delay(width=width, cycles=cycles)
        for width, cycles in shapes
    }


def powers(cycles: int) -> list[int]:
    """The powers of two that add up to `cycles`."""
    return [1 << bit for bit in range(cycles.bit_length()) if cycles >> bit & 1]


def delayed(m: Module, advance: Value, value: Value, cycles: int, *, prefix: str, name: str):
    """A value after `cycles` cycles: instances of delay lines in a row."""
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
    """Words of one side of an array, word i delayed by i cycles."""
    return [
        delayed(m, advance, word, i, prefix=prefix, name=f"{name}_{i}")
        for i, word in enumerate(words)
    ]


def lanes_staggered(m: Module, value: Value, config: ArrayConfig, *, bits: int, name: str) -> Value:
    """Words of `bits` bits a lane; each of `lane_groups` comes a cycle after the one before."""
    if len(config.lane_groups) == 1:
        return value
    width = config.lanes * bits
    words = [value[start : start + width] for start in range(0, len(value), width)]
    late = {}
    for delay, lanes in enumerate(config.lane_groups):
        for lane in lanes:
            after = column = Cat(word.word_select(lane, bits) for word in words)
            if delay:
                line = Signal(delay * len(column), name=f"{name}_lane_{lane}", reset_less=True)
                m.d.sync += line.eq(Cat(column, line))
                after = line[-len(column) :]
            late[lane] = after
    # A signal, because callers cut it.
    staggered = Signal(len(value), name=f"{name}_staggered")
    m.d.comb += staggered.eq(
        Cat(
            late[lane].word_select(index, bits)
            for index in range(len(words))
            for lane in range(config.lanes)
        )
    )
    return staggered
