"""arch.regmap and arch.ports: the table, what is generated from it, and who must agree with it."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tritloom.arch import ports, regmap
from tritloom.arch.config import PRESETS, ArrayConfig
from tritloom.arch.errors import InputError
from tritloom.arch.regmap import Access, Field, Register
from tritloom.hw import svd
from tritloom.hw.__main__ import PROGRAM
from tritloom.hw.core import registers
from tritloom.hw.emit import emit

ROOT = Path(__file__).parents[2]
TINY = PRESETS["tiny"]
COMPILER = shutil.which("cc") or shutil.which("g++")

# What drivers rely on, typed by hand: a change here is a change of VERSION.
OFFSETS = {
    "ID": 0x00,
    "VERSION": 0x04,
    "SHAPE": 0x08,
    "WIDTHS": 0x0C,
    "MAX_K": 0x10,
    "QUEUE": 0x14,
    "DATAFLOW": 0x18,
    "CONTROL": 0x20,
    "STATUS": 0x24,
    "ERROR": 0x28,
    "EVENT": 0x2C,
    "IRQ_ENABLE": 0x30,
    "FIRST_ILLEGAL": 0x34,
    "M": 0x40,
    "K": 0x44,
    "N": 0x48,
    "OPTIONS": 0x4C,
    "PUSH": 0x50,
    "CYCLES_LO": 0x80,
    "BUSY_LO": 0x88,
    "STALL_ACTS_LO": 0x90,
    "STALL_WEIGHTS_LO": 0x98,
    "STALL_OUTPUT_LO": 0xA0,
    "STALL_ARRAY_LO": 0xA8,
    "TRITS_LO": 0xB0,
    "ZERO_TRITS_LO": 0xB8,
    "ILLEGAL_BEATS_LO": 0xC0,
}


def bit(name="A", low=0, width=1, **changes):
    return Field(
        **{"name": name, "low": low, "width": width, "access": Access.RW, "what": "x"} | changes
    )


def word(name="R", offset=0, fields=None):
    return Register(name=name, offset=offset, fields=fields or (bit(),), what="x")


def test_offsets_are_those_that_drivers_know():
    upper = {name[:-2] + "HI": at + 4 for name, at in OFFSETS.items() if name.endswith("_LO")}
    assert {r.name: r.offset for r in regmap.REGISTERS} == OFFSETS | upper
    assert 1 << regmap.ADDRESS_BITS == 256


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: word(offset=2), "offset of R must be a multiple of 4, not 0x2"),
        (lambda: word(offset=-4), "offset of R must be at least 0, not -4"),
        (lambda: word(name="r"), "register name must be a C identifier in capitals, not 'r'"),
        (lambda: bit("A B"), "field name must be a C identifier in capitals, not 'A B'"),
        (lambda: bit(low=32), "low bit of field A must be at most 31, not 32"),
        (lambda: bit(low=30, width=3), "width of field A must be at most 2, not 3"),
        (lambda: bit(width=2, reset=4), "field A must be at most 3, not 4"),
        (
            lambda: word(fields=(bit("A", 0, 3), bit("B", 2))),
            "field B of R overlaps another field",
        ),
        (lambda: word(fields=(bit(), bit(low=1))), "share one field of R: A"),
        (lambda: regmap.validate((word(), word("S"))), "share one offset: 0x0"),
        (lambda: regmap.validate((word(), word(offset=4))), "share one name: R"),
        (lambda: regmap.offset("Q"), "unknown register 'Q'"),
        (lambda: regmap.encode("STATUS", WARM=1), "register STATUS has no field 'WARM'"),
        (lambda: regmap.encode("SHAPE", ROWS=1 << 16), "field ROWS must be at most 65535"),
        (lambda: regmap.decode("M", 1 << 32), "word must be at most 4294967295"),
    ],
)
def test_wrong_table_or_value_is_named(make, message):
    with pytest.raises(InputError, match=re.escape(message)):
        make()


REGISTERS = st.sampled_from(regmap.REGISTERS)


@settings(max_examples=300)
@given(register=REGISTERS, word=st.integers(0, (1 << 32) - 1))
def test_encode_undoes_decode_of_any_word(register, word):
    used = sum(1 << bit for field in register.fields for bit in positions(field))
    assert regmap.encode(register.name, **regmap.decode(register.name, word)) == word & used


def positions(field):
    high, _, low = field.bits.partition(":")
    return range(int(low or high), int(high) + 1)


@settings(max_examples=300)
@given(data=st.data(), value=st.integers(-2, 9) | st.integers() | st.floats() | st.booleans())
def test_encode_places_what_fits_and_refuses_all_else(data, value):
    register = data.draw(REGISTERS)
    field = data.draw(st.sampled_from(register.fields))
    if type(value) is int and value in range(2 ** len(positions(field))):
        word = regmap.encode(register.name, **{field.name: value})
        assert word >> positions(field)[0] == value
    else:
        with pytest.raises(InputError, match=rf"\Afield {field.name} must be [^\n]+\Z"):
            regmap.encode(register.name, **{field.name: value})


@pytest.mark.parametrize("register", regmap.REGISTERS, ids=lambda register: register.name)
def test_decode_undoes_encode(register):
    top = {field.name: (1 << field.width) - 1 for field in register.fields}
    for fields in (top, {name: value // 3 for name, value in top.items()}):
        assert regmap.decode(register.name, regmap.encode(register.name, **fields)) == fields


def test_status_word_is_laid_out_as_the_page_says():
    fields = {"BUSY": 1, "FULL": 0, "LEVEL": 3, "RUNS_DONE": 0xABCD}
    assert regmap.encode("STATUS", **fields) == 0xABCD0301
    left = {"FLUSHING": 1, "ACTS_OPEN": 0, "WEIGHTS_OPEN": 1, "PSUM_OFFERED": 1}
    assert regmap.encode("STATUS", **left) == 0x00000034
    assert regmap.encode("CONTROL", RESUME=1) == 4
    assert regmap.encode("OPTIONS", PACKING=1, PSUMS_LAST=2) == 5
    assert regmap.encode("ERROR", PUSHED_FLUSHING=1) == 0x80
    assert regmap.reset_word("ID", TINY).to_bytes(4, "big") == b"TRIT"
    stationary = TINY.replace(dataflow="weight-stationary", buffer_tokens=0x123)
    assert regmap.reset_word("DATAFLOW", stationary) == 0x00012301
    assert regmap.reset_word("DATAFLOW", TINY) == 0x00000200
    assert regmap.reset_word("SHAPE", ArrayConfig(rows=3, cols=5, lanes=7)) == 0x00050003


def test_every_field_has_a_reset_value_or_a_constant():
    missing = {
        (register.name, field.name)
        for register in regmap.REGISTERS
        for field in register.fields
        if field.reset is None
    }
    known = {(name, key) for name, fields in regmap.constants(TINY).items() for key in fields}
    assert missing == known


def test_page_in_docs_is_up_to_date():
    assert (ROOT / "docs/registers.md").read_text() == regmap.markdown(), "run: python -m hw regmap"


def test_command_writes_header_page_and_svd(tmp_path, capsys):
    assert PROGRAM.main(["regmap", "--out", str(tmp_path / "new")]) == 0
    assert (tmp_path / "new/tritloom_regs.h").read_text() == regmap.c_header()
    assert (tmp_path / "new/registers.md").read_text() == regmap.markdown()
    assert (tmp_path / "new/tritloom.svd").read_text() == svd.svd()
    assert len(list((tmp_path / "new").iterdir())) == 3
    assert "36 registers" in capsys.readouterr().out


def test_unwritable_folder_gets_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert PROGRAM.main(["regmap", "--out", str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err.startswith("python -m hw regmap: error: ")


@pytest.mark.skipif(not COMPILER, reason="no C compiler")
def test_compiled_header_holds_the_table(tmp_path):
    (tmp_path / "tritloom_regs.h").write_text(regmap.c_header())
    prints = [
        f'printf("{register.name} %u\\n", TRITLOOM_{register.name}_OFFSET);'
        for register in regmap.REGISTERS
    ] + [
        f'printf("{r.name}.{f.name} %u %u\\n", TRITLOOM_{r.name}_{f.name}_SHIFT, '
        f"TRITLOOM_{r.name}_{f.name}_MASK);"
        for r in regmap.REGISTERS
        for f in r.fields
    ]
    # Included twice: the guard.
    include = '#include "tritloom_regs.h"\n' * 2
    source = f"#include <stdio.h>\n{include}int main(void) {{ {' '.join(prints)} return 0; }}\n"
    (tmp_path / "main.c").write_text(source)
    strict = ["-Wall", "-Wextra", "-Werror", "-pedantic"]
    subprocess.run([COMPILER, *strict, "main.c", "-o", "main"], cwd=tmp_path, check=True)
    printed = subprocess.run(tmp_path / "main", capture_output=True, text=True, check=True).stdout
    wanted = [f"{r.name} {r.offset}" for r in regmap.REGISTERS] + [
        f"{r.name}.{f.name} {f.low} {f.mask}" for r in regmap.REGISTERS for f in r.fields
    ]
    assert printed.splitlines() == wanted


@pytest.mark.parametrize(
    ("config", "widths"),
    [
        (TINY, (64, 16, 64)),
        (ArrayConfig(rows=3, cols=5, lanes=7, act_bits=5), (112, 72, 160)),
        (ArrayConfig(rows=1, cols=1, lanes=1), (8, 8, 32)),
    ],
    ids=lambda value: getattr(value, "shape", ""),
)
def test_stream_widths_follow_the_configuration(config, widths):
    by_name = {port.name: port.width for port in ports.core_ports(config)}
    streams = ("s_axis_acts", "s_axis_weights", "m_axis_psums")
    assert tuple(by_name[f"{name}_tdata"] for name in streams) == widths
    assert len(by_name) == len(ports.core_ports(config)) == 2 + 3 * 4 + 19 + 1


def test_other_ports_are_as_wide_as_amba_has_them():
    # AXI4-Lite of 32 bits, with PROT and RESP of AXI; TLAST, handshakes, clock and reset are wires.
    wide = {"wdata": 32, "rdata": 32, "wstrb": 4, "awprot": 3, "arprot": 3, "bresp": 2, "rresp": 2}
    for port in ports.core_ports(TINY):
        kind = port.name.rpartition("_")[-1]
        if kind not in ("tdata", "awaddr", "araddr"):
            assert port.width == wide.get(kind, 1), port.name


def test_addresses_reach_every_register_and_no_more_than_twice_as_far():
    (width,) = {port.width for port in ports.axil_ports() if port.name.endswith("addr")}
    last = max(register.offset for register in regmap.REGISTERS)
    assert 2 ** (width - 1) <= last < 2**width


def test_psum_wider_than_its_stream_is_refused():
    with pytest.raises(InputError, match="46 bits wide, and the stream carries 32"):
        ports.core_ports(TINY.replace(act_bits=16, max_k=1 << 29))


def test_registers_are_plain_modules_with_the_ports_of_the_bus():
    modules = registers.modules(TINY, prefix="tritloom")
    verilog, cells = emit(modules, top="tritloom_registers")
    names = re.findall(r"^module (\w+) ?\(", verilog, re.MULTILINE)
    assert sorted(names) == sorted(modules)
    assert "$mul" not in cells
    declared = {
        name: (direction, int(msb) + 1 if msb else 1)
        for direction, msb, name in re.findall(
            r"^  (input|output) (?:\[(\d+):0\] )?(\w+);", verilog, re.MULTILINE
        )
    }
    wanted = {port.name: (port.direction, port.width) for port in ports.axil_ports()}
    assert wanted.items() <= declared.items()
    assert {"clk", "rst", "irq", "descriptor_valid", "soft_reset"} <= declared.keys()


def test_litex_wrapper_connects_every_port_of_the_core():
    tree = ast.parse((ROOT / "examples/litex/tritloom_core.py").read_text())
    (call,) = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Instance"
    ]
    connected = sorted(keyword.arg for keyword in call.keywords)
    assert connected == sorted(
        f"{port.direction[0]}_{port.name}" for port in ports.core_ports(TINY)
    )


def test_fusesoc_core_names_a_generator_that_exists():
    first, _, rest = (ROOT / "tritloom.core").read_text().partition("\n")
    core = yaml.safe_load(rest)
    assert first == "CAPI=2:"
    (generator,) = core["generators"].values()
    assert (ROOT / generator["command"]).is_file()
    assert {g["generator"] for g in core["generate"].values()} == set(core["generators"])
    for target in core["targets"].values():
        assert set(target.get("generate", [])) <= set(core["generate"])


def test_fusesoc_generator_writes_rtl_and_a_core_file(tmp_path):
    job = {
        "gapi": "1.0",
        "files_root": str(ROOT),
        "vlnv": "::tritloom-rtl:0",
        "parameters": {"preset": "tiny", "rows": 3},
    }
    (tmp_path / "job.yml").write_text(yaml.safe_dump(job))
    command = [sys.executable, str(ROOT / "examples/fusesoc/generate.py"), "job.yml"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    (written,) = tmp_path.glob("*.core")
    core = yaml.safe_load(written.read_text().partition("\n")[2])
    assert core["name"] == job["vlnv"]
    for fileset in core["filesets"].values():
        for file in fileset["files"]:
            assert (tmp_path / next(iter(file))).is_file()
