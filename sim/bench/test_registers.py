"""The registers behind an AXI4-Lite master, over idle channels and races; and mutants."""

import re

import pytest

from tritloom.arch.config import PRESETS, ArrayConfig
from tritloom.hw.core import registers
from tritloom.hw.emit import emit
from tritloom.sim.bench.runner import TOP, plant, run_array_bench
from tritloom.sim.bench.scenarios import BUS_SCENARIOS

pytestmark = pytest.mark.slow

# Tests of sim.bench.registers_bench: ten under every scenario, and one.
TESTS = 10 * len(BUS_SCENARIOS) + 1
# The largest k is a power of two, odd, and 1.
CONFIGS = [
    PRESETS["tiny"],
    ArrayConfig(rows=3, cols=5, lanes=7, act_bits=5, max_k=999),
    ArrayConfig(rows=1, cols=1, lanes=1, max_k=1),
    # A counter of trits reaches its upper word within 4096 cycles.
    ArrayConfig(rows=1, cols=1024, lanes=1024),
]


def run(config, *, simulator, folder, change=lambda text: text, only=None, tests=TESTS):
    modules = registers.modules(config, prefix="dut")
    modules[TOP] = modules.pop("dut_registers")
    verilog, _ = emit(modules, top=TOP)
    return run_array_bench(
        config,
        [],
        seed=5,
        simulator=simulator,
        folder=folder,
        verilog=change(verilog),
        module="tritloom.sim.bench.registers_bench",
        only=only,
        tests=tests,
    )


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.shape)
def test_registers_answer_as_the_page_says(config, simulator, folder):
    assert run(config, simulator=simulator, folder=folder) == ""


# What is changed, and which of the bench's tests must fail.
MUTANTS = {
    "clear wins over a set": (
        r"(= )field_error_illegal_code_kept \| event_illegal_code;",
        r"\1field_error_illegal_code_kept | (event_illegal_code & ~write_error);",
        "event_wins",
    ),
    "beat of the first illegal code overwritten": (
        r"= ~ field_error_illegal_code_kept;",
        r"= 1'h1;",
        "random_traffic",
    ),
    "byte strobe 1 ignored": (r"(= write_\w+ & )strobes\[1\];", r"\g<1>1'h1;", "random_traffic"),
    "write answered while the last answer waits": (
        r"= ~ written;",
        r"= 1'h1;",
        "many_in_flight",
    ),
    "address without its data": (
        r"(= )address_held & word_held;",
        r"\1address_held;",
        "random_traffic",
    ),
    "next read overwrites a waiting answer": (r"= ~ s_axil_rvalid;", r"= 1'h1;", "many_in_flight"),
    "misaligned address reaches the register": (
        r"= s_axil_awaddr == 7'h40;",
        r"= (s_axil_awaddr & 8'hfe) == 7'h40;",
        "every_address",
    ),
    "full queue takes a descriptor": (
        r"(assign full = level == )3'h4;",
        r"\g<1>3'h5;",
        "full_queue",
    ),
    "push goes where the last one went": (r"(free <= )\w+\[1:0\];", r"\1free;", "queue_streams"),
    "full queue overwrites its oldest": (
        r"(\.write_data\(\{ field_options[^;]*\.write_enable\()\w+",
        r"\g<1>1'h1",
        "full_queue",
    ),
    "counters copied all the time": (
        r"(\.write_enable\()copied\)",
        r"\g<1>1'h1)",
        "snapshot",
    ),
    "copy read before it is there": (r"= ~ copying;", r"= 1'h1;", "snapshot"),
    "carry into the upper word lost": (
        r"(read\[0\] \? \{ 32'h0+, )carry",
        r"\g<1>1'h0",
        "snapshot",
    ),
    "trits held earlier than the others": (
        r"else if \(round_ends\) (held_count_trits <=)",
        r"else \1",
        "snapshot",
    ),
    "soft reset leaves the totals": (
        r"if \(inner_rst\) fresh <= 1'h1;",
        r"if (rst) fresh <= 1'h1;",
        "soft_reset",
    ),
    "soft reset leaves the queue": (
        r"if \(\w+\)( level <= 3'h0;)",
        r"if (rst)\1",
        "soft_reset",
    ),
    "descriptor taken while flushing": (
        r"(assign push = )(\w+) & \w+;",
        r"\1\2;",
        "flushing",
    ),
    "flushing ends before software resumes": (
        r"= resumed & (\w+);",
        r"= \1;",
        "flushing",
    ),
    "flushing ends inside a packet of acts": (
        r"= acts_open \| (weights_open);",
        r"= \1;",
        "flushing",
    ),
    "flushing ends inside a packet of weights": (
        r"= (acts_open) \| weights_open;",
        r"= \1;",
        "flushing",
    ),
    "flushing ends while psums are offered": (
        r"= (\w+) \| psum_offered;",
        r"= \1;",
        "flushing",
    ),
    "soft reset does not take a resumption back": (
        r"= ~ field_control_soft_reset;",
        r"= 1'h1;",
        "flushing",
    ),
    "largest k refused": (
        r"word_k > 16'h8000;",
        r"word_k > 16'h7fff;",
        "queue_streams",
    ),
    "interrupt ignores its enable": (
        r"irq = (\w+) \| (\w+);",
        r"irq = \1 | \2 | field_error_bad_descriptor;",
        "random_traffic",
    ),
}


@pytest.mark.parametrize("fault", MUTANTS)
def test_bench_catches_a_fault(fault, simulator, folder):
    pattern, replacement, test = MUTANTS[fault]
    tests = 1 if test == "event_wins" else len(BUS_SCENARIOS)
    failure = run(
        CONFIGS[-1],
        simulator=simulator,
        folder=folder,
        change=lambda verilog: plant(verilog, pattern, replacement),
        only=rf"\.{test}",
        tests=tests,
    )
    # The bench's test failed, not the build or the start.
    assert re.match(test, failure)
    assert "tests ran" not in failure
