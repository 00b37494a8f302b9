"""hw.cells.timer and hw.cells.map: paths timed by hand, sizes, what a library makes of the RTL."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tritloom.arch.config import ArrayConfig
from tritloom.hw.baselines.pe import Mac
from tritloom.hw.cells import liberty, mapping
from tritloom.hw.cells.liberty_table import LookupTable
from tritloom.hw.cells.netlist import Instance, Netlist
from tritloom.hw.cells.timer import Timer
from tritloom.hw.verilog import generate_hop

MINI = Path(__file__).parents[1] / "data" / "mini.lib"
# 0.5 fF of wire a pin, a clock of 20 ps slew. Every cell: 10 ps + 2 ps/fF + 0.1 x slew, and a slew
# of 10 ps + 2 ps/fF.
WIRE_FF, CLOCK = 0.5, 0.1 * 20


@pytest.fixture(scope="module")
def library():
    return liberty.read([MINI])


def netlist(library, cells, *, inputs=(), outputs=()):
    instances = tuple(
        Instance(name=f"u{index}", cell=library.cells[cell], nets=nets)
        for index, (cell, nets) in enumerate(cells)
    )
    return Netlist(
        top="circuit",
        library=library,
        instances=instances,
        inputs={f"in{net}": [net] for net in inputs},
        outputs={f"out{net}": [net] for net in outputs},
    )


def chain(library, length):
    """Two flip-flops with inverters in between; net 0 is the clock."""
    inverters = [("INVx1", {"A": i, "Y": i + 1}) for i in range(1, length + 1)]
    flip_flops = [
        ("DFFHQNx1", {"CLK": 0, "D": length + 1, "QN": length + 2}),
        ("DFFHQNx1", {"CLK": 0, "D": length + 2, "QN": 1}),
    ]
    return netlist(library, [*inverters, *flip_flops], inputs=[0])


@pytest.mark.parametrize("length", [1, 2, 7])
def test_path_is_the_sum_of_its_delays(library, length):
    # Each net has one pin of 1 fF.
    load = 1 + WIRE_FF
    slew = 10 + 2 * load
    launch = 10 + 2 * load + CLOCK
    inverters = length * (10 + 2 * load + 0.1 * slew)
    timing = Timer(chain(library, length), wire_ff=WIRE_FF).time()
    assert timing.critical_ps == pytest.approx(launch + inverters + 5)
    assert [cell for _, cell, _ in timing.path] == ["DFFHQNx1"] + ["INVx1"] * length + ["DFFHQNx1"]
    assert timing.loads_ff[1] == pytest.approx(load)
    assert timing.slews_ps[1] == pytest.approx(slew)


def test_ports_are_as_if_behind_and_in_front_of_a_flip_flop(library):
    wire = netlist(library, [("INVx1", {"A": 1, "Y": 2})], inputs=[1], outputs=[2])
    load = 1 + WIRE_FF
    wanted = 10 + 2 * load + CLOCK + 10 + 2 * load + 0.1 * (10 + 2 * load) + 5
    assert Timer(wire, wire_ff=WIRE_FF).time().critical_ps == pytest.approx(wanted)


def test_the_later_of_two_ways_counts(library):
    cells = [
        ("INVx1", {"A": 1, "Y": 2}),
        ("INVx1", {"A": 2, "Y": 3}),
        ("NAND2x1", {"A": 1, "B": 3, "Y": 4}),
    ]
    timing = Timer(netlist(library, cells, inputs=[1], outputs=[4])).time()
    assert [name for name, _, _ in timing.path] == ["u0", "u1", "u2"]


def test_a_loop_is_found(library):
    cells = [("INVx1", {"A": 2, "Y": 1}), ("INVx1", {"A": 1, "Y": 2})]
    with pytest.raises(ValueError, match="circuit has a combinational loop"):
        Timer(netlist(library, cells, inputs=[0], outputs=[2]))


def test_sizes_meet_a_clock_that_small_cells_miss(library):
    inverter = library.cells["INVx1"]
    (arc,) = inverter.arcs

    def faster(table):
        return LookupTable(slews=table.slews, loads=table.loads, values=table.values / 2)

    arc = replace(
        arc,
        delays=tuple(map(faster, arc.delays)),
        slews=tuple(map(faster, arc.slews)),
    )
    large = replace(inverter, name="INVx2", area_um2=2.0, arcs=(arc,))
    both = replace(library, cells=library.cells | {"INVx2": large})
    timer = Timer(chain(both, 8))
    before = timer.time().critical_ps
    sized, timing = timer.size(before - 15)
    assert timing.critical_ps <= before - 15
    used = sized.cells
    assert 0 < used["INVx2"] < 8
    assert used["INVx1"] + used["INVx2"] == 8
    assert Timer(sized).time().critical_ps == pytest.approx(timing.critical_ps)


@pytest.fixture(scope="module")
def hop(library):
    config = ArrayConfig(
        rows=1, cols=2, lanes=4, cols_per_hop=2, technology="asic", max_k=64, carries_per_stage=30
    )
    return mapping.map_cells(generate_hop(config, name="dut"), library, without=["trits_south"])


def test_hop_has_the_full_adders_that_were_planned(hop):
    # 4 lanes of 9 bits but one, to 10 bits; a psum of 14. Half adders are gates here.
    adders, accumulator = 4 * 9 - 1 - 10, 14
    assert hop.cells["FAx1"] == pytest.approx(2 * (adders + accumulator), abs=4)
    assert hop.cells["OAI22x1"] == 2 * 4 * 8
    assert "trits_south" not in hop.outputs


def test_enabled_registers_have_a_clock_gate(hop):
    assert hop.cells["ICGx1"] >= 3
    assert hop.area_um2 == pytest.approx(
        sum(hop.area_of(kind) for kind in ("logic", "flip-flop", "clock gate"))
    )


@pytest.mark.parametrize("adders", mapping.Adders)
def test_adders_of_a_multiplier_are_found(library, adders):
    rtl = generate_hop(ArrayConfig(rows=1, cols=1, lanes=1, max_k=64), name="dut", kind=Mac)
    netlist = mapping.map_cells(rtl, library, adders=adders)
    assert (netlist.cells["FAx1"] > 0) == (adders != mapping.Adders.NONE)
    assert np.isfinite(Timer(netlist).time().critical_ps)
