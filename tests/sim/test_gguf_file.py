"""GGUF files: ternary blocks, whole BitNets, damage."""

import re
import struct

import gguf
import numpy as np
import pytest

from tritloom.arch.errors import InputError
from tritloom.sim.checkpoints.gguf_file import GgufFile
from tritloom.sim.checkpoints.matrix import load_matrix
from tritloom.sim.checkpoints.read import open_checkpoint

TYPES = {kind: gguf.GGMLQuantizationType[kind] for kind in ("TQ1_0", "TQ2_0")}
GGUF_FLOATS = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}


def rejects_in_one_line(*parts):
    pattern = ".*".join(map(re.escape, parts))
    return pytest.raises(InputError, match=f"\\A[^\n]*{pattern}[^\n]*\\Z")


def i2_s(trits, scale):
    """Bytes of an I2_S tensor as its description says it, one element at a time."""
    flat = trits.ravel()
    packed = bytearray(flat.size // 4)
    for i, trit in enumerate(flat.tolist()):
        block, within = divmod(i, 128)
        group, byte = divmod(within, 32)
        packed[32 * block + byte] |= (trit + 1) << (6 - 2 * group)
    return bytes(packed) + struct.pack("<f", scale) + bytes(28)


def encode(trits, scale, kind):
    if kind == "I2_S":
        return i2_s(trits, float(scale))
    if kind in TYPES:
        return gguf.quants.quantize(trits * np.float32(scale), TYPES[kind]).tobytes()
    return (trits * np.float32(scale)).astype(np.dtype(kind)).tobytes()


NUMBERS = {
    "I2_S": 36,
    "TQ1_0": 34,
    "TQ2_0": 35,
    "float32": 0,
    "float16": 1,
    "Q8_0": 8,
    "bfloat16": 30,
}


def text(value):
    return struct.pack("<Q", len(value.encode())) + value.encode()


def pack_gguf(metadata, tensors, *, alignment=32, version=3, counts=None):
    """A GGUF file by hand: metadata as bytes of (key, type, value), tensors as (name, ...)."""
    head = b"GGUF" + struct.pack("<I", version)
    head += struct.pack("<QQ", *(counts or (len(tensors), len(metadata))))
    head += b"".join(text(key) + value for key, value in metadata)
    data = b""
    for name, shape, kind, content, *offset in tensors:
        at = offset[0] if offset else len(data)
        head += text(name) + struct.pack("<I", len(shape))
        head += struct.pack(f"<{len(shape)}Q", *reversed(shape))
        head += struct.pack("<IQ", kind, at)
        data += content + bytes(-len(content) % alignment)
    return head + bytes(-len(head) % alignment) + data


def u32(value):
    return struct.pack("<II", 4, value)


def f32(value):
    return struct.pack("<If", 6, value)


def string(value):
    return struct.pack("<I", 8) + text(value)


def bitnet_metadata(model, architecture="bitnet"):
    c = model.config
    found = {
        "embedding_length": u32(c["hidden_size"]),
        "feed_forward_length": u32(c["intermediate_size"]),
        "block_count": u32(c["num_hidden_layers"]),
        "attention.head_count": u32(c["num_attention_heads"]),
        "attention.head_count_kv": u32(c["num_key_value_heads"]),
        "context_length": u32(64),
        "attention.layer_norm_rms_epsilon": f32(1e-5),
        "rope.freq_base": f32(500000.0),
        "rope.scaling.factor": f32(1.0),
    }
    tokens = struct.pack("<IIQ", 9, 8, 5) + b"".join(map(text, "abcde"))
    return {
        "general.architecture": string(architecture),
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": struct.pack("<IIQ5f", 9, 6, 5, *range(5)),
    } | {f"{architecture}.{key}": value for key, value in found.items()}


def bitnet_tensors(model, kind, float_kind="float32"):
    found = {}
    for i in range(model.LAYERS):
        for name, _, known, *_ in model.LINEARS:
            trits, scale = model.trits[f"layers.{i}.{name}"], model.scales[f"layers.{i}.{name}"]
            tensor = f"blk.{i}.{known}.weight"
            found[tensor] = (trits.shape, NUMBERS[kind], encode(trits, scale, kind))
        for name, known, _ in model.NORMS:
            array = model.floats[f"model.layers.{i}.{name}.weight"]
            found[f"blk.{i}.{known}.weight"] = (array.shape, 0, array.tobytes())
    for name, known in GGUF_FLOATS.items():
        if name in model.floats:
            array = model.floats[name]
            kept = float_kind if array.ndim == 2 else "float32"
            found[known] = (array.shape, NUMBERS[kept], array.astype(kept).tobytes())
    return found


def write(path, metadata, tensors, **options):
    rows = [(name, *entry) for name, entry in tensors.items()]
    path.write_bytes(pack_gguf(list(metadata.items()), rows, **options))
    return path


# Blocks.


def random_trits(shape, seed=0):
    return np.random.default_rng(seed).integers(-1, 2, shape, np.int8)


@pytest.mark.parametrize("kind", ["TQ1_0", "TQ2_0", "I2_S"])
@pytest.mark.parametrize("shape", [(1, 256), (3, 512), (37, 1280)], ids=str)
def test_ternary_tensor_gives_its_trits_and_scale(tmp_path, kind, shape):
    trits, scale = random_trits(shape), 0.0361328125
    path = tmp_path / "w.gguf"
    write(path, {}, {"w": (shape, NUMBERS[kind], encode(trits, scale, kind))})
    ((name, matrix),) = open_checkpoint(path).matrices.items()
    found = matrix.read()
    assert (name, matrix.n, matrix.k) == ("w", *shape)
    assert np.array_equal(found.values, trits)
    assert found.scale == np.float32(np.float16(scale))


def test_i2_s_is_read_as_numbers_too(tmp_path):
    trits = random_trits((3, 256))
    path = write(tmp_path / "w.gguf", {}, {"w": (trits.shape, 36, encode(trits, 0.75, "I2_S"))})
    assert np.array_equal(load_matrix(path), trits * np.float32(0.75))


@pytest.mark.parametrize("kind", ["TQ1_0", "TQ2_0"])
def test_file_of_the_gguf_writer_is_read(tmp_path, kind):
    trits = random_trits((4, 512))
    writer = gguf.GGUFWriter(tmp_path / "w.gguf", "llama")
    writer.add_array("tokenizer.ggml.tokens", ["a", "bc", ""])
    writer.add_array("tokenizer.ggml.scores", [1.0, 2.0])
    rows = gguf.quants.quantize(trits * np.float32(0.5), TYPES[kind])
    writer.add_tensor("w", rows, raw_dtype=TYPES[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    found = open_checkpoint(tmp_path / "w.gguf").matrices["w"].read()
    assert np.array_equal(found.values, trits)
    assert found.scale == 0.5


def test_header_is_read_as_the_library_reads_it(tmp_path):
    path = tmp_path / "w.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    for bits in (8, 16, 32, 64):
        getattr(writer, f"add_uint{bits}")(f"u{bits}", 2**bits - 1)
        getattr(writer, f"add_int{bits}")(f"i{bits}", -(2 ** (bits - 1)))
    writer.add_float32("f32", 0.1)
    writer.add_float64("f64", 0.1)
    writer.add_bool("yes", True)
    writer.add_bool("no", False)
    writer.add_string("text", "ä\n")
    writer.add_string("empty", "")
    writer.add_array("texts", ["a", "", "ä"])
    writer.add_array("numbers", [1.0, 2.0, 3.0])
    writer.add_custom_alignment(64)
    for name, shape in (("a", (3,)), ("b", (2, 5)), ("c", (2, 3, 4)), ("d", (1, 2, 3, 4))):
        writer.add_tensor(name, np.random.default_rng(0).random(shape, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    wanted, found = gguf.GGUFReader(path), GgufFile(path)
    arrays = {"texts", "numbers"}
    assert {name: value for name, value in found.metadata.items() if name not in arrays} == {
        name: field.contents()
        for name, field in wanted.fields.items()
        if name not in arrays and not name.startswith("GGUF.")
    }
    assert [found.metadata[name] for name in arrays] == [None, None]
    assert [tensor.name for tensor in found.tensors] == [tensor.name for tensor in wanted.tensors]
    for tensor, other in zip(found.tensors, wanted.tensors, strict=True):
        assert np.array_equal(tensor.numbers(), other.data)


def test_every_byte_of_tq1_0_decodes_as_the_library_does(tmp_path):
    blocks = np.random.default_rng(0).integers(0, 256, (40, 54)).astype(np.uint8)
    blocks[:, 52:] = np.frombuffer(np.float16(1).tobytes(), np.uint8)
    blocks.ravel()[:52] = np.arange(52)
    path = tmp_path / "w.gguf"
    write(path, {}, {"w": ((40, 256), NUMBERS["TQ1_0"], blocks.tobytes())})
    wanted = gguf.quants.dequantize(blocks, TYPES["TQ1_0"])
    assert np.array_equal(open_checkpoint(path).matrices["w"].read().values, wanted)


@pytest.mark.parametrize("kind", ["TQ1_0", "TQ2_0"])
def test_block_of_zeros_has_no_say_in_the_scale(tmp_path, kind):
    trits = random_trits((3, 512))
    trits[1, 256:] = 0
    trits[0, :256] = 0
    path = tmp_path / "w.gguf"
    write(path, {}, {"w": ((3, 512), NUMBERS[kind], encode(trits, 0.25, kind))})
    found = open_checkpoint(path).matrices["w"].read()
    assert np.array_equal(found.values, trits)
    assert found.scale == 0.25


@pytest.mark.parametrize("kind", ["TQ1_0", "TQ2_0"])
def test_matrix_of_zeros_has_scale_zero(tmp_path, kind):
    path = tmp_path / "w.gguf"
    content = encode(np.zeros((2, 256), np.int8), 1, kind)
    write(path, {}, {"w": ((2, 256), NUMBERS[kind], content)})
    found = open_checkpoint(path).matrices["w"].read()
    assert not found.values.any()
    assert found.scale == 0


@pytest.mark.parametrize("kind", ["TQ1_0", "TQ2_0"])
def test_blocks_of_several_scales_are_refused(tmp_path, kind):
    content = b"".join(encode(random_trits((1, 256)), scale, kind) for scale in (0.5, 0.5, 0.25))
    path = write(tmp_path / "w.gguf", {}, {"w": ((3, 256), NUMBERS[kind], content)})
    with rejects_in_one_line(str(path), "w has blocks of the scales 0.5 and 0.25"):
        open_checkpoint(path).matrices["w"].read()


@pytest.mark.parametrize("kind", ["TQ1_0", "TQ2_0", "I2_S"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_scale_that_is_not_finite_is_refused(tmp_path, kind, value):
    content = bytearray(encode(random_trits((2, 256)), 1, kind))
    if kind == "I2_S":
        content[-32:-28] = np.float32(value).tobytes()
    else:
        content[-2:] = np.float16(value).tobytes()
    path = write(tmp_path / "w.gguf", {}, {"w": ((2, 256), NUMBERS[kind], bytes(content))})
    with rejects_in_one_line(str(path), "tensor w has"):
        open_checkpoint(path).matrices["w"].read()


@pytest.mark.parametrize("kind", ["TQ2_0", "I2_S"])
@pytest.mark.parametrize("group", range(4))
def test_code_3_is_refused_with_its_place(tmp_path, kind, group):
    content = bytearray(encode(random_trits((2, 256)), 1, kind))
    content[5] |= 3 << 2 * group
    path = write(tmp_path / "w.gguf", {}, {"w": ((2, 256), NUMBERS[kind], bytes(content))})
    place = 5 + 32 * (3 - group if kind == "I2_S" else group)
    with rejects_in_one_line(str(path), f"illegal trit code 3 at element {place}"):
        open_checkpoint(path).matrices["w"].read()


# Whole models.


@pytest.mark.parametrize(
    ("kind", "architecture"),
    [
        ("TQ1_0", "bitnet"),
        ("TQ2_0", "bitnet"),
        ("float32", "bitnet"),
        ("float16", "bitnet"),
        ("I2_S", "bitnet-b1.58"),
        ("TQ2_0", "bitnet-25"),
        ("bfloat16", "bitnet"),
    ],
)
def test_model_gives_trits_floats_and_config(tmp_path, bitnet_class, kind, architecture):
    width = 128 if kind == "I2_S" else 256
    model = bitnet_class(hidden=width, ffn=2 * width, heads=4, kv_heads=2, tied=False)
    path = tmp_path / "m.gguf"
    float_kind = kind if "float" in kind else "float16"
    tensors = bitnet_tensors(model, kind, float_kind)
    write(path, bitnet_metadata(model, architecture), tensors)
    checkpoint = open_checkpoint(path)
    assert list(checkpoint.matrices) == list(model.trits)
    for name, matrix in checkpoint.matrices.items():
        assert np.array_equal(matrix.read().values, model.trits[name])
        assert matrix.read().scale == model.scales[name]
    assert set(checkpoint.floats) == set(model.floats)
    for name, tensor in checkpoint.floats.items():
        whole = np.concatenate([chunk.ravel() for chunk in tensor.chunks()])
        kept = float_kind if len(tensor.shape) == 2 else "float32"
        assert np.array_equal(whole, model.floats[name].astype(kept).ravel())
    same = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    assert {key: checkpoint.config[key] for key in same} == {k: model.config[k] for k in same}
    assert checkpoint.config | {"architectures": 0} == checkpoint.config | {
        "architectures": 0,
        "model_type": "bitnet",
        "hidden_act": "silu" if architecture == "bitnet" else "relu2",
        "num_key_value_heads": 2,
        "vocab_size": 5,
        "rms_norm_eps": 1e-5,
        "rope_theta": 500000.0,
        "tie_word_embeddings": False,
    }


def test_head_in_blocks_becomes_float32(tmp_path, tiny256):
    tensors = bitnet_tensors(tiny256, "TQ2_0")
    table = tiny256.floats["model.embed_tokens.weight"]
    blocks = gguf.quants.quantize(table, gguf.GGMLQuantizationType.Q8_0)
    tensors["token_embd.weight"] = (table.shape, NUMBERS["Q8_0"], blocks.tobytes())
    path = write(tmp_path / "m.gguf", bitnet_metadata(tiny256), tensors)
    tensor = open_checkpoint(path).floats["model.embed_tokens.weight"]
    (chunk,) = tensor.chunks()
    assert tensor.dtype == "F32"
    wanted = gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType.Q8_0)
    assert np.array_equal(chunk, wanted)


def test_table_of_trits_becomes_float32(tmp_path, bitnet_class):
    model = bitnet_class(hidden=128, ffn=128, heads=4, kv_heads=2)
    tensors = bitnet_tensors(model, "I2_S")
    table = random_trits((5, 128))
    tensors["token_embd.weight"] = ((5, 128), 36, encode(table, 0.75, "I2_S"))
    path = write(tmp_path / "m.gguf", bitnet_metadata(model), tensors)
    (chunk,) = open_checkpoint(path).floats["model.embed_tokens.weight"].chunks()
    assert np.array_equal(chunk, table * np.float32(0.75))


def test_scale_beside_a_matrix_multiplies(tmp_path, tiny256):
    tensors = bitnet_tensors(tiny256, "TQ2_0")
    tensors["blk.1.attn_q.scale"] = ((1,), 0, np.float32(3).tobytes())
    path = write(tmp_path / "m.gguf", bitnet_metadata(tiny256), tensors)
    found = open_checkpoint(path).matrices["layers.1.attn.q"].read()
    assert found.scale == 3 * tiny256.scales["layers.1.attn.q"]


@pytest.mark.parametrize("value", [np.inf, np.nan, 3e38])
def test_scale_beside_a_matrix_must_leave_it_finite(tmp_path, tiny256, value):
    tensors = bitnet_tensors(tiny256, "TQ2_0")
    tensors["blk.1.attn_q.scale"] = ((1,), 28, np.float64(value * 10).tobytes())
    path = write(tmp_path / "m.gguf", bitnet_metadata(tiny256), tensors)
    with rejects_in_one_line(str(path), "blk.1.attn_q.scale makes the scale"):
        open_checkpoint(path).matrices["layers.1.attn.q"].read()


def test_float_matrix_of_other_magnitudes_is_refused(tmp_path, tiny256):
    tensors = bitnet_tensors(tiny256, "float32")
    shape, kind, content = tensors["blk.0.ffn_up.weight"]
    spoilt = np.float32(0.1).tobytes() + content[4:]
    tensors["blk.0.ffn_up.weight"] = (shape, kind, spoilt)
    path = write(tmp_path / "m.gguf", bitnet_metadata(tiny256), tensors)
    with rejects_in_one_line(str(path), "blk.0.ffn_up.weight is not ternary"):
        open_checkpoint(path).matrices["layers.0.ffn.up"].read()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("bitnet.block_count", None, "has no one bitnet.block_count"),
        ("bitnet.block_count", u32(3), "has no tensor blk.2.attn_q.weight"),
        ("bitnet.block_count", u32(1), "has the tensor blk.1."),
        ("bitnet.block_count", string("2"), "num_hidden_layers must be an integer"),
        ("bitnet.embedding_length", u32(512), "by the config"),
        ("bitnet.attention.head_count", struct.pack("<IIQII", 9, 4, 2, 4, 4), "has no one"),
        ("bitnet.attention.head_count", u32(0), "num_attention_heads must be at least 1"),
        ("bitnet.attention.layer_norm_rms_epsilon", f32(np.nan), "must be a number above 0"),
        ("bitnet.rope.freq_base", f32(-1), "must be a number above 0"),
        ("bitnet.rope.scaling.factor", f32(2), "rope.scaling.factor must be 1"),
        ("bitnet.rope.dimension_count", u32(32), "by the config"),
        ("bitnet.attention.key_length", u32(64), None),
    ],
    ids=str,
)
def test_metadata_that_the_tensors_contradict_is_refused(tmp_path, tiny256, key, value, message):
    metadata = bitnet_metadata(tiny256) | {key: value}
    metadata = {key: value for key, value in metadata.items() if value is not None}
    path = write(tmp_path / "m.gguf", metadata, bitnet_tensors(tiny256, "TQ2_0"))
    if message is None:
        open_checkpoint(path)
        return
    with rejects_in_one_line(str(path), message):
        open_checkpoint(path)


@pytest.mark.parametrize(
    ("name", "entry", "message"),
    [
        ("blk.0.attn_q.weight", None, "has no tensor blk.0.attn_q.weight"),
        ("token_embd.weight", None, "has no tensor token_embd.weight"),
        ("rope_freqs.weight", ((32,), 0, bytes(128)), "has the tensor rope_freqs.weight"),
        ("blk.0.attn_q.bias", ((256,), 0, bytes(1024)), "has the tensor blk.0.attn_q.bias"),
        ("blk.0.attn_norm.weight", ((128,), 0, bytes(512)), "must be of shape (256,)"),
        ("blk.0.attn_q.weight", ((256, 256), 8, bytes(272 * 256)), "must be of type TQ1_0"),
        ("output_norm.weight", ((256,), 24, bytes(256)), "must hold floats, not I8"),
        ("blk.0.attn_q.scale", ((2,), 0, bytes(8)), "must be one number"),
        ("a\nb", ((1,), 0, bytes(4)), "no tensor can be named 'a\\nb'"),
    ],
    ids=str,
)
def test_tensors_that_are_no_bitnet_are_refused(tmp_path, tiny256, name, entry, message):
    tensors = bitnet_tensors(tiny256, "TQ2_0") | {name: entry}
    tensors = {name: entry for name, entry in tensors.items() if entry is not None}
    path = write(tmp_path / "m.gguf", bitnet_metadata(tiny256), tensors)
    with rejects_in_one_line(message):
        open_checkpoint(path)


# Hostile headers.

BIG = 1 << 63
W = ("w", (4, 4), 0, bytes(64))


def array(kind, length, content=b""):
    return struct.pack("<IIQ", 9, kind, length) + content


@pytest.mark.parametrize(
    "content",
    [
        pack_gguf([], [W], counts=(BIG, 0)),
        pack_gguf([], [W], counts=(1, BIG)),
        pack_gguf([], [W], counts=(2**64 - 1, 2**64 - 1)),
        pack_gguf([("k", array(8, BIG))], [W]),
        pack_gguf([("k", array(0, BIG))], [W]),
        pack_gguf([("k", array(12, 2**61))], [W]),
        pack_gguf([("k", array(8, 3, struct.pack("<Q", 2**64 - 1)))], [W]),
        pack_gguf([("k", b"".join([struct.pack("<I", 9)] + 2000 * [array(9, 1)[4:]]))], [W]),
        pack_gguf([("k", struct.pack("<IQ", 8, BIG))], [W]),
        pack_gguf([("k", struct.pack("<I", 99))], [W]),
        pack_gguf([("k", u32(1)), ("k", u32(1))], [W]),
        pack_gguf([("general.alignment", u32(0))], [W]),
        pack_gguf([("general.alignment", u32(1 << 31))], [W]),
        pack_gguf([("general.alignment", string("a"))], [W]),
        pack_gguf([], [W, W]),
        pack_gguf([], [W, ("v", (4, 4), 0, bytes(64), 32)]),
        pack_gguf([], [("w", (4, 4), 0, bytes(64), 2**64 - 64)]),
        pack_gguf([], [("w", (4, 4), 0, bytes(64), BIG)]),
        pack_gguf([], [("w", (BIG, 2), 0, bytes(64))]),
        pack_gguf([], [("w", (2**32, 2**32), 0, bytes(64))]),
        pack_gguf([], [("w", (2**32, 2**32, 2**32, 1), 36, bytes(64))]),
        pack_gguf([], [("w", (2**62, 4, 256), 35, bytes(64))]),
        pack_gguf([], [("w", (0, 4), 0, bytes(64))]),
        pack_gguf([], [("w", (), 0, bytes(64))]),
        pack_gguf([], [("w", (1, 1, 1, 4, 4), 0, bytes(64))]),
        pack_gguf([], [("w", (2, 100), 35, bytes(640))]),
        pack_gguf([], [("w", (2, 100), 36, bytes(640))]),
        pack_gguf([], [("w", (4, 4), 37, bytes(64))]),
        pack_gguf([], [W], version=1),
        pack_gguf([], [W], version=3 << 24),
    ],
    ids=lambda content: f"{len(content)} bytes",
)
def test_hostile_header_is_refused_at_once(tmp_path, content):
    path = tmp_path / "w.gguf"
    path.write_bytes(content)
    with rejects_in_one_line(f"{path} is not a sound .gguf file: "):
        open_checkpoint(path)


@pytest.mark.parametrize(
    "start",
    [
        # A key of 16 GB.
        struct.pack("<QQQ", 0, 1, 1 << 34),
        # 10^9 empty strings.
        struct.pack("<QQ", 0, 1) + text("k") + array(8, 1 << 30),
        # A tensor of 10^9 dimensions.
        struct.pack("<QQ", 1, 0) + text("w") + struct.pack("<I", 1 << 30),
    ],
    ids=["key", "strings", "dimensions"],
)
def test_header_beyond_the_budget_is_refused(tmp_path, start):
    """The file is sparse and has 64 GB, so that all that its header claims fits."""
    path = tmp_path / "w.gguf"
    with path.open("wb") as file:
        file.write(b"GGUF" + struct.pack("<I", 3) + start)
        file.truncate(1 << 36)
    with rejects_in_one_line("is not a sound .gguf file: its header takes more than"):
        open_checkpoint(path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, bitnet_class):
    model = bitnet_class(hidden=256, ffn=256, heads=4, kv_heads=2, vocab=5)
    path = tmp_path_factory.mktemp("whole") / "m.gguf"
    return write(path, bitnet_metadata(model), bitnet_tensors(model, "TQ2_0")).read_bytes()


def read_all(path):
    checkpoint = open_checkpoint(path)
    for matrix in checkpoint.matrices.values():
        matrix.read()
    for tensor in checkpoint.floats.values():
        for _ in tensor.chunks():
            pass


@pytest.mark.parametrize("share", np.linspace(0, 0.999, 40).round(3))
def test_truncated_model_is_refused(tmp_path, whole, share):
    path = tmp_path / "m.gguf"
    path.write_bytes(whole[: int(len(whole) * share**3)])
    with rejects_in_one_line("is not a sound .gguf file"):
        read_all(path)


@pytest.mark.parametrize("seed", range(60))
def test_damaged_model_gives_numbers_or_one_line(tmp_path, whole, seed):
    path, content = tmp_path / "m.gguf", bytearray(whole)
    rng = np.random.default_rng(seed)
    for place in rng.integers(0, len(content) if seed % 6 == 0 else 3000, 1 + seed % 3):
        content[place] ^= 1 << rng.integers(8)
    path.write_bytes(content)
    message = ""
    try:
        read_all(path)
    except InputError as error:
        message = str(error)
    assert "\n" not in message


def test_metadata_has_no_arrays(tmp_path, tiny256):
    path = write(tmp_path / "m.gguf", bitnet_metadata(tiny256), {"w": W[1:]})
    metadata = GgufFile(path).metadata
    assert metadata["bitnet.block_count"] == 2
    assert metadata["general.architecture"] == "bitnet"
    assert metadata["tokenizer.ggml.tokens"] is None
