"""Energies known by hand, a figure of OpenSTA's, and toggles against another simulator."""

import os
import re
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from tritloom.arch import streams
from tritloom.arch.config import ArrayConfig
from tritloom.arch.errors import InputError, MismatchError
from tritloom.arch.files import cache_folder
from tritloom.hw.baselines.pe import Mac
from tritloom.hw.cells import internal_energy, liberty, liberty_tree, mapping
from tritloom.hw.cells.netlist import Instance, Netlist
from tritloom.hw.cells.timer import Timer, Timing
from tritloom.hw.verilog import generate_hop, generate_pe
from tritloom.sim.checkpoints.fetch import DEMO_MODEL
from tritloom.sim.power import energy, glitches, play
from tritloom.sim.power.words import (
    demo_tiles,
    half_tiles,
    hop_words,
    layer_tiles,
    random_tiles,
)

MINI = Path(__file__).parents[2] / "tests" / "data" / "mini.lib"
CLOCK_HZ = 1e9
FJ = 1e-15
HOP = ArrayConfig(rows=1, cols=2, lanes=4, cols_per_hop=2, technology="asic", max_k=64)


@pytest.fixture(scope="module")
def library():
    return liberty.read([MINI])


def circuit(library, cells, *, inputs, output):
    """A netlist of (cell, nets by pin); inputs and output are port -> net."""
    instances = tuple(
        Instance(name=f"u{index}", cell=library.cells[name], nets=nets)
        for index, (name, nets) in enumerate(cells)
    )
    return Netlist(
        top="circuit",
        library=library,
        instances=instances,
        inputs={name: [net] for name, net in inputs.items()},
        outputs={"y": [output]},
    )


def timed(*loads_ff):
    """Timing of which only loads matter."""
    loads = np.array(loads_ff)
    return Timing(critical_ps=0.0, path=(), loads_ff=loads, slews_ps=np.zeros(len(loads)))


def run(netlist, timing, folder, **bits):
    """(report of a cycle as an operation, activity) of bits played into the ports."""
    words = {name: np.array(values, np.uint8)[:, None] for name, values in bits.items()}
    recording = play.play(play.of_netlist(netlist), words, folder=folder)
    activity = energy.count(netlist, recording)
    report = energy.energy(
        netlist, timing, activity, clock_hz=CLOCK_HZ, operations=activity.cycles, wire_ff=0.5
    )
    return report, activity


def test_inverters_cost_what_their_toggles_do(library, folder):
    chain = [("INVx1", {"A": 0, "Y": 1}), ("INVx1", {"A": 1, "Y": 2})]
    netlist = circuit(library, chain, inputs={"a": 0}, output=2)
    # Each net has a pin of 1 fF and 0.5 fF of wire; 3 toggles in 6 cycles, at 1 V.
    bits = [0, 1, 1, 0, 0, 1]
    report, activity = run(netlist, timed(1.5, 1.5, 1.5), folder, a=bits)
    assert activity.toggles.tolist() == [3, 3, 3]
    each, internal = 0.5 * 1.5, (0.33 + 0.13) / 2
    found = report.nominal
    assert found.arithmetic_j == pytest.approx(3 / 6 * 2 * (each + internal) * FJ)
    assert found.switching_j == pytest.approx(3 / 6 * 2 * each * FJ)
    assert found.ports_j == pytest.approx(3 / 6 * each * FJ)
    # 10 pW each.
    assert found.leakage_j == pytest.approx(20e-12 / CLOCK_HZ)
    assert found.registers_j == found.clock_j == 0
    assert found.total_j == pytest.approx(found.arithmetic_j + found.leakage_j)
    assert report.low.arithmetic_j == pytest.approx(3 / 6 * 2 * (0.5 + 0.22) * FJ)
    assert report.high.arithmetic_j == pytest.approx(3 / 6 * 2 * (each + 2 * internal) * FJ)


def test_conditions_are_stated(library, folder):
    netlist = circuit(library, [("INVx1", {"A": 0, "Y": 1})], inputs={"a": 0}, output=1)
    report, _ = run(netlist, timed(1.5, 1.5), folder, a=[0, 1])
    assert (report.library, report.voltage_v, report.temperature_c) == ("mini", 1.0, 25.0)
    assert (report.clock_hz, report.cycles, report.operations) == (CLOCK_HZ, 2, 2)


def test_library_without_energy_is_refused(library):
    netlist = circuit(library, [("INVx1", {"A": 0, "Y": 1})], inputs={"a": 0}, output=1)
    text = library.text.replace("internal_power", "other")
    bare = replace(netlist, library=replace(library, text=text))
    activity = energy.NetlistActivity(cycles=1, toggles=np.ones(2))
    with pytest.raises(InputError, match="library mini has no tables of internal energy"):
        energy.energy(bare, timed(1, 1), activity, clock_hz=CLOCK_HZ, operations=1)


def test_nand_hides_toggles_without_an_output(library, folder):
    netlist = circuit(
        library, [("NAND2x1", {"A": 0, "B": 1, "Y": 2})], inputs={"a": 0, "b": 1}, output=2
    )
    a, b = [0, 0, 1, 1, 1, 0], [0, 1, 1, 0, 1, 0]
    report, activity = run(netlist, timed(1.5, 1.5, 1.5), folder, a=a, b=b)
    assert activity.toggles.tolist() == [2, 4, 4]
    # 0.3 fJ for an output, 0.04 fJ for an input that is left over.
    joules = (4 * (0.3 + 0.75) + (6 - 4) * 0.04) * FJ
    assert report.nominal.arithmetic_j == pytest.approx(joules / 6)


def test_full_adder_pays_once_where_both_outputs_move(library, folder):
    nets = {"A": 0, "B": 1, "CI": -1, "CON": 2, "SN": 3}
    netlist = circuit(library, [("FAx1", nets)], inputs={"a": 0, "b": 1}, output=3)
    # B alone is true, so A moves both; then neither, so A moves the sum alone.
    report, activity = run(
        netlist, timed(0, 0, 0, 0), folder, a=[0, 1, 0, 1, 0, 0, 1, 0], b=[1, 1, 1, 1, 1, 0, 0, 0]
    )
    assert activity.toggles[2:].tolist() == [4, 8]
    assert activity.together == {(2, 3): 8}
    # Means of the tables are 0.5 fJ of the carry and 0.6 fJ of the sum: 12 toggles are 8 events.
    told = 4 * 0.5 + 8 * 0.6
    assert report.nominal.arithmetic_j == pytest.approx(told * 8 / 12 / 8 * FJ)
    assert report.high.arithmetic_j == pytest.approx(2 * told / 8 * FJ)


def test_flip_flop_that_divides_by_two(library, folder):
    netlist = circuit(
        library, [("DFFHQNx1", {"CLK": 0, "D": 1, "QN": 1})], inputs={"clk": 0, "a": 2}, output=1
    )
    report, activity = run(netlist, timed(1.0, 3.0, 0.0), folder, a=[0] * 10)
    assert activity.toggles.tolist() == [20, 10, 0]
    # Output, input, net; the clock's fall, its net twice.
    assert report.nominal.registers_j == pytest.approx((1.0 + 0.2 + 1.5) * FJ)
    assert report.nominal.clock_j == pytest.approx((0.4 + 2 * 0.5) * FJ)
    assert report.nominal.ports_j == 0


def test_flip_flop_that_holds_pays_for_both_edges(library, folder):
    netlist = circuit(
        library, [("DFFHQNx1", {"CLK": 0, "D": 2, "QN": 1})], inputs={"clk": 0, "a": 2}, output=1
    )
    report, _ = run(netlist, timed(1.0, 3.0, 1.5), folder, a=[0] * 10)
    assert report.nominal.registers_j == 0
    assert report.nominal.clock_j == pytest.approx((0.6 + 0.4 + 2 * 0.5) * FJ)


@pytest.mark.parametrize("opened", [0, 3, 8])
def test_no_clock_behind_a_closed_gate(library, folder, opened):
    cells = [
        ("ICGx1", {"CLK": 0, "ENA": 1, "SE": -1, "GCLK": 2}),
        ("DFFHQNx1", {"CLK": 2, "D": 3, "QN": 4}),
    ]
    netlist = circuit(library, cells, inputs={"clk": 0, "a": 1, "d": 3}, output=4)
    # The enable reaches the gate after a rising edge, for the next one.
    enable = [1] * opened + [0] * (8 - opened)
    report, activity = run(netlist, timed(2.5, 1.5, 1.0, 1.5, 1.5), folder, a=enable, d=[0] * 8)
    rises = min(opened, 7)
    assert activity.toggles[[0, 2]].tolist() == [16, 2 * rises]
    # The clock's net and the gate take this, whether an output moves or not.
    gate = 16 * 0.5 * 2.5 + 2 * rises * 1.0 + (16 - 2 * rises) * 0.2 + activity.toggles[1] * 0.2
    behind = rises * (0.6 + 0.4) + 2 * rises * 0.5 * 1.0
    assert report.nominal.clock_j == pytest.approx((gate + behind) / 8 * FJ)
    assert report.nominal.registers_j == 0


def simulate(netlist, words):
    """Values of all nets after each rising edge, by other means: (cycles, nets) of bool."""
    functions = [
        {
            net: compile(i.cell.pins[pin].function, pin, "eval")
            for pin in i.cell.outputs
            if i.cell.kind == "logic" and (net := i.nets.get(pin, -1)) >= 0
        }
        for i in netlist.instances
    ]
    size = 1 + max(play.net_numbers(netlist))
    values = np.zeros(size, int)
    state = dict.fromkeys(range(len(netlist.instances)), 0)
    enabled = dict(state)
    sources = {name: net for name, (net, *_) in netlist.inputs.items()}
    reset, clock = sources["rst"], sources["clk"]

    def value(net):
        return values[net] if net >= 0 else -1 - net

    def settle():
        while True:
            before = values.copy()
            for index, instance in enumerate(netlist.instances):
                nets, cell = instance.nets, instance.cell
                if cell.kind == "flip-flop":
                    values[nets["QN"]] = 1 - state[index]
                elif cell.kind == "logic":
                    pins = {pin: value(nets[pin]) for pin in cell.inputs}
                    for net, function in functions[index].items():
                        values[net] = eval(function, {}, pins) & 1
            if (values == before).all():
                return

    rows = []
    cycles = len(words["acts_west"])
    settle()
    for cycle in range(-play.RESET_CYCLES, cycles):
        # Flip-flops take what was there before the edge; gates what enabled them.
        for instance in netlist.instances:
            if instance.cell.kind == "clock gate":
                enabled[instance.nets["GCLK"]] = value(instance.nets["ENA"])
        for index, instance in enumerate(netlist.instances):
            gated = instance.nets.get("CLK", clock)
            if instance.cell.kind == "flip-flop" and (gated == clock or enabled[gated]):
                state[index] = value(instance.nets["D"])
        values[reset] = cycle < 0
        for name, word in words.items():
            bits = (
                np.unpackbits(word[cycle], bitorder="little") if cycle >= 0 else np.zeros(64, int)
            )
            nets = netlist.inputs[name]
            values[nets] = bits[: len(nets)]
        settle()
        rows.append(values.copy())
    return np.array(rows)[play.RESET_CYCLES - 1 :]


@pytest.fixture(scope="module")
def hop(library):
    """(RTL, netlist, timing)."""
    rtl = generate_hop(HOP, name="power")
    netlist = mapping.map_cells(rtl, library, clock_ps=1000, without=("trits_south", "acts_east"))
    return rtl, netlist, Timer(netlist).time()


def hop_operands(tiles=3, slices=5):
    return random_tiles(
        tiles=tiles, slices=slices, lanes=HOP.lanes, cols=HOP.cols, zero_share=1 / 3
    )


@pytest.mark.slow
def test_toggles_equal_those_of_another_simulator(hop, folder):
    _, netlist, _ = hop
    words = hop_words(HOP, *hop_operands())
    recording = play.play(play.of_netlist(netlist), words, folder=folder)
    found = energy.count(netlist, recording)
    rows = simulate(netlist, words)
    wanted = (rows[1:] != rows[:-1]).sum(axis=0)
    clocks = sorted(netlist.clock_nets)
    data = sorted(set(play.net_numbers(netlist)) - set(clocks))
    assert found.toggles[data].tolist() == wanted[data].tolist()
    assert found.cycles == len(rows) - 1
    (clock,) = netlist.inputs["clk"]
    assert found.toggles[clock] == 2 * found.cycles
    skipped = energy.count(netlist, recording.part(4))
    later = (rows[5:] != rows[4:-1]).sum(axis=0)
    assert skipped.toggles[data].tolist() == later[data].tolist()


def test_late_input_makes_a_glitch(library, folder):
    # Both inputs of the last gate follow a, one of them three inverters later.
    chain = [("INVx1", {"A": net, "Y": net + 1}) for net in range(3)]
    cells = [*chain, ("NAND2x1", {"A": 0, "B": 3, "Y": 4})]
    netlist = circuit(library, cells, inputs={"a": 0}, output=4)
    words = {"a": np.array([[0], [1], [0], [1], [1]], np.uint8)}
    recording = play.play(play.of_netlist(netlist), words, folder=folder)
    found = glitches.count(netlist, timed(*[1.0] * 5), recording)
    assert energy.count(netlist, recording).toggles.tolist() == [3, 3, 3, 3, 0]
    # Two rises, and down and up at each.
    assert found.toggles.tolist() == [3, 3, 3, 3, 4]


@pytest.mark.slow
def test_glitches_leave_every_net_at_its_value(hop, folder):
    _, netlist, timing = hop
    words = hop_words(HOP, *hop_operands())
    recording = play.play(play.of_netlist(netlist), words, folder=folder)
    found = glitches.count(netlist, timing, recording)
    settled = energy.count(netlist, recording)
    extra = found.toggles - settled.toggles
    assert extra.min() == 0
    assert (extra % 2 == 0).all()
    assert 1.05 < found.toggles.sum() / settled.toggles.sum() < 2
    clocks = list(netlist.clock_nets)
    assert not extra[clocks].any()


@pytest.mark.slow
def test_hop_computes_and_its_energy_adds_up(hop, folder):
    rtl, netlist, timing = hop
    acts, trits = hop_operands(tiles=8, slices=9)
    words = hop_words(HOP, acts, trits)
    psums = play.play(play.of_rtl(rtl), words, folder=folder).outputs["psums_south"]
    found = int.from_bytes(psums[-1].tobytes(), "little")
    last = [(acts[-2] * trits[-2, :, col]).sum() for col in range(HOP.cols)]
    assert [found >> i * HOP.psum_bits & (1 << HOP.psum_bits) - 1 for i in range(HOP.cols)] == [
        int(psum) % (1 << HOP.psum_bits) for psum in last
    ]
    recording = energy.record(netlist, rtl, words, folder=folder).part(9)
    activity = energy.count(netlist, recording)
    report = energy.energy(netlist, timing, activity, clock_hz=CLOCK_HZ, operations=63 * 8)
    assert report.cycles == 63
    assert report.operations == 63 * 8
    for split in (report.low, report.nominal, report.high):
        assert min(split.arithmetic_j, split.registers_j, split.clock_j, split.leakage_j) > 0
    assert report.low.total_j < report.nominal.total_j < report.high.total_j


@pytest.mark.slow
def test_netlist_that_does_something_else_is_refused(hop, folder, library):
    rtl, netlist, _ = hop
    instances = list(netlist.instances)
    index = next(i for i, each in enumerate(instances) if each.cell.name == "FAx1")
    nets = instances[index].nets
    swapped = nets | {"CON": nets.get("SN", -1), "SN": nets.get("CON", -1)}
    instances[index] = Instance(name="wrong", cell=library.cells["FAx1"], nets=swapped)
    wrong = replace(netlist, instances=tuple(instances))
    words = hop_words(HOP, *hop_operands())
    with pytest.raises(MismatchError, match=r"psums_south of .* differs from its RTL in cycle"):
        energy.record(wrong, rtl, words, folder=folder)


def pe_words(acts, weights, *, bits, latency):
    """A beat in every cycle for a PE of hw/baselines, whose acts are registered outside."""
    tiles, slices, _ = acts.shape
    beats = tiles * slices
    slice_ = np.tile(np.arange(slices), tiles)

    def later(flags, cycles):
        return np.pad(flags.astype(np.uint8), (cycles, 0))[:beats, None]

    packed = streams.pack_fields(acts.reshape(beats, -1), bits)
    return {
        "take": np.ones((beats, 1), np.uint8),
        "acts": np.concatenate([np.zeros_like(packed[:1]), packed[:-1]]),
        "trits_north": streams.pack_fields(weights.reshape(beats, -1), bits),
        "valid": later(np.ones(beats), 1 + latency),
        "first": later(slice_ == 0, 1 + latency),
        "load": later(slice_ == slices - 1, 2 + latency),
    }


@pytest.mark.slow
def test_baseline_s_pe_gives_its_products(folder):
    config = ArrayConfig(rows=1, cols=1, lanes=1, max_k=4096)
    rng = np.random.default_rng(3)
    acts, weights = rng.integers(-128, 128, (2, 3, 6, 1))
    latency = config.tree_stages
    words = pe_words(acts, weights, bits=8, latency=latency)
    rtl = generate_pe(config, kind=Mac, name="power")
    south = play.play(play.of_rtl(rtl), words, folder=folder).outputs["psum_south"]
    found = [int.from_bytes(word.tobytes(), "little") for word in south]
    # Where each tile's psum is first seen.
    at = 6 * np.arange(1, 3) + 2 + latency
    wanted = (acts * weights).sum(axis=(1, 2)) % (1 << config.psum_bits)
    assert [found[cycle] for cycle in at] == wanted[:2].tolist()


def test_random_trits_have_their_share_of_zeros():
    acts, trits = random_tiles(tiles=4, slices=50, lanes=8, cols=4, zero_share=1 / 3)
    assert (acts.min(), acts.max()) == (-128, 127)
    shares = [(trits == trit).mean() for trit in (-1, 0, 1)]
    assert shares == pytest.approx([1 / 3] * 3, abs=0.02)


def test_tiles_of_a_layer_multiply_to_its_outputs():
    rng = np.random.default_rng(2)
    layer, token = rng.integers(-1, 2, (6, 12)), rng.integers(-128, 128, 12)
    acts, trits = layer_tiles(token, layer, tiles=2, lanes=4, cols=3)
    assert (acts.shape, trits.shape) == ((2, 3, 4), (2, 3, 3, 4))
    outputs = np.einsum("tsl,tscl->tc", acts, trits)
    assert outputs.ravel().tolist() == (layer @ token).tolist()


@pytest.mark.skipif(
    not (cache_folder("cache") / Path(DEMO_MODEL.member).name).is_file(),
    reason="the demo's model is not in the cache",
)
def test_demo_s_tiles_are_the_layer_s():
    acts, trits = demo_tiles(tiles=5, lanes=64, cols=8)
    assert (acts.shape, trits.shape) == ((5, 9, 64), (5, 9, 8, 64))
    assert 0.25 < (trits == 0).mean() < 0.4
    assert np.abs(acts).max() == 127


def test_halves_are_words_of_16_bits():
    acts, values = half_tiles(tiles=2, slices=500)
    config = ArrayConfig(rows=1, cols=1, lanes=1, act_bits=16)
    words = hop_words(config, acts, values[:, :, None], weight_bits=16)
    played = words["acts_west"][:, :2].copy().view(np.float16).ravel()
    assert np.std(played) == pytest.approx(1, rel=0.1)
    held = words["trits_north"][:, :2].copy().view(np.float16).ravel()
    assert np.std(held) == pytest.approx(0.02, rel=0.1)
    control = words["control_west"].ravel()
    assert np.flatnonzero(control & 2).tolist() == [0, 500]
    assert np.flatnonzero(control & 4).tolist() == [499, 999]


def test_word_that_does_not_fit_is_refused(library, folder):
    netlist = circuit(library, [("INVx1", {"A": 0, "Y": 1})], inputs={"a": 0}, output=1)
    with pytest.raises(InputError, match="words of a must fit its 1 bits"):
        play.play(play.of_netlist(netlist), {"a": np.array([[2]], np.uint8)}, folder=folder)


# What OpenSTA's regression test/power_json.ok prints for five ASAP7 cells, in watts.
SEQUENTIAL = {"internal": 8.01e-06, "switching": 4.99e-08, "leakage": 1.45e-09}
COMBINATIONAL = {"internal": 2.03e-07, "switching": 5.32e-08}
U1 = {"internal": 9.83e-08, "switching": 2.58e-08}
U2 = {"internal": 1.05e-07, "switching": 2.74e-08}
FLIP_FLOP, BUFFER, AND = (f"{name}_ASAP7_75t_R" for name in ("DFFHQx4", "BUFx2", "AND2x2"))
PERIOD_S = 500e-12
# Toggles in a cycle, and share of time that a net is 1.
NETS = ["clk", "in1", "in2", "r1q", "r2q", "u1z", "u2z", "out"]
TOGGLES = np.array([2.0, *[0.1] * 7])
DUTY = dict(zip(NETS, [0.5] * 6 + [0.25] * 2, strict=True))
PLACED = {
    "r1": (FLIP_FLOP, {"D": "in1", "CLK": "clk", "Q": "r1q"}),
    "r2": (FLIP_FLOP, {"D": "in2", "CLK": "clk", "Q": "r2q"}),
    "r3": (FLIP_FLOP, {"D": "u2z", "CLK": "clk", "Q": "out"}),
    "u1": (BUFFER, {"A": "r2q", "Y": "u1z"}),
    "u2": (AND, {"A": "r1q", "B": "u1z", "Y": "u2z"}),
}


@pytest.fixture(scope="module")
def public():
    """(netlist, loads, slews) of that circuit."""
    if not (files := os.environ.get("LIBERTY", "").split()):
        pytest.skip("LIBERTY does not name the files of ASAP7")
    files = [Path(file) for file in files]
    wanted = {FLIP_FLOP, BUFFER, AND}
    cells = set()
    for file in files:
        _, blocks = liberty_tree.cut(liberty_tree.read_text(file))
        cells |= {name for name, _ in blocks}
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(liberty.EXCLUDED, "DFFHQx*")
        library = liberty.read(files, without=cells - wanted)
    instances = tuple(
        Instance(
            name=name, cell=library.cells[cell], nets={p: NETS.index(n) for p, n in nets.items()}
        )
        for name, (cell, nets) in PLACED.items()
    )
    netlist = Netlist(
        top="reg1",
        library=library,
        instances=instances,
        inputs={name: [NETS.index(name)] for name in ("in1", "in2", "clk")},
        outputs={"out": [NETS.index("out")]},
    )
    loads, slews = np.zeros(8), np.zeros(8)
    for instance in instances:
        for pin, net in instance.nets.items():
            loads[net] += instance.cell.pins[pin].capacitance_ff
    for instance in instances:
        arcs = [arc for arc in instance.cell.arcs if min(arc.slews[0].values.shape) > 1]
        target = instance.nets[arcs[0].target]
        # The slowest input's; u2 comes last.
        found = [
            [table.at(slews[instance.nets[arc.source]], loads[target]) for table in arc.slews]
            for arc in arcs
        ]
        slews[target] = np.max(found, axis=0).mean()
    return netlist, loads, slews


def watts(printed, digits=3):
    """What rounds to so many digits."""
    return pytest.approx(printed, abs=0.5 * 10 ** (np.floor(np.log10(printed)) + 1 - digits))


def public_internal_w(public):
    """Internal power of each instance, in watts."""
    netlist, loads, slews = public
    activity = energy.NetlistActivity(cycles=1, toggles=TOGGLES)
    rails = [
        internal_energy.internal_energy(netlist.library, netlist.cells, ground=ground)
        for ground in (False, True)
    ]
    joules = sum(
        energy.internal_j(netlist, loads, slews, activity, tables, every=True, clock_slew_ps=0.0)
        for tables in rails
    )
    return joules.sum(axis=1) / PERIOD_S


def test_logic_and_nets_are_what_opensta_publishes(public):
    netlist, loads, _ = public
    activity = energy.NetlistActivity(cycles=1, toggles=TOGGLES)
    switching = energy.switching_j(netlist, loads, activity) / PERIOD_S
    r1q, r2q, u1z, u2z = (switching[NETS.index(name)] for name in ("r1q", "r2q", "u1z", "u2z"))
    assert u1z == watts(U1["switching"])
    assert u2z == watts(U2["switching"])
    assert u1z + u2z == watts(COMBINATIONAL["switching"])
    assert r1q + r2q == watts(SEQUENTIAL["switching"])
    *_, u1, u2 = public_internal_w(public)
    # OpenSTA has a slew for each edge, we have their mean.
    assert u1 == pytest.approx(U1["internal"], rel=0.001)
    assert u2 == watts(U2["internal"])
    assert u1 + u2 == watts(COMBINATIONAL["internal"])


def test_flip_flops_are_what_opensta_publishes_if_states_are_independent(public):
    netlist, loads, slews = public
    slews = slews.copy()
    groups = internal_energy._groups(netlist.library, [FLIP_FLOP])[FLIP_FLOP]
    total = 0.0
    for _, nets in list(PLACED.values())[:3]:
        number = {pin: NETS.index(net) for pin, net in nets.items()}
        for group in groups:
            fj = energy.mean_fj(
                (group.rise, group.fall),
                slews[number[group.related or group.pin]],
                loads[number["Q"]],
            )
            pins = {pin: DUTY[net] for pin, net in nets.items()}
            total += fj * TOGGLES[number[group.pin]] * probability(group.when, pins)
    assert total * FJ / PERIOD_S == watts(SEQUENTIAL["internal"])


def probability(when, pins):
    """Probability that a condition of independent pins holds."""
    names = sorted(set(re.findall(r"[A-Za-z]\w*", when)))
    if not names:
        return 1.0
    expression = when.replace("!", " not ").replace("*", " and ").strip()
    return sum(
        np.prod([pins[n] if bit else 1 - pins[n] for n, bit in zip(names, bits, strict=True)])
        for bits in product((0, 1), repeat=len(names))
        if eval(expression, {}, dict(zip(names, bits, strict=True)))
    )


def test_flip_flops_that_mostly_hold_cost_a_little_more_than_published(public):
    found = public_internal_w(public)[:3].sum()
    assert 1.0 < found / SEQUENTIAL["internal"] < 1.1


def test_leakage_of_flip_flops_is_near_what_opensta_publishes(public):
    netlist, *_ = public
    assert energy.leakage_w(netlist)[:3].sum() == pytest.approx(SEQUENTIAL["leakage"], rel=0.05)
