"""A Gemm's operands as the beats of the array's streams, and its psum beats as a matrix."""

from __future__ import annotations

import numpy as np

from . import ternary
from .errors import InputError
from .tiling import Plan, WeightStationaryPlan


def pad(matrix: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """`matrix` with zeros below and to the right."""
    height, width = matrix.shape
    return np.pad(matrix, ((0, rows - height), (0, columns - width)))


def slice_acts(plan: Plan, acts) -> np.ndarray:
    """Acts of a matrix (m, k), cut into beats.

    Parameters
    ----------
    acts : array_like of int, shape (m, k)

    Returns
    -------
    ndarray of int, shape (token_groups, slices, rows, lanes)
        Weight-stationary: shape (k_groups, m, rows, lanes).

    Raises
    ------
    InputError
        The shape is not the plan's, or an act does not fit.
    """
    config, gemm, acts = plan.config, plan.gemm, np.asarray(acts)
    _require_shape("acts", acts, (gemm.m, gemm.k))
    limit = 1 << (config.act_bits - 1)
    wrong = acts[(acts < -limit) | (acts >= limit)]
    if wrong.size:
        raise InputError(f"acts must fit {config.act_bits} bits, not {wrong[0]}")
    if isinstance(plan, WeightStationaryPlan):
        tokens = pad(acts, gemm.m, plan.padded_k).reshape(gemm.m, -1, config.rows, config.lanes)
        return np.ascontiguousarray(tokens.swapaxes(0, 1))
    return _cut(plan, acts, plan.token_groups, config.rows)


def slice_trits(plan: Plan, trits) -> np.ndarray:
    """Trits (int8, shape (feature_groups, slices, cols, lanes)) of a matrix (n, k), as beats.

    Weight-stationary: as many slices as k_groups tiles of `rows` slices have.

    Raises
    ------
    InputError
        The shape is not the plan's, or a value is no trit.
    """
    trits = ternary.check_trits(trits)
    _require_shape("trits", trits, (plan.gemm.n, plan.gemm.k))
    return _cut(plan, trits, plan.feature_groups, plan.config.cols)


def output_stationary_beats(plan, acts, codes) -> dict[str, list[dict]]:
    """Ports of each beat of both streams of a Gemm on an output-stationary array.

    Operands are those of `slice_acts` and `slice_trits`, the trits as codes of two bits.
    """
    config = plan.config
    beats: dict[str, list[dict]] = {"acts": [], "trits": []}
    for tile in plan:
        for s in range(tile.slices):
            beats["acts"].append(
                {
                    "acts": acts[tile.m0 // config.rows, s],
                    "acts_last": s == tile.slices - 1,
                    "acts_tokens": tile.tokens,
                }
            )
            beats["trits"].append({"trits": codes[tile.n0 // config.cols, s]})
    return beats


def weight_stationary_beats(plan, acts, codes) -> dict[str, list[dict]]:
    """Ports of each beat of both streams of a Gemm on a weight-stationary array."""
    config = plan.config
    beats: dict[str, list[dict]] = {"acts": [], "trits": []}
    for tile in plan:
        for token in range(tile.m0, tile.m0 + tile.tokens):
            beats["acts"].append(
                {
                    "acts": acts[tile.first_slice // config.rows, token],
                    "acts_last": token == tile.m0 + tile.tokens - 1,
                    "acts_first_k": tile.first_k,
                    "acts_last_k": tile.last_k,
                }
            )
        slices = codes[tile.n0 // config.cols, tile.first_slice : tile.first_slice + config.rows]
        beats["trits"] += [{"trits": slice_} for slice_ in slices]
    return beats


def join_trits(plan: Plan, slices: np.ndarray) -> np.ndarray:
    """The matrix (n, k) of the slices of a pass; inverse of `slice_trits`."""
    config, gemm = plan.config, plan.gemm
    blocks = slices.reshape(plan.feature_groups, -1, config.cols, config.lanes)
    padded = blocks.swapaxes(1, 2).reshape(plan.padded_n, plan.padded_k)
    return np.ascontiguousarray(padded[: gemm.n, : gemm.k])


def _require_shape(name, array, wanted):
    if array.shape != wanted:
        raise InputError(f"{name} must have shape {wanted}, not {array.shape}")


def _cut(plan, matrix, groups, side):
    padded = pad(matrix, groups * side, plan.padded_k)
    lanes = plan.config.lanes
    blocks = padded.reshape(groups, side, plan.padded_k // lanes, lanes)
    return np.ascontiguousarray(blocks.swapaxes(1, 2))


def join_psums(plan: Plan, psums: np.ndarray) -> np.ndarray:
    """The matrix (m, n) of psum beats in the order in which they leave, shape (beats, cols)."""
    result = np.zeros((plan.gemm.m, plan.gemm.n), np.int64)
    start = 0
    for tile in plan:
        if not tile.last_k:
            continue
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


def unpack_fields(word: int, count: int, bits: int) -> np.ndarray:
    """`count` two's complement fields of `bits` bits of an integer, low bits first."""
    mask, sign = (1 << bits) - 1, 1 << (bits - 1)
    fields = [(word >> (i * bits)) & mask for i in range(count)]
    return np.array([(field ^ sign) - sign for field in fields], np.int64)


def field_word(values: np.ndarray, bits: int) -> int:
    """All fields of an array, low bits first, as one integer."""
    return int.from_bytes(pack_fields(np.ravel(values), bits).tobytes(), "little")
