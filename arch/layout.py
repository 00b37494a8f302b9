"""The weight stream: which byte of which beat holds which trits.

A slice is one beat of the array's trits: `positions` = cols * lanes of them, position
col * lanes + lane. The stream goes in groups of `BEATS` beats of W = ceil(positions / 4) bytes.
Byte p of a group belongs to position p and holds its trits of as many slices in succession as the
packing puts into a byte: 4 (trit2) or 5 (trit5), the first slice at the little end. The up to 3
bytes beyond the last position are ignored.

The slices of a pass (all tiles of one group of tokens) run on without a break; only the last group
of a pass is filled up with zero trits.
"""

from __future__ import annotations

import numpy as np

from .errors import InputError
from .ternary import Packing
from .tiling import Plan

# Beats of one group. As many as trit2 has slices in a byte: so it keeps pace beat for slice.
BEATS = 4


def beat_bytes(positions: int) -> int:
    """Bytes of one beat of the weight stream."""
    return -(-positions // BEATS)


def pass_beats(slices: int, positions: int, packing: Packing) -> int:
    """Beats of a pass of so many slices, whatever the number of positions."""
    if positions < 1:
        raise InputError(f"positions must be at least 1, not {positions}")
    return BEATS * packing.packed_bytes(slices)


def pass_cycles(slices: int, packing: Packing) -> int:
    """Cycles from a pass's first slice to the next pass's, neither side of the unpacker waiting.

    Each slice takes one; but the last group's beats take theirs even where few of its slices count.
    """
    in_last = slices - (packing.packed_bytes(slices) - 1) * packing.trits_per_byte
    return slices + max(0, BEATS - in_last)


def pack_pass(trits, packing: Packing, *, positions: int) -> np.ndarray:
    """Beats of the weight stream that carry the trits of one pass.

    Parameters
    ----------
    trits : array_like, shape (slices, positions) or one that reshapes to it, values -1, 0, +1

    Returns
    -------
    ndarray of uint8, shape (pass_beats(...), beat_bytes(positions))

    Raises
    ------
    InputError
        No slice, a number of trits that is no multiple of `positions`, a value that is no trit.
    """
    trits = np.asarray(trits)
    if positions < 1 or trits.size == 0 or trits.size % positions:
        raise InputError(f"{trits.size} trits are not slices of {positions} positions")
    trits = trits.reshape(-1, positions)
    # Spare bytes hold zero trits too: legal in either packing.
    spare = BEATS * beat_bytes(positions) - positions
    fill = -len(trits) % packing.trits_per_byte
    groups = np.pad(trits, ((0, fill), (0, spare))).reshape(
        -1, packing.trits_per_byte, positions + spare
    )
    return packing.pack(groups.swapaxes(1, 2)).reshape(-1, beat_bytes(positions))


def unpack_pass(beats, packing: Packing, *, slices: int, positions: int) -> np.ndarray:
    """Trits (int8, shape (slices, positions)) of the beats of one pass; inverse of `pack_pass`.

    Raises
    ------
    InputError
        A shape that is not the pass's, an illegal byte other than a spare one.
    """
    beats = np.asarray(beats)
    wanted = (pass_beats(slices, positions, packing), beat_bytes(positions))
    if beats.shape != wanted:
        raise InputError(f"beats must have shape {wanted}, not {beats.shape}")
    groups = beats.reshape(-1, BEATS * beat_bytes(positions))[:, :positions]
    trits = packing.unpack(groups[..., None])
    return trits.swapaxes(1, 2).reshape(-1, positions)[:slices]


def bits_per_trit(plan: Plan, packing: Packing) -> tuple[float, float]:
    """Bits of weight stream per useful trit (k * n) and per streamed one (ragged edges included).

    Both count every byte of the beats, so the second exceeds `packing.bits_per_trit` by the spare
    bytes and the padding of the last group alone.
    """
    positions = plan.config.cols * plan.config.lanes
    slices = plan.pass_slices
    bits = 8 * beat_bytes(positions) * pass_beats(slices, positions, packing)
    return bits / (plan.gemm.k * plan.gemm.n), bits / (slices * positions)
