"""Counts against a walk that performs every action one by one, and hand-computed arithmetic."""

import math
import re
from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tritloom.arch import streams
from tritloom.arch.config import ArrayConfig, preset
from tritloom.arch.counts import (
    Counts,
    array_counts,
    core_counters,
    product_counts,
    scale_counts,
    traffic_counts,
    tree_adds,
    vector_counts,
)
from tritloom.arch.models.known import find_model
from tritloom.arch.models.trace import build_trace
from tritloom.arch.ternary import PACKINGS
from tritloom.arch.tiling import OutputStationaryPlan, make_plan
from tritloom.arch.workload import VECTOR_KINDS, Gemm, Layer, Vector


def width(low, high):
    bits = 1
    while not -(2 ** (bits - 1)) <= low <= high <= 2 ** (bits - 1) - 1:
        bits += 1
    return bits


def add_tree(lanes, act_bits):
    """Widths of the adders of one tree, by pairing the acts and complements that a select gives."""
    most_negative = -(2 ** (act_bits - 1))
    operands, adders = [width(most_negative, ~most_negative)] * lanes, Counter()
    while len(operands) > 1:
        pairs = list(zip(operands[::2], operands[1::2], strict=False))
        sums = [max(pair) + 1 for pair in pairs]
        adders.update(sums)
        operands = sums + operands[2 * len(pairs) :]
    return adders


def drain_column(rows, tokens):
    """Psums taken by the drain registers of one column, tile by tile emptied to the south."""
    chain, taken = list(range(rows - 1, -1, -1)), rows
    chain = [token if token < tokens else None for token in chain]
    for expected in range(tokens):
        assert chain[-1] == expected
        chain[-1] = None
        for row in range(rows - 1, 0, -1):
            if chain[row - 1] is not None:
                chain[row], chain[row - 1] = chain[row - 1], None
                taken += 1
    return taken


def walk(plan, bits_per_trit):
    """Every action of the plan, one at a time."""
    config, gemm, done = plan.config, plan.gemm, Counter()
    adders = add_tree(config.lanes, config.act_bits)
    acts, psums, weight_bits = set(), set(), Fraction(0)
    for tile in plan:
        tokens = range(tile.m0, tile.m0 + tile.tokens)
        features = range(tile.n0, tile.n0 + tile.features)
        psums.update((token, feature) for token in tokens for feature in features)
        for beat in range(tile.slices):
            inputs = range(beat * config.lanes, min((beat + 1) * config.lanes, gemm.k))
            acts.update((token, k) for token in tokens for k in inputs)
            for _row in range(config.rows):
                done["act_buffer_bits"] += config.lanes * config.act_bits
                for _hop in range(0, config.cols, config.cols_per_hop):
                    done["act_hop_bits"] += config.lanes * config.act_bits
                for _col in range(config.cols):
                    for _lane in range(config.lanes):
                        done["select"] += 1
                        done["trit_hop_bits"] += 2
                    for adder, times in adders.items():
                        done[f"add_int{adder}"] += times
                    done[f"add_int{config.psum_bits}"] += 1
            for _trit in range(config.cols * config.lanes):
                done["weight_buffer_bits"] += 2
                weight_bits += bits_per_trit
        for _col in range(config.cols):
            done["psum_hop_bits"] += drain_column(config.rows, tile.tokens) * config.psum_bits
    done["act_dram_bits"] = len(acts) * config.act_bits
    done["weight_dram_bits"] = round(weight_bits)
    done["psum_dram_bits"] = len(psums) * config.psum_bits
    return done


@st.composite
def plans(draw):
    hops, cols_per_hop = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    config = ArrayConfig(
        rows=draw(st.integers(1, 4)),
        cols=hops * cols_per_hop,
        lanes=draw(st.integers(1, 9)),
        act_bits=draw(st.sampled_from([2, 4, 8])),
        max_k=draw(st.sampled_from([64, 32768])),
        cols_per_hop=cols_per_hop,
    )
    m, n = draw(st.integers(1, 3 * config.rows)), draw(st.integers(1, 3 * config.cols))
    return OutputStationaryPlan(config, Gemm(m, draw(st.integers(1, 30)), n))


@pytest.mark.parametrize("bits", [Fraction(2), Fraction(8, 5)], ids=["trit2", "trit5"])
@settings(max_examples=60)
@given(plan=plans())
def test_array_counts_match_the_walk(plan, bits):
    assert dict(array_counts(plan, bits_per_trit=float(bits))) == walk(plan, bits)


@pytest.mark.parametrize("packing", PACKINGS.values(), ids=PACKINGS)
def test_weight_traffic_is_the_packed_size_of_the_stream(packing):
    plan = OutputStationaryPlan(ArrayConfig(rows=2, cols=4, lanes=5), Gemm(3, 40, 7))
    streams = [packing.pack(np.zeros((8, 40))) for _token_group in range(2)]
    traffic = array_counts(plan, bits_per_trit=packing.bits_per_trit)["weight_dram_bits"]
    assert traffic == 8 * sum(stream.size for stream in streams)


@pytest.mark.parametrize("dataflow", ["output-stationary", "weight-stationary"])
@pytest.mark.parametrize("gemm", [Gemm(1, 1, 1), Gemm(7, 40, 11), Gemm(6, 30, 8)])
def test_counters_of_the_core_count_the_beats_that_stream(dataflow, gemm):
    config = ArrayConfig(rows=2, cols=4, lanes=5, buffer_tokens=3, dataflow=dataflow)
    plan, rng = make_plan(config, gemm), np.random.default_rng(gemm.k)
    trits = rng.integers(-1, 1, (gemm.n, gemm.k), endpoint=True)
    acts = streams.slice_acts(plan, np.ones((gemm.m, gemm.k), int))
    beats_of = getattr(streams, f"{dataflow.replace('-', '_')}_beats")
    beats = beats_of(plan, acts, streams.slice_trits(plan, trits))
    streamed = np.array([beat["trits"] for beat in beats["trits"]])
    assert core_counters(plan, nonzero=int((trits != 0).sum())) == {
        "BUSY": len(beats["acts"]),
        "TRITS": streamed.size,
        "ZERO_TRITS": (streamed == 0).sum(),
        "ILLEGAL_BEATS": 0,
    }


@pytest.mark.parametrize("act_bits", [2, 8, 16])
@pytest.mark.parametrize("lanes", [1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 100, 1024])
def test_tree_adds_match_a_tree_built_by_pairing(lanes, act_bits):
    adds = tree_adds(lanes, act_bits)
    assert adds == add_tree(lanes, act_bits)
    assert sum(adds.values()) == lanes - 1


@pytest.mark.parametrize("lanes", [2, 4, 16, 1024])
def test_last_add_of_a_full_tree_is_as_wide_as_the_tree(lanes):
    config = ArrayConfig(rows=1, cols=1, lanes=lanes)
    assert max(tree_adds(lanes, config.act_bits)) == config.tree_bits


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("ternary", {"add_int8": 210}),
        ("int8", {"mul_int8": 210, "add_int32": 210}),
        ("fp16", {"mul_fp16": 210, "add_fp16": 210}),
    ],
)
def test_product_takes_one_add_a_mac_and_a_multiply_unless_ternary(dtype, expected):
    layer = Layer(name="x", gemm=Gemm(2, 3, 5), count=7, weight=dtype, act="int8")
    assert product_counts(layer) == expected


@pytest.mark.parametrize(("dtype", "expected"), [("ternary", {"mul_fp16": 112}), ("fp16", {})])
def test_scales_multiply_each_input_and_each_output_of_ternary_layers(dtype, expected):
    layer = Layer(name="x", gemm=Gemm(2, 3, 5), count=7, weight=dtype, act="int8")
    inputs, outputs = 7 * 2 * 3, 7 * 2 * 5
    assert sum(expected.values()) in (0, inputs + outputs)
    assert scale_counts(layer) == expected


@pytest.mark.parametrize(
    ("weight", "act", "expected"),
    [
        ("ternary", "fp16", {"add_fp16": 210}),
        ("int8", "fp16", {"mul_fp16": 210, "add_fp16": 210}),
        ("fp16", "int8", {"mul_fp16": 210, "add_fp16": 210}),
    ],
)
def test_an_fp16_operand_makes_a_product_of_integers_fp16(weight, act, expected):
    layer = Layer(name="x", gemm=Gemm(2, 3, 5), count=7, weight=weight, act=act)
    assert product_counts(layer) == expected


@pytest.mark.parametrize("kv", ["int8", "int4"])
def test_a_cached_element_is_dequantised_once_however_many_heads_read_it(kv):
    fields = {"name": "x", "gemm": Gemm(2, 3, 5), "weight": kv, "act": "fp16"}
    layer = Layer(**fields, count=8, stored=2, trained=False)
    assert scale_counts(layer) == {"mul_fp16": 2 * 3 * 5}
    assert product_counts(layer) == {"mul_fp16": layer.macs, "add_fp16": layer.macs}


DONE = Counter()


class Real:
    """A number that counts the multiplies and additions it takes part in; comparing is adding."""

    def __init__(self, value):
        self.value = value

    def __mul__(self, other):
        DONE["mul"] += 1
        return Real(self.value * getattr(other, "value", other))

    def __add__(self, other):
        DONE["add"] += 1
        return Real(self.value + getattr(other, "value", other))

    def __sub__(self, other):
        return self + -getattr(other, "value", other)

    def __gt__(self, other):
        DONE["add"] += 1
        return self.value > getattr(other, "value", other)

    def halved(self):
        """Exponents are free."""
        return Real(self.value / 2)


def seed(value):
    """What a table indexed by a few bits gives."""
    return Real(value * (1 + 2**-8))


def reciprocal(a):
    x = seed(1 / a.value)
    for _ in range(2):
        x = x * (Real(2.0) - a * x)
    return x


def rsqrt(a):
    x, half = seed(a.value**-0.5), a.halved()
    for _ in range(2):
        x = x * (Real(1.5) - half * x * x)
    return x


NODES = np.cos((np.arange(6) + 0.5) * np.pi / 6) / 2
POLYNOMIAL = np.polyfit(NODES, 2**NODES, 5)


def exp(x):
    scaled = x * (1 / math.log(2))
    whole = round(scaled.value)
    part = scaled - whole
    power = Real(POLYNOMIAL[0])
    for coefficient in POLYNOMIAL[1:]:
        power = power * part + coefficient
    return Real(power.value * 2.0**whole)


def sigmoid(x):
    return reciprocal(exp(Real(-x.value)) + 1)


def tanh(x):
    return Real(1.0) - Real(2 * reciprocal(exp(Real(2 * x.value)) + 1).value)


def norm(row, gain=1.5):
    squares = Real(0.0)
    for x in row:
        squares = squares + x * x
    scale = rsqrt(squares * (1 / len(row)) + 1e-6)
    return [x * scale * gain for x in row]


def softmax(row):
    most, total, powers = Real(-math.inf), Real(0.0), []
    for x in row:
        most = x if x > most else most
    for x in row:
        powers.append(exp(x - most))
        total = total + powers[-1]
    scale = reciprocal(total)
    return [power * scale for power in powers]


def gelu(x):
    inner = x * (x * x * (0.044715 * 0.7978845608) + 0.7978845608)
    return (tanh(inner) + 1) * x.halved()


FUNCTIONS = {
    "norm": (norm, lambda v: 1.5 * v / np.sqrt((v * v).mean() + 1e-6)),
    "softmax": (softmax, lambda v: np.exp(v) / np.exp(v).sum()),
    "sigmoid": (lambda row: [sigmoid(x) for x in row], lambda v: 1 / (1 + np.exp(-v))),
    "silu": (lambda row: [x * sigmoid(x) for x in row], lambda v: v / (1 + np.exp(-v))),
    "gelu": (
        lambda row: [gelu(x) for x in row],
        lambda v: v / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3))),
    ),
    "relu": (lambda row: [x if x > 0 else Real(0.0) for x in row], lambda v: np.maximum(v, 0)),
    "relu2": (
        lambda row: [y * y for y in (x if x > 0 else Real(0.0) for x in row)],
        lambda v: np.maximum(v, 0) ** 2,
    ),
    "softcap": (lambda row: [tanh(x * 0.02) * 50.0 for x in row], lambda v: 50 * np.tanh(v / 50)),
}


@pytest.mark.parametrize("kind", FUNCTIONS)
@pytest.mark.parametrize("width", [1, 2, 33])
def test_fp32_work_is_what_a_run_that_gets_it_right_takes(kind, width):
    compute, expected = FUNCTIONS[kind]
    values = np.random.default_rng(width).normal(size=(3, width)) * 3
    DONE.clear()
    got = [[x.value for x in compute([Real(value) for value in row])] for row in values]
    # FP32 numbers below 50, the cap, are up to 3.8e-6 apart.
    np.testing.assert_allclose(got, [expected(row) for row in values], rtol=1e-6, atol=4e-6)
    vector = Vector(name="x", kind=kind, rows=3, width=width, count=1)
    done = {"mul_fp32": DONE["mul"], "add_fp32": DONE["add"]}
    assert vector_counts(vector) == {action: n for action, n in done.items() if n}
    assert vector_counts(Vector(name="x", kind=kind, rows=3, width=width, count=7)) == (
        7 * vector_counts(vector)
    )


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("add", {"add_fp16": 30}),
        ("compare", {"add_fp16": 30}),
        ("multiply", {"mul_fp16": 30}),
        ("rotary", {"mul_fp16": 60, "add_fp16": 30}),
        # absmax and rounding of 30 elements, a reciprocal and a multiply of 6 rows
        ("quantise", {"add_fp16": 60, "mul_fp32": 30, "add_fp32": 12}),
        ("lookup", {}),
    ],
)
def test_other_vector_work_is_fp16(kind, expected):
    assert vector_counts(Vector(name="x", kind=kind, rows=3, width=5, count=2)) == expected


DOCS = Path(__file__).parents[2] / "docs" / "models.md"
ROW = re.compile(r"\| (\w+) \| (FP\d+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|")


def test_docs_state_the_arithmetic_of_every_kind():
    stated = {kind: Counter() for kind in VECTOR_KINDS}
    for kind, form, *numbers in ROW.findall(DOCS.read_text()):
        mul, add, row_mul, row_add = map(int, numbers)
        stated[kind][f"mul_{form.lower()}"] += 5 * mul + row_mul
        stated[kind][f"add_{form.lower()}"] += 5 * add + row_add
    for kind in VECTOR_KINDS:
        counts = vector_counts(Vector(name="x", kind=kind, rows=1, width=5, count=1))
        assert counts == {action: n for action, n in stated[kind].items() if n}


def test_every_kind_of_vector_work_is_tested():
    others = {"add", "compare", "multiply", "rotary", "quantise", "lookup"}
    assert set(VECTOR_KINDS) == {*FUNCTIONS, *others}


def test_arithmetic_of_llama_7b_decode_is_what_a_hand_computes():
    trace = build_trace(find_model("7b"), weight="ternary", phase="decode", context=512)
    fp16 = 134_217_728 + 131_072_000  # attention at 512 tokens, and the head
    # Each block has q, k, v, o of 4096 x 4096; gate and up to 11008, and down from it.
    scales = 32 * (4 * (4096 + 4096) + 3 * (4096 + 11008))
    counts = (product_counts(layer) + scale_counts(layer) for layer in trace)
    assert sum(counts, start=Counts()) == {
        "add_int8": 6_476_005_376,
        "add_fp16": fp16,
        "mul_fp16": fp16 + scales,
    }


def test_ternary_product_costs_71_times_less_at_the_papers_energies():
    energy_pj = {"add_int8": 0.007, "mul_fp16": 0.34, "add_fp16": 0.16}
    model = find_model("70b")
    spent = {}
    for weight in ("ternary", "fp16"):
        trace = build_trace(model, weight=weight, head=False)
        linears = [product_counts(layer) for layer in trace if layer.trained]
        spent[weight] = sum(n * energy_pj[a] for counts in linears for a, n in counts.items())
    assert spent["fp16"] / spent["ternary"] == pytest.approx(71.4, abs=0.05)


KEYS = st.sampled_from(["select", "add_int8", "mul_fp16"])
COUNTS = st.dictionaries(KEYS, st.integers(0, 10**12))


@given(a=COUNTS, b=COUNTS, factor=st.integers(0, 1000))
def test_counts_add_and_scale_like_counters(a, b, factor):
    left, right = Counts(**a), Counts(**b)
    total = left + factor * right
    assert set(total) == set(a) | set(b)
    for key in total:
        assert total[key] == a.get(key, 0) + factor * b.get(key, 0)
    assert (left, right) == (a, b)


def test_counts_print_in_one_order():
    assert repr(Counts(select=3, add_int8=1)) == "Counts(add_int8=1, select=3)"


def test_counts_cannot_be_changed():
    with pytest.raises(TypeError):
        Counts(select=1)["select"] = 2


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("gemm", [Gemm(1, 1, 1), Gemm(7, 10, 13), Gemm(4, 8, 6), Gemm(12, 5, 20)])
def test_traffic_is_what_the_tiles_move(rows, gemm):
    config = ArrayConfig(rows=rows, cols=6, lanes=4)
    plan = OutputStationaryPlan(config, gemm)
    weights = sum(t.slices * config.lanes * config.cols for t in plan)
    psums = sum(t.tokens * t.features for t in plan)
    acts = sum(t.tokens * gemm.k for t in plan if t.n0 == 0)
    assert dict(traffic_counts(plan, weight_bits=2, act_bits=8, psum_bits=24)) == {
        "weight_dram_bits": 2 * weights,
        "act_dram_bits": 8 * acts,
        "psum_dram_bits": 24 * psums,
    }
    exact = traffic_counts(plan, weight_bits=16, act_bits=16, psum_bits=16, padded=False)
    groups = len({t.m0 for t in plan})
    assert exact["weight_dram_bits"] == 16 * groups * gemm.k * gemm.n


def test_traffic_of_array_counts_is_traffic_counts():
    plan = OutputStationaryPlan(preset("base"), Gemm(20, 100, 50))
    traffic = traffic_counts(plan, weight_bits=1.6, act_bits=8, psum_bits=plan.config.psum_bits)
    counts = array_counts(plan, bits_per_trit=1.6)
    assert {a: counts[a] for a in traffic} == dict(traffic)
    assert [a for a in counts if a.endswith("_dram_bits")] == list(traffic)
