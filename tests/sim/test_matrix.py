import pickle
import re
import struct

import gguf
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from tritloom.arch.errors import InputError
from tritloom.sim.checkpoints.matrix import load_matrix

MATRIX = np.random.default_rng(0).normal(0, 1, (3, 256)).astype(np.float32)
TRITS = np.random.default_rng(1).integers(-1, 2, (4, 6))


def write_npy(path, array):
    np.save(path, array)
    return path


def write_safetensors(path, **tensors):
    save_file(tensors, path)
    return path


def write_gguf(path, **tensors):
    """A GGUF of arrays, or of (array, quantised type) pairs."""
    writer = gguf.GGUFWriter(path, "llama")
    for name, tensor in tensors.items():
        if isinstance(tensor, tuple):
            array, kind = tensor
            writer.add_tensor(name, gguf.quants.quantize(array, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def rejects(message):
    return pytest.raises(InputError, match=f"^{message}$")


def rejects_in_one_line(path, *parts):
    pattern = ".*".join(re.escape(part) for part in (str(path), *parts))
    return pytest.raises(InputError, match=f"\\A{pattern}[^\n]*\\Z")


# Files that are what they say.


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_of_any_float_and_order_is_read(tmp_path, dtype, order):
    stored = np.asarray(MATRIX.astype(dtype), order=order)
    matrix = load_matrix(write_npy(tmp_path / "w.npy", stored))
    assert matrix.dtype == np.float32
    assert matrix.flags.c_contiguous
    assert np.array_equal(matrix, stored.astype(np.float32))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ml_dtypes.bfloat16])
def test_safetensors_of_any_float_is_read(tmp_path, dtype):
    stored = MATRIX.astype(dtype)
    path = write_safetensors(tmp_path / "w.safetensors", w=stored)
    matrix = load_matrix(path, "w")
    assert matrix.dtype == np.float32
    assert np.array_equal(matrix, stored.astype(np.float32))


def test_bf16_is_the_upper_half_of_float32(tmp_path):
    path = write_safetensors(tmp_path / "w.safetensors", w=MATRIX.astype(ml_dtypes.bfloat16))
    bits = load_matrix(path).view(np.uint32)
    assert not (bits & 0xFFFF).any()
    assert (np.abs((bits >> 16).astype(int) - (MATRIX.view(np.uint32) >> 16)) <= 1).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_gguf_of_any_float_is_read_as_outputs_by_inputs(tmp_path, dtype):
    path = write_gguf(tmp_path / "w.gguf", w=MATRIX.astype(dtype))
    matrix = load_matrix(path)
    assert matrix.dtype == np.float32
    assert np.array_equal(matrix, MATRIX.astype(dtype).astype(np.float32))


@pytest.mark.parametrize("kind", ["BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"])
def test_quantised_gguf_is_read_close_to_what_was_written(tmp_path, kind):
    kind = gguf.GGMLQuantizationType[kind]
    matrix = load_matrix(write_gguf(tmp_path / "w.gguf", w=(MATRIX, kind)))
    assert matrix.dtype == np.float32
    assert matrix.shape == MATRIX.shape
    levels = {"Q4": 8, "Q5": 16, "Q8": 127, "BF": 256}[kind.name[:2]]
    assert np.abs(matrix - MATRIX).max() <= np.abs(MATRIX).max() / levels


def test_q8_0_blocks_decode_as_scale_times_integers(tmp_path):
    kind = gguf.GGMLQuantizationType.Q8_0
    path = write_gguf(tmp_path / "w.gguf", w=(MATRIX[:, :32], kind))
    rows = gguf.quants.quantize(MATRIX[:, :32], kind)
    expected = []
    for row in rows:
        scale, *integers = struct.unpack("<e32b", row.tobytes())
        expected.append([scale * integer for integer in integers])
    assert np.array_equal(load_matrix(path), np.array(expected, np.float32))


@pytest.mark.parametrize("kind", ["TQ1_0", "TQ2_0"])
def test_ternary_gguf_keeps_its_trits(tmp_path, kind):
    trits = np.random.default_rng(2).integers(-1, 2, (5, 512)).astype(np.float32)
    path = write_gguf(tmp_path / "w.gguf", w=(trits, gguf.GGMLQuantizationType[kind]))
    assert np.array_equal(load_matrix(path), trits)


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64, np.float16, np.float32])
@pytest.mark.parametrize("suffix", [".npy", ".safetensors", ".gguf"])
def test_trits_of_any_dtype_are_kept(tmp_path, suffix, dtype):
    path = tmp_path / f"w{suffix}"
    stored = TRITS.astype(dtype)
    if suffix == ".npy":
        write_npy(path, stored)
    elif suffix == ".safetensors":
        write_safetensors(path, w=stored)
    else:
        write_gguf(path, w=stored)
    assert np.array_equal(load_matrix(path), TRITS)


@pytest.mark.parametrize("write", [write_safetensors, write_gguf])
def test_named_tensor_is_read_among_several(tmp_path, write):
    suffix = write.__name__.removeprefix("write_")
    path = write(tmp_path / f"w.{suffix}", a=MATRIX, b=2 * MATRIX, c=MATRIX[0])
    assert np.array_equal(load_matrix(path, "b"), 2 * MATRIX)


@pytest.mark.parametrize("write", [write_safetensors, write_gguf])
def test_only_matrix_needs_no_name(tmp_path, write):
    suffix = write.__name__.removeprefix("write_")
    path = write(tmp_path / f"w.{suffix}", norm=MATRIX[0], only=MATRIX)
    assert np.array_equal(load_matrix(path), MATRIX)


def test_suffix_may_be_in_capitals_and_path_a_string(tmp_path):
    path = write_npy(tmp_path / "w.npy", MATRIX).rename(tmp_path / "W.NPY")
    assert np.array_equal(load_matrix(str(path)), MATRIX)


# Files and names that are wrong.


def test_several_matrices_without_a_name_are_listed(tmp_path):
    tensors = {f"blk.{i}": MATRIX for i in range(7)}
    path = write_safetensors(tmp_path / "w.safetensors", **tensors, norm=MATRIX[0])
    with rejects_in_one_line(
        path, "7 tensors of two dimensions: name one of blk.0, blk.1, blk.2, blk.3, blk.4 and 2"
    ):
        load_matrix(path)


def test_no_matrix_at_all_is_said(tmp_path):
    path = write_gguf(tmp_path / "w.gguf", norm=MATRIX[0])
    with rejects_in_one_line(path, "has 0 tensors of two dimensions"):
        load_matrix(path)


@pytest.mark.parametrize("write", [write_safetensors, write_gguf])
def test_unknown_tensor_is_named_beside_its_nearest(tmp_path, write):
    suffix = write.__name__.removeprefix("write_")
    path = write(tmp_path / f"w.{suffix}", norm=MATRIX[0], **{"ffn_up.weight": MATRIX})
    with rejects_in_one_line(path, "has no tensor 'ffn_up'; it has ffn_up.weight and 1 more"):
        load_matrix(path, "ffn_up")


def test_npy_has_no_tensor_names(tmp_path):
    path = write_npy(tmp_path / "w.npy", MATRIX)
    with rejects_in_one_line(path, "one unnamed matrix, so no tensor 'w'"):
        load_matrix(path, "w")


@pytest.mark.parametrize("suffix", [".npy", ".safetensors", ".gguf"])
def test_missing_file_is_named(tmp_path, suffix):
    path = tmp_path / f"absent{suffix}"
    with rejects(re.escape(f"{path} is not a file")):
        load_matrix(path)


@pytest.mark.parametrize("suffix", [".npy", ".safetensors", ".gguf"])
def test_folder_is_no_file(tmp_path, suffix):
    path = tmp_path / f"folder{suffix}"
    path.mkdir()
    with rejects(re.escape(f"{path} is not a file")):
        load_matrix(path)


@pytest.mark.parametrize("name", ["w.pt", "w.bin", "w", "npy"])
def test_unknown_suffix_is_named(tmp_path, name):
    path = write_npy(tmp_path / "x.npy", MATRIX).rename(tmp_path / name)
    with rejects(re.escape(f"{path} must end in .npy, .safetensors, .gguf to be read as weights")):
        load_matrix(path)


def whole_file(folder, suffix):
    path = folder / f"whole{suffix}"
    if suffix == ".npy":
        return write_npy(path, MATRIX)
    write = {".safetensors": write_safetensors, ".gguf": write_gguf}[suffix]
    return write(path, w=MATRIX, v=MATRIX)


@pytest.mark.parametrize("suffix", [".npy", ".safetensors", ".gguf"])
@pytest.mark.parametrize("share", [0.002, 0.01, 0.02, 0.5, 0.9])
def test_truncated_file_is_not_sound(tmp_path, suffix, share):
    content = whole_file(tmp_path, suffix).read_bytes()
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(content[: int(len(content) * share)])
    with rejects_in_one_line(path, f"is not a sound {suffix} file: "):
        load_matrix(path)


@pytest.mark.parametrize("suffix", [".npy", ".safetensors", ".gguf"])
@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"weights, as text\n" * 40, bytes(4096), b"\xff" * 4096, pickle.dumps([1.0] * 99)],
    ids=["empty", "newline", "text", "zeros", "ones", "pickle"],
)
def test_file_of_another_kind_is_not_sound(tmp_path, suffix, content):
    path = tmp_path / f"other{suffix}"
    path.write_bytes(content)
    with rejects_in_one_line(path, f"is not a sound {suffix} file: "):
        load_matrix(path)


@pytest.mark.parametrize("suffix", [".npy", ".safetensors", ".gguf"])
@pytest.mark.parametrize("other", [".npy", ".safetensors", ".gguf"])
def test_file_under_anothers_suffix_is_not_sound(tmp_path, suffix, other):
    path = whole_file(tmp_path, suffix).rename(tmp_path / f"renamed{other}")
    if suffix != other:
        with rejects_in_one_line(path, f"is not a sound {other} file: "):
            load_matrix(path)
    else:
        assert load_matrix(path, None if other == ".npy" else "v").shape == MATRIX.shape


@pytest.mark.parametrize("suffix", [".npy", ".safetensors", ".gguf"])
@given(damage=st.lists(st.tuples(st.integers(0, 255), st.integers(0, 255)), min_size=1, max_size=4))
def test_damaged_header_gives_a_matrix_or_one_line(tmp_path_factory, suffix, damage):
    folder = tmp_path_factory.getbasetemp()
    content = bytearray(whole_file(folder, suffix).read_bytes())
    for place, value in damage:
        content[place] = value
    path = folder / f"damaged{suffix}"
    path.write_bytes(content)
    message = ""
    try:
        matrix = load_matrix(path, None if suffix == ".npy" else "w")
    except InputError as error:
        message = str(error)
    assert message.startswith(str(path)) if message else np.isfinite(matrix).all()
    assert "\n" not in message


def test_npy_header_that_does_not_end_is_not_sound(tmp_path):
    path = write_npy(tmp_path / "w.npy", MATRIX)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"(3, 256)", b"(3, 256("))
    with rejects_in_one_line(path, "is not a sound .npy file: "):
        load_matrix(path)


def test_npy_of_python_2_is_read_without_a_warning(tmp_path):
    path = write_npy(tmp_path / "w.npy", MATRIX)
    path.write_bytes(path.read_bytes().replace(b"(3, 256), }  ", b"(3L, 256L), }"))
    assert np.array_equal(load_matrix(path), MATRIX)


def test_npy_whose_size_wraps_around_is_not_sound(tmp_path):
    path = write_npy(tmp_path / "w.npy", MATRIX)
    sides, spaces = b"(4294967296, 4294967297), }", b" " * 16
    path.write_bytes(path.read_bytes().replace(b"(3, 256), }" + spaces, sides))
    with rejects_in_one_line(path, "is not a sound .npy file: "):
        load_matrix(path)


def test_what_is_quoted_of_a_damaged_file_is_short(tmp_path):
    path = write_npy(tmp_path / "w.npy", MATRIX)
    header = b"x" * 5000 + b"\n"
    path.write_bytes(path.read_bytes()[:8] + len(header).to_bytes(2, "little") + header)
    with rejects_in_one_line(path, "is not a sound .npy file: ") as refused:
        load_matrix(path)
    assert len(str(refused.value)) < 500


class Explosive:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("wrapped", [False, True], ids=["bare", "in an object array"])
def test_pickle_is_never_executed(tmp_path, wrapped):
    path, trace = tmp_path / "w.npy", tmp_path / "exploded"
    if wrapped:
        np.save(path, np.array([[Explosive(trace)]], dtype=object), allow_pickle=True)
    else:
        path.write_bytes(pickle.dumps(Explosive(trace)))
    with rejects_in_one_line(path, "is not a sound .npy file: "):
        load_matrix(path)
    assert not trace.exists()


@pytest.mark.parametrize("shape", [(), (256,), (2, 3, 4), (0, 3), (3, 0)], ids=str)
def test_npy_of_wrong_shape_is_named(tmp_path, shape):
    path = write_npy(tmp_path / "w.npy", np.ones(shape))
    with rejects_in_one_line(
        path, f"must be a matrix of two non-zero dimensions, not of shape {shape}"
    ):
        load_matrix(path)


@pytest.mark.parametrize("write", [write_safetensors, write_gguf])
@pytest.mark.parametrize("shape", [(256,), (2, 3, 4)], ids=str)
def test_tensor_of_wrong_shape_is_named(tmp_path, write, shape):
    suffix = write.__name__.removeprefix("write_")
    path = write(tmp_path / f"w.{suffix}", w=np.ones(shape, np.float32))
    with rejects_in_one_line(
        path, f"tensor w must be a matrix of two non-zero dimensions, not of shape {shape}"
    ):
        load_matrix(path, "w")


def test_empty_tensor_is_rejected(tmp_path):
    path = write_safetensors(tmp_path / "w.safetensors", w=np.ones((0, 4), np.float32))
    with rejects_in_one_line(path, "not of shape (0, 4)"):
        load_matrix(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("suffix", [".npy", ".safetensors", ".gguf"])
def test_value_that_is_not_finite_is_named_with_its_place(tmp_path, suffix, value):
    path, spoilt = tmp_path / f"w{suffix}", MATRIX.copy()
    spoilt[2, 17] = value
    if suffix == ".npy":
        write_npy(path, spoilt)
    else:
        {".safetensors": write_safetensors, ".gguf": write_gguf}[suffix](path, w=spoilt)
    with rejects_in_one_line(path, f"must be finite in float32, but [2, 17] is {value}"):
        load_matrix(path)


@pytest.mark.parametrize("dtype", ["<U3", "S3", "c8", "M8[s]", [("re", "f4")]], ids=str)
def test_npy_of_wrong_dtype_is_named(tmp_path, dtype):
    path = write_npy(tmp_path / "w.npy", np.zeros((2, 2), dtype))
    with rejects_in_one_line(path, f"must be real numbers, not of dtype {np.dtype(dtype)}"):
        load_matrix(path)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32])
@pytest.mark.parametrize("suffix", [".npy", ".safetensors"])
def test_integers_other_than_trits_are_codes(tmp_path, suffix, dtype):
    path, codes = tmp_path / f"w{suffix}", np.array([[0, 1], [1, 86]], dtype)
    write_npy(path, codes) if suffix == ".npy" else write_safetensors(path, w=codes)
    with rejects_in_one_line(
        path, f"is of dtype {np.dtype(dtype)} and holds 86: integers other than -1, 0"
    ):
        load_matrix(path)


@pytest.mark.parametrize("dtype", [ml_dtypes.float8_e4m3fn, bool])
def test_safetensors_of_another_dtype_is_named(tmp_path, dtype):
    path = write_safetensors(tmp_path / "w.safetensors", w=np.ones((2, 2), dtype))
    stored = {"bool": "BOOL", "float8_e4m3fn": "F8_E4M3"}[np.dtype(dtype).name]
    with rejects_in_one_line(
        path, f"tensor w must be of dtype F64, F32, F16 or BF16, not {stored}"
    ):
        load_matrix(path)


def test_gguf_type_without_dequantisation_is_named(tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "w.gguf", "llama")
    kind = gguf.GGMLQuantizationType.Q8_1
    size = gguf.GGML_QUANT_SIZES[kind][1]
    writer.add_tensor("w", np.zeros((2, size), np.uint8), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with rejects_in_one_line(tmp_path / "w.gguf", "is of type Q8_1, which gguf cannot dequantise"):
        load_matrix(tmp_path / "w.gguf")
