"""The processing element's adders as full adders of a standard-cell library.

The heap that `arch.heap` plans, and a ripple-carry accumulator: instances of a full adder with
inverted outputs and of a select that is an OAI22, as libraries have them. Their Verilog is here, so
that the RTL is whole by itself; a flow for a library puts the library's cells in their place
(hw/cells/mapping.py).

Trits are two bits, +1 and -1. They are made of the codes once, at the array's edge, where an
illegal code becomes zero. A select takes their complements, which inverting flip-flops give.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, ResetSignal, Signal, Value

from tritloom.arch import heap
from tritloom.arch.config import ArrayConfig, Technology

from .ports import Modules


def one_hot(codes: Value) -> Value:
    """Trit codes as pairs of bits: +1, -1."""
    nonzero, negative = codes[::2], codes[1::2]
    return Cat(
        bit
        for index in range(len(nonzero))
        for bit in (
            nonzero[index] & ~negative[index],
            nonzero[index] & negative[index],
        )
    )


@dataclass(frozen=True)
class Gate:
    """A module that stands for a cell of the library."""

    text: str

    def verilog(self, name: str) -> str:
        """Verilog of the gate as module `name`."""
        # There are thousands of instances, which a simulator need not keep apart.
        return f"module {name}{self.text}  /*verilator inline_module*/\nendmodule\n"


# Name -> gate that instances of module `PREFIX_name` are.
GATES = {
    # A full adder whose sum and carry are inverted.
    "full_adder": Gate(
        "(a, b, ci, con, sn);\n"
        "  input a, b, ci;\n"
        "  output con, sn;\n"
        "  assign con = ~((a & b) | (a & ci) | (b & ci));\n"
        "  assign sn = ~(a ^ b ^ ci);\n"
    ),
    # The act's bit where positive_n is 0, the complement where negative_n is 0.
    "select": Gate(
        "(positive_n, act_n, negative_n, act, y);\n"
        "  input positive_n, act_n, negative_n, act;\n"
        "  output y;\n"
        "  assign y = ~((positive_n | act_n) & (negative_n | act));\n"
    ),
    # A register that synthesis does not merge with others that hold the same.
    "register": Gate(
        "(clk, rst, d, q);\n"
        "  input clk, rst, d;\n"
        "  output reg q = 1'b0;\n"
        "  always @(posedge clk) q <= d & ~rst;\n"
    ),
}


def modules(config: ArrayConfig, *, prefix: str) -> Modules:
    """The gates of a PE by name; none where its technology is another one."""
    gates = GATES if config.technology == Technology.ASIC else {}
    return {f"{prefix}_{name}": gate for name, gate in gates.items()}


def own_register(m: Module, prefix: str, value: Value, *, name: str) -> Signal:
    """A register that synthesis does not merge with others that hold the same; reset to 0."""
    register = Signal(len(value), name=name)
    for bit, (before, after) in enumerate(zip(value, register, strict=True)):
        m.submodules[f"own_{name}_{bit}"] = Instance(
            f"{prefix}_register",
            i_clk=ClockSignal(),
            i_rst=ResetSignal(),
            i_d=before,
            o_q=after,
        )
    return register


class Gates:
    """A maker of instances of `GATES` in a module."""

    def __init__(self, m: Module, prefix: str):
        self._m = m
        self._prefix = prefix
        self._count = 0

    def full(self, a: Value, b: Value, carry: Value) -> tuple[Signal, Signal]:
        """A full adder's (sum, carry), both inverted."""
        made = Signal(name=f"sn_{self._count}"), Signal(name=f"con_{self._count}")
        self._make("full_adder", i_a=a, i_b=b, i_ci=carry, o_sn=made[0], o_con=made[1])
        return made

    def select(self, act: Value, positive: Value, negative: Value, out: Signal) -> None:
        """Drive `out` with the act's bit, its complement, or 0."""
        told = {"i_positive_n": ~positive, "i_act_n": ~act, "i_negative_n": ~negative}
        self._make("select", **told, i_act=act, o_y=out)

    def _make(self, gate: str, **ports):
        self._m.submodules[f"{gate}_{self._count}"] = Instance(f"{self._prefix}_{gate}", **ports)
        self._count += 1

    def accumulate(
        self,
        _name: str,
        accumulated: Value,
        addend: Sequence[Value],
        *,
        clear: Value,
        carry: Value,
        carried: bool,
    ) -> Value:
        """Bits of a sum, with its carry behind them where `carried`.

        `clear` makes `accumulated` 0. The arguments are those of `ecp5.accumulate`.
        """
        bits = list(self.ripple([bit & ~clear for bit in accumulated], addend, carry))
        return Cat(*(bits if carried else bits[:-1]))

    def ripple(self, a: Sequence[Value], b: Sequence[Value], carry: Value) -> Iterator[Value]:
        """The bits of a sum, then its carry; every other place adds complements."""
        for index, (x, y) in enumerate(zip(a, b, strict=True)):
            if index % 2:
                total, carry = self.full(~x, ~y, carry)
                yield total
            else:
                total, carry = self.full(x, y, carry)
                yield ~total
        yield carry if len(a) % 2 == 0 else ~carry


def dot_product(m: Module, config: ArrayConfig, gates: Gates, *, acts: Value, trits: Value):
    """The product of `lanes` acts and trits: (sum, carry still to be added).

    Trits are pairs of bits, as `one_hot` makes them.
    """
    plan = heap.schedule(config.lanes, config.act_bits, config.carries_per_stage)
    values: list[Value] = []
    for index, bit in enumerate(plan.bits):
        signal = Signal(name=f"bit_{index}")
        values.append(signal)
        if bit.lane < 0:
            continue
        positive, negative = trits.word_select(bit.lane, 2)
        if bit.index < 0:
            # This bit completes a negation.
            m.d.comb += signal.eq(~negative)
            continue
        act = acts.word_select(bit.lane, config.act_bits)[bit.index]
        gates.select(act, positive, negative, signal)
    for step in plan.steps:
        inputs = [values[index] for index in step.inputs]
        outputs = [values[index] for index in step.outputs]
        if step.kind == "register":
            held = Signal(name=f"held_{step.outputs[0]}")
            m.d.sync += held.eq(inputs[0])
            m.d.comb += outputs[0].eq(~held)
        elif step.kind == "inverter":
            m.d.comb += outputs[0].eq(~inputs[0])
        else:
            if step.kind == "half":
                # A missing complement is a one, the complement of zero.
                inputs.append(Const(plan.bits[step.inputs[0]].inverted, 1))
            made = gates.full(*inputs)
            m.d.comb += [out.eq(value) for out, value in zip(outputs, made, strict=False)]
    total = [~values[index] if plan.bits[index].inverted else values[index] for index in plan.total]
    carry = trits[1]
    for stage in range(plan.stages):
        held = Signal(name=f"carry_{stage}")
        m.d.sync += held.eq(carry)
        carry = held
    # Inverting the top bit subtracts what complementing the sign bits added.
    return Cat(*total[:-1], ~total[-1]), carry
