"""The core from AXI to AXI beside its model: shapes, packings, stalls, damage, resets; faults."""

import numpy as np
import pytest

from tritloom.arch.config import PRESETS, ArrayConfig, Dataflow, Technology
from tritloom.hw.core import sequencer
from tritloom.hw.verilog import generate_core
from tritloom.sim.bench.runner import plant, run_array_bench
from tritloom.sim.bench.scenarios import CORE_SCENARIOS, CORE_TESTS

pytestmark = pytest.mark.slow

CONFIGS = [
    ArrayConfig(rows=1, cols=1, lanes=1, max_k=64),
    ArrayConfig(rows=2, cols=3, lanes=4, max_k=64),
    ArrayConfig(rows=3, cols=4, lanes=5, max_k=100, cols_per_hop=2),
    ArrayConfig(rows=1, cols=5, lanes=2, max_k=33, act_bits=6, levels_per_stage=1),
    ArrayConfig(rows=4, cols=2, lanes=8, max_k=128, levels_per_stage=3),
    ArrayConfig(rows=2, cols=3, lanes=8, max_k=128, lanes_per_chain=4, technology="ecp5"),
]


def stationary(**parameters):
    return ArrayConfig(dataflow="weight-stationary", **parameters)


STATIONARY_CONFIGS = [
    stationary(rows=1, cols=1, lanes=1, max_k=64, buffer_tokens=1),
    stationary(rows=2, cols=3, lanes=4, max_k=64, buffer_tokens=5),
    stationary(rows=3, cols=4, lanes=5, max_k=100, cols_per_hop=2, buffer_tokens=2),
    stationary(rows=1, cols=5, lanes=2, max_k=33, act_bits=6, levels_per_stage=1, buffer_tokens=4),
    stationary(rows=4, cols=2, lanes=8, max_k=160, levels_per_stage=3, buffer_tokens=7),
]


def name(config):
    return f"{config.dataflow.split('-')[0]}-{config.shape}-{config.act_bits}b"


def random_gemms(config, seed, count):
    """One multiplication, then ragged shapes, from a single slice to several of everything."""
    rng = np.random.default_rng(seed)
    features = min(7 * config.slices_per_tile * config.lanes, config.max_k)
    sides = (3 * config.group_tokens, features, 4 * config.cols)
    shapes = rng.integers(1, sides, (count, 3), endpoint=True).tolist()
    return [(1, 1, 1), *(tuple(shape) for shape in shapes)]


def run(config, gemms, seed, simulator, folder, verilog=None):
    return run_array_bench(
        config,
        gemms,
        seed=seed,
        simulator=simulator,
        folder=folder,
        verilog=verilog or generate_core(config, name="dut").verilog,
        module="tritloom.sim.bench.core_bench",
        tests=len(CORE_SCENARIOS) + CORE_TESTS,
    )


@pytest.mark.parametrize("config", CONFIGS + STATIONARY_CONFIGS, ids=name)
def test_runs_are_right_counted_and_in_time(config, simulator, folder):
    # Without stalls, 41 Gemms each alone and in queues of 5: 205 exact cycle counts for either
    # dataflow. With stalls, as many within the bounds.
    seed = 20 + (CONFIGS + STATIONARY_CONFIGS).index(config)
    gemms = random_gemms(config, seed, 40)
    assert run(config, gemms, seed, simulator, folder) == ""


# Where a tile takes more of k than there ever is.
BELOW_A_TILE = {
    "tiny with max_k 1": PRESETS["tiny"].replace(max_k=1),
    "64 lanes with max_k 31": PRESETS["tiny"].replace(rows=1, lanes=64, max_k=31),
    "60 lanes with max_k 20": PRESETS["tiny"].replace(lanes=60, max_k=20),
    "base weight-stationary, 2 columns, max_k 64": PRESETS["base"].replace(
        dataflow="weight-stationary", cols=2, max_k=64, buffer_tokens=6
    ),
}


@pytest.mark.parametrize("name", BELOW_A_TILE)
def test_max_k_may_be_below_a_tile(name, simulator, folder):
    config = BELOW_A_TILE[name]
    assert config.max_k < config.slices_per_tile * config.lanes
    gemms = [*random_gemms(config, 5, 12), (1, config.max_k, config.cols)]
    assert run(config, gemms, 5, simulator, folder) == ""


def narrow(config):
    """The RTL with what is left of k in as few bits as its largest value needs."""
    with pytest.MonkeyPatch.context() as patch:
        bits = sequencer.left_bits(config) | {"k": config.max_k.bit_length() + 1}
        patch.setattr(sequencer, "left_bits", lambda _: bits)
        return generate_core(config, name="dut").verilog


@pytest.mark.parametrize("name", BELOW_A_TILE)
def test_bench_catches_a_fault_where_what_is_left_of_k_has_too_few_bits(name, simulator, folder):
    config = BELOW_A_TILE[name]
    gemms = [(1, config.max_k, config.cols), (2, 1, 1)]
    assert run(config, gemms, 5, simulator, folder, narrow(config)) != ""


# Presets whose runs take minutes, which `make presets` alone runs.
MINUTES = ("large", "ecp5", "ecp5_full", "asic")
PRESET_TESTS = [
    pytest.param(name, dataflow, marks=[pytest.mark.exhaustive] if name in MINUTES else [])
    for name, config in PRESETS.items()
    for dataflow in Dataflow
    if dataflow == Dataflow.OUTPUT_STATIONARY or config.technology == Technology.GENERIC
]


@pytest.mark.parametrize(("preset", "dataflow"), PRESET_TESTS)
def test_presets_run(preset, dataflow, simulator, folder):
    config = PRESETS[preset].replace(dataflow=dataflow, buffer_tokens=2 * PRESETS[preset].rows)
    tile = (config.rows, config.slices_per_tile * config.lanes, config.cols)
    gemms = [(1, 1, 1), tuple(side + 1 for side in tile), (config.rows, 3 * tile[1], 2 * tile[2])]
    assert run(config, gemms, 1, simulator, folder) == ""


# What is done to the RTL, in either dataflow: a soft reset and what comes after.
RECOVERY = {
    "psums that are offered withdrawn by a soft reset": (
        r"if \(rst\) (m_axis_psums_tvalid <= 1'h0;)",
        r"if (inner_rst) \1",
    ),
    "psums behind those that are offered not dropped": (
        r"(assign (\w+) = back_valid \| array_psums_valid;(?s:.*?)= \2) & \w+;",
        r"\1;",
    ),
    "rest of a packet of acts taken as data": (
        r"(tritloom_dut_registers registers \((?s:.*?)\.acts_open\()registers_acts_open\)",
        r"\g<1>1'h0)",
    ),
    "rest of a packet of weights taken as data": (
        r"(tritloom_dut_registers registers \((?s:.*?)\.weights_open\()registers_weights_open\)",
        r"\g<1>1'h0)",
    ),
    "resumed while a packet is open": (r"= acts_open \| weights_open;", r"= 1'h0;"),
    "acts that begin after RESUME dropped": (r"registers_acts_open \| \w+;", r"1'h1;"),
    "weights that begin after RESUME dropped": (r"registers_weights_open \| \w+;", r"1'h1;"),
    "descriptor taken while flushing": (r"(assign push = \w+) & \w+;", r"\1;"),
    "flushing ends before software resumes": (r"= resumed & (\w+);", r"= \1;"),
}
# Likewise: TLAST of the psums.
ENDS = {
    "last psums of a run not marked": (r"= all_last \| (\w+);", r"= \1;"),
    "last psums of a pass not marked": (r"= all_last \| \w+;", r"= all_last;"),
    "passes of every run marked": (r"= psums_last\[0\] &", r"= 1'h1 &"),
    "not all psums marked": (r"(assign acts_mark_all = )\S+;", r"\g<1>1'h0;"),
    "options of a descriptor lost": (
        r"(\.run_psums_last\()registers_descriptor_psums_last",
        r"\g<1>2'h0",
    ),
    "psums of a tile marked before its last": (r"= array_psums_last & (mark_last\[0\];)", r"= \1"),
}
# What is done to the RTL, by dataflow.
MUTANTS = {
    "output-stationary": {
        **RECOVERY,
        **ENDS,
        "the slice before is read": (
            r"(?s)(module tritloom_dut_act_buffer.*?<= words\[)(.*?)\];",
            r"\1\2 - 1];",
        ),
        "group of one slice in place of the one that waits": (
            r"(assign turned = base )\^ \w+;",
            r"\1;",
        ),
        "one group of features too few": (r"(descriptor_n - )3'h4;", r"\g<1>3'h7;"),
        "one slice too few": (r"(descriptor_k - )3'h5;", r"\g<1>3'h7;"),
        "weights read in the other packing": (
            r"(<= )registers_descriptor_packing;",
            r"\1~registers_descriptor_packing;",
        ),
        "rows of psums lost under backpressure": (r"back_valid <= 1'h1;", r"back_valid <= 1'h0;"),
        "sign of a psum not extended": (r"(m_axis_psums_tdata = \{ )front\[44\]", r"\g<1>1'h0"),
        "zero trits counted as others": (r"else zeros <= (\w+);", r"else zeros <= ~\1;"),
        "end of acts unnoticed": (r"\? 1'h1 : ended;", r"? ended : ended;"),
        "missing acts are not zero": (r"(acts_data = )offered\[1\] \?", r"\g<1>1'h0 ?"),
        "surplus acts taken for the next group's": (r"(dropping <= )\w+;", r"\g<1>1'h0;"),
        "soft reset does not reach the array": (
            r"(?s)(tritloom_dut_array array \(.*?\.rst\()inner_rst",
            r"\1rst",
        ),
    },
    "weight-stationary": {
        **RECOVERY,
        **ENDS,
        "a group of tokens too many": (r"(descriptor_m - )3'h6;", r"\g<1>3'h1;"),
        "trits of a pass end a tile early": (
            r"(?s)(module tritloom_dut_loads.*?\(n_less\) - \$signed\()3'h3",
            r"\g<1>4'h6",
        ),
        "trits of a run end a slice of k early": (
            r"(?s)(module tritloom_dut_loads.*?\(k_less\) - \$signed\()5'h08",
            r"\g<1>5'h0f",
        ),
        "psums never start from zero": (r"(assign acts_first_k = )\S+;", r"\g<1>1'h0;"),
        "psums sent before their last slices": (
            r"(assign acts_last_k = )\S+;",
            r"\g<1>1'h1;",
        ),
    },
}


@pytest.mark.parametrize(
    ("dataflow", "fault"),
    [(dataflow, fault) for dataflow, faults in MUTANTS.items() for fault in faults],
)
def test_bench_catches_a_fault(dataflow, fault, simulator, folder):
    config = FAULTY[dataflow]
    verilog = plant(generate_core(config, name="dut").verilog, *MUTANTS[dataflow][fault])
    assert run(config, FEW, 3, simulator, folder, verilog) != ""


@pytest.mark.parametrize("dataflow", Dataflow)
def test_every_fault_can_be_planted(dataflow):
    verilog, faults = generate_core(FAULTY[dataflow], name="dut").verilog, MUTANTS[dataflow]
    assert len({plant(verilog, *change) for change in faults.values()} - {verilog}) == len(faults)


FAULTY = {Dataflow.OUTPUT_STATIONARY: CONFIGS[1], Dataflow.WEIGHT_STATIONARY: STATIONARY_CONFIGS[1]}
FEW = [(9, 3, 4), (12, 30, 7), (3, 9, 9)]


@pytest.mark.parametrize("dataflow", Dataflow)
def test_bench_passes_without_a_fault(dataflow, simulator, folder):
    assert run(FAULTY[dataflow], FEW, 3, simulator, folder) == ""
