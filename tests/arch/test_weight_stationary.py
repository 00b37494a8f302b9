"""Plan, cycles and counts of the weight-stationary array against walks that know no formula.

Cycles are held to a simulation that moves the trits from shadow register to shadow register, counts
to a walk that performs every action one by one.
"""

import itertools
import re
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tritloom.arch import streams, timing
from tritloom.arch.config import PRESETS, ArrayConfig, Dataflow, preset
from tritloom.arch.counts import array_counts
from tritloom.arch.errors import InputError
from tritloom.arch.tiling import OutputStationaryPlan, WeightStationaryPlan, make_plan
from tritloom.arch.workload import Gemm


@st.composite
def plans(draw):
    hops, cols_per_hop = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    config = ArrayConfig(
        rows=draw(st.integers(1, 4)),
        cols=hops * cols_per_hop,
        lanes=draw(st.integers(1, 9)),
        act_bits=draw(st.sampled_from([2, 8])),
        max_k=draw(st.sampled_from([128, 32768])),
        cols_per_hop=cols_per_hop,
        levels_per_stage=draw(st.integers(1, 3)),
        dataflow="weight-stationary",
        buffer_tokens=draw(st.integers(1, 6)),
    )
    m, n = draw(st.integers(1, 2 * config.buffer_tokens)), draw(st.integers(1, 2 * config.cols))
    k = draw(st.integers(1, 3 * config.rows * config.lanes))
    return WeightStationaryPlan(config, Gemm(m, k, n))


# The plan.


@given(plan=plans())
def test_tiles_cover_every_multiplication_exactly_once(plan):
    config, gemm = plan.config, plan.gemm
    covered = np.zeros((gemm.m, gemm.k, gemm.n), int)
    for tile in plan:
        assert 1 <= tile.tokens <= config.buffer_tokens
        assert 1 <= tile.features <= config.cols
        assert 1 <= tile.slices <= config.rows
        k0 = tile.first_slice * config.lanes
        covered[
            tile.m0 : tile.m0 + tile.tokens,
            k0 : k0 + tile.slices * config.lanes,
            tile.n0 : tile.n0 + tile.features,
        ] += 1
    assert (covered == 1).all()


@given(plan=plans())
def test_totals_agree_with_a_walk_of_the_tiles(plan):
    config, tiles = plan.config, list(plan)
    assert plan.tiles == len(tiles)
    assert plan.token_groups == len({tile.m0 for tile in tiles})
    assert plan.feature_groups == len({tile.n0 for tile in tiles})
    assert plan.k_groups == len({tile.first_slice for tile in tiles})
    assert plan.last_tokens == tiles[-1].tokens
    assert plan.beats == sum(tile.tokens for tile in tiles)
    assert plan.trit_beats == sum(config.rows for _ in tiles)
    assert plan.padded_n == plan.feature_groups * config.cols
    assert plan.padded_k == plan.k_groups * config.rows * config.lanes
    slots = config.rows * config.cols * config.lanes
    assert plan.executed_macs == sum(tile.tokens * slots for tile in tiles)


@given(plan=plans())
def test_slices_of_k_vary_fastest_and_tell_first_and_last(plan):
    tiles = list(plan)
    corners = [(tile.m0, tile.n0, tile.first_slice) for tile in tiles]
    assert corners == sorted(corners)
    for _, group in itertools.groupby(tiles, key=lambda tile: (tile.m0, tile.n0)):
        group = list(group)
        assert [tile.first_k for tile in group] == [True] + [False] * (len(group) - 1)
        assert [tile.last_k for tile in group] == [False] * (len(group) - 1) + [True]


@given(plan=plans(), seed=st.integers(0, 99))
def test_streamed_operands_accumulate_to_the_product(plan, seed):
    config, gemm, rng = plan.config, plan.gemm, np.random.default_rng(seed)
    acts = rng.integers(-2, 1, (gemm.m, gemm.k), endpoint=True)
    trits = rng.integers(-1, 1, (gemm.n, gemm.k), endpoint=True)
    acts_beats, slices_beats = streams.slice_acts(plan, acts), streams.slice_trits(plan, trits)
    psums, kept = [], {}
    for tile in plan:
        k_group = tile.first_slice // config.rows
        slices = slices_beats[tile.n0 // config.cols, k_group * config.rows :][: config.rows]
        for token in range(tile.m0, tile.m0 + tile.tokens):
            beat = acts_beats[k_group, token]
            product = sum(slice_.astype(np.int64) @ beat[i] for i, slice_ in enumerate(slices))
            kept[token] = product + (0 if tile.first_k else kept[token])
            if tile.last_k:
                psums.append(kept[token])
    assert (streams.join_psums(plan, np.array(psums)) == acts @ trits.T).all()


def test_plan_is_that_of_the_dataflow():
    gemm, stationary = Gemm(2, 3, 4), preset("tiny").replace(dataflow="weight-stationary")
    assert isinstance(make_plan(preset("tiny"), gemm), OutputStationaryPlan)
    assert isinstance(make_plan(stationary, gemm), WeightStationaryPlan)
    with pytest.raises(InputError, match="dataflow must be output-stationary for this plan"):
        OutputStationaryPlan(stationary, gemm)
    with pytest.raises(InputError, match="dataflow must be weight-stationary for this plan"):
        WeightStationaryPlan(preset("tiny"), gemm)


def test_k_beyond_the_psum_is_rejected_with_its_value():
    config = ArrayConfig(rows=1, cols=1, lanes=1, max_k=100, dataflow="weight-stationary")
    assert WeightStationaryPlan(config, Gemm(1, 100, 1)).tiles == 100
    with pytest.raises(InputError, match="k must be at most max_k = 100, not 101"):
        WeightStationaryPlan(config, Gemm(1, 101, 1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataflow": "row-stationary"}, "not 'row-stationary'"),
        ({"dataflow": None}, "not None"),
        ({"buffer_tokens": 0}, "buffer_tokens must be at least 1, not 0"),
        ({"buffer_tokens": 2.5}, "buffer_tokens must be an integer, not 2.5"),
        ({"buffer_tokens": 65537}, "buffer_tokens must be at most 65536, not 65537"),
    ],
)
def test_bad_parameter_is_named_with_its_value(changes, message):
    if "dataflow" in changes:
        message = f"dataflow must be output-stationary or weight-stationary, {message}"
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        ArrayConfig(rows=1, cols=1, lanes=1, **changes)


def test_text_becomes_the_dataflow():
    config = ArrayConfig(rows=1, cols=1, lanes=1, dataflow="weight-stationary")
    assert config.dataflow is Dataflow.WEIGHT_STATIONARY


# Cycles.


def correct(config, tiles):
    """Whether every PE swaps in the trits of its own slice.

    Parameters
    ----------
    tiles : list of (cycles of the load's beats so far, cycle of the first beat of acts or None)
        Beat i shifts the shadow registers of rows 0 to i; beats of trits reach hop h, h cycles
        later, and a swap reaches row r of it r cycles after that.
    """
    places = list(itertools.product(range(config.rows), range(config.hops)))
    last = max(c for loads, start in tiles for c in (*loads, start or 0))
    shadow = {}
    for cycle in range(last + config.rows + config.hops):
        for tile, (_, start) in enumerate(tiles):
            for row, hop in places:
                # The first slice has gone all the way south.
                wanted = (tile, config.rows - 1 - row)
                swaps = start is not None and cycle == start + row + hop
                if swaps and shadow.get((row, hop)) != wanted:
                    return False
        moved = dict(shadow)
        for tile, (loads, _) in enumerate(tiles):
            for (i, c), hop in itertools.product(enumerate(loads), range(config.hops)):
                if cycle == c + hop:
                    moved[0, hop] = (tile, i)
                    for row in range(1, i + 1):
                        moved[row, hop] = shadow.get((row - 1, hop))
        shadow = moved
    return True


def run(plan):
    """(load cycles, first beat of acts) of every tile, each beat as early as nothing is lost."""
    config, tiles = plan.config, []
    trits_free = acts_free = 0
    for tile in plan:
        # A whole load overwrites all that was there, so the tile before is all that matters.
        before, loads = tiles[-1:], []
        for _ in range(config.rows):
            while not correct(config, [*before, ([*loads, trits_free], None)]):
                trits_free += 1
            loads.append(trits_free)
            trits_free += 1
        while not correct(config, [*before, (loads, acts_free)]):
            acts_free += 1
        tiles.append((loads, acts_free))
        acts_free += tile.tokens
    return tiles


def registers(config):
    """Registers from the array's edge to the psum port, in the column of the first hop."""
    path = ["hop"]
    operands, level = config.lanes, 0
    while operands > 1:
        operands, level = (operands + 1) // 2, level + 1
        if level % config.levels_per_stage == 0 or operands == 1:
            path.append(f"tree level {level}")
    path += [f"psum of row {row}" for row in range(config.rows)]
    path += [f"wait for hop {hop}" for hop in range(1, config.hops)]
    return [*path, "output"]


@settings(max_examples=60)
@given(plan=plans())
def test_gemm_cycles_match_the_simulation(plan):
    _, last_start = run(plan)[-1]
    delivered = last_start + plan.last_tokens - 1 + len(registers(plan.config))
    assert timing.gemm_cycles(plan) == delivered + 1


@settings(max_examples=60)
@given(plan=plans())
def test_preload_and_every_period_match_the_simulation(plan):
    tiles = run(plan)
    for (_, start), (_, following), tile in zip(tiles, tiles[1:], plan, strict=False):
        assert following - start == timing.weight_stationary_period(plan.config, tokens=tile.tokens)
    loads, start = tiles[0]
    assert start - loads[0] == timing.preload(plan.config)


@pytest.mark.parametrize("name", [name for name in PRESETS if not name.startswith("ecp5")])
def test_latency_is_the_registers_on_the_way(name):
    config = PRESETS[name]
    assert timing.pass_latency(config) == len(registers(config))


def test_load_may_start_with_the_swap_and_no_sooner():
    config = ArrayConfig(rows=3, cols=2, lanes=1, dataflow="weight-stationary")
    assert correct(config, [([0, 1, 2], 3), ([3, 4, 5], 6)])
    assert not correct(config, [([0, 1, 2], 3), ([2, 4, 5], 6)])
    assert not correct(config, [([0, 1, 2], 3), ([3, 4, 5], 5)])


@pytest.mark.parametrize(("k", "n"), [(2560, 6912), (4096, 11008)])
def test_512_tokens_keep_99_percent_of_the_slots_busy(k, n):
    plan = WeightStationaryPlan(
        preset("base").replace(dataflow="weight-stationary"), Gemm(512, k, n)
    )
    assert 0.99 <= timing.utilisation(plan) < 1


@pytest.mark.parametrize(("k", "n"), [(2560, 6912), (4096, 11008)])
def test_one_token_takes_99_percent_of_the_trit_streams_rate(k, n):
    plan = WeightStationaryPlan(preset("base").replace(dataflow="weight-stationary"), Gemm(1, k, n))
    assert 0.99 <= plan.trit_beats / timing.gemm_cycles(plan) < 1


# Counts.


def add_tree(lanes, act_bits):
    """Widths of the adders of one tree, built by pairing."""
    operands, adders = [act_bits] * lanes, Counter()
    while len(operands) > 1:
        pairs = list(zip(operands[::2], operands[1::2], strict=False))
        sums = [max(pair) + 1 for pair in pairs]
        adders.update(sums)
        operands = sums + operands[2 * len(pairs) :]
    return adders


def walk(plan, bits_per_trit):
    """Every action of the plan, one at a time."""
    config, gemm, done = plan.config, plan.gemm, Counter(psum_buffer_bits=0)
    adders, slice_bits = add_tree(config.lanes, config.act_bits), config.lanes * config.act_bits
    acts, psums, weight_bits = set(), set(), Fraction(0)
    for tile in plan:
        for beat in range(config.rows):
            for _trit in range(config.cols * config.lanes):
                done["weight_buffer_bits"] += 2
                weight_bits += bits_per_trit
                for _row in range(beat + 1):
                    done["trit_hop_bits"] += 2
                done["trit_hop_bits"] += 2  # the swap
        for token in range(tile.m0, tile.m0 + tile.tokens):
            k0 = tile.first_slice * config.lanes
            inputs = range(k0, min(k0 + config.rows * config.lanes, gemm.k))
            acts.update((token, k) for k in inputs)
            for _row in range(config.rows):
                done["act_buffer_bits"] += slice_bits
                done["act_hop_bits"] += slice_bits * len(range(0, config.cols, config.cols_per_hop))
                for _col in range(config.cols):
                    done["select"] += config.lanes
                    for adder, times in adders.items():
                        done[f"add_int{adder}"] += times
                    done[f"add_int{config.psum_bits}"] += 1
                    done["psum_hop_bits"] += config.psum_bits
            for _col in range(config.cols):
                done[f"add_int{config.psum_bits}"] += 1
                if tile.first_slice > 0:
                    done["psum_buffer_bits"] += config.psum_bits
                if inputs.stop < gemm.k:
                    done["psum_buffer_bits"] += config.psum_bits
            psums.update((token, tile.n0 + feature) for feature in range(tile.features))
    done["act_dram_bits"] = len(acts) * config.act_bits
    done["weight_dram_bits"] = round(weight_bits)
    done["psum_dram_bits"] = len(psums) * config.psum_bits
    return done


@pytest.mark.parametrize("bits", [Fraction(2), Fraction(8, 5)], ids=["trit2", "trit5"])
@settings(max_examples=60)
@given(plan=plans())
def test_array_counts_match_the_walk(plan, bits):
    assert dict(array_counts(plan, bits_per_trit=float(bits))) == walk(plan, bits)
