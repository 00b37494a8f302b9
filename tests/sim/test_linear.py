"""The ternary product against four oracles that share no code with it, nor with each other."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from tritloom.arch.errors import InputError
from tritloom.sim.golden.linear import bit_linear, exact_float, rescale, ternary_gemm
from tritloom.sim.golden.quantise import absmax_acts, absmean_trits, sign_trits


def integer_matmul(acts, trits):
    return np.asarray(acts, np.int64) @ np.asarray(trits, np.int64).T


def extraction(acts, trits):
    """Acts where the trit is +1, summed, minus the acts where it is -1, summed."""
    acts = np.asarray(acts, np.int64)
    columns = [acts[:, row == 1].sum(axis=1) - acts[:, row == -1].sum(axis=1) for row in trits]
    return np.stack(columns, axis=1)


def select_by_branch(acts, trits):
    result = []
    for act_row in acts.tolist():
        result.append([])
        for trit_row in trits.tolist():
            psum = 0
            for act, trit in zip(act_row, trit_row, strict=True):
                if trit == 1:
                    psum += act
                elif trit == -1:
                    psum -= act
            result[-1].append(psum)
    return np.array(result)


def bitwise_negation(acts, trits):
    """Negate as hardware does, flip all bits and add one; mask by the trit's "non-zero" bit."""
    acts = np.asarray(acts, np.int64)[:, None, :]
    codes = np.asarray(trits, np.int64)[None] & 0b11
    nonzero, negative = -(codes & 1), -(codes >> 1)
    return (((acts ^ negative) + (negative & 1)) & nonzero).sum(axis=2)


ORACLES = pytest.mark.parametrize(
    "oracle", [integer_matmul, extraction, select_by_branch, bitwise_negation]
)


@st.composite
def operands(draw, dtype=np.int8):
    m, k, n = (draw(st.integers(1, 9)) for _ in range(3))
    info = np.iinfo(dtype)
    extremes = st.sampled_from([info.min, info.max, 0, -1, 1])
    acts = st.one_of(st.integers(int(info.min), int(info.max)), extremes)
    return (
        draw(npst.arrays(dtype, (m, k), elements=acts)),
        draw(npst.arrays(np.int8, (n, k), elements=st.integers(-1, 1))),
    )


@ORACLES
@given(pair=operands())
def test_random_int8_products_agree_with_the_oracle(oracle, pair):
    assert np.array_equal(ternary_gemm(*pair), oracle(*pair))


@ORACLES
@given(pair=operands(np.int16))
def test_random_int16_products_agree_with_the_oracle(oracle, pair):
    assert np.array_equal(ternary_gemm(*pair), oracle(*pair))


@ORACLES
@pytest.mark.parametrize("trit", [-1, 0, 1, None], ids=["neg", "zero", "pos", "mixed"])
@pytest.mark.parametrize("act", [-128, -127, -1, 0, 1, 127])
@pytest.mark.parametrize("k", [1, 2, 7, 64])
def test_extreme_products_agree_with_the_oracle(oracle, act, trit, k):
    acts = np.full((3, k), act, np.int8)
    trits = np.full((2, k), trit or 0, np.int8)
    if trit is None:
        trits[0, ::2], trits[1, 1::2] = -1, 1
    assert np.array_equal(ternary_gemm(acts, trits), oracle(acts, trits))


@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 300, 7), (33, 576, 130)], ids=str)
@pytest.mark.parametrize("seed", [0, 1])
def test_larger_products_agree_with_integer_matmul_and_extraction(shape, seed):
    m, k, n = shape
    rng = np.random.default_rng(seed)
    acts = rng.integers(-128, 128, (m, k), np.int8)
    trits = rng.integers(-1, 2, (n, k), np.int8)
    result = ternary_gemm(acts, trits)
    assert result.dtype == np.int64
    assert np.array_equal(result, integer_matmul(acts, trits))
    assert np.array_equal(result, extraction(acts, trits))


@pytest.mark.parametrize("act", [-128, 127])
@pytest.mark.parametrize("k", [131071, 131072, 131073, 200001])
def test_sums_of_int8_acts_are_exact_around_the_limit_of_float32(act, k):
    acts = np.full((1, k), act, np.int8)
    acts[0, 0] = 1  # so that the largest sums are odd
    trits = np.ones((2, k), np.int8)
    trits[1] = -1
    total = 1 + (k - 1) * act
    assert ternary_gemm(acts, trits).tolist() == [[total, -total]]


def test_sum_that_float32_would_round_is_exact():
    acts = np.full((1, 513), 32767, np.int16)
    total = 513 * 32767
    assert int(np.float32(total)) != total
    assert ternary_gemm(acts, np.ones((1, 513), np.int8)).item() == total


def test_acts_up_to_the_limit_of_float64_are_exact():
    acts = np.array([[2**52, 2**52 - 1]])
    assert ternary_gemm(acts, [[1, 1]]).item() == 2**53 - 1
    assert ternary_gemm(acts, [[1, -1]]).item() == 1


@pytest.mark.parametrize("act", [2**53 + 1, -(2**63), 2**63 - 1])
def test_acts_beyond_the_limit_of_float64_are_rejected(act):
    with pytest.raises(InputError, match=f"sums of up to {abs(act)} exceed 2"):
        ternary_gemm(np.array([[act]]), [[1]])


@pytest.mark.parametrize("trits", [np.float32, np.int64, np.int8])
@pytest.mark.parametrize("acts", [np.uint8, np.int8, np.int32, np.int64])
def test_any_integer_acts_and_any_dtype_of_trits_are_taken(acts, trits):
    result = ternary_gemm(np.array([[7, 2]], acts), np.array([[1, -1]], trits))
    assert result.tolist() == [[5]]


def test_layout_in_memory_does_not_matter():
    rng = np.random.default_rng(2)
    acts, trits = rng.integers(-128, 128, (6, 8)), rng.integers(-1, 2, (10, 8))
    expected = integer_matmul(acts[::2, ::-1], trits[::3, ::-1])
    assert np.array_equal(ternary_gemm(acts[::2, ::-1], trits[::3, ::-1]), expected)
    assert np.array_equal(ternary_gemm(np.asfortranarray(acts), trits), ternary_gemm(acts, trits))


@pytest.mark.parametrize(
    ("acts", "trits", "message"),
    [
        (np.ones((2, 3)), np.ones((4, 3)), "acts must be integers, not of dtype float64"),
        ([[True]], [[1]], "acts must be integers, not of dtype bool"),
        ([["1"]], [[1]], "acts must be integers, not of dtype <U1"),
        ([1, 2], [[1, 1]], "acts must be a matrix of two non-zero dimensions, not of shape (2,)"),
        ([[1, 2]], [1, 1], "trits must be a matrix of two non-zero dimensions, not of shape (2,)"),
        (
            np.ones((0, 3), int),
            np.ones((4, 3)),
            "acts must be a matrix of two non-zero dimensions, not of shape (0, 3)",
        ),
        (
            np.ones((2, 3), int),
            np.ones((0, 3)),
            "trits must be a matrix of two non-zero dimensions, not of shape (0, 3)",
        ),
        (
            np.ones((2, 3), int),
            np.ones((3, 2)),
            "acts and trits must share k, but acts are (2, 3) and trits (3, 2)",
        ),
        ([[1]], [[2]], "trits must be -1, 0 or +1, not 2"),
        ([[1]], [[np.nan]], "trits must be -1, 0 or +1, not nan"),
    ],
)
def test_bad_operand_is_named_with_what_is_wrong(acts, trits, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        ternary_gemm(acts, trits)


WEIGHTS = pytest.mark.parametrize("quantise", [absmean_trits, sign_trits])


def layer(seed, m=5, k=64, n=9):
    rng = np.random.default_rng(seed)
    return rng.normal(0, 3, (m, k)), rng.normal(0.01, 0.05, (n, k))


@WEIGHTS
@pytest.mark.parametrize("act_bits", [4, 8, 12])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_bit_linear_is_the_product_of_the_dequantised_operands(quantise, act_bits, seed):
    acts, weights = layer(seed)
    quantised = absmax_acts(acts, bits=act_bits)
    matrix = quantise(weights)
    reals = [x.values.astype(float) * x.scale.astype(float) for x in (quantised, matrix)]
    result = bit_linear(acts, matrix, act_bits=act_bits)
    assert result.dtype == np.float32
    assert result == pytest.approx(reals[0] @ reals[1].T, rel=1e-6, abs=1e-9)


@WEIGHTS
@pytest.mark.parametrize("act_bits", [4, 8])
@pytest.mark.parametrize("seed", [3, 4])
def test_bit_linear_errs_by_at_most_half_a_step_an_act(quantise, act_bits, seed):
    acts, weights = layer(seed)
    matrix = quantise(weights)
    exact = acts @ (matrix.values * float(matrix.scale)).T
    step = np.abs(acts).max(axis=1, keepdims=True) / (2 ** (act_bits - 1) - 1)
    bound = 0.5 * step * float(matrix.scale) * np.abs(matrix.values).sum(axis=1)
    error = np.abs(bit_linear(acts, matrix, act_bits=act_bits) - exact)
    assert (error <= bound * 1.0001).all()
    assert error.max() > 0


def test_bit_linear_matches_a_case_computed_by_hand():
    # Weights: gamma = 2, trits [1, 0, -1, 0] and [0, 0, 1, 1]. Acts: scale 1, integers as they are.
    weights = absmean_trits([[3.5, 0.5, -3, 0.5], [0.5, 0, 4, 4]], epsilon=1e-9)
    assert weights.values.tolist() == [[1, 0, -1, 0], [0, 0, 1, 1]]
    result = bit_linear([[127, 5, -7, 2]], weights)
    assert result.tolist() == [[134 * 2, -5 * 2]]


def test_rescale_applies_each_tokens_own_scale():
    acts = absmax_acts([[127.0], [254.0]])
    weights = sign_trits([[4.0], [-4.0]])
    y = rescale([[1, -3], [1, 2]], acts=acts, weight_scale=weights.scale)
    assert y.tolist() == [[4, -12], [8, 16]]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_bit_linear_rejects_acts_that_are_not_finite(value):
    with pytest.raises(InputError, match=rf"acts must be finite in float32, .*\[0, 1\] is {value}"):
        bit_linear([[1.0, value]], absmean_trits([[1.0, 2.0]]))


@pytest.mark.parametrize(
    ("largest", "kind"),
    [
        (0, np.float32),
        (128 * 131072, np.float32),
        (128 * 131072 + 1, np.float64),
        (2**53, np.float64),
    ],
)
def test_the_narrowest_float_that_holds_every_integer_is_taken(largest, kind):
    assert exact_float(largest) is kind
    # The last two integers are told apart in it, and the next one of an odd pair would not be.
    assert largest == 0 or kind(largest) - kind(largest - 1) == 1
    with pytest.raises(InputError, match=r"sums of up to 9007199254740993 exceed 2\*\*53"):
        exact_float(2**53 + 1)
