"""The core from AXI to AXI, over shapes, packings, stalls, damage and resets; and mutants."""

import re

import numpy as np
import pytest

from arch.config import ArrayConfig
from hw.verilog import generate_core
from sim.runner import lockstep
from sim.scenarios import CORE_SCENARIOS, CORE_TESTS

pytestmark = pytest.mark.slow

CONFIGS = [
    ArrayConfig(rows=1, cols=1, lanes=1, max_k=64),
    ArrayConfig(rows=2, cols=3, lanes=4, max_k=64),
    ArrayConfig(rows=3, cols=4, lanes=5, max_k=100, cols_per_hop=2),
    ArrayConfig(rows=1, cols=5, lanes=2, max_k=33, act_bits=6, levels_per_stage=1),
    ArrayConfig(rows=4, cols=2, lanes=8, max_k=128, levels_per_stage=3),
]


def name(config):
    return f"{config.shape}-{config.act_bits}b-{config.cols_per_hop}"


def random_gemms(config, seed, count):
    """One multiplication, then ragged shapes, from a single slice to several of everything."""
    rng = np.random.default_rng(seed)
    sides = (3 * config.rows, min(7 * config.lanes, config.max_k), 4 * config.cols)
    shapes = rng.integers(1, sides, (count, 3), endpoint=True).tolist()
    return [(1, 1, 1), *(tuple(shape) for shape in shapes)]


def run(config, gemms, seed, simulator, folder, verilog=None):
    return lockstep(
        config,
        gemms,
        seed=seed,
        simulator=simulator,
        folder=folder,
        verilog=verilog or generate_core(config, name="dut").verilog,
        module="sim.core_bench",
        tests=len(CORE_SCENARIOS) + CORE_TESTS,
    )


@pytest.mark.parametrize("config", CONFIGS, ids=name)
def test_runs_are_right_counted_and_in_time(config, simulator, folder):
    # 40 Gemms each alone without stalls, for every one of the 5 shapes: 205 exact cycle counts.
    seed = 20 + CONFIGS.index(config)
    gemms = random_gemms(config, seed, 40)
    assert run(config, gemms, seed, simulator, folder) == ""


MUTANTS = {
    "replay reads the slice before": (
        r"(<= act_buffer\[)(.*?)\];",
        r"\1\2 - 1];",
    ),
    "one group of features too few": (r"(group_last = n_left <= )(\S+);", r"\1\2 + 3;"),
    "one slice too few": (r"(slice_last = k_left <= )(\S+);", r"\1\2 + 4;"),
    "weights read in the other packing": (
        r"(<= )registers_descriptor_packing;",
        r"\1~registers_descriptor_packing;",
    ),
    "rows of psums lost under backpressure": (r"back_valid <= 1'h1;", r"back_valid <= 1'h0;"),
    "sign of a psum not extended": (r"(m_axis_psums_tdata = \{ )front\[44\]", r"\g<1>1'h0"),
    "zero trits counted as others": (r"else zeros <= (\w+);", r"else zeros <= ~\1;"),
    "end of acts unnoticed": (r"\? 1'h1 : ended;", r"? ended : ended;"),
    "surplus acts taken for the next group's": (r"(dropping <= )\w+;", r"\g<1>1'h0;"),
    "soft reset does not reach the array": (
        r"(tritloom_dut_array array \(.*?\.rst\()reset",
        r"\1rst",
    ),
}


@pytest.mark.parametrize("fault", MUTANTS)
def test_bench_catches_a_fault(fault, simulator, folder):
    config = CONFIGS[1]
    pattern, replacement = MUTANTS[fault]
    verilog, count = re.subn(
        pattern, replacement, generate_core(config, name="dut").verilog, flags=re.DOTALL
    )
    assert count, f"nothing in the RTL matches {pattern}"
    gemms = [(2, 3, 4), (5, 30, 7), (3, 9, 9)]
    assert run(config, gemms, 3, simulator, folder, verilog) != ""


def test_bench_passes_without_a_fault(simulator, folder):
    gemms = [(2, 3, 4), (5, 30, 7), (3, 9, 9)]
    assert run(CONFIGS[1], gemms, 3, simulator, folder) == ""
