"""hw.core.unpacker as Verilog: its ports, its modules, its size."""

import re

import pytest

from tritloom.arch.layout import beat_bytes
from tritloom.hw.core import unpacker
from tritloom.hw.emit import emit


def generate(positions):
    return emit(unpacker.modules(positions, prefix="u"), top="u_unpacker")


def module_names(verilog):
    return re.findall(r"^module (.*?)\(", verilog, re.MULTILINE)


@pytest.mark.parametrize("positions", [1, 5, 64, 100])
def test_ports_are_those_of_the_table(positions):
    verilog, _ = generate(positions)
    text = re.search(r"^module u_unpacker\(.*?^endmodule", verilog, re.DOTALL | re.MULTILINE)[0]
    found = re.findall(r"^  (input|output) (?:\[(\d+):0\] )?(\w+);", text, re.MULTILINE)
    declared = {name: (direction, int(msb or 0) + 1) for direction, msb, name in found}
    told = {
        name: (f"{flow.value.lower()}put", width(positions))
        for name, (flow, width, _) in unpacker.PORTS.items()
    }
    assert declared == told | {"clk": ("input", 1), "rst": ("input", 1)}


@pytest.mark.parametrize("positions", [1, 2, 5, 20, 100, 256])
def test_lane_and_decoder_are_emitted_once_and_counted_for_every_byte(positions):
    verilog, cells = generate(positions)
    names = module_names(verilog)
    assert len(names) == len(set(names)) <= 3 + 2 * beat_bytes(positions).bit_length()
    assert all(re.fullmatch(r"\w+", name) for name in names)
    assert names.count("u_byte_lane") == names.count("u_byte_decoder") == 1
    # Three staged and four active registers in every lane.
    registers = sum(count for kind, count in cells.items() if "dff" in kind)
    assert registers >= 7 * beat_bytes(positions)
    assert generate(positions)[0] == verilog


def test_verilog_of_a_large_array_stays_small():
    verilog, _ = generate(4096)
    assert len(verilog) < 60_000
