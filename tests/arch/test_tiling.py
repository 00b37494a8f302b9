import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritloom.arch.config import PRESETS, ArrayConfig
from tritloom.arch.errors import InputError
from tritloom.arch.tiling import OutputStationaryPlan
from tritloom.arch.workload import Gemm

ARRAYS = st.builds(
    ArrayConfig,
    rows=st.integers(1, 9),
    cols=st.integers(1, 9),
    lanes=st.integers(1, 9),
)
GEMMS = st.builds(Gemm, st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))


@given(config=ARRAYS, gemm=GEMMS)
def test_tiles_cover_every_output_exactly_once(config, gemm):
    covered = np.zeros((gemm.m, gemm.n), int)
    for tile in OutputStationaryPlan(config, gemm):
        assert 1 <= tile.tokens <= config.rows
        assert 1 <= tile.features <= config.cols
        covered[tile.m0 : tile.m0 + tile.tokens, tile.n0 : tile.n0 + tile.features] += 1
        assert tile.m0 + tile.tokens <= gemm.m
        assert tile.n0 + tile.features <= gemm.n
    assert (covered == 1).all()


@given(config=ARRAYS, gemm=GEMMS)
def test_slices_cover_all_of_k_without_an_empty_one(config, gemm):
    for tile in OutputStationaryPlan(config, gemm):
        assert (tile.slices - 1) * config.lanes < gemm.k <= tile.slices * config.lanes


@given(config=ARRAYS, gemm=GEMMS)
def test_totals_agree_with_a_walk_of_the_tiles(config, gemm):
    plan = OutputStationaryPlan(config, gemm)
    tiles = list(plan)
    assert plan.tiles == len(tiles)
    assert plan.token_groups == len({tile.m0 for tile in tiles})
    assert plan.feature_groups == len({tile.n0 for tile in tiles})
    assert plan.last_tokens == tiles[-1].tokens
    assert {plan.slices} == {tile.slices for tile in tiles}
    assert plan.beats == sum(tile.slices for tile in tiles)
    assert plan.padded_k == max(tile.slices for tile in tiles) * config.lanes
    assert plan.padded_n == len({tile.n0 for tile in tiles}) * config.cols
    slots = config.rows * config.cols * config.lanes
    assert plan.executed_macs == sum(tile.slices * slots for tile in tiles)
    assert plan.executed_macs >= gemm.macs


@given(config=ARRAYS, gemm=GEMMS)
def test_features_vary_fastest_so_a_group_of_tokens_is_streamed_once(config, gemm):
    corners = [(tile.m0, tile.n0) for tile in OutputStationaryPlan(config, gemm)]
    assert corners == sorted(corners)


@pytest.mark.parametrize("config", PRESETS.values(), ids=PRESETS)
def test_gemm_of_exactly_one_tile_has_no_padding(config):
    plan = OutputStationaryPlan(config, Gemm(config.rows, 3 * config.lanes, config.cols))
    assert (plan.tiles, plan.slices) == (1, 3)
    assert plan.executed_macs == plan.gemm.macs


def test_k_beyond_the_accumulator_is_rejected_with_its_value():
    config = ArrayConfig(rows=1, cols=1, lanes=1, max_k=100)
    assert OutputStationaryPlan(config, Gemm(1, 100, 1)).slices == 100
    with pytest.raises(InputError, match="k must be at most max_k = 100, not 101"):
        OutputStationaryPlan(config, Gemm(1, 101, 1))
