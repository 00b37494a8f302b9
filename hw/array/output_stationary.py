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

Backpressure on `psums` holds the drain, and nothing else: the last beat of a tile waits until all
psums of the tile before are taken, so what has entered always has a place, and needs neither a
handshake nor an enable. Streams are AXI4-Stream: valid never drops, a payload holds until it is
taken.

Drain. When the last PE (south-east) has loaded its drain register, psums go south, one row a
cycle.
"""

from __future__ import annotations

from amaranth.hdl import (
    Cat,
    ClockSignal,
    Const,
    Instance,
    Module,
    ResetSignal,
    Signal,
    Value,
)
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tritloom.arch import timing
from tritloom.arch.config import ArrayConfig, Technology
from tritloom.hw.parts import asic, delay
from tritloom.hw.parts.delay import lanes_staggered, staggered
from tritloom.hw.parts.ports import Modules

from . import pe
from .row import OUTPUT_STATIONARY_CONTROL, OutputStationaryHop, Row, stack_name, stacks

# Ports of the array in the order of the Verilog module, and of the JSON sidecar:
# name -> (direction, width for a configuration, description).
PORTS = {
    "acts_data": (In, lambda c: c.acts_bits, "act [token][lane], token 0 lane 0 in the low bits"),
    "acts_last": (In, lambda c: 1, "high with the last beat of acts of a tile"),
    "acts_tokens": (
        In,
        lambda c: c.rows.bit_length(),
        "tokens of the tile to drain, 1 to rows; read with the last beat",
    ),
    "acts_valid": (In, lambda c: 1, "high while the sender offers a beat of acts"),
    "acts_ready": (Out, lambda c: 1, "high when the array takes the beat of acts this cycle"),
    "trits_data": (In, lambda c: c.trits_bits, "trit code [feature][lane], 00 zero 01 +1 11 -1"),
    "trits_valid": (In, lambda c: 1, "high while the sender offers a beat of trits"),
    "trits_ready": (Out, lambda c: 1, "high when the array takes the beat of trits this cycle"),
    "psums_data": (Out, lambda c: c.psums_bits, "psum [feature] of one token, two's complement"),
    "psums_last": (Out, lambda c: 1, "high with the last token of a tile"),
    "psums_valid": (Out, lambda c: 1, "high while the array offers a beat of psums"),
    "psums_ready": (In, lambda c: 1, "high when the receiver takes the beat of psums this cycle"),
    "illegal": (Out, lambda c: 1, "sticky, a beat held trit code 10, which counted as zero"),
    "perf_beats": (Out, lambda c: 1, "high when the array takes a beat of acts and of trits"),
    "perf_wait_acts": (Out, lambda c: 1, "high when the array waits for acts, with trits offered"),
    "perf_wait_trits": (Out, lambda c: 1, "high when the array waits for trits, with acts offered"),
    "perf_wait_drain": (Out, lambda c: 1, "high when a last beat waits for the drain"),
    "perf_blocked": (Out, lambda c: 1, "high when a last beat waits for psums to be taken"),
}


class OutputStationaryArray(wiring.Component):
    """The output-stationary array with its streams.

    Its members are those of `PORTS`.
    """

    def __init__(self, config: ArrayConfig, *, prefix: str):
        self.config = config
        self.prefix = prefix
        super().__init__({name: flow(width(config)) for name, (flow, width, _) in PORTS.items()})

    def elaborate(self, platform):
        m = Module()

        beat = Signal()
        # High from a tile's end until all of its psums are taken.
        ended = Signal()
        first = Signal(init=1)
        blocked = Signal()
        m.d.comb += [
            blocked.eq(self.acts_last & ended),
            self.acts_ready.eq(~blocked & self.trits_valid),
            self.trits_ready.eq(~blocked & self.acts_valid),
            beat.eq(self.acts_valid & self.acts_ready),
        ]
        with m.If(beat):
            m.d.sync += first.eq(self.acts_last)
        control = Signal(OUTPUT_STATIONARY_CONTROL)
        m.d.comb += [
            control.valid.eq(beat),
            control.first.eq(first),
            control.last.eq(self.acts_last),
        ]
        shift = self._drain(m, beat & self.acts_last, ended)
        if self.config.diagnostics:
            self._count(m, beat, blocked)
        self._grid(m, control, shift)
        return m

    def _drain(self, m, ends, ended):
        """Offer the psums, token 0 first; return whether the drain registers shift south."""
        # A one moves through until the last PE has loaded its drain register.
        waiting = Signal(timing.drain_latency(self.config) - 1)
        m.d.sync += waiting.eq(Cat(ends, waiting))
        left = Signal.like(self.acts_tokens)
        taken = Signal()
        m.d.comb += [
            taken.eq(self.psums_valid & self.psums_ready),
            self.psums_last.eq(self.psums_valid & (left == 1)),
        ]
        with m.If(ends):
            m.d.sync += [left.eq(self.acts_tokens), ended.eq(1)]
        with m.Elif(taken):
            m.d.sync += [left.eq(left - 1), ended.eq(~self.psums_last)]
        with m.If(waiting[-1]):
            m.d.sync += self.psums_valid.eq(1)
        with m.Elif(taken & self.psums_last):
            m.d.sync += self.psums_valid.eq(0)
        return taken & ~self.psums_last

    def _count(self, m, beat, blocked):
        """Drive the sticky error and the events that counters count."""
        with m.If(beat & has_illegal(self.trits_data)):
            m.d.sync += self.illegal.eq(1)
        waits = self.acts_valid & self.trits_valid & blocked
        held = self.psums_valid & ~self.psums_ready
        for counter, event in (
            (self.perf_beats, beat),
            (self.perf_blocked, waits & held),
            (self.perf_wait_drain, waits & ~held),
            (self.perf_wait_acts, ~self.acts_valid & self.trits_valid),
            (self.perf_wait_trits, self.acts_valid & ~self.trits_valid),
        ):
            m.d.comb += counter.eq(event)

    def _grid(self, m, control, shift):
        """Add the skew and the rows."""
        config = self.config
        advance = Const(1, 1)
        trits = self.trits_data
        if config.technology == Technology.ASIC:
            trits = Signal.like(trits, name="trits_one_hot")
            m.d.comb += trits.eq(asic.one_hot(self.trits_data))
        trits = lanes_staggered(m, trits, config, bits=2, name="trits")
        trits = words(trits, config.hops)
        trits = Cat(staggered(m, advance, trits, prefix=self.prefix, name="trits"))
        acts = lanes_staggered(m, self.acts_data, config, bits=config.act_bits, name="acts")
        # Token 0 is in the southernmost row.
        tokens = reversed(words(acts, config.rows))
        acts = Cat(staggered(m, advance, tokens, prefix=self.prefix, name="acts"))
        skewed = Signal((config.rows - 1) * OUTPUT_STATIONARY_CONTROL.size)
        controls = Cat(control, skewed)
        m.d.sync += skewed.eq(controls)
        north = Const(0, config.psums_bits)
        drain = {"i_shift": shift, "i_psums_north": north} if config.rows > 1 else {}
        m.submodules.rows = Instance(
            stack_name(self.prefix, config.rows),
            i_clk=ClockSignal(),
            i_rst=ResetSignal(),
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
    """A value cut into `count` equal slices, low bits first."""
    width = len(value) // count
    return [value[i * width : (i + 1) * width] for i in range(count)]


def modules(config: ArrayConfig, *, prefix: str) -> Modules:
    """Every module of an output-stationary array by name; its top is `prefix` itself.

    The order decides how Yosys numbers unnamed wires, hence the text of the Verilog.
    """
    acts, trits = config.lanes * config.act_bits, config.cols_per_hop * config.lanes * 2
    return {
        **pe.modules(config, prefix=prefix),
        f"{prefix}_hop": OutputStationaryHop(config, prefix=prefix),
        f"{prefix}_row": Row(config, prefix=prefix),
        prefix: OutputStationaryArray(config, prefix=prefix),
        **stacks(config, prefix=prefix),
        **delay.modules((acts, config.rows), (trits, config.hops), prefix=prefix),
    }
