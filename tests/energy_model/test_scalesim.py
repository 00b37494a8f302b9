"""SCALE-Sim's cycles: its formulas, the terms that separate them from ours, and its report."""

import csv
import io
import json
import os
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritloom.arch.errors import InputError
from tritloom.arch.timing import gemm_cycles
from tritloom.arch.workload import Gemm
from tritloom.console.sheet import FORMS
from tritloom.energy_model.__main__ import PROGRAM
from tritloom.energy_model.costs import datafile
from tritloom.energy_model.machine.file import load_dram
from tritloom.energy_model.machine.machine import Machine
from tritloom.energy_model.validate import scalesim_bench
from tritloom.energy_model.validate.scalesim import (
    DATAFLOWS,
    TERMS,
    baseline_plan,
    crosscheck,
    cycles,
    explain,
)

TABLE = datafile.DATA / "scalesim.csv"
ROWS = crosscheck()
HIDDEN, FFN = 4096, 11008
# Output and input features of the seven matrices of a LLaMA-7B block.
LLAMA = {"gate": (FFN, HIDDEN), "up": (FFN, HIDDEN), "down": (HIDDEN, FFN)} | dict.fromkeys(
    "qkvo", (HIDDEN, HIDDEN)
)
# What scalesim 3.0.0 printed here: name and compute cycles, 32x32.
RUNS = {
    ("os", 1, 512, 512): 9183,
    ("os", 1, 512, 1376): 24681,
    ("os", 1, 1376, 512): 23007,
    ("os", 64, 512, 512): 18367,
    ("os", 64, 512, 1376): 49363,
    ("os", 64, 1376, 512): 46015,
    ("ws", 1, 512, 512): 24319,
    ("ws", 1, 512, 1376): 65359,
    ("ws", 64, 512, 512): 40447,
}
REPORT = """\
LayerID, Total Cycles (incl. prefetch), Total Cycles, Stall Cycles, Overall Util %, \
Mapping Efficiency %, Compute Util %,
0, 51835, 24319, 0, 1.0526748632756282, 100.0, 0.7936507936507912,
1, 118471, 65359, 0, 1.0526476843280956, 100.0, 0.793650793650791,
2, 84091, 40447, 0, 40.507330580760005, 100.0, 33.86243386243408,
"""


def ids(row):
    return f"{row.phase}-{row.layer}-{row.dataflow}"


def test_the_table_has_a_llama_block_in_each_phase_and_dataflow():
    expected = {
        (phase, layer, dataflow, m, n, k)
        for phase, m in (("decode", 1), ("prefill", 512))
        for layer, (n, k) in LLAMA.items()
        for dataflow in DATAFLOWS
    }
    found = {
        (row.phase, row.layer, row.dataflow, row.gemm.m, row.gemm.n, row.gemm.k) for row in ROWS
    }
    assert found == expected
    assert len(ROWS) == 42


@pytest.mark.parametrize("row", ROWS, ids=ids)
def test_terms_explain_every_cycle(row):
    assert row.ours + sum(row.terms.values()) == row.scalesim
    assert row.unexplained == 0
    assert list(row.terms) == list(TERMS)
    assert row.ours == gemm_cycles(baseline_plan(row.gemm, row.dataflow))


@pytest.mark.parametrize("row", [r for r in ROWS if r.source.endswith("run")], ids=ids)
def test_its_formula_is_what_it_printed(row):
    assert cycles(row.gemm, row.dataflow) == row.scalesim


@pytest.mark.parametrize("case", RUNS, ids=str)
def test_its_formula_is_what_it_printed_here(case):
    dataflow, m, k, n = case
    assert cycles(Gemm(m, k, n), dataflow) == RUNS[case]


@given(
    m=st.integers(1, 200),
    k=st.integers(1, 200),
    n=st.integers(1, 200),
    rows=st.integers(1, 40),
    cols=st.integers(1, 40),
    dataflow=st.sampled_from(DATAFLOWS),
)
def test_terms_explain_any_product_on_any_array(m, k, n, rows, cols, dataflow):
    gemm = Gemm(m, k, n)
    plan = baseline_plan(gemm, dataflow, rows=rows, cols=cols)
    theirs = cycles(gemm, dataflow, rows=rows, cols=cols)
    assert gemm_cycles(plan) + sum(explain(plan).values()) == theirs


def test_the_array_is_the_fp16_baseline_of_a_machine():
    config = baseline_plan(Gemm(1, 32, 32), "os").config
    machine = Machine(name="x", engine=config.replace(act_bits=8, max_k=32768), dram=load_dram())
    assert machine.arrays["fp16"] == config
    assert (config.shape, config.hops) == ("32x32x1", 32)


@pytest.mark.parametrize("form", FORMS)
def test_every_format_has_every_product(capsys, form):
    assert PROGRAM.main(["validate", "--scalesim", "--format", form]) == 0
    text = capsys.readouterr().out
    if form == "json":
        lines = json.loads(text)
    elif form == "csv":
        lines = list(csv.DictReader(io.StringIO(text)))
    else:
        assert "42 of 42 products explained to the cycle" in text
        assert text.count("4,183,039") == 3
        return
    assert [int(line["scalesim"]) for line in lines] == [row.scalesim for row in ROWS]
    assert {int(line["unexplained"]) for line in lines} == {0}


def test_a_wrong_count_is_not_explained(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(TABLE.read_text().replace(",1556479,", ",1556480,", 1))
    assert [row.unexplained for row in crosscheck(path)][:2] == [1, 0]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("cycles,source", "cycle,source", "line 1 must be model,phase"),
        (",ws,", ",rs,", "line 2 is no product with its cycles"),
        ("32x32", "32", "line 2 is no product with its cycles"),
        ("q,1,", "q,one,", "line 2 is no product with its cycles"),
    ],
)
def test_a_wrong_table_is_named(tmp_path, old, new, message):
    path = tmp_path / "t.csv"
    path.write_text(TABLE.read_text().replace(old, new, 1))
    with pytest.raises(InputError, match=message):
        crosscheck(path)


def test_compute_cycles_are_read_from_its_report():
    assert scalesim_bench.read_report(REPORT) == [24319, 65359, 40447]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column Total Cycles"),
        ("LayerID, Cycles,\n0, 1,\n", "no column Total Cycles"),
        (REPORT.replace("65359", "many"), "a line without cycles"),
        (REPORT + "3, 1\n", "a line without cycles"),
    ],
)
def test_a_wrong_report_is_named(text, message):
    with pytest.raises(InputError, match=message):
        scalesim_bench.read_report(text)


FAKE = """\
import csv, pathlib, sys
arguments = dict(zip(sys.argv[1::2], sys.argv[2::2]))
assert arguments["-i"] == "gemm"
names = [row[0] for row in csv.reader(open(arguments["-t"]))][1:]
assert [row[0] for row in csv.reader(open(arguments["-l"]))][1:] == names
config = open(arguments["-c"]).read()
dataflow = config.partition("Dataflow: ")[2].split()[0]
cycles = {"os": OS, "ws": WS}[dataflow]
out = pathlib.Path(arguments["-p"]) / "run"
out.mkdir(parents=True)
lines = [f"{i}, 0, {c}," for i, c in enumerate(cycles)]
(out / "COMPUTE_REPORT.csv").write_text("LayerID, x, Total Cycles,\\n" + "\\n".join(lines) + "\\n")
"""


def fake(tmp_path, **counts):
    """An environment whose scalesim prints what it is told."""
    package = tmp_path / "scalesim"
    package.mkdir()
    text = FAKE.replace("OS", str(counts["os"])).replace("WS", str(counts["ws"]))
    (package / "scale.py").write_text(text)
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path} exec {sys.executable} "$@"\n')
    os.chmod(python, 0o755)
    return str(python)


def true_counts():
    return {
        dataflow: [cycles(gemm, dataflow) for gemm in scalesim_bench.GEMMS.values()]
        for dataflow in scalesim_bench.DATAFLOWS
    }


def test_benchmark_prints_equal_cycles_and_both_times(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(scalesim_bench, "_REPEATS", 1)
    assert scalesim_bench.main([fake(tmp_path, **true_counts())]) == 0
    text = capsys.readouterr().out
    assert text.count(" equal") == 12
    assert "12 products: scalesim " in text


def test_benchmark_fails_where_cycles_differ(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(scalesim_bench, "_REPEATS", 1)
    counts = true_counts()
    counts["ws"][3] += 1
    assert scalesim_bench.main([fake(tmp_path, **counts)]) == 1
    assert capsys.readouterr().out.count("DIFFERS") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [([], "usage"), (["nowhere"], "cannot run"), (["a", "b"], "usage")],
)
def test_benchmark_names_what_is_wrong(capsys, arguments, message):
    assert scalesim_bench.main(arguments) == 2
    assert message in capsys.readouterr().err
