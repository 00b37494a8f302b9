import re
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from tritloom.arch.errors import InputError
from tritloom.sim.golden.quantise import (
    EPSILON,
    absmax_acts,
    absmean_trits,
    finite_matrix,
    is_ternary,
    sign_trits,
    to_trits,
)

ALL = pytest.mark.parametrize("quantise", [absmean_trits, sign_trits, to_trits, absmax_acts])
ULP = Fraction(1, 2**23)  # of float32, relative


def matrices(low=-1e3, high=1e3):
    return npst.arrays(
        np.float32,
        npst.array_shapes(min_dims=2, max_dims=2, max_side=12),
        elements=st.floats(np.float32(low), np.float32(high), width=32),
    )


ANY_FLOAT32 = npst.arrays(
    np.float32,
    npst.array_shapes(min_dims=2, max_dims=2, max_side=6),
    elements=st.floats(allow_nan=False, allow_infinity=False, width=32),
)


def exact(matrix):
    return [[Fraction(float(value)) for value in row] for row in matrix]


def mean_magnitude(matrix):
    values = [abs(value) for row in exact(matrix) for value in row]
    return sum(values) / len(values)


@given(weights=matrices())
def test_absmean_is_round_clip_of_the_exact_quotient(weights):
    result = absmean_trits(weights)
    scale = Fraction(float(result.scale))
    assert abs(scale / (mean_magnitude(weights) + Fraction(EPSILON)) - 1) <= ULP
    for row, trits in zip(exact(weights), result.values.tolist(), strict=True):
        for weight, trit in zip(row, trits, strict=True):
            quotient = weight / scale
            if abs(abs(quotient) - Fraction(1, 2)) > ULP:
                assert trit == max(-1, min(1, round(quotient)))


def test_absmean_rounds_a_tie_to_even():
    weights = np.array([[0.5, -0.5], [1.5, -1.49609375]])
    result = absmean_trits(weights, epsilon=2**-10)
    assert float(result.scale) == 1.0  # so the quotients 0.5 and -0.5 are exact ties
    assert result.values.tolist() == [[0, 0], [1, -1]]


def test_absmean_matches_a_case_computed_by_hand():
    # gamma = (4 + 1 + 0.5 + 2.5) / 4 = 2: quotients 2, -0.5, 0.25, -1.25, a shade less with epsilon
    result = absmean_trits([[4, -1], [0.5, -2.5]])
    assert result.values.tolist() == [[1, 0], [0, -1]]
    assert result.values.dtype == np.int8
    assert float(result.scale) == pytest.approx(2 + EPSILON)


def test_absmean_has_one_scale_for_the_matrix():
    result = absmean_trits([[1e3, -1e3], [1, -1]])
    assert result.scale.shape == ()
    assert result.values.tolist() == [[1, -1], [0, 0]]


def test_absmean_of_zeros_is_zeros():
    result = absmean_trits(np.zeros((2, 3)))
    assert not result.values.any()
    assert float(result.scale) == pytest.approx(EPSILON)


@given(weights=matrices())
def test_absmean_is_odd(weights):
    assert np.array_equal(absmean_trits(-weights).values, -absmean_trits(weights).values)


@given(
    trits=npst.arrays(
        np.int8, npst.array_shapes(min_dims=2, max_dims=2), elements=st.integers(-1, 1)
    ),
    factor=st.floats(0.01, 100),
)
def test_absmean_recovers_scaled_trits(trits, factor):
    assert np.array_equal(absmean_trits(trits * factor).values, trits)


def test_absmean_of_normal_weights_zeroes_the_share_that_theory_predicts():
    weights = np.random.default_rng(1).normal(0, 0.02, (512, 512))
    # P(|x| < gamma / 2), gamma = sigma sqrt(2 / pi): erf(1 / sqrt(4 pi)) = 0.3101
    assert np.mean(absmean_trits(weights, epsilon=1e-9).values == 0) == pytest.approx(
        0.3101, abs=0.003
    )


@given(weights=matrices())
def test_sign_is_of_the_distance_to_the_exact_mean(weights):
    result = sign_trits(weights)
    values = [value for row in exact(weights) for value in row]
    alpha = sum(values) / len(values)
    slack = (max(map(abs, values)) + 1) * ULP
    for value, sign in zip(values, result.values.ravel().tolist(), strict=True):
        assert sign in (-1, 1)
        if abs(value - alpha) > slack:
            assert sign == (1 if value > alpha else -1)
    beta = mean_magnitude(weights)
    assert abs(Fraction(float(result.scale)) - beta) <= beta * ULP + Fraction(1, 2**149)


def test_sign_matches_a_case_computed_by_hand():
    result = sign_trits([[4, 1], [0, 3]])  # alpha = 2, beta = 2
    assert result.values.tolist() == [[1, -1], [-1, 1]]
    assert float(result.scale) == 2


@pytest.mark.parametrize("value", [0.0, 0.1, -3.7, 1e-30])
def test_sign_of_a_constant_matrix_is_minus_one(value):
    assert (sign_trits(np.full((7, 3), value)).values == -1).all()


@given(acts=ANY_FLOAT32, bits=st.integers(2, 16))
def test_act_is_the_nearest_integer_to_the_exact_quotient(acts, bits):
    result = absmax_acts(acts, bits=bits)
    limit = 2 ** (bits - 1) - 1
    assert result.scale.shape == (len(acts), 1)
    assert np.isfinite(result.scale).all()
    for row, quantised in zip(exact(acts), result.values.tolist(), strict=True):
        largest = max(Fraction(float(np.float32(EPSILON))), *map(abs, row))
        for act, integer in zip(row, quantised, strict=True):
            assert abs(integer) <= limit
            assert abs(integer - act * limit / largest) <= Fraction(1, 2) + limit * 4 * ULP


@given(acts=matrices())
def test_largest_act_of_a_token_becomes_127(acts):
    result = absmax_acts(acts)
    largest = np.abs(acts).max(axis=1)
    assert (np.abs(result.values).max(axis=1)[largest >= EPSILON] == 127).all()


@given(acts=matrices())
def test_acts_are_quantised_token_by_token(acts):
    whole = absmax_acts(acts)
    for index, row in enumerate(acts):
        alone = absmax_acts(row[None])
        assert np.array_equal(alone.values[0], whole.values[index])
        assert alone.scale[0] == whole.scale[index]


@given(acts=matrices())
def test_acts_have_no_zero_point(acts):
    assert np.array_equal(absmax_acts(-acts).values, -absmax_acts(acts).values)


@pytest.mark.parametrize("factor", [1, 2, 0.25])
def test_acts_round_half_to_even(factor):
    ties = np.array([[127, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 3.5]])
    assert absmax_acts(ties * factor).values.tolist() == [[127, 0, 2, 2, 0, -2, -2, 4]]


def test_acts_are_multiplied_by_the_rounded_reciprocal_as_in_pytorch():
    # Against 127 / 3, rounded once, this act is 2.5 and becomes 2.
    assert absmax_acts([[3, 0.05905511975288391]]).values.tolist() == [[127, 3]]


def test_zero_token_stays_zero_beside_another():
    result = absmax_acts([[0, 0], [1, -1]])
    assert result.values.tolist() == [[0, 0], [127, -127]]


@pytest.mark.parametrize(("bits", "dtype"), [(2, np.int8), (8, np.int8), (9, np.int16)])
def test_acts_have_the_narrowest_dtype(bits, dtype):
    assert absmax_acts([[1.0]], bits=bits).values.dtype == dtype


@given(acts=matrices())
def test_dequantised_acts_are_within_half_a_step(acts):
    result = absmax_acts(acts)
    assert (np.abs(result.dequantised - acts) <= result.scale * 0.5001).all()


@pytest.mark.parametrize("dtype", [np.int8, np.float32, np.float64])
def test_matrix_of_trits_is_kept(dtype):
    trits = np.array([[0, 0, 1], [0, -1, 0]], dtype)
    result = to_trits(trits)
    assert np.array_equal(result.values, trits)
    assert (result.values.dtype, float(result.scale)) == (np.int8, 1.0)


@given(weights=matrices())
def test_other_matrices_go_through_absmean(weights):
    expected = absmean_trits(weights)
    if not is_ternary(weights):
        assert np.array_equal(to_trits(weights).values, expected.values)
        assert to_trits(weights).scale == expected.scale


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ([[0.0]], True),
        ([[1, -1, 0]], True),
        ([[1, -1, 0.999]], False),
        ([[2]], False),
    ],
)
def test_ternary_means_nothing_but_three_values(matrix, expected):
    assert is_ternary(np.array(matrix)) is expected


@pytest.mark.parametrize(
    "dtype", [np.int8, np.uint64, np.float16, ml_dtypes.bfloat16, np.float64, ">f4"]
)
def test_real_dtypes_become_float32(dtype):
    matrix = finite_matrix("x", np.array([[1, 2]]).astype(dtype))
    assert matrix.dtype == np.float32
    assert matrix.tolist() == [[1, 2]]


@ALL
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39, -1e300])
def test_value_that_is_not_finite_in_float32_is_named_with_its_place(quantise, value):
    matrix = np.ones((3, 4))
    matrix[1, 2] = value
    message = rf"(weights|acts) must be finite in float32, but \[1, 2\] is {re.escape(str(value))}"
    with pytest.raises(InputError, match=f"^{message}$"):
        quantise(matrix)


@ALL
@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 4), (0, 3), (3, 0), (0,)], ids=str)
def test_wrong_shape_is_named(quantise, shape):
    message = re.escape(f"must be a matrix of two non-zero dimensions, not of shape {shape}")
    with pytest.raises(InputError, match=message):
        quantise(np.ones(shape))


@ALL
@pytest.mark.parametrize("values", [[["a"]], [[None]], [[1j]], [[b"1"]]], ids=str)
def test_dtype_that_is_not_real_is_named(quantise, values):
    dtype = np.asarray(values).dtype
    with pytest.raises(
        InputError, match=f"must be real numbers, not of dtype {re.escape(str(dtype))}"
    ):
        quantise(values)


@pytest.mark.parametrize("quantise", [absmean_trits, absmax_acts])
@pytest.mark.parametrize("epsilon", [0, -1e-5, float("nan"), float("inf"), "1e-5", None, True])
def test_bad_epsilon_is_named(quantise, epsilon):
    with pytest.raises(InputError, match=f"epsilon must be a number .*, not {epsilon!r}"):
        quantise([[1.0]], epsilon=epsilon)


@pytest.mark.parametrize("bits", [1, 17, 8.0, "8"])
def test_bad_act_width_is_named(bits):
    with pytest.raises(InputError, match=f"bits must be .*, not {bits!r}"):
        absmax_acts([[1.0]], bits=bits)
