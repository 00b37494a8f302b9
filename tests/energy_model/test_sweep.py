"""Sweep: points, fronts, results that survive a kill, and one line for bad files."""

import contextlib
import csv
import importlib.util
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritloom.arch.config import ArrayConfig, preset
from tritloom.arch.errors import InputError
from tritloom.arch.models.known import find_model
from tritloom.energy_model.__main__ import PROGRAM
from tritloom.energy_model.costs import datafile
from tritloom.energy_model.costs.table import load_costs
from tritloom.energy_model.machine.area import area_table, array_area
from tritloom.energy_model.machine.evaluation import Workload, evaluate
from tritloom.energy_model.machine.file import load_machine
from tritloom.energy_model.sweep import file as sweepfile
from tritloom.energy_model.sweep import run as sweep_run
from tritloom.energy_model.sweep.file import read_sweep
from tritloom.energy_model.sweep.pareto import pareto_front
from tritloom.energy_model.sweep.point import Evaluator
from tritloom.energy_model.sweep.run import read_results, run_sweep
from tritloom.energy_model.sweep.sweep import COLUMNS, FIGURES, PARAMETERS, fronts

ROOT = Path(__file__).parents[2]
SMALL = """\
parameters:
  model: [700m, 1.3b]
  phase: [prefill, decode]
  rows: [1, 3]
  cols: [16, 24]
  cols_per_hop: [1, 16]
  dataflow: [output-stationary, weight-stationary]
  buffer_tokens: 32
"""
needs_pyarrow = pytest.mark.skipif(
    not importlib.util.find_spec("pyarrow"), reason="pyarrow (extra sweep) is not installed"
)
needs_dask = pytest.mark.skipif(
    not importlib.util.find_spec("distributed"), reason="distributed (extra dask) is not installed"
)


def write(folder, text=SMALL, name="some.yaml"):
    path = folder / name
    path.write_text(text)
    return path


def read(folder, text=SMALL):
    return read_sweep(write(folder, text), find_model=find_model)


def as_rows(sweep):
    evaluator = Evaluator(sweep)
    return [dict(zip(COLUMNS, evaluator.row(p), strict=True)) for p in sweep.points()]


def dominates(one, other):
    pairs = list(zip(one, other, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


@given(
    st.integers(1, 4).flatmap(lambda n: st.lists(st.tuples(*[st.integers(0, 5)] * n), min_size=1))
)
def test_front_is_what_every_pair_says(points):
    expected = [i for i, point in enumerate(points) if not any(dominates(p, point) for p in points)]
    assert pareto_front(np.array(points, dtype=float)).tolist() == expected


def test_a_grid_has_every_combination_once(tmp_path):
    sweep = read(tmp_path)
    swept = {name: sweep.parameters[name] for name in sweep.swept}
    found = [tuple(sweep.values(p)[name] for name in swept) for p in sweep.points()]
    # In the order of nested loops over the parameters, the first one outermost.
    assert found == list(itertools.product(*swept.values()))
    assert list(swept) == [name for name in PARAMETERS if name in swept]


def test_random_points_differ_are_of_the_grid_and_follow_the_seed(tmp_path):
    def draw(seed):
        return read(tmp_path, f"method: random\nsamples: 20\nseed: {seed}\n{SMALL}").points()

    assert len(set(draw(1))) == 20
    assert set(draw(1)) <= set(range(64))
    assert draw(1) == draw(1) == sorted(draw(1))
    assert draw(1) != draw(2)


def test_every_point_is_what_the_report_evaluates(tmp_path):
    text = SMALL + "  kv_cache: int4\n  lm_head: int8\n  sram_bytes: 2.0e+6\n  static_w: 0.5\n"
    text = text.replace("700m, 1.3b", "700m").replace("buffer", "dram: ddr4_2400\n  buffer")
    costs, feasible = load_costs("paper"), 0
    machine_file = """\
title: the same
array: {{preset: large, rows: {rows}, cols: {cols}, cols_per_hop: {cols_per_hop},
        dataflow: {dataflow}, buffer_tokens: 32}}
memory: {{dram: ddr4_2400, sram: {{bytes: 2.0e+6, tier: INFERRED, source: a test}}}}
static_w: {{low: 0.5, nominal: 0.5, high: 0.5, tier: INFERRED, source: a test}}
"""
    for row in as_rows(read(tmp_path, text)):
        if row["cols"] % row["cols_per_hop"]:
            assert "cols_per_hop must divide" in row["infeasible"]
            assert row["energy_j"] is None
            continue
        feasible += 1
        machine = load_machine(str(write(tmp_path, machine_file.format(**row), "one.yaml")))
        workload = Workload(phase=row["phase"], kv="int4", head_weight="int8")
        found = evaluate(
            find_model("700m"), weight="ternary", workload=workload, machine=machine, costs=costs
        )
        run = found.passes[row["phase"]]
        energy = run.total_j(found.prices)
        assert (row["energy_low_j"], row["energy_j"], row["energy_high_j"]) == (
            energy.low,
            energy.nominal,
            energy.high,
        )
        assert row["latency_s"] == run.latency_s
        assert row["energy_tier"] == "INFERRED"
        # The report adds what the paper's memory figures hold besides, and leaves out the norms.
        bytes_ = found.memory_bytes - found.workspace_bytes
        assert row["memory_bytes"] == pytest.approx(bytes_, rel=1e-3)
    assert feasible == 24


def test_a_layer_or_model_that_does_not_fit_is_infeasible_with_its_reason(tmp_path):
    text = "parameters:\n  model: [700m, 70b]\n  weight: [ternary, fp16]\n  max_k: [4096, 32768]\n"
    reasons = {
        (row["max_k"], row["model"], row["weight"]): row["infeasible"]
        for row in as_rows(read(tmp_path, text))
    }
    assert len(reasons) == 8
    assert reasons[4096, "70b", "ternary"].startswith("k must be at most max_k = 4096, not 8192")
    assert reasons[32768, "70b", "fp16"] == "70b needs 132 GB of DRAM; hbm2e_a100 has 80 GB"
    assert reasons[32768, "70b", "ternary"] is None
    # An FP16 accumulator has no largest k, and the 700M's largest is 4096.
    assert reasons[4096, "700m", "fp16"] is reasons[4096, "700m", "ternary"] is None


def test_a_prompt_and_memory_of_a_roofline_have_no_area(tmp_path):
    text = "objectives: [energy_j, latency_s]\nparameters: {model: 7b, hardware: [a100, large]}\n"
    gpu, array = as_rows(read(tmp_path, text))
    assert (gpu["hardware"], gpu["rows"], gpu["area_mm2"]) == ("a100", None, None)
    assert (array["rows"], array["dram_bytes_per_s"]) == (4, 2.039e12)
    assert array["area_mm2"] > 0


def test_area_is_that_of_its_parts():
    # 2 PEs of 2 lanes, output-stationary: selects, an adder of 9 bits, one for the accumulator.
    config = ArrayConfig(rows=2, cols=1, lanes=2, max_k=256)
    adder_9, adder_17 = 36 + 101 / 24, 36 + 9 * 101 / 24
    registers = 2 * 2 * 8 + 2 * 2 * 2 + 2 * 2 * config.psum_bits
    um2 = 2 * (2 * 18 + adder_9 + adder_17) + registers * 5.98
    assert config.psum_bits == 17
    # Two rows of 256 acts of 8 bits.
    buffer = 2 * 256 * 1e-6
    area = array_area(config, 3e6, frozenset({"ternary"}))
    assert area.low == pytest.approx(um2 * 1e-6 * 0.024 + (3 + buffer) / 1.8)
    assert area.high == pytest.approx(um2 * 1e-6 * 0.1 + (3 + buffer) / 0.75)
    assert area.low < area.nominal < area.high


@pytest.mark.parametrize("dataflow", ["output-stationary", "weight-stationary"])
def test_area_grows_with_every_part(dataflow):
    base = preset("base").replace(dataflow=dataflow, buffer_tokens=64)
    formats = frozenset({"ternary"})
    area = array_area(base, 0.0, formats).nominal
    for change in ({"rows": 32}, {"cols": 32}, {"lanes": 32}, {"max_k": 1 << 17}, {"act_bits": 12}):
        assert array_area(base.replace(**change), 0.0, formats).nominal > area
    assert array_area(base.replace(cols_per_hop=4), 0.0, formats).nominal < area
    assert array_area(base, 0.0, formats | {"fp16"}).nominal > 2 * area


def test_adder_areas_lie_on_the_line_between_two_published_ones():
    # The 16 bit adder is published too, in the same table, and not in use: 67 um2.
    assert area_table().operator_um2("add_int16") == pytest.approx(67, rel=0.05)


def test_a_dram_is_as_fast_and_as_large_as_a_point_says(tmp_path):
    text = (
        "parameters: {model: 700m, dram_bytes_per_s: [1.0e+11, 2.0e+11], dram_bytes: [1, 1.0e+12]}"
    )
    small, slow, too_small, fast = sorted(as_rows(read(tmp_path, text)), key=lambda r: r["point"])
    assert small["infeasible"].endswith("has 1 B")
    assert too_small["infeasible"].endswith("has 1 B")
    assert slow["dram_s"] == pytest.approx(2 * fast["dram_s"], rel=1e-12)
    assert slow["dram_s"] == pytest.approx(slow["dram_bytes_moved"] / 1e11, rel=1e-12)


def test_a_random_sweep_of_2_to_the_62_combinations_is_too_large(tmp_path):
    path = write(tmp_path, "method: random\nsamples: 3\nseed: 5\nparameters: {}\n")
    content = datafile.read_yaml(path)
    assert sweepfile._random(content, "random", 2**62 - 1) == (3, 5)
    with pytest.raises(InputError, match="4611686018427387904 combinations: too many"):
        sweepfile._random(content, "random", 2**62)


def test_a_front_holds_points_of_one_task_that_no_other_beats(tmp_path):
    sweep = read(tmp_path, SMALL + "objectives: [latency_s, tokens_per_s, area_mm2]\n")
    rows = as_rows(sweep)
    found = fronts(sweep, rows)
    assert len(found) == 4
    for task, front in found.items():
        rivals = [
            (row["latency_s"], -row["tokens_per_s"], row["area_mm2"])
            for row in rows
            if not row["infeasible"] and tuple(row[name] for name in sweep.per) == task
        ]
        assert len(rivals) == 12
        expected = sorted(r for r in rivals if not any(dominates(other, r) for other in rivals))
        got = [(row["latency_s"], -row["tokens_per_s"], row["area_mm2"]) for row in front]
        assert got == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "line 1 has no parameters"),
        ("parameters: {rows: 2}", "line 1: parameters has no model"),
        ("parameters:\n  model: 8b", "line 2: parameters.model: unknown model '8b'"),
        ("parameters:\n  model: 7b\n  row: 2", "line 3: parameters has an unknown key 'row'"),
        ("parameters:\n  model: 7b\n  rows: [1, 0]", "line 3: parameters.rows[1]: rows must be"),
        ("parameters:\n  model: 7b\n  rows: [1, [2]]", "line 3: parameters.rows[1] must be a"),
        ("parameters:\n  model: 7b\n  rows: []", "line 3: parameters.rows is an empty list"),
        ("parameters:\n  model: 7b\n  lanes: [4, 8, 4]", "line 3: parameters.lanes has 4 twice"),
        ("parameters:\n  model: 7b\n  phase: think", "line 3: parameters.phase[0]: phase must be"),
        ("parameters:\n  model: 7b\n  weight: int8", "parameters.weight[0]: weight must be"),
        ("parameters:\n  model: 7b\n  dataflow: ws", "parameters.dataflow[0]: dataflow must be"),
        ("parameters:\n  model: 7b\n  dram: core", "parameters.dram: unknown DRAM 'core'"),
        (
            "parameters:\n  model: 7b\n  dram_bytes_per_s: [8e11]",
            "line 3: parameters.dram_bytes_per_s[0]: dram_bytes_per_s must be a number, not '8e11' "
            "(YAML reads",
        ),
        ("parameters:\n  model: 7b\n  dram_bytes: 0", "dram_bytes must be above 0, not 0"),
        ("parameters:\n  model: 7b\n  sram_bytes: -1", "sram_bytes must be a finite number of at"),
        (
            "parameters:\n  model: 7b\n  hardware: a100\n  rows: 4\nobjectives: [energy_j]",
            "line 4: parameters.rows[0]: rows is of an array, which a100 has not",
        ),
        (
            "parameters: {model: 7b, hardware: a100}",
            "area is of an array, which a100 has not",
        ),
        ("method: best\nparameters: {model: 7b}", "line 1: method must be among grid, random, not"),
        ("seed: 1\nparameters: {model: 7b}", "line 1: seed is of a random sweep"),
        ("method: random\nparameters: {model: 7b}", "line 1 has no samples"),
        (
            "method: random\nsamples: 3\nparameters: {model: 7b, rows: [1, 2]}",
            "line 2: samples must be at most 2, not 3",
        ),
        ("objectives: joy\nparameters: {model: 7b}", "line 1: objectives must be among energy_j"),
        ("per: [rows]\nparameters: {model: 7b}", "line 1: per must be among hardware, model"),
        ("costs: none\nparameters: {model: 7b}", "line 1: costs: unknown costs 'none'"),
    ],
)
def test_a_wrong_file_is_named_with_line_and_key(tmp_path, capsys, text, message):
    path, out = write(tmp_path, text), tmp_path / "out.csv"
    assert PROGRAM.main(["sweep", str(path), "--out", str(out)]) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith(f"python -m energy_model sweep: error: {path}")
    assert message in line
    assert captured.out == ""
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "x.txt"], "cannot write x.txt: its name must end in .csv or .parquet"),
        (["--jobs", "0"], "--jobs must be at least 1, not 0"),
        (["--backend", "dask"], "--backend dask and --scheduler ADDRESS need each other"),
        (["--scheduler", "tcp://x:1"], "--backend dask and --scheduler ADDRESS need each other"),
        (["--plot", "x.docx"], "cannot plot to x.docx: its suffix must be one of"),
    ],
)
def test_a_wrong_option_is_one_line(tmp_path, capsys, arguments, message):
    assert PROGRAM.main(["sweep", str(write(tmp_path)), *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


@pytest.fixture
def counted(monkeypatch):
    """Chunks of 8 points; the list grows by the place of each one that is evaluated."""
    done, lines = [], sweep_run._evaluate_chunk
    monkeypatch.setattr(sweep_run, "CHUNK", 8)

    def count(sweep, number, points, parent):
        done.append(points[0])
        return lines(sweep, number, points, parent)

    monkeypatch.setattr(sweep_run, "_evaluate_chunk", count)
    return done


def test_a_sweep_goes_on_with_the_chunks_that_it_has_not(tmp_path, monkeypatch, counted):
    sweep, out, whole = read(tmp_path), tmp_path / "r.csv", tmp_path / "whole.csv"
    run_sweep(sweep, whole, backend="sequential")
    assert counted == list(range(0, 64, 8))
    del counted[:]
    kept, written = sweep_run.write_text, []

    def full(path, text):
        if len(written) == 4:  # the description and three chunks
            raise InputError("the disk is full")
        written.append(path)
        kept(path, text)

    with monkeypatch.context() as patch:
        patch.setattr(sweep_run, "write_text", full)
        with pytest.raises(InputError, match="disk"):
            run_sweep(sweep, out, backend="sequential")
    assert not out.exists()
    del counted[:]
    rows = run_sweep(sweep, out, backend="sequential")
    assert counted == list(range(24, 64, 8))
    assert out.read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("r.csv", "r.csv.json", "some.yaml", "whole.csv", "whole.csv.json")
    ]
    # Complete results are read again, not computed.
    del counted[:]
    assert run_sweep(sweep, out, backend="sequential") == rows
    assert counted == []


def test_results_and_parts_of_another_sweep_are_refused(tmp_path, counted):
    sweep, other = read(tmp_path), read(tmp_path, SMALL.replace("1, 3", "1, 4"))
    out = tmp_path / "r.csv"
    run_sweep(sweep, out, backend="sequential")
    before = out.read_bytes()
    with pytest.raises(InputError, match=r"r\.csv is of another sweep or version: remove it"):
        run_sweep(other, out, backend="sequential")
    assert out.read_bytes() == before
    # Other objectives or titles are another view of the same results.
    run_sweep(read(tmp_path, SMALL + "title: t\nobjectives: latency_s\n"), out)
    out.unlink()
    parts = tmp_path / "r.csv.parts"
    parts.mkdir()
    (tmp_path / "r.csv.json").rename(parts / "sweep.json")
    with pytest.raises(InputError, match=r"r\.csv\.parts is of another sweep"):
        run_sweep(other, out, backend="sequential")
    foreign = write(tmp_path, "mine", "other.csv")
    with pytest.raises(InputError, match="another sweep"):
        run_sweep(sweep, foreign, backend="sequential")
    assert foreign.read_text() == "mine"


LARGE = """\
title: killed
parameters:
  model: [700m, 3b]
  rows: [1, 2, 3, 4]
  cols: [16, 32, 64]
  lanes: [4, 8, 16]
  batch: [1, 2, 3, 4, 5, 6, 7, 8]
  context: [128, 256, 512, 1024]
  dram_bytes_per_s: [1.0e+11, 1.0e+12]
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A sweep of 9 chunks, and its results by one process that nobody stopped."""
    folder = tmp_path_factory.mktemp("large")
    run_sweep(read(folder, LARGE), folder / "whole.csv", backend="sequential")
    return folder / "some.yaml", (folder / "whole.csv").read_bytes()


def running(group):
    """Processes of a group that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, of_group = path.read_text().rpartition(") ")[2].split()[:3]
            if int(of_group) == group and state != "Z":
                found.append(path)
    return found


@pytest.mark.parametrize("backend", ["loky", "sequential"])
def test_a_killed_sweep_ends_as_one_that_was_not(tmp_path, large, backend):
    (path, whole), out = large, tmp_path / "r.csv"
    command = [sys.executable, "-m", "energy_model", "sweep", str(path), "--out", str(out)]
    command += ["--backend", backend, "--jobs", "2"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    # In a group of its own, so that its workers can be found.
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True, **quiet)
    parts, limit = tmp_path / "r.csv.parts", time.monotonic() + 60
    while not list(parts.glob("0*.csv")):
        assert process.poll() is None
        assert time.monotonic() < limit
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    while running(process.pid):
        assert time.monotonic() < limit
        time.sleep(0.1)
    # Some of the 9 chunks are there, each of them whole.
    kept = {part.name: part.read_text() for part in parts.glob("0*.csv")}
    assert 0 < len(kept) < 9
    assert not out.exists()
    assert {text.count("\n") for text in kept.values()} == {512}
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    assert out.read_bytes() == whole
    assert not parts.exists()


def test_loky_gives_what_one_process_gives(tmp_path, large):
    path, whole = large
    run_sweep(read_sweep(path, find_model=find_model), tmp_path / "r.csv", jobs=2)
    assert (tmp_path / "r.csv").read_bytes() == whole


@needs_dask
def test_a_dask_cluster_gives_what_one_process_gives(tmp_path, large):
    from distributed import LocalCluster

    path, whole = large
    # Threads of this process: no time goes into starting workers.
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        address = ["--backend", "dask", "--scheduler", cluster.scheduler_address]
        assert PROGRAM.main(["sweep", str(path), "--out", str(tmp_path / "r.csv"), *address]) == 0
    assert (tmp_path / "r.csv").read_bytes() == whole


@needs_dask
def test_a_scheduler_that_does_not_answer_is_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sweep_run, "TIMEOUT_S", 0.5)
    arguments = ["--backend", "dask", "--scheduler", "tcp://127.0.0.1:9"]
    out = tmp_path / "r.csv"
    assert PROGRAM.main(["sweep", str(write(tmp_path)), "--out", str(out), *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "no Dask scheduler answers at 'tcp://127.0.0.1:9'" in line


@needs_pyarrow
def test_parquet_holds_what_csv_holds(tmp_path, counted):
    from pyarrow import parquet

    sweep = read(tmp_path)
    text = run_sweep(sweep, tmp_path / "r.csv", backend="sequential")
    binary = run_sweep(sweep, tmp_path / "r.parquet", backend="sequential")
    assert text == binary
    table = parquet.read_table(tmp_path / "r.parquet")
    types = {"int": "int64", "float": "double", "str": "string"}
    assert [str(field.type) for field in table.schema] == [
        types[kind.__name__] for kind in COLUMNS.values()
    ]


def test_parquet_without_pyarrow_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"needs the package pyarrow: install tritloom\[sweep\]"):
        run_sweep(read(tmp_path), tmp_path / "r.parquet", backend="sequential")
    assert not (tmp_path / "r.parquet.parts").exists()


def test_an_interrupted_sweep_says_how_it_goes_on(tmp_path, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(sweep_run, "run_sweep", interrupted)
    assert PROGRAM.main(["sweep", str(write(tmp_path))]) == 130
    line = "python -m energy_model sweep: interrupted: the same command continues\n"
    assert capsys.readouterr().err == line


@pytest.mark.parametrize("suffix", ["csv", pytest.param("parquet", marks=needs_pyarrow)])
def test_a_sweep_that_ends_while_parts_are_joined_leaves_nothing_in_the_end(
    tmp_path, monkeypatch, suffix
):
    sweep, out = read(tmp_path), tmp_path / f"r.{suffix}"

    def half(parts, path):
        path.write_text("half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sweep_run, "_join", half)
        with pytest.raises(KeyboardInterrupt):
            run_sweep(sweep, out, backend="sequential")
    assert not out.exists()
    assert len(run_sweep(sweep, out, backend="sequential")) == 64
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"some.yaml", out.name, f"{out.name}.json"}


def test_what_was_swept_is_beside_the_results(tmp_path):
    text = "method: random\nsamples: 3\nseed: 5\n" + SMALL
    rows = run_sweep(read(tmp_path, text), tmp_path / "r.csv", backend="sequential")
    content = json.loads((tmp_path / "r.csv.json").read_text())
    assert content["points"] == len(rows) == 3
    assert content["tritloom"]
    assert (content["sweep"]["seed"], content["sweep"]["samples"]) == (5, 3)
    assert content["sweep"]["models"]["700m"]["hidden"] == 1536
    assert content["sweep"]["machines"]["large"]["dram"]["source"]
    assert content["sweep"]["parameters"]["rows"] == [1, 3]
    assert content["units"] == FIGURES
    assert content["tiers"]["area"].startswith("PROJECTED")


def test_tables_json_csv_and_a_picture_show_the_front(tmp_path, capsys):
    path, out, picture = write(tmp_path), tmp_path / "r.csv", tmp_path / "r.svg"
    command = ["sweep", str(path), "--out", str(out), "--backend", "sequential"]
    assert PROGRAM.main([*command, "--plot", str(picture)]) == 0
    text = capsys.readouterr().out
    assert "64 points, 16 infeasible" in text
    assert "16 x cols_per_hop must divide cols = 24, which 16 does not" in text
    assert "area_mm2: PROJECTED" in text
    assert picture.read_text().startswith("<?xml")
    assert PROGRAM.main([*command, "--format", "json"]) == 0
    content = json.loads(capsys.readouterr().out)
    sweep = read(tmp_path)
    expected = fronts(sweep, read_results(out))
    assert [front["points"] for front in content["fronts"]] == list(expected.values())
    for front in expected.values():
        assert f"{front[0]['model']}, phase {front[0]['phase']}" in text
    assert PROGRAM.main([*command, "--format", "csv"]) == 0
    lines = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    best = [row["point"] for front in expected.values() for row in front]
    assert [int(line["point"]) for line in lines] == best


def test_benchmark_counts_feasible_points_and_writes_nothing(tmp_path, capsys):
    path = write(tmp_path)
    arguments = ["sweep", str(path), "--benchmark", "--jobs", "1", "--format", "json"]
    assert PROGRAM.main(arguments) == 0
    cold, warm = json.loads(capsys.readouterr().out)
    assert (cold["start"], warm["start"]) == ("cold", "warm")
    for speed in (cold, warm):
        assert speed["evaluations"] == 48
        assert speed["per_s"] == pytest.approx(48 / speed["seconds"])
        assert 0 < speed["cpu_s"] < speed["seconds"]
    assert os.listdir(tmp_path) == [path.name]


def test_benchmark_prints_csv(tmp_path, capsys):
    arguments = ["sweep", str(write(tmp_path)), "--benchmark", "--jobs", "1", "--format", "csv"]
    assert PROGRAM.main(arguments) == 0
    lines = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [(line["start"], line["evaluations"]) for line in lines] == [
        *(("cold", "48"), ("warm", "48"))
    ]


def test_benchmark_prints_a_line_for_each_start(tmp_path, capsys):
    assert PROGRAM.main(["sweep", str(write(tmp_path)), "--benchmark", "--jobs", "1"]) == 0
    (heading, *lines) = (line.split() for line in capsys.readouterr().out.splitlines() if line)
    assert heading[:3] == ["Start", "Jobs", "Evaluations"]
    assert [line[:3] for line in lines] == [["cold", "1", "48"], ["warm", "1", "48"]]


@pytest.mark.parametrize("name", ["sweep", "sweep_random"])
def test_examples_are_read_and_feasible(name):
    sweep = read_sweep(ROOT / "examples" / f"{name}.yaml", find_model=find_model)
    evaluator = Evaluator(sweep)
    rows = [evaluator.row(point) for point in list(sweep.points())[::97]]
    assert sum(row[-1] is None for row in rows) > 0.8 * len(rows)
