"""Predictions of measured machines: complete, recomputed by hand, and sensitive to their inputs."""

import csv
import dataclasses
import io
import json
import math
import re
from pathlib import Path

import pytest

from tritloom.arch.errors import InputError
from tritloom.console.sheet import FORMS
from tritloom.energy_model.__main__ import PROGRAM
from tritloom.energy_model.costs.range import Range
from tritloom.energy_model.machine.file import load_machine
from tritloom.energy_model.validate import validate as module
from tritloom.energy_model.validate.validate import predict, summaries, systems, validate

DOCS = Path(__file__).parents[2] / "docs" / "validate.md"
BY_NAME = {system.name: system for system in systems()}
ROWS = {(row.system.name, row.quantity): row for row in validate()}
# These figures were typed by hand from the papers and repositories.
MEASURED = {
    "kv260_bitnet_2b4t": (16.78, 381, 6.206, 483),
    "kv260_a53_bitnet_cpp_2b4t": (2.77, 1963, None, None),
    "tellme_v2_kv260_0p73b": (25, 192, 4.8, None),
    "tereffic_hbm_2p7b": (727, 62.5, 46, None),
    "tereffic_onchip_370m": (16300, 2.2, None, None),
    "ternfpga_arty35t_2b4t": (None, 1620, None, None),
    "tom_rom_2b": (3306, 1.61, 5.33, None),
    "vitallm_16nm_3b": (70.70, 0.93, 0.06597, None),
}


def output(capsys, *arguments):
    assert PROGRAM.main(["validate", *arguments]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def rate(name, machine=None):
    return predict(BY_NAME[name], machine)["tokens_per_s"].nominal


def test_every_measured_value_is_there():
    quantities = ("tokens_per_s", "mj_per_token", "power_w", "mb_per_token")
    found = {
        name: tuple(system.measured.get(quantity) for quantity in quantities)
        for name, system in BY_NAME.items()
    }
    assert found == MEASURED


@pytest.mark.parametrize("name", MEASURED)
def test_a_measured_value_has_a_row_with_its_ratio_unless_its_rate_cannot_be_predicted(name):
    for quantity, value in BY_NAME[name].measured.items():
        row = ROWS[name, quantity]
        assert row.measured == value
        if name == "tom_rom_2b" and quantity != "mj_per_token":
            assert (row.predicted, row.ratio, row.missed) == (None, None, True)
        else:
            assert row.ratio == row.predicted.nominal / value


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("kv260_bitnet_2b4t", 2.41),
        ("tellme_v2_kv260_0p73b", 0.73),
        ("tereffic_hbm_2p7b", 2.7),
        ("tereffic_onchip_370m", 0.37),
        ("vitallm_16nm_3b", 3.3),
    ],
)
def test_a_model_has_the_parameters_that_its_name_says(name, billions):
    model = BY_NAME[name].model
    # TeLLMe's and VitaLLM's count embedding and head once.
    once = model.parameters - (0 if model.tied else model.vocab * model.hidden)
    near = [count / 1e9 == pytest.approx(billions, rel=0.015) for count in (model.parameters, once)]
    assert any(near)


def test_the_measured_kv260_by_hand():
    # Beats of 80 weights in 16 bytes: q, k, v, then o, gate and up, and down, in 30 blocks.
    neurons = {2560: 3840 + 2560 + 13824, 6912: 2560}
    block = sum(count * math.ceil(k / 80) * 16 for k, count in neurons.items())
    assert 30 * block == 417_546_240  # its file of weights, to the byte
    head = 128_256 * math.ceil(2560 / 80) * 16
    assert head == 65_667_072
    # Four engines take 64 bytes a clock at 250 MHz, less than the DRAM's 19.2 GB/s.
    # Attention and pipelines that fill come on top.
    bound = 16e9 / (30 * block + head)
    assert 0.96 * bound < rate("kv260_bitnet_2b4t") < bound
    moved = predict(BY_NAME["kv260_bitnet_2b4t"])["mb_per_token"].nominal
    cache = 2 * 30 * 640 * 64 * 2
    assert moved == pytest.approx((30 * block + head + cache) / 1e6, rel=1e-3)


def test_ternfpga_takes_the_cycles_that_its_authors_count():
    # 301.5 M beats of 8 weights at 100 MHz, 0.489 W; attention comes on top.
    assert rate("ternfpga_arty35t_2b4t") == pytest.approx(1 / 3.015, rel=0.02)
    spent = predict(BY_NAME["ternfpga_arty35t_2b4t"])["mj_per_token"].nominal
    assert spent == pytest.approx(489 / rate("ternfpga_arty35t_2b4t"))


def test_tereffic_with_hbm_is_its_weights_at_peak_bandwidth():
    blocks = 32 * (4 * 2560 * 2560 + 3 * 2560 * 6912)
    weights = (blocks + 2560 * 32000) / 5
    # Pipelines fill and ragged slices are padded: a few per cent.
    assert rate("tereffic_hbm_2p7b") == pytest.approx(460e9 / weights, rel=0.06)
    assert rate("tereffic_hbm_2p7b") < 460e9 / weights


@pytest.mark.parametrize("name", ["tellme_v2_kv260_0p73b", "tereffic_hbm_2p7b"])
def test_a_wrong_bandwidth_shows(name):
    machine = load_machine(BY_NAME[name].hardware)
    halved = dataclasses.replace(machine.dram, bytes_per_s=machine.dram.bytes_per_s / 2)
    planted = rate(name, dataclasses.replace(machine, dram=halved))
    assert planted == pytest.approx(rate(name) / 2, rel=0.05)
    assert planted / rate(name) < 0.55


def test_a_wrong_clock_shows_where_the_array_binds():
    machine = load_machine("vitallm")
    doubled = dataclasses.replace(machine, engine=machine.array.replace(clock_hz=2e9))
    assert rate("vitallm_16nm_3b", doubled) == pytest.approx(2 * rate("vitallm_16nm_3b"))


def test_weights_on_chip_never_cross_the_dram_interface():
    moved = ROWS["tereffic_onchip_370m", "mb_per_token"].predicted.nominal
    # Keys and values of one token alone, which stand for the recurrence.
    assert moved == pytest.approx(24 * 2 * 1024 * 2 / 1e6)


def test_a_core_alone_pays_for_no_dram():
    system = BY_NAME["vitallm_16nm_3b"]
    board = dataclasses.replace(system, scope="all")
    assert predict(board)["mj_per_token"].nominal > 10 * predict(system)["mj_per_token"].nominal
    assert predict(board)["tokens_per_s"].nominal < predict(system)["tokens_per_s"].nominal
    assert predict(system)["mb_per_token"] is None


@pytest.mark.parametrize("name", ["kv260_bitnet_2b4t", "tereffic_hbm_2p7b"])
def test_watts_are_joules_times_rate(name):
    rate, spent, watts = (
        ROWS[name, key].predicted for key in ("tokens_per_s", "mj_per_token", "power_w")
    )
    assert watts.high == pytest.approx(rate.nominal * spent.high / 1e3)


def test_summary_counts_and_means_by_hand():
    rates, energies = summaries(validate())
    ratios = [row.ratio for row in validate() if row.quantity == "tokens_per_s" and row.ratio]
    assert (rates.count, energies.count) == (6, 8)
    assert rates.mean_ratio**6 == pytest.approx(math.prod(ratios))
    assert rates.mean_factor**6 == pytest.approx(math.prod(max(r, 1 / r) for r in ratios))
    assert rates.near == sum(0.5 <= ratio <= 2 for ratio in ratios)
    assert rates.close == sum(0.8 <= ratio <= 1.25 for ratio in ratios)
    verdicts = [row.verdict for row in validate() if row.quantity == "tokens_per_s" and row.ratio]
    assert verdicts.count("misses") == rates.count - rates.near
    assert verdicts.count("within 1.25x") == rates.close


@pytest.mark.parametrize(
    ("predicted", "verdict", "close", "near"),
    [
        (800, "within 1.25x", 1, 1),
        (1250, "within 1.25x", 1, 1),
        (799, "within 2x", 0, 1),
        (1251, "within 2x", 0, 1),
        (500, "within 2x", 0, 1),
        (2000, "within 2x", 0, 1),
        (499, "misses", 0, 0),
        (2001, "misses", 0, 0),
    ],
)
def test_limits_belong_to_what_they_limit(predicted, verdict, close, near):
    row = module.Prediction(
        system=BY_NAME["tom_rom_2b"],
        quantity="tokens_per_s",
        measured=1000,
        predicted=Range.point(predicted),
    )
    assert (row.verdict, row.missed) == (verdict, not close)
    energy = dataclasses.replace(row, quantity="mj_per_token")
    for summary in summaries([row, energy]):
        assert (summary.count, summary.close, summary.near) == (1, close, near)


@pytest.mark.parametrize(("measured", "predicted"), [(None, 5), (5, None), (None, None)])
def test_without_both_there_is_no_ratio_and_a_miss_where_nothing_is_predicted(measured, predicted):
    row = module.Prediction(
        system=BY_NAME["tom_rom_2b"],
        quantity="tokens_per_s",
        measured=measured,
        predicted=predicted and Range.point(predicted),
    )
    assert (row.ratio, row.factor, row.verdict) == (None, None, "")
    assert row.missed is (predicted is None)


@pytest.mark.parametrize("form", [f for f in FORMS if f in ("table", "markdown")])
def test_printed_is_every_row_input_and_reason(capsys, form):
    text = output(capsys, "--format", form)
    for system in systems():
        assert system.title in text
        assert f"INFERRED: {system.inferred}." in text
        assert f"Published: {system.published}." in text
        missed = any(row.missed for row in validate() if row.system is system)
        assert (f"Misses because: {system.miss}." in text) == missed
    assert "not predicted" in text
    assert re.search(r"token/s: \d of 6 within 1.25x, \d within 2x; geometric mean", text)


def test_json_and_csv_hold_the_same(capsys):
    content = json.loads(output(capsys, "--format", "json"))
    lines = list(csv.DictReader(io.StringIO(output(capsys, "--format", "csv"))))
    assert len(content) == len(lines) == len(validate())
    for entry, line in zip(content, lines, strict=True):
        assert line == {key: "" if value is None else str(value) for key, value in entry.items()}
        row = ROWS[entry["system"], entry["quantity"]]
        assert (entry["measured"], entry["ratio"]) == (row.measured, row.ratio)


def test_docs_show_the_ratios_of_the_command():
    page = DOCS.read_text()
    for (name, quantity), row in ROWS.items():
        if row.ratio and quantity in ("tokens_per_s", "mj_per_token"):
            found = re.search(rf"^\| {name} .*$", page, re.MULTILINE)[0]
            shown = [float(x) for x in re.findall(r"([\d.]+)x", found)]
            # Two digits, which cycles of a few beats more or less do not change.
            assert any(ratio == pytest.approx(row.ratio, rel=0.03) for ratio in shown), (
                name,
                shown,
            )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("scope: all", "scope: some", "kv260_bitnet_2b4t.scope must be one of all, core, static"),
        ("tokens_per_s: 16.78", "tokens_per_s: 0", "tokens_per_s must be above 0, not 0"),
        ("heads: 1", "heads: 7", "models.mmfree-370m: heads must divide hidden"),
        ("model: 700m", "model: 700x", "unknown model '700x'"),
        ("    miss: >-", "    mist: >-", "has no miss"),
    ],
)
def test_wrong_data_is_named(tmp_path, monkeypatch, old, new, message):
    text = module._PATH.read_text()
    assert old in text
    path = tmp_path / "measured.yaml"
    path.write_text(text.replace(old, new, 1))
    monkeypatch.setattr(module, "_PATH", path)
    with pytest.raises(InputError, match=re.escape(message)):
        systems.__wrapped__()
