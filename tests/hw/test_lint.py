"""hw.lint: Verilator's lint over the Verilog of every preset, all rules on but the waived ones."""

import functools
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from tritloom.arch.board import BOARDS
from tritloom.arch.config import PRESETS, ArrayConfig, Dataflow, Technology
from tritloom.arch.errors import InputError
from tritloom.hw import lint
from tritloom.hw.emit import write
from tritloom.hw.verilog import MOST_ACT_BEATS, generate, generate_board, generate_core
from tritloom.sim import verilator
from tritloom.sim.bench.configs import lint_warnings

ROOT = Path(__file__).parents[2]
CONFIGS = {
    f"{name}-{dataflow}": config.replace(dataflow=dataflow)
    for name, config in PRESETS.items()
    for dataflow in Dataflow
    if dataflow == Dataflow.OUTPUT_STATIONARY or config.technology == Technology.GENERIC
} | {
    "tiny-ecp5": PRESETS["tiny"].replace(technology="ecp5", lanes_per_chain=2),
    "tiny-asic": PRESETS["tiny"].replace(technology="asic", carries_per_stage=6),
    # A sum of all lanes has more bits than a psum.
    "tiny-asic-few": PRESETS["tiny"].replace(
        rows=1, lanes=8, act_bits=2, max_k=3, technology="asic", carries_per_stage=4
    ),
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


@functools.cache
def odd_core():
    """The core whose streams are padded, and one of whose beats has no trit."""
    return generate_core(ArrayConfig(rows=1, cols=3, lanes=1, act_bits=3, max_k=100))


@functools.cache
def padded_core():
    """A core in whose last beat some positions have no trit."""
    return generate_core(ArrayConfig(rows=1, cols=1, lanes=5, max_k=100))


@pytest.mark.parametrize("top", ["core", "array"])
@pytest.mark.parametrize("name", NAMES)
def test_nothing_but_what_is_waived_is_warned_of(name, top, tmp_path):
    assert lint_warnings(made(name, top), tmp_path) == []


# Shapes that are no preset, each with its own leftovers: bits of padding, of cuts, of single sides.
ODD = {
    "one": {"rows": 1, "cols": 1, "lanes": 1},
    "one act of 2 bits": {"rows": 1, "cols": 1, "lanes": 1, "act_bits": 2, "max_k": 1},
    "no position in a beat": {"rows": 1, "cols": 3, "lanes": 1},
    "padded positions": {"rows": 2, "cols": 3, "lanes": 3, "cols_per_hop": 3},
    "padded acts": {"rows": 3, "cols": 2, "lanes": 1, "act_bits": 3},
    "many": {"rows": 5, "cols": 6, "lanes": 7, "act_bits": 5, "cols_per_hop": 2},
}


def warned(config, top, folder):
    """Warnings of a configuration that no test shares."""
    return lint_warnings({"core": generate_core, "array": generate}[top](config), folder)


@pytest.mark.parametrize("dataflow", Dataflow)
@pytest.mark.parametrize("odd", ODD)
def test_shapes_that_are_no_presets_are_as_clean(odd, dataflow, tmp_path):
    config = ArrayConfig(**{"max_k": 100, "buffer_tokens": 3} | ODD[odd], dataflow=dataflow)
    assert warned(config, "core", tmp_path) == []


def drawn(seed):
    """A sound configuration, and core or array."""
    rng = np.random.default_rng(seed)
    while True:
        technology, cols = rng.choice([*Technology]), int(rng.integers(1, 7))
        power = technology != Technology.GENERIC
        lanes = 1 << int(rng.integers(0, 4)) if power else int(rng.integers(1, 10))
        hops = [hop for hop in range(1, cols + 1) if cols % hop == 0]
        try:
            config = ArrayConfig(
                rows=int(rng.integers(1, 6)),
                cols=cols,
                lanes=lanes,
                act_bits=int(rng.choice([2, 3, 5, 8, 8, 16])),
                max_k=int(rng.choice([1, 2, 3, 7, 64, 100, 4096, 32768])),
                cols_per_hop=int(rng.choice(hops)),
                input_stages=int(rng.integers(0, 2)),
                levels_per_stage=int(rng.integers(1, 4)),
                select_stages=int(rng.integers(0, 2)),
                dataflow=rng.choice([*Dataflow]),
                buffer_tokens=int(rng.integers(1, 17)),
                technology=technology,
                lanes_per_chain=1 << int(rng.integers(0, 4)),
                lanes_per_stage=int(rng.integers(1, 4)),
                hosted_selects=int(rng.choice([0, 4, 8])),
                carries_per_stage=int(rng.choice([2, 4, 9, 16])),
                diagnostics=bool(rng.random() < 0.8),
            )
        except InputError:
            continue
        core = config.diagnostics and rng.random() < 0.7
        return config, "core" if core else "array"


@pytest.mark.parametrize(
    "seed",
    [*range(6), *(pytest.param(seed, marks=pytest.mark.exhaustive) for seed in range(6, 60))],
)
def test_any_shape_is_as_clean(seed, tmp_path):
    config, top = drawn(seed)
    assert warned(config, top, tmp_path) == [], (config, top)


@pytest.mark.parametrize("dataflow", Dataflow)
def test_board_s_top_is_as_clean(dataflow, tmp_path):
    config = PRESETS["tiny"].replace(dataflow=dataflow)
    assert lint_warnings(generate_board(config, BOARDS["ulx3s"]), tmp_path) == []


def test_the_largest_act_buffer_that_a_core_may_have_is_as_clean(tmp_path):
    config = ArrayConfig(rows=1, cols=4, lanes=1, max_k=MOST_ACT_BEATS, act_bits=3)
    assert config.act_buffer_beats == MOST_ACT_BEATS
    found = lint_warnings(generate_core(config), tmp_path)
    # Bits of an act's byte are padding.
    assert [line for line in found if "s_axis_acts_tdata" not in line] == []


@pytest.mark.parametrize("waiver", lint.WAIVERS, ids=lambda waiver: f"{waiver.rule} {waiver.match}")
def test_waiver_is_needed(waiver, tmp_path):
    others = tuple(other for other in lint.WAIVERS if other != waiver)
    cores = [made(name, "core") for name in CONFIGS if name.startswith("tiny-")]
    cores += [odd_core(), padded_core()]
    found = [line for core in cores for line in lint_warnings(core, tmp_path, others)]
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
    assert all(rule.startswith("lint_off ") for rule in rules)


# Of the rules with which Verilator 5.006 warns, those that its `--lint-only -Wall` knows of Verilog
# such as ours; an unknown one is an error: "Unknown Error Code: PROCASSINIT".
KNOWN_TO_OLDEST = """
ALWCOMBORDER BLKSEQ BLKLOOPINIT CASEINCOMPLETE CASEOVERLAP CASEX CMPCONST COMBDLY DECLFILENAME
DEFPARAM IMPLICIT INITIALDLY LATCH LITENDIAN MODDUP MULTIDRIVEN PINCONNECTEMPTY PINMISSING
PINNOCONNECT SELRANGE SYNCASYNCNET UNDRIVEN UNOPT UNOPTFLAT UNSIGNED UNUSED UNUSEDGENVAR
UNUSEDPARAM UNUSEDSIGNAL VARHIDDEN WIDTH
"""


def test_the_file_names_no_rule_that_the_oldest_verilator_does_not_know():
    named = re.findall(r"-rule (\S+)", lint.configuration())
    assert len(named) > 5
    assert [rule for rule in named if rule not in KNOWN_TO_OLDEST.split()] == []
    # A line without a rule waives by its message alone, never all.
    assert all(re.search(r"-rule|-match", line) for line in lint.configuration().splitlines()[2::2])
    assert f"Verilator {lint.OLDEST}" in (ROOT / "docs" / "integration.md").read_text()


@pytest.mark.skipif(not shutil.which("verilator"), reason="the system has no Verilator of its own")
@pytest.mark.parametrize("name", ["tiny-output-stationary", "tiny-weight-stationary"])
def test_the_system_s_own_verilator_takes_the_file(name, tmp_path):
    rtl = made(name, "core")
    files = write(rtl, tmp_path, stem="tiny")
    command = ["verilator", "--lint-only", "-Wall", "--top-module", rtl.top, files[2], files[0]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


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
