"""hw.fpga.synth: what cores and arrays become on FPGAs, and that flaws would be seen."""

import csv
import json
from importlib.metadata import version

import pytest

from tritloom.arch.config import PRESETS, ArrayConfig
from tritloom.arch.ternary import TRIT2, TRIT5, to_codes
from tritloom.hw import yosys
from tritloom.hw.__main__ import PROGRAM
from tritloom.hw.core.unpacker import ByteDecoder
from tritloom.hw.emit import Rtl, emit
from tritloom.hw.fpga import synth
from tritloom.hw.verilog import generate
from tritloom.hw.yosys import YosysError

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
    assert PROGRAM.main(["synth", "--preset", "tiny", "--target", target, "--format", "json"]) == 0
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
    # The totals of the counters, and their copy, are in LUTs where these can be RAM.
    small = 2 * 2 if target == "ice40" else 0
    assert resources["block RAM"] == act_buffer_bits // BLOCK_BITS[target] + small
    assert bool(resources["LUT RAM"]) == (target != "ice40")
    # In every PE trits, accumulator, drain register.
    in_pe = 2 * c.lanes + 2 * c.psum_bits
    assert resources["FF"] >= c.rows * c.cols * in_pe
    assert resources["LUT"] > c.macs_per_cycle * c.act_bits


@pytest.mark.parametrize("target", TARGETS)
def test_array_of_one_trit_has_no_dsp_and_no_memory(target):
    config = ArrayConfig(rows=1, cols=1, lanes=1)
    done = synth.synthesise(generate(config), target)
    for resource in ("DSP", "latch", "block RAM", "LUT RAM", "other"):
        assert done.resources[resource] == 0, resource
    assert done.resources["FF"] >= 2 * config.psum_bits


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
    with pytest.raises(YosysError, match=r"^Yosys gives up: ERROR: .*selection is not empty"):
        synth.synthesise(rtl, target)


def decoder_table():
    """Verilog of the byte decoder as a table, out of `arch.ternary`."""
    rows = []
    for number, packing in enumerate((TRIT2, TRIT5)):
        for byte in range(256):
            codes = to_codes(packing.table[byte]).tolist()
            trits = sum(code << 2 * index for index, code in enumerate(codes))
            illegal = int(not packing.legal[byte])
            rows.append(
                f"9'd{number << 8 | byte}: {{illegal, trits}} = 11'd{illegal << 10 | trits};"
            )
    return (
        "module table(input packing, blank, input [7:0] data,\n"
        "output reg [9:0] trits, output reg illegal);\n"
        "always @* begin\ncase ({packing, data})\n" + "\n".join(rows) + "\nendcase\n"
        "if (blank) {illegal, trits} = {1'bx, 10'd0};\nend\nendmodule\n"
    )


def mapped_decoder(folder, *, packing, blank, option, table):
    """LUT4s of the byte decoder on ECP5, its netlist proved equal to `table`."""
    decoder, _ = emit({"decoder": ByteDecoder()}, top="decoder")
    (folder / "mapped.v").write_text(
        f"{decoder}\nmodule mapped(input packing, blank, input [7:0] data,\n"
        "output [9:0] trits, output illegal);\n"
        f"decoder d(.packing({packing}), .blank({blank}), .data(data),\n"
        ".trits(trits), .illegal(illegal));\nendmodule\n"
    )
    (folder / "table.v").write_text(table)
    # Inputs that are tied.
    tied = "" if packing == "packing" else f"-set in_packing {packing} -set in_blank {blank}"
    yosys.run(
        f"read_verilog {folder}/mapped.v\n"
        f"synth_ecp5 {option} -top mapped\n"
        f"tee -q -o {folder}/stat.json stat -json -top mapped\n"
        "read_verilog -overwrite +/ecp5/cells_sim.v\nhierarchy -top mapped\n"
        f"read_verilog {folder}/table.v\n"
        "proc -norom\n"
        "miter -equiv -flatten -ignore_gold_x table mapped miter\n"
        f"sat -verify -enable_undef -set-def-inputs -prove trigger 0 {tied} miter"
    )
    cells = json.loads((folder / "stat.json").read_text())["design"]["num_cells_by_type"]
    assert set(cells) <= {"LUT4", "PFUMX", "L6MUX21", "$scopeinfo"}
    return cells["LUT4"]


BOTH_PACKINGS = {"packing": "packing", "blank": "blank"}
TRIT5_ALONE = {"packing": "1'b1", "blank": "1'b0"}


@pytest.mark.parametrize(
    ("inputs", "option", "luts"),
    [
        (TRIT5_ALONE, "-nowidelut", 20),
        (TRIT5_ALONE, "", 25),
        (BOTH_PACKINGS, "-nowidelut", 26),
        (BOTH_PACKINGS, "", 41),
    ],
    ids=["trit5", "trit5 with PFUMX", "both", "both with PFUMX"],
)
def test_byte_decoder_is_the_table_and_stays_small(inputs, option, luts, tmp_path):
    table = decoder_table()
    assert mapped_decoder(tmp_path, **inputs, option=option, table=table) <= luts


@pytest.mark.parametrize("inputs", [TRIT5_ALONE, BOTH_PACKINGS], ids=["trit5", "both"])
def test_byte_decoder_that_is_not_the_table_is_noticed(inputs, tmp_path):
    row = f"9'd{1 << 8 | 0xAA}: {{illegal, trits}} = 11'd"
    table = decoder_table()
    assert f"{row}1024;" in table
    with pytest.raises(YosysError, match="proof did fail"):
        mapped_decoder(
            tmp_path, **inputs, option="", table=table.replace(f"{row}1024;", f"{row}1025;")
        )


def test_table_names_tool_and_tier(capsys):
    shape = ["--rows", "1", "--cols", "1", "--lanes", "1", "--top", "array"]
    assert PROGRAM.main(["synth", *shape, "--target", "ice40"]) == 0
    printed = capsys.readouterr()
    assert "tritloom_1x1x1_bare_array on Lattice iCE40, Yosys " in printed.out
    (dsp,) = [line.split() for line in printed.out.splitlines() if line.startswith("DSP")]
    assert dsp == ["DSP", "0", "MEASURED"]
    # No progress where nobody looks on.
    assert printed.err == ""


def test_csv_has_a_line_for_each_resource(capsys):
    shape = ["--rows", "1", "--cols", "1", "--lanes", "1", "--top", "pe"]
    assert PROGRAM.main(["synth", *shape, "--target", "ice40", "--format", "csv"]) == 0
    lines = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [line["resource"] for line in lines] == list(synth.RESOURCES)
    assert {line["tier"] for line in lines} == {"MEASURED"}
    cells = {line["resource"]: int(line["cells"]) for line in lines}
    assert cells["DSP"] == 0 < cells["LUT"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target", "virtex"], "unknown target 'virtex'; known: ecp5, ice40, xilinx7"),
        (["--target", "ecp5", "--preset", "huge"], "unknown preset 'huge'; known: "),
        (["--target", "ecp5", "--rows", "0"], "rows must be at least 1, not 0"),
    ],
)
def test_bad_input_gets_one_line(arguments, message, capsys):
    assert PROGRAM.main(["synth", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(f"python -m hw synth: error: {message}")
    assert printed.err.count("\n") == 1
    assert printed.out == ""
