"""The core: the array with everything that lets software drive it over AXI.

    s_axil ------> registers --- descriptor ---+--> sequencer
    s_axis_acts ---------------------------------> sequencer --- acts ---> array --> m_axis_psums
    s_axis_weights ------------------------------> unpacker ---- trits --> array

Either array. Output-stationary takes acts and trits together. Weight-stationary loads trits ahead
of the acts, so a walker of its own (`sequencer.Loads`) knows where a pass of trits ends.

A descriptor (m, k, n, packing) starts a run. The weight stream may run ahead of the acts by what
the unpacker holds, also into the next run, so the descriptor goes to two places: to the weight
side, which must know the packing of the beat it takes, as soon as the last pass of the run before
has come in; to the sequencer as soon as the last beat of the run before is on its way.

A soft reset clears all but the registers' settings, and holds array, sequencer and unpacker in
reset while the core is flushing. Both input streams are then taken and dropped, after RESUME to the
end of a packet that has begun, and no further. A psum beat that is offered stays until it is taken,
as AXI4-Stream demands; all that is behind it is dropped.
"""

from __future__ import annotations

from amaranth.hdl import (
    Cat,
    Module,
    Mux,
    ResetSignal,
    Signal,
    signed,
)
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tritloom.arch import timing
from tritloom.arch.config import ArrayConfig, Dataflow
from tritloom.arch.ports import PSUM_STREAM_BITS, core_ports
from tritloom.hw.array import array
from tritloom.hw.parts import popcount
from tritloom.hw.parts.ports import Modules, Ports, inner_domain, members, part

from . import registers, sequencer, unpacker


def core_table(config: ArrayConfig) -> Ports:
    """Ports of the core but clk and rst: name -> (direction, width, description)."""
    flow = {"input": In, "output": Out}
    return {
        port.name: (flow[port.direction], port.width, port.what)
        for port in core_ports(config)
        if port.name not in ("clk", "rst")
    }


class Core(wiring.Component):
    """The core of an array.

    Its members are those of `core_table`.
    """

    def __init__(self, config: ArrayConfig, *, prefix: str):
        self.config = config
        self.prefix = prefix
        self._output = config.dataflow == Dataflow.OUTPUT_STATIONARY
        super().__init__(members(core_table(config)))

    def elaborate(self, platform):
        config = self.config
        m = Module()
        reset = Signal()

        control = self._part(m, "registers", registers.ports(config), ResetSignal())
        feed = self._part(m, "sequencer", sequencer.ports(config), reset)
        positions = config.cols * config.lanes
        weights = self._part(m, "unpacker", unpacker.ports(positions), reset)
        grid = self._part(m, "array", array.ports(config), reset)

        m.d.comb += reset.eq(ResetSignal() | control["flushing"])
        drop = self._packets(m, control)
        for port in core_ports(config):
            if port.name.startswith("s_axil_") or port.name == "irq":
                inside, outside = control[port.name], getattr(self, port.name)
                m.d.comb += inside.eq(outside) if port.direction == "input" else outside.eq(inside)

        inner_domain(m, reset)
        loads = (
            None if self._output else self._part(m, "loads", sequencer.load_ports(config), reset)
        )
        self._runs(m, control, feed, weights, loads, drop["weights"])
        self._acts(m, feed, grid, drop["acts"])
        self._trits(m, feed, weights, grid, loads)
        idle = self._psums(m, control, feed, grid)
        self._count(m, control, feed, weights, grid, reset)

        m.d.comb += [
            control["busy"].eq(feed["busy"] | ~idle),
            *(
                control[event].eq(strobe)
                for event, strobe in (
                    ("event_illegal_code", weights["illegal"]),
                    ("event_weights_early", weights["early_last"]),
                    ("event_weights_late", weights["late_last"]),
                    ("event_acts_early", feed["early_last"]),
                    ("event_acts_late", feed["late_last"]),
                )
            ),
            control["illegal_beat"].eq(weights["illegal_beat"]),
        ]
        return m

    def _part(self, m, name, ports, reset):
        return part(m, f"{self.prefix}_{name}", ports, reset, name=name)

    def _packets(self, m, control):
        """Track the packets of both input streams; return what drops their beats, by stream."""
        drop = {}
        for name in ("acts", "weights"):
            port = f"s_axis_{name}"
            inside, drop[name] = control[f"{name}_open"], Signal(name=f"drop_{name}")
            valid, ready = (getattr(self, f"{port}_t{signal}") for signal in ("valid", "ready"))
            with m.If(valid & ready):
                m.d.sync += inside.eq(~getattr(self, f"{port}_tlast"))
            m.d.comb += drop[name].eq(control["flushing"] & (inside | ~control["resumed"]))
        return drop

    def _runs(self, m, control, feed, weights, loads, drop):
        """Hand each descriptor to the weight side, then to the walkers of trits and of acts."""
        config = self.config
        active = Signal(name="weights_active")
        packing = Signal(name="weights_packing")
        # Sizes of the descriptor that was offered a cycle ago, as `sequencer.Left` counts: nobody
        # needs them sooner.
        whole = {
            size: Signal(signed(bits), name=f"run_{size}")
            for size, bits in sequencer.left_bits(config).items()
        }
        # Tokens left; the sign tells the last pass.
        m_less = Signal.like(whole["m"], name="weights_m_less")
        fresh = Signal(name="weights_fresh")
        # Whether the descriptor offered has gone to the weight side, and to the walker of trits.
        ahead = Signal(name="weights_ahead")
        walked = Signal(name="loads_ahead")
        take = Signal(name="weights_take")
        # Whether the sequencer took the descriptor a cycle ago.
        done = Signal(name="run_taken")
        # Whether the last beat of a pass was taken in the cycle before. Delayed, so that the count
        # is not at the end of the handshakes' path, from the array through the unpacker to tready.
        ended = Signal(name="weights_ended")
        over = Signal(name="weights_over")
        open_ = Signal(name="weights_open")
        m.d.comb += [
            over.eq(ended & m_less[-1]),
            open_.eq(active & ~over),
            take.eq(control["descriptor_valid"] & ~open_ & ~ahead),
            weights["start"].eq(take),
            weights["packing"].eq(packing),
            weights["weights_data"].eq(self.s_axis_weights_tdata),
            weights["weights_last"].eq(self.s_axis_weights_tlast),
            weights["weights_valid"].eq(self.s_axis_weights_tvalid & open_),
            self.s_axis_weights_tready.eq((weights["weights_ready"] & open_) | drop),
            feed["run_valid"].eq(control["descriptor_valid"] & walked & ~done),
            control["descriptor_ready"].eq(done),
            *(feed[f"run_{size}"].eq(value) for size, value in whole.items()),
            feed["run_psums_last"].eq(control["descriptor_psums_last"]),
        ]
        m.d.inner += [
            value.eq(control[f"descriptor_{size}"] - (sequencer.steps(config)[size] + 1))
            for size, value in whole.items()
        ]
        m.d.inner += done.eq(feed["run_valid"] & feed["run_ready"])
        # One pass for each group of tokens.
        m.d.inner += ended.eq(
            self.s_axis_weights_tvalid & self.s_axis_weights_tready & self.s_axis_weights_tlast
        )
        m.d.inner += fresh.eq(take)
        with m.If(fresh | ended):
            m.d.inner += m_less.eq(Mux(fresh, whole["m"], m_less - config.group_tokens))
        with m.If(over):
            m.d.inner += active.eq(0)
        with m.If(take):
            m.d.inner += [
                active.eq(1),
                ahead.eq(1),
                packing.eq(control["descriptor_packing"]),
            ]
        with m.If(done):
            m.d.inner += ahead.eq(0)
        if loads is None:
            m.d.comb += walked.eq(ahead)
            return
        m.d.comb += [
            *(loads[f"run_{size}"].eq(value) for size, value in whole.items()),
            loads["run_valid"].eq(control["descriptor_valid"] & ahead & ~walked),
        ]
        m.d.inner += walked.eq((walked & ~done) | (loads["run_valid"] & loads["run_ready"]))

    def _acts(self, m, feed, grid, drop):
        """Connect the acts from their stream to the array."""
        m.d.comb += [
            feed["stream_data"].eq(self.s_axis_acts_tdata),
            feed["stream_last"].eq(self.s_axis_acts_tlast),
            feed["stream_valid"].eq(self.s_axis_acts_tvalid),
            self.s_axis_acts_tready.eq(feed["stream_ready"] | drop),
            *(
                grid[port].eq(feed[port])
                for port in grid
                if port.startswith("acts_") and port != "acts_ready"
            ),
            feed["acts_ready"].eq(grid["acts_ready"]),
        ]

    def _trits(self, m, feed, weights, grid, loads):
        """Connect the trits to the array; those that the unpacker holds wait for a run."""
        if loads is None:
            # The array takes trits together with acts, so only while there is a run.
            under_way, last = 1, feed["acts_pass_last"]
        else:
            under_way, last = loads["busy"], loads["last"]
            m.d.comb += loads["taken"].eq(grid["trits_valid"] & grid["trits_ready"])
        m.d.comb += [
            grid["trits_data"].eq(weights["trits_data"]),
            grid["trits_valid"].eq(weights["trits_valid"] & under_way),
            weights["trits_ready"].eq(grid["trits_ready"] & under_way),
            weights["trits_last"].eq(last),
        ]

    def _psums(self, m, control, feed, grid):
        """Send the psums, through two registers that cut the path from tready.

        What TLAST and the end of a run need to know of a tile waits in a queue while the tile is in
        the array.

        Returns
        -------
        Value
            True while no psum is left.
        """
        config = self.config
        # A tile follows another one after at least as many cycles as that one delivers tokens.
        latency = timing.drain_latency if self._output else timing.pass_latency
        depth = latency(config) + 2
        # Of each tile in the array: does the run end with it, is its last psum marked, are all?
        marks = {name: Signal(depth, name=name) for name in ("run_last", "mark_last", "mark_all")}
        tiles = Signal(range(depth + 1))
        enter = Signal()
        leave = Signal()
        last_of_run = Signal()
        marked = Signal()
        # The psums of an output-stationary tile come after its last beat; those of another one
        # after its first, while others may be still to enter.
        enters = Signal()
        if self._output:
            m.d.comb += enters.eq(grid["acts_last"])
        else:
            begins = Signal(init=1)
            m.d.comb += enters.eq(begins & grid["acts_last_k"])
            with m.If(grid["acts_valid"] & grid["acts_ready"]):
                m.d.inner += begins.eq(grid["acts_last"])
        m.d.comb += [
            leave.eq(grid["psums_valid"] & grid["psums_ready"] & grid["psums_last"]),
            last_of_run.eq(grid["psums_last"] & marks["run_last"][0]),
            marked.eq((grid["psums_last"] & marks["mark_last"][0]) | marks["mark_all"][0]),
        ]
        after = Signal(range(depth + 1))
        place = Signal(depth)
        m.d.comb += [after.eq(tiles - leave), place.eq(enter << after)]
        m.d.inner += [
            # A cycle late, which is early enough: psums come later still.
            enter.eq(grid["acts_valid"] & grid["acts_ready"] & enters),
            tiles.eq(after + enter),
        ]
        for name, waiting in marks.items():
            mark = Signal(name=f"entering_{name}")
            m.d.inner += [
                mark.eq(feed[f"acts_{name}"]),
                waiting.eq(Mux(leave, waiting >> 1, waiting) | Mux(mark, place, 0)),
            ]

        psums = Signal(config.psums_bits + 2)
        m.d.comb += psums.eq(Cat(grid["psums_data"], marked, last_of_run))
        front, back = (Signal.like(psums, name=name, reset_less=True) for name in ("front", "back"))
        front_valid = Signal()
        back_valid = Signal()
        m.d.comb += [
            grid["psums_ready"].eq(~back_valid),
            self.m_axis_psums_tvalid.eq(front_valid),
            self.m_axis_psums_tlast.eq(front[-2]),
        ]
        for col in range(config.cols):
            psum = front[col * config.psum_bits : (col + 1) * config.psum_bits].as_signed()
            word = self.m_axis_psums_tdata[col * PSUM_STREAM_BITS : (col + 1) * PSUM_STREAM_BITS]
            m.d.comb += word.eq(psum)
        with m.If(~front_valid | self.m_axis_psums_tready):
            # Not reset with the rest: what is offered stays. Nothing follows it while flushing.
            m.d.sync += front_valid.eq((back_valid | grid["psums_valid"]) & ~control["flushing"])
            m.d.inner += [front.eq(Mux(back_valid, back, psums)), back_valid.eq(0)]
        with m.Elif(grid["psums_valid"] & ~back_valid):
            m.d.inner += [back.eq(psums), back_valid.eq(1)]
        m.d.comb += [
            control["psum_offered"].eq(front_valid),
            control["event_run_done"].eq(
                front_valid & self.m_axis_psums_tready & front[-1] & ~control["flushing"]
            ),
        ]
        # The beat that a soft reset left is of no run.
        return (tiles == 0) & ~enter & (~front_valid | control["flushing"])

    def _count(self, m, control, feed, weights, grid, reset):
        """Drive the steps of the counters that software reads."""
        positions = self.config.cols * self.config.lanes
        beat = Signal()
        m.d.comb += beat.eq(grid["trits_valid"] & grid["trits_ready"])
        zeros = Signal(2 * positions)
        # The low bit of each code is counted. Synthesis drops the registers of the high bits.
        m.d.inner += zeros.eq(Mux(beat, ~grid["trits_data"], 0))
        zero_count = popcount.popcount(m, zeros, prefix=self.prefix, reset=reset, name="zero_count")
        counted = {
            "cycles": 1,
            "trits": Mux(beat, positions, 0),
            "zero_trits": zero_count,
            "illegal_beats": weights["illegal"],
            "busy": grid["perf_beats"],
            # Between runs the unpacker may hold trits of the next one.
            "stall_acts": grid["perf_wait_acts"] & (feed["busy"] if self._output else 1),
            "stall_weights": grid["perf_wait_trits"],
            "stall_output": grid["perf_blocked"],
            "stall_array": grid["perf_wait_drain" if self._output else "perf_wait_load"],
        }
        for name, count in counted.items():
            m.d.inner += control[f"count_{name}"].eq(count)


def modules(config: ArrayConfig, *, prefix: str) -> Modules:
    """Every module of a core by name; its top is `prefix` itself.

    The order decides how Yosys numbers unnamed wires, hence the text of the Verilog.
    """
    positions = config.cols * config.lanes
    return {
        **array.modules(config, prefix=f"{prefix}_array"),
        **unpacker.modules(positions, prefix=prefix),
        **registers.modules(config, prefix=prefix),
        **popcount.modules(positions, prefix=prefix),
        **sequencer.modules(config, prefix=prefix),
        prefix: Core(config, prefix=prefix),
        **sequencer.load_modules(config, prefix=prefix),
    }
