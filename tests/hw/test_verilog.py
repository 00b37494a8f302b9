"""hw.verilog: what the generator emits, read back by Yosys and from the command line."""

import gc
import itertools
import json
import re
import subprocess
import sys
import warnings

import pytest

from tritloom.arch.config import PRESETS, ArrayConfig, Dataflow
from tritloom.arch.errors import InputError
from tritloom.hw import emit, yosys
from tritloom.hw.__main__ import PROGRAM
from tritloom.hw.verilog import generate, generate_core

SHAPES = [(1, 1, 1), (2, 3, 4), (5, 1, 7), (1, 6, 3), (16, 16, 16), (7, 8, 5)]


def config(rows, cols, lanes, **changes):
    return ArrayConfig(rows=rows, cols=cols, lanes=lanes, **changes)


@pytest.fixture(scope="module", params=Dataflow)
def dataflow(request):
    return request.param


@pytest.fixture(scope="module", params=SHAPES, ids=lambda shape: "x".join(map(str, shape)))
def rtl(request, dataflow):
    return generate(config(*request.param, dataflow=dataflow))


def modules(verilog):
    return re.findall(r"^module (\S+)\(", verilog, re.MULTILINE)


@pytest.mark.parametrize("dataflow", Dataflow)
def test_no_component_is_made_in_vain_where_sides_are_equally_wide(dataflow):
    # Acts and trits of 2 bits, psums as wide as two of them.
    changes = {"act_bits": 2, "max_k": 2, "dataflow": dataflow}
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        generate(config(3, 3, 1, **changes))
        gc.collect()
    assert [str(each.message) for each in warned] == []


def test_a_long_line_is_broken_between_tokens(monkeypatch):
    text = generate(PRESETS["base"]).verilog
    monkeypatch.setattr(emit, "LONG_LINE", 120)
    broken = generate(PRESETS["base"]).verilog
    assert broken.split() == text.split()
    # A constant is one token, however long.
    whole, parts = ([line for line in t.splitlines() if "'h" not in line] for t in (text, broken))
    assert max(map(len, whole)) > 120 >= max(map(len, parts))


def test_no_cell_multiplies_after_optimisation(rtl, tmp_path):
    # From the text that users get, not from the generator's own count.
    (tmp_path / "dut.v").write_text(rtl.verilog)
    yosys.run(
        f"read_verilog {tmp_path}/dut.v\nhierarchy -check -top {rtl.top}\nproc\nopt\nwreduce\n"
        f"alumacc\nopt\ntee -q -o {tmp_path}/stat.json stat -json -top {rtl.top}"
    )
    cells = json.loads((tmp_path / "stat.json").read_text())["design"]["num_cells_by_type"]
    assert not [kind for kind in cells if "mul" in kind]
    # The count can see cells at all: every lane selects.
    assert cells["$xor"] >= rtl.config.macs_per_cycle


def test_a_multiplier_would_be_counted(tmp_path):
    (tmp_path / "m.v").write_text(
        "module m(input [7:0] a, b, output [7:0] y); assign y = a*b; endmodule"
    )
    yosys.run(
        f"read_verilog {tmp_path}/m.v\nproc\ntee -q -o {tmp_path}/stat.json stat -json -top m"
    )
    stat = json.loads((tmp_path / "stat.json").read_text())
    assert stat["design"]["num_cells_by_type"] == {"$mul": 1}


def test_one_pe_and_one_hop_are_emitted(rtl):
    names = modules(rtl.verilog)
    assert len(names) == len(set(names))
    for part in ("pe", "hop"):
        assert names.count(f"{rtl.top}_{part}") == 1


def test_text_is_plain_and_reproducible(rtl):
    again = generate(rtl.config)
    assert rtl.verilog == again.verilog
    # No name needs an escape, and nothing tells where it was generated.
    assert "\\" not in rtl.verilog
    assert all(re.fullmatch(r"\w+", name) for name in modules(rtl.verilog))
    assert "(* src" not in rtl.verilog
    assert not re.search(r"\blogic\b|always_ff", rtl.verilog)


def test_modules_grow_with_the_logarithm_of_the_side(dataflow):
    counts = [
        len(modules(generate(config(side, side, 2, dataflow=dataflow)).verilog))
        for side in (4, 8, 16)
    ]
    # A stack, and a delay line for each side that is skewed.
    assert counts[2] - counts[1] == counts[1] - counts[0] <= 4


def test_buffer_of_a_weight_stationary_array_is_one_memory_of_its_tokens():
    made = config(2, 3, 4, dataflow="weight-stationary", buffer_tokens=300, max_k=127)
    verilog = generate(made).verilog
    assert made.psum_bits == 15
    assert re.findall(r"reg \[(\d+):0\] (\w+) \[(\d+):0\];", verilog) == [
        (str(3 * 15 - 1), "words", "299")
    ]
    # The content of a memory after power-up is not written out.
    assert "words[0] =" not in verilog


def test_sidecar_tells_the_ports_of_the_module(rtl):
    sidecar = rtl.sidecar()
    header = re.search(rf"module {rtl.top}\((.*?)\);(.*?)endmodule", rtl.verilog, re.DOTALL)
    declared = {
        name: (direction, int(msb) + 1 if msb else 1)
        for direction, msb, name in re.findall(
            r"^  (input|output) (?:\[(\d+):0\] )?(\w+);", header[2], re.MULTILINE
        )
    }
    told = {port["name"]: (port["direction"], port["width"]) for port in sidecar["ports"]}
    assert declared == told
    assert set(declared) == {name.strip() for name in header[1].split(",")}


def test_registers_of_pes_and_hops_are_all_there(rtl):
    c = rtl.config
    registers = sum(n for kind, n in rtl.cells.items() if re.fullmatch(r"\$s?dff(c?e)?", kind))
    if c.dataflow == Dataflow.WEIGHT_STATIONARY:
        # In every PE shadow and active trits, and a psum.
        assert registers >= 3 * c.rows * c.cols
        return
    operands, in_tree = c.lanes, 0
    for level in range(1, c.tree_levels + 1):
        operands = -(-operands // 2)
        if level % c.levels_per_stage == 0 or level == c.tree_levels:
            in_tree += 2 * operands  # a sum and its carry
    in_pe = 3 + in_tree  # trits, accumulator, drain register
    in_hop = 2 + c.tree_stages + 1  # acts, control bits, control delayed, load
    at_the_edges = registers - c.rows * (c.cols * in_pe + c.hops * in_hop)
    skew = sum(bin(cycles).count("1") for side in (c.rows, c.hops) for cycles in range(side))
    # Delay lines, and at most 14 of the edge's own: drain, first, error.
    assert skew < at_the_edges <= skew + 14


def test_two_arrays_share_no_module_name():
    arrays = [config(2, 2, 2), config(2, 2, 3), config(2, 2, 2, dataflow="weight-stationary")]
    for one, other in itertools.combinations(map(generate, arrays), 2):
        assert not set(modules(one.verilog)) & set(modules(other.verilog))


@pytest.mark.parametrize("preset", ["tiny", "decode", "base"])
def test_command_writes_verilog_and_sidecar(preset, tmp_path, capsys):
    assert PROGRAM.main(["verilog", "--preset", preset, "--out", str(tmp_path)]) == 0
    names = {f"{preset}.json", f"{preset}.v", f"{preset}.vlt"}
    assert {path.name for path in tmp_path.iterdir()} == names
    sidecar = json.loads((tmp_path / f"{preset}.json").read_text())
    assert sidecar["configuration"]["rows"] == PRESETS[preset].rows
    assert f"module {sidecar['top']}(" in (tmp_path / f"{preset}.v").read_text()
    assert f"{PRESETS[preset].macs_per_cycle:,} ternary" in capsys.readouterr().out


def test_changed_parameters_name_the_file(tmp_path):
    arguments = ["--rows", "3", "--cols", "4", "--lanes", "2", "--cols-per-hop", "2"]
    assert PROGRAM.main(["verilog", *arguments, "--out", str(tmp_path)]) == 0
    assert (tmp_path / "3x4x2_cols_per_hop2.v").exists()


def test_dataflow_names_the_file_and_picks_the_ports(tmp_path, capsys):
    arguments = ["--preset", "tiny", "--dataflow", "weight-stationary", "--out", str(tmp_path)]
    assert PROGRAM.main(["verilog", *arguments]) == 0
    assert PROGRAM.main(["verilog", *arguments, "--buffer-tokens", "8"]) == 0
    names = ["tiny_weight_stationary", "2x2x4_buffer_tokens8_weight_stationary"]
    assert {path.stem for path in tmp_path.iterdir()} == set(names)
    sidecars = [json.loads((tmp_path / f"{name}.json").read_text()) for name in names]
    for sidecar, tokens in zip(sidecars, (16, 8), strict=True):
        told = sidecar["configuration"]
        assert (told["dataflow"], told["buffer_tokens"]) == ("weight-stationary", tokens)
        assert "s_axis_acts_tdata" in {port["name"] for port in sidecar["ports"]}
    assert PROGRAM.main(["verilog", *arguments, "--top", "array"]) == 0
    array = json.loads((tmp_path / "tiny_weight_stationary_bare_array.json").read_text())
    assert "acts_first_k" in {port["name"] for port in array["ports"]}
    assert "buffer of 8 tokens" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--dataflow", "sideways"],
            "dataflow must be output-stationary or weight-stationary, not 'sideways'",
        ),
        (
            ["--buffer-tokens", "8"],
            "buffer_tokens is of weight-stationary arrays only, not 8 of an output-stationary one",
        ),
        (
            ["--dataflow", "weight-stationary", "--buffer-tokens", "0"],
            "buffer_tokens must be at least 1, not 0",
        ),
        (
            ["--preset", "huge"],
            "unknown preset 'huge'; known: tiny, decode, kv260, base, large, ecp5, ecp5_full, asic",
        ),
        (["--rows", "0"], "rows must be at least 1, not 0"),
        (["--cols", "-4"], "cols must be at least 1, not -4"),
        (["--lanes", "100000"], "lanes must be at most 1024, not 100000"),
        (["--cols-per-hop", "3"], "cols_per_hop must divide cols = 16, which 3 does not"),
        (["--act-bits", "17"], "act_bits must be at most 16, not 17"),
        (
            ["--max-k", "67108864"],
            "psums of max_k = 67108864 and act_bits = 8 are 35 bits wide, "
            "and the stream carries 32",
        ),
        (
            [
                *("--preset", "tiny", "--dataflow", "weight-stationary"),
                *("--max-k", "16777215", "--buffer-tokens", "65536"),
            ],
            "the act buffer of max_k = 16777215 and buffer_tokens = 65536 has 137438953472 words, "
            "and a core has at most 268435456",
        ),
    ],
)
def test_bad_input_gets_one_line_and_writes_nothing(arguments, message, tmp_path, capsys):
    out = tmp_path / "out"
    assert PROGRAM.main(["verilog", *arguments, "--out", str(out)]) == 2
    assert capsys.readouterr().err == f"python -m hw verilog: error: {message}\n"
    assert not out.exists()


def test_core_that_is_refused_warns_of_no_component_made_in_vain():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InputError, match="the act buffer of max_k = 1073741823 has"):
            generate_core(config(1, 1, 1, max_k=(1 << 30) - 1, act_bits=2))
        gc.collect()


def test_unwritable_folder_gets_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert PROGRAM.main(["verilog", "--preset", "tiny", "--out", str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err == (
        f"python -m hw verilog: error: {tmp_path / 'file'}: File exists\n"
    )


def test_word_for_a_number_exits_with_2():
    done = subprocess.run(
        [sys.executable, "-m", "hw", "verilog", "--rows", "many"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "invalid int value: 'many'" in done.stderr
    assert not done.stdout


@pytest.mark.parametrize(
    ("options", "told"),
    [
        # 2 rows of 32,768 acts; four descriptors; 2 x 32 words; 2 columns of 24 bits for 16 tokens.
        (["--preset", "tiny"], {"act_buffer": 65536}),
        (
            ["--preset", "tiny", "--dataflow", "weight-stationary"],
            {"act_buffer": 524288, "array_psum_buffer": 96},
        ),
        (
            ["--preset", "tiny", "--dataflow", "weight-stationary", "--top", "array"],
            {"psum_buffer": 96},
        ),
        (["--preset", "tiny", "--top", "array"], {}),
    ],
)
def test_bytes_of_every_memory_are_told(options, told, tmp_path, capsys):
    assert PROGRAM.main(["verilog", *options, "--out", str(tmp_path)]) == 0
    sidecar = json.loads(next(tmp_path.glob("*.json")).read_text())
    sizes = sidecar["memory_bytes"]
    assert sizes.items() >= told.items()
    (line,) = [
        line for line in capsys.readouterr().out.splitlines() if line.startswith("memories: ")
    ]
    for name, size in sizes.items():
        assert f"{name.replace('_', ' ')} {size:,} bytes" in line
    # As the Verilog declares them, with as many instances.
    text = next(tmp_path.glob("*.v")).read_text()
    size = 0
    for name, body in re.findall(r"(?ms)^module (\w+)(.*?)^endmodule", text):
        for width, depth in re.findall(r"reg \[(\d+):0\] \w+ \[(\d+):0\];", body):
            uses = len(re.findall(rf"^  {name} ", text, re.MULTILINE))
            size += uses * -(-(int(width) + 1) * (int(depth) + 1) // 8)
    assert size == sum(sizes.values())
