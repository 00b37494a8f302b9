"""A Gemm's operands as the beats of the array's streams, and its psum beats as a matrix."""

from __future__ import annotations

import numpy as np

from arch import ternary
from arch.errors import InputError
from arch.tiling import Plan


def pad(matrix: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """`matrix` with zeros below and to the right."""
    height, width = matrix.shape
    return np.pad(matrix, ((0, rows - height), (0, columns - width)))


def slice_operands(plan: Plan, acts, trits) -> tuple[np.ndarray, np.ndarray]:
    """Operands cut into beats.

    Parameters
    ----------
    acts : array_like of int, shape (m, k)
    trits : array_like of int, shape (n, k)

    Returns
    -------
    acts : ndarray of int, shape (token_groups, slices, rows, lanes)
    codes : ndarray of uint8, shape (feature_groups, slices, cols, lanes)

    Raises
    ------
    InputError
        A shape that is not the plan's, an act that does not fit, a value that is no trit.
    """
    config, gemm = plan.config, plan.gemm
    acts, codes = np.asarray(acts), ternary.to_codes(trits)
    for name, found, wanted in (
        ("acts", acts.shape, (gemm.m, gemm.k)),
        ("trits", codes.shape, (gemm.n, gemm.k)),
    ):
        if found != wanted:
            raise InputError(f"{name} must have shape {wanted}, not {found}")
    limit = 1 << (config.act_bits - 1)
    wrong = acts[(acts < -limit) | (acts >= limit)]
    if wrong.size:
        raise InputError(f"acts must fit {config.act_bits} bits, not {wrong[0]}")

    def cut(matrix, groups, side):
        padded = pad(matrix, groups * side, plan.padded_k)
        blocks = padded.reshape(groups, side, plan.slices, config.lanes)
        return np.ascontiguousarray(blocks.swapaxes(1, 2))

    return (
        cut(acts, plan.token_groups, config.rows),
        cut(codes, plan.feature_groups, config.cols),
    )


def join_psums(plan: Plan, psums: np.ndarray) -> np.ndarray:
    """The matrix (m, n) of psum beats in the order in which they leave, shape (beats, cols)."""
    result = np.zeros((plan.gemm.m, plan.gemm.n), np.int64)
    start = 0
    for tile in plan:
        block = psums[start : start + tile.tokens, : tile.features]
        result[tile.m0 : tile.m0 + tile.tokens, tile.n0 : tile.n0 + tile.features] = block
        start += tile.tokens
    return result


def pack_fields(values: np.ndarray, bits: int) -> np.ndarray:
    """Fields of `bits` bits, low bits first, along the last axis as bytes padded to 8 bytes.

    The padding makes a beat a whole number of the simulator's words.
    """
    values = np.asarray(values)
    if bits == 8:
        packed = values.astype(np.uint8)
    else:
        planes = (values[..., None] >> np.arange(bits)) & 1
        flat = planes.reshape(*values.shape[:-1], -1).astype(np.uint8)
        packed = np.packbits(flat, axis=-1, bitorder="little")
    fill = -packed.shape[-1] % 8
    return np.pad(packed, [(0, 0)] * (packed.ndim - 1) + [(0, fill)])


def pack_beats(beats: np.ndarray, bits: int) -> np.ndarray:
    """Beats (..., side, lanes) as bytes, shape (number of beats, padded bytes)."""
    return pack_fields(beats.reshape(-1, beats.shape[-2] * beats.shape[-1]), bits)


def unpack_fields(word: int, count: int, bits: int) -> np.ndarray:
    """`count` two's complement fields of `bits` bits of an integer, low bits first."""
    mask, sign = (1 << bits) - 1, 1 << (bits - 1)
    fields = [(word >> (i * bits)) & mask for i in range(count)]
    return np.array([(field ^ sign) - sign for field in fields], np.int64)


def field_word(values: np.ndarray, bits: int) -> int:
    """All fields of an array, low bits first, as one integer."""
    return int.from_bytes(pack_fields(np.ravel(values), bits).tobytes(), "little")
