"""arch.counts.traffic_counts: bits across the memory interface."""

import pytest

from tritloom.arch.config import ArrayConfig, preset
from tritloom.arch.counts import array_counts, traffic_counts
from tritloom.arch.tiling import OutputStationaryPlan
from tritloom.arch.workload import Gemm


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("gemm", [Gemm(1, 1, 1), Gemm(7, 10, 13), Gemm(4, 8, 6), Gemm(12, 5, 20)])
def test_traffic_is_what_the_tiles_move(rows, gemm):
    config = ArrayConfig(rows=rows, cols=6, lanes=4)
    plan = OutputStationaryPlan(config, gemm)
    weights = sum(t.slices * config.lanes * config.cols for t in plan)
    psums = sum(t.tokens * t.features for t in plan)
    acts = sum(t.tokens * gemm.k for t in plan if t.n0 == 0)
    assert dict(traffic_counts(plan, weight_bits=2, act_bits=8, psum_bits=24)) == {
        "weight_dram_bits": 2 * weights,
        "act_dram_bits": 8 * acts,
        "psum_dram_bits": 24 * psums,
    }
    exact = traffic_counts(plan, weight_bits=16, act_bits=16, psum_bits=16, padded=False)
    groups = len({t.m0 for t in plan})
    assert exact["weight_dram_bits"] == 16 * groups * gemm.k * gemm.n


def test_traffic_of_array_counts_is_traffic_counts():
    plan = OutputStationaryPlan(preset("base"), Gemm(20, 100, 50))
    traffic = traffic_counts(plan, weight_bits=1.6, act_bits=8, psum_bits=plan.config.psum_bits)
    counts = array_counts(plan, bits_per_trit=1.6)
    assert {a: counts[a] for a in traffic} == dict(traffic)
    assert [a for a in counts if a.endswith("_dram_bits")] == list(traffic)
