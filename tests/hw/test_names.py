"""hw.names: modules that differ never share a name, and a command line makes each design again."""

import json
import re
import shlex
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tritloom.arch.board import BOARDS
from tritloom.arch.config import PRESETS, ArrayConfig, Dataflow
from tritloom.arch.errors import InputError
from tritloom.hw import lint, names, yosys
from tritloom.hw.__main__ import PROGRAM
from tritloom.hw.baselines.pe import Mac
from tritloom.hw.verilog import (
    generate,
    generate_board,
    generate_core,
    generate_hop,
    generate_pe,
)
from tritloom.sim import verilator

TINY = PRESETS["tiny"]
ONE = ArrayConfig(rows=1, cols=1, lanes=1, max_k=64)
STATIONARY = TINY.replace(dataflow="weight-stationary")


def small(**changes):
    return TINY.replace(cols=4, lanes=2, **changes)


def board(config):
    return generate_board(config, BOARDS["ulx3s"])


def mac(config):
    return generate_pe(config, kind=Mac)


# Two designs each, with the way in which they differ.
PAIRS = {
    "hop": ((generate_core, small()), (generate_core, small(cols_per_hop=2))),
    "core and array": ((generate_core, TINY), (generate, TINY)),
    "core and board": ((generate_core, TINY), (board, TINY)),
    "core and pe": ((generate_core, TINY), (generate_pe, TINY)),
    "array and hop": ((generate, TINY), (generate_hop, TINY)),
    "pe and baseline": ((generate_pe, ONE), (mac, ONE)),
    "dataflow": ((generate_core, TINY), (generate_core, STATIONARY)),
    "buffer": ((generate, STATIONARY), (generate, STATIONARY.replace(buffer_tokens=5))),
    "technology": ((generate_core, small()), (generate_core, small(technology="asic"))),
    "carries": (
        (generate_core, small(technology="asic")),
        (generate_core, small(technology="asic", carries_per_stage=4)),
    ),
    "depth": ((generate_core, TINY), (generate_core, TINY.replace(max_k=100))),
    "acts": ((generate_core, TINY), (generate_core, TINY.replace(act_bits=5))),
    "diagnostics": ((generate, TINY), (generate, TINY.replace(diagnostics=False))),
}


def modules(verilog):
    return re.findall(r"^module (\w+)", verilog, re.MULTILINE)


def joined(one, other):
    """A module in which both designs are, all their ports its own."""
    ports, instances = [], []
    for number, rtl in enumerate((one, other)):
        for port in rtl.ports:
            ports.append(f"{port.direction} [{port.width - 1}:0] p{number}_{port.name}")
        pins = ", ".join(f".{port.name}(p{number}_{port.name})" for port in rtl.ports)
        instances.append(f"  {rtl.top} instance_{number} ({pins});\n")
    return f"module both({', '.join(ports)});\n{''.join(instances)}endmodule\n"


@pytest.fixture(scope="module", params=PAIRS)
def pair(request):
    return tuple(make(config) for make, config in PAIRS[request.param])


def test_two_designs_share_no_module_name(pair):
    one, other = (modules(rtl.verilog) for rtl in pair)
    assert len(one) == len(set(one))
    assert not set(one) & set(other)
    for rtl, named in zip(pair, (one, other), strict=True):
        assert all(name == rtl.top or name.startswith(f"{rtl.top}_") for name in named)


def test_two_designs_elaborate_as_one(pair, tmp_path):
    files = [tmp_path / f"{name}.v" for name in ("one", "other", "both")]
    for file, text in zip(files, (*(rtl.verilog for rtl in pair), joined(*pair)), strict=True):
        file.write_text(text)
    waivers = tmp_path / "waivers.vlt"
    waivers.write_text(lint.configuration())
    # A baseline's PE is no product, and has warnings of its own.
    if not any("_mac" in rtl.top for rtl in pair):
        assert verilator.lint(waivers, *files, top="both") == []
    # A second module of one name ends Yosys.
    yosys.run(f"read_verilog {' '.join(map(str, files))}\nhierarchy -check -top both")
    if shutil.which("iverilog"):
        command = ["iverilog", "-g2005", "-s", "both", "-o", tmp_path / "both", *files]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_a_name_that_is_there_twice_ends_yosys(tmp_path):
    text = generate(TINY).verilog
    (tmp_path / "one.v").write_text(text)
    (tmp_path / "other.v").write_text(text)
    with pytest.raises(yosys.YosysError, match="Re-definition of module"):
        yosys.run(f"read_verilog {tmp_path}/one.v {tmp_path}/other.v")


@pytest.mark.parametrize("preset", PRESETS)
def test_preset_keeps_its_name_and_its_command(preset):
    assert names.configuration_name(PRESETS[preset]) == preset
    made = names.command(PRESETS[preset], top="core", name=None, prefix=names.PREFIX)
    assert made == f"tritloom verilog --preset {preset}"


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"cols_per_hop": 2}, "2x4x16_cols_per_hop2"),
        ({"technology": "asic", "lanes": 4}, "2x4x4_asic"),
        ({"cols": 2, "lanes": 4, "dataflow": "weight-stationary"}, "tiny_weight_stationary"),
        ({"clock_hz": 1.25e8}, "2x4x16_125mhz"),
        ({"clock_hz": 1.0e9 / 3}, "2x4x16_333p333333333mhz"),
        ({"diagnostics": False}, "2x4x16_no_diagnostics"),
        # Without a meaning, hence without a name.
        ({"buffer_tokens": 3}, "2x4x16"),
    ],
)
def test_name_says_what_differs(changes, name):
    config = ArrayConfig(**{"rows": 2, "cols": 4, "lanes": 16} | changes)
    assert names.configuration_name(config) == name


def test_one_shape_from_two_presets_has_two_names(tmp_path, capsys):
    shape = ["--rows", "2", "--cols", "4", "--lanes", "16", "--cols-per-hop", "2"]
    for preset in ("base", "asic"):
        assert PROGRAM.main(["verilog", "--preset", preset, *shape, "--out", str(tmp_path)]) == 0
    files = sorted(tmp_path.glob("*.v"))
    assert len(files) == 2
    one, other = (modules(file.read_text()) for file in files)
    assert not set(one) & set(other)
    assert all(len(file.stem) <= names.LONGEST for file in files)


@st.composite
def configs(draw):
    cols = draw(st.sampled_from((1, 4, 16, 1024)))
    changes = {
        "rows": st.sampled_from((1, 2, 1024)),
        "lanes": st.sampled_from((1, 4, 64, 1024)),
        "act_bits": st.integers(2, 16),
        "max_k": st.sampled_from((1, 1000, 32768, 1 << 30)),
        "cols_per_hop": st.sampled_from([hop for hop in (1, 2, 16) if cols % hop == 0]),
        "input_stages": st.integers(0, 1),
        "levels_per_stage": st.integers(1, 4),
        "select_stages": st.integers(0, 1),
        "clock_hz": st.sampled_from((1e3, 250e6, 500e6, 1.2e9)),
        "dataflow": st.sampled_from(list(Dataflow)),
        "buffer_tokens": st.sampled_from((1, 512, 65536)),
        "technology": st.sampled_from(("generic", "ecp5", "asic")),
        "lanes_per_chain": st.sampled_from((1, 4, 8)),
        "lanes_per_stage": st.integers(1, 2),
        "hosted_selects": st.sampled_from((0, 8)),
        "carries_per_stage": st.sampled_from((2, 15, 16)),
        "diagnostics": st.booleans(),
    }
    chosen = draw(st.sets(st.sampled_from(sorted(changes)), max_size=8))
    values = {name: draw(changes[name]) for name in sorted(chosen)}
    base = draw(st.sampled_from(list(PRESETS.values())))
    try:
        shape = {"cols": cols} if "cols_per_hop" in chosen or draw(st.booleans()) else {}
        return base.replace(**shape | values)
    except InputError:
        return base


@settings(max_examples=300)
@given(one=configs(), other=configs())
def test_names_are_equal_where_configurations_are(one, other):
    named = [names.configuration_name(config) for config in (one, other)]
    same = names.of_rtl(one) == names.of_rtl(other)
    assert (named[0] == named[1]) == same
    for name in named:
        assert re.fullmatch(r"\w+", name)
        assert len(name) <= names.LONGEST


@settings(max_examples=200)
@given(
    config=configs(),
    top=st.sampled_from(("core", "array")),
    name=st.sampled_from((None, "mine")),
    prefix=st.sampled_from(("tritloom_", "acme_", "")),
)
def test_command_chooses_the_same_configuration_again(config, top, name, prefix):
    from tritloom.hw.options import chosen_name, configuration

    if name is None and not prefix:
        return
    line = names.command(config, top=top, name=name, prefix=prefix)
    program, *words = shlex.split(line)
    assert program == "tritloom"
    options = PROGRAM.parser().parse_args(words)
    assert names.of_rtl(configuration(options)) == names.of_rtl(config)
    assert options.top == top
    assert chosen_name(options) == (name, prefix)


@pytest.mark.parametrize("top", ["core", "array"])
def test_command_in_the_header_makes_the_same_bytes(top, tmp_path, capsys):
    arguments = ["--preset", "asic", "--rows", "1", "--cols", "2", "--lanes", "2", "--top", top]
    arguments += ["--cols-per-hop", "1", "--prefix", "acme_", "--max-k", "64"]
    assert PROGRAM.main(["verilog", *arguments, "--out", str(tmp_path / "one")]) == 0
    (verilog,) = (tmp_path / "one").glob("*.v")
    told = json.loads(verilog.with_suffix(".json").read_text())
    lines = verilog.read_text().splitlines()
    command = lines[lines.index("// Command:") + 1].removeprefix("//   ")
    assert command == told["command"]
    assert lines[0] == f"// {told['top']}: generated by Tritloom {told['version']}; do not edit."
    for name, value in told["configuration"].items():
        if name in ArrayConfig.__dataclass_fields__:
            assert f"//   {name} = {value}" in lines
    other = tmp_path / "other"
    assert PROGRAM.main([*shlex.split(command)[1:], "--out", str(other)]) == 0
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (other / file.name).read_bytes()
        # Neither of the folders, nor any other.
        assert not re.search(r"(?<![\w*/])/\w+/", file.read_text())


@pytest.mark.parametrize(
    ("options", "stem", "top"),
    [
        (["--name", "accelerator"], "accelerator", "accelerator"),
        (["--prefix", "acme_"], "tiny", "acme_tiny"),
        (["--prefix", "acme_", "--name", "mine"], "mine", "acme_mine"),
    ],
)
def test_name_and_prefix_are_of_files_and_of_every_module(options, stem, top, tmp_path, capsys):
    arguments = ["verilog", "--preset", "tiny", *options, "--out", str(tmp_path)]
    assert PROGRAM.main(arguments) == 0
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{stem}.{end}" for end in ("v", "json", "vlt")
    }
    assert json.loads((tmp_path / f"{stem}.json").read_text())["top"] == top
    named = modules((tmp_path / f"{stem}.v").read_text())
    assert top in named
    assert all(name.startswith(top) for name in named)


@pytest.mark.parametrize(
    ("option", "value", "why"),
    [
        ("name", "4x4", "letters, digits and _, the first of them no digit, not '4x4'"),
        ("name", "a-b", "letters, digits and _, the first of them no digit, not 'a-b'"),
        ("prefix", "", "letters, digits and _, the first of them no digit, not ''"),
        ("name", "module", "no keyword of SystemVerilog, as 'module' is"),
    ],
)
def test_what_is_no_identifier_is_refused(option, value, why, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["verilog", "--preset", "tiny", f"--{option}={value}", "--out", str(out)]
    assert PROGRAM.main(arguments) == 2
    assert capsys.readouterr().err == f"python -m hw verilog: error: {option} must be {why}\n"
    assert not out.exists()


def test_python_refuses_a_name_that_is_no_identifier():
    with pytest.raises(InputError, match="the name of a module must be letters"):
        generate_core(TINY, name="a b")
