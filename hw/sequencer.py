"""The sequencer: walks the tiles of a run, and feeds the array its acts.

A run is a descriptor (m, k, n). Tokens go in groups of `rows`; for each group, output features in
groups of `cols`; for each of these tiles, k in slices of `lanes`. Nothing is divided: what is left
of m, n and k is counted down.

Acts. The beats of a group of tokens come in once, slice by slice, TLAST on the last. They feed the
first tile as they come and are written to the act buffer, which replays them for the group's other
tiles. So a run never waits for a buffer to fill, and one bank is enough.

    stream --+--> first tile ---+--> stage --> array
             +--> act buffer ---+
                  (a read takes a cycle, which the stage hides)

TLAST too early: the slices that are missing are zero acts, without waiting for the stream. Missing
on the last slice: beats are dropped up to and with the next TLAST. Either is reported by a strobe.
"""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from arch.config import ArrayConfig

WORD_BITS = 32

# name -> (direction, width of a config, description)
PORTS = {
    "run_m": (In, lambda c: WORD_BITS, "tokens of the run that is offered"),
    "run_k": (In, lambda c: c.max_k.bit_length(), "its input features"),
    "run_n": (In, lambda c: WORD_BITS, "its output features"),
    "run_valid": (In, lambda c: 1, "a run is offered"),
    "run_ready": (Out, lambda c: 1, "and taken"),
    "busy": (Out, lambda c: 1, "beats of a run are still to enter the array"),
    "stream_data": (In, lambda c: c.acts_bits, "act [token][lane] of one slice"),
    "stream_last": (In, lambda c: 1, "last slice of a group of tokens"),
    "stream_valid": (In, lambda c: 1, "a beat of acts is offered"),
    "stream_ready": (Out, lambda c: 1, "and taken"),
    "early_last": (Out, lambda c: 1, "strobe: a group of tokens ended a cycle ago too early"),
    "late_last": (Out, lambda c: 1, "strobe: a group of tokens did not end a cycle ago"),
    "acts_data": (Out, lambda c: c.acts_bits, "to the array"),
    "acts_last": (Out, lambda c: 1, "last beat of a tile"),
    "acts_tokens": (Out, lambda c: c.rows.bit_length(), "tokens of the tile"),
    "acts_pass_last": (Out, lambda c: 1, "last beat of a pass: of all tiles of a token group"),
    "acts_run_last": (Out, lambda c: 1, "last beat of the run"),
    "acts_valid": (Out, lambda c: 1, "a beat is offered"),
    "acts_ready": (In, lambda c: 1, "and taken"),
}


class Sequencer(wiring.Component):
    """The sequencer of an array.

    Members
    -------
    As in `PORTS`.
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        super().__init__({name: flow(width(config)) for name, (flow, width, _) in PORTS.items()})

    def elaborate(self, platform):
        config = self.config
        m = Module()

        # What is left of the run, of the group's features, of the tile's input features.
        m_left = Signal(WORD_BITS)
        n_left = Signal(WORD_BITS)
        n_all = Signal(WORD_BITS)
        k_left = Signal(config.max_k.bit_length())
        k_all = Signal(config.max_k.bit_length())
        slice_last = Signal()
        group_last = Signal()
        run_last = Signal()
        m.d.comb += [
            slice_last.eq(k_left <= config.lanes),
            group_last.eq(n_left <= config.cols),
            run_last.eq(m_left <= config.rows),
        ]
        active = Signal()
        first_tile = Signal()
        address = Signal(range(-(-config.max_k // config.lanes)))

        # The stream's side: is there a slice for the first tile in this cycle?
        ended = Signal()
        dropping = Signal()
        step = Signal()
        wanted = Signal()
        room = Signal()
        took = Signal()
        finished = Signal()
        m.d.comb += [
            wanted.eq(active & first_tile & ~ended & ~dropping),
            room.eq(~self.acts_valid | self.acts_ready),
            took.eq(step & wanted),
            finished.eq(step & slice_last & group_last & run_last),
            step.eq(active & room & (~first_tile | ended | (wanted & self.stream_valid))),
            self.stream_ready.eq(dropping | (wanted & room)),
            self.busy.eq(active | self.acts_valid),
        ]
        m.d.sync += [
            self.early_last.eq(took & self.stream_last & ~slice_last),
            self.late_last.eq(took & ~self.stream_last & slice_last),
        ]
        with m.If(dropping & self.stream_valid & self.stream_last):
            m.d.sync += dropping.eq(0)
        with m.If(took & self.stream_last & ~slice_last):
            m.d.sync += ended.eq(1)
        with m.If(took & ~self.stream_last & slice_last):
            m.d.sync += dropping.eq(1)

        # One step: to the next slice, tile, group of tokens, run.
        with m.If(step):
            m.d.sync += [k_left.eq(k_left - config.lanes), address.eq(address + 1)]
            with m.If(slice_last):
                m.d.sync += [k_left.eq(k_all), address.eq(0), ended.eq(0)]
                m.d.sync += [first_tile.eq(group_last), n_left.eq(n_left - config.cols)]
                with m.If(group_last):
                    m.d.sync += [n_left.eq(n_all), m_left.eq(m_left - config.rows)]
        m.d.comb += self.run_ready.eq(~active | finished)
        with m.If(self.run_ready):
            m.d.sync += [
                active.eq(self.run_valid),
                first_tile.eq(1),
                m_left.eq(self.run_m),
                *(left.eq(self.run_n) for left in (n_left, n_all)),
                *(left.eq(self.run_k) for left in (k_left, k_all)),
            ]

        # The stage in front of the array.
        m.submodules.act_buffer = buffer = Memory(
            shape=config.acts_bits, depth=-(-config.max_k // config.lanes), init=[]
        )
        write, read = buffer.write_port(), buffer.read_port()
        fresh = Signal()
        held = Signal(config.acts_bits, reset_less=True)
        incoming = Mux(ended, 0, self.stream_data)
        m.d.comb += [
            write.addr.eq(address),
            write.data.eq(incoming),
            write.en.eq(step & first_tile),
            read.addr.eq(address),
            read.en.eq(step),
            self.acts_data.eq(Mux(fresh, held, read.data)),
        ]
        with m.If(step):
            m.d.sync += [
                self.acts_valid.eq(1),
                fresh.eq(first_tile),
                held.eq(incoming),
                self.acts_last.eq(slice_last),
                self.acts_tokens.eq(Mux(run_last, m_left, config.rows)),
                self.acts_pass_last.eq(slice_last & group_last),
                self.acts_run_last.eq(finished),
            ]
        with m.Elif(self.acts_ready):
            m.d.sync += self.acts_valid.eq(0)
        return m
