"""hw.parts.ram: the block RAM that technology ecp5 instantiates is the one that Yosys infers."""

import json
import re

import pytest

from tritloom.hw import yosys
from tritloom.hw.parts.ram import Ram

# Pins that the register at the output, and the choice of a way to say "off", make differ.
ELSEWHERE = re.compile(r"OCE[AB]|RST[AB]|CS[AB]\d|WEB|CLK[AB]")


def blocks(ram, folder):
    """Parameters, and what is at which pin, of each block RAM that synthesis leaves."""
    netlist = folder / "netlist.json"
    (folder / "ram.v").write_text(ram.verilog("ram"))
    yosys.run(
        f"read_verilog {folder / 'ram.v'}\n"
        # Ports stay ports: no input or output buffer is put in front of them.
        f"synth_ecp5 -noabc9 -top ram\nclean -purge\nwrite_json {netlist}\n"
    )
    module = json.loads(netlist.read_text())["modules"]["ram"]
    names = {
        bit: f"{name}[{index}]"
        for name, port in module["ports"].items()
        for index, bit in enumerate(port["bits"])
    }
    found = []
    for cell in module["cells"].values():
        assert cell["type"] == "DP16KD", cell["type"]
        pins = {
            pin: names.get(bit, bit)
            for pin, (bit,) in cell["connections"].items()
            if not ELSEWHERE.fullmatch(pin)
        }
        # What is open, or may be anything.
        pins = {pin: bit for pin, bit in pins.items() if isinstance(bit, str) and bit != "x"}
        parameters = cell["parameters"]
        widths = tuple(int(parameters[f"DATA_WIDTH_{port}"], 2) for port in "AB")
        found.append((widths, parameters["REGMODE_B"].strip(), pins))
    return found


# From 36 bits a word down to 1. Yosys leaves bytes out that a last block has to spare.
SIZES = [(72, 512), (504, 300), (36, 1024), (20, 1500), (64, 8192), (3, 9000)]


@pytest.mark.parametrize(("width", "depth"), SIZES)
def test_block_ram_is_the_one_that_yosys_infers_but_for_its_register(width, depth, tmp_path):
    inferred = blocks(Ram(width=width, depth=depth), tmp_path)
    ours = blocks(Ram(width=width, depth=depth, registered=True, technology="ecp5"), tmp_path)
    assert [register for _, register, _ in inferred] == ["NOREG"] * len(ours)
    assert [register for _, register, _ in ours] == ["OUTREG"] * len(ours)

    def shape(cells):
        # A pin of no use is open, or 0.
        used = [{pin: bit for pin, bit in pins.items() if bit != "0"} for *_, pins in cells]
        return sorted(
            [widths, sorted(pins.items())] for (widths, *_), pins in zip(cells, used, strict=True)
        )

    assert shape(ours) == shape(inferred)


def test_words_too_deep_for_one_are_left_to_synthesis():
    ram = Ram(width=8, depth=16385, registered=True, technology="ecp5")
    assert ram.verilog("ram") == Ram(width=8, depth=16385, registered=True).verilog("ram")
