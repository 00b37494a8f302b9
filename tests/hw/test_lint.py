"""hw.lint: Verilator's lint over the Verilog of every preset, all rules on but the waived ones."""

import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tritloom.arch.board import BOARDS
from tritloom.arch.config import PRESETS, Dataflow, Technology
from tritloom.hw import lint, yosys
from tritloom.hw.emit import write
from tritloom.hw.verilog import generate, generate_board, generate_core
from tritloom.sim import verilator

ROOT = Path(__file__).parents[2]
CONFIGS = {
    f"{name}-{dataflow}": config.replace(dataflow=dataflow)
    for name, config in PRESETS.items()
    for dataflow in Dataflow
    if dataflow == Dataflow.OUTPUT_STATIONARY or config.technology == Technology.GENERIC
} | {
    "tiny-ecp5": PRESETS["tiny"].replace(technology="ecp5", lanes_per_chain=2),
    "tiny-asic": PRESETS["tiny"].replace(technology="asic", carries_per_stage=6),
}
SLOW = {
    **{key: [pytest.mark.slow] for key in ("decode", "kv260", "base", "ecp5")},
    # Minutes.
    **{key: [pytest.mark.slow, pytest.mark.exhaustive] for key in ("large", "ecp5_full", "asic")},
}
NAMES = [pytest.param(name, marks=SLOW.get(name.split("-")[0], [])) for name in CONFIGS]


@functools.cache
def made(name, top):
    """RTL of a configuration."""
    return {"core": generate_core, "array": generate}[top](CONFIGS[name])


def warnings(rtl, folder, waivers=lint.WAIVERS):
    """Warnings about our Verilog, not about the cells of its vendor."""
    (folder / "dut.v").write_text(rtl.verilog)
    (folder / "dut.vlt").write_text(lint.configuration(waivers))
    cells = yosys.path(yosys.ECP5_CELLS)
    library = [f"-I{cells.parent}", cells] if yosys.library(rtl.verilog) else []
    found = verilator.lint(*library, folder / "dut.vlt", folder / "dut.v", top=rtl.top)
    return [line for line in found if str(cells.parent) not in line]


@pytest.mark.parametrize("top", ["core", "array"])
@pytest.mark.parametrize("name", NAMES)
def test_nothing_but_what_is_waived_is_warned_of(name, top, tmp_path):
    assert warnings(made(name, top), tmp_path) == []


@pytest.mark.parametrize("dataflow", Dataflow)
def test_board_s_top_is_as_clean(dataflow, tmp_path):
    config = PRESETS["tiny"].replace(dataflow=dataflow)
    assert warnings(generate_board(config, BOARDS["ulx3s"]), tmp_path) == []


@pytest.mark.parametrize("waiver", lint.WAIVERS, ids=lambda waiver: f"{waiver.rule} {waiver.match}")
def test_waiver_is_needed(waiver, tmp_path):
    others = tuple(other for other in lint.WAIVERS if other != waiver)
    cores = [made(name, "core") for name in CONFIGS if name.startswith("tiny-")]
    found = [line for core in cores for line in warnings(core, tmp_path, others)]
    assert found
    assert all(line.startswith(f"%Warning-{waiver.rule}: ") for line in found)


@pytest.mark.parametrize(
    ("planted", "rule"),
    [
        ("wire [3:0] narrow = 8'd200;", "WIDTHTRUNC"),
        ("wire lonely = rst;", "UNUSEDSIGNAL"),
        ("reg latched; always @* if (rst) latched = clk;", "LATCH"),
    ],
)
def test_planted_flaw_is_warned_of(planted, rule, tmp_path):
    rtl = made("tiny-output-stationary", "array")
    (tmp_path / "waivers.vlt").write_text(lint.configuration())
    # Into the top, the last module that its name opens.
    head, name, tail = rtl.verilog.partition(f"module {rtl.top}(")
    planted_text = head + name + tail.replace(";\n", f";\n{planted}\n", 1)
    (tmp_path / "dut.v").write_text(planted_text)
    found = verilator.lint(tmp_path / "waivers.vlt", tmp_path / "dut.v", top=rtl.top)
    assert any(line.startswith(f"%Warning-{rule}: ") for line in found)


def test_waivers_are_written_next_to_the_verilog(tmp_path):
    rtl = made("tiny-output-stationary", "core")
    files = write(rtl, tmp_path, stem="tiny")
    assert [file.name for file in files] == ["tiny.v", "tiny.json", "tiny.vlt"]
    assert files[2].read_text() == lint.configuration()
    assert verilator.lint(files[2], files[0], top=rtl.top) == []


def test_every_waiver_has_its_reason_in_the_file():
    lines = lint.configuration().splitlines()[1:]
    reasons, rules = lines[::2], lines[1::2]
    assert reasons == [f"// {waiver.why}" for waiver in lint.WAIVERS]
    assert all(rule.startswith("lint_off -rule ") for rule in rules)


def test_fusesoc_lint_target_lints_what_its_generator_writes(tmp_path):
    core = yaml.safe_load((ROOT / "tritloom.core").read_text().partition("\n")[2])
    target = core["targets"]["lint"]
    assert target["flow_options"]["verilator_options"] == ["-Wall"]
    (parameters,) = (core["generate"][name]["parameters"] for name in target["generate"])
    job = {"files_root": str(ROOT), "vlnv": "::rtl:0", "parameters": parameters}
    (tmp_path / "job.yml").write_text(yaml.safe_dump(job))
    command = [sys.executable, str(ROOT / "examples/fusesoc/generate.py"), "job.yml"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    made_core = yaml.safe_load(next(tmp_path.glob("*.core")).read_text().partition("\n")[2])
    sources = [
        tmp_path / next(iter(file))
        for fileset in made_core["targets"]["default"]["filesets"]
        for file in made_core["filesets"][fileset]["files"]
    ]
    assert verilator.lint(*sources, top=target["toplevel"]) == []


def test_page_lists_every_waiver_and_no_other():
    page = (ROOT / "docs" / "synthesis.md").read_text()
    rows = re.findall(r"^\| ([A-Z]+) \|.*\| (.*) \|$", page, re.MULTILINE)
    told = [(rule, re.sub(r" \(`.*`\)", "", why)) for rule, why in rows]
    assert told == [(w.rule, re.sub(r" \(hw/.*\)", "", w.why)) for w in lint.WAIVERS]
