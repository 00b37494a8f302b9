"""energy_model.trace.file: traces out and in again, and one line for what is wrong."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tritloom.arch.errors import InputError
from tritloom.arch.files import write_text
from tritloom.arch.models.known import find_model
from tritloom.arch.models.shape import ModelShape
from tritloom.arch.models.trace import build_trace
from tritloom.arch.workload import KV_DTYPES, PHASES, VECTOR_KINDS, Gemm, Layer, Trace, Vector
from tritloom.energy_model.trace.file import (
    read_scalesim,
    read_trace,
    trace_scalesim,
    trace_yaml,
)

LLAMA_7B = find_model("7b")
MOE = ModelShape(
    name="moe",
    hidden=12,
    ffn=7,
    layers=4,
    heads=4,
    kv_heads=2,
    vocab=11,
    source="test",
    experts=8,
    experts_per_token=2,
    shared_ffn=3,
    dense_layers=1,
    window=5,
    windowed_layers=2,
    qk_norms=True,
    biases=("attn.q",),
)


def back(tmp_path, trace):
    path = tmp_path / "trace.yaml"
    write_text(path, trace_yaml(trace))
    assert list(tmp_path.iterdir()) == [path]
    return read_trace(path)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("kv", KV_DTYPES)
@pytest.mark.parametrize("model", [LLAMA_7B, MOE], ids=["7b", "moe"])
def test_yaml_comes_back_the_same(tmp_path, model, phase, kv):
    options = {"phase": phase, "kv": kv, "batch": 3, "context": 9, "head_weight": "int8"}
    trace = build_trace(model, weight="ternary", **options)
    assert back(tmp_path, trace) == trace


SIZES = st.integers(1, 1 << 60)
NAMES = st.text(min_size=1, max_size=8).filter(str.strip)
LAYERS = st.builds(
    Layer,
    name=NAMES,
    gemm=st.builds(Gemm, SIZES, SIZES, SIZES),
    count=SIZES,
    stored=st.none() | SIZES,
    weight=st.sampled_from(["int8", "fp16"]),
    act=st.sampled_from(["int8", "fp16"]),
    trained=st.booleans(),
)
VECTORS = st.builds(
    Vector,
    name=NAMES,
    kind=st.sampled_from(VECTOR_KINDS),
    rows=SIZES,
    width=SIZES,
    count=SIZES,
    stored=st.integers(0, 1 << 60),
)


@settings(max_examples=60)
@given(
    name=NAMES,
    phase=st.sampled_from(PHASES),
    tokens=SIZES,
    layers=st.lists(LAYERS, min_size=1, max_size=3, unique_by=lambda layer: layer.name),
    vectors=st.lists(VECTORS, max_size=3, unique_by=lambda vector: vector.name),
)
def test_any_trace_comes_back_the_same(tmp_path_factory, name, phase, tokens, layers, vectors):
    trace = Trace(
        name=name, phase=phase, tokens=tokens, layers=tuple(layers), vectors=tuple(vectors)
    )
    assert back(tmp_path_factory.mktemp("trace"), trace) == trace


ENTRY = "{name: a, m: 1, k: 2, n: 3, weight: fp16, act: fp16}"


def trace_text(*layers, head="name: t\nphase: decode\ntokens: 1\n", rest=""):
    lines = "".join(f"  - {layer}\n" for layer in layers or (ENTRY,))
    return f"{head}layers:\n{lines}{rest}"


def test_a_short_file_is_enough(tmp_path):
    path = tmp_path / "t.yaml"
    path.write_text(trace_text())
    layer = Layer(name="a", gemm=Gemm(1, 2, 3), count=1, weight="fp16", act="fp16")
    assert read_trace(path) == Trace(name="t", phase="decode", tokens=1, layers=(layer,))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (trace_text(head="name: t\ntokens: 1\n"), ", line 1 has no phase"),
        (trace_text(rest="extra: 1\n"), ", line 6 has an unknown key 'extra'"),
        (trace_text(head="name: 7\nphase: decode\ntokens: 1\n"), ", line 1: name must be text"),
        (
            trace_text(head="name: t\nphase: train\ntokens: 1\n"),
            ": phase must be one of prefill, decode, not 'train'",
        ),
        (
            trace_text(head="name: t\nphase: decode\ntokens: 0\n"),
            ", line 3: tokens must be at least 1, not 0",
        ),
        (
            trace_text(head="name: t\nphase: decode\ntokens: 1e3\n"),
            ", line 3: tokens must be an integer, not '1e3'",
        ),
        ("name: t\nphase: decode\ntokens: 1\nlayers: []\n", ": trace t has no layers"),
        (
            "name: t\nphase: decode\ntokens: 1\nlayers: 4\n",
            ", line 4: layers must be a list, not 4",
        ),
        (trace_text(ENTRY, "7"), ", line 4: layers[1] must be a mapping with text keys, not 7"),
        (trace_text(ENTRY, ENTRY), ": trace t has a twice"),
        (trace_text(ENTRY.replace("k: 2, ", "")), ", line 4: layers[0] has no k"),
        (
            trace_text(ENTRY, ENTRY.replace("k: 2", "k: -2")),
            ", line 6: layers[1].k must be at least 1, not -2",
        ),
        (
            trace_text(ENTRY.replace("m: 1", "m: 99999999999999999999")),
            ", line 5: layers[0].m must be at most 1152921504606846976, not 99999999999999999999",
        ),
        (trace_text(ENTRY.replace("m: 1", "m: true")), ", line 5: layers[0].m must be an integer"),
        (
            trace_text(ENTRY.replace("weight: fp16", "weight: int4")),
            ", line 5: layers[0]: weight dtype must be one of ('ternary', 'int8', 'fp16'), not",
        ),
        (trace_text(ENTRY.replace("a,", "a, kind: b,")), ", line 5: layers[0] has an unknown key"),
        (
            trace_text(ENTRY.replace("}", ", stationary: 0}")),
            ", line 5: layers[0].stationary must be true or false, not 0",
        ),
        (
            trace_text(ENTRY.replace("}", ", stored: 0}")),
            ", line 5: layers[0].stored must be at least 1, not 0",
        ),
        (
            trace_text(rest="vectors:\n  - {name: v, kind: gemm, rows: 1, width: 1}\n"),
            ", line 7: vectors[0]: kind must be one of norm, ",
        ),
        (
            trace_text(rest="vectors:\n  - {name: v, kind: norm, rows: 1, width: 0}\n"),
            ", line 7: vectors[0].width must be at least 1, not 0",
        ),
        (trace_text(rest="vectors: x\n"), ", line 6: vectors must be a list, not 'x'"),
        (trace_text("{"), " is not YAML in line "),
    ],
)
def test_a_wrong_yaml_is_named_with_file_line_and_key(tmp_path, text, message):
    path = tmp_path / "t.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=f"^{re.escape(f'{path}{message}')}"):
        read_trace(path)


def fenced(language):
    docs = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
    return re.search(rf"^```{language}\n(.*?)^```$", docs, re.MULTILINE | re.DOTALL)[1]


def test_the_examples_of_the_docs_are_read(tmp_path):
    (tmp_path / "t.yaml").write_text(fenced("yaml"))
    (tmp_path / "t.csv").write_text(fenced("text"))
    trace = read_trace(tmp_path / "t.yaml")
    assert [layer.stored for layer in trace] == [4, 8]
    assert [vector.kind for vector in trace.vectors] == ["norm"]
    assert read_scalesim(tmp_path / "t.csv", weight="ternary").layers == trace.layers[:1]


def scalesim_layers(path):
    """Reads a GEMM topology as SCALE-Sim does, and no better: name, M, N, K."""
    found = []
    with open(path) as file:
        for number, row in enumerate(file):
            if number == 0 or row.strip() == "":
                continue
            cells = row.strip().split(",")[:-1]
            assert len(cells) > 3
            found.append((cells[0].strip(), *(int(cell) for cell in cells[1:4])))
    return found


@pytest.mark.parametrize("phase", PHASES)
def test_scalesim_reads_what_is_written(tmp_path, phase):
    trace = build_trace(LLAMA_7B, weight="ternary", phase=phase, batch=2, context=100)
    path = tmp_path / "7b.csv"
    write_text(path, trace_scalesim(trace))
    found = scalesim_layers(path)
    tokens = 200 if phase == "prefill" else 2
    assert found[0] == ("attn.q*32", tokens, 4096, 4096)
    assert found[5] == ("ffn.up*32", tokens, 11008, 4096)  # N, the output features, before K
    assert found[7] == ("attn.qk*2048", 100 if phase == "prefill" else 1, 100, 128)
    macs = sum(int(n.partition("*")[2] or 1) * a * b * c for n, a, b, c in found)
    assert macs == trace.macs


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("kv", KV_DTYPES)
def test_csv_comes_back_with_the_number_formats_that_are_asked_for(tmp_path, phase, kv):
    options = {"phase": phase, "weight": "ternary", "kv": kv, "head_weight": "int8"}
    trace = build_trace(LLAMA_7B, batch=2, context=100, **options)
    path = tmp_path / "7b.csv"
    write_text(path, trace_scalesim(trace))
    found = read_scalesim(path, **options)
    assert (found.layers, found.tokens, found.name) == (trace.layers, trace.tokens, "7b")
    assert found.vectors == ()


def test_a_topology_of_scalesims_own_is_read(tmp_path):
    path = tmp_path / "gpt.csv"
    path.write_text("Layer,M,N,K,\r\n\r\nQKT,1024,512,64,\r\nPW-FF-L1, 1024 ,3072,1600,1:1,\r\n")
    trace = read_scalesim(path, weight="fp16", phase="prefill")
    assert [(x.name, x.gemm, x.count, x.weight, x.act) for x in trace] == [
        ("QKT", Gemm(1024, 64, 512), 1, "fp16", "fp16"),
        ("PW-FF-L1", Gemm(1024, 1600, 3072), 1, "fp16", "fp16"),
    ]
    assert trace.tokens == 1024


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", " has no layers"),
        ("Layer, M, N, K,\n", " has no layers"),
        ("a, 1, 2, 3,\n", ", line 1 must be the header 'Layer name, M, N, K,', not a, 1, 2, 3"),
        ("Layer name, IFMAP Height, IFMAP Width,\n", ", line 1 must be the header"),
        ("Layer, M, N, K,\na, 1, 2,\n", ", line 2 must hold a name, M, N and K, not a, 1, 2"),
        ("Layer, M, N, K,\n\na, 1, x, 3,\n", ", line 3: N must be an integer, not 'x'"),
        ("Layer, M, N, K,\na, 1, 2, 0,\n", ", line 2: K must be at least 1, not 0"),
        ("Layer, M, N, K,\na, -1, 2, 3,\n", ", line 2: M must be an integer, not '-1'"),
        ("Layer, M, N, K,\na, 1, 2.0, 3,\n", ", line 2: N must be an integer, not '2.0'"),
        ("Layer, M, N, K,\na, ٣, 2, 3,\n", ", line 2: M must be an integer, not '٣'"),
        ("Layer, M, N, K,\na*0, 1, 2, 3,\n", ", line 2: count must be at least 1, not 0"),
        ("Layer, M, N, K,\na, 1, 2, 3, 2:4,\n", ", line 2 has more than name, M, N and K: 2:4"),
        ("Layer, M, N, K,\n, 1, 2, 3,\n", ", line 2 has no name"),
        ("Layer, M, N, K,\na, 1, 2, 3,\na, 1, 2, 3,\n", ", line 3 has a again, after line 2"),
        (f"Layer, M, N, K,\na, {'9' * 5000}, 2, 3,\n", ", line 2: M must be an integer, not '999"),
    ],
)
def test_a_wrong_csv_is_named_with_file_and_line(tmp_path, text, message):
    path = tmp_path / "t.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=f"^{re.escape(f'{path}{message}')}"):
        read_scalesim(path, weight="fp16")


@pytest.mark.parametrize("name", ["a,b", "a\nb", " a", "a*3"])
def test_a_name_that_would_not_come_back_is_not_written_to_a_csv(name):
    layer = Layer(name=name, gemm=Gemm(1, 2, 3), count=1, weight="fp16", act="fp16")
    trace = Trace(name="t", phase="decode", tokens=1, layers=(layer,))
    with pytest.raises(InputError, match=f"^layer name {re.escape(repr(name))} cannot be written"):
        trace_scalesim(trace)
