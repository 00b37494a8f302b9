"""sim.energy.table: what its cost table adds up to, what it chooses, and what it refuses."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tritloom.arch.counts import tree_adds
from tritloom.arch.errors import InputError
from tritloom.arch.files import read_json
from tritloom.console.sheet import render
from tritloom.energy_model.costs.table import load_costs
from tritloom.sim.power import costs, designs, energy, price, table

MINI = Path(__file__).parents[2] / "tests" / "data" / "mini.lib"


def split(arithmetic_j, registers_j=0.0, clock_j=0.0):
    return energy.Split(
        arithmetic_j=arithmetic_j,
        registers_j=registers_j,
        clock_j=clock_j,
        leakage_j=0.0,
        switching_j=0.0,
        ports_j=0.0,
    )


def report(*splits):
    low, nominal, high = splits
    return energy.PowerReport(
        library="mini",
        voltage_v=1.0,
        temperature_c=25.0,
        wire_ff=0.5,
        clock_hz=1e9,
        cycles=1,
        operations=1,
        low=low,
        nominal=nominal,
        high=high,
    )


def made(design, femtojoules, *, operands, share=None, registers=0.0):
    splits = [
        split(factor * femtojoules * 1e-15, factor * registers * 1e-15) for factor in (0.5, 1, 2)
    ]
    one = price.OperandEnergy(
        operands=operands, zero_share=share, settled=report(*splits), glitching=report(*splits)
    )
    return price.Priced(
        design=design,
        adders="chains",
        operations=design.config.macs_per_cycle,
        area_um2=1.0,
        logic_um2=1.0,
        register_um2=0.0,
        clock_um2=0.0,
        critical_ps=1000.0,
        cells={"DFFHQNx1": 4 * design.config.macs_per_cycle},
        energies=(one,),
        seconds=0.0,
    )


@pytest.fixture
def done():
    femtojoules = {
        "int8 MAC": 200,
        "FP16 MAC": 500,
        "FP16 multiply": 350,
        "FP16 MAC, FP32 sum": 900,
        "FP16 multiply to FP32": 380,
    }
    ours = designs.ternary(64, 8, clock_hz=1e9, carries=19)
    return [
        made(ours, 9, operands="uniform", share=1 / 3, registers=8),
        *(
            made(
                designs.baseline(kind, clock_hz=1e9),
                each,
                operands="uniform" if kind == "int8 MAC" else "normal",
            )
            for kind, each in femtojoules.items()
        ),
    ]


def test_cost_table_gives_back_the_energies_that_it_comes_from(done, tmp_path):
    path = tmp_path / "costs.yaml"
    path.write_text(costs.costs_yaml(costs.figures(done)))
    prices = load_costs(str(path))

    def nominal(action):
        return prices.joules(action).nominal * 1e15

    tree = sum(count * nominal(f"add_int{width}") for width, count in tree_adds(64, 8).items())
    assert tree + nominal("add_int24") + 64 * nominal("select") == pytest.approx(64 * 9, rel=1e-3)
    assert nominal("mul_int8") + nominal("add_int32") == pytest.approx(200, rel=1e-3)
    assert nominal("mul_fp16") + nominal("add_fp16") == pytest.approx(500, rel=1e-3)
    assert nominal("add_fp32") == pytest.approx(520, rel=1e-3)
    # Four flip-flops for each operation.
    assert nominal("hop_bits") == pytest.approx(8 / 4, rel=1e-3)
    assert "55.6 times less" in prices.note
    assert "not 71.4" in prices.note


def test_committed_cost_table_is_what_the_committed_figures_give():
    found = read_json(table.ROOT / table.FIGURES)
    assert (table.ROOT / table.COSTS).read_text() == costs.costs_yaml(found)


def test_cost_table_needs_what_it_is_made_of(done):
    with pytest.raises(LookupError, match="FP16 MAC was not priced at 1000 MHz"):
        costs.figures([each for each in done if each.design.kind != "FP16 MAC"])


def test_table_has_a_row_for_each_kind_of_operands(done):
    twice = replace(done[0], energies=done[0].energies * 2)
    bare = replace(done[0], energies=())
    rows = table.rows([twice, bare])
    assert len(rows) == 3
    assert {len(row) for row in rows} == {len(table.HEADERS)}
    assert render(table.priced_sheet([twice, bare]), "markdown").count("\n") == 4


@pytest.mark.parametrize("quick", [False, True])
def test_run_writes_what_was_priced(quick, done, monkeypatch, tmp_path, capsys):
    asked = []

    def measure(designs, files, *, progress, without, **_):
        asked.extend(designs)
        for each in done:
            progress(each)
        return done

    monkeypatch.setattr(table, "measure", measure)
    table.run([MINI], out=tmp_path, folder=tmp_path, quick=quick, half_drive=False, jobs=1)
    files = {path.name: path.read_text() for path in tmp_path.iterdir()}
    # The quick run prices too little for a table of costs.
    extra = set() if quick else {"costs_asap7.yaml", "asap7.svg"}
    assert set(files) == {"asap7.json", "asap7.md", *extra}
    assert asked == (
        designs.quick_designs() if quick else [*designs.table_designs(), *designs.search_designs()]
    )
    written = json.loads(files["asap7.json"])["designs"]
    # One energy each, in fJ an operation.
    wanted = {each.design.name: f"{each.energies[0].nominal_j * 1e15:.3g}" for each in done}
    assert [design["area_um2"] for design in written] == [1.0] * len(done)
    lines = [line.split("|")[1:-1] for line in files["asap7.md"].splitlines()[2:]]
    assert {line[0].strip(): line[7].strip() for line in lines} == wanted
    assert next(iter(wanted)) in capsys.readouterr().out
    if not quick:
        assert load_costs(str(tmp_path / "costs_asap7.yaml")).joules("mul_fp16").nominal > 0
        assert ElementTree.fromstring(files["asap7.svg"]).tag.endswith("svg")


def test_an_update_writes_what_the_checkout_keeps(done, monkeypatch, tmp_path):
    (tmp_path / "docs").mkdir()
    monkeypatch.setattr(table, "ROOT", tmp_path)
    monkeypatch.setattr(table, "measure", lambda *_, **__: done)
    out = tmp_path / "out"
    files = table.run([MINI], out=out, quick=False, half_drive=True, jobs=1, update=True)
    kept = [tmp_path / file for file in (table.FIGURES, table.COSTS, table.PLOT)]
    assert list(files[-3:]) == kept
    figures = read_json(kept[0])
    assert figures == costs.figures(done)
    assert kept[1].read_text() == costs.costs_yaml(figures)
    assert kept[1].read_text() == (out / "costs_asap7.yaml").read_text()
    assert kept[2].read_bytes() == (out / "asap7.svg").read_bytes()


@pytest.mark.parametrize(
    ("quick", "message"), [(True, "--update without --quick"), (False, "no checkout to update")]
)
def test_an_update_that_cannot_be_is_refused_before_the_work(quick, message, monkeypatch, tmp_path):
    monkeypatch.setattr(table, "ROOT", tmp_path)
    options = {"quick": quick, "half_drive": True, "jobs": 1, "update": True}
    with pytest.raises(InputError, match=message):
        table.run([MINI], out=tmp_path / "out", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_design_is_mapped_simulated_and_priced(folder):
    design = designs.ternary(4, 2, clock_hz=None, carries=30, max_k=4096)
    small = replace(design, priced=False)
    priced = price.price(small, [MINI], folder=folder)
    assert priced.area_um2 == pytest.approx(
        priced.logic_um2 + priced.register_um2 + priced.clock_um2
    )
    assert priced.energies == ()


@pytest.mark.slow
def test_baseline_is_the_smallest_of_its_forms(folder):
    design = designs.baseline("select and add", clock_hz=None)
    priced = price.price(replace(design, priced=False), [MINI], folder=folder)
    assert priced.adders in ("none", "trees", "chains")
    assert priced.operations == 1


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "sim", "asap7", *arguments], capture_output=True, text=True
    )


@pytest.mark.parametrize("content", [None, "no library", "library (a) {\n  cell (b) {"])
def test_what_is_no_library_is_refused_in_a_line(content, tmp_path):
    file = tmp_path / "bad.lib"
    if content is not None:
        file.write_text(content)
    done = command("--quick", "--liberty", str(file), "--out", str(tmp_path / "out"))
    assert done.returncode == 2
    assert done.stderr.startswith(f"python -m sim asap7: error: {file}")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def files():
    if not (named := os.environ.get("LIBERTY", "").split()):
        pytest.skip("LIBERTY does not name the files of ASAP7")
    return [Path(file) for file in named]


def test_energies_of_asap7_are_those_of_the_page(files, folder):
    design = designs.quick_designs()[-1]
    priced = price.price(design, files, folder=folder)
    assert priced.area_um2 == pytest.approx(6.22, rel=0.02)
    assert priced.critical_ps <= 1000
    one = priced.energy("uniform", 1 / 3)
    assert one.nominal_j * 1e15 == pytest.approx(25.0, rel=0.03)
    assert one.low_j < one.nominal_j < one.glitching_j < one.high_j
