"""The ternary matrix product, and the BitLinear layer around it."""

from __future__ import annotations

import numpy as np

from tritloom.arch.errors import InputError
from tritloom.arch.ternary import check_trits

from .quantise import Quantised, absmax_acts


def ternary_gemm(acts, trits) -> np.ndarray:
    """Y[m, n] = X[m, k] . W[n, k]^T in integers, exact.

    Parameters
    ----------
    acts : array_like of integers, shape (m, k)
        Integers of any width.
    trits : array_like of -1, 0, +1, shape (n, k)

    Returns
    -------
    ndarray of int64, shape (m, n)

    Raises
    ------
    InputError
        Wrong shapes or values, or sums that could exceed 53 bits.

    Notes
    -----
    NumPy multiplies integer matrices without BLAS, about ten times slower. Products and all
    partial sums here, in whatever order, are integers of at most k * max |act|, and so exact in
    `exact_float` of it: BLAS gives the integer result. The widest psum of any `ArrayConfig` has
    47 bits.
    """
    acts, trits = np.asarray(acts), np.asarray(trits)
    if acts.dtype.kind not in "iu":
        raise InputError(f"acts must be integers, not of dtype {acts.dtype}")
    for name, array in (("acts", acts), ("trits", trits)):
        if array.ndim != 2 or not array.size:
            raise InputError(
                f"{name} must be a matrix of two non-zero dimensions, not of shape {array.shape}"
            )
    if acts.shape[1] != trits.shape[1]:
        raise InputError(
            f"acts and trits must share k, but acts are {acts.shape} and trits {trits.shape}"
        )
    trits = check_trits(trits)
    exact = exact_float(acts.shape[1] * max(-int(acts.min()), int(acts.max())))
    return (acts.astype(exact) @ trits.astype(exact).T).astype(np.int64)


def exact_float(largest: int) -> type[np.floating]:
    """The narrowest float that holds every integer up to `largest` in magnitude.

    float32 up to 2**24 (sums of int8 acts: k up to 131072), float64 up to 2**53, no other.

    Raises
    ------
    InputError
        Sums that exceed 2**53.
    """
    if largest > 1 << 53:
        raise InputError(f"sums of up to {largest} exceed 2**53: acts or k are too large")
    return np.float32 if largest <= 1 << 24 else np.float64


def rescale(psums, *, acts: Quantised, weight_scale) -> np.ndarray:
    """Y (float32, shape (m, n)) that integer psums of `acts` stand for.

    Computed in float64 and rounded to float32 once: psums are exact there, and one rounding is
    all that separates the result from the product of the dequantised operands.
    """
    scale = acts.scale.astype(np.float64) * np.float64(weight_scale)
    return (np.asarray(psums) * scale).astype(np.float32)


def bit_linear(acts, weights: Quantised, *, act_bits: int = 8) -> np.ndarray:
    """A linear layer as BitNet runs it: quantise the acts, multiply in integers, rescale.

    Parameters
    ----------
    acts : array_like of real numbers, shape (m, k)
        Already normalised; BitNet's RMSNorm is not part of this.
    weights : Quantised, shape (n, k)
        From `absmean_trits`, `sign_trits` or `to_trits`.
    act_bits : int
        Width of the quantised acts, 2 to 16.

    Returns
    -------
    ndarray of float32, shape (m, n)

    Raises
    ------
    InputError
        Wrong shapes or values.

    Notes
    -----
    Source: arXiv 2402.17764, section 2.
    """
    quantised = absmax_acts(acts, bits=act_bits)
    psums = ternary_gemm(quantised.values, weights.values)
    return rescale(psums, acts=quantised, weight_scale=weights.scale)
