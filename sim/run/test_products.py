"""Ternary products of model blocks through the compiled RTL."""

import re
import subprocess
import sys

import pytest

from tritloom.arch import timing
from tritloom.arch.config import PRESETS, ArrayConfig
from tritloom.arch.errors import MismatchError
from tritloom.arch.models.shape import ModelShape
from tritloom.arch.ternary import TRIT2, TRIT5
from tritloom.arch.tiling import make_plan
from tritloom.arch.workload import Gemm
from tritloom.sim.__main__ import PROGRAM
from tritloom.sim.run import products

CONFIG = ArrayConfig(rows=2, cols=3, lanes=4, max_k=512)
MODEL = ModelShape(
    name="small", hidden=24, ffn=40, layers=3, heads=4, kv_heads=2, vocab=50, source="a test"
)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize(("tokens", "packing"), [(1, TRIT5), (5, TRIT2)], ids=["1", "5"])
def test_every_product_of_every_block_runs_in_the_formula_s_cycles(tokens, packing, jobs, folder):
    found = products.run_blocks(
        MODEL, CONFIG, packing, blocks=2, tokens=tokens, seed=3, jobs=jobs, folder=folder
    )
    assert list(found) == [name for name, _, _ in MODEL.linears()]
    for name, k, n in MODEL.linears():
        plan = make_plan(CONFIG, Gemm(tokens, k, n))
        kind = found[name]
        assert kind.runs == 2
        assert kind.cycles == kind.formula == 2 * timing.core_cycles(plan, packing)
        assert kind.psums == 2 * tokens * n
        assert kind.macs == 2 * tokens * n * k
        assert kind.beats == 2 * plan.beats
        assert 0 < kind.utilisation <= kind.busy <= 1


@pytest.mark.slow
def test_each_matrix_has_trits_of_its_own_and_a_seed_repeats_them(folder):
    def zeros(seed):
        found = products.run_blocks(
            MODEL, CONFIG, TRIT5, blocks=3, tokens=1, seed=seed, jobs=1, folder=folder
        )
        return [kind.zero_trits for kind in found.values()]

    assert zeros(1) == zeros(1) != zeros(2)


@pytest.mark.slow
def test_a_wrong_psum_in_any_block_is_refused(folder, monkeypatch):
    def flipped(self, rows):
        psums = whole(self, rows)
        psums[-1, -1] ^= 1
        return psums

    whole = products.Job.psums
    monkeypatch.setattr(products.Job, "psums", flipped)
    with pytest.raises(MismatchError, match="1 of 24 outputs differ from the golden model"):
        products.run_blocks(MODEL, CONFIG, TRIT5, blocks=1, tokens=1, seed=0, jobs=1, folder=folder)


@pytest.mark.slow
def test_a_block_of_2b4t_runs_from_the_command_line():
    done = subprocess.run(
        [sys.executable, "-m", "sim", "products", "--blocks", "1", "--preset", "decode"],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    row = re.search(r"^all +7 +([\d,]+) +([\d,]+) ", done.stdout, re.MULTILINE)
    # 69,468,160 trits, 256 a cycle.
    assert row[1] == row[2]
    assert 69_468_160 / 256 < int(row[1].replace(",", "")) < 1.001 * 69_468_160 / 256
    assert "22,784 equal to the golden model and to a plain product" in done.stdout


def test_the_measured_machine_s_preset_is_its_hardware_and_named_by_the_energy_model():
    rows = dict(products._measured_machine("bitnet-2b4t"))
    assert list(rows) == ["tokens_per_s", "mj_per_token", "power_w", "mb_per_token"]
    assert rows["tokens_per_s"].endswith("16.78  PUBLISHED")
    assert PRESETS["kv260"].macs_per_cycle == 320


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "9b"], "unknown model '9b'"),
        (["--blocks", "0"], "blocks must be at least 1, not 0"),
        (["--blocks", "31"], "blocks must be at most 30, not 31"),
        (["--tokens", "0"], "m must be at least 1, not 0"),
        (["--jobs", "0"], "jobs must be at least 1, not 0"),
        (["--seed", "-1"], "seed must be at least 0, not -1"),
        (["--packing", "trit9"], "unknown packing 'trit9'"),
        (["--preset", "huge"], "unknown preset 'huge'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_gets_one_line(arguments, message, capsys):
    assert PROGRAM.main(["products", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("python -m sim products: error: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err
