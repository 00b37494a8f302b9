"""The RTL against the cycle model, port by port, over shapes, stalls and values; and mutants."""

import numpy as np
import pytest

from arch.config import PRESETS, ArrayConfig
from hw.verilog import generate
from sim.runner import lockstep, plant

pytestmark = pytest.mark.slow

CONFIGS = [
    ArrayConfig(rows=1, cols=1, lanes=1),
    ArrayConfig(rows=2, cols=3, lanes=4),
    ArrayConfig(rows=3, cols=2, lanes=5),
    ArrayConfig(rows=5, cols=1, lanes=3),
    ArrayConfig(rows=1, cols=7, lanes=2, act_bits=5, max_k=30),
    ArrayConfig(rows=4, cols=4, lanes=8, levels_per_stage=1),
    ArrayConfig(rows=3, cols=5, lanes=7, levels_per_stage=3),
    ArrayConfig(rows=6, cols=2, lanes=1, act_bits=3),
    ArrayConfig(rows=2, cols=8, lanes=16, cols_per_hop=2),
    ArrayConfig(rows=5, cols=6, lanes=4, cols_per_hop=3),
    ArrayConfig(rows=1, cols=4, lanes=9, cols_per_hop=4),
    ArrayConfig(rows=8, cols=1, lanes=2, levels_per_stage=5),
    PRESETS["tiny"],
    PRESETS["decode"],
    PRESETS["base"],
]


def name(config):
    return f"{config.shape}-{config.act_bits}b-{config.cols_per_hop}-{config.levels_per_stage}"


def random_gemms(config, seed):
    """One multiplication, then shapes that leave ragged edges on every side."""
    rng = np.random.default_rng(seed)
    gemms = [(1, 1, 1)]
    for _ in range(4):
        m = rng.integers(1, 2 * config.rows, endpoint=True)
        k = rng.integers(1, min(5 * config.lanes, config.max_k), endpoint=True)
        n = rng.integers(1, 3 * config.cols, endpoint=True)
        gemms.append((int(m), int(k), int(n)))
    return gemms


@pytest.mark.parametrize("config", CONFIGS, ids=name)
def test_array_matches_model_and_timing(config, simulator, folder):
    seed = 7 + CONFIGS.index(config)
    gemms = random_gemms(config, seed)
    assert lockstep(config, gemms, seed=seed, simulator=simulator, folder=folder) == ""


MUTANTS = {
    "operand bit flipped": (r"\{ operand_0, 1'h1 \}", r"{ operand_0 ^ 8'h10, 1'h1 }"),
    "complement instead of negation": (r"\{ sum_2_0, carry_2_0 \}", r"{ sum_2_0, 1'h0 }"),
    "two lanes see one trit": (
        r"(operand_1 = )gated_1( \^ \{ trits_south\[3\])",
        r"\1gated_0\2",
    ),
    "accumulator never cleared": (r"first \? 24'h0+ : accumulator", r"accumulator"),
    "accumulator top bit stuck": (r"(accumulator <= )(accumulated);", r"\1{ 1'h0, \2[22:0] };"),
    "drain bit flipped": (r"shift \? psum_north", r"shift ? psum_north ^ 24'h1"),
    "bubble accumulated": (r"\.valid\(control_0\[0\]\)", r".valid(1'h1)"),
    "valid one cycle early": (r"\.valid\(control_0\[0\]\)", r".valid(control_east[0])"),
    "load one cycle early": (r"\.load\(load\)", r".load(control_0[0] & control_0[2])"),
    "freeze ignored by trits": (r"if \(take\) (trits_south <= trits_north;)", r"\1"),
    "skew of acts one cycle short": (r"\.after\(acts_1_1\)", r".after()"),
    "drain starts one cycle early": (r"waiting\[11:10\]", r"waiting[9:8]"),
    "tokens counted one short": (r"psums_last = left == 1'h1", r"psums_last = left == 2'h2"),
    "next tile one cycle early": (r"(blocked = acts_last & )\w+;", r"\1(gap > 1);"),
    "backpressure ignored": (r"(advance = )\w+ \| psums_ready", r"\g<1>1'h1"),
    "illegal code unnoticed": (r"illegal <= 1'h1;", r"illegal <= 1'h0;"),
    "wait counted twice": (r"perf_wait_trits <= (\w+)\[63:0\];", r"perf_wait_trits <= \1 + 1;"),
}


FAULTY = ArrayConfig(rows=2, cols=3, lanes=4)
GEMMS = [(2, 1, 7), (3, 9, 4), (2, 14, 3), (1, 4, 8), (2, 12, 2)]


@pytest.mark.parametrize("fault", MUTANTS)
def test_lockstep_catches_a_fault(fault, simulator, folder):
    verilog = plant(generate(FAULTY, name="dut").verilog, *MUTANTS[fault])
    failure = lockstep(FAULTY, GEMMS, seed=3, simulator=simulator, folder=folder, verilog=verilog)
    # The bench itself must have noticed, not some error on the way.
    assert "the model says" in failure or "psum beats after" in failure


def test_lockstep_passes_without_a_fault(simulator, folder):
    assert lockstep(FAULTY, GEMMS, seed=3, simulator=simulator, folder=folder) == ""
