"""The closed formulas against a slow simulation that moves every psum from register to register.

It is written from the array's description (design of the drain: token i sits i rows above the
south edge; a tile leaves row by row, all columns together) and knows none of the formulas.
"""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritloom.arch import timing
from tritloom.arch.config import PRESETS, ArrayConfig
from tritloom.arch.tiling import OutputStationaryPlan
from tritloom.arch.workload import Gemm


def registers_through_a_pe(config):
    """Registers from the array's edge to the drain register, counted along a tree built up."""
    registers = ["hop"] * config.input_stages
    operands, level, accumulators = config.lanes, 0, ["accumulator"]
    if config.technology == "ecp5":
        # One lane starts a chain, each other adds to it in a stage of its own.
        registers += [f"chain lane {lane}" for lane in range(1, config.lanes_per_chain)]
        operands //= config.lanes_per_chain
        accumulators = ["lower half", "upper half"]
    while operands > 1:
        operands, level = (operands + 1) // 2, level + 1
        if level % config.levels_per_stage == 0 or operands == 1:
            registers.append(f"tree level {level}")
    return len([*registers, *accumulators, "drain"])


def drain(config, last_beats):
    """Cycle and label (tile, token) of every psum beat, or None where a psum might be overwritten.

    The drain may be held at any time and for any time, so a tile must end when it is empty.

    Parameters
    ----------
    last_beats : list of (cycle, tokens)
        When the last beat of each tile is accepted, and how many tokens are to be drained.
    """
    south, depth = config.rows - 1, registers_through_a_pe(config)
    loads, ends = {}, dict(last_beats)
    for tile, (cycle, tokens) in enumerate(last_beats):
        for row in range(config.rows):
            for hop in range(config.hops):
                token = south - row
                label = (tile, token) if token < tokens else None
                loads.setdefault(cycle + depth + row + hop, []).append(((row, hop), label))
    held, under_way, delivered, cycle = {}, 0, [], 0
    while loads or held:
        if cycle in ends:
            if under_way:
                return None
            under_way = ends[cycle]
        for place, label in loads.pop(cycle, ()):
            if place in held:
                return None
            if label:
                held[place] = label
        front = {held.get((south, hop)) for hop in range(config.hops)}
        if len(front) == 1 and None not in front:
            label = front.pop()
            delivered.append((cycle, *label))
            under_way -= 1
            for hop in range(config.hops):
                del held[south, hop]
                for row in range(south, 0, -1):
                    if held.get((row - 1, hop), (None,))[0] == label[0]:
                        if (row, hop) in held:
                            return None
                        held[row, hop] = held.pop((row - 1, hop))
        cycle += 1
    return delivered


def run(plan):
    """Last beat of every tile and all psum beats, each tile as early as nothing is lost."""
    last_beats, previous = [], -1
    for tile in plan:
        cycle = previous + tile.slices
        # Older tiles have left by the time that the one before the last may end.
        while drain(plan.config, [*last_beats[-2:], (cycle, tile.tokens)]) is None:
            cycle += 1
        last_beats.append((cycle, tile.tokens))
        previous = cycle
    return last_beats, drain(plan.config, last_beats)


@st.composite
def plans(draw):
    hops, cols_per_hop = draw(st.integers(1, 5)), draw(st.integers(1, 2))
    config = ArrayConfig(
        rows=draw(st.integers(1, 5)),
        cols=hops * cols_per_hop,
        lanes=draw(st.integers(1, 9)),
        cols_per_hop=cols_per_hop,
        input_stages=draw(st.integers(0, 1)),
        levels_per_stage=draw(st.integers(1, 3)),
    )
    m, n = draw(st.integers(1, 3 * config.rows)), draw(st.integers(1, 3 * config.cols))
    return OutputStationaryPlan(config, Gemm(m, draw(st.integers(1, 12 * config.lanes)), n))


@given(plan=plans())
def test_gemm_cycles_match_the_simulation(plan):
    _, delivered = run(plan)
    assert timing.gemm_cycles(plan) == delivered[-1][0] + 1


@given(plan=plans())
def test_simulation_delivers_every_token_of_every_tile_once_and_in_order(plan):
    _, delivered = run(plan)
    expected = [(i, token) for i, tile in enumerate(plan) for token in range(tile.tokens)]
    assert [(tile, token) for _, tile, token in delivered] == expected


@given(plan=plans())
def test_every_period_and_latency_matches_the_simulation(plan):
    last_beats, delivered = run(plan)
    first_psums = {tile: cycle for cycle, tile, token in delivered if token == 0}
    for tile, (cycle, _) in enumerate(last_beats):
        assert first_psums[tile] - cycle == timing.drain_latency(plan.config)
    for (cycle, tokens), (following, _) in itertools.pairwise(last_beats):
        assert following - cycle == timing.tile_period(
            plan.config, slices=plan.slices, tokens=tokens
        )


@pytest.mark.parametrize("config", PRESETS.values(), ids=PRESETS)
def test_drain_gap_of_a_preset_is_the_shortest_that_loses_nothing(config):
    latency = timing.drain_latency(config)
    gap = timing.drain_gap(config, tokens=config.rows)
    close, closer = ([(0, config.rows), (g, config.rows)] for g in (gap, gap - 1))
    assert drain(config, close)[-1] == (gap + latency + config.rows - 1, 1, config.rows - 1)
    assert drain(config, closer) is None


@pytest.mark.parametrize(("rows", "hops"), [(1, 1), (1, 4), (3, 1), (4, 3)])
def test_skew_is_the_lag_of_the_far_corner(rows, hops):
    config = ArrayConfig(rows=rows, cols=2 * hops, lanes=1, cols_per_hop=2)
    arrival = {(0, 0): 0}
    for row in range(rows):
        for hop in range(hops):
            for south, east in ((1, 0), (0, 1)):
                place = (row + south, hop + east)
                arrival[place] = max(arrival.get(place, 0), arrival[row, hop] + 1)
    assert timing.skew(config) == arrival[rows - 1, hops - 1]


def test_smallest_array_takes_one_cycle_a_beat_and_three_registers():
    config = ArrayConfig(rows=1, cols=1, lanes=1)
    assert timing.drain_latency(config) == 3
    # Five beats in cycles 0 to 4, the psum in cycle 7.
    assert timing.gemm_cycles(OutputStationaryPlan(config, Gemm(1, 5, 1))) == 8


@given(plan=plans())
def test_utilisation_is_useful_work_over_all_slots(plan):
    cycles = run(plan)[1][-1][0] + 1
    slots = cycles * plan.config.rows * plan.config.cols * plan.config.lanes
    assert timing.utilisation(plan) == pytest.approx(plan.gemm.macs / slots)
    assert 0 < timing.utilisation(plan) <= 1


@pytest.mark.parametrize("config", PRESETS.values(), ids=PRESETS)
def test_layer_of_4096_squared_at_m_equal_rows_keeps_98_percent_busy(config):
    plan = OutputStationaryPlan(config, Gemm(config.rows, 4096, 4096))
    after_fill = timing.gemm_cycles(plan) - timing.drain_latency(config)
    assert plan.gemm.macs / (after_fill * config.macs_per_cycle) > 0.98
