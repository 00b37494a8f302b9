"""hw.parts.ecp5: its cells, for every value, against arithmetic; what a PE of them takes."""

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Cat, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tritloom.arch.config import ArrayConfig
from tritloom.hw import yosys
from tritloom.hw.fpga.placement import count_luts
from tritloom.hw.fpga.synth import synthesise
from tritloom.hw.parts import ecp5
from tritloom.hw.verilog import generate_pe

BITS, WIDTH = 8, 10

# Plain arithmetic, by another hand than the cells' truth tables.
LANE = f"""
module wanted(input [{WIDTH - 1}:0] total, input signed [{BITS - 1}:0] act, input [1:0] code,
              output [{WIDTH - 1}:0] sum);
  wire signed [{BITS}:0] product = code == 2'b01 ? act : code == 2'b11 ? -act : 0;
  assign sum = total + {{{{ {WIDTH - BITS - 1}{{product[{BITS}]}}}}, product}};
endmodule
"""


class Lane(wiring.Component):
    """A lane of a chain, its trit's code as it comes into the array."""

    def __init__(self):
        super().__init__({"total": In(WIDTH), "act": In(BITS), "code": In(2), "sum": Out(WIDTH)})

    def elaborate(self, platform):
        m = Module()
        # The edge of the array makes an illegal code a zero.
        trit = Cat(self.code[0], self.code[1] & self.code[0])
        m.d.comb += self.sum.eq(
            ecp5.add_selected(m, "lane", self.total, self.act, trit, width=WIDTH, spare=[])
        )
        return m


def prove(folder):
    """Yosys' own models of the cells against the arithmetic, for all inputs; raises on a miss."""
    (folder / "lane.il").write_text(rtlil.convert(Lane(), name="made", emit_src=False))
    (folder / "wanted.v").write_text(LANE)
    return yosys.run(
        "read_verilog +/ecp5/common_sim.vh +/ecp5/ccu2c_sim.vh\n"
        f"read_rtlil {folder / 'lane.il'}\n"
        # The cells take their parameters here; what the top does not need goes.
        "hierarchy -top made\nflatten\n"
        f"read_verilog {folder / 'wanted.v'}\n"
        "proc\n"
        "miter -equiv -flatten wanted made miter\n"
        "sat -verify -prove trigger 0 miter"
    )


def test_lane_equals_arithmetic_for_every_act_trit_and_total(tmp_path):
    assert "SUCCESS" in prove(tmp_path)


def test_proof_finds_a_wrong_cell(tmp_path, monkeypatch):
    # The act of +1 is complemented.
    monkeypatch.setattr(ecp5, "SELECT", ecp5.SELECT ^ 0x0F00)
    with pytest.raises(yosys.YosysError):
        prove(tmp_path)


@pytest.mark.parametrize(("lanes", "hosted", "most"), [(16, 8, 12.5), (64, 8, 12.0), (64, 1, 12.5)])
def test_luts_of_a_pe_with_its_accumulator(lanes, hosted, most):
    config = ArrayConfig(
        rows=1,
        cols=1,
        lanes=lanes,
        levels_per_stage=1,
        select_stages=1,
        technology="ecp5",
        hosted_selects=hosted,
    )
    done = synthesise(generate_pe(config), "ecp5", options="-nodsp")
    assert count_luts(done.cells) / lanes <= most
    assert done.resources["DSP"] == done.resources["latch"] == 0


def test_technology_is_for_its_target_only():
    config = ArrayConfig(rows=1, cols=1, lanes=2, technology="ecp5")
    with pytest.raises(ValueError, match="technology ecp5 is not for target 'ice40'"):
        synthesise(generate_pe(config), "ice40")
