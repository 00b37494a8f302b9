"""The output-stationary PE: selects of `lanes` trits, adder tree, accumulator, drain register.

There is no multiplier: a trit passes its act, the act's complement, or zero. The one that completes
a two's complement negation (-a = ~a + 1) is not added at the lane. Every adder of the tree has a
spare carry-in and every lane contributes one carry; a tree of `lanes` operands has `lanes` - 1
adders, so one carry is left over and enters the accumulator's adder. A negation costs no adder.

Acts come from the hop's shared registers (see hw/array/row.py). No register needs a reset: the
control bits that arrive with the data are reset in the hop.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tritloom.arch.config import ArrayConfig, Technology
from tritloom.hw.parts import asic, ecp5
from tritloom.hw.parts.ports import Modules, Ports, members


def add_with_carry(a: Value, b: Value, carry: Value, width: int) -> Value:
    """The sum a + b + carry of two signed values in one carry chain, cut to `width` bits.

    A one below a and the carry below b make the chain's own carry-in, in the form that synthesis
    maps onto a single chain on every target.
    """
    total = Cat(Const(1, 1), a).as_signed() + Cat(carry, b).as_signed()
    return total[1 : width + 1].as_signed()


def dot_product(
    m: Module, config: ArrayConfig, *, acts: Value, trits: Value, advance: Value | None = None
):
    """The product of `lanes` acts and trits, `tree_stages` later: (sum, carry still to be added).

    Parameters
    ----------
    advance : Value, optional
        Clock enable of all registers.
    """
    nodes = _select(m, config, acts, trits)
    if config.select_stages:
        nodes = [_register(m, advance, node, 0, i) for i, node in enumerate(nodes)]
    for level in range(1, config.tree_levels + 1):
        width = config.act_bits + level
        pairs = zip(nodes[::2], nodes[1::2], strict=False)
        summed = []
        for i, ((a, carry), (b, pending)) in enumerate(pairs):
            added = Signal(signed(width), name=f"added_{level}_{i}")
            m.d.comb += added.eq(add_with_carry(a, b, carry, width))
            summed.append((added, pending))
        nodes = summed + nodes[len(summed) * 2 :]
        if level % config.levels_per_stage == 0 or level == config.tree_levels:
            nodes = [_register(m, advance, node, level, i) for i, node in enumerate(nodes)]
    return nodes[0]


def _select(m, config, acts, trits):
    """Operand and carry of every lane: act and 0, complement and 1, or zero and 0.

    The illegal code 10 is a zero's complement and 1: zero.
    """
    bits = config.act_bits
    lanes = []
    for lane in range(config.lanes):
        act = acts.word_select(lane, bits)
        nonzero, negative = trits.word_select(lane, 2)
        # The gate comes first, so that nothing behind it moves with the act of a zero trit.
        gated = Signal(bits, name=f"gated_{lane}")
        operand = Signal(signed(bits), name=f"operand_{lane}")
        m.d.comb += [
            gated.eq(act & nonzero.replicate(bits)),
            operand.eq(gated ^ negative.replicate(bits)),
        ]
        lanes.append((operand, negative))
    return lanes


def _register(m, advance, node, level, index):
    value, carry = node
    value_q = Signal(value.shape(), name=f"sum_{level}_{index}")
    carry_q = Signal(name=f"carry_{level}_{index}")
    with nullcontext() if advance is None else m.If(advance):
        m.d.sync += [value_q.eq(value), carry_q.eq(carry)]
    return value_q, carry_q


def accumulator(m: Module, config: ArrayConfig, *, valid: Value, first: Value, node) -> Value:
    """The accumulator of a PE, to which a node of the tree is added, a pair (sum, carry)."""
    total, carry = node
    accumulator = Signal(signed(config.psum_bits))
    accumulated = Signal.like(accumulator)
    start = Mux(first, 0, accumulator)
    m.d.comb += accumulated.eq(add_with_carry(start, total, carry, config.psum_bits))
    with m.If(valid):
        m.d.sync += accumulator.eq(accumulated)
    return accumulator


def accumulator_in_halves(
    m: Module, config: ArrayConfig, add: Callable, *, valid: Value, first: Value, node
) -> Value:
    """The accumulator of a PE in two halves: the upper one adds a cycle after the lower one.

    Parameters
    ----------
    add : callable
        `ecp5.accumulate` for a given module, or `asic.Gates.accumulate`.
    valid, first : Value
        Two bits each. Bit 0 comes with `node`; bit 1 a cycle later.

    Returns
    -------
    Value
        The psum, two cycles after its last summand came; two's complement.
    """
    total, carry = node
    bits = config.psum_bits
    # An odd number of bits, which with the carry out fills carry cells of two bits.
    low = bits // 2 | 1
    lower, lower_q = (Signal(low, name=name) for name in ("lower", "lower_q"))
    upper = Signal(bits - low)
    carry_q = Signal()
    # Nothing reads the bits below the upper half, so synthesis drops them.
    total_q = Signal.like(total)
    lower_sum = add(
        "lower_sum",
        lower,
        [ecp5.bit_of(total, index) for index in range(low)],
        clear=first[0],
        carry=carry,
        carried=True,
    )
    upper_sum = add(
        "upper_sum",
        upper,
        [ecp5.bit_of(total_q, index) for index in range(low, bits)],
        clear=first[1],
        carry=carry_q,
        carried=False,
    )
    m.d.sync += [total_q.eq(total), lower_q.eq(lower)]
    with m.If(valid[0]):
        m.d.sync += [lower.eq(lower_sum), carry_q.eq(lower_sum[low])]
    with m.If(valid[1]):
        m.d.sync += upper.eq(upper_sum)
    return Cat(lower_q, upper)


def pe_ports(config: ArrayConfig, *, weight_bits: int = 2, psum_bits: int | None = None) -> Ports:
    """Ports of an output-stationary PE: name -> (direction, shape, description).

    Parameters
    ----------
    weight_bits, psum_bits : int
        Bits of one weight and of one psum, where the PE is one of `hw.baselines`.
    """
    bits = config.accumulator_stages + 1
    weights, psum = config.lanes * weight_bits, psum_bits or config.psum_bits
    drain = {
        "shift": (In, 1, "high to load the drain register from the north"),
        "psum_north": (In, psum, "drain register of the PE to the north"),
    }
    return {
        "take": (In, len(config.lane_groups), "high per lane group to take trits from the north"),
        "acts": (
            In,
            config.lanes * config.act_bits,
            "act [lane] from the hop's registers",
        ),
        "trits_north": (In, weights, "trit code [lane] from the PE to the north"),
        "trits_south": (Out, weights, "trit code [lane] to the PE to the south, a cycle later"),
        "valid": (In, bits, "high to accumulate the tree's output; bit 1 for the upper half"),
        "first": (In, bits, "high to accumulate from zero; bit 1 for the upper half"),
        "load": (In, 1, "high to copy the accumulator to the drain register"),
        **(drain if config.rows > 1 else {}),
        "psum_south": (Out, psum, "drain register of this PE, two's complement"),
    }


class OutputStationaryPE(wiring.Component):
    """One PE of the output-stationary array.

    Its members are those of `pe_ports`. `valid` and `first` come with the tree's output; where the
    accumulator adds in two cycles, bit 0 is for the lower half and bit 1 for the upper. `load`
    comes a cycle after a tile's last `valid`. In technology asic, trits are pairs of bits, as
    `asic.one_hot` makes them.
    """

    reset_less = True

    def __init__(self, config: ArrayConfig, *, prefix: str):
        self.config = config
        self.prefix = prefix
        super().__init__(members(pe_ports(config)))

    def elaborate(self, platform):
        config = self.config
        m = Module()

        trits = Signal(config.lanes * 2)
        psum = Signal(signed(config.psum_bits))
        selecting = trits if config.input_stages else self.trits_north
        accumulated = self._accumulated(m, selecting)
        for take, lanes in zip(self.take, config.lane_groups, strict=True):
            part = slice(2 * lanes.start, 2 * lanes.stop)
            with m.If(take):
                m.d.sync += trits[part].eq(self.trits_north[part])
        with m.If(self.load):
            m.d.sync += psum.eq(accumulated)
        if config.rows > 1:
            with m.Elif(self.shift):
                m.d.sync += psum.eq(self.psum_north)
        m.d.comb += [self.trits_south.eq(trits), self.psum_south.eq(psum)]
        return m

    def _accumulated(self, m, trits):
        """The psum, in the adders of the technology."""
        config, told = self.config, {"valid": self.valid, "first": self.first}
        if config.technology == Technology.ECP5:
            node = ecp5.dot_product(m, config, acts=self.acts, trits=trits)
            add: Callable = partial(ecp5.accumulate, m)
        elif config.technology == Technology.ASIC:
            gates = asic.Gates(m, self.prefix)
            node = asic.dot_product(m, config, gates, acts=self.acts, trits=trits)
            add = gates.accumulate
        else:
            node = dot_product(m, config, acts=self.acts, trits=trits)
            return accumulator(m, config, node=node, **told)
        if config.accumulator_stages:
            return accumulator_in_halves(m, config, add, node=node, **told)
        accumulated = Signal(config.psum_bits, name="accumulator")
        addend = [ecp5.bit_of(node[0], index) for index in range(config.psum_bits)]
        clear = {"clear": self.first, "carry": node[1], "carried": False}
        with m.If(self.valid):
            m.d.sync += accumulated.eq(add("sum", accumulated, addend, **clear))
        return accumulated


def modules(config: ArrayConfig, *, prefix: str) -> Modules:
    """Every module of an output-stationary PE by name, its top (`prefix`_pe) last."""
    pe = OutputStationaryPE(config, prefix=prefix)
    return asic.modules(config, prefix=prefix) | {f"{prefix}_pe": pe}
