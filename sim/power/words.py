"""Operands as words for the ports of a hop: a beat in every cycle, tile after tile."""

from __future__ import annotations

import numpy as np

from tritloom.arch import streams, ternary
from tritloom.arch.config import ArrayConfig, Technology
from tritloom.sim.checkpoints.fetch import DEMO_TENSOR, fetch_demo_model
from tritloom.sim.checkpoints.matrix import load_matrix
from tritloom.sim.golden.quantise import absmax_acts, to_trits


def hop_words(
    config: ArrayConfig, acts: np.ndarray, trits: np.ndarray, *, weight_bits: int | None = None
) -> dict[str, np.ndarray]:
    """Words of a beat in every cycle, for the ports of `hw.verilog.generate_hop`.

    Parameters
    ----------
    acts : array of int, shape (tiles, slices, lanes)
    trits : array of int, shape (tiles, slices, cols, lanes)
    weight_bits : int, optional
        Width of a baseline's weights, which are words rather than trits.
    """
    tiles, slices, _ = acts.shape
    beats = tiles * slices
    slice_ = np.tile(np.arange(slices), tiles)
    control = 1 | (slice_ == 0) << 1 | (slice_ == slices - 1) << 2
    flat = trits.reshape(beats, -1)
    if weight_bits is not None:
        codes = flat
    elif config.technology == Technology.ASIC:
        codes = (flat == 1) | (flat == -1) << 1
    else:
        codes = ternary.to_codes(flat)
    return {
        "acts_west": streams.pack_fields(acts.reshape(beats, -1), config.act_bits),
        "control_west": control.astype(np.uint8)[:, None],
        "trits_north": streams.pack_fields(codes, weight_bits or 2),
    }


def random_tiles(
    *,
    tiles: int,
    slices: int,
    lanes: int,
    cols: int,
    zero_share: float,
    seed: int = 0,
    bits: int = 8,
) -> tuple[np.ndarray, np.ndarray]:
    """(acts, trits) of `hop_words`: uniform acts, and as many trits +1 as -1, but for chance."""
    rng = np.random.default_rng(seed)
    acts = rng.integers(-(1 << bits - 1), 1 << bits - 1, (tiles, slices, lanes))
    chances = [(1 - zero_share) / 2, zero_share, (1 - zero_share) / 2]
    return acts, rng.choice([-1, 0, 1], (tiles, slices, cols, lanes), p=chances)


def layer_tiles(
    acts: np.ndarray, trits: np.ndarray, *, tiles: int, lanes: int, cols: int
) -> tuple[np.ndarray, np.ndarray]:
    """(acts, trits) of `hop_words`: the first tiles of a layer, all of one token.

    Parameters
    ----------
    acts : array of int, shape (k,)
    trits : array of int, shape (n, k)
    """
    slices = len(acts) // lanes
    rows = trits[: tiles * cols, : slices * lanes].reshape(tiles, cols, slices, lanes)
    cut = acts[: slices * lanes].reshape(slices, lanes)
    return np.broadcast_to(cut, (tiles, slices, lanes)), rows.swapaxes(1, 2)


def demo_tiles(*, tiles: int, lanes: int, cols: int, seed: int = 0):
    """(acts, trits) of `hop_words`: the demo's layer, with normal acts quantised by absmax.

    Raises
    ------
    InputError
        The model is not in the cache and cannot be had.
    """
    file = fetch_demo_model()
    trits = to_trits(load_matrix(file, DEMO_TENSOR)).values
    normal = np.random.default_rng(seed).standard_normal((1, trits.shape[1]), np.float32)
    return layer_tiles(absmax_acts(normal).values[0], trits, tiles=tiles, lanes=lanes, cols=cols)


def half_tiles(
    *, tiles: int, slices: int, lanes: int = 1, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """(acts, weights), FP16: normal, of deviation 1 and 0.02."""
    rng = np.random.default_rng(seed)
    each = (rng.normal(0, deviation, (tiles, slices, lanes)) for deviation in (1, 0.02))
    acts, values = (np.float16(numbers).view(np.uint16) for numbers in each)
    return acts, values
