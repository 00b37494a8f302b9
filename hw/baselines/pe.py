"""Textbook PEs, for comparison with hw/array/pe.py: in area, in clock, in energy.

All are output-stationary PEs with the ports of `hw.array.pe`, its trit, accumulator and drain
registers, so that what differs is the arithmetic in between. With `select_stages` there are
registers behind the products, or selects. Acts are registered outside, in the hop.
"""

from __future__ import annotations

from typing import ClassVar

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import wiring

from tritloom.arch.config import ArrayConfig, Technology
from tritloom.arch.errors import InputError
from tritloom.hw.array.pe import pe_ports
from tritloom.hw.parts.ports import members

from . import floating
from .floating import FP16, FP32


class BaselinePE(wiring.Component):
    """A PE without its arithmetic, which each baseline adds: `products`, and what else differs.

    Its members are those of `hw.array.pe.pe_ports`, with `weight_bits` for each weight on
    `trits_north` and `trits_south`, and `psum_bits` for a psum. `valid` and `first` come
    `config.tree_stages` cycles after the acts.

    Raises
    ------
    InputError
        On elaboration: the configuration is not one that the baseline has.
    """

    reset_less = True
    weight_bits = 2
    # Parameters that a baseline fixes to one value.
    fixed: ClassVar[dict[str, object]] = {"lanes": 1}

    def __init__(self, config: ArrayConfig):
        self.config = config
        table = pe_ports(config, weight_bits=self.weight_bits, psum_bits=self.psum_bits)
        super().__init__(members(table))

    @property
    def psum_bits(self) -> int:
        """Bits of a psum."""
        return self.config.psum_bits

    def products(self, m: Module, acts: list[Value], weights: list[Value]) -> list[Value]:
        """The product of each lane, in the same cycle."""
        raise NotImplementedError

    def total(self, m: Module, products: list[Value]) -> Value:
        """The sum of products, `config.tree_stages` less `select_stages` cycles later."""
        return products[0]

    def accumulate(self, m: Module, psum: Value, total: Value) -> Value:
        """The next psum, in the same cycle."""
        return psum + total

    def elaborate(self, platform):
        config = self.config
        for name, value in ({"technology": Technology.GENERIC} | self.fixed).items():
            if getattr(config, name) != value:
                raise InputError(
                    f"{name} of {type(self).__name__} must be {value}, not {getattr(config, name)}"
                )
        m = Module()

        weights = Signal.like(self.trits_north)
        accumulator = Signal(signed(self.psum_bits))
        psum = Signal.like(accumulator)
        products = self.products(
            m,
            [self.acts.word_select(i, config.act_bits).as_signed() for i in range(config.lanes)],
            [weights.word_select(i, self.weight_bits) for i in range(config.lanes)],
        )
        if config.select_stages:
            products = _register(m, products, "product")
        start = Mux(self.first, 0, accumulator)
        accumulated = self.accumulate(m, start, self.total(m, products))
        with m.If(self.take):
            m.d.sync += weights.eq(self.trits_north)
        with m.If(self.valid):
            m.d.sync += accumulator.eq(accumulated)
        with m.If(self.load):
            m.d.sync += psum.eq(accumulator)
        if config.rows > 1:
            with m.Elif(self.shift):
                m.d.sync += psum.eq(self.psum_north)
        m.d.comb += [self.trits_south.eq(weights), self.psum_south.eq(psum)]
        return m


def _register(m, values, name):
    registers = [Signal.like(value, name=f"{name}_{i}") for i, value in enumerate(values)]
    m.d.sync += [register.eq(value) for register, value in zip(registers, values, strict=True)]
    return registers


def _select(act, trit):
    """The act, its negation, or zero, a bit wider than the act."""
    nonzero, negative = trit
    return Mux(nonzero, Mux(negative, -act, act), 0)


class SelectAdd(BaselinePE):
    """One trit x act a cycle: select, negate, add."""

    def products(self, m, acts, weights):
        return [_select(acts[0], weights[0])]


class Mac(BaselinePE):
    """One act x int8 weight a cycle, with a multiplier."""

    weight_bits = 8

    def products(self, m, acts, weights):
        return [acts[0] * weights[0].as_signed()]


class MacFp16(BaselinePE):
    """One FP16 act x FP16 weight a cycle; product and sum are rounded to FP16."""

    weight_bits = psum_bits = FP16.width
    fixed: ClassVar[dict[str, object]] = {"lanes": 1, "act_bits": FP16.width}

    def products(self, m, acts, weights):
        return [floating.multiply(m, acts[0], weights[0])]

    def accumulate(self, m, psum, total):
        return floating.add(m, FP16, psum, total)


class MacFp32(BaselinePE):
    """One FP16 act x FP16 weight a cycle; the product is exact, the sum is rounded to FP32."""

    weight_bits = FP16.width
    psum_bits = FP32.width
    fixed: ClassVar[dict[str, object]] = {"lanes": 1, "act_bits": FP16.width}

    def products(self, m, acts, weights):
        return [floating.multiply_exactly(m, acts[0], weights[0])]

    def accumulate(self, m, psum, total):
        return floating.add(m, FP32, psum, total)


class AdderTree(BaselinePE):
    """`lanes` trits x acts a cycle: selects, and a balanced tree with a register at each level."""

    fixed: ClassVar[dict[str, object]] = {"levels_per_stage": 1}

    def products(self, m, acts, weights):
        return [_select(act, trit) for act, trit in zip(acts, weights, strict=True)]

    def total(self, m, products):
        nodes = products
        for level in range(1, self.config.tree_levels + 1):
            sums = [a + b for a, b in zip(nodes[::2], nodes[1::2], strict=False)]
            # A node without a partner waits for the next level.
            nodes = _register(m, sums + nodes[len(sums) * 2 :], f"sum_{level}")
        return nodes[0]
