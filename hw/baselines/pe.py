"""PEs as a textbook has them, for comparison with hw/pe.py: in area, in clock, in energy.

All are output-stationary PEs with the ports of `hw.pe.PE`, its trit, accumulator and drain
registers, so that what differs is the arithmetic in between. Acts are
registered outside, in the hop.
"""

from __future__ import annotations

from typing import ClassVar

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from arch.config import ArrayConfig
from arch.errors import InputError


class PE(wiring.Component):
    """What the baselines have in common; each adds `product`.

    Members
    -------
    As of `hw.pe.PE`, with `weight_bits` for each weight on `trits_north` and `trits_south`. `valid`
    and `first` come `config.tree_stages` cycles after the acts.

    Raises
    ------
    InputError
        On elaboration: the configuration is not one that the baseline has.
    """

    weight_bits = 2
    # Parameters that a baseline has one value of.
    fixed: ClassVar[dict[str, int]] = {"lanes": 1}

    def __init__(self, config: ArrayConfig):
        self.config = config
        weights = config.lanes * self.weight_bits
        super().__init__(
            {
                "take": In(1),
                "acts": In(config.lanes * config.act_bits),
                "trits_north": In(weights),
                "trits_south": Out(weights),
                "valid": In(1),
                "first": In(1),
                "load": In(1),
                **({"shift": In(1), "psum_north": In(config.psum_bits)} if config.rows > 1 else {}),
                "psum_south": Out(config.psum_bits),
            }
        )

    def product(self, m: Module, acts: list[Value], weights: list[Value]) -> Value:
        """The signed sum of products of a beat, `config.tree_stages` cycles later."""
        raise NotImplementedError

    def elaborate(self, platform):
        config = self.config
        for name, value in self.fixed.items():
            if getattr(config, name) != value:
                raise InputError(
                    f"{name} of {type(self).__name__} must be {value}, not {getattr(config, name)}"
                )
        m = Module()

        weights = Signal.like(self.trits_north)
        accumulator = Signal(signed(config.psum_bits))
        psum = Signal.like(accumulator)
        total = self.product(
            m,
            [self.acts.word_select(i, config.act_bits).as_signed() for i in range(config.lanes)],
            [weights.word_select(i, self.weight_bits) for i in range(config.lanes)],
        )
        with m.If(self.take):
            m.d.sync += weights.eq(self.trits_north)
        with m.If(self.valid):
            m.d.sync += accumulator.eq(Mux(self.first, 0, accumulator) + total)
        with m.If(self.load):
            m.d.sync += psum.eq(accumulator)
        if config.rows > 1:
            with m.Elif(self.shift):
                m.d.sync += psum.eq(self.psum_north)
        m.d.comb += [self.trits_south.eq(weights), self.psum_south.eq(psum)]
        return m


def _select(act, trit):
    """The act, its negation, or zero, a bit wider than the act."""
    nonzero, negative = trit
    return Mux(nonzero, Mux(negative, -act, act), 0)


class SelectAdd(PE):
    """One trit x act a cycle: select, negate, add."""

    def product(self, m, acts, weights):
        return _select(acts[0], weights[0])


class Mac(PE):
    """One act x int8 weight a cycle, with a multiplier."""

    weight_bits = 8

    def product(self, m, acts, weights):
        return acts[0] * weights[0].as_signed()


class AdderTree(PE):
    """`lanes` trits x acts a cycle: selects, and a balanced tree with a register at each level."""

    fixed: ClassVar[dict[str, int]] = {"levels_per_stage": 1}

    def product(self, m, acts, weights):
        nodes = [_select(act, trit) for act, trit in zip(acts, weights, strict=True)]
        for level in range(1, self.config.tree_levels + 1):
            sums = [a + b for a, b in zip(nodes[::2], nodes[1::2], strict=False)]
            # One without a partner waits for the next level.
            sums += nodes[len(sums) * 2 :]
            nodes = [Signal.like(node, name=f"sum_{level}_{i}") for i, node in enumerate(sums)]
            m.d.sync += [node.eq(value) for node, value in zip(nodes, sums, strict=True)]
        return nodes[0]
