"""arch.models.trace: layers and vector work of a pass, against figures computed by hand."""

import re
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tritloom.arch.errors import InputError
from tritloom.arch.models.known import find_model
from tritloom.arch.models.shape import ModelShape
from tritloom.arch.models.trace import build_trace
from tritloom.arch.workload import Gemm, Layer

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
    assert {name for name, layer in layers.items() if not layer.trained} == products
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


# Mixtral 8x7B, but for its number of blocks.
MOE = shape(
    hidden=4096,
    ffn=14336,
    layers=3,
    heads=32,
    kv_heads=8,
    vocab=32000,
    experts=8,
    experts_per_token=2,
)


def test_heads_may_be_wider_than_hidden_by_heads():
    model = shape(heads=4, kv_heads=2, head_dim=5)  # hidden is 12
    assert {name: (k, n) for name, k, n in model.linears() if name.startswith("attn")} == {
        "attn.q": (12, 20),
        "attn.k": (12, 10),
        "attn.v": (12, 10),
        "attn.o": (20, 12),
    }
    layers = by_name(build_trace(model, weight="fp16", phase="decode", context=9))
    assert (layers["attn.qk"].gemm, layers["attn.av"].gemm) == (Gemm(1, 5, 9), Gemm(1, 9, 5))


def dealt(assignments, experts):
    """Assignments of each expert when they are dealt out one by one."""
    got = [0] * experts
    for i in range(assignments):
        got[i % experts] += 1
    return got


@settings(max_examples=80)
@given(
    experts=st.integers(1, 9),
    per_token=st.integers(1, 9),
    batch=st.integers(1, 12),
    dense=st.integers(0, 2),
    shared=st.sampled_from([0, 6]),
)
def test_tokens_are_dealt_out_to_experts(experts, per_token, batch, dense, shared):
    model = shape(
        layers=3,
        experts=experts,
        experts_per_token=min(per_token, experts),
        expert_ffn=5,
        shared_ffn=shared,
        dense_layers=dense,
    )
    trace = build_trace(model, weight="ternary", phase="decode", batch=batch, context=4)
    layers = by_name(trace)
    got = dealt(batch * model.experts_per_token, experts)
    for name, k, n in (("gate", 12, 5), ("up", 12, 5), ("down", 5, 12)):
        routed = [x for x in trace if x.name.startswith(f"expert.{name}")]
        used = Counter(m for m in got if m)
        assert {x.gemm: x.count for x in routed} == {
            Gemm(m, k, n): (3 - dense) * count for m, count in used.items()
        }
        assert sum(x.stored for x in routed) == (3 - dense) * experts
        assert sum(x.touched for x in routed) == (3 - dense) * sum(used.values())
        assert routed[0].name == f"expert.{name}"
    assert (layers["router"].gemm, layers["router"].count) == (Gemm(batch, 12, experts), 3 - dense)
    assert (layers["router"].weight, layers["router"].act) == ("fp16", "fp16")
    assert ("ffn.up" in layers) is (dense > 0)
    assert ("shared.up" in layers) is (shared > 0)
    if dense:
        assert (layers["ffn.up"].gemm, layers["ffn.up"].count) == (Gemm(batch, 12, 7), dense)
    if shared:
        assert (layers["shared.up"].gemm, layers["shared.up"].count) == (
            Gemm(batch, 12, 6),
            3 - dense,
        )
        assert layers["shared.router"].gemm == Gemm(batch, 12, 1)


def test_a_token_takes_two_of_eight_experts_and_memory_all():
    layers = by_name(build_trace(MOE, weight="ternary", phase="decode", context=512))
    up = layers["expert.up"]
    assert (up.gemm, up.count, up.touched, up.stored) == (Gemm(1, 4096, 14336), 6, 6, 24)
    assert up.macs == 3 * 2 * 4096 * 14336
    assert "expert.up_rest" not in layers


def test_a_prompt_of_odd_length_gives_some_experts_one_token_more():
    layers = by_name(build_trace(MOE, weight="ternary", context=101))  # 202 = 2 x 26 + 6 x 25
    assert (layers["expert.up"].gemm.m, layers["expert.up"].count) == (26, 6)
    assert (layers["expert.up_rest"].gemm.m, layers["expert.up_rest"].count) == (25, 18)


def scores(model, queries, context):
    """Query-key pairs of one sequence, one block, head and query after the other."""
    pairs = 0
    for block in range(model.layers):
        seen = min(model.window, context) if block < model.windowed_layers else context
        for _head in range(model.heads):
            for _query in range(queries):
                pairs += seen
    return pairs


@pytest.mark.parametrize("phase", ["prefill", "decode"])
@pytest.mark.parametrize("context", [1, 4, 5, 40])
@pytest.mark.parametrize("windowed", [1, 5, 6])
def test_a_window_bounds_what_attention_meets_and_what_is_cached(phase, context, windowed):
    model = shape(layers=6, kv_heads=2, window=5, windowed_layers=windowed)
    trace = build_trace(model, weight="ternary", phase=phase, context=context, batch=2)
    attention = [x for x in trace if not x.trained]
    queries = context if phase == "prefill" else 1
    assert sum(x.macs for x in attention) == 2 * 2 * scores(model, queries, context) * 3
    cached = windowed * min(5, context) + (6 - windowed) * context
    assert sum(x.stored_elements for x in attention) == 2 * 2 * cached * model.kv_features
    names = {x.name for x in attention}
    assert ("attn.qk" in names) is (windowed < 6)
    assert {"attn.qk_window", "attn.av_window"} <= names


def test_query_heads_share_stored_keys():
    layers = by_name(build_trace(GROUPED, weight="ternary", phase="decode", context=10, batch=3))
    qk = layers["attn.qk"]
    assert (qk.count, qk.stored, qk.touched) == (80 * 64 * 3, 80 * 8 * 3, 80 * 8 * 3)
    assert qk.stored_elements == 80 * 3 * 10 * 1024


@pytest.mark.parametrize("kv", ["fp16", "int8", "int4"])
def test_cache_is_of_its_dtype_and_meets_fp16(kv):
    layers = by_name(build_trace(LLAMA_7B, weight="ternary", kv=kv))
    assert {layers[name].weight for name in ("attn.qk", "attn.av")} == {kv}
    assert {layers[name].act for name in ("attn.qk", "attn.av")} == {"fp16"}
    assert layers["attn.qk"].dequantised is (kv != "fp16")
    assert not layers["attn.qk"].scaled


@pytest.mark.parametrize(
    ("head_weight", "act", "scaled"),
    [("fp16", "fp16", False), ("int8", "int8", True), ("ternary", "int8", True)],
)
def test_head_is_of_its_dtype(head_weight, act, scaled):
    trace = build_trace(LLAMA_7B, weight="fp16", head_weight=head_weight)
    head = by_name(trace)["lm_head"]
    assert (head.weight, head.act, head.scaled) == (head_weight, act, scaled)
    assert ("lm_head.quantise" in {v.name for v in trace.vectors}) is scaled


def test_context_of_128k_and_of_16m_is_within_reach_and_more_is_not():
    for context in (1 << 17, 1 << 24):
        layers = by_name(build_trace(LLAMA_7B, weight="ternary", phase="decode", context=context))
        assert layers["attn.qk"].gemm == Gemm(1, 128, context)
    with rejects("context must be at most 16777216, not 16777217"):
        build_trace(LLAMA_7B, weight="ternary", context=(1 << 24) + 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kv": "ternary"}, "kv must be one of fp16, int8, int4, not 'ternary'"),
        ({"head_weight": "int4"}, "head_weight must be one of ternary, int8, fp16, not 'int4'"),
    ],
)
def test_bad_dtype_is_named_with_its_value(options, message):
    with rejects(message):
        build_trace(LLAMA_7B, **{"weight": "ternary"} | options)


EVERYTHING = shape(
    kv_heads=2,
    head_dim=5,
    experts=3,
    experts_per_token=2,
    expert_ffn=8,
    shared_ffn=9,
    dense_layers=1,
    biases=("attn.q", "attn.k", "ffn.down"),
    capped=("attn.qk", "lm_head"),
    window=2,
    windowed_layers=1,
    post_norms=True,
    qk_norms=True,
    sub_norms=True,
    embedding_scaled=True,
)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_a_trace_stores_every_parameter_once(tied, phase):
    model = replace(EVERYTHING, tied=tied)
    trace = build_trace(model, weight="ternary", phase=phase, context=7, batch=3)
    stored = sum(x.stored_elements for x in trace if x.trained)
    stored += sum(x.stored for x in trace.vectors)
    assert stored == model.parameters
    attention = 12 * 20 + 2 * 12 * 10 + 20 * 12 + 20 + 10  # weights, biases of q and k
    norms = 4 * 12 + 2 * 5 + 20
    dense = 3 * 12 * 7 + 12 + 7  # with the bias and the sub-norm of down
    experts = 12 * 3 + 3 * (3 * 12 * 8 + 8) + 12 + 3 * 12 * 9 + 9
    head = 12 + 11 * 12 * (1 if tied else 2)
    assert model.parameters == 2 * (attention + norms) + dense + experts + head


@pytest.mark.parametrize("head_weight", ["int8", "ternary"])
def test_a_quantised_head_leaves_the_tied_table_in_memory(head_weight):
    model = shape(tied=True)
    trace = build_trace(model, weight="ternary", head_weight=head_weight)
    assert {v.name: v.stored for v in trace.vectors}["embedding"] == 11 * 12


def test_a_tied_table_is_in_memory_without_the_head_too():
    trace = build_trace(shape(tied=True), weight="ternary", head=False)
    assert {v.name: v.stored for v in trace.vectors}["embedding"] == 11 * 12
    assert "head.norm" not in {v.name for v in trace.vectors}


def sizes(trace):
    found = {v.name: (v.kind, v.count, v.elements) for v in trace.vectors}
    assert len(found) == len(trace.vectors)
    return found


def test_vector_work_of_a_bitnet_block_is_what_a_hand_finds():
    model = shape(kv_heads=2, sub_norms=True, activation="relu2")  # head_dim 3, 2 blocks
    trace = build_trace(model, weight="ternary", phase="decode", context=10, batch=3, kv="int8")
    assert sizes(trace) == {
        "attn.norm": ("norm", 2, 36),
        "ffn.norm": ("norm", 2, 36),
        "attn.sub_norm": ("norm", 2, 36),
        "ffn.sub_norm": ("norm", 2, 21),
        "attn.rotary": ("rotary", 2, 3 * (12 + 6)),
        "attn.kv_quantise": ("quantise", 2, 3 * 12),
        "attn.kv_scale": ("multiply", 2, 3 * 12),
        "attn.softmax": ("softmax", 2 * 3 * 4, 10),
        "attn.quantise": ("quantise", 2, 36),
        "attn.o.quantise": ("quantise", 2, 36),
        "ffn.quantise": ("quantise", 2, 36),
        "ffn.down.quantise": ("quantise", 2, 21),
        "ffn.activation": ("relu2", 2, 21),
        "ffn.product": ("multiply", 2, 21),
        "residual": ("add", 4, 36),
        "head.norm": ("norm", 1, 36),
        "embedding": ("lookup", 1, 36),
    }


def test_vector_work_of_everything_else_is_what_a_hand_finds():
    trace = build_trace(EVERYTHING, weight="fp16", phase="prefill", context=7, batch=3)
    found = sizes(trace)
    expected = {
        "embedding.scale": ("multiply", 1, 21 * 12),
        "attn.post_norm": ("norm", 2, 21 * 12),
        "attn.q_norm": ("norm", 2, 21 * 20),
        "attn.k_norm": ("norm", 2, 21 * 10),
        "expert.sub_norm": ("norm", 1, 42 * 8),
        "attn.q.bias": ("add", 2, 21 * 20),
        "ffn.down.bias": ("add", 1, 21 * 12),
        "attn.softmax": ("softmax", 3 * 4, 7 * 7),
        "attn.softmax_window": ("softmax", 3 * 4, 7 * 2),
        "attn.qk_window.cap": ("softcap", 3 * 4, 7 * 2),
        "router.softmax": ("softmax", 1, 21 * 3),
        "router.top_k": ("compare", 1, 42 * 3),
        "shared.router.sigmoid": ("sigmoid", 1, 21),
        "expert.activation": ("silu", 1, 42 * 8),
        "shared.product": ("multiply", 1, 21 * 9),
        "expert.scale": ("multiply", 1, 63 * 12),
        "expert.sum": ("add", 1, 42 * 12),
        "lm_head.cap": ("softcap", 1, 3 * 11),
    }
    assert {name: found[name] for name in expected} == expected
    assert not any("quantise" in name for name in found)
