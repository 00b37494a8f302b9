"""Ledger: lines that add up, against counts by hand and published cross-checks."""

import dataclasses
import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tritloom.arch.config import ArrayConfig, Dataflow
from tritloom.arch.counts import Counts, array_counts
from tritloom.arch.models.known import MODELS
from tritloom.arch.models.shape import ModelShape
from tritloom.arch.models.trace import build_trace
from tritloom.arch.tiling import make_plan
from tritloom.arch.workload import Gemm, Layer, Trace
from tritloom.energy_model.costs.table import (
    Cost,
    CostTable,
    Energy,
    load_costs,
    price,
    shared_ratio,
)
from tritloom.energy_model.costs.tiers import Tier
from tritloom.energy_model.machine.evaluation import Workload, evaluate
from tritloom.energy_model.machine.file import hardware_names, load_dram, load_machine
from tritloom.energy_model.machine.ledger import run_pass
from tritloom.energy_model.machine.line import Line
from tritloom.energy_model.machine.machine import Machine, Sram, Static

PAPER = load_costs("paper")
LARGE = load_machine("large")


def point(value, unit):
    return Cost(low=value, nominal=value, high=value, unit=unit, source="here", tier=Tier.PUBLISHED)


def sram(size):
    return Sram(bytes=size, tier=Tier.INFERRED, source="here")


def pass_of(name, weight, machine=LARGE, **options):
    model = MODELS[name]
    return run_pass(model, build_trace(model, weight=weight, **options), machine)


def single(gemm, *, weight="ternary", machine=LARGE, model=MODELS["700m"], **rest):
    act = "int8" if weight == "ternary" else "fp16"
    layer = Layer(name="x", gemm=gemm, count=1, weight=weight, act=act, **rest)
    return run_pass(model, Trace(name="x", phase="decode", tokens=gemm.m, layers=(layer,)), machine)


def nominal(one, prices):
    return {line: joules.nominal for line, joules in one.joules(prices).items()}


@pytest.mark.parametrize("phase", ["prefill", "decode"])
@pytest.mark.parametrize("weight", ["ternary", "fp16"])
@pytest.mark.parametrize("hardware", hardware_names())
def test_lines_add_up_to_the_total(hardware, weight, phase):
    machine = load_machine(hardware)
    prices = machine.prices(PAPER)
    one = pass_of("3b", weight, machine, phase=phase, context=64)
    lines = one.joules(prices)
    assert list(lines) == list(Line)
    total = one.total_j(prices)
    for level in ("low", "nominal", "high"):
        assert getattr(total, level) == sum(getattr(line, level) for line in lines.values())
    energies = one.energies(prices)
    assert not any(energy.unpriced for energy in energies.values())
    for line, energy in energies.items():
        for level in ("low", "nominal", "high"):
            assert getattr(energy.total_j, level) == pytest.approx(getattr(lines[line], level))


@pytest.mark.parametrize("phase", ["prefill", "decode"])
@pytest.mark.parametrize("name", ["700m", "7b", "70b"])
def test_fp16_arithmetic_is_half_a_picojoule_for_each_multiply_accumulate(name, phase):
    # 0.34 + 0.16 pJ at 7 nm, whatever the array's shape, head and attention included.
    model = MODELS[name]
    trace = build_trace(model, weight="fp16", phase=phase)
    lines = nominal(run_pass(model, trace, LARGE), LARGE.prices(PAPER))
    arithmetic = lines["products"] + lines["accumulators"] + lines["attention"]
    assert arithmetic == pytest.approx(0.5e-12 * trace.macs, rel=1e-6)


def test_ternary_sums_are_priced_at_the_width_they_have():
    # A tree of 64 int8 acts: 32 sums of 9 bits, then 16 of 10 bits, down to one of 14 bits.
    def adder(bits):
        return 0.007 + (bits - 8) / 24 * 0.023

    tree = sum((64 >> level) * adder(8 + level) for level in range(1, 7))
    lines = nominal(single(Gemm(4, 8192, 4096)), LARGE.prices(PAPER))
    beats = 4 * 8192 * 4096 / 64
    assert lines["products"] == pytest.approx(1e-12 * beats * (tree + 64 * 0.0035))
    assert lines["accumulators"] == pytest.approx(1e-12 * beats * adder(24))


@pytest.mark.parametrize(
    ("max_k", "bits", "low", "high"), [(4095, 20, 26, 29), ((1 << 24) - 1, 32, 16.6, 16.7)]
)
def test_wide_accumulation_lowers_the_papers_71x_as_published(max_k, bits, low, high):
    # 26 to 29 from 20 bits on, 16.7 with INT32: one lane, so that every addition is accumulation.
    array = ArrayConfig(rows=4, cols=64, lanes=1, max_k=max_k)
    assert array.psum_bits == bits
    machine = Machine(name="one lane", engine=array, dram=load_dram())
    ternary, fp16 = (
        nominal(single(Gemm(4, 4000, 64), weight=weight, machine=machine), machine.prices(PAPER))
        for weight in ("ternary", "fp16")
    )
    assert low < (fp16["products"] + fp16["accumulators"]) / ternary["accumulators"] < high


@pytest.mark.parametrize("dataflow", Dataflow)
def test_a_full_array_does_what_array_counts_says(dataflow):
    array = ArrayConfig(rows=4, cols=8, lanes=4, dataflow=dataflow, buffer_tokens=16)
    machine = Machine(name="x", engine=array, dram=load_dram())
    gemm = Gemm(16, 64, 32)
    found = {}
    for (_, action), count in single(gemm, machine=machine).counts.items():
        found[action] = found.get(action, 0) + count
    found.pop("mul_fp16")  # scales
    del found["kv_dram_bits"]
    expected = array_counts(make_plan(array, gemm), bits_per_trit=2)
    assert Counts(**{a: c for a, c in found.items() if c}) == Counts(
        **{a: c for a, c in expected.items() if c}
    )


def test_rows_without_a_token_cost_no_arithmetic():
    one, four = (nominal(single(Gemm(m, 4096, 4096)), LARGE.prices(PAPER)) for m in (1, 4))
    assert four["products"] == pytest.approx(4 * one["products"])
    assert four["registers"] < 1.1 * one["registers"]


@pytest.mark.parametrize("weight", ["ternary", "fp16"])
def test_decode_reads_every_weight_and_the_cache_once(weight):
    one = pass_of("7b", weight, phase="decode", context=512)
    bits = {"ternary": 2, "fp16": 16}[weight]
    blocks = 32 * (4 * 4096 * 4096 + 3 * 4096 * 11008)
    assert one.counts["weights", "weight_dram_bits"] == bits * blocks + 16 * 4096 * 32000
    cached, made = 2 * 32 * 4096 * 512 * 16, 2 * 32 * 4096 * 16
    assert one.counts["kv_cache", "weight_dram_bits"] == cached
    assert one.counts["kv_cache", "kv_dram_bits"] == made


@pytest.mark.parametrize("phase", ["prefill", "decode"])
@pytest.mark.parametrize("hardware", ["large", "large-ws", "phone", "a100"])
def test_bytes_that_take_time_are_the_bits_that_take_energy(hardware, phase):
    machine = load_machine(hardware)
    one = pass_of("3b", "ternary", machine, phase=phase)
    bits = sum(
        count
        for (_, action), count in one.counts.items()
        if action.endswith("_dram_bits") and action != "kv_dram_bits"
    )
    assert one.dram_bytes == pytest.approx(bits / 8)
    assert one.dram_s == pytest.approx(one.dram_bytes / machine.dram.bytes_per_s)
    assert max(one.compute_s, one.dram_s) <= one.latency_s <= one.compute_s + one.dram_s


@pytest.mark.parametrize("hardware", ["large", "h100", "kv260"])
def test_a_decode_step_takes_as_long_as_in_the_report(hardware):
    machine, model = load_machine(hardware), MODELS["13b"]
    found = evaluate(
        model,
        weight="ternary",
        workload=Workload(batch=3, context=100),
        machine=machine,
        costs=PAPER,
    )
    one = pass_of("13b", "ternary", machine, phase="decode", batch=3, context=100)
    assert found.latency_s == pytest.approx(one.latency_s)
    assert found.passes["decode"].total_j(found.prices) == one.total_j(machine.prices(PAPER))


# Of an independent estimate of batch-1 decode at context 512, weights at 2 bits, head and cache
# FP16: LLaMA / BitNet by arithmetic alone, with HBM2 at 350 pJ for 64 bits, all in SRAM.
@pytest.mark.parametrize(("name", "alone", "hbm2"), [("7b", 18.8, 6.3), ("70b", 35.5, 7.3)])
def test_ratios_beyond_the_paper_are_those_of_an_independent_estimate(name, alone, hbm2):
    machine = dataclasses.replace(
        LARGE, dram=dataclasses.replace(LARGE.dram, energy=point(350, "pJ/64bit"))
    )
    lines = {
        weight: nominal(pass_of(name, weight, machine, phase="decode"), machine.prices(PAPER))
        for weight in ("fp16", "ternary")
    }
    # The estimate adds int8; this array's sums are wider.
    model = MODELS[name]
    macs = build_trace(model, weight="ternary", phase="decode", head=False)
    narrow = 0.007e-12 * sum(layer.macs for layer in macs if layer.trained)
    head = 0.5e-12 * model.hidden * model.vocab
    arithmetic = {
        "fp16": sum(lines["fp16"][line] for line in ("products", "accumulators", "attention")),
        "ternary": narrow + head + lines["ternary"]["attention"] + lines["ternary"]["scales"],
    }
    assert arithmetic["fp16"] / arithmetic["ternary"] == pytest.approx(alone, rel=0.01)
    dram = {w: sum(found[line] for line in ("weights", "kv_cache")) for w, found in lines.items()}
    both = {weight: arithmetic[weight] + dram[weight] for weight in lines}
    assert both["fp16"] / both["ternary"] == pytest.approx(hbm2, rel=0.01)
    # The whole ledger has more lines, none of which moves the ratio far.
    total = {weight: sum(found.values()) for weight, found in lines.items()}
    assert total["fp16"] / total["ternary"] == pytest.approx(hbm2, rel=0.05)


def test_weights_that_fit_on_chip_are_never_read_from_dram():
    machine = dataclasses.replace(LARGE, sram=sram(20e9))
    one = pass_of("7b", "ternary", machine, phase="prefill", context=64)
    assert one.resident
    assert one.counts["weights", "weight_dram_bits"] == 0
    # 64 tokens in groups of 4 read them 16 times from the on-chip memory.
    blocks = 32 * (4 * 4096 * 4096 + 3 * 4096 * 11008)
    attention = 32 * 32 * 2 * 64 * 128 * 16 * (1 + 16)
    held = 16 * 2 * blocks + 16 * 4096 * 32000
    assert one.counts["sram", "weight_sram_bits"] == held + attention
    assert not pass_of("70b", "fp16", machine, phase="decode").resident


def test_a_matrix_that_fits_on_chip_is_read_from_dram_once():
    gemm, matrix = Gemm(16, 1024, 1024), 1024 * 1024 * 2
    rest = 16 * 1024 * (8 + 24)
    for size, passes, acts in (
        (0, 4, rest),
        (rest / 8 - 1, 4, rest),
        (rest / 8, 4, 0),
        # Room for the matrix, but not beside acts and psums.
        (matrix / 8, 4, 0),
        ((rest + matrix) / 8, 1, 0),
    ):
        machine = dataclasses.replace(LARGE, sram=sram(size))
        # A second layer keeps the whole model from fitting.
        layers = tuple(
            Layer(name=name, gemm=shape, count=1, weight="ternary", act="int8")
            for name, shape in (("x", gemm), ("y", Gemm(16, 8192, 8192)))
        )
        run = machine.run(layers[0], resident=machine.holds(layers))
        assert run.product.operand_bits == passes * matrix
        assert run.product.dram_bits == acts


def test_static_power_burns_for_as_long_as_the_pass_takes():
    machine = dataclasses.replace(LARGE, static=Static.given(10))
    one = pass_of("7b", "fp16", machine, phase="decode")
    assert one.joules(PAPER)["static"].nominal == pytest.approx(10 * one.latency_s)
    assert pass_of("7b", "fp16", phase="decode").joules(PAPER)["static"].high == 0


def test_a_roofline_is_peak_rates_and_bandwidth():
    a100 = load_machine("a100")
    big = single(Gemm(4096, 4096, 4096), weight="fp16", machine=a100)
    assert big.latency_s == pytest.approx(2 * 4096**3 / 312e12)
    small = single(Gemm(1, 4096, 4096), weight="fp16", machine=a100)
    assert small.latency_s == pytest.approx((2 * 4096**2 + 4 * 4096) / 2.039e12)
    ternary = single(Gemm(4096, 4096, 4096), machine=a100)
    assert ternary.latency_s == pytest.approx(2 * 4096**3 / 624e12)


def test_query_heads_that_share_keys_read_them_once():
    model = ModelShape(
        name="x", hidden=512, ffn=512, layers=1, heads=8, kv_heads=2, vocab=64, source="here"
    )
    one = run_pass(model, build_trace(model, weight="ternary", phase="decode", context=32), LARGE)
    assert one.counts["kv_cache", "weight_dram_bits"] == 2 * 2 * 64 * 32 * 16


def test_norms_and_softmax_have_a_line():
    lines = nominal(pass_of("7b", "ternary", phase="decode"), LARGE.prices(PAPER))
    # At least two norms of 4096 a block, three FP32 multiplies an element.
    assert lines["vectors"] > 32 * 2 * 4096 * 3 * 1.31e-12


ACTIONS = ["add_int8", "mul_fp16", "act_hop_bits", "psum_hop_bits", "weight_dram_bits"]


@settings(deadline=None, max_examples=200)
@given(
    counts=st.tuples(*[st.tuples(*[st.integers(0, 1000)] * len(ACTIONS))] * 2),
    spreads=st.tuples(*[st.tuples(*[st.floats(0.1, 10)] * 3).map(sorted)] * 4),
)
def test_a_shared_costs_range_is_the_extreme_over_all_corners(counts, spreads):
    keys = ["add_int8", "mul_fp16", "hop_bits", "dram_bits"]
    units = ["pJ", "pJ", "pJ/bit", "pJ/bit"]

    def table(values):
        return CostTable(name="x", node="y", entries=dict(zip(keys, values, strict=True)))

    def priced(prices):
        return [price(Counts(**dict(zip(ACTIONS, side, strict=True))), prices) for side in counts]

    spread = [
        Cost(low=a, nominal=b, high=c, unit=unit, source="here", tier=Tier.PUBLISHED)
        for (a, b, c), unit in zip(spreads, units, strict=True)
    ]
    found = shared_ratio(*priced(table(spread)))
    if not all(map(any, counts)):
        assert found is None
        return
    corners = []
    for ends in itertools.product(("low", "high"), repeat=4):
        values = [
            point(getattr(cost, end), cost.unit) for cost, end in zip(spread, ends, strict=True)
        ]
        over, under = (energy.total_j.nominal for energy in priced(table(values)))
        corners.append(over / under)
    assert found.low == pytest.approx(min(corners))
    assert found.high == pytest.approx(max(corners))
    assert found.low <= found.nominal * (1 + 1e-12)
    assert found.nominal <= found.high * (1 + 1e-12)


def test_a_ratio_to_nothing_is_none():
    assert shared_ratio(price(Counts(add_int8=1), PAPER), Energy()) is None
    assert shared_ratio(Energy(), price(Counts(add_int8=1), PAPER)) is None
    assert not math.isnan(shared_ratio(*[price(Counts(add_int8=1), PAPER)] * 2).nominal)
