"""BitNet's quantisation: weights to trits or signs, acts to int8, each with its scale.

Floating-point semantics, the same for every function here:

- Values are rounded to float32 first: checkpoints hold at most that, and the reference
  implementations compute in it.
- A mean over a whole matrix is accumulated in float64 and rounded to float32 once, so it does not
  depend on the order of summation. A float32 sum as in PyTorch can differ in its last bits; a trit
  then differs only where a weight is within those bits of a rounding threshold.
- Everything element by element is float32, in the order of the published formula; rounding is
  half to even.

A scale multiplies: values * scale approximates what was quantised. (Some checkpoints store the
reciprocal.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tritloom.arch.errors import InputError, require_int

# Neither paper gives epsilon a value; the released BitNet b1.58 2B4T code uses 1e-5 for weights
# and acts.
EPSILON = 1e-5


@dataclass(frozen=True, kw_only=True, eq=False)
class Quantised:
    """An integer matrix and the scale that undoes its quantisation.

    Attributes
    ----------
    values : ndarray of int8 (int16 for acts of more than 8 bits), shape (a, b)
    scale : ndarray of float32, shape () for weights or (tokens, 1) for acts
    """

    values: np.ndarray
    scale: np.ndarray

    @property
    def dequantised(self) -> np.ndarray:
        """The matrix that the integers stand for, float32."""
        return self.values * self.scale


def finite_matrix(name: str, values) -> np.ndarray:
    """Return `values` as a float32 matrix; raise `InputError` naming what is wrong with them.

    Wrong are: a dtype that is not real, other than two dimensions, a dimension of zero, and any
    value that is NaN or infinite, or becomes infinite in float32.
    """
    array = np.asarray(values)
    if not np.can_cast(array.dtype, np.float64):
        raise InputError(f"{name} must be real numbers, not of dtype {array.dtype}")
    if array.ndim != 2 or not array.size:
        raise InputError(
            f"{name} must be a matrix of two non-zero dimensions, not of shape {array.shape}"
        )
    with np.errstate(over="ignore"):
        matrix = array.astype(np.float32, copy=False)
    finite = np.isfinite(matrix)
    if not finite.all():
        row, col = np.argwhere(~finite)[0]
        raise InputError(
            f"{name} must be finite in float32, but [{row}, {col}] is {array[row, col]}"
        )
    return matrix


def absmean_trits(weights, *, epsilon: float = EPSILON) -> Quantised:
    """Weights of BitNet b1.58: RoundClip(W / (gamma + epsilon), -1, 1), gamma = mean |W|.

    Parameters
    ----------
    weights : array_like of real numbers, shape (n, k)
    epsilon : float
        Keeps the quotient finite when all weights are zero.

    Returns
    -------
    Quantised
        values in {-1, 0, +1}, shape (n, k); scale = gamma + epsilon, one for the matrix.

    Raises
    ------
    InputError
        The weights are no matrix of finite real numbers, or `epsilon` is out of its range.

    Notes
    -----
    Source: arXiv 2402.17764, equations 1 to 3. A weight of half the scale rounds to zero, to even.
    """
    matrix = finite_matrix("weights", weights)
    scale = _mean_magnitude(matrix) + _epsilon(epsilon)
    trits = np.clip(np.rint(matrix / scale), -1, 1).astype(np.int8)
    return Quantised(values=trits, scale=np.asarray(scale))


def sign_trits(weights) -> Quantised:
    """Weights of the original 1-bit BitNet: sign(W - alpha), alpha = mean(W), in {-1, +1}.

    Returns
    -------
    Quantised
        values, shape (n, k): +1 where the weight exceeds alpha, else -1, never 0;
        scale = beta = mean |W|.

    Raises
    ------
    InputError

    Notes
    -----
    Source: arXiv 2310.11453, section 2.1; its sign of zero is -1.
    """
    matrix = finite_matrix("weights", weights)
    alpha = np.float32(matrix.mean(dtype=np.float64))
    signs = np.where(matrix > alpha, np.int8(1), np.int8(-1))
    return Quantised(values=signs, scale=np.asarray(_mean_magnitude(matrix)))


def to_trits(weights) -> Quantised:
    """Trits of `absmean_trits`; a matrix of nothing but -1, 0 and +1 is kept, with scale 1."""
    matrix = finite_matrix("weights", weights)
    if is_ternary(matrix):
        return Quantised(values=matrix.astype(np.int8), scale=np.asarray(np.float32(1)))
    return absmean_trits(matrix)


def is_ternary(matrix: np.ndarray) -> bool:
    """Whether every value is -1, 0 or +1."""
    return bool(((matrix == 0) | (matrix == 1) | (matrix == -1)).all())


def absmax_acts(acts, *, bits: int = 8, epsilon: float = EPSILON) -> Quantised:
    """Acts quantised token by token: round(x * Q / max |x|), Q = 2**(bits - 1) - 1, no zero point.

    Parameters
    ----------
    acts : array_like of real numbers, shape (m, k)
        One token a row.
    bits : int
        Width of a two's complement act, 2 to 16.
    epsilon : float
        Least value that stands for max |x|: a token of smaller acts does not reach Q.

    Returns
    -------
    Quantised
        values in [-Q, Q], shape (m, k); scale = max |x| / Q, shape (m, 1).

    Raises
    ------
    InputError
        The acts are no matrix of finite real numbers, or `bits` or `epsilon` is out of its range.

    Notes
    -----
    Source: arXiv 2402.17764, section 2, with the range of the released code (no -128), whose
    order of operations this follows to the bit: PyTorch computes Q / max |x| there as the
    reciprocal times Q. x times that exceeds Q by less than half for every float32, so rounding
    never leaves the range and nothing is clipped.
    """
    limit = np.float32(2 ** (require_int("bits", bits, low=2, high=16) - 1) - 1)
    matrix = finite_matrix("acts", acts)
    largest = np.abs(matrix).max(axis=1, keepdims=True)
    largest = np.maximum(largest, _epsilon(epsilon))
    values = np.rint(matrix * (1 / largest * limit)).astype(np.int8 if bits <= 8 else np.int16)
    return Quantised(values=values, scale=largest / limit)


def _mean_magnitude(matrix: np.ndarray) -> np.float32:
    return np.float32(np.abs(matrix).mean(dtype=np.float64))


def _epsilon(value: float) -> np.float32:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1e-30 <= value <= 1:
        raise InputError(f"epsilon must be a number from 1e-30 to 1, not {value!r}")
    return np.float32(value)
