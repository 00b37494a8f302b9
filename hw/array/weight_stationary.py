"""The weight-stationary array: trits stay in their PE, psums go south and pile up in a buffer.

    acts -> skew -> row 0 (north)     trits come from the north, skewed by hop, and go down a chain
    acts -> skew -> row 1             of shadow registers; psums start from zero in row 0, go south
             ...                      one row a cycle, and each PE adds its own
    acts -> skew -> row R-1 (south)
                    deskew -> adder <-> output buffer
                                `-> psums

Protocol. A tile is `rows` slices of k by `cols` output features. One beat of `trits` is the trits
of one slice; `rows` beats load a tile, slice 0 first, which goes all the way to the southernmost
row. One beat of `acts` is one token: `lanes` input features of each slice. `acts_last` ends a tile.
Two more bits are read with each beat and are the same for all of a tile: `acts_first_k` tells that
the psums start from zero, `acts_last_k` that they are complete and go out. Tiles between a first_k
and a last_k have the same tokens in the same order, at most `buffer_tokens`. The first tile after
a reset is a first_k. A cycle without a beat of acts sends a bubble through the array, so what has
entered always comes out. `psums` offers each token as soon as it is complete.

Load and swap. The trits of the next tile are loaded while this one computes. Beat i of a load
moves the shadow registers of rows 0 to i one row south, so row r is first written with beat r. A
tile's first beat of acts takes a swap along, which comes to row r, like the acts, r cycles later
and makes the shadow trits the active ones. Hence beat 0 of the next load may enter in the very
cycle of the swap, a loaded tile's acts may follow the tile before without a bubble, and acts wait
only where a tile has fewer tokens than the load has beats.

Backpressure on `psums` freezes the array as a whole (`advance` low); nothing inside it needs a
handshake. Streams are AXI4-Stream: valid never drops, a payload holds until it is taken.
"""

from __future__ import annotations

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Mux, ResetSignal, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tritloom.arch import timing
from tritloom.arch.config import ArrayConfig
from tritloom.hw.parts import delay
from tritloom.hw.parts.delay import staggered
from tritloom.hw.parts.ports import Modules, Ports, members
from tritloom.hw.parts.ram import Ram

from .output_stationary import has_illegal, words
from .pe import add_with_carry, dot_product
from .row import WEIGHT_STATIONARY_CONTROL, Row, hop_ports, stack_name, stacks

# Ports of the array in the order of the Verilog module, and of the JSON sidecar:
# name -> (direction, width for a configuration, description).
PORTS = {
    "acts_data": (In, lambda c: c.acts_bits, "act [slice][lane], slice 0 lane 0 in the low bits"),
    "acts_last": (In, lambda c: 1, "high with the beat of acts of a tile's last token"),
    "acts_first_k": (In, lambda c: 1, "high for all of a tile whose psums start from zero"),
    "acts_last_k": (In, lambda c: 1, "high for all of a tile whose psums are complete and go out"),
    "acts_valid": (In, lambda c: 1, "high while the sender offers a beat of acts"),
    "acts_ready": (
        Out,
        lambda c: 1,
        "high when the array takes the beat of acts this cycle; "
        "low until the trits of the tile are loaded",
    ),
    "trits_data": (In, lambda c: c.trits_bits, "trit code [feature][lane], 00 zero 01 +1 11 -1"),
    "trits_valid": (In, lambda c: 1, "high while the sender offers a beat of trits"),
    "trits_ready": (
        Out,
        lambda c: 1,
        "high when the array takes the beat of trits this cycle; "
        "low while a loaded tile waits for acts",
    ),
    "psums_data": (Out, lambda c: c.psums_bits, "psum [feature] of one token, two's complement"),
    "psums_last": (Out, lambda c: 1, "high with the psums of a tile's last token"),
    "psums_valid": (Out, lambda c: 1, "high while the array offers a beat of psums"),
    "psums_ready": (
        In,
        lambda c: 1,
        "high when the receiver takes the beat of psums this cycle; low freezes the array",
    ),
    "illegal": (Out, lambda c: 1, "sticky, a beat held trit code 10, which counted as zero"),
    "perf_beats": (Out, lambda c: 1, "high when the array takes a beat of acts"),
    "perf_loads": (Out, lambda c: 1, "high when the array takes a beat of trits"),
    "perf_wait_acts": (Out, lambda c: 1, "high when the array waits for acts, with trits loaded"),
    "perf_wait_trits": (Out, lambda c: 1, "high when acts wait for trits to be offered"),
    "perf_wait_load": (Out, lambda c: 1, "high when acts wait for a load under way"),
    "perf_blocked": (Out, lambda c: 1, "high when backpressure on psums freezes the array"),
}

# Bits of a beat of acts that the south edge needs.
SOUTH = data.StructLayout({"valid": 1, "first_k": 1, "last_k": 1, "last": 1})


def psum_buffer(config: ArrayConfig) -> Ram:
    """The memory of psums between the slices of k of one group of tokens."""
    return Ram(width=config.psums_bits, depth=config.buffer_tokens)


def pe_ports(config: ArrayConfig) -> Ports:
    """Ports of a weight-stationary PE: name -> (direction, shape, description)."""
    acts, trits, psum = config.lanes * config.act_bits, config.lanes * 2, config.psum_bits
    return {
        "advance": (In, 1, "clock enable of every register"),
        "acts": (In, acts, "act [lane] from the hop's registers"),
        "swap": (In, 1, "high to make the shadow trits active, a cycle ahead of the acts"),
        "load": (In, 1, "high to take shadow trits from the north"),
        "trits_north": (In, trits, "shadow trit code [lane] of the PE to the north"),
        "trits_south": (Out, trits, "shadow trit code [lane] of this PE"),
        "psum_north": (In, psum, "psum register of the PE to the north"),
        "psum_south": (Out, psum, "psum register of this PE, two's complement"),
    }


class WeightStationaryPE(wiring.Component):
    """One PE of the weight-stationary array; its selects and its tree are those of hw/array/pe.py.

    Its members are those of `pe_ports`.
    """

    reset_less = True

    def __init__(self, config: ArrayConfig):
        self.config = config
        super().__init__(members(pe_ports(config)))

    def elaborate(self, platform):
        config = self.config
        m = Module()

        shadow = Signal(config.lanes * 2)
        active = Signal(config.lanes * 2)
        psum = Signal(signed(config.psum_bits))
        total, carry = dot_product(m, config, advance=self.advance, acts=self.acts, trits=active)
        north = self.psum_north.as_signed()
        with m.If(self.advance):
            with m.If(self.load):
                m.d.sync += shadow.eq(self.trits_north)
            with m.If(self.swap):
                m.d.sync += active.eq(shadow)
            m.d.sync += psum.eq(add_with_carry(north, total, carry, config.psum_bits))
        m.d.comb += [self.trits_south.eq(shadow), self.psum_south.eq(psum)]
        return m


class WeightStationaryHop(wiring.Component):
    """Act and control registers, and `cols_per_hop` weight-stationary PEs that read them.

    Its members are those of `hw.array.row.hop_ports`.
    """

    def __init__(self, config: ArrayConfig, *, prefix: str):
        self.config = config
        self.prefix = prefix
        super().__init__(members(hop_ports(config)))

    def elaborate(self, platform):
        config = self.config
        m = Module()
        acts = Signal(config.lanes * config.act_bits, reset_less=True)
        control = Signal(WEIGHT_STATIONARY_CONTROL)
        with m.If(self.advance):
            m.d.sync += [acts.eq(self.acts_west), control.eq(self.control_west)]
        m.d.comb += [self.acts_east.eq(acts), self.control_east.eq(control)]
        for index in range(config.cols_per_hop):
            trits, psums = config.lanes * 2, config.psum_bits
            m.submodules[f"pe_{index}"] = Instance(
                f"{self.prefix}_pe",
                i_clk=ClockSignal(),
                i_advance=self.advance,
                i_acts=acts,
                # Taken from the west: the trits are in place when the acts are in the register.
                i_swap=self.control_west.swap,
                i_load=self.control_west.load,
                i_trits_north=self.trits_north.word_select(index, trits),
                o_trits_south=self.trits_south.word_select(index, trits),
                i_psum_north=self.psums_north.word_select(index, psums),
                o_psum_south=self.psums_south.word_select(index, psums),
            )
        return m


class WeightStationaryArray(wiring.Component):
    """The weight-stationary array with its streams and its output buffer.

    Its members are those of `PORTS`.
    """

    def __init__(self, config: ArrayConfig, *, prefix: str):
        self.config = config
        self.prefix = prefix
        super().__init__({name: flow(width(config)) for name, (flow, width, _) in PORTS.items()})

    def elaborate(self, platform):
        m = Module()

        advance = Signal()
        beat = Signal()
        load = Signal()
        m.d.comb += advance.eq(~self.psums_valid | self.psums_ready)
        first = Signal(init=1)
        swap, loads, loaded = self._accept(m, advance, beat, load, first)
        if self.config.diagnostics:
            self._count(m, advance, beat, load, first & ~loaded)
        psums = self._grid(m, advance, swap, loads)
        self._accumulate(m, advance, beat, psums)
        return m

    def _accept(self, m, advance, beat, load, first):
        """Take beats.

        Returns
        -------
        swap, loads, loaded : Value
            The swap, a load enable for each row, and whether a tile's trits are loaded.
        """
        config = self.config
        # Rows whose shadow registers hold the trits of the next tile, from the north.
        filled = Signal(config.rows)
        loaded = filled[-1]
        swap = Signal()
        m.d.comb += [
            self.acts_ready.eq(advance & (~first | loaded)),
            beat.eq(self.acts_valid & self.acts_ready),
            swap.eq(beat & first),
            self.trits_ready.eq(advance & (~loaded | swap)),
            load.eq(self.trits_valid & self.trits_ready),
        ]
        with m.If(beat):
            m.d.sync += first.eq(self.acts_last)
        left = Signal(config.rows)
        reached = Signal(config.rows)
        m.d.comb += [
            left.eq(Mux(swap, 0, filled)),
            reached.eq(Cat(Const(1, 1), left)),
        ]
        m.d.sync += filled.eq(Mux(load, reached, left))
        loads = Signal(config.rows)
        m.d.comb += loads.eq(Mux(load, reached, 0))
        return swap, loads, loaded

    def _count(self, m, advance, beat, load, unloaded):
        """Drive the sticky error and the events that counters count."""
        with m.If(load & has_illegal(self.trits_data)):
            m.d.sync += self.illegal.eq(1)
        waiting = advance & self.acts_valid & unloaded
        for counter, event in (
            (self.perf_blocked, ~advance),
            (self.perf_beats, beat),
            (self.perf_loads, load),
            (self.perf_wait_acts, self.acts_ready & ~self.acts_valid),
            (self.perf_wait_trits, waiting & ~self.trits_valid),
            (self.perf_wait_load, waiting & self.trits_valid),
        ):
            m.d.comb += counter.eq(event)

    def _grid(self, m, advance, swap, loads):
        """Add skew, rows and deskew; return the psums of one token."""
        config = self.config
        trits = words(self.trits_data, config.hops)
        trits = staggered(m, advance, trits, prefix=self.prefix, name="trits")
        # Slice 0 is in the southernmost row.
        acts = staggered(
            m, advance, words(self.acts_data, config.rows)[::-1], prefix=self.prefix, name="acts"
        )
        # The swap goes with the acts; the load goes with the trits, which are skewed by hop alone.
        skewed = Signal(config.rows - 1)
        swaps = Cat(swap, skewed)
        with m.If(advance):
            m.d.sync += skewed.eq(swaps)
        control = Cat(Cat(pair) for pair in zip(swaps, loads, strict=True))
        south = Signal(config.psums_bits)
        m.submodules.rows = Instance(
            stack_name(self.prefix, config.rows),
            i_clk=ClockSignal(),
            i_rst=ResetSignal(),
            i_advance=advance,
            i_acts_west=Cat(acts),
            i_control_west=control,
            i_trits_north=Cat(trits),
            i_psums_north=Const(0, config.psums_bits),
            o_trits_south=Signal(config.trits_bits, name="trits_unused"),
            o_psums_south=south,
        )
        # The westernmost hop is the first to have its psums, and waits for the last.
        eastward = words(south, config.hops)[::-1]
        # A signal, because `words` cuts it: a slice of a concatenation would repeat all of it.
        psums = Signal(config.psums_bits)
        m.d.comb += psums.eq(
            Cat(reversed(staggered(m, advance, eastward, prefix=self.prefix, name="psums")))
        )
        return psums

    def _accumulate(self, m, advance, beat, psums):
        """Add psums to those of the output buffer or to zero; keep them there, or send them."""
        config = self.config
        entering = Signal(SOUTH)
        m.d.comb += [
            entering.valid.eq(beat),
            entering.first_k.eq(self.acts_first_k),
            entering.last_k.eq(self.acts_last_k),
            entering.last.eq(self.acts_last),
        ]
        # The bits of a beat arrive with its psums, one cycle before these are offered.
        line = Signal((timing.pass_latency(config) - timing.OUTPUT) * SOUTH.size)
        with m.If(advance):
            m.d.sync += line.eq(Cat(entering, line))
        # The buffer delivers a cycle after it is asked.
        asked, arrived = (data.View(SOUTH, word) for word in (line[-8:-4], line[-4:]))
        token = Signal(psum_buffer(config).address_bits)
        previous = Signal.like(token)
        with m.If(advance):
            m.d.sync += previous.eq(token)
            with m.If(asked.valid):
                m.d.sync += token.eq(Mux(asked.last, 0, token + 1))

        sums = Signal(config.psums_bits)
        send = Signal()
        ask = Signal()
        keep = Signal()
        stored = Signal(config.psums_bits)
        m.submodules.buffer = Instance(
            f"{self.prefix}_psum_buffer",
            i_clk=ClockSignal(),
            i_write_enable=keep,
            i_write_address=previous,
            i_write_data=sums,
            i_read_enable=ask,
            i_read_address=token,
            o_read_data=stored,
        )
        if config.rows == 1:
            # A token comes back after `rows` cycles at the soonest. Only where that is the next one
            # does a read meet the write of the same word.
            met = Signal()
            written = Signal(config.psums_bits, reset_less=True)
            with m.If(ask):
                m.d.sync += [met.eq(keep & (previous == token)), written.eq(sums)]
            stored = Mux(met, written, stored)
        for total, psum, kept in zip(
            *(words(value, config.cols) for value in (sums, psums, stored)), strict=True
        ):
            m.d.comb += total.eq(psum + Mux(arrived.first_k, 0, kept))
        m.d.comb += [
            ask.eq(advance & asked.valid & ~asked.first_k),
            keep.eq(advance & arrived.valid & ~arrived.last_k),
            send.eq(arrived.valid & arrived.last_k),
        ]
        out = Signal(config.psums_bits, reset_less=True)
        with m.If(advance):
            m.d.sync += [self.psums_valid.eq(send), self.psums_last.eq(send & arrived.last)]
            with m.If(send):
                m.d.sync += out.eq(sums)
        m.d.comb += self.psums_data.eq(out)


def modules(config: ArrayConfig, *, prefix: str) -> Modules:
    """Every module of a weight-stationary array by name; its top is `prefix` itself.

    The order decides how Yosys numbers unnamed wires, hence the text of the Verilog.
    """
    acts = config.lanes * config.act_bits, config.rows
    trits, psums = (
        (config.cols_per_hop * bits, config.hops) for bits in (config.lanes * 2, config.psum_bits)
    )
    return {
        f"{prefix}_pe": WeightStationaryPE(config),
        f"{prefix}_hop": WeightStationaryHop(config, prefix=prefix),
        f"{prefix}_row": Row(config, prefix=prefix),
        prefix: WeightStationaryArray(config, prefix=prefix),
        f"{prefix}_psum_buffer": psum_buffer(config),
        **stacks(config, prefix=prefix),
        **delay.modules(acts, trits, psums, prefix=prefix),
    }
