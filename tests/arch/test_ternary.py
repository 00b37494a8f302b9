import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from tritloom.arch import ternary
from tritloom.arch.errors import InputError
from tritloom.arch.ternary import BASE3, PACKINGS, TRIT2, TRIT5

ALL = pytest.mark.parametrize("packing", [TRIT2, TRIT5, BASE3], ids=lambda packing: packing.name)
TRITS = (-1, 0, 1)


@ALL
def test_packing_is_shown_by_name_and_without_its_tables(packing):
    each = packing.trits_per_byte
    assert repr(packing) == f"Packing(name='{packing.name}', trits_per_byte={each})"


def pack_byte_trit2(trits):
    """One byte from up to four trits, written from the format's prose."""
    byte = 0
    for position, trit in enumerate(trits):
        code = {0: 0b00, 1: 0b01, -1: 0b11}[trit]
        byte |= code << (2 * position)
    return byte


def unpack_byte_trit5(byte):
    """The five trits of one byte, None if it is illegal, written from the format's prose."""
    top, bit_5, bit_4 = byte >> 6, byte >> 5 & 1, byte >> 4 & 1
    middle, bottom = byte >> 2 & 3, byte & 3
    trit = {0b00: 0, 0b01: 1, 0b11: -1}

    def pair(field, bit):
        sign = -1 if bit else 1
        return (sign, 0) if field == 0b10 else (trit[field], sign)

    if bottom != 0b10:
        return (trit[bottom], *pair(middle, bit_5), *pair(top, bit_4))
    if bit_4:
        return (trit[top], *pair(middle, bit_5), 0, 0) if top in trit else None
    if middle != 0b10:
        return (trit[middle], 0, 0, *pair(top, bit_5))
    return (trit[top], 0, 0, 0, 0) if top in trit and not bit_5 else None


TRIT5_BYTES = {unpack_byte_trit5(byte): byte for byte in range(256)}


def pack_byte_trit5(trits):
    return TRIT5_BYTES[tuple(trits)]


def pack_byte_base3(trits):
    """One byte from five trits by Horner's rule."""
    byte = 0
    for trit in reversed(trits):
        byte = 3 * byte + trit + 1
    return byte


SCALAR = {"trit2": pack_byte_trit2, "trit5": pack_byte_trit5, "base3": pack_byte_base3}


def pack_scalar(packing, row):
    size = packing.trits_per_byte
    return [SCALAR[packing.name](row[i : i + size]) for i in range(0, len(row), size)]


def is_legal_trit2(byte):
    return all(byte >> shift & 3 != 2 for shift in (0, 2, 4, 6))


LEGAL = {
    "trit2": [byte for byte in range(256) if is_legal_trit2(byte)],
    "trit5": [byte for byte in range(256) if unpack_byte_trit5(byte)],
    "base3": list(range(243)),
}


@pytest.mark.parametrize("trit", TRITS)
def test_code_is_twos_complement_of_two_bits(trit):
    assert ternary.to_codes([trit])[0] == int.from_bytes(trit.to_bytes(1, signed=True)) & 0b11


@pytest.mark.parametrize(("trit", "code"), [(0, ternary.ZERO), (1, ternary.POS), (-1, ternary.NEG)])
def test_code_bits_mean_nonzero_and_negative(trit, code):
    assert code & 1 == (trit != 0)
    assert code >> 1 == (trit < 0)
    assert ternary.to_codes([[trit]]).tolist() == [[code]]
    assert ternary.from_codes([[code]]).tolist() == [[trit]]


def test_illegal_code_is_the_one_left():
    legal = {ternary.ZERO, ternary.POS, ternary.NEG}
    assert {0b00, 0b01, 0b10, 0b11} - legal == {ternary.ILLEGAL}


@pytest.mark.parametrize("code", [2, 4, 255, 256, 257, -1, 0.5, float("nan")])
def test_illegal_code_is_rejected_with_value_and_index(code):
    codes = np.array([[0, 1, 3], [1, code, 0]])
    with pytest.raises(InputError, match=rf"trit code must be 0, 1 or 3, not {code}.* at index 4"):
        ternary.from_codes(codes)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int64, np.float32])
def test_codes_of_any_dtype_are_read(dtype):
    trits = ternary.from_codes(np.array([0, 1, 3], dtype))
    assert trits.dtype == np.int8
    assert trits.tolist() == [0, 1, -1]


@pytest.mark.parametrize(
    "wrong", [2, -2, 3, 255, 256, 0.5, -0.999, float("nan"), float("inf"), None]
)
def test_wrong_trit_is_rejected_with_its_value(wrong):
    with pytest.raises(InputError, match=f"trits must be -1, 0 or \\+1, not {wrong}"):
        ternary.check_trits(np.array([[0, 1], [-1, wrong]]))


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int64, np.float16, np.float64])
def test_trits_of_any_dtype_become_int8(dtype):
    trits = ternary.check_trits(np.array([[-1, 0, 1]], dtype))
    assert trits.dtype == np.int8
    assert trits.tolist() == [[-1, 0, 1]]


def test_unsigned_minus_one_is_no_trit():
    with pytest.raises(InputError, match="not 255"):
        ternary.check_trits(np.array([1, 255], np.uint8))


@ALL
def test_legal_bytes_are_as_many_as_groups_of_trits(packing):
    assert np.flatnonzero(packing.legal).tolist() == LEGAL[packing.name]
    assert len(LEGAL[packing.name]) == 3**packing.trits_per_byte
    assert not packing.table[~packing.legal].any()


def test_bytes_of_zero_trits_are_those_of_the_prose():
    assert [packing.pack([0])[0] for packing in (TRIT2, TRIT5, BASE3)] == [0x00, 0x0A, 121]


def test_stream_knows_no_base_3():
    assert PACKINGS == {"trit2": TRIT2, "trit5": TRIT5}


@ALL
def test_round_trip_for_all_legal_bytes(packing):
    data = np.array(LEGAL[packing.name], np.uint8)
    trits = packing.unpack(data)
    assert trits.dtype == np.int8
    assert packing.pack(trits).tolist() == data.tolist()
    rows = trits.reshape(-1, packing.trits_per_byte).tolist()
    assert [SCALAR[packing.name](row) for row in rows] == data.tolist()
    assert len({tuple(row) for row in rows}) == len(data)


@pytest.mark.parametrize(
    ("packing", "byte"),
    [(p, byte) for p in (TRIT2, TRIT5) for byte in range(256) if byte not in LEGAL[p.name]],
    ids=lambda value: str(getattr(value, "name", value)),
)
def test_illegal_byte_is_rejected_with_value_and_index(packing, byte):
    data = np.zeros((2, 3), np.uint8)
    data[1, 1] = byte
    with pytest.raises(InputError, match=f"byte {byte} at index 4 is not a legal {packing.name}"):
        packing.unpack(data)


@ALL
@pytest.mark.parametrize("value", [-1, 256, 300, 0.5, float("nan")])
def test_what_is_no_byte_is_rejected_with_value_and_index(packing, value):
    with pytest.raises(InputError, match=f"byte {value}.* at index 2 is not a legal"):
        packing.unpack(np.array([0, 1, value]))


@ALL
@given(
    trits=npst.arrays(
        np.int8, npst.array_shapes(min_dims=1, max_dims=3, max_side=23), elements=st.integers(-1, 1)
    )
)
def test_round_trip_of_random_arrays_with_ragged_tails(packing, trits):
    packed = packing.pack(trits)
    k = trits.shape[-1]
    assert packed.dtype == np.uint8
    assert packed.shape == (*trits.shape[:-1], packing.packed_bytes(k))
    rows = trits.reshape(-1, k).tolist()
    assert packed.reshape(len(rows), -1).tolist() == [
        pack_scalar(packing, row + [0] * (-k % packing.trits_per_byte)) for row in rows
    ]
    assert np.array_equal(packing.unpack(packed, k), trits)
    assert not packing.unpack(packed)[..., k:].any()


@ALL
@pytest.mark.parametrize("trit", TRITS)
@pytest.mark.parametrize("k", [1, 4, 5, 6, 20, 41])
def test_constant_rows_round_trip(packing, trit, k):
    row = np.full((2, k), trit)
    assert np.array_equal(packing.unpack(packing.pack(row), k), row)


@ALL
def test_no_trits_pack_to_no_bytes(packing):
    assert packing.pack(np.zeros((3, 0), np.int8)).shape == (3, 0)
    assert packing.unpack(np.zeros((3, 0), np.uint8)).shape == (3, 0)


@ALL
@pytest.mark.parametrize("past", [-1, 1, 100])
def test_k_outside_the_data_is_rejected(packing, past):
    total = 2 * packing.trits_per_byte
    k = past if past < 0 else total + past
    with pytest.raises(InputError, match=f"k must be between 0 and {total} .*, not {k}"):
        packing.unpack(packing.pack(np.zeros(total)), k)


@ALL
def test_packing_rejects_what_is_no_trit(packing):
    with pytest.raises(InputError, match="not 2"):
        packing.pack([0, 1, 2])


@ALL
@pytest.mark.parametrize("trits", [0, 1, 3, 4, 5, 6, 4096])
def test_packed_bytes_and_bits_per_trit_agree_with_packing(packing, trits):
    size = packing.pack(np.zeros(trits)).size
    assert packing.packed_bytes(trits) == size
    whole = packing.trits_per_byte * 60
    assert packing.bits_per_trit == 8 * packing.pack(np.zeros(whole)).size / whole


@pytest.mark.parametrize("packing", [TRIT2, TRIT5, BASE3], ids=lambda packing: packing.name)
def test_none_to_all_of_the_trits_are_unpacked_and_no_other_number(packing):
    trits = np.resize([1, -1, 0], (2, 2 * packing.trits_per_byte))
    packed = packing.pack(trits)
    for k in range(2 * packing.trits_per_byte + 1):
        assert packing.unpack(packed, k).tolist() == trits[:, :k].tolist()
    for k in (-1, 2 * packing.trits_per_byte + 1):
        with pytest.raises(InputError, match=f"k must be between 0 and .*, not {k}"):
            packing.unpack(packed, k)
