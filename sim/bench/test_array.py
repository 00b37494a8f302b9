"""The RTL against the cycle model, port by port, over shapes, stalls and values; and mutants."""

import os
from pathlib import Path

import numpy as np
import pytest

from tritloom.arch.config import PRESETS, ArrayConfig, Technology
from tritloom.hw.cells import liberty, mapping
from tritloom.hw.fpga.synth import synthesise
from tritloom.hw.verilog import generate
from tritloom.sim.bench.runner import plant, run_array_bench

pytestmark = pytest.mark.slow

# A register behind every adder and every select.
FASTEST = {"levels_per_stage": 1, "select_stages": 1}

CONFIGS = [
    ArrayConfig(rows=1, cols=1, lanes=1),
    ArrayConfig(rows=2, cols=3, lanes=4),
    ArrayConfig(rows=3, cols=2, lanes=5),
    ArrayConfig(rows=5, cols=1, lanes=3),
    ArrayConfig(rows=1, cols=7, lanes=2, act_bits=5, max_k=30),
    ArrayConfig(rows=4, cols=4, lanes=8, levels_per_stage=1),
    ArrayConfig(rows=3, cols=4, lanes=3, input_stages=0, cols_per_hop=2),
    ArrayConfig(rows=1, cols=2, lanes=1, input_stages=0),
    ArrayConfig(rows=3, cols=5, lanes=7, levels_per_stage=3),
    ArrayConfig(rows=6, cols=2, lanes=1, act_bits=3),
    ArrayConfig(rows=2, cols=8, lanes=16, cols_per_hop=2),
    ArrayConfig(rows=5, cols=6, lanes=4, cols_per_hop=3),
    ArrayConfig(rows=1, cols=4, lanes=9, cols_per_hop=4),
    ArrayConfig(rows=8, cols=1, lanes=2, levels_per_stage=5),
    ArrayConfig(rows=2, cols=3, lanes=5, select_stages=1),
    ArrayConfig(rows=1, cols=2, lanes=1, technology="asic"),
    ArrayConfig(rows=2, cols=3, lanes=2, technology="asic", carries_per_stage=2),
    ArrayConfig(rows=2, cols=4, lanes=16, cols_per_hop=2, technology="asic"),
    ArrayConfig(
        rows=1, cols=2, lanes=32, technology="asic", act_bits=5, max_k=50, carries_per_stage=9
    ),
    ArrayConfig(
        rows=1,
        cols=2,
        lanes=64,
        cols_per_hop=2,
        technology="asic",
        input_stages=0,
        carries_per_stage=100,
    ),
    ArrayConfig(rows=1, cols=2, lanes=1, technology="ecp5"),
    ArrayConfig(rows=2, cols=3, lanes=8, technology="ecp5"),
    ArrayConfig(rows=3, cols=4, lanes=16, cols_per_hop=2, technology="ecp5", **FASTEST),
    ArrayConfig(rows=2, cols=2, lanes=32, lanes_per_chain=4, technology="ecp5", hosted_selects=3),
    ArrayConfig(
        rows=2,
        cols=4,
        lanes=16,
        cols_per_hop=4,
        technology="ecp5",
        lanes_per_stage=2,
        input_stages=0,
        diagnostics=False,
    ),
    ArrayConfig(
        rows=1, cols=2, lanes=8, lanes_per_chain=1, act_bits=6, max_k=50, technology="ecp5"
    ),
    PRESETS["tiny"],
    PRESETS["decode"],
    PRESETS["base"],
    PRESETS["ecp5"],
    *(pytest.param(PRESETS[name], marks=pytest.mark.exhaustive) for name in ("ecp5_full", "asic")),
]


def name(config):
    shape = f"{config.shape}-{config.act_bits}b-{config.cols_per_hop}-{config.levels_per_stage}"
    return f"{config.technology}-{shape}"


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
    seed = config.macs_per_cycle
    gemms = random_gemms(config, seed)
    assert run_array_bench(config, gemms, seed=seed, simulator=simulator, folder=folder) == ""


MUTANTS = {
    "operand bit flipped": (r"\{ operand_0, 1'h1 \}", r"{ operand_0 ^ 8'h10, 1'h1 }"),
    "complement instead of negation": (r"\{ sum_2_0, carry_2_0 \}", r"{ sum_2_0, 1'h0 }"),
    "two lanes see one trit": (
        r"(operand_1 = )gated_1( \^ \{ trits_south\[3\])",
        r"\1gated_0\2",
    ),
    "accumulator never cleared": (r"first \? 24'h0+ : accumulator", r"accumulator"),
    "accumulator top bit stuck": (r"(accumulator <= )(accumulated);", r"\1{ 1'h0, \2[22:0] };"),
    "drain bit flipped": (r"\? psum_north :", r"? psum_north ^ 24'h1 :"),
    "bubble accumulated": (r"\.valid\(control_0\[0\]\)", r".valid(1'h1)"),
    "valid one cycle early": (r"\.valid\(control_0\[0\]\)", r".valid(control_east[0])"),
    "load one cycle early": (r"\.load\(load\)", r".load(control_0[0] & control_0[2])"),
    "skew of acts one cycle short": (r"\.after\(acts_1_1\)", r".after()"),
    "drain starts one cycle early": (r"waiting\[5\]", r"waiting[4]"),
    "tokens counted one short": (r"left == 1'h1", r"left == 2'h2"),
    "next tile one token early": (
        r"(ended <= )(\w+);",
        r"\1\2 & ~(taken & left == 2'h2);",
    ),
    "backpressure ignored": (r"(taken = psums_valid) & psums_ready", r"\1"),
    "illegal code unnoticed": (r"illegal <= 1'h1;", r"illegal <= 1'h0;"),
    "wait counted without a cause": (r"(perf_wait_trits = \w+) & \w+;", r"\1;"),
}


# In the carry cells of technology ecp5.
ECP5_MUTANTS = {
    "no carry completes a negation": (r"\.CIN\(trits_south\[\d+\]\)", r".CIN(1'h0)"),
    "trit -1 takes its act as it is": (r"16'h965a", r"16'h66aa"),
    "zero trit takes its act": (r"16'h965a", r"16'h9696"),
    "accumulator never cleared": (r"16'hc6cc", r"16'h66cc"),
    "lanes not one after the other": (r"(acts_lane_1 <= )[^;]+", r"\1acts_lane_1"),
    "upper half in the lower one's cycle": (
        r"\.valid\((pe_\d_valid)\)",
        r".valid({2{\1[0]}})",
    ),
    "carry between the halves lost": (r"carry_q <= \w+(\[\d+\])?;", r"carry_q <= 1'h0;"),
}


# In the full adders of technology asic.
ASIC_MUTANTS = {
    "act's bit inverted": (r"\.act\(acts\[3\]\)", r".act(~acts[3])"),
    "trit -1 takes nothing": (r"(positive_n \| act_n\) & \()negative_n", r"\g<1>1'h1"),
    "carry is an and": (r"\(a & b\) \| \(a & ci\) \| \(b & ci\)", r"a & b & ci"),
    "sum lacks its carry": (r"a \^ b \^ ci", r"a ^ b"),
    "an illegal code is -1": (r"(trits_one_hot\[\d*[13579]\] = )trits_data\[\d+\] & ", r"\1"),
    "accumulator never cleared": (r"q <= d & ~rst", r"q <= 1'h0"),
    "carry between the halves lost": (r"carry_q <= \w+(\[\d+\])?;", r"carry_q <= 1'h0;"),
}


FAULTY = ArrayConfig(rows=2, cols=3, lanes=4)
FAULTY_ECP5 = FAULTY.replace(technology="ecp5", **FASTEST)
FAULTY_ASIC = FAULTY.replace(technology="asic")
GEMMS = [(2, 1, 7), (3, 9, 4), (2, 14, 3), (1, 4, 8), (2, 12, 2)]


@pytest.mark.parametrize(
    ("config", "change"),
    [
        pytest.param(config, change, id=f"{config.technology}-{fault}")
        for config, mutants in (
            (FAULTY, MUTANTS),
            (FAULTY_ECP5, ECP5_MUTANTS),
            (FAULTY_ASIC, ASIC_MUTANTS),
        )
        for fault, change in mutants.items()
    ],
)
def test_lockstep_catches_a_fault(config, change, simulator, folder):
    verilog = plant(generate(config, name="dut").verilog, *change)
    failure = run_array_bench(
        config, GEMMS, seed=3, simulator=simulator, folder=folder, verilog=verilog
    )
    # The bench itself must have noticed, not some error on the way.
    assert "the model says" in failure or "psum beats after" in failure


@pytest.mark.parametrize("config", [FAULTY, FAULTY_ECP5, FAULTY_ASIC], ids=list(Technology))
def test_lockstep_passes_without_a_fault(config, simulator, folder):
    assert run_array_bench(config, GEMMS, seed=3, simulator=simulator, folder=folder) == ""


@pytest.mark.parametrize("technology", [Technology.GENERIC, Technology.ECP5])
def test_netlist_of_an_fpga_passes_the_lockstep_bench(technology, simulator, folder):
    config = PRESETS["tiny"].replace(technology=technology)
    rtl = generate(config, name="dut")
    netlist = Path(folder) / f"netlist-{technology}.v"
    # Registers without a reset start from what the bitstream says, as on the device.
    done = synthesise(rtl, "ecp5", then=f"write_verilog -noattr {netlist}")
    assert done.cells["CCU2C"]
    assert not any(cell.startswith("$") for cell in done.cells)
    verilog = netlist.read_text()
    assert (
        run_array_bench(config, GEMMS, seed=4, simulator=simulator, folder=folder, verilog=verilog)
        == ""
    )


MINI = Path(__file__).parents[2] / "tests" / "data" / "mini.lib"


@pytest.mark.parametrize("technology", [Technology.GENERIC, Technology.ASIC])
@pytest.mark.parametrize("named", [False, True], ids=["mini", "LIBERTY"])
def test_netlist_of_standard_cells_passes_the_lockstep_bench(technology, named, simulator, folder):
    files = [Path(file) for file in os.environ.get("LIBERTY", "").split()] if named else [MINI]
    if not files:
        pytest.skip("LIBERTY does not name the files of a library")
    library = liberty.read(files)
    config = PRESETS["tiny"].replace(technology=technology, carries_per_stage=8)
    netlist = mapping.map_cells(generate(config, name="dut"), library, clock_ps=1000)
    assert set(netlist.cells) <= set(library.cells)
    verilog = netlist.verilog + liberty.verilog_models(library, netlist.cells)
    assert (
        run_array_bench(config, GEMMS, seed=4, simulator=simulator, folder=folder, verilog=verilog)
        == ""
    )
