"""Whole layers through the compiled RTL, and the command line around them."""

import json
import subprocess
import sys

import numpy as np
import pytest

from tritloom.arch import timing
from tritloom.arch.config import ArrayConfig
from tritloom.arch.counts import array_counts
from tritloom.arch.driver import Job
from tritloom.arch.errors import MismatchError
from tritloom.arch.ternary import PACKINGS, TRIT2
from tritloom.arch.tiling import OutputStationaryPlan, make_plan
from tritloom.arch.workload import Gemm
from tritloom.sim.__main__ import PROGRAM
from tritloom.sim.run import layer
from tritloom.sim.run.core import GemmRun, SimulatedCore

CONFIG = ArrayConfig(rows=3, cols=5, lanes=4, max_k=512)
WEIGHT_STATIONARY = CONFIG.replace(dataflow="weight-stationary", buffer_tokens=8)


@pytest.mark.slow
@pytest.mark.parametrize("packing", PACKINGS.values(), ids=PACKINGS)
@pytest.mark.parametrize(
    ("config", "shape"),
    [
        (CONFIG, (7, 33, 12)),
        (CONFIG, (1, 1, 1)),
        (CONFIG, (3, 8, 5)),
        (CONFIG, (6, 4, 50)),
        (WEIGHT_STATIONARY, (1, 1, 1)),
        (WEIGHT_STATIONARY, (21, 100, 12)),
        (
            ArrayConfig(rows=2, cols=4, lanes=3, act_bits=5, cols_per_hop=2, max_k=512),
            (5, 17, 9),
        ),
    ],
    ids=lambda value: (
        f"{value.dataflow[0]}-{value.shape}"
        if isinstance(value, ArrayConfig)
        else "x".join(map(str, value))
    ),
)
def test_gemm_matches_a_plain_product_and_the_formula(config, shape, packing, folder):
    rng = np.random.default_rng(11)
    plan = make_plan(config, Gemm(*shape))
    limit = 1 << (config.act_bits - 1)
    acts = rng.integers(-limit, limit, (plan.gemm.m, plan.gemm.k))
    trits = rng.integers(-1, 1, (plan.gemm.n, plan.gemm.k), endpoint=True)
    job = Job(plan, packing)
    with SimulatedCore(config, folder) as core:
        for _again in range(2):
            run = core.run(job, acts, job.weights(trits))
            assert (run.psums == acts @ trits.T).all()
            assert run.cycles == timing.core_cycles(plan, packing)
            assert run.counters["BUSY"] == plan.beats
            assert run.counters["STALL_OUTPUT"] == run.counters["ILLEGAL_BEATS"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("config", [CONFIG, WEIGHT_STATIONARY], ids=lambda c: c.dataflow)
def test_a_core_that_hangs_in_a_packet_recovers(config, folder):
    rng = np.random.default_rng(5)
    acts, trits = rng.integers(-128, 128, (7, 33)), rng.integers(-1, 2, (12, 33))
    job = Job(make_plan(config, Gemm(7, 33, 12)), TRIT2)
    with SimulatedCore(config, folder) as core:
        for _again in range(2):
            # Another run is in front of it, which takes its operands.
            for offset, word in Job(make_plan(config, Gemm(70, 20, 120)), TRIT2).writes():
                core.write(offset, word)
            with pytest.raises(RuntimeError, match=r"then no more|the core reports"):
                core.run(job, acts, job.weights(trits))
            core.recover()
            assert (core.run(job, acts, job.weights(trits)).psums == acts @ trits.T).all()


@pytest.mark.slow
def test_short_tiles_wait_for_the_drain_as_the_formula_says(folder):
    plan = OutputStationaryPlan(CONFIG, Gemm(3, 4, 50))
    period = timing.tile_period(CONFIG, slices=1, tokens=3)
    assert period > plan.slices
    with SimulatedCore(CONFIG, folder) as core:
        job = Job(plan, TRIT2)
        run = core.run(job, np.ones((3, 4), int), job.weights(np.ones((50, 4), int)))
    assert (run.psums == 4).all()
    assert run.counters["STALL_ARRAY"] == (plan.tiles - 1) * (period - 1)


@pytest.mark.slow
def test_layer_file_runs_from_the_command_line(tmp_path):
    weights = np.random.default_rng(5).normal(0, 0.02, (20, 70)).astype(np.float32)
    np.save(tmp_path / "w.npy", weights)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "sim", "layer", "--weights", str(tmp_path / "w.npy")),
            *("--preset", "tiny", "--tokens", "3"),
        ],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    zeros = np.mean(np.abs(weights) <= np.abs(weights).mean() / 2)
    assert f"zero trits  {zeros:.1%}" in done.stdout
    assert "60 equal to the golden model and to a plain product" in done.stdout
    for category in ("arithmetic", "registers", "buffer", "DRAM"):
        assert category in done.stdout


def fake_core(change):
    class FakeCore:
        def __init__(self, config, builds):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def run(self, job, acts, weights, *, progress):
            plan, entered, trits = job.plan, job.plan.beats * 20, job.trits(weights)
            run = {
                "psums": acts.astype(np.int64) @ trits.T.astype(np.int64),
                "cycles": timing.core_cycles(plan, job.packing),
                "counters": {
                    "BUSY": plan.beats,
                    "TRITS": entered,
                    "ZERO_TRITS": entered - int((trits != 0).sum()) * plan.token_groups,
                    "ILLEGAL_BEATS": 0,
                },
                "weight_bytes": 99,
                "seconds": 1.0,
            }
            change(run)
            return GemmRun(**run)

    return FakeCore


def flip(run):
    run["psums"][1, 2] ^= 1


def slip(run):
    run["cycles"] += 1


def lose(run):
    run["counters"]["BUSY"] -= 1


def miscount(run):
    run["counters"]["ZERO_TRITS"] += 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (flip, "1 of 10 outputs differ from the golden model: token 1, feature 2 is"),
        (slip, "cycles: the RTL says"),
        (lose, "BUSY: the RTL says"),
        (miscount, "ZERO_TRITS: the RTL says"),
    ],
)
def test_a_run_that_differs_from_a_witness_is_refused(change, message, monkeypatch):
    monkeypatch.setattr(layer, "SimulatedCore", fake_core(change))
    with pytest.raises(MismatchError, match=message):
        layer.run_layer(np.eye(5, 6, dtype=np.float32), CONFIG, tokens=2)


@pytest.mark.parametrize(
    ("array", "arguments", "message"),
    [
        (np.full((2, 3), np.nan, np.float32), [], "but [0, 0] is nan"),
        (np.full((2, 3), np.inf, np.float32), [], "but [0, 0] is inf"),
        (np.ones(5, np.float32), [], "(5,)"),
        (np.ones((2, 3), np.float32), ["--preset", "huge"], "unknown preset 'huge'"),
        (np.ones((2, 3), np.float32), ["--packing", "trit9"], "unknown packing 'trit9'"),
        (np.ones((2, 3), np.float32), ["--dataflow", "row"], "dataflow must be output-stationary"),
        (np.ones((2, 3), np.float32), ["--tokens", "0"], "tokens must be at least 1, not 0"),
        (np.ones((2, 3), np.float32), ["--tensor", "w"], "w"),
        (np.ones((1, 40000), np.float32), [], "k must be at most max_k = 32768, not 40000"),
    ],
    ids=["nan", "inf", "vector", "preset", "packing", "dataflow", "tokens", "tensor", "long"],
)
def test_bad_input_gets_one_line(array, arguments, message, tmp_path, capsys):
    np.save(tmp_path / "w.npy", array)
    assert PROGRAM.main(["layer", "--weights", str(tmp_path / "w.npy"), *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("python -m sim layer: error: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err


@pytest.mark.parametrize("name", ["missing.npy", "w.txt", "w.gguf", "w.safetensors"])
def test_a_file_that_is_not_what_it_says_gets_one_line(name, tmp_path, capsys):
    if name != "missing.npy":
        (tmp_path / name).write_bytes(b"nothing of the kind")
    assert PROGRAM.main(["layer", "--weights", str(tmp_path / name)]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert name in captured.err


@pytest.mark.slow
def test_demo_runs_the_trained_layer():
    done = subprocess.run([sys.executable, "-m", "sim", "demo"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "576 to 1536 features, 16 tokens" in done.stdout
    assert "24,576 equal to the golden model and to a plain product" in done.stdout


def test_energy_of_a_layer_is_that_of_its_actions(monkeypatch, capsys):
    monkeypatch.setattr(layer, "SimulatedCore", fake_core(lambda run: None))
    run = layer.run_layer(np.eye(5, 6, dtype=np.float32), CONFIG)
    capsys.readouterr()
    layer.show_layer(run, "eye")
    printed = capsys.readouterr().out
    counts = array_counts(run.job.plan, bits_per_trit=run.job.packing.bits_per_trit)
    assert counts["select"] == 2 * 5 * 3 * 4
    done = subprocess.run(
        [sys.executable, "-m", "energy_model", "counts", "-"],
        input=json.dumps(dict(counts)),
        capture_output=True,
        text=True,
    )
    what = "the layer, 3 tokens, weights as trit5"
    assert printed.endswith(f"\nenergy of {what}:\n{done.stdout}")
