"""arch.models.shape: what the dimensions of a model may be, and what follows from them."""

import re

import pytest

from tritloom.arch.errors import InputError
from tritloom.arch.models.shape import ModelShape

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


def rejects(message):
    return pytest.raises(InputError, match=f"^{re.escape(message)}$")


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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"head_dim": 0}, "head_dim must be at least 1, not 0"),
        ({"experts": -1}, "experts must be at least 0, not -1"),
        ({"experts": 4}, "experts_per_token must be at least 1, not 0"),
        ({"experts": 4, "experts_per_token": 5}, "experts_per_token must be at most 4, not 5"),
        ({"experts_per_token": 1}, "experts_per_token must be at most 0, not 1"),
        ({"dense_layers": 1}, "dense_layers must be at least 2, not 1"),
        ({"window": 0}, "window must be at least 1, not 0"),
        ({"windowed_layers": 1}, "windowed_layers must be at most 0, not 1"),
        ({"window": 4, "windowed_layers": 3}, "windowed_layers must be at most 2, not 3"),
        ({"max_context": "2k"}, "max_context must be an integer, not '2k'"),
        ({"weight": "int8"}, "weight must be ternary or fp16, not 'int8'"),
        ({"activation": "elu"}, "activation must be one of silu, gelu, relu, relu2, not 'elu'"),
        (
            {"biases": ("attn.x",)},
            "biases must be among attn.q, attn.k, attn.v, attn.o, ffn.gate, ffn.up, ffn.down, "
            "not 'attn.x'",
        ),
        ({"capped": ("x",)}, "capped must be among attn.qk, lm_head, not 'x'"),
    ],
)
def test_bad_model_is_rejected(changes, message):
    with rejects(message):
        shape(**changes)


def sizes(trace):
    found = {v.name: (v.kind, v.count, v.elements) for v in trace.vectors}
    assert len(found) == len(trace.vectors)
    return found
