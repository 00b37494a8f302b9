import re

import pytest

from arch.errors import InputError
from arch.models import find_model
from arch.workload import Gemm, Layer, ModelShape, build_trace

LLAMA_7B = find_model("7b")
# LLaMA-2-70B (arXiv 2307.09288): grouped-query attention, 8 key-value heads of 128 features.
GROUPED = ModelShape(
    name="llama2-70b",
    hidden=8192,
    ffn=28672,
    layers=80,
    heads=64,
    kv_heads=8,
    vocab=32000,
    source="arXiv 2307.09288",
)


def shape(**changes):
    fields = {
        "name": "x",
        "hidden": 12,
        "ffn": 7,
        "layers": 2,
        "heads": 4,
        "vocab": 11,
        "source": "test",
    }
    return ModelShape(**fields | changes)


def layer(**changes):
    fields = {
        "name": "x",
        "gemm": Gemm(2, 3, 5),
        "count": 7,
        "weight": "ternary",
        "act": "int8",
    }
    return Layer(**fields | changes)


def by_name(trace):
    layers = {layer.name: layer for layer in trace}
    assert len(layers) == len(trace.layers)
    return layers


def rejects(message):
    return pytest.raises(InputError, match=f"^{re.escape(message)}$")


@pytest.mark.parametrize("value", [0, -1, 1.0, "4", None, True])
@pytest.mark.parametrize("name", ["m", "k", "n"])
def test_bad_gemm_dimension_is_named_with_its_value(name, value):
    problem = "at least 1" if type(value) is int else "an integer"
    with rejects(f"{name} must be {problem}, not {value!r}"):
        Gemm(**{"m": 1, "k": 1, "n": 1} | {name: value})


def test_gemm_macs_are_the_product_of_its_sides():
    assert Gemm(3, 5, 7).macs == 105


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"count": 0}, "count must be at least 1, not 0"),
        ({"count": 1.5}, "count must be an integer, not 1.5"),
        (
            {"weight": "int4"},
            "weight dtype must be one of ('ternary', 'int8', 'fp16'), not int4",
        ),
        ({"act": None}, "act dtype must be one of ('ternary', 'int8', 'fp16'), not None"),
    ],
)
def test_bad_layer_is_rejected(changes, message):
    with rejects(message):
        layer(**changes)


def test_layer_macs_count_every_occurrence():
    assert layer().macs == 7 * 2 * 3 * 5


@pytest.mark.parametrize(("weight", "scaled"), [("ternary", True), ("fp16", False)])
def test_only_ternary_layers_carry_scales(weight, scaled):
    assert layer(weight=weight).scaled is scaled


@pytest.mark.parametrize("name", ["hidden", "ffn", "layers", "heads", "kv_heads", "vocab"])
@pytest.mark.parametrize("value", [0, -8, 2.5, "8"])
def test_bad_model_dimension_is_named_with_its_value(name, value):
    problem = "at least 1" if type(value) is int else "an integer"
    with rejects(f"{name} must be {problem}, not {value!r}"):
        shape(**{name: value})


def test_heads_must_divide_hidden():
    with rejects("heads must divide hidden = 12, not 5"):
        shape(heads=5)


def test_kv_heads_must_divide_heads():
    with rejects("kv_heads must divide heads = 4, not 3"):
        shape(kv_heads=3)


def test_one_kv_head_a_head_is_the_default():
    assert shape().kv_heads == 4
    assert shape().kv_features == 12


def test_grouped_query_attention_narrows_keys_and_values_alone():
    sizes = {name: (k, n) for name, k, n in GROUPED.linears()}
    assert sizes == {
        "attn.q": (8192, 8192),
        "attn.k": (8192, 1024),
        "attn.v": (8192, 1024),
        "attn.o": (8192, 8192),
        "ffn.gate": (8192, 28672),
        "ffn.up": (8192, 28672),
        "ffn.down": (28672, 8192),
    }


def test_grouped_model_has_the_published_number_of_parameters():
    norms = (2 * 80 + 1) * 8192
    assert GROUPED.block_weights + GROUPED.embedding_weights + norms == 68_976_648_192


def test_ungated_block_has_no_gate():
    assert [name for name, _, _ in shape(gated=False).linears()] == [
        "attn.q",
        "attn.k",
        "attn.v",
        "attn.o",
        "ffn.up",
        "ffn.down",
    ]


def test_decode_of_llama_7b_takes_the_macs_computed_by_hand():
    layers = by_name(build_trace(LLAMA_7B, weight="ternary", phase="decode", context=512))
    assert layers["attn.q"].gemm == Gemm(1, 4096, 4096)
    assert layers["ffn.down"].gemm == Gemm(1, 11008, 4096)
    assert {layers[name].count for name, _, _ in LLAMA_7B.linears()} == {32}
    linears = sum(layers[name].macs for name, _, _ in LLAMA_7B.linears())
    assert linears == 6_476_005_376
    assert layers["lm_head"].macs == 131_072_000
    assert linears + layers["lm_head"].macs == 6_607_077_376
    # 32 blocks of 32 heads: one query of 128 features against 512 keys, then 512 values.
    assert layers["attn.qk"].gemm == Gemm(1, 128, 512)
    assert layers["attn.av"].gemm == Gemm(1, 512, 128)
    assert layers["attn.qk"].count == layers["attn.av"].count == 1024
    assert layers["attn.qk"].macs + layers["attn.av"].macs == 134_217_728


def test_prefill_of_llama_7b_takes_the_macs_computed_by_hand():
    trace = build_trace(LLAMA_7B, weight="ternary", phase="prefill", context=512)
    layers = by_name(trace)
    assert trace.tokens == 512
    assert sum(layers[n].macs for n, _, _ in LLAMA_7B.linears()) == 512 * 6_476_005_376
    assert layers["attn.qk"].gemm == Gemm(512, 128, 512)
    assert layers["attn.qk"].macs == layers["attn.av"].macs == 34_359_738_368
    assert layers["lm_head"].gemm == Gemm(1, 4096, 32000)
    assert trace.macs == 512 * 6_476_005_376 + 2 * 34_359_738_368 + 131_072_000


@pytest.mark.parametrize("phase", ["prefill", "decode"])
@pytest.mark.parametrize("batch", [2, 7])
def test_batch_multiplies_tokens_and_macs(phase, batch):
    one = build_trace(LLAMA_7B, weight="fp16", phase=phase, context=100)
    many = build_trace(LLAMA_7B, weight="fp16", phase=phase, context=100, batch=batch)
    assert many.tokens == batch * one.tokens
    for single, several in zip(one, many, strict=True):
        assert several.macs == batch * single.macs
    # Weights are shared by the batch, so it widens m; every sequence has its own attention.
    assert by_name(many)["ffn.up"].gemm.m == batch * by_name(one)["ffn.up"].gemm.m
    assert by_name(many)["ffn.up"].count == by_name(one)["ffn.up"].count
    assert by_name(many)["attn.qk"].gemm == by_name(one)["attn.qk"].gemm


def test_attention_of_grouped_queries_runs_once_a_query_head():
    layers = by_name(build_trace(GROUPED, weight="ternary", phase="decode", context=10, batch=3))
    assert layers["attn.qk"].gemm == Gemm(1, 128, 10)
    assert layers["attn.qk"].count == 80 * 64 * 3
    assert layers["attn.k"].gemm == Gemm(3, 8192, 1024)


def test_only_weights_are_stationary_and_only_blocks_are_ternary():
    layers = by_name(build_trace(LLAMA_7B, weight="ternary"))
    products = {"attn.qk", "attn.av"}
    assert {name for name, layer in layers.items() if not layer.stationary} == products
    fp16 = products | {"lm_head"}
    assert {name for name, layer in layers.items() if layer.weight == "fp16"} == fp16
    assert {layer.act for name, layer in layers.items() if name not in fp16} == {"int8"}
    assert {layers[name].act for name in fp16} == {"fp16"}


def test_fp16_trace_has_the_same_products_without_integers():
    ternary = build_trace(LLAMA_7B, weight="ternary")
    fp16 = build_trace(LLAMA_7B, weight="fp16")
    assert [(x.name, x.gemm, x.count) for x in ternary] == [(x.name, x.gemm, x.count) for x in fp16]
    assert {(x.weight, x.act) for x in fp16} == {("fp16", "fp16")}


def test_head_may_be_left_out():
    assert "lm_head" not in by_name(build_trace(LLAMA_7B, weight="fp16", head=False))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch": 0}, "batch must be at least 1, not 0"),
        ({"batch": 1.5}, "batch must be an integer, not 1.5"),
        ({"context": -512}, "context must be at least 1, not -512"),
        ({"context": "512"}, "context must be an integer, not '512'"),
        ({"phase": "train"}, "phase must be one of prefill, decode, not 'train'"),
        ({"phase": None}, "phase must be one of prefill, decode, not None"),
        ({"weight": "int8"}, "weight must be ternary or fp16, not 'int8'"),
    ],
)
def test_bad_trace_option_is_named_with_its_value(options, message):
    with rejects(message):
        build_trace(LLAMA_7B, **{"weight": "ternary"} | options)
