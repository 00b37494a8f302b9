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
from tritloom.hw.parts.ports import Modules, Ports, members

# Control bits that ride with every slice of acts, output-stationary.
OUTPUT_STATIONARY_CONTROL = data.StructLayout(
    {
        "valid": 1,  # the slice is a beat, not a bubble
        "first": 1,  # of a tile
        "last": 1,  # of a tile
    }
)

# Clock enables: of the drain registers in an output-stationary array of more than one row, and of
# all registers in a weight-stationary array.
_ENABLES = ("shift", "advance")

# Control bits that go east in the same registers, weight-stationary.
WEIGHT_STATIONARY_CONTROL = data.StructLayout(
    {
        "swap": 1,  # with the first slice of a tile: the shadow trits become the active ones
        "load": 1,  # the shadow trits take those of the north
    }
)


def control_layout(config: ArrayConfig) -> data.StructLayout:
    """The control bits that go east in an array of the configuration's dataflow."""
    output = config.dataflow == Dataflow.OUTPUT_STATIONARY
    return OUTPUT_STATIONARY_CONTROL if output else WEIGHT_STATIONARY_CONTROL


def column_ports(
    config: ArrayConfig, count: int, *, weight_bits: int = 2, psum_bits: int | None = None
) -> Ports:
    """Ports that run north to south through `count` columns, and their enables.

    Psums come from the north where they pass through, and where they drain through further rows.
    """
    output = config.dataflow == Dataflow.OUTPUT_STATIONARY
    psums, trits = count * (psum_bits or config.psum_bits), count * config.lanes * weight_bits
    north = {"psums_north": (In, psums, "psum [column] from the north, column 0 in the low bits")}
    return {
        **({"shift": (In, 1, "high to shift psums south")} if output and config.rows > 1 else {}),
        **({} if output else {"advance": (In, 1, "clock enable of every register")}),
        "trits_north": (In, trits, "trit code [column][lane] from the north"),
        "trits_south": (Out, trits, "trit code [column][lane] to the south"),
        **({} if output and config.rows == 1 else north),
        "psums_south": (Out, psums, "psum [column] to the south, column 0 in the low bits"),
    }


def west_ports(config: ArrayConfig) -> Ports:
    """Ports of the west edge of a hop or a row."""
    return {
        "acts_west": (In, config.lanes * config.act_bits, "act [lane] from the west"),
        "control_west": (In, control_layout(config), "control bits that come with acts_west"),
    }


def hop_ports(config: ArrayConfig, *, weight_bits: int = 2, psum_bits: int | None = None) -> Ports:
    """Ports of a hop: name -> (direction, shape, description).

    Parameters
    ----------
    weight_bits, psum_bits : int
        Bits of one weight and of one psum, where PEs are those of `hw.baselines`.
    """
    west, count = west_ports(config), config.cols_per_hop
    return {
        "acts_west": west["acts_west"],
        "acts_east": (Out, config.lanes * config.act_bits, "act [lane] to the east, a cycle later"),
        "control_west": west["control_west"],
        "control_east": (Out, control_layout(config), "control bits that go with acts_east"),
        **column_ports(config, count, weight_bits=weight_bits, psum_bits=psum_bits),
    }


def stack_ports(config: ArrayConfig, rows: int) -> Ports:
    """Ports of a stack of rows: name -> (direction, shape, description)."""
    acts = rows * config.lanes * config.act_bits
    controls = data.ArrayLayout(control_layout(config), rows)
    return {
        "acts_west": (In, acts, "act [row][lane] from the west, skewed, row 0 in the low bits"),
        "control_west": (In, controls, "control bits [row] that come with acts_west"),
        **column_ports(config, config.cols),
    }


def _enables(outer) -> dict:
    """Connections of the clock enables that `outer` has."""
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


class OutputStationaryHop(wiring.Component):
    """Act and control registers, and `cols_per_hop` output-stationary PEs that read them.

    Its members are those of `hop_ports`.

    Parameters
    ----------
    weight_bits, psum_bits : int
        Bits of one weight and of one psum, where PEs are those of `hw.baselines`.
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
        ports = hop_ports(config, weight_bits=weight_bits, psum_bits=psum_bits)
        super().__init__(members(ports))

    def elaborate(self, platform):
        config = self.config
        m = Module()

        acts = Signal(config.lanes * config.act_bits, reset_less=True)
        control = Signal(OUTPUT_STATIONARY_CONTROL)
        m.d.sync += control.eq(self.control_west)
        # The control bits, by cycles since they came: they wait for the tree.
        controls = [self.control_west, control]
        stages = config.input_stages + config.tree_stages
        for stage in range(stages - 1):
            delayed = Signal(OUTPUT_STATIONARY_CONTROL, name=f"control_{stage}")
            m.d.sync += delayed.eq(controls[-1])
            controls.append(delayed)

        # A bubble leaves acts and trits as they are, so nothing in the tree toggles.
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

        # Control bits at the ports of the PEs, now and a cycle later.
        at_accumulator = controls[stages - config.accumulator_stages : stages + 1]
        before = controls[stages - config.accumulator_stages - 1 : stages]
        load = Signal()
        ending = at_accumulator[-1].valid & at_accumulator[-1].last
        m.d.sync += load.eq(ending)
        now, following = told(at_accumulator, load), told(before, ending)

        for index in range(config.cols_per_hop):
            trits, psums = config.lanes * self._weight_bits, self._psum_bits
            # Shared by all PEs of the hop, each of these bits would be a long net.
            own = {}
            if config.technology == Technology.ECP5:
                own = {
                    name: ecp5.own_register(m, value, name=f"pe_{index}_{name}")
                    for name, value in following.items()
                }
            elif config.technology == Technology.ASIC:
                # The other bits are enables, and so have clock gates.
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

    Its members are those of `west_ports`, and of `column_ports` for `cols` columns.
    """

    def __init__(self, config: ArrayConfig, *, prefix: str):
        self.config = config
        self.prefix = prefix
        super().__init__(members(west_ports(config) | column_ports(config, config.cols)))

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

    Its members are those of `stack_ports`.
    """

    def __init__(self, config: ArrayConfig, *, rows: int, prefix: str):
        self.config = config
        self.rows = rows
        self.prefix = prefix
        super().__init__(members(stack_ports(config, rows)))

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


def stacks(config: ArrayConfig, *, prefix: str) -> Modules:
    """The stacks of rows of an array by name, the largest first; none where there is one row."""
    sizes = [config.rows]  # grows while it is walked
    for rows in sizes:
        if rows > 1:
            sizes += set(halves(rows)) - set(sizes)
    return {
        stack_name(prefix, rows): Stack(config, rows=rows, prefix=prefix)
        for rows in sizes
        if rows > 1
    }
