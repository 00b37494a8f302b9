"""Report: the paper's figures through trace, counts and costs; sums; properties."""

import dataclasses
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tritloom.arch.errors import InputError
from tritloom.arch.models.known import FIGURE3, MODELS, SIZES
from tritloom.arch.models.shape import ModelShape
from tritloom.energy_model.costs.range import Range
from tritloom.energy_model.costs.table import Cost, CostTable, load_costs
from tritloom.energy_model.costs.tiers import Tier
from tritloom.energy_model.costs.units import JOULES
from tritloom.energy_model.machine.evaluation import Workload, evaluate, roofline
from tritloom.energy_model.machine.file import load_dram, load_machine, parse_array
from tritloom.energy_model.machine.machine import Machine
from tritloom.energy_model.report.report import Figure, build_report, headlines_over

PAPER = load_costs("paper")
LARGE = Machine(name="large", engine=load_machine("large").array, dram=load_dram())

# Printed in figure 3 (right) of arXiv 2402.17764.
FIGURE3_RATIO = {"1.3b": 18.6, "3b": 21.7, "7b": 29.1, "13b": 32.9, "70b": 41.2}
# Read off its bars, in joules: LLaMA, BitNet.
FIGURE3_JOULES = {
    "1.3b": (0.321, 0.0173),
    "3b": (0.654, 0.0307),
    "7b": (1.674, 0.0580),
    "13b": (3.26, 0.100),
    "70b": (16.49, 0.403),
}
# Table 1 and figure 2, in gigabytes: LLaMA, BitNet.
MEMORY_GB = {
    "700m": (2.08, 0.80),
    "1.3b": (3.34, 1.14),
    "3b": (7.89, 2.22),
    "7b": (14.58, 3.30),
    "13b": (27.31, 5.34),
    "70b": (129.9, 18.16),
}
TOTALS = ("arithmetic", "energy", "memory", "latency")


def report_of(name, *, machine=LARGE, costs=PAPER, **workload):
    return build_report(MODELS[name], workload=Workload(**workload), machine=machine, costs=costs)


def ratio(report, key):
    return report.figure(key).ratio.nominal


@pytest.mark.parametrize("phase", ["prefill", "decode"])
@pytest.mark.parametrize("name", MODELS)
def test_arithmetic_ratio_is_the_published_one(name, phase):
    assert round(ratio(report_of(name, phase=phase), "arithmetic"), 1) == 71.4


@pytest.mark.parametrize("size", FIGURE3_RATIO)
def test_energy_ratio_of_figure_3s_models_is_the_published_one(size):
    assert ratio(report_of(f"figure3-{size}"), "energy") == pytest.approx(
        FIGURE3_RATIO[size], abs=0.1
    )


@pytest.mark.parametrize("size", ["1.3b", "7b", "13b", "70b"])
def test_energy_ratio_with_llama_dimensions_is_near_the_published_one(size):
    assert ratio(report_of(size), "energy") == pytest.approx(FIGURE3_RATIO[size], abs=0.25)


@pytest.mark.parametrize("size", FIGURE3_JOULES)
def test_joules_of_figure_3s_models_are_near_its_bars(size):
    energy = report_of(f"figure3-{size}").figure("energy")
    joules = (energy.llama.nominal, energy.bitnet.nominal)
    assert joules == pytest.approx(FIGURE3_JOULES[size], rel=0.03)


@pytest.mark.parametrize("context", [1, 64, 512, 4096])
@pytest.mark.parametrize("name", FIGURE3)
def test_energy_ratio_agrees_with_the_closed_form(name, context):
    h, t = MODELS[name].hidden, context
    closed = (12 * h + 2 * t) * 0.50 / (12 * h * 0.007 + 2 * t * 0.50 + 18 * 0.34)
    assert ratio(report_of(name, context=context), "energy") == pytest.approx(closed, rel=1e-9)


@pytest.mark.parametrize("name", SIZES)
def test_energy_agrees_with_the_closed_form_of_gated_blocks(name):
    model, t = MODELS[name], 512
    h, f = model.hidden, model.ffn
    weights, attention = 4 * h * h + 3 * h * f, 2 * t * h
    scaled = 4 * (h + h) + 2 * (h + f) + (f + h)
    blocks = t * model.layers * 1e-12
    energy = report_of(name).figure("energy")
    assert energy.llama.nominal == pytest.approx(blocks * (weights + attention) * 0.5)
    assert energy.bitnet.nominal == pytest.approx(
        blocks * (weights * 0.007 + attention * 0.5 + scaled * 0.34)
    )


@pytest.mark.parametrize("name", MODELS)
def test_one_decoded_token_costs_as_much_as_one_of_a_prompt(name):
    prompt = report_of(name, phase="prefill", context=256).figure("energy")
    token = report_of(name, phase="decode", context=256).figure("energy")
    assert 256 * token.bitnet.nominal == pytest.approx(prompt.bitnet.nominal)
    assert 256 * token.llama.nominal == pytest.approx(prompt.llama.nominal)


@pytest.mark.parametrize("size", MEMORY_GB)
def test_memory_is_near_the_published_one(size):
    memory = report_of(size).figure("memory")
    for amount, published in zip((memory.llama, memory.bitnet), MEMORY_GB[size], strict=True):
        assert -0.05 < amount.nominal / 1e9 / published - 1 < 0.08


@pytest.mark.parametrize("name", SIZES | FIGURE3)  # whose head is a matrix of its own
def test_memory_under_the_papers_conditions_is_the_fitted_rule(name):
    model = MODELS[name]
    h = model.hidden
    block = 4 * h * h + (3 if model.gated else 2) * h * model.ffn
    rest = 4 * model.vocab * h + 1e9 * (0.016 + 0.282 * h / 1000)
    memory = report_of(name).figure("memory")
    assert memory.llama.nominal == pytest.approx(2 * model.layers * block + rest)
    assert memory.bitnet.nominal == pytest.approx(model.layers * block / 4 + rest, rel=1e-3)


def test_key_value_cache_of_70b_is_the_published_one():
    parts = {part.key: part for part in report_of("70b").figure("memory").parts}
    assert parts["kv_cache"].llama.nominal == pytest.approx(1.342e9, rel=1e-3)


@pytest.mark.parametrize("phase", ["prefill", "decode"])
@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("name", ["700m", "3b", "70b", "figure3-3b"])
def test_totals_are_the_sums_of_the_layers(name, batch, phase):
    report = report_of(name, phase=phase, batch=batch)
    for key in TOTALS:
        total = report.figure(key)
        rows = [f for row in report.rows for f in row.figures if f.key == key]
        assert len(rows) == len(report.rows)
        no_layer = [p for p in total.parts if p.key in ("embedding", "workspace")]
        for side in ("llama", "bitnet"):
            amounts = [getattr(figure, side).nominal for figure in (*rows, *no_layer)]
            assert getattr(total, side).nominal == pytest.approx(math.fsum(amounts))


@pytest.mark.parametrize("name", ["1.3b", "70b"])
def test_a_layer_adds_nothing_to_a_total_outside_its_scope(name):
    for row in report_of(name).rows:
        for figure in row.figures:
            inside = figure.key in row.bitnet.scope
            assert (figure.llama.nominal > 0) == (figure.bitnet.nominal > 0) == inside


@pytest.mark.parametrize("key", ["energy", "memory"])
def test_parts_add_up(key):
    total = report_of("7b", batch=3, context=100).figure(key)
    for side in ("llama", "bitnet"):
        parts = math.fsum(getattr(part, side).nominal for part in total.parts)
        assert getattr(total, side).nominal == pytest.approx(parts)


def test_arithmetic_is_multiplies_and_adds():
    parts = {part.key: part for part in report_of("7b").figure("arithmetic").parts}
    assert parts["mul"].bitnet.nominal == 0
    assert parts["mul"].ratio is None
    assert parts["mul"].llama.nominal / parts["add"].llama.nominal == pytest.approx(0.34 / 0.16)
    assert parts["per_mac"].llama.nominal == pytest.approx(0.5e-12)
    assert parts["per_mac"].bitnet.nominal == pytest.approx(0.007e-12)


@pytest.mark.parametrize("batch", [1, 16])
def test_throughput_is_batch_over_latency(batch):
    report = report_of("7b", batch=batch)
    latency, throughput = report.figure("latency"), report.figure("throughput")
    assert throughput.bitnet.nominal == pytest.approx(batch / latency.bitnet.nominal)
    assert throughput.ratio.nominal == pytest.approx(latency.ratio.nominal)


def test_latency_is_at_least_that_of_either_resource_and_at_most_their_sum():
    for name in MODELS:
        latency = report_of(name).figure("latency")
        compute, dram = latency.parts
        for side in ("llama", "bitnet"):
            c, d, both = (getattr(f, side).nominal for f in (compute, dram, latency))
            assert max(c, d) <= both * (1 + 1e-12)
            assert both <= (c + d) * (1 + 1e-12)


def test_decode_is_bound_by_a_square_array_and_by_the_dram_of_a_wide_one():
    # One of 64 rows holds a token, and 64 columns take 128 GB/s of weights.
    square = Machine(name="square", engine=parse_array("64x64x16/4"), dram=load_dram())
    assert report_of("70b", machine=square).figure("latency").bounds == ("compute", "compute")
    latency = report_of("70b").figure("latency")
    assert latency.bounds == ("dram", "dram")
    # 2 bytes a weight against 1/4 of one; attention and head are FP16 in both.
    assert 6.5 < latency.ratio.nominal < 8
    assert latency.llama.nominal == pytest.approx(2 * 64.8e9 / 2.039e12, rel=0.05)


WORK = st.builds(dict, batch=st.integers(1, 64), context=st.integers(1, 4096))
NAMES = st.sampled_from(sorted(MODELS))


@settings(deadline=None, max_examples=30)
@given(
    name=NAMES, work=WORK, more=st.integers(1, 1000), phase=st.sampled_from(["prefill", "decode"])
)
@pytest.mark.parametrize("weight", ["ternary", "fp16"])
@pytest.mark.parametrize("grows", ["batch", "context"])
def test_more_work_never_costs_less(grows, weight, name, work, more, phase):
    small, large = (
        evaluate(
            MODELS[name],
            weight=weight,
            workload=Workload(phase=phase, **w),
            machine=LARGE,
            costs=PAPER,
        )
        for w in (work, work | {grows: work[grows] + more})
    )
    assert small.energy.total_j.nominal <= large.energy.total_j.nominal
    assert small.memory_bytes < large.memory_bytes
    assert small.latency_s <= large.latency_s * (1 + 1e-12)
    assert small.tokens <= large.tokens


@settings(deadline=None, max_examples=30)
@given(name=NAMES, work=WORK)
def test_ratios_stay_within_what_the_costs_allow(name, work):
    report = report_of(name, **work)
    assert 1 <= ratio(report, "energy") < 0.5 / 0.007
    assert 1 < ratio(report, "memory") < 8
    assert 1 - 1e-12 <= ratio(report, "latency") < 8


@settings(deadline=None, max_examples=30)
@given(name=NAMES, context=st.integers(1, 4096), more=st.integers(1, 4096))
def test_attention_only_lowers_the_energy_ratio(name, context, more):
    short, long = (ratio(report_of(name, context=c), "energy") for c in (context, context + more))
    assert long < short


@pytest.mark.parametrize("name", MODELS)
def test_every_figure_has_a_tier_and_names_inferred_dimensions(name):
    report = report_of(name)
    explained = {note.key for note in report.notes if note.key}
    figures = [*report.figures, *(f for row in report.rows for f in row.figures)]
    for figure in figures:
        assert isinstance(figure.tier, Tier)
        assert set(figure.inferred) <= explained
        assert ("dimensions" in figure.inferred) == MODELS[name].inferred


@pytest.mark.parametrize(
    ("name", "work", "shown"),
    [
        ("70b", {}, {"arithmetic": 71.4, "energy": 41.2, "memory": 7.16, "latency": 4.10}),
        ("700m", {}, {"arithmetic": 71.4, "memory": 2.60, "latency": 1.23}),
        ("30b", {}, {"arithmetic": 71.4}),
        ("3.9b", {}, {"arithmetic": 71.4}),
        ("figure3-7b", {}, {"arithmetic": 71.4, "energy": 29.1}),
        ("70b", {"batch": 2}, {"arithmetic": 71.4}),
        ("70b", {"context": 511}, {"arithmetic": 71.4}),
    ],
)
def test_published_ratios_are_shown_under_the_papers_conditions(name, work, shown):
    report = report_of(name, **work)
    published = {f.key: f.published.value for f in report.figures if f.published}
    assert published == shown
    assert all(f.published.tier == Tier.PUBLISHED for f in report.figures if f.published)


def test_a_spread_in_the_costs_is_a_spread_in_the_figures():
    def cost(low, nominal, high):
        return Cost(
            low=low, nominal=nominal, high=high, unit="pJ", source="here", tier=Tier.PROJECTED
        )

    costs = CostTable(
        name="spread",
        node="none",
        entries={
            "add_int8": cost(1, 2, 4),
            "mul_fp16": cost(10, 20, 40),
            "add_fp16": cost(10, 20, 40),
        },
    )
    arithmetic = report_of("7b", costs=costs).figure("arithmetic")
    spread = arithmetic.ratio
    assert (spread.low, spread.nominal, spread.high) == pytest.approx((5, 20, 80))
    assert arithmetic.tier == Tier.PROJECTED


@pytest.mark.parametrize("more_is_better", [False, True])
def test_a_ratio_of_separate_ranges_is_the_extreme_over_their_corners(more_is_better):
    figure = Figure(
        key="x",
        label="x",
        unit=JOULES,
        llama=Range(low=6, nominal=10, high=12),
        bitnet=Range(low=2, nominal=2.5, high=3),
        tier=Tier.DERIVED,
        more_is_better=more_is_better,
    )
    corners = [
        bitnet / llama if more_is_better else llama / bitnet
        for llama in (6, 12)
        for bitnet in (2, 3)
    ]
    nominal = 2.5 / 10 if more_is_better else 10 / 2.5
    assert figure.ratio == Range(low=min(corners), nominal=nominal, high=max(corners))


@pytest.mark.parametrize("zero", ["llama", "bitnet"])
def test_a_ratio_to_nothing_is_none(zero):
    sides = {"llama": Range.point(2), "bitnet": Range.point(3), zero: Range(nominal=1, high=2)}
    assert Figure(key="x", label="x", unit=JOULES, tier=Tier.DERIVED, **sides).ratio is None


def test_costs_that_make_an_energy_zero_are_told():
    nothing = {
        action: dataclasses.replace(cost, low=0.0, nominal=0.0, high=0.0)
        for action, cost in PAPER.entries.items()
    }
    with pytest.raises(InputError, match="costs make the energy of prefill 0 in one of both"):
        report_of("700m", costs=dataclasses.replace(PAPER, entries=nothing))


def test_a_line_that_no_action_is_on_is_no_part():
    # Acts and psums stay in 100 MB of SRAM; without it they cross.
    large = dataclasses.replace(LARGE, sram=dataclasses.replace(LARGE.sram, bytes=1e8))
    kept, crossing = (
        {part.key for part in report_of("700m", machine=machine).figure("system_decode").parts}
        for machine in (large, LARGE)
    )
    assert crossing - kept == {"acts", "psums"}
    assert kept <= crossing


@pytest.mark.parametrize(
    ("context", "largest", "shown"),
    [
        (512, ("weights", "weights"), True),
        # Less than half of BitNet's energy, and still its largest line.
        (3500, ("weights", "weights"), False),
        (4096, ("weights", "kv_cache"), False),
    ],
)
def test_a_headline_says_what_weights_allow_where_they_are_most(context, largest, shown):
    (decode,) = report_of("7b", phase="decode", context=context).headlines
    assert tuple(key for key, _ in decode.largest) == largest
    assert (min(share for _, share in decode.largest) > 0.5) is (context != 3500)
    (_, llama), (_, bitnet) = decode.largest
    begins = f"decode: DRAM, weights: {llama:.0%} of LLaMA's energy, {bitnet:.0%} of BitNet's"
    if largest[0] != largest[1]:
        begins = f"decode: most is DRAM, weights in LLaMA ({llama:.0%}), DRAM, key-value cache in "
    assert decode.text.startswith(begins)
    # 16 bits a weight, or 2.
    assert decode.text.endswith("; at most 8.0x at 2 bits a weight") is shown


def test_costs_that_lack_an_operation_are_rejected():
    entries = {a: c for a, c in PAPER.entries.items() if a != "mul_fp16"}
    with pytest.raises(InputError, match="costs 'cut' have no mul_fp16, which 7b needs"):
        report_of("7b", costs=CostTable(name="cut", node="7 nm", entries=entries))


@pytest.mark.parametrize(
    ("work", "message"),
    [
        ({"phase": "both"}, "phase must be one of prefill, decode, not 'both'"),
        ({"batch": 0}, "batch must be at least 1, not 0"),
        ({"batch": 1.5}, "batch must be an integer, not 1.5"),
        ({"context": -1}, "context must be at least 1, not -1"),
        ({"context": 10**30}, "context must be at most"),
        ({"batch": 1048577}, "batch must be at most 1048576, not 1048577"),
    ],
)
def test_wrong_work_is_rejected(work, message):
    with pytest.raises(InputError, match=message):
        Workload(**work)


@pytest.mark.parametrize(("kv", "bits"), [("fp16", 16), ("int8", 8), ("int4", 4)])
def test_a_cache_takes_its_bits_for_each_key_and_value(kv, bits):
    work = Workload(phase="decode", batch=3, context=100, kv=kv)
    done = evaluate(MODELS["700m"], weight="ternary", workload=work, machine=LARGE, costs=PAPER)
    # Keys and values of 24 blocks and 1536 features.
    assert done.cache_bytes == 2 * 24 * 1536 * 3 * 100 * bits / 8


def test_a_million_sequences_are_within_reach():
    assert Workload(batch=1 << 20).batch == 1048576


MOE = ModelShape(
    name="moe",
    hidden=64,
    ffn=96,
    layers=2,
    heads=4,
    vocab=50,
    source="test",
    experts=8,
    experts_per_token=2,
)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("batch", [1, 3, 5])
def test_experts_cost_what_they_compute_and_what_they_store(batch, tied):
    # 101 tokens of 5 sequences: some experts get one more than others, in this pass or in decode.
    model = dataclasses.replace(MOE, tied=tied)
    work = Workload(batch=batch, context=101)
    done = evaluate(model, weight="fp16", workload=work, machine=LARGE, costs=PAPER)
    tokens = 101 * batch
    macs = 2 * tokens * (4 * 64 * 64 + 64 * 8 + 2 * 3 * 64 * 96)
    assert done.arithmetic.total_j.nominal == pytest.approx(macs * 0.5e-12)
    assert done.block_bytes == 2 * model.block_weights
    assert done.embedding_bytes + done.head_bytes == 2 * model.embedding_weights
    for result in done.layers:
        # A layer that a decode step has not takes nothing of it, and all others something.
        time = result.time
        if not time.occurrences:
            assert (time.cycles, time.dram_bytes, time.compute_s, time.dram_s) == (0, 0, 0, 0)
            assert (time.latency_s, result.memory_bytes) == (0, 0)
        else:
            assert min(time.cycles, time.dram_bytes, result.memory_bytes) > 0
    used = sum(r.time.cycles > 0 for r in done.layers if r.layer.name.startswith("expert.up"))
    assert used == (2 if batch == 5 else 1)  # 2, 6 or 10 assignments to 8 experts


@pytest.mark.parametrize(
    ("head_weight", "tables"), [("fp16", 16), ("int8", 16 + 8), ("ternary", 16 + 2)]
)
def test_a_tied_table_is_stored_once_and_a_quantised_head_beside_it(head_weight, tables):
    model = dataclasses.replace(MOE, tied=True)
    work = Workload(head_weight=head_weight)
    done = evaluate(model, weight="fp16", workload=work, machine=LARGE, costs=PAPER)
    assert done.embedding_bytes + done.head_bytes == tables * 64 * 50 / 8


@pytest.mark.parametrize("phase", ["prefill", "decode"])
@pytest.mark.parametrize("hardware", ["large", "large-int8", "a100", "kv260"])
def test_no_layer_is_above_the_roofline_and_together_they_take_the_latency(hardware, phase):
    machine = load_machine(hardware)
    report = report_of("7b", machine=machine, phase=phase, batch=8, context=300)
    ridge = max(machine.peak_ops_per_s.values())
    for side in (report.llama, report.bitnet):
        placed = roofline(side, phase)
        assert {layer.name for layer in placed} == {result.layer.name for result in side.layers}
        for layer in placed:
            roof = min(ridge, layer.ops_per_byte * machine.dram.bytes_per_s)
            assert layer.ops_per_s <= roof * (1 + 1e-9)
        taken = math.fsum(layer.ops / layer.ops_per_s for layer in placed)
        assert taken == pytest.approx(side.passes[phase].latency_s)
        moved = math.fsum(layer.ops / layer.ops_per_byte for layer in placed)
        assert moved == pytest.approx(side.passes[phase].dram_bytes)


def test_peaks_of_an_array_and_of_a_roofline():
    # 4 x 256 x 64 multiply-accumulates at 500 MHz; an A100's data sheet.
    assert load_machine("large").peak_ops_per_s == {"ternary": 65.536e12, "fp16": 65.536e12}
    assert load_machine("a100").peak_ops_per_s == {"fp16": 312e12, "int8": 624e12}


@pytest.mark.parametrize(("name", "values"), [("context", (64, 4096)), ("batch", (2, 32))])
def test_headlines_over_a_workload_are_those_of_its_reports(name, values):
    over = headlines_over(report_of("7b", phase="decode"), name, values)
    for value, headlines in over.items():
        assert headlines == report_of("7b", **{name: value}).headlines
        assert [headline.phase for headline in headlines] == ["prefill", "decode"]
