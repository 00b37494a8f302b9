"""The unpacker: the packed weight stream in, one slice of trits a cycle out.

The stream is laid out as `arch.layout` says: groups of four beats, each byte the trits of one
position for the next 4 or 5 slices. Every beat is decoded as it is taken. Three beats wait in the
stage; with the fourth the whole group moves on to the active register, which shifts one slice out
a cycle while the next group's beats come in. So trit2 yields a slice every cycle with the stream
ready all the time, trit5 the same with the stream ready 4 cycles of 5. The first slice of a group
is offered the cycle after its fourth beat was taken.

Passes. The consumer knows how many slices it needs; it marks a pass's last one with `trits_last`,
and what its group holds beyond is discarded. The stream marks the same end with `weights_last` on
the fourth beat of that group. What lies between two marks on the stream is one pass, also where
they disagree:

- The stream ends early: what is missing, in the group and after it, is zero trits, offered without
  waiting for the stream. The next beat is the first of the next pass.
- The stream ends late: beats are dropped, those already staged too, up to and with the one that
  carries `weights_last`.

Both are reported once a pass, in the cycle after its last slice was taken.

`packing` is read with each beat and may change from one pass's last beat to the next pass's first.
"""

from __future__ import annotations

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tritloom.arch.layout import BEATS, beat_bytes
from tritloom.arch.ternary import TRIT2, TRIT5
from tritloom.hw.parts.popcount import halves
from tritloom.hw.parts.ports import Modules, Ports, members

# Slices of a group, at most; trit2 leaves the last one zero.
SLICES = TRIT5.trits_per_byte

# Ports of the unpacker: name -> (direction, width for a number of positions, description).
PORTS = {
    "start": (In, lambda p: 1, "strobe, the next beat is number 0; no beat is offered this cycle"),
    "packing": (In, lambda p: 1, "packing of the beat offered, 0 trit2, 1 trit5"),
    "weights_data": (
        In,
        lambda p: 8 * beat_bytes(p),
        "packed byte [position], first position in the low bits",
    ),
    "weights_last": (In, lambda p: 1, "high with the last beat of weights of a pass"),
    "weights_valid": (In, lambda p: 1, "high while the stream offers a beat of weights"),
    "weights_ready": (Out, lambda p: 1, "high when the unpacker takes the beat this cycle"),
    "trits_data": (Out, lambda p: 2 * p, "trit code [position], 00 zero 01 +1 11 -1"),
    "trits_valid": (Out, lambda p: 1, "high while the unpacker offers a slice"),
    "trits_ready": (In, lambda p: 1, "high when the consumer takes the slice this cycle"),
    "trits_last": (In, lambda p: 1, "high when the slice taken is the last of a pass"),
    "illegal": (Out, lambda p: 1, "strobe, the beat taken two cycles ago held an illegal byte"),
    "illegal_beat": (Out, lambda p: 32, "number since start of the beat that illegal reports"),
    "early_last": (Out, lambda p: 1, "strobe, the pass that ended a cycle ago lacked beats"),
    "late_last": (Out, lambda p: 1, "strobe, the pass that ended a cycle ago had too many beats"),
}


def ports(positions: int) -> Ports:
    """Ports of the unpacker: name -> (direction, width, description)."""
    return {name: (flow, width(positions), what) for name, (flow, width, what) in PORTS.items()}


# Ports of the byte decoder: name -> (direction, width, description).
DECODER_PORTS = {
    "packing": (In, 1, "packing of the byte, 0 trit2, 1 trit5"),
    "data": (In, 8, "one byte of packed trits"),
    "blank": (In, 1, "high to give zero trits; illegal has no meaning then"),
    "trits": (Out, 2 * SLICES, "trit code [slice]; trit2 leaves the last one zero"),
    "illegal": (Out, 1, "high where the byte is illegal"),
}


class ByteDecoder(wiring.Component):
    """One byte to its trits, combinational; an illegal byte gives zero trits.

    Its members are those of `DECODER_PORTS`.
    """

    def __init__(self):
        super().__init__(members(DECODER_PORTS))

    def elaborate(self, platform):
        # The fields are trit5's, see arch/ternary.py. What trit2 would make of an illegal byte is
        # free, as its trits are zero, which saves much logic on `packing`.
        m = Module()
        trit5 = self.packing
        first, low, bits, high = (self.data[index : index + 2] for index in (0, 2, 4, 6))
        high_bit, low_bit = bits
        escape, nothing, low_zero, high_zero, high_sign = _signals(
            "escape", "nothing", "low_zero", "high_zero", "high_sign"
        )
        moved = Signal(2)
        wrong_low, wrong_high = _wrong(first) | _wrong(low), _wrong(bits) | _wrong(high)
        m.d.comb += [
            escape.eq(trit5 & _wrong(first)),
            nothing.eq(self.blank | (~trit5 & (wrong_low | wrong_high))),
            # Of the two conditions that come with an escape, the first is the layout. The second
            # says that all four are zero, or that the byte is illegal.
            low_zero.eq(nothing | (escape & (~high_bit | _wrong(high)))),
            high_zero.eq(nothing | (escape & (high_bit | _wrong(low)))),
            # In trit5, `high` holds a wrong t0, or all four are zero and bit 5 is set.
            self.illegal.eq(high_zero & (wrong_high | ~trit5)),
            # Where the low pair is zero, bit 4 is clear, and the high pair's bit is bit 5.
            high_sign.eq((trit5 & high_bit) | (escape & low_bit)),
            # t0 where there is an escape: `low`; `high` where bit 4 is set, or `low` is 10.
            moved.eq(
                Mux(
                    high_bit,
                    high,
                    Cat(low[0] | (low[1] & high[0] & ~low_bit), low[1] & (low[0] | high[1])),
                )
            ),
        ]
        nonzero = [Signal(name=f"nonzero_{index}") for index in range(SLICES)]
        m.d.comb += [
            nonzero[0].eq((first[0] | (escape & moved[0])) & ~nothing),
            nonzero[1].eq((low[0] | low[1]) & ~low_zero),
            nonzero[2].eq((high_bit | trit5) & ~_wrong(low) & ~low_zero),
            nonzero[3].eq((high[0] | high[1]) & ~high_zero),
            nonzero[4].eq(trit5 & ~_wrong(high) & ~high_zero),
        ]
        negative = [
            nonzero[0] & first[1] & (first[0] | moved[1]),
            low[1] & (low[0] | low_bit) & ~low_zero,
            nonzero[2] & low_bit,
            high[1] & (high[0] | high_sign) & ~high_zero,
            nonzero[4] & high_sign,
        ]
        m.d.comb += self.trits.eq(Cat(zip(nonzero, negative, strict=True)))
        return m


def _wrong(code):
    """Whether a trit code is the illegal one."""
    return code[1] & ~code[0]


def lane_ports(count: int) -> Ports:
    """Ports of `count` byte lanes; those one bit wide are common to all lanes."""
    return {
        "packing": (In, 1, "packing of the bytes, 0 trit2, 1 trit5"),
        "data": (In, 8 * count, "packed byte [lane], first lane in the low bits"),
        "blank": (In, 1, "high to take zero trits in place of the bytes"),
        "stage": (In, BEATS - 1, "high per beat of a group, first to third, to stage the bytes"),
        "move": (In, 1, "high to go on to the next slice of the active group"),
        "load": (In, 1, "with move, high to make the group active whose fourth beat is offered"),
        **{
            f"trits_{slot}": (Out, 2 * count, f"trit code [lane] of the slice, from beat {slot}")
            for slot in range(BEATS)
        },
        "illegal": (Out, count, "high per lane where the byte offered is illegal"),
    }


class ByteLane(wiring.Component):
    """One byte of every beat: its decoder, and stage and active register of its four positions.

    Its members are those of `lane_ports`. No register needs a reset: the unpacker's control knows
    what is valid.
    """

    reset_less = True

    def __init__(self, *, prefix: str):
        self.prefix = prefix
        super().__init__(members(lane_ports(1)))

    def elaborate(self, platform):
        m = Module()
        decoded = Signal(2 * SLICES)
        m.submodules.decoder = Instance(
            f"{self.prefix}_byte_decoder",
            i_packing=self.packing,
            i_data=self.data,
            i_blank=self.blank,
            o_trits=decoded,
            o_illegal=self.illegal,
        )
        for slot in range(BEATS):
            staged = decoded
            if slot < BEATS - 1:
                staged = Signal(2 * SLICES, name=f"staged_{slot}", reset_less=True)
                with m.If(self.stage[slot]):
                    m.d.sync += staged.eq(decoded)
            # The active register: the slice that is offered, and those behind it.
            behind = Signal(2 * SLICES - 2, name=f"behind_{slot}", reset_less=True)
            with m.If(self.move):
                m.d.sync += Cat(getattr(self, f"trits_{slot}"), behind).eq(
                    Mux(self.load, staged, behind)
                )
        return m


def lanes_name(prefix: str, count: int) -> str:
    """Module name of `count` byte lanes side by side."""
    return f"{prefix}_byte_lanes_{count}" if count > 1 else f"{prefix}_byte_lane"


class ByteLanes(wiring.Component):
    """At least two byte lanes side by side: two halves, which are instances (see hw/array/row.py).

    Its members are those of `lane_ports`.
    """

    reset_less = True

    def __init__(self, *, count: int, prefix: str):
        self.count = count
        self.prefix = prefix
        super().__init__(members(lane_ports(count)))

    def elaborate(self, platform):
        m = Module()
        start = 0
        for half, count in zip(("low", "high"), halves(self.count), strict=True):
            end = start + count
            m.submodules[half] = Instance(
                lanes_name(self.prefix, count),
                i_clk=ClockSignal(),
                i_packing=self.packing,
                i_data=self.data[8 * start : 8 * end],
                i_blank=self.blank,
                i_stage=self.stage,
                i_move=self.move,
                i_load=self.load,
                o_illegal=self.illegal[start:end],
                **{
                    f"o_trits_{slot}": getattr(self, f"trits_{slot}")[2 * start : 2 * end]
                    for slot in range(BEATS)
                },
            )
            start = end
        return m


class Unpacker(wiring.Component):
    """The unpacker for slices of `positions` trits.

    Its members are those of `PORTS`.
    """

    def __init__(self, positions: int, *, prefix: str):
        self.positions = positions
        self.prefix = prefix
        super().__init__(members(ports(positions)))

    def elaborate(self, platform):
        m = Module()
        left = Signal(SLICES)  # a one for each slice of the active group, none while there is none
        # Facts of the active group, set with it:
        ended = Signal(reset_less=True)  # the stream's pass ended with it
        lacking = Signal(reset_less=True)  # and beats were missing
        slot = Signal(range(BEATS))  # of the next beat in its group
        filling = Signal()  # the stream's pass has ended: zero beats complete the group
        dropping = Signal()  # until the end of the stream's pass

        # The consumer's side.
        taken, finished, exhausted, late, leaving, free = _signals(
            "taken", "finished", "exhausted", "late", "leaving", "free"
        )
        m.d.comb += [
            self.trits_valid.eq(left[0]),
            taken.eq(self.trits_valid & self.trits_ready),
            finished.eq(taken & self.trits_last),
            late.eq(finished & ~ended),
            exhausted.eq(taken & ~left[1]),
            # With this slice the active group makes place. Where the stream's pass has ended and
            # the consumer's has not, the group stays: it offers the zeros that were shifted in.
            leaving.eq(self.trits_last | ~(left[1] | ended)),
            free.eq(~left[0] | (taken & leaving)),
        ]
        with m.If(finished):
            m.d.sync += left.eq(0)
        with m.Elif(exhausted & ended):
            m.d.sync += lacking.eq(1)
        with m.Elif(taken):
            m.d.sync += left.eq(left >> 1)
        m.d.sync += [self.early_last.eq(finished & lacking), self.late_last.eq(late)]

        # The stream's side.
        fourth, room, accepted, arriving, push, load, ends = _signals(
            "fourth", "room", "accepted", "arriving", "push", "load", "ends"
        )
        m.d.comb += [
            fourth.eq(slot == BEATS - 1),
            room.eq(~fourth | free),
            self.weights_ready.eq(room & ~filling),
            accepted.eq(self.weights_valid & self.weights_ready),
            arriving.eq(filling | (self.weights_valid & ~dropping)),
            push.eq(arriving & room),
            load.eq(arriving & fourth & free),
            # This counts only where there is room.
            ends.eq(filling | (self.weights_valid & self.weights_last)),
        ]
        with m.If(push):
            m.d.sync += [slot.eq(slot + 1), filling.eq(ends & ~fourth)]
        with m.If(load):
            # Where zero beats complete the group, `packing` may be the next pass's already. It
            # does not matter then: the group lacks beats whatever is left of it.
            m.d.sync += [
                left.eq(Mux(self.packing, *((1 << p.trits_per_byte) - 1 for p in (TRIT5, TRIT2)))),
                ended.eq(ends),
                lacking.eq(filling),
            ]
        with m.If(ends):
            m.d.sync += dropping.eq(0)
        with m.If(late):
            # The bytes staged, and those taken in this cycle, belong to the pass that is over.
            m.d.sync += [left.eq(0), slot.eq(0), filling.eq(0), dropping.eq(~ends)]

        illegal = self._data(
            m,
            # Where the active group makes place, or there is none, the staged bytes move on.
            move=taken | ~left[0],
            load=leaving | ~left[0],
            slot=slot,
            blank=filling,
        )
        self._report(m, accepted=accepted, dropped=dropping, illegal=illegal)
        return m

    def _data(self, m, *, move, load, slot, blank):
        """Add the byte lanes; return whether the beat offered a cycle ago held an illegal byte."""
        width = beat_bytes(self.positions)
        illegal_bytes = Signal(width)
        counted = Signal(width)
        trits = [Signal(2 * width, name=f"trits_{number}") for number in range(BEATS)]
        m.submodules.lanes = Instance(
            lanes_name(self.prefix, width),
            i_clk=ClockSignal(),
            i_packing=self.packing,
            i_data=self.weights_data,
            i_blank=blank,
            # Until the beat is there the stage takes whatever is offered in its place.
            i_stage=Cat(slot == number for number in range(BEATS - 1)),
            i_move=move,
            i_load=load,
            o_illegal=illegal_bytes,
            **{f"o_trits_{number}": signal for number, signal in enumerate(trits)},
        )
        m.d.comb += self.trits_data.eq(Cat(trits))
        with m.Switch(slot):
            for number in range(BEATS):
                with m.Case(number):
                    # Bytes of this beat that belong to a position.
                    real = min(max(self.positions - number * width, 0), width)
                    m.d.comb += counted.eq(Const((1 << real) - 1, width))
        wrong = Signal(width, reset_less=True)
        m.d.sync += wrong.eq(illegal_bytes & counted)
        return wrong.any()

    def _report(self, m, *, accepted, dropped, illegal):
        """Number the beats and report an illegal one, a cycle after it was taken."""
        number = Signal(32, init=-1)  # of the last beat that `came` a cycle ago or before
        came, ignored, starts = _signals("came", "ignored", "starts")
        m.d.sync += [
            came.eq(accepted),
            ignored.eq(dropped),
            starts.eq(self.start),
            self.illegal.eq(came & ~ignored & illegal),
        ]
        with m.If(came):
            m.d.sync += number.eq(number + 1)
        with m.If(starts):
            m.d.sync += number.eq(-1)
        m.d.comb += self.illegal_beat.eq(number)


def _signals(*names):
    return [Signal(name=name) for name in names]


def modules(positions: int, *, prefix: str) -> Modules:
    """Every module of an unpacker by name, the top (`prefix`_unpacker) last."""
    counts = [beat_bytes(positions)]  # grows while it is walked
    for count in counts:
        if count > 1:
            counts += set(halves(count)) - set(counts)
    lanes: Modules = {
        lanes_name(prefix, n): ByteLanes(count=n, prefix=prefix) for n in counts if n > 1
    }
    lanes[lanes_name(prefix, 1)] = ByteLane(prefix=prefix)
    lanes[f"{prefix}_byte_decoder"] = ByteDecoder()
    return lanes | {f"{prefix}_unpacker": Unpacker(positions, prefix=prefix)}
