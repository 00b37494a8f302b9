"""A hop (act registers and the columns that share them), a row of hops, a stack of rows.

Rows and stacks are those of both dataflows: what goes east with the acts differs, and whether there
is a drain. The weight-stationary hop is in hw/array/weight_stationary.py.

Acts and their control bits go east one hop a cycle in plain registers: what enters moves on, a
weight-stationary array as a whole or not at all, so no handshake is needed inside.

Each level instantiates the one below by name instead of containing it. A PE and a hop are so
elaborated and emitted once, however large the array; a stack of n rows is two stacks of n / 2, so
the wide buses between rows are written out once for each power of two rather than for each row.
"""

from __future__ import annotations

from amaranth.hdl import Cat, ClockSignal, Instance, Module, ResetSignal, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tritloom.arch.config import ArrayConfig, Dataflow, Technology
from tritloom.hw.parts import asic, ecp5
from tritloom.hw.parts.popcount import halves

# Rides with every slice of acts, output-stationary.
CONTROL = data.StructLayout(
    {
        "valid": 1,  # the slice is a beat, not a bubble
        "first": 1,  # of a tile
        "last": 1,  # of a tile
    }
)

# Of the drain registers, output-stationary with more than a row; of all, weight-stationary.
_ENABLES = ("shift", "advance")

# Goes east in the same registers, weight-stationary.
STATIONARY_CONTROL = data.StructLayout(
    {
        "swap": 1,  # with the first slice of a tile: the shadow trits become the active ones
        "load": 1,  # the shadow trits take those of the north
    }
)


def control_layout(config: ArrayConfig) -> data.StructLayout:
    """Control bits that go east, by dataflow."""
    output = config.dataflow == Dataflow.OUTPUT_STATIONARY
    return CONTROL if output else STATIONARY_CONTROL


def columns(
    config: ArrayConfig, count: int, *, weight_bits: int = 2, psum_bits: int | None = None
) -> dict:
    """Ports that run north to south through `count` columns, and their enables.

    Psums come from the north where they pass through, and where they drain through further rows.
    """
    output = config.dataflow == Dataflow.OUTPUT_STATIONARY
    psums = count * (psum_bits or config.psum_bits)
    north = {"psums_north": In(psums)}
    return {
        **({"shift": In(1)} if output and config.rows > 1 else {}),
        **({} if output else {"advance": In(1)}),
        "trits_north": In(count * config.lanes * weight_bits),
        "trits_south": Out(count * config.lanes * weight_bits),
        **({} if output and config.rows == 1 else north),
        "psums_south": Out(psums),
    }


def west_east(config: ArrayConfig) -> dict:
    """Ports that run west to east."""
    width, control = config.lanes * config.act_bits, control_layout(config)
    return {
        "acts_west": In(width),
        "acts_east": Out(width),
        "control_west": In(control),
        "control_east": Out(control),
    }


def _enables(outer) -> dict:
    """Connections of the enables that `outer` has."""
    return {f"i_{port}": getattr(outer, port) for port in _ENABLES if hasattr(outer, port)}


def _psums_north(outer, index: int, width: int, *, port: str = "psums_north") -> dict:
    """Connection of psums from the north, where they come from there."""
    if not hasattr(outer, "psums_north"):
        return {}
    return {f"i_{port}": outer.psums_north.word_select(index, width)}


def _north_south(outer, config: ArrayConfig, index: int, count: int) -> dict:
    """Connections of block `index` of `count` columns to the ports of `outer`."""
    trits, psums = count * config.lanes * 2, count * config.psum_bits
    return {
        **_enables(outer),
        "i_trits_north": outer.trits_north.word_select(index, trits),
        "o_trits_south": outer.trits_south.word_select(index, trits),
        **_psums_north(outer, index, psums),
        "o_psums_south": outer.psums_south.word_select(index, psums),
    }


class Hop(wiring.Component):
    """Act and control registers, and `cols_per_hop` output-stationary PEs that read them.

    Members
    -------
    acts_west, acts_east : In, Out(lanes * act_bits)
    control_west, control_east : In, Out(CONTROL)
    shift, trits_*, psums_*
        As of `PE`, for `cols_per_hop` columns, column 0 in the low bits.

    Parameters
    ----------
    weight_bits, psum_bits : int
        Of one weight and one psum, where PEs are those of `hw.baselines`.
    """

    def __init__(
        self,
        config: ArrayConfig,
        *,
        prefix: str,
        weight_bits: int = 2,
        psum_bits: int | None = None,
    ):
        self.config = config
        self.prefix = prefix
        self._weight_bits = weight_bits
        self._psum_bits = psum_bits or config.psum_bits
        ports = columns(config, config.cols_per_hop, weight_bits=weight_bits, psum_bits=psum_bits)
        super().__init__(west_east(config) | ports)

    def elaborate(self, platform):
        config = self.config
        m = Module()

        acts = Signal(config.lanes * config.act_bits, reset_less=True)
        control = Signal(CONTROL)
        m.d.sync += control.eq(self.control_west)
        # The control bits wait for the tree: by cycles since they came.
        controls = [self.control_west, control]
        stages = config.input_stages + config.tree_stages
        for stage in range(stages - 1):
            delayed = Signal(CONTROL, name=f"control_{stage}")
            m.d.sync += delayed.eq(controls[-1])
            controls.append(delayed)

        # A bubble leaves acts, trits and so the tree as they are: nothing of it toggles.
        take = Signal(len(config.lane_groups))
        for delay, lanes in enumerate(config.lane_groups):
            part = slice(lanes.start * config.act_bits, lanes.stop * config.act_bits)
            m.d.comb += take[delay].eq(controls[delay].valid)
            with m.If(take[delay]):
                m.d.sync += acts[part].eq(self.acts_west[part])
        m.d.comb += [self.acts_east.eq(acts), self.control_east.eq(control)]

        def told(bits, load):
            return {
                "valid": Cat(control.valid for control in bits),
                "first": Cat(control.first for control in bits),
                "load": load,
            }

        # Ports of the PEs, and what they are to be a cycle later.
        at_accumulator = controls[stages - config.accumulator_stages : stages + 1]
        before = controls[stages - config.accumulator_stages - 1 : stages]
        load = Signal()
        ending = at_accumulator[-1].valid & at_accumulator[-1].last
        m.d.sync += load.eq(ending)
        now, following = told(at_accumulator, load), told(before, ending)

        for index in range(config.cols_per_hop):
            trits, psums = config.lanes * self._weight_bits, self._psum_bits
            # Each of these would be a net across all PEs of the hop.
            own = {}
            if config.technology == Technology.ECP5:
                own = {
                    name: ecp5.own_register(m, value, name=f"pe_{index}_{name}")
                    for name, value in following.items()
                }
            elif config.technology == Technology.ASIC:
                # The others are enables, and so have clock gates.
                first = following["first"]
                own["first"] = asic.own_register(m, self.prefix, first, name=f"pe_{index}_first")
            m.submodules[f"pe_{index}"] = Instance(
                f"{self.prefix}_pe",
                i_clk=ClockSignal(),
                i_take=take,
                i_acts=acts if config.input_stages else self.acts_west,
                i_trits_north=self.trits_north.word_select(index, trits),
                o_trits_south=self.trits_south.word_select(index, trits),
                **{f"i_{name}": value for name, value in (now | own).items()},
                **_enables(self),
                **_psums_north(self, index, psums, port="psum_north"),
                o_psum_south=self.psums_south.word_select(index, psums),
            )
        return m


class Row(wiring.Component):
    """Hops from west to east.

    Members
    -------
    acts_west : In(lanes * act_bits)
    control_west : In(control_layout)
    shift, trits_*, psums_*
        As of the hop, for `cols` columns, column 0 in the low bits; where weights are stationary,
        `advance` in place of `shift`.
    """

    def __init__(self, config: ArrayConfig, *, prefix: str):
        self.config = config
        self.prefix = prefix
        west = {name: flow for name, flow in west_east(config).items() if name.endswith("west")}
        super().__init__(west | columns(config, config.cols))

    def elaborate(self, platform):
        config = self.config
        m = Module()
        acts, control = self.acts_west, self.control_west
        for index in range(config.hops):
            acts_east = Signal.like(acts, name=f"acts_{index}")
            control_east = Signal.like(control, name=f"control_{index}")
            m.submodules[f"hop_{index}"] = Instance(
                f"{self.prefix}_hop",
                i_clk=ClockSignal(),
                i_rst=ResetSignal(),
                i_acts_west=acts,
                i_control_west=control,
                o_acts_east=acts_east,
                o_control_east=control_east,
                **_north_south(self, config, index, config.cols_per_hop),
            )
            acts, control = acts_east, control_east
        return m


def stack_name(prefix: str, rows: int) -> str:
    """Module name of a stack of rows."""
    return f"{prefix}_rows_{rows}" if rows > 1 else f"{prefix}_row"


class Stack(wiring.Component):
    """At least two rows, from north to south.

    Members
    -------
    acts_west : In(rows * lanes * act_bits)
        Skewed acts, row 0 (north) in the low bits.
    control_west : In(ArrayLayout(control_layout, rows))
    shift, trits_*, psums_*
        As of `Row`.
    """

    def __init__(self, config: ArrayConfig, *, rows: int, prefix: str):
        self.config = config
        self.rows = rows
        self.prefix = prefix
        west = {
            "acts_west": In(rows * config.lanes * config.act_bits),
            "control_west": In(data.ArrayLayout(control_layout(config), rows)),
        }
        super().__init__(west | columns(config, config.cols))

    def elaborate(self, platform):
        config = self.config
        m = Module()
        acts_bits, bits = config.lanes * config.act_bits, control_layout(config).size
        control = self.control_west.as_value()
        trits, psums, start = self.trits_north, self.psums_north, 0
        for half, rows in zip(("north", "south"), halves(self.rows), strict=True):
            end = start + rows
            trits_south = Signal.like(trits, name=f"trits_{half}")
            psums_south = Signal.like(psums, name=f"psums_{half}")
            m.submodules[half] = Instance(
                stack_name(self.prefix, rows),
                i_clk=ClockSignal(),
                i_rst=ResetSignal(),
                **_enables(self),
                i_acts_west=self.acts_west[start * acts_bits : end * acts_bits],
                i_control_west=control[start * bits : end * bits],
                i_trits_north=trits,
                o_trits_south=trits_south,
                i_psums_north=psums,
                o_psums_south=psums_south,
            )
            trits, psums, start = trits_south, psums_south, end
        m.d.comb += [self.trits_south.eq(trits), self.psums_south.eq(psums)]
        return m
