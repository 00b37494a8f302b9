"""hw.synth: what cores and arrays become on FPGAs, and that flaws would be seen."""

import json
from importlib.metadata import version

import pytest

from arch.config import PRESETS, ArrayConfig
from hw import synth
from hw.__main__ import main
from hw.verilog import Rtl, generate
from hw.yosys import YosysError

# Bits that one block RAM of each family holds, parity aside.
BLOCK_BITS = {"ecp5": 16 << 10, "ice40": 4 << 10, "xilinx7": 32 << 10}

# The flow for the 7 series takes ten seconds whatever it is given.
TARGETS = [
    pytest.param(name, marks=[pytest.mark.slow] if name == "xilinx7" else [])
    for name in synth.TARGETS
]


def wrong(verilog):
    """RTL out of a text of its own; its configuration plays no part."""
    config = ArrayConfig(rows=1, cols=1, lanes=1)
    return Rtl(top="wrong", config=config, ports=(), verilog=verilog, cells={})


@pytest.mark.slow
@pytest.mark.parametrize("target", synth.TARGETS)
def test_core_needs_no_dsp_and_no_latch_and_buffers_acts_in_block_ram(target, capsys):
    assert main(["synth", "--preset", "tiny", "--target", target, "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["top"], told["target"], told["tier"]) == ("tritloom_tiny", target, "MEASURED")
    assert told["tool"] == f"Yosys {version('pyosys')}"
    resources = told["resources"]
    assert resources["DSP"] == resources["latch"] == 0
    # Every type of cell is known, and every cell is in the table.
    assert resources["other"] == 0
    assert sum(resources.values()) == sum(told["cells"].values())
    c = PRESETS["tiny"]
    act_buffer_bits = c.acts_bits * c.max_k // c.lanes
    assert resources["block RAM"] == act_buffer_bits // BLOCK_BITS[target]
    assert resources["LUT RAM"] == 0
    # In every PE trits, accumulator, drain register; five counters of 64 bits in the array.
    in_pe = 2 * c.lanes + 2 * c.psum_bits
    assert resources["FF"] >= c.rows * c.cols * in_pe + 5 * 64
    assert resources["LUT"] > c.macs_per_cycle * c.act_bits


@pytest.mark.parametrize("target", TARGETS)
def test_array_of_one_trit_has_no_dsp_and_no_memory(target):
    done = synth.synthesise(generate(ArrayConfig(rows=1, cols=1, lanes=1)), target)
    for resource in ("DSP", "latch", "block RAM", "LUT RAM", "other"):
        assert done.resources[resource] == 0, resource
    assert done.resources["FF"] >= 5 * 64


@pytest.mark.parametrize("target", TARGETS)
def test_multiplier_would_be_counted_as_dsp(target):
    rtl = wrong(
        "module wrong(input clk, input signed [15:0] a, b, output reg signed [31:0] y);\n"
        "always @(posedge clk) y <= a * b;\nendmodule\n"
    )
    assert synth.synthesise(rtl, target).resources["DSP"] >= 1


@pytest.mark.parametrize("target", synth.TARGETS)
def test_latch_is_refused(target):
    rtl = wrong(
        "module wrong(input hold, d, output reg q);\nalways @* if (!hold) q = d;\nendmodule\n"
    )
    with pytest.raises(YosysError, match="selection is not empty"):
        synth.synthesise(rtl, target)


def test_table_names_tool_and_tier(capsys):
    shape = ["--rows", "1", "--cols", "1", "--lanes", "1", "--top", "array"]
    assert main(["synth", *shape, "--target", "ice40"]) == 0
    printed = capsys.readouterr()
    assert "tritloom_1x1x1_array on Lattice iCE40, Yosys " in printed.out
    (dsp,) = [line.split() for line in printed.out.splitlines() if line.startswith("DSP")]
    assert dsp == ["DSP", "0", "MEASURED"]
    # No progress where nobody looks on.
    assert printed.err == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target", "virtex"], "unknown target 'virtex'; known: ecp5, ice40, xilinx7"),
        (["--target", "ecp5", "--preset", "huge"], "unknown preset 'huge'; known: "),
        (["--target", "ecp5", "--rows", "0"], "rows must be at least 1, not 0"),
    ],
)
def test_bad_input_gets_one_line(arguments, message, capsys):
    assert main(["synth", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(f"hw: {message}")
    assert printed.err.count("\n") == 1
    assert printed.out == ""
