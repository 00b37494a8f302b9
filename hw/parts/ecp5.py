"""The processing element's adders in carry cells of Lattice ECP5.

A CCU2C is two LUTs of four inputs on a carry chain. Synthesis spends two inputs on the operands
of an adder. Here each adder of a chain takes the sum so far, and an act with its trit: a LUT
selects, negates and adds in one, so a lane costs the bits of its adder and nothing more.

A zero trit is code 00. The lower four bits of a CCU2C's INIT, which are its LUT while C and D are
0, decide the carry where the LUT's output is 0: a cell that then adds nothing may say "carry where
A is set", whatever it adds otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from amaranth.hdl import (
    ClockSignal,
    Const,
    Instance,
    Module,
    ResetSignal,
    Signal,
    Value,
)

from tritloom.arch.config import ArrayConfig

# Inputs A, B, C and D of one LUT.
Inputs = tuple[Value, Value, Value, Value]

ZERO = Const(0, 1)
ONE = Const(1, 1)


def lut(function: Callable[[bool, bool, bool, bool], bool]) -> int:
    """INIT of a LUT4: bit 8 D + 4 C + 2 B + A holds `function` of (A, B, C, D)."""
    inputs = ((bool(i & 1), bool(i & 2), bool(i & 4), bool(i & 8)) for i in range(16))
    return sum(bool(function(*bits)) << i for i, bits in enumerate(inputs))


def selected(act: bool, negative: bool, nonzero: bool) -> bool:
    """A lane's operand bit, made of its act's bit and its trit.

    A carry of one completes the negation. So an illegal code, negative and zero, adds nothing.
    """
    return (act and nonzero) != negative


# LUTs of half a carry cell. A plus a lane's operand bit: B is the act, C and D are the trit.
SELECT = lut(lambda a, b, c, d: a != selected(b, c, d))
# A plus B; D is 1.
ADD = lut(lambda a, b, c, d: a != (b and d))
# A is the accumulator, which C clears, plus B; D is 1. Where A and B agree, either is the carry; it
# is B, which is there when A is cleared, too.
ACCUMULATE = lut(lambda a, b, c, d: (a and not c and d) != b)


def carry_chain(
    m: Module, name: str, halves: Sequence[tuple[int, Inputs]], *, carry: Value, spare=None
) -> Signal:
    """Sum bits of halves of carry cells, (INIT, inputs) each, least significant first.

    Parameters
    ----------
    carry : Value
        Into the first half.
    spare : list of (int, Inputs, Signal), optional
        LUTs with a place for their output. Where the number of halves is odd, the last cell has a
        half to spare, and one is taken from here.
    """
    total = Signal(len(halves), name=name)
    ports = [(init, inputs, out, "NO") for (init, inputs), out in zip(halves, total, strict=True)]
    if len(ports) % 2:
        # The carry does not reach the last half.
        init, inputs, out = spare.pop(0) if spare else (0, (ZERO,) * 4, Signal(name=f"{name}_none"))
        ports.append((init, inputs, out, "YES"))
    for index in range(0, len(ports), 2):
        connections: dict[str, Any] = {}
        for half, (init, inputs, out, inject) in enumerate(ports[index : index + 2]):
            connections |= {f"i_{pin}{half}": bit for pin, bit in zip("ABCD", inputs, strict=True)}
            connections |= {
                f"o_S{half}": out,
                f"p_INIT{half}": Const(init, 16),
                f"p_INJECT1_{half}": inject,
            }
        carry_out = Signal(name=f"{name}_carry_{index}")
        if index + 2 < len(ports):
            # The last cell has no carry out: the sum has all its bits.
            connections["o_COUT"] = carry_out
        m.submodules[f"{name}_{index}"] = Instance("CCU2C", i_CIN=carry, **connections)
        carry = carry_out
    return total


def own_register(m: Module, value: Value, *, name: str) -> Signal:
    """A register that synthesis does not merge with others that hold the same; reset to 0."""
    register = Signal(len(value), name=name)
    for bit, (before, after) in enumerate(zip(value, register, strict=True)):
        m.submodules[f"own_{name}_{bit}"] = Instance(
            "TRELLIS_FF",
            p_GSR="DISABLED",
            p_CEMUX="1",
            p_REGSET="RESET",
            i_CLK=ClockSignal(),
            i_LSR=ResetSignal(),
            i_CE=ONE,
            i_DI=before,
            o_Q=after,
        )
    return register


def bit_of(value: Value, index: int) -> Value:
    """A bit of a signed number, or its sign where the number is shorter."""
    return value[min(index, len(value) - 1)]


def add_selected(m, name, total: Value, act: Value, trit: Value, *, width: int, spare) -> Signal:
    """The sum of a total and a lane's product, in `width` bits."""
    negative = trit[1]
    halves = [
        (SELECT, (bit_of(total, index), bit_of(act, index), negative, trit[0]))
        for index in range(width)
    ]
    return carry_chain(m, name, halves, carry=negative, spare=spare)


def add(m, name, a: Value, b: Value, carry: Value, *, width: int) -> Signal:
    """The sum of two numbers and a carry, in `width` bits."""
    halves = [(ADD, (bit_of(a, i), bit_of(b, i), ZERO, ONE)) for i in range(width)]
    return carry_chain(m, name, halves, carry=carry)


def dot_product(m: Module, config: ArrayConfig, *, acts: Value, trits: Value):
    """The product of `lanes` acts and trits: (sum, carry still to be added).

    Acts and trits of each of `config.lane_groups` come a cycle after those of the one before.
    """

    def register(node, name):
        registers = [
            Signal.like(value, name=f"{name}_{kind}")
            for value, kind in zip(node, ("sum", "carry"), strict=True)
        ]
        m.d.sync += [after.eq(value) for after, value in zip(registers, node, strict=True)]
        return tuple(registers)

    bits, nodes = config.act_bits, []
    chains = config.lanes // config.chain_lanes
    for first in range(chains):
        node, luts = _first_lane(config, first, acts, trits)
        spare, luts = luts[: config.hosted_selects], luts[config.hosted_selects :]
        if config.select_stages:
            node = register(node, f"selected_{first}")
        for step in range(1, config.chain_lanes):
            lane = first + step * chains
            width = bits + step.bit_length()
            act, trit = acts.word_select(lane, bits), trits.word_select(lane, 2)
            # A chain hosts no select of its own cycle: timing analysis, which follows the carry,
            # would see a loop.
            behind = config.select_stages or step > config.lanes_per_stage
            total = add_selected(
                m,
                f"lane_{lane}",
                *(node[0], act, trit),
                width=width,
                spare=spare if behind else [],
            )
            node = (total, node[1])
            if step % config.lanes_per_stage == 0 or step == config.chain_lanes - 1:
                node = register(node, f"chain_{lane}")
        for init, inputs, out in spare + luts:
            m.submodules += Instance(
                "LUT4",
                p_INIT=Const(init, 16),
                **{f"i_{pin}": bit for pin, bit in zip("ABCD", inputs, strict=True)},
                o_Z=out,
            )
        nodes.append(node)
    level = 0
    while len(nodes) > 1:
        level += 1
        summed = []
        for index, ((a, carry), (b, pending)) in enumerate(
            zip(nodes[::2], nodes[1::2], strict=True)
        ):
            total = add(m, f"added_{level}_{index}", a, b, carry, width=len(a) + 1)
            node = (total, pending)
            if level % config.levels_per_stage == 0 or len(nodes) == 2:
                node = register(node, f"tree_{level}_{index}")
            summed.append(node)
        nodes = summed
    return nodes[0]


def _first_lane(config, lane, acts, trits):
    """The lane that a chain starts from: its (operand, carry), and the LUTs of the operand."""
    bits = config.act_bits
    act, trit = acts.word_select(lane, bits), trits.word_select(lane, 2)
    operand = Signal(bits, name=f"operand_{lane}")
    luts = [
        (
            lut(lambda a, b, c, d: selected(a, c, d)),
            (act[index], ZERO, trit[1], trit[0]),
            operand[index],
        )
        for index in range(bits)
    ]
    return (operand, trit[1]), luts


def accumulate(
    m: Module,
    name: str,
    accumulated: Value,
    addend: Sequence[Value],
    *,
    clear: Value,
    carry: Value,
    carried: bool,
) -> Value:
    """Bits of a sum, with its carry behind them where `carried`.

    `clear` makes `accumulated` 0.
    """
    halves = [
        (ACCUMULATE, (bit, other, clear, ONE))
        for bit, other in zip(accumulated, addend, strict=True)
    ]
    if carried:
        halves.append((ACCUMULATE, (ZERO,) * 4))
    return carry_chain(m, name, halves, carry=carry)


# Block RAM (DP16KD): bits of a word -> lowest address pins that do not count words.
_BLOCK_WIDTHS = {36: 5, 18: 4, 9: 3, 4: 2, 2: 1, 1: 0}
_BLOCK_ADDRESS_BITS = 14


def block_ram(*, width: int, depth: int) -> str:
    """Body of a registered memory of `hw.parts.ram`; empty where a block RAM is too shallow.

    Block RAMs stand side by side, each as wide as the depth allows. Port A writes, and port B reads
    through the register at its output, with which a read takes half as long. A word of 36 bits has
    the data pins of both ports; its low bits are A's.
    """
    address_bits = max(1, (depth - 1).bit_length())
    fitting = [
        (bits, below)
        for bits, below in _BLOCK_WIDTHS.items()
        if depth <= 1 << (_BLOCK_ADDRESS_BITS - below)
    ]
    if not fitting:
        return ""
    bits, below = fitting[0]
    blocks = -(-width // bits)
    pins = {f"{pin}{port}": "1'b0" for pin in ("WE", "RST", "OCE") for port in "AB"}
    pins |= {f"CS{port}{index}": "1'b0" for port in "AB" for index in range(3)}
    pins |= {"CLKA": "clk", "CLKB": "clk", "CEA": "1'b1"}
    pins |= {"WEA": "write_enable" if bits < 36 else "1'b1"}
    pins |= {"CEB": "read_enable", "OCEB": "output_enable"}
    for port, address in (("A", "write_address"), ("B", "read_address")):
        for index in range(_BLOCK_ADDRESS_BITS):
            number = index - below
            # The lowest pins of a wide write enable its bytes.
            byte = port == "A" and index < {36: 4, 18: 2}.get(bits, 0)
            used = 0 <= number < address_bits
            pins[f"AD{port}{index}"] = (
                f"{address}[{number}]" if used else "write_enable" if byte else "1'b0"
            )
    # A word of 36 bits has one half on the pins of each port.
    inputs = "AB" if bits == 36 else "A"
    outputs = "AB" if bits == 36 else "B"
    for port in "AB":
        for index in range(18):
            pins[f"DI{port}{index}"] = "1'b0"
    for index in range(bits):
        half, pin = divmod(index, 18)
        pins[f"DI{inputs[half]}{pin}"] = f"in[{bits} * block + {index}]"
        pins[f"DO{outputs[half]}{pin}"] = f"out[{bits} * block + {index}]"
    connections = ",\n".join(f"        .{pin}({value})" for pin, value in pins.items())
    whole = f"[{blocks * bits - 1}:0]"
    spare = blocks * bits - width
    padded = f"{{{spare}'d0, write_data}}" if spare else "write_data"
    # Lint does not ask for a use of a wire of this name.
    unused = f"  wire unused = &out[{blocks * bits - 1}:{width}];\n" if spare else ""
    return f"""\
  wire {whole} in = {padded};
  wire {whole} out;
  genvar block;
  generate
    for (block = 0; block < {blocks}; block = block + 1) begin : blocks
      DP16KD #(
        .DATA_WIDTH_A({bits}),
        .DATA_WIDTH_B({bits}),
        .REGMODE_B("OUTREG"),
        .GSR("AUTO")
      ) ram (
{connections}
      );
    end
  endgenerate
  assign read_data = out[{width - 1}:0];
{unused}"""
