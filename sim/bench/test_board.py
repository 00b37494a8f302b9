"""The board's top through its pins: layers, damage on the line, and faults in the loader."""

import dataclasses
import re

import pytest

from tritloom.arch.board import BOARDS
from tritloom.arch.config import PRESETS, ArrayConfig
from tritloom.hw.verilog import generate_board
from tritloom.sim.bench.runner import compile_rtl, plant, run_bench

pytestmark = pytest.mark.slow

# What the bench holds, and what of it runs with the real divider: 25 cycles a bit.
TESTS = 14
SHORT = r"power_on|its_core_tells|two_per_cent"
SHORT_TESTS = 4

CONFIGS = [
    ArrayConfig(rows=2, cols=3, lanes=4, max_k=2048),
    ArrayConfig(rows=1, cols=1, lanes=1, max_k=4096),
    ArrayConfig(
        rows=2, cols=2, lanes=3, max_k=2048, dataflow="weight-stationary", buffer_tokens=16
    ),
]


def faster(cycles_per_bit):
    """The board with a UART that takes fewer cycles a bit."""
    board = BOARDS["ulx3s"]
    return dataclasses.replace(board, baud=board.clock_hz // cycles_per_bit)


def run(config, simulator, folder, *, board=None, verilog=None, tests=TESTS, only=None):
    board = board or faster(5)
    rtl = generate_board(config, board, name="dut")
    target = compile_rtl(
        verilog or rtl.verilog,
        top=rtl.top,
        label=f"board-{config.shape}",
        simulator=simulator,
        folder=folder,
    )
    return run_bench(
        target,
        top=rtl.top,
        bench="tritloom.sim.bench.board_bench",
        run={
            "config": dataclasses.asdict(config),
            "cycles_per_bit": board.cycles_per_bit,
            "seed": 7,
        },
        tests=tests,
        only=only,
        simulator=simulator,
    )


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c.dataflow[0]}-{c.shape}")
def test_board_is_right_through_its_pins(config, simulator, folder):
    assert run(config, simulator, folder) == ""


def test_board_is_right_with_its_own_clock_and_baud(simulator, folder):
    config, board = PRESETS["tiny"], BOARDS["ulx3s"]
    assert board.cycles_per_bit == 25
    failed = run(config, simulator, folder, board=board, tests=SHORT_TESTS, only=SHORT)
    assert failed == ""


# What is done to the RTL, and which tests of the bench must notice.
MUTANTS = {
    "missing stop bits unnoticed": (r"error = ~ line\[1\];", r"error = 1'h0;", "damaged"),
    "LAST forgotten": (r"(s_in_last = )opcode\[0\]", r"\g<1>1'h0", "its_core_tells"),
    "bytes lost while answering unnoticed": (r"rx_error \| answering", r"rx_error", "damaged"),
    "a spike taken for a start bit": (r"(= _\d+_ & )line\[1\];", r"\g<1>1'h0;", "damaged"),
    "every byte ends a packet": (
        r"(s_in_last = opcode\[0\]) & _\d+_",
        r"\1",
        "its_core_tells",
    ),
    "room though the FIFO is full": (r"room = words < 11'h700;", r"room = 1'h1;", "come_first"),
    "room for less than a command": (
        r"words < 11'h700;",
        r"words < 11'h7fe;",
        "come_first",
    ),
    "psums stored without room": (
        r"(psums_in_valid = m_axis_psums_tvalid) & psums_room",
        r"\1",
        "psums_wait",
    ),
    "a psum's last byte left out": (r"end_ = index == 4'hb", r"end_ = index == 4'ha", "core_tells"),
    "more psums than a length tells": (r"(psums_level > )8'hff", r"\g<1>12'hfff", "psums_wait"),
    "RESET keeps half a beat": (
        r"if \(core_reset\) (s_axis_weights_have)",
        r"if (rst) \1",
        "lost_bytes",
    ),
    "RESET keeps what is in a FIFO": (
        r"(?s)(_fifo acts \(.*?\.rst\()core_reset",
        r"\1rst",
        "lost_bytes",
    ),
    "RESET does not reach the core": (
        r"(?s)(tritloom_dut_\w+ core \(.*?\.rst\()loader_core_reset",
        r"\1reset",
        "power_on",
    ),
    "half of an opcode looked at": (
        r"opcode == 8'h0(\w)",
        r"opcode[3:0] == 4'h\1",
        "no_command",
    ),
    "damaged commands carried out": (r"= refused \| damaged", r"= refused", "damaged"),
}


@pytest.mark.parametrize("fault", MUTANTS)
def test_bench_catches_a_fault(fault, simulator, folder):
    *change, noticed = MUTANTS[fault]
    verilog = plant(generate_board(CONFIGS[0], faster(5), name="dut").verilog, *change)
    failed = run(CONFIGS[0], simulator, folder, verilog=verilog, tests=0, only=noticed)
    assert re.search(noticed, failed)


def test_every_fault_can_be_planted():
    verilog = generate_board(CONFIGS[0], faster(5), name="dut").verilog
    changed = {plant(verilog, *change[:2]) for change in MUTANTS.values()}
    assert len(changed - {verilog}) == len(MUTANTS)
