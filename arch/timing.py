"""Cycles of the arrays, as closed formulas.

Every cycle here is a cycle in which the array advances; backpressure on the psum stream freezes
it and adds its length, and a beat that arrives late adds its lateness at most. The co-simulation
(`sim/test_array.py`, `sim/test_stationary.py`) holds each formula equal to the RTL.

`drain_latency`, `tile_period` and `drain_gap` are of the output-stationary array, `preload`,
`stationary_period` and `pass_latency` of the weight-stationary one.
"""

from __future__ import annotations

from .config import ArrayConfig
from .layout import BEATS
from .ternary import Packing
from .tiling import Plan, StationaryPlan

# Registers that a slice passes in the PE of the corner: the hop register, the accumulator and the
# drain register. The adder tree's own are config.tree_stages.
HOP, ACCUMULATE, LOAD = 1, 1, 1
# Cycles from the core's first beat of weights to the first slice of trits: a group of beats.
UNPACK = BEATS
# The same of a weight-stationary array: the hop register, the psum register of the southernmost
# PE, and the register at the output behind the output buffer's adder.
PASS, OUTPUT = 1, 1


def skew(config: ArrayConfig) -> int:
    """Cycles by which the last PE (south-east) lags the first (north-west)."""
    return config.rows - 1 + config.hops - 1


def drain_latency(config: ArrayConfig) -> int:
    """Cycles from accepting a tile's last beat to offering its first psum.

    The same count is the depth of the control delay line at the array's edge.
    """
    return skew(config) + HOP + config.tree_stages + ACCUMULATE + LOAD


def tile_period(config: ArrayConfig, *, slices: int, tokens: int) -> int:
    """Cycles from a tile's last beat to the next tile's last beat, both streams always ready.

    Parameters
    ----------
    slices : int
        Beats of the next tile.
    tokens : int
        Psum beats of the tile that drains meanwhile. Its drain registers in the first column are
        free again `tokens` + hops - 1 cycles after they were loaded, so a shorter tile waits.
    """
    return max(slices, drain_gap(config, tokens=tokens))


def drain_gap(config: ArrayConfig, *, tokens: int) -> int:
    """Fewest cycles between the last beats of a tile of `tokens` tokens and of the next one."""
    return tokens + config.hops - 1


def preload(config: ArrayConfig) -> int:
    """Cycles from accepting a tile's first beat of trits to accepting its first beat of acts.

    Trits always ready. The first beat of acts swaps: it switches each PE it comes to from the old
    tile's trits to the new one's, which takes no cycle of its own.
    """
    return config.rows


def stationary_period(config: ArrayConfig, *, tokens: int) -> int:
    """Cycles from a tile's first beat of acts to the next tile's, both streams always ready.

    Parameters
    ----------
    tokens : int
        Beats of acts of the tile. Meanwhile the next one's trits are loaded: the first of them may
        enter in the cycle of the swap, so fewer tokens than rows wait for the rest of the load.
    """
    return max(tokens, preload(config))


def pass_latency(config: ArrayConfig) -> int:
    """Cycles from accepting a beat of acts of the last slices of k to offering its psums.

    Psums of the columns further west wait at the south edge for those of the last hop.
    """
    return skew(config) + HOP + config.tree_stages + PASS + OUTPUT


def gemm_cycles(plan: Plan | StationaryPlan) -> int:
    """Cycles of a whole Gemm with all three streams always ready.

    From the cycle that accepts the first beat (of trits, where they are stationary) to the cycle
    that delivers the last psum beat, both included.
    """
    return _stationary(plan) if isinstance(plan, StationaryPlan) else _output_stationary(plan)


def _stationary(plan):
    """Preload, a period for every tile but the last, the last tile's stream, the drain."""
    config, tiles = plan.config, plan.group_tiles
    full = (plan.token_groups - 1) * tiles
    return (
        preload(config)
        + full * stationary_period(config, tokens=config.buffer_tokens)
        + (tiles - 1) * stationary_period(config, tokens=plan.last_tokens)
        + plan.last_tokens
        + pass_latency(config)
    )


def _output_stationary(plan):
    config, slices = plan.config, plan.slices
    # A period follows every tile but the last; all those of full groups drain `rows` tokens.
    full = (plan.token_groups - 1) * plan.feature_groups
    ragged = plan.feature_groups - 1
    return (
        slices
        + full * tile_period(config, slices=slices, tokens=config.rows)
        + ragged * tile_period(config, slices=slices, tokens=plan.last_tokens)
        + drain_latency(config)
        + plan.last_tokens
        - 1
    )


def core_cycles(plan: Plan, packing: Packing) -> int:
    """Cycles of one run of the core, its queue and pipelines empty, all three streams always ready.

    From the cycle that takes the first beat of weights to the cycle that delivers the last row of
    psums, both included. It is `gemm_cycles`, UNPACK more at the start, one more for the register
    at the output, and a wait at the end of each pass but the last where the pass ends with a group
    of few slices: the next group's beats take their time.
    """
    config, slices = plan.config, plan.slices
    in_pass = plan.feature_groups * slices
    in_last = in_pass - (packing.packed_bytes(in_pass) - 1) * packing.trits_per_byte
    # In cycles from the first beat of weights: when the last group was loaded, and the tile before
    # this one ended.
    loaded, ended, gap = UNPACK - 1, UNPACK - 1, 0
    for group in range(plan.token_groups):
        tokens = config.rows if group < plan.token_groups - 1 else plan.last_tokens
        start = max(loaded, ended)
        ends = []
        for _tile in range(plan.feature_groups):
            ended = max(start + slices, ended + gap)
            ends.append(ended)
            start, gap = ended, drain_gap(config, tokens=tokens)
        if in_pass > in_last:
            # The pass's last group was loaded when the slice before it was taken.
            tile, beat = divmod(in_pass - in_last - 1, slices)
            begun = ends[tile - 1] if tile else max(loaded, ends[0] - slices)
            loaded = ends[tile] if beat == slices - 1 else begun + beat + 1
        else:
            loaded = max(loaded, ends[0] - slices)
        loaded = max(loaded + BEATS, ended)
    return ended + drain_latency(config) + plan.last_tokens + 1


def utilisation(plan: Plan | StationaryPlan) -> float:
    """Share of the array's multiply-accumulate slots that do useful work over `gemm_cycles`."""
    return plan.gemm.macs / (gemm_cycles(plan) * plan.config.macs_per_cycle)
