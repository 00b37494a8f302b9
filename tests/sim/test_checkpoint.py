"""Checkpoints of Hugging Face's kind, and plain matrices."""

import contextlib
import json
import os
import re
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tritloom.arch.errors import InputError
from tritloom.sim.checkpoints.huggingface import unpack_rows
from tritloom.sim.checkpoints.read import open_checkpoint
from tritloom.sim.golden.quantise import absmax_acts, absmean_trits

BF16 = ml_dtypes.bfloat16
Q = "model.layers.1.self_attn.q_proj"


def rejects_in_one_line(*parts):
    pattern = ".*".join(map(re.escape, parts))
    return pytest.raises(InputError, match=f"\\A[^\n]*{pattern}[^\n]*\\Z")


def assert_is(checkpoint, model, *, scales=None):
    assert list(checkpoint.matrices) == list(model.trits)
    for name, matrix in checkpoint.matrices.items():
        found = matrix.read()
        assert found.values.dtype == np.int8
        assert (matrix.n, matrix.k) == model.trits[name].shape
        assert np.array_equal(found.values, model.trits[name])
        assert found.scale == (scales or model.scales)[name]
    assert set(checkpoint.floats) == set(model.floats)
    for name, tensor in checkpoint.floats.items():
        whole = np.concatenate([chunk.ravel() for chunk in tensor.chunks()])
        assert tensor.shape == model.floats[name].shape
        assert whole.nbytes == tensor.nbytes
        assert np.array_equal(whole.astype(np.float32), model.floats[name].ravel())


# Packed checkpoints.


def test_packed_folder_gives_trits_scales_and_floats(tmp_path, tiny):
    checkpoint = open_checkpoint(tiny.write_hf(tmp_path / "m"))
    assert_is(checkpoint, tiny)
    assert checkpoint.config == tiny.config
    assert {tensor.dtype for tensor in checkpoint.floats.values()} == {"BF16"}
    assert checkpoint.matrices["layers.1.attn.q"].tensor == f"{Q}.weight"


def test_weight_file_of_a_folder_may_be_named_itself(tmp_path, tiny):
    folder = tiny.write_hf(tmp_path / "m", name="other.safetensors")
    assert_is(open_checkpoint(folder / "other.safetensors"), tiny)


def shard(folder, tensors, *, move=None):
    """Write tensors to three files with an index, which may lie about one of them."""
    names = sorted(tensors)
    index = {}
    for i in range(3):
        file = f"model-{i + 1:05}-of-00003.safetensors"
        part = {name: tensors[name] for name in names[i::3]}
        save_file(part, folder / file)
        index |= dict.fromkeys(part, file)
    if move:
        index[move] = "model-00002-of-00003.safetensors"
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))


def test_sharded_folder_is_read(tmp_path, tiny):
    folder = tiny.write_hf(tmp_path / "m")
    (folder / "model.safetensors").unlink()
    shard(folder, tiny.hf_tensors())
    checkpoint = open_checkpoint(folder)
    assert_is(checkpoint, tiny)
    assert len(checkpoint.files) == 4


def test_index_that_lies_is_refused(tmp_path, tiny):
    folder = tiny.write_hf(tmp_path / "m")
    first = sorted(tiny.hf_tensors())[0]
    shard(folder, tiny.hf_tensors(), move=first)
    with rejects_in_one_line("00001-of-00003", "has the tensor", first, "unlike"):
        open_checkpoint(folder)


@pytest.mark.parametrize("name", ["../m/model.safetensors", "/etc/passwd", 3, "", "a\0b"])
def test_index_names_files_of_its_folder_only(tmp_path, tiny, name):
    folder = tiny.write_hf(tmp_path / "m")
    index = {"weight_map": {"model.norm.weight": name}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with rejects_in_one_line("index.json"):
        open_checkpoint(folder)


@pytest.mark.parametrize(
    ("quantisation", "model_type", "divides"),
    [
        ({"linear_class": "autobitlinear"}, "bitnet", False),
        ({"linear_class": "bitlinear"}, "bitnet", True),
        ({}, "bitnet", False),
        (None, "bitnet", False),
        ({"linear_class": "autobitlinear", "quant_method": "bitnet"}, "llama", False),
        ({"linear_class": "bitlinear", "quant_method": "bitnet"}, "llama", True),
        ({"quant_method": "bitnet"}, "llama", True),
    ],
    ids=str,
)
def test_sense_of_the_scale_follows_the_config(tmp_path, tiny, quantisation, model_type, divides):
    config = tiny.config | {"quantization_config": quantisation, "model_type": model_type}
    config["architectures"] = ["BitnetForCausalLM"]
    scales = {n: np.float32(1) / s for n, s in tiny.scales.items()} if divides else tiny.scales
    assert_is(open_checkpoint(tiny.write_hf(tmp_path / "m", config=config)), tiny, scales=scales)


def test_unpacked_trits_with_a_scale_are_kept(tmp_path, tiny):
    tensors = tiny.hf_tensors()
    tensors[f"{Q}.weight"] = tiny.trits["layers.1.attn.q"].astype(BF16)
    assert_is(open_checkpoint(tiny.write_hf(tmp_path / "m", tensors)), tiny)
    tensors[f"{Q}.weight"][1, 2] = 0.5
    with rejects_in_one_line(f"{Q}.weight", "other values than -1, 0 and +1"):
        open_checkpoint(tiny.write_hf(tmp_path / "m", tensors)).matrices["layers.1.attn.q"].read()


@pytest.mark.parametrize("dtype", [np.float32, np.float16, BF16])
def test_ordinary_weights_are_quantised_by_absmean(tmp_path, tiny, dtype):
    tensors = tiny.hf_tensors()
    weights = np.random.default_rng(1).standard_normal((8, 8)).astype(dtype)
    tensors[f"{Q}.weight"] = weights
    del tensors[f"{Q}.weight_scale"]
    found = open_checkpoint(tiny.write_hf(tmp_path / "m", tensors)).matrices["layers.1.attn.q"]
    mean = np.abs(weights.astype(np.float64)).mean()
    assert np.array_equal(found.read().values, np.clip(np.rint(weights / mean), -1, 1))
    assert found.read().scale == pytest.approx(mean, rel=1e-6)


def test_older_names_of_norms_and_derived_tensors_are_known(tmp_path, tiny):
    tensors = {
        name.replace("attn_sub_norm", "inner_attn_ln").replace("ffn_sub_norm", "ffn_layernorm"): t
        for name, t in tiny.hf_tensors().items()
    }
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = np.ones(2, np.float32)
    # Tied heads are the embedding, also where they are stored.
    tensors["lm_head.weight"] = np.ones((5, 8), np.float32)
    assert_is(open_checkpoint(tiny.write_hf(tmp_path / "m", tensors)), tiny)


def test_vocabulary_of_characters_is_read(tmp_path, tiny):
    folder = tiny.write_hf(tmp_path / "m")
    assert open_checkpoint(folder).vocabulary is None
    (folder / "vocabulary.json").write_text(json.dumps(["a", "é", "\n", '"', "\ud83d\ude00"]))
    assert open_checkpoint(folder).vocabulary == ["a", "é", "\n", '"', "\N{GRINNING FACE}"]


@pytest.mark.parametrize("content", [{"a": 1}, ["a"], list("abcda"), ["a", "b", "cd", "e", "f"], 3])
def test_other_vocabularies_are_refused(tmp_path, tiny, content):
    folder = tiny.write_hf(tmp_path / "m")
    (folder / "vocabulary.json").write_text(json.dumps(content))
    with rejects_in_one_line("vocabulary.json must be a list of 5 different characters"):
        open_checkpoint(folder)


# Against transformers.

WITNESS = """
import sys, torch
from safetensors.torch import save_file
from transformers.integrations.bitnet import AutoBitLinear, BitLinear, pack_weights, unpack_weights
torch.manual_seed(0)
trits = torch.randint(-1, 2, (8, 8))
packed = pack_weights(trits.clone())
assert (unpack_weights(packed, torch.int8) == trits).all()
x = torch.randn(5, 8)
divides = BitLinear(8, 8, False, dtype=torch.float32)
divides.weight, divides.weight_scale = packed, torch.tensor([3.0])
times = AutoBitLinear(8, 8, False)
times.weight = torch.nn.Parameter(trits.float())
times.weight_scale = torch.tensor([3.0])
online = AutoBitLinear(8, 8, False, online_quant=True)
with torch.no_grad():
    save_file(
        {
            "x": x,
            "trits": trits,
            "packed": packed,
            "scale": torch.tensor([3.0]),
            "divides": divides(x),
            "times": times(x),
            "weight": online.weight.detach(),
            "online": online(x),
        },
        sys.argv[1],
    )
"""


@pytest.fixture(scope="module")
def witness(tmp_path_factory):
    """Layers of transformers, run in a process of its own: its imports warn."""
    path = tmp_path_factory.mktemp("witness") / "w.safetensors"
    environment = os.environ | {"TORCHDYNAMO_DISABLE": "1", "HF_HUB_OFFLINE": "1"}
    subprocess.run([sys.executable, "-c", WITNESS, path], env=environment, check=True)
    return load_file(path)


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.parametrize("kind", ["divides", "times", "online"])
def test_layer_equals_the_one_of_transformers(tmp_path, tiny, witness, kind):
    tensors = tiny.hf_tensors()
    tensors[f"{Q}.weight"] = witness["weight" if kind == "online" else "packed"]
    tensors[f"{Q}.weight_scale"] = witness["scale"]
    if kind == "online":
        del tensors[f"{Q}.weight_scale"]
    linear = "bitlinear" if kind == "divides" else "autobitlinear"
    config = tiny.config | {"quantization_config": {"linear_class": linear}}
    folder = tiny.write_hf(tmp_path / "m", tensors, config=config)
    found = open_checkpoint(folder).matrices["layers.1.attn.q"].read()
    if kind != "online":
        assert np.array_equal(found.values, witness["trits"])
    acts = absmax_acts(witness["x"])
    product = acts.values.astype(np.int64) @ found.values.astype(np.int64).T
    assert np.allclose(product * acts.scale * found.scale, witness[kind], rtol=1e-5, atol=1e-6)


# Folders that are wrong.


def test_every_code_3_is_found():
    packed = np.array([[0b00_01_10_00, 0b10_00_00_00]], np.uint8)
    assert unpack_rows("w", packed).tolist() == [[-1, -1], [1, -1], [0, -1], [-1, 1]]
    for row in range(4):
        spoilt = packed.copy()
        spoilt[0, 1] |= 3 << 2 * row
        with rejects_in_one_line(f"w has the illegal trit code 3 at [{row}, 1]"):
            unpack_rows("w", spoilt)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (f"{Q}.weight", None, f"has no tensor {Q}.weight"),
        (f"{Q}.weight_scale", None, f"no {Q}.weight_scale beside it"),
        ("model.norm.weight", None, "has no tensor model.norm.weight"),
        (f"{Q}.weight", np.zeros((2, 9), np.uint8), "must be of shape (2, 8) by the config"),
        (f"{Q}.weight", np.zeros((8, 8), np.uint8), "must be of shape (2, 8) by the config"),
        (f"{Q}.weight", np.zeros((2, 8), np.float32), "must be of shape (8, 8) by the config"),
        (f"{Q}.weight", np.zeros((2, 8), np.int8), "must be of dtype U8, F64, F32, F16, BF16"),
        (f"{Q}.weight", np.zeros(16, np.uint8), "not (16,)"),
        (f"{Q}.weight_scale", np.ones(8, np.float32), "must be one number"),
        (f"{Q}.weight_scale", np.ones(1, np.uint8), "must be one number, not U8"),
        ("model.norm.weight", np.ones(9, np.float32), "must be of shape (8,) by the config"),
        ("model.norm.weight", np.ones(8, np.int64), "must hold numbers of F64"),
        (f"{Q}.bias", np.ones(8, np.float32), f"has the tensor {Q}.bias, which config.json"),
        ("model.layers.2.input_layernorm.weight", np.ones(8, np.float32), "does not explain"),
        ("a\nb", np.ones(8, np.float32), "no tensor can be named 'a\\nb'"),
    ],
    ids=str,
)
def test_tensors_that_contradict_the_config_are_refused(tmp_path, tiny, name, value, message):
    tensors = tiny.hf_tensors() | {name: value}
    tensors = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    folder = tiny.write_hf(tmp_path / "m", tensors)
    with rejects_in_one_line(message):
        open_checkpoint(folder)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_scale_that_is_not_finite_is_refused(tmp_path, tiny, value):
    tensors = tiny.hf_tensors() | {f"{Q}.weight_scale": np.array([value])}
    matrix = open_checkpoint(tiny.write_hf(tmp_path / "m", tensors)).matrices["layers.1.attn.q"]
    with rejects_in_one_line(f"{Q}.weight_scale is {np.inf if value == 1e300 else value}"):
        matrix.read()


@pytest.mark.parametrize("value", [0.0, 1e-40])
def test_divisor_without_a_reciprocal_is_refused(tmp_path, tiny, value):
    tensors = tiny.hf_tensors() | {f"{Q}.weight_scale": np.array([value], np.float32)}
    config = tiny.config | {"quantization_config": {"linear_class": "bitlinear"}}
    folder = tiny.write_hf(tmp_path / "m", tensors, config=config)
    with rejects_in_one_line("which is no scale"):
        open_checkpoint(folder).matrices["layers.1.attn.q"].read()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_size": 16}, "must be of shape"),
        ({"num_hidden_layers": 3}, "has no tensor model.layers.2"),
        ({"num_hidden_layers": 1}, "which config.json does not explain"),
        ({"num_hidden_layers": 1 << 60}, "num_hidden_layers must be at most"),
        ({"hidden_size": 2.5}, "hidden_size must be an integer"),
        ({"hidden_size": 1 << 32, "intermediate_size": 1 << 32}, "must be of shape"),
        ({"intermediate_size": 14}, "do not pack by four"),
        ({"tie_word_embeddings": False}, "has no tensor lm_head.weight"),
        ({"model_type": "llama", "quantization_config": None}, "describes no BitNet"),
        ({"model_type": "mamba"}, "model_type must be one of"),
        ({"quantization_config": {"linear_class": "other"}}, "linear_class must be"),
        ({"quantization_config": {"linear_class": []}}, "linear_class must be"),
        ({"quantization_config": 7}, "quantization_config must be an object"),
    ],
    ids=str,
)
def test_config_that_the_tensors_contradict_is_refused(tmp_path, tiny, changes, message):
    folder = tiny.write_hf(tmp_path / "m", config=tiny.config | changes)
    with rejects_in_one_line(message):
        open_checkpoint(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is not JSON"),
        ("[1]", "must hold a JSON object"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": 1, "a": 2}', "a is there twice"),
        ('{"rms_norm_eps": NaN}', "NaN is no finite number"),
        ('{"rms_norm_eps": 1e999}', "1e999 is no finite number"),
        ('{"hidden_size": ' + "9" * 5000 + "}", "is not JSON"),
        ("\udcff", "is not JSON"),
    ],
    ids=["empty", "list", "deep", "twice", "nan", "infinite", "digits", "bytes"],
)
def test_config_that_is_none_is_refused(tmp_path, tiny, content, message):
    folder = tiny.write_hf(tmp_path / "m")
    (folder / "config.json").write_text(content, encoding="utf-8", errors="surrogateescape")
    with rejects_in_one_line("config.json", message):
        open_checkpoint(folder)


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_folder_without_its_files_is_refused(tmp_path, tiny, missing):
    folder = tiny.write_hf(tmp_path / "m")
    (folder / missing).unlink()
    with rejects_in_one_line(missing):
        open_checkpoint(folder)


def test_path_that_does_not_exist_is_refused(tmp_path):
    with rejects_in_one_line("absent does not exist"):
        open_checkpoint(tmp_path / "absent")


def read_all(path):
    checkpoint = open_checkpoint(path)
    for matrix in checkpoint.matrices.values():
        matrix.read()
    for tensor in checkpoint.floats.values():
        for _ in tensor.chunks():
            pass


@pytest.mark.parametrize("share", np.linspace(0, 0.999, 25).round(3))
def test_truncated_weights_are_refused(tmp_path, tiny, share):
    folder = tiny.write_hf(tmp_path / "m")
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])
    with rejects_in_one_line("model.safetensors is not a sound .safetensors file"):
        read_all(folder)


@pytest.mark.parametrize("seed", range(20))
def test_damaged_weights_give_numbers_or_one_line(tmp_path, tiny, seed):
    folder, rng = tiny.write_hf(tmp_path / "m"), np.random.default_rng(seed)
    file = folder / "model.safetensors"
    content = bytearray(file.read_bytes())
    # Most damage goes into the header, where it does most.
    for place in rng.integers(0, len(content) if seed % 4 == 0 else 4000, 1 + seed % 3):
        content[place] ^= 1 << rng.integers(8)
    file.write_bytes(content)
    with contextlib.suppress(InputError):
        read_all(folder)


# Plain matrices.


@pytest.mark.parametrize("suffix", [".npy", ".safetensors"])
@pytest.mark.parametrize("kind", ["trits", "weights"])
def test_plain_matrix_is_taken_or_quantised(tmp_path, suffix, kind):
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((4, 6), np.float32)
    if kind == "trits":
        matrix = rng.integers(-1, 2, (4, 6)).astype(np.float32)
    path = tmp_path / f"w{suffix}"
    np.save(path, matrix) if suffix == ".npy" else save_file({"some/weight": matrix}, path)
    checkpoint = open_checkpoint(path)
    ((name, found),) = checkpoint.matrices.items()
    assert name == ("w" if suffix == ".npy" else "some_weight")
    assert found.tensor == ("w" if suffix == ".npy" else "some/weight")
    assert checkpoint.config is None
    assert checkpoint.floats == {}
    wanted = absmean_trits(matrix)
    if kind == "trits":
        assert np.array_equal(found.read().values, matrix)
        assert found.read().scale == 1
    else:
        assert np.array_equal(found.read().values, wanted.values)
        assert found.read().scale == wanted.scale


def test_one_matrix_of_a_folder_is_taken_alone(tmp_path, tiny):
    folder = tiny.write_hf(tmp_path / "m")
    checkpoint = open_checkpoint(folder, f"{Q}.weight")
    assert list(checkpoint.matrices) == ["layers.1.attn.q"]
    assert (checkpoint.config, checkpoint.floats) == (None, {})
    with rejects_in_one_line("has no ternary matrix 'model.norm.weight'"):
        open_checkpoint(folder, "model.norm.weight")


@pytest.mark.parametrize("name", ["../../x", "..", "a\\b", "/etc/x", "é" * 300])
def test_names_of_matrices_stay_in_their_folder(tmp_path, name):
    path = tmp_path / "w.safetensors"
    save_file({name: np.eye(3, dtype=np.float32)}, path)
    with contextlib.suppress(InputError):
        (found,) = open_checkpoint(path).matrices
        assert re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*", found)
