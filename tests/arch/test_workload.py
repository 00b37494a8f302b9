"""arch.workload: what a Gemm, a layer, vector work and a trace may be."""

import re

import pytest

from tritloom.arch.errors import InputError
from tritloom.arch.workload import Gemm, Layer, Trace, Vector


def layer(**changes):
    fields = {
        "name": "x",
        "gemm": Gemm(2, 3, 5),
        "count": 7,
        "weight": "ternary",
        "act": "int8",
    }
    return Layer(**fields | changes)


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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": 0}, "rows must be at least 1, not 0"),
        ({"stored": -1}, "stored must be at least 0, not -1"),
        ({"kind": "gemm"}, "kind must be one of norm, softmax, "),
    ],
)
def test_bad_vector_is_rejected(changes, message):
    fields = {"name": "x", "kind": "norm", "rows": 1, "width": 2, "count": 3}
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        Vector(**fields | changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": ()}, "trace t has no layers"),
        ({"layers": (layer(), layer())}, "trace t has x twice"),
        ({"phase": "train"}, "phase must be one of prefill, decode, not 'train'"),
        ({"tokens": 0}, "tokens must be at least 1, not 0"),
    ],
)
def test_bad_trace_is_rejected(changes, message):
    fields = {"name": "t", "phase": "decode", "tokens": 1, "layers": (layer(),)}
    with rejects(message):
        Trace(**fields | changes)


def test_only_a_cache_may_be_int4():
    message = "weight dtype must be one of ('fp16', 'int8', 'int4'), not ternary"
    with rejects(message):
        layer(trained=False)
    assert layer(weight="int4", act="fp16", trained=False).dequantised
