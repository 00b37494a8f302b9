"""The weight-stationary RTL against its cycle model, and mutants of it."""

import numpy as np
import pytest

from tritloom.arch import timing
from tritloom.arch.config import PRESETS, ArrayConfig
from tritloom.arch.tiling import WeightStationaryPlan
from tritloom.arch.workload import Gemm
from tritloom.hw.verilog import generate
from tritloom.sim.bench.runner import plant, run_array_bench

pytestmark = pytest.mark.slow


def array(rows, cols, lanes, **changes):
    return ArrayConfig(rows=rows, cols=cols, lanes=lanes, dataflow="weight-stationary", **changes)


def stationary(name, **changes):
    return PRESETS[name].replace(dataflow="weight-stationary", **changes)


CONFIGS = [
    array(1, 1, 1, buffer_tokens=1),
    array(1, 1, 3, buffer_tokens=4),
    array(2, 3, 4, buffer_tokens=5),
    array(3, 2, 5, buffer_tokens=2, levels_per_stage=1),
    array(5, 1, 3, buffer_tokens=8),
    array(1, 7, 2, act_bits=5, max_k=30, buffer_tokens=3),
    array(4, 4, 8, buffer_tokens=16, levels_per_stage=1),
    array(3, 5, 7, buffer_tokens=7, levels_per_stage=3),
    array(6, 2, 1, act_bits=3, buffer_tokens=1),
    array(2, 8, 16, cols_per_hop=2, buffer_tokens=4),
    array(5, 6, 4, cols_per_hop=3, buffer_tokens=6),
    array(1, 4, 9, cols_per_hop=4, buffer_tokens=9, levels_per_stage=5),
    stationary("tiny"),
    stationary("decode", buffer_tokens=6),
    stationary("base", buffer_tokens=20),
]


def name(config):
    return (
        f"{config.shape}-{config.act_bits}b-{config.cols_per_hop}-{config.levels_per_stage}"
        f"-{config.buffer_tokens}t"
    )


def random_gemms(config, seed):
    """One multiplication, then shapes that leave ragged edges on every side."""
    rng = np.random.default_rng(seed)
    gemms = [(1, 1, 1)]
    for _ in range(4):
        # Fewer tokens than rows, more than the buffer holds, and between.
        m = rng.integers(1, min(2 * config.buffer_tokens, 3 * config.rows) + 1, endpoint=True)
        k = rng.integers(1, min(3 * config.rows * config.lanes, config.max_k), endpoint=True)
        n = rng.integers(1, 2 * config.cols, endpoint=True)
        gemms.append((int(m), int(k), int(n)))
    return gemms


@pytest.mark.parametrize("config", CONFIGS, ids=name)
def test_array_matches_model_and_timing(config, simulator, folder):
    seed = 11 + CONFIGS.index(config)
    gemms = random_gemms(config, seed)
    assert run_array_bench(config, gemms, seed=seed, simulator=simulator, folder=folder) == ""


def test_512_tokens_keep_99_percent_of_the_slots_busy(simulator, folder):
    # The steady scenario holds the RTL's cycles equal to the formula's.
    config, gemm = array(4, 4, 2), (512, 32, 8)
    assert timing.utilisation(WeightStationaryPlan(config, Gemm(*gemm))) >= 0.99
    assert run_array_bench(config, [gemm], seed=5, simulator=simulator, folder=folder) == ""


MUTANTS = {
    "operand bit flipped": (r"\{ operand_0, 1'h1 \}", r"{ operand_0 ^ 8'h10, 1'h1 }"),
    "psum of the north dropped": (r"\{ psum_north, 1'h1 \}", r"{ 24'h0, 1'h1 }"),
    "psum top bit stuck": (r"(psum_south <= )(\w+)\[24:1\];", r"\1{ 1'h0, \2[23:1] };"),
    "swap one cycle late": (r"\.swap\(control_west\[0\]\)", r".swap(control_east[0])"),
    "load one cycle late": (r"\.load\(control_west\[1\]\)", r".load(control_east[1])"),
    "active trits follow the shadow": (r"& \{ swap, advance \}", r"advance"),
    "freeze ignored by trits": (r"& \{ load, advance \}", r"load"),
    "skew of acts one cycle short": (r"\.after\(acts_1_1\)", r".after()"),
    "deskew one cycle short": (r"\.after\(psums_1_1\)", r".after()"),
    "load moves a row that still computes": (
        r"(perf_loads \? )(\{ left\[0\], 1'h1 \} : 2'h0)",
        r"\g<1>2'h3 : 2'h0",
    ),
    "next load starts over a loaded tile": (r"(trits_ready = advance & )\w+;", r"\g<1>1'h1;"),
    "acts do not wait for their trits": (r"(acts_ready = advance & )\w+;", r"\g<1>1'h1;"),
    "buffer added to the first slices": (r"line\[17\] \? 24'h0+ :", r"1'h0 ? 24'h0 :"),
    "buffer never added": (r"line\[17\] \? 24'h0+ :", r"1'h1 ? 24'h0 :"),
    "token not counted back": (r"line\[15\] \? 4'h0 :", r"1'h0 ? 4'h0 :"),
    "bubble written to the buffer": (r"(keep = )\w+ & (\w+);", r"\1\2;"),
    "incomplete psums sent": (r"send = line\[16\] & line\[18\]", r"send = line[16]"),
    "last not told": (r"send & line\[19\]", r"send & line[15]"),
    "backpressure ignored": (r"(advance = )\w+ \| psums_ready", r"\g<1>1'h1"),
    "illegal code unnoticed": (r"illegal <= 1'h1;", r"illegal <= 1'h0;"),
    "wait counted without a cause": (r"(perf_wait_load = \w+) & trits_valid;", r"\1;"),
}


FAULTY = array(2, 2, 4, buffer_tokens=5)
GEMMS = [(1, 1, 3), (7, 19, 4), (1, 30, 3), (5, 16, 2), (2, 24, 1)]


@pytest.mark.parametrize("fault", MUTANTS)
def test_lockstep_catches_a_fault(fault, simulator, folder):
    verilog = plant(generate(FAULTY, name="dut").verilog, *MUTANTS[fault])
    failure = run_array_bench(
        FAULTY, GEMMS, seed=3, simulator=simulator, folder=folder, verilog=verilog
    )
    # The bench itself must have noticed, not some error on the way.
    assert "the model says" in failure or "psum beats after" in failure


def test_every_fault_can_be_planted():
    verilog = generate(FAULTY, name="dut").verilog
    assert len({plant(verilog, *change) for change in MUTANTS.values()} - {verilog}) == len(MUTANTS)


def test_lockstep_passes_without_a_fault(simulator, folder):
    assert run_array_bench(FAULTY, GEMMS, seed=3, simulator=simulator, folder=folder) == ""
