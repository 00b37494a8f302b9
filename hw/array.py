"""The output-stationary array: rows of PEs, the skew at its edges, the drain, the streams.

    acts -> skew -> row 0 (north)     trits come from the north, skewed by hop
    acts -> skew -> row 1             psums stay in their PE for a whole tile, then go south
             ...                      through the drain registers and leave
    acts -> skew -> row R-1 (south)

Protocol. One beat of `acts` and one of `trits` are taken together: `lanes` input features of every
token, and the trits of the same features for every output feature. `acts_last` ends a tile.
`acts_tokens` is read with it and says how many of its tokens (1 to `rows`) are to be drained.
A cycle without a beat sends a bubble through the array, so what has entered always comes out.
`psums` then offers the tokens one beat each, token 0 first. Token 0 is in the southernmost row,
which is why the skew of acts grows with the distance from it.

Backpressure on `psums` holds the drain, and a cycle later freezes the array as a whole (`advance`
low): so what enables all registers comes from a register. Nothing inside needs a handshake. Streams
are AXI4-Stream: valid never drops, a payload holds until it is taken.

Drain. When the last PE (south-east) has loaded its drain register, psums go south, one row a
cycle. Row p takes from its north until the tile's last token has passed it, so the rows further
north are free for the next tile earlier; that is why tiles may follow each other so closely.
"""

from __future__ import annotations

from amaranth.hdl import (
    Cat,
    ClockSignal,
    Const,
    Instance,
    Module,
    Mux,
    ResetSignal,
    Signal,
    Value,
)
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from arch import timing
from arch.config import ArrayConfig

from .delay import lanes_staggered, staggered
from .row import CONTROL, stack_name

# name -> (direction, width of a config, description): the ports of the array in the order of the
# Verilog module; also the sidecar's table.
PORTS = {
    "acts_data": (In, lambda c: c.acts_bits, "act [token][lane], token 0 lane 0 in the low bits"),
    "acts_last": (In, lambda c: 1, "last beat of a tile"),
    "acts_tokens": (In, lambda c: c.rows.bit_length(), "with last: tokens to drain, 1 to rows"),
    "acts_valid": (In, lambda c: 1, "a beat of acts is offered"),
    "acts_ready": (Out, lambda c: 1, "and taken, together with a beat of trits"),
    "trits_data": (In, lambda c: c.trits_bits, "trit code [feature][lane], 00 zero 01 +1 11 -1"),
    "trits_valid": (In, lambda c: 1, "a beat of trits is offered"),
    "trits_ready": (Out, lambda c: 1, "and taken, together with a beat of acts"),
    "psums_data": (Out, lambda c: c.psums_bits, "psum [feature] of one token, two's complement"),
    "psums_last": (Out, lambda c: 1, "last token of a tile"),
    "psums_valid": (Out, lambda c: 1, "a beat of psums is offered"),
    "psums_ready": (In, lambda c: 1, "and taken; low freezes the array"),
    "illegal": (Out, lambda c: 1, "sticky: a beat held trit code 10, which counted as zero"),
    "perf_beats": (Out, lambda c: 1, "this cycle takes a beat"),
    "perf_wait_acts": (Out, lambda c: 1, "it waits for acts, trits offered"),
    "perf_wait_trits": (Out, lambda c: 1, "it waits for trits, acts offered"),
    "perf_wait_drain": (Out, lambda c: 1, "a last beat waits for the drain"),
    "perf_blocked": (Out, lambda c: 1, "backpressure on psums freezes it"),
}


class Array(wiring.Component):
    """The array with its streams.

    Members
    -------
    As in `PORTS`.
    """

    def __init__(self, config: ArrayConfig, *, prefix: str):
        self.config = config
        self.prefix = prefix
        super().__init__({name: flow(width(config)) for name, (flow, width, _) in PORTS.items()})

    def elaborate(self, platform):
        m = Module()

        # Whether the drain moves, and a cycle later the rest.
        moving = Signal()
        advance = Signal(init=1)
        m.d.comb += moving.eq(~self.psums_valid | self.psums_ready)
        m.d.sync += advance.eq(moving)

        beat = Signal()
        shifts = self._drain(m, moving, advance, beat)
        control, blocked = self._accept(m, advance, beat)
        if self.config.diagnostics:
            self._count(m, advance, beat, blocked)
        self._grid(m, moving, advance, control, shifts=shifts)
        return m

    def _accept(self, m, advance, beat):
        """Take a beat from both streams; control bits of the beat, and whether a last one waits."""
        config = self.config
        # Cycles until a tile's last beat may enter again (timing.drain_gap).
        gap = Signal(range(timing.drain_gap(config, tokens=config.rows)))
        blocked = Signal()
        first = Signal(init=1)
        m.d.comb += [
            blocked.eq(self.acts_last & (gap != 0)),
            self.acts_ready.eq(advance & ~blocked & self.trits_valid),
            self.trits_ready.eq(advance & ~blocked & self.acts_valid),
            beat.eq(self.acts_valid & self.acts_ready),
        ]
        with m.If(advance & (gap != 0)):
            m.d.sync += gap.eq(gap - 1)
        with m.If(beat):
            m.d.sync += first.eq(self.acts_last)
            with m.If(self.acts_last):
                # One less than the gap: this cycle is the first of it.
                m.d.sync += gap.eq(self.acts_tokens + (config.hops - 1))
        control = Signal(CONTROL)
        m.d.comb += [
            control.valid.eq(beat),
            control.first.eq(first),
            control.last.eq(self.acts_last),
        ]
        return control, blocked

    def _drain(self, m, moving, advance, beat):
        """Psums go out, token 0 first; returns the shift enable of every row, north to south."""
        config = self.config
        tokens_in = Signal.like(self.acts_tokens)
        m.d.comb += tokens_in.eq(Mux(beat & self.acts_last, self.acts_tokens, 0))
        # A tile's token count (0 while there is none) waits until the last PE has loaded.
        waiting = Signal((timing.drain_latency(config) - 1) * len(tokens_in))
        with m.If(advance):
            m.d.sync += waiting.eq(Cat(tokens_in, waiting))
        # While all but the drain is frozen, it is a step ahead, and they are still to come. When
        # they come the drain is empty, of which the gap makes sure, and so moves.
        arrived = waiting[-len(tokens_in) :]
        tokens = Mux(advance, arrived, 0)

        left = Signal(range(config.rows + 1))
        shifts = Signal(config.rows)
        with m.If(moving):
            with m.If(tokens != 0):
                m.d.sync += left.eq(tokens)
                # Row p shifts p - (rows - tokens) times, and not at all where that is below 1.
                south = range(1, config.rows)
                m.d.sync += shifts.eq(Cat(Const(0, 1), *(tokens > config.rows - p for p in south)))
            with m.Elif(left != 0):
                m.d.sync += [left.eq(left - 1), shifts.eq(shifts << 1)]
        m.d.comb += [self.psums_valid.eq(left != 0), self.psums_last.eq(left == 1)]
        return shifts & moving.replicate(config.rows)

    def _count(self, m, advance, beat, blocked):
        """Sticky error, and what there is to be counted of this cycle."""
        with m.If(beat & has_illegal(self.trits_data)):
            m.d.sync += self.illegal.eq(1)
        both = self.acts_valid & self.trits_valid
        for counter, event in (
            (self.perf_blocked, ~advance),
            (self.perf_beats, beat),
            (self.perf_wait_drain, advance & both & blocked),
            (self.perf_wait_acts, advance & ~self.acts_valid & self.trits_valid),
            (self.perf_wait_trits, advance & self.acts_valid & ~self.trits_valid),
        ):
            m.d.comb += counter.eq(event)

    def _grid(self, m, moving, advance, control, *, shifts):
        """Skew, and the rows."""
        config = self.config
        late = lanes_staggered(m, moving, self.trits_data, config, bits=2, name="trits")
        trits = words(late, config.hops)
        trits = Cat(staggered(m, advance, trits, prefix=self.prefix, name="trits"))
        late = lanes_staggered(m, moving, self.acts_data, config, bits=config.act_bits, name="acts")
        # Token 0 is in the southernmost row.
        tokens = reversed(words(late, config.rows))
        acts = Cat(staggered(m, advance, tokens, prefix=self.prefix, name="acts"))
        skewed = Signal((config.rows - 1) * CONTROL.size)
        controls = Cat(control, skewed)
        with m.If(advance):
            m.d.sync += skewed.eq(controls)
        north = Const(0, config.psums_bits)
        drain = {"i_shift": shifts, "i_psums_north": north} if config.rows > 1 else {}
        m.submodules.rows = Instance(
            stack_name(self.prefix, config.rows),
            i_clk=ClockSignal(),
            i_rst=ResetSignal(),
            i_advance_next=moving,
            **drain,
            i_acts_west=acts,
            i_control_west=controls,
            i_trits_north=trits,
            o_trits_south=Signal(config.trits_bits, name="trits_unused"),
            o_psums_south=self.psums_data,
        )


def has_illegal(codes: Value) -> Value:
    """Whether a trit code is 10: negative, but zero."""
    nonzero_bits = Const(int("01" * (len(codes) // 2), 2), len(codes))
    return (codes[1:] & ~codes & nonzero_bits).any()


def words(value: Value, count: int) -> list[Value]:
    """`value` cut into `count` equal slices, low bits first."""
    width = len(value) // count
    return [value[i * width : (i + 1) * width] for i in range(count)]
