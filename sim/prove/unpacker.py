"""What is proved of the unpacker: every byte's trits are those of `arch.ternary`, in order."""

from __future__ import annotations

from amaranth.hdl import Array, Assert, Assume, Cat, Const, Module, Mux, Signal, Value

from tritloom.arch.config import ArrayConfig
from tritloom.arch.layout import BEATS, beat_bytes
from tritloom.arch.ternary import TRIT2, TRIT5, to_codes
from tritloom.hw.core import unpacker
from tritloom.hw.emit import emit

from .formal import ProvedDesign, Statements
from .streams import cut, holds

TOP = "dut"
BITS = 2 * unpacker.SLICES


def decoder(_config: ArrayConfig) -> ProvedDesign:
    """The decoder of a byte."""
    verilog, _ = emit({TOP: unpacker.ByteDecoder()}, top=TOP)
    return ProvedDesign(verilog=verilog, top=TOP)


def table(packing: Value, byte: Value) -> tuple[Value, Value]:
    """(trit codes, illegal) of a byte, out of `arch.ternary`."""
    codes = [
        sum(code << 2 * index for index, code in enumerate(to_codes(trits).tolist()))
        for known in (TRIT2, TRIT5)
        for trits in known.table
    ]
    illegal = [int(not legal) for known in (TRIT2, TRIT5) for legal in known.legal]
    found = Array(
        Const(code | wrong << BITS, BITS + 1) for code, wrong in zip(codes, illegal, strict=True)
    )[Cat(byte, packing)]
    return found[:BITS], found[BITS]


def bytes_are_the_table(_config: ArrayConfig) -> Statements:
    """All 256 bytes of either packing."""

    def statements(m: Module, s: dict[str, Signal]) -> None:
        trits, illegal = table(s["packing"], s["data"])
        m.d.comb += [
            Assert(s["trits"] == Mux(s["blank"], 0, trits), "trits"),
            Assert(s["blank"] | (s["illegal"] == illegal), "illegal"),
        ]

    return statements


def design(config: ArrayConfig) -> ProvedDesign:
    """An unpacker whose beats are one byte."""
    positions = config.cols * config.lanes
    top = f"{TOP}_unpacker"
    verilog, _ = emit(unpacker.modules(positions, prefix=TOP), top=top)
    seen = {"slot": 2, "left": unpacker.SLICES, "ended": 1, "filling": 1, "dropping": 1}
    seen |= {"lacking": 1} | {f"lanes.staged_{slot}": BITS for slot in range(BEATS - 1)}
    seen |= {f"lanes.behind_{slot}": BITS - 2 for slot in range(BEATS)}
    assert beat_bytes(positions) == 1
    return ProvedDesign(verilog=verilog, top=top, seen=seen)


def stream(config: ArrayConfig) -> Statements:
    """Where both sides agree on the ends of passes, each slice comes out once, in order.

    What is expected follows from what crosses the ports: the trits of four bytes, slice by slice.
    """
    positions = config.cols * config.lanes

    def statements(m: Module, s: dict[str, Signal]) -> None:
        accepted = s["weights_valid"] & s["weights_ready"]
        taken = s["trits_valid"] & s["trits_ready"]
        slot = Signal(range(BEATS), name="expected_slot")
        staged = [Signal(BITS, name=f"expected_{number}") for number in range(BEATS - 1)]
        group = [Signal(BITS, name=f"group_{number}") for number in range(BEATS)]
        active, ended, trit5 = Signal(), Signal(name="group_ended"), Signal()
        offset = Signal(range(unpacker.SLICES))
        trits, _ = table(s["packing"], s["weights_data"])
        for number, kept in enumerate(staged):
            with m.If(accepted & (slot == number)):
                m.d.sync += kept.eq(trits)
        packing = Signal(name="packing_of_group")
        with m.If(accepted):
            m.d.sync += [slot.eq(slot + 1), packing.eq(s["packing"])]
        complete = accepted & (slot == BEATS - 1)
        last_slice = offset == Mux(trit5, TRIT5.trits_per_byte, TRIT2.trits_per_byte) - 1
        over = taken & (last_slice | s["trits_last"])
        with m.If(complete):
            m.d.sync += [
                active.eq(1),
                offset.eq(0),
                trit5.eq(s["packing"]),
                ended.eq(s["weights_last"]),
                *(kept.eq(new) for kept, new in zip(group, (*staged, trits), strict=True)),
            ]
        with m.Elif(taken):
            m.d.sync += [offset.eq(offset + 1), active.eq(~over)]
        whole = Mux(trit5, (1 << TRIT5.trits_per_byte) - 1, (1 << TRIT2.trits_per_byte) - 1)
        m.d.comb += [
            # A group has one packing, and a pass ends with a group on either side.
            Assume((slot == 0) | (s["packing"] == packing)),
            Assume(~(s["weights_valid"] & s["weights_last"]) | (slot == BEATS - 1)),
            Assume(~s["trits_last"] | ended),
            Assume(~(ended & last_slice) | s["trits_last"]),
            Assert(s["slot"] == slot, "slot"),
            Assert(~active | (s["ended"] == ended), "ended"),
            Assert(~(s["filling"] | s["dropping"] | (active & s["lacking"])), "no damage"),
            Assert(s["left"] == Mux(active, whole >> offset, 0), "left"),
            Assert(~active | (offset <= Mux(trit5, 4, 3)), "offset"),
            Assert(s["trits_valid"] == active, "a slice is offered"),
            Assert(~complete | ~active | over, "none is overwritten"),
        ]
        for number, kept in enumerate(staged):
            right = s[f"lanes.staged_{number}"] == kept
            m.d.comb += Assert((slot <= number) | right, f"staged {number}")
        offered = cut(s["trits_data"], positions)
        for number, (codes, offer) in enumerate(zip(group, offered, strict=True)):
            now = codes >> (2 * offset)
            behind = s[f"lanes.behind_{number}"] == (now >> 2)[: BITS - 2]
            m.d.comb += Assert(~active | ((offer == now[:2]) & behind), f"trits {number}")
        holds(m, "trits", s["trits_valid"], s["trits_ready"], s["trits_data"])
        m.d.comb += Assert(~(s["early_last"] | s["late_last"]), "no damage is reported")

    return statements
