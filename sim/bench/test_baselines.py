"""The baselines' psums through stalls and bubbles, and planted faults.

Integers are held to plain products, floating-point numbers to NumPy's sums in the same order.
"""

import numpy as np
import pytest
from amaranth.hdl import C, Mux
from amaranth.sim import Simulator

from tritloom.arch import ternary
from tritloom.arch.config import ArrayConfig
from tritloom.arch.errors import InputError
from tritloom.hw.baselines.pe import AdderTree, Mac, MacFp16, MacFp32, SelectAdd
from tritloom.hw.verilog import generate_pe

TILES = [1, 2, 5, 9, 1, 3]  # beats of each
BASELINES = [
    *((kind, 1) for kind in (SelectAdd, Mac, MacFp16, MacFp32)),
    *((AdderTree, lanes) for lanes in (1, 2, 3, 8, 16)),
]
# The accumulators of those that compute with FP16 numbers.
FLOATS = {MacFp16: np.float16, MacFp32: np.float32}
BITS = {MacFp16: np.uint16, MacFp32: np.uint32}


def configure(kind, lanes, **parameters):
    # The longest tile needs every bit of the psum; an int8 weight is up to 128 trits.
    max_k = max(TILES) * lanes * (128 if kind is Mac else 1)
    stages = 1 if kind is AdderTree else 2
    parameters = {"max_k": max_k, "act_bits": 16 if kind in FLOATS else 8} | parameters
    # Two rows, so that psums of the northern one come through.
    return ArrayConfig(rows=2, cols=1, lanes=lanes, levels_per_stage=stages, **parameters)


def operands(kind, lanes, rng):
    """Acts and weights of every tile, shape (beats, lanes); the longest tile is extreme."""
    low, high = (-128, 127) if kind is Mac else (-1, 1)
    tiles = []
    for beats in TILES:
        acts = rng.integers(-128, 128, (beats, lanes))
        weights = rng.integers(low, high, (beats, lanes), endpoint=True)
        if beats == max(TILES):
            acts[:], weights[:] = -128, low
        if kind in FLOATS:
            # Operands use all their bits, so that sums lose some; the longest run has the
            # largest numbers.
            acts, weights = (rng.normal(size=(beats, lanes)).astype(np.float16) for _ in range(2))
            if beats == max(TILES):
                acts[:] = weights[:] = np.finfo(np.float16).min
        tiles.append((acts, weights))
    return tiles


def encode(kind, acts, weights):
    """Codes of acts and weights."""
    if kind in FLOATS:
        return acts.view(np.uint16), weights.view(np.uint16)
    return acts, weights if kind is Mac else ternary.to_codes(weights)


def wanted(kind, acts, weights):
    """The psum of a tile."""
    if kind not in FLOATS:
        return int((acts * weights).sum())
    psum = FLOATS[kind](0)
    with np.errstate(over="ignore"):
        for act, weight in zip(acts[:, 0], weights[:, 0], strict=True):
            psum += FLOATS[kind](act) * FLOATS[kind](weight)
    return int(psum.view(BITS[kind]))


def pack(values, bits):
    return sum((int(value) & (1 << bits) - 1) << bits * i for i, value in enumerate(values))


def psums(dut, tiles, rng):
    """What the PE hands over for each tile, then what it shifts south; the hop is played here.

    Tiles are codes of acts and weights, psums are bits.
    """
    config, taken = dut.config, []
    beats = [
        (a, w, i == 0, i == len(acts) - 1)
        for acts, weights in tiles
        for i, (a, w) in enumerate(zip(acts, weights, strict=True))
    ]

    async def drive(ctx):
        # Control of the beat at the acts' register, and at each register of the tree.
        idle = (False, False, False)
        stages = [idle] * (1 + config.tree_stages)
        load = loaded = False
        for _ in range(40 * len(beats)):
            if loaded:
                taken.append(ctx.get(dut.psum_south))
            beat = beats[0] if beats and rng.random() < 0.7 else None
            valid, first, last = stages[-1]
            ctx.set(dut.take, bool(beat))
            ctx.set(dut.valid, bool(valid))
            ctx.set(dut.first, first)
            ctx.set(dut.load, bool(load))
            if beat:
                ctx.set(dut.trits_north, pack(beat[1], dut.weight_bits))
            await ctx.tick()
            loaded, load = load, valid and last
            stages = [(True, *beat[2:]) if beat else idle, *stages[:-1]]
            if beat:
                ctx.set(dut.acts, pack(beat[0], config.act_bits))
                beats.pop(0)
            if len(taken) == len(tiles):
                break
        ctx.set(dut.load, 0)
        ctx.set(dut.shift, 1)
        ctx.set(dut.psum_north, 5)
        await ctx.tick()
        taken.append(ctx.get(dut.psum_south))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(drive)
    simulator.run()
    return taken


def compare(kind, lanes, *, dut=None, seed=0, **parameters):
    """Bits of the psums of a baseline, or of a faulty one, and those wanted."""
    rng = np.random.default_rng([seed, lanes])
    tiles = operands(kind, lanes, rng)
    pe = (dut or kind)(configure(kind, lanes, **parameters))
    encoded = [encode(kind, *tile) for tile in tiles]
    mask = (1 << pe.psum_bits) - 1
    return psums(pe, encoded, rng), [*(wanted(kind, *tile) & mask for tile in tiles), 5]


@pytest.mark.parametrize(("kind", "lanes"), BASELINES)
@pytest.mark.parametrize("select_stages", [0, 1])
@pytest.mark.parametrize("seed", range(3))
def test_psums_are_plain_products(kind, lanes, select_stages, seed):
    seen, expected = compare(kind, lanes, seed=seed, select_stages=select_stages)
    assert seen == expected


def test_psum_of_32_bits_holds_int8_products():
    seen, expected = compare(Mac, 1, max_k=1 << 23, select_stages=1)
    assert seen == expected


@pytest.mark.parametrize(
    ("kind", "parameters", "bits"),
    [
        (Mac, {"max_k": 1 << 23}, 32),
        (AdderTree, {"max_k": 1 << 23}, 32),
        (MacFp16, {}, 16),
        (MacFp32, {}, 32),
    ],
)
def test_width_of_a_psum(kind, parameters, bits):
    ports = {
        port.name: port for port in generate_pe(configure(kind, 1, **parameters), kind=kind).ports
    }
    assert ports["psum_south"].width == bits


# What becomes of acts and weights on their way into the arithmetic.
FAULTS = {
    "complement for a negation": (
        AdderTree,
        8,
        lambda acts, weights: (
            [Mux(w == 3, act + 1, act) for act, w in zip(acts, weights, strict=True)],
            weights,
        ),
    ),
    "lane left out": (AdderTree, 3, lambda acts, weights: ([*acts[:-1], C(0, 8)], weights)),
    "lanes swapped": (AdderTree, 2, lambda acts, weights: (acts[::-1], weights)),
    "unsigned acts": (SelectAdd, 1, lambda acts, weights: ([acts[0].as_unsigned()], weights)),
    "sign of the weights lost": (Mac, 1, lambda acts, weights: (acts, [weights[0] & 0x7F])),
    "last bit of a weight lost": (
        MacFp16,
        1,
        lambda acts, weights: (acts, [weights[0] & 0xFFFE]),
    ),
    "last bit of an act lost": (MacFp32, 1, lambda acts, weights: ([acts[0] & -2], weights)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_wrong_arithmetic_is_seen(fault):
    kind, lanes, change = FAULTS[fault]

    class Faulty(kind):
        def products(self, m, acts, weights):
            return super().products(m, *change(acts, weights))

    seen, expected = compare(kind, lanes, dut=Faulty)
    assert seen != expected


@pytest.mark.parametrize("kind", [SelectAdd, AdderTree])
def test_ports_are_those_of_the_array_s_own_pe(kind):
    config = configure(kind, 1)
    assert generate_pe(config, kind=kind).ports == generate_pe(config).ports


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        (SelectAdd, {"lanes": 2}, "lanes of SelectAdd must be 1, not 2"),
        (Mac, {"lanes": 4}, "lanes of Mac must be 1, not 4"),
        (Mac, {"technology": "ecp5"}, "technology of Mac must be generic, not ecp5"),
        (MacFp16, {"act_bits": 8}, "act_bits of MacFp16 must be 16, not 8"),
        (MacFp32, {"lanes": 2}, "lanes of MacFp32 must be 1, not 2"),
        (AdderTree, {"levels_per_stage": 2}, "levels_per_stage of AdderTree must be 1, not 2"),
    ],
)
def test_shape_that_a_baseline_does_not_have_is_refused(kind, changes, message):
    with pytest.raises(InputError, match=message):
        generate_pe(configure(kind, 1).replace(**changes), kind=kind)
