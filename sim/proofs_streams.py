"""What is proved of streams: beats hold until they are taken, and leave as they came, in order."""

from __future__ import annotations

from collections.abc import Callable

from amaranth.asserts import AnyConst
from amaranth.hdl import Assert, Assume, Cat, Module, Mux, Signal, Value

from arch.config import ArrayConfig
from hw.verilog import generate_core

from .formal import Design, Statements


def holds(
    m: Module, name: str, valid: Value, ready: Value, *payload: Value, rule: Callable = Assert
) -> None:
    """AXI's rule: valid stays until ready, and the payload with it."""
    payload = Cat(*payload)
    stalled = Signal(name=f"{name}_stalled")
    before = Signal(len(payload), name=f"{name}_before")
    m.d.sync += [stalled.eq(valid & ~ready), before.eq(payload)]
    m.d.comb += rule(~stalled | (valid & (payload == before)), f"{name} holds")


class Tracked:
    """One word of a queue, whichever: the one that comes in after so many others.

    Parameters
    ----------
    entering, leaving : Value
        Whether a word comes in, and out, in this cycle.
    word : Value
        That comes in.
    depth : int
        Words in the queue, at most.

    Attributes
    ----------
    word : Signal
        That was taken down.
    inside : Signal
        It is in the queue.
    ahead : Value
        Words in front of it.
    level : Value
        Words in the queue.
    """

    def __init__(self, m: Module, *, entering: Value, leaving: Value, word: Value, depth: int):
        # Of a number only these bits matter: fewer are under way than they count.
        bits = depth.bit_length() + 1
        which, came, left = Signal(bits), Signal(bits), Signal(bits)
        self.word = Signal(len(word))
        self.inside = Signal()
        self.ahead, self.level = (which - left)[:bits], (came - left)[:bits]
        m.d.comb += which.eq(AnyConst(bits))
        m.d.sync += [came.eq(came + entering), left.eq(left + leaving)]
        with m.If(leaving & (left == which)):
            m.d.sync += self.inside.eq(0)
        with m.If(entering & (came == which)):
            m.d.sync += [self.inside.eq(1), self.word.eq(word)]
        m.d.comb += Assert(self.level <= depth, "no more than there is room for")
        m.d.comb += Assert(~self.inside | (self.ahead < self.level), "inside")


def core(config: ArrayConfig) -> Design:
    """The core's own logic, its parts free."""
    rtl = generate_core(config, name="dut")
    parts = ("registers", "sequencer", "unpacker", "array")
    count = f"popcount_{config.cols * config.lanes}"
    return Design(
        verilog=rtl.verilog,
        top=rtl.top,
        free=tuple(f"{rtl.top}_{part}" for part in (*parts, count)),
        seen={
            "array_psums_data": config.psums_bits,
            "array_psums_valid": 1,
            "array_psums_ready": 1,
            "last_of_run": 1,
            "front": config.psums_bits + 1,
            "back": config.psums_bits + 1,
            "back_valid": 1,
            "inner_rst": 1,
        },
    )


def psums(config: ArrayConfig) -> Statements:
    """The output register pair: psums leave in order, once each, and hold."""

    def statements(m: Module, s: dict[str, Signal]) -> None:
        valid, ready = s["m_axis_psums_tvalid"], s["m_axis_psums_tready"]
        # A soft reset drops what there is, and says so in docs/registers.md.
        m.d.comb += Assume(~s["inner_rst"])
        sent = s["m_axis_psums_tdata"]
        holds(m, "psums", valid, ready, sent, s["m_axis_psums_tlast"])
        words = Cat(s["array_psums_data"], s["last_of_run"])
        entering = s["array_psums_valid"] & s["array_psums_ready"]
        queue = Tracked(m, entering=entering, leaving=valid & ready, word=words, depth=2)
        place = Mux(queue.ahead == 0, s["front"], s["back"])
        expected = [word.as_signed() for word in cut(queue.word[:-1], config.cols)]
        arrived = [word.as_signed() for word in cut(sent, config.cols)]
        same = Cat(a == b for a, b in zip(expected, arrived, strict=True)).all()
        m.d.comb += [
            Assert(queue.level == valid + s["back_valid"], "as many as the registers hold"),
            Assert(valid | ~s["back_valid"], "the front one first"),
            Assert(~queue.inside | (place == queue.word), "place"),
            Assert(~(queue.inside & (queue.ahead == 0)) | (valid & same), "as it came"),
        ]

    return statements


def cut(value: Value, count: int) -> list[Value]:
    """So many words of equal width, low bits first."""
    width = len(value) // count
    return [value[i * width : (i + 1) * width] for i in range(count)]
