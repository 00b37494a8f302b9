"""What is proved of streams: beats hold until they are taken, and leave as they came, in order."""

from __future__ import annotations

from collections.abc import Callable

from amaranth.asserts import AnyConst
from amaranth.hdl import Assert, Assume, Cat, Module, Mux, Signal, Value

from tritloom.arch.board import FIFO_BYTES
from tritloom.arch.config import ArrayConfig
from tritloom.hw.board.fifo import Fifo, fifo_ram
from tritloom.hw.emit import emit
from tritloom.hw.verilog import generate_core

from .formal import ProvedDesign, Statements


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
    which, came, left : Signal
        Its number; of the words that came in, and that left. Low bits only.
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
        # These bits tell numbers apart: fewer are under way than they count.
        bits = depth.bit_length() + 1
        self.which, self.came, self.left = (
            Signal(bits, name=name) for name in ("which", "came", "left_")
        )
        which, came, left = self.which, self.came, self.left
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


def core(config: ArrayConfig) -> ProvedDesign:
    """The core's own logic, its parts free."""
    rtl = generate_core(config, name="dut")
    parts = ("registers", "sequencer", "unpacker", "array")
    count = f"popcount_{config.cols * config.lanes}"
    return ProvedDesign(
        verilog=rtl.verilog,
        top=rtl.top,
        free=tuple(f"{rtl.top}_{part}" for part in (*parts, count)),
        seen={
            "array_psums_data": config.psums_bits,
            "array_psums_valid": 1,
            "array_psums_ready": 1,
            "last_of_run": 1,
            "marked": 1,
            "front": config.psums_bits + 2,
            "back": config.psums_bits + 2,
            "back_valid": 1,
            "inner_rst": 1,
        },
    )


def psums(config: ArrayConfig) -> Statements:
    """The output register pair: psums leave in order, once each, and hold."""

    def statements(m: Module, s: dict[str, Signal]) -> None:
        valid, ready = s["m_axis_psums_tvalid"], s["m_axis_psums_tready"]
        # A soft reset drops what there is but for the beat that is offered, see `psums_hold`.
        m.d.comb += Assume(~s["inner_rst"])
        sent = s["m_axis_psums_tdata"]
        words = Cat(s["array_psums_data"], s["marked"], s["last_of_run"])
        entering = s["array_psums_valid"] & s["array_psums_ready"]
        queue = Tracked(m, entering=entering, leaving=valid & ready, word=words, depth=2)
        place = Mux(queue.ahead == 0, s["front"], s["back"])
        expected = [word.as_signed() for word in cut(queue.word[:-2], config.cols)]
        arrived = [word.as_signed() for word in cut(sent, config.cols)]
        same = Cat(a == b for a, b in zip(expected, arrived, strict=True)).all()
        same &= s["m_axis_psums_tlast"] == queue.word[-2]
        m.d.comb += [
            Assert(queue.level == valid + s["back_valid"], "as many as the registers hold"),
            Assert(valid | ~s["back_valid"], "the front one first"),
            Assert(~queue.inside | (place == queue.word), "place"),
            Assert(~(queue.inside & (queue.ahead == 0)) | (valid & same), "as it came"),
        ]

    return statements


def psums_hold(_config: ArrayConfig) -> Statements:
    """A psum that is offered stays as it is until it is taken, whatever soft resets come."""

    def statements(m: Module, s: dict[str, Signal]) -> None:
        port = "m_axis_psums_t"
        valid, ready = s[f"{port}valid"], s[f"{port}ready"]
        holds(m, "psums", valid, ready, s[f"{port}data"], s[f"{port}last"])

    return statements


def cut(value: Value, count: int) -> list[Value]:
    """Words of equal width, `count` of them, low bits first."""
    width = len(value) // count
    return [value[i * width : (i + 1) * width] for i in range(count)]


def fifo(_config: ArrayConfig) -> ProvedDesign:
    """The FIFO of a board; its memory is what `bytes_in_order` says."""
    top = "dut_fifo"
    verilog, _ = emit({"dut_fifo_ram": fifo_ram, top: Fifo(prefix="dut")}, top=top)
    bits = (FIFO_BYTES - 1).bit_length()
    seen = {"write": bits, "read": bits, "words": bits}
    seen |= {"ram.write_enable": 1, "ram.write_address": bits, "ram.write_data": fifo_ram.width}
    seen |= {"ram.read_enable": 1, "ram.read_address": bits}
    return ProvedDesign(verilog=verilog, top=top, seen=seen, free=("dut_fifo_ram",))


def bytes_in_order(_config: ArrayConfig) -> Statements:
    """Bytes leave as they came, once each, and hold."""

    def statements(m: Module, s: dict[str, Signal]) -> None:
        valid, ready = s["out_valid"], s["out_ready"]
        offered = Cat(s["out_data"], s["out_last"])
        stored = Cat(s["in_data"], s["in_last"])
        # `room` keeps a place free, and the loader minds it.
        m.d.comb += Assume(~s["in_valid"] | (s["words"] < FIFO_BYTES - 1))
        tracked = Tracked(
            m, entering=s["in_valid"], leaving=valid & ready, word=stored, depth=FIFO_BYTES
        )
        bits = len(s["read"])
        place = tracked.which[:bits]
        # The memory's contract, for the place of that byte, whichever it is: a word read comes a
        # cycle later and stays; one that is being written may be either.
        word = Signal(len(stored))
        fetched, either, kept = (Signal(name=name) for name in ("fetched", "either", "kept"))
        expected, before = (
            Signal(len(stored), name=name) for name in ("expected", "offered_before")
        )
        writes = s["ram.write_enable"] & (s["ram.write_address"] == place)
        with m.If(writes):
            m.d.sync += word.eq(s["ram.write_data"])
        m.d.sync += [
            kept.eq(~s["ram.read_enable"]),
            before.eq(offered),
            fetched.eq(s["ram.read_enable"] & (s["ram.read_address"] == place)),
            either.eq(writes),
            expected.eq(word),
        ]
        m.d.comb += [
            Assume(~kept | (offered == before)),
            Assume(~fetched | either | (offered == expected)),
        ]
        holds(m, "bytes", valid, ready, offered)
        in_memory = tracked.inside & (tracked.ahead >= valid)
        front = tracked.inside & (tracked.ahead == 0) & valid
        m.d.comb += [
            Assert(s["words"] == (tracked.level - valid)[:bits], "words"),
            Assert(tracked.level >= valid, "level"),
            Assert(s["level"] == tracked.level, "as it tells"),
            Assert(s["write"] == tracked.came[:bits], "write"),
            Assert(s["read"] == (tracked.left + valid)[:bits], "read"),
            Assert(~in_memory | (word == tracked.word), "stored"),
            Assert(~front | (offered == tracked.word), "as it came"),
        ]

    return statements
