"""Random faults: alike for a seed, noticed by the benches; what changes nothing is not."""

import json

import pytest

from tritloom.arch.config import Dataflow
from tritloom.arch.errors import InputError
from tritloom.hw.verilog import generate_core
from tritloom.sim.__main__ import PROGRAM
from tritloom.sim.bench.runner import TOP
from tritloom.sim.faults import mutate, netlist_faults
from tritloom.sim.faults.mutate import BENCHES, CONFIGS, FaultyNetlist, Outcome
from tritloom.sim.faults.netlist_faults import KINDS, Fault

CONFIG = CONFIGS[Dataflow.OUTPUT_STATIONARY]
# The short runs are killed by these: the core's steady run sees few bytes of trit5.
SHORT = {name: BENCHES[name] for name in ("core, steady", "unpacker")}


@pytest.fixture(scope="module")
def verilog():
    return generate_core(CONFIG, name="dut").verilog


@pytest.fixture(scope="module")
def sound(verilog):
    return netlist_faults.read_netlist(verilog)


def harmless(sound):
    """The sum of two bits is at most 2, and its third bit 0."""
    module = f"{TOP}_popcount_6"
    sums = sound["modules"][module]["cells"]
    cell = next(name for name, body in sums.items() if len(body["connections"]["A"]) == 3)
    assert sums[cell]["type"] == "$add"
    where = {"module": module, "cell": cell, "type": "$add", "port": "A", "bit": 2, "line": ""}
    return Fault(number=7, kind="stuck at 0", **where)


def test_faults_are_the_same_for_a_seed_and_others_for_another(verilog, sound):
    faults, other = (netlist_faults.list_faults(verilog, sound, 50, seed) for seed in (1, 2))
    again = netlist_faults.list_faults(verilog, netlist_faults.read_netlist(verilog), 50, 1)
    assert faults == again
    assert faults != other
    assert [fault.number for fault in faults] == list(range(1, 51))
    assert {fault.kind for fault in faults} == set(KINDS)
    assert len({(f.kind, f.module, f.cell, f.port, f.bit) for f in faults}) == 50


@pytest.mark.parametrize(
    ("kind", "type_", "port", "text", "meant"),
    [
        ("stuck at 0", "$and", "B", "a & b", "a & {b[3:1], 1'h0}"),
        ("stuck at 1", "$and", "B", "a & b", "a & {b[3:1], 1'h1}"),
        ("inverted", "$mux", "S", "s ? a : b", "s ? b : a"),
        ("swapped", "$sub", "A", "a - b", "b - a"),
        ("swapped", "$mux", "A", "s ? a : b", "s ? b : a"),
        ("off by one", "$add", "B", "a + 4'hf", "a + 4'h0"),
        ("off by one", "$eq", "B", "{3'h0, a == 4'h5}", "{3'h0, a == 4'h6}"),
    ],
)
def test_a_fault_does_what_its_kind_says(kind, type_, port, text, meant):
    def netlist(expression):
        return netlist_faults.read_netlist(
            "module dut(input [3:0] a, input [3:0] b, input s, output [3:0] y);\n"
            f"  assign y = {expression};\nendmodule\n"
        )

    sound, wanted = netlist(text), netlist(meant)
    ((cell, _),) = sound["modules"]["dut"]["cells"].items()
    where = {"module": "dut", "cell": cell, "type": type_, "port": port}
    fault = Fault(number=1, kind=kind, bit=0, line="", **where)
    faulty = netlist_faults.plant_faults(sound, [fault], always=True)
    assert netlist_faults.equal(faulty, wanted, "dut")
    assert not netlist_faults.equal(sound, wanted, "dut")
    assert netlist_faults.prove_equivalent(sound, fault) == ""


def test_more_faults_than_places_are_refused(verilog, sound):
    with pytest.raises(InputError, match="places for faults, fewer than 1000000"):
        netlist_faults.list_faults(verilog, sound, 1_000_000, 1)


@pytest.mark.slow
def test_faults_are_killed_and_one_that_does_not_matter_survives(verilog, sound, folder):
    faults = [*netlist_faults.list_faults(verilog, sound, 5, 5), harmless(sound)]
    netlist = FaultyNetlist.of(CONFIG, sound, faults)
    none, *outcomes = [netlist.run(fault, folder, SHORT) for fault in (None, *faults)]
    assert (none.bench, none.test) == ("", "")
    assert [outcome.verdict for outcome in outcomes] == ["killed"] * 5 + ["equivalent"]
    assert outcomes[-1].equivalent == f"{TOP}_popcount_6"


def outcome(verdict):
    where = {"module": TOP, "cell": "c", "type": "$and", "port": "A", "bit": 0, "line": "a | b"}
    return Outcome(
        dataflow="output-stationary",
        fault=Fault(number=1, kind="inverted", **where),
        bench="core" if verdict == "killed" else "",
        test="steady: psums" if verdict == "killed" else "",
        seconds=1.0,
        equivalent=TOP if verdict == "equivalent" else "",
    )


@pytest.mark.parametrize(
    ("verdicts", "status"),
    [
        (["killed"] * 49 + ["survived"], 0),
        (["killed"] * 48 + ["survived"], 1),
        (["killed"] * 3 + ["equivalent"], 0),
    ],
)
def test_status_is_1_below_98_percent_of_what_is_not_equivalent(
    verdicts, status, monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(mutate, "mutate", lambda *_, **__: [outcome(v) for v in verdicts])
    assert PROGRAM.main(["mutate", "--out", str(tmp_path)]) == status
    printed = capsys.readouterr().out
    total = len(verdicts) - verdicts.count("equivalent")
    assert f"{verdicts.count('killed')}/{total}" in printed
    written = json.loads((tmp_path / "mutate.json").read_text())
    assert [item["verdict"] for item in written] == verdicts
    lines = (tmp_path / "mutate.md").read_text().splitlines()
    assert [line.split(" | ")[6] for line in lines[2:]] == verdicts
    assert ("survived: output-stationary" in printed) == ("survived" in verdicts)


@pytest.mark.parametrize(
    ("option", "value"), [("--faults", "0"), ("--jobs", "0"), ("--seed", "-1")]
)
def test_a_bad_number_gets_one_line(option, value, capsys):
    assert PROGRAM.main(["mutate", option, value]) == 2
    assert capsys.readouterr().err.startswith(
        f"python -m sim mutate: error: {option[2:]} must be at least "
    )
