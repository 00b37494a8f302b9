"""Maps RTL to a library of standard cells with Yosys and ABC.

Full adders are extracted first, because ABC does not know cells of two outputs: those of
technology asic as they stand, and those that Yosys makes of multiplications (Booth's) and additions
(`Adders`). Enables become clock gates. ABC maps the rest for area within the clock, and buffers;
`timer.Timer` sizes.
"""

from __future__ import annotations

import enum
import json
import tempfile
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

from tritloom.hw import yosys
from tritloom.hw.emit import Rtl
from tritloom.hw.parts import asic

from .liberty import Library
from .netlist import Netlist, read_netlist

# Registers with a common enable that are worth a clock gate.
GATED = 4
# A net of more pins is buffered.
FANOUT = 16

_ABC = (
    "strash; &get -n; &fraig -x; &put; scorr; dc2; strash; &get -n; &dch -f; &nf {D}; &put; "
    "buffer -p -N {fanout}; topo; upsize {D}; dnsize {D}; topo"
)


def tool() -> str:
    """Name and version of the tool that maps."""
    return f"Yosys {version('pyosys')} and its ABC"


class Adders(enum.StrEnum):
    """The additions that become full adders of the library, besides those of technology asic."""

    # None: they become gates, in whatever form ABC finds.
    NONE = "none"
    # The carry-save adders of multiplications; sums become Brent-Kung adders of gates.
    TREES = "trees"
    # Sums as well, as ripple chains, which are small and slow. Every other place adds complements,
    # because the library's adder is inverting.
    CHAINS = "chains"


def _cells(library: Library, prefix: str, adders: Adders) -> str:
    """Verilog for techmap: our gates, and Yosys' $fa and $alu, as the library's cells."""
    return "".join(
        text
        for text, wanted in (
            (_gates(library, prefix), True),
            (_fa(library), adders != Adders.NONE),
            (_alu(library), adders == Adders.CHAINS),
        )
        if wanted
    )


def _gates(library: Library, prefix: str) -> str:
    full = library.find("FA*").name
    select, register = library.find("OAI22*").name, library.find("DFFHQN*").name
    half = next((name for name in library.cells if name.startswith("HA")), None)
    # A half adder, whose carry out is that of two true bits.
    half_of = (
        f"{half} ha(.A(a), .B(b), .CON(con), .SN(sn));"
        if half
        else "assign con = ~(a & b); assign sn = ~(a ^ b);"
    )
    return f"""
(* techmap_celltype = "{prefix}_select" *)
module _90_select(positive_n, act_n, negative_n, act, y);
  input positive_n, act_n, negative_n, act;
  output y;
  {select} oai(.A1(positive_n), .A2(act_n), .B1(negative_n), .B2(act), .Y(y));
endmodule

(* techmap_celltype = "{prefix}_register" *)
module _90_register(clk, rst, d, q);
  input clk, rst, d;
  output q;
  wire qn;
  {register} held(.CLK(clk), .D(d & ~rst), .QN(qn));
  assign q = ~qn;
endmodule

(* techmap_celltype = "{prefix}_full_adder" *)
module _90_full_adder(a, b, ci, con, sn);
  input a, b, ci;
  output con, sn;
  parameter _TECHMAP_CONSTMSK_ci_ = 0;
  parameter _TECHMAP_CONSTVAL_ci_ = 0;
  generate
    if (_TECHMAP_CONSTMSK_ci_ == 0)
      {full} fa(.A(a), .B(b), .CI(ci), .CON(con), .SN(sn));
    else if (_TECHMAP_CONSTVAL_ci_ == 0) begin
      {half_of}
    end else begin
      assign con = ~(a | b);
      assign sn = a ^ b;
    end
  endgenerate
endmodule
"""


def _fa(library: Library) -> str:
    full = library.find("FA*").name
    return f"""
(* techmap_celltype = "$fa" *)
module _90_fa(A, B, C, X, Y);
  parameter WIDTH = 1;
  input [WIDTH-1:0] A, B, C;
  output [WIDTH-1:0] X, Y;
  wire [WIDTH-1:0] con, sn;
  assign X = ~con, Y = ~sn;
  genvar i;
  generate for (i = 0; i < WIDTH; i = i + 1)
    {full} fa(.A(A[i]), .B(B[i]), .CI(C[i]), .CON(con[i]), .SN(sn[i]));
  endgenerate
endmodule
"""


def _alu(library: Library) -> str:
    full = library.find("FA*").name
    return f"""
(* techmap_celltype = "$alu" *)
module _90_alu(A, B, CI, BI, X, Y, CO);
  parameter A_SIGNED = 0;
  parameter B_SIGNED = 0;
  parameter A_WIDTH = 1;
  parameter B_WIDTH = 1;
  parameter Y_WIDTH = 1;
  (* force_downto *) input [A_WIDTH-1:0] A;
  (* force_downto *) input [B_WIDTH-1:0] B;
  input CI, BI;
  (* force_downto *) output [Y_WIDTH-1:0] X, Y, CO;
  wire [Y_WIDTH-1:0] a, b_in;
  \\$pos #(.A_SIGNED(A_SIGNED), .A_WIDTH(A_WIDTH), .Y_WIDTH(Y_WIDTH)) pa(.A(A), .Y(a));
  \\$pos #(.A_SIGNED(B_SIGNED), .A_WIDTH(B_WIDTH), .Y_WIDTH(Y_WIDTH)) pb(.A(B), .Y(b_in));
  wire [Y_WIDTH-1:0] b = BI ? ~b_in : b_in;
  wire [Y_WIDTH-1:0] con, sn;
  wire [Y_WIDTH:0] carry;
  assign carry[0] = CI, X = a ^ b;
  genvar i;
  generate for (i = 0; i < Y_WIDTH; i = i + 1) begin
    assign carry[i + 1] = con[i];
    if (i % 2) begin
      {full} fa(.A(~a[i]), .B(~b[i]), .CI(carry[i]), .CON(con[i]), .SN(sn[i]));
      assign Y[i] = sn[i], CO[i] = con[i];
    end else begin
      {full} fa(.A(a[i]), .B(b[i]), .CI(carry[i]), .CON(con[i]), .SN(sn[i]));
      assign Y[i] = ~sn[i], CO[i] = ~con[i];
    end
  end endgenerate
endmodule
"""


def map_cells(
    rtl: Rtl,
    library: Library,
    *,
    clock_ps: float | None = None,
    adders: Adders = Adders.CHAINS,
    without: Iterable[str] = (),
    absent: Iterable[str] = (),
) -> Netlist:
    """Map the RTL to one flat module of the library's cells.

    Parameters
    ----------
    clock_ps : float, optional
        Period that logic is sized for; without one, the area is the smallest.
    adders : Adders
    without : iterable of str
        Outputs of the top that nothing will read.
    absent : iterable of str
        Modules that are left out, such as large memories.

    Raises
    ------
    hw.yosys.YosysError
    """
    delay = f"-D {clock_ps:.0f}" if clock_ps else ""
    script = _ABC.format(D=delay, fanout=FANOUT)
    ours = [f"{rtl.top}_{gate}" for gate in asic.GATES if f" {rtl.top}_{gate}(" in rtl.verilog]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "dut.v").write_text(rtl.verilog)
        (folder / "cells.lib").write_text(library.text)
        (folder / "cells.v").write_text(_cells(library, rtl.top, adders))
        (folder / "abc.script").write_text(script)
        lib = f"-liberty {folder}/cells.lib"
        yosys.run(
            "\n".join(
                [
                    f"read_verilog {folder}/dut.v",
                    f"read_liberty -lib -ignore_miss_func {folder}/cells.lib",
                    *(f"delete */t:{module}" for module in absent),
                    f"hierarchy -check -top {rtl.top}",
                    "proc",
                    *(f"delete -port {rtl.top}/{port}" for port in without),
                    *(f"techmap -map {folder}/cells.v t:{gate}" for gate in ours),
                    *(f"delete {gate}" for gate in ours),
                    f"synth -flatten -booth -top {rtl.top} -run begin:fine",
                    "opt -fast -full",
                    "memory_map",
                    "opt -undriven -fine",
                    "maccmap",
                    f"techmap -map {folder}/cells.v",
                    "techmap",
                    "opt -fast",
                    "opt_clean",
                    f"clockgate {lib} -min_net_size {GATED} -tie_lo SE",
                    f"dfflibmap {lib}",
                    "opt -fast",
                    f"abc {lib} -script {folder}/abc.script",
                    "opt_clean -purge",
                    f"write_json {folder}/mapped.json",
                ]
            )
        )
        described = json.loads((folder / "mapped.json").read_text())["modules"][rtl.top]
        return read_netlist(rtl.top, described, library)
