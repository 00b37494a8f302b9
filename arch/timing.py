"""Cycles of the arrays, as closed formulas.

All streams are ready here. Backpressure on the psum stream adds its length at most, and a beat that
arrives late its lateness. The co-simulation
(`sim/bench/test_array.py`, `sim/bench/test_weight_stationary.py`) holds each formula equal to the
RTL.

`drain_latency`, `tile_period` and `drain_gap` hold for the output-stationary array, `preload`,
`weight_stationary_period` and `pass_latency` for the weight-stationary one.
"""

from __future__ import annotations

from collections.abc import Sequence

from .config import ArrayConfig, Dataflow
from .layout import BEATS
from .ternary import Packing
from .tiling import Plan, WeightStationaryPlan

# Registers that a slice passes in the PE of the corner: the accumulator and the drain register.
# config.input_stages counts the registers before the selects, config.tree_stages the adder tree's.
ACCUMULATE, LOAD = 1, 1
# Cycles from the core's first beat of weights to the first slice of trits: a group of beats.
UNPACK = BEATS
# Cycles from taking a beat of acts to offering it: the address, the word, its register.
BUFFER = 3
# Cycles between two runs in which the weight side takes the next descriptor.
DESCRIPTOR = 1
# Registers of a weight-stationary array: the psum register of the southernmost PE, and the register
# at the output behind the output buffer's adder.
PASS, OUTPUT = 1, 1


def skew(config: ArrayConfig) -> int:
    """Cycles by which the last PE (south-east) lags the first (north-west)."""
    return config.rows - 1 + config.hops - 1


def drain_latency(config: ArrayConfig) -> int:
    """Cycles from accepting a tile's last beat to offering its first psum.

    The same count is the depth of the control delay line at the array's edge.
    """
    return skew(config) + config.input_stages + config.tree_stages + ACCUMULATE + LOAD


def tile_period(config: ArrayConfig, *, slices: int, tokens: int) -> int:
    """Cycles from a tile's last beat to the next tile's last beat, both streams always ready.

    Parameters
    ----------
    slices : int
        Beats of the next tile.
    tokens : int
        Psum beats of the tile that drains meanwhile.
    """
    return max(slices, drain_gap(config, tokens=tokens))


def drain_gap(config: ArrayConfig, *, tokens: int) -> int:
    """Fewest cycles between the last beats of a tile of `tokens` tokens and of the next one.

    The last beat of a tile waits until all psums of the tile before have been taken. No more than
    that tile's is so under way to the drain registers, which are free when it comes, however long
    backpressure lasts; and nothing behind the array's edge ever has to stop.
    """
    return drain_latency(config) + tokens


def preload(config: ArrayConfig) -> int:
    """Cycles from accepting a tile's first beat of trits to accepting its first beat of acts.

    Trits always ready. The first beat of acts swaps: it switches each PE it comes to from the old
    tile's trits to the new one's, which takes no cycle of its own.
    """
    return config.rows


def weight_stationary_period(config: ArrayConfig, *, tokens: int) -> int:
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
    return skew(config) + config.input_stages + config.tree_stages + PASS + OUTPUT


def gemm_cycles(plan: Plan) -> int:
    """Cycles of a whole Gemm with all three streams always ready.

    From the cycle that accepts the first beat (of trits, where they are stationary) to the cycle
    that delivers the last psum beat, both included.

    Parameters
    ----------
    plan : Plan

    Returns
    -------
    int
        Cycles of the array alone; `core_cycles` are those of the core around it.

    Notes
    -----
    docs/timing.md derives the formula; `sim/bench/test_array.py` and
    `sim/bench/test_weight_stationary.py` hold it equal to the RTL.
    """
    return (
        _weight_stationary(plan)
        if isinstance(plan, WeightStationaryPlan)
        else _output_stationary(plan)
    )


def _weight_stationary(plan):
    """Cycles of preload, a period for every tile but the last, that one's stream, and the drain."""
    config, tiles = plan.config, plan.group_tiles
    full = (plan.token_groups - 1) * tiles
    return (
        preload(config)
        + full * weight_stationary_period(config, tokens=config.buffer_tokens)
        + (tiles - 1) * weight_stationary_period(config, tokens=plan.last_tokens)
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


def acts_ahead(_config: ArrayConfig) -> int:
    """Beats of acts that a run takes without any weights: those on the way to the array."""
    return 3


def weights_ahead(config: ArrayConfig, packing: Packing) -> int:
    """Beats of weights that a run takes without any acts.

    The unpacker holds a group of beats and all but the last one of the next. A weight-stationary
    array takes the slices of a tile out of it.
    """
    streamed = config.dataflow == Dataflow.OUTPUT_STATIONARY
    whole = 0 if streamed else config.rows // packing.trits_per_byte
    return BEATS * (whole + 1) + BEATS - 1


def core_cycles(plan: Plan, packing: Packing) -> int:
    """Cycles of one run of the core, its queue and pipelines empty, all three streams always ready.

    From the cycle that takes the first beat of weights to the cycle that delivers the last row of
    psums, both included. It is `gemm_cycles`, UNPACK more at the start, one more for the register
    at the output, and a wait at the end of each pass but the last where the pass ends with a group
    of few slices: the next group's beats take their time.
    """
    return queue_cycles([(plan, packing)])


def queue_cycles(runs: Sequence[tuple[Plan, Packing]]) -> int:
    """Cycles of several queued runs of one core, from the first one's start to the last one's end.

    Each descriptor is in the queue before the weights of the run before it have all come in. Then a
    run follows the one before as a pass follows a pass, but for the cycle in which the weight side
    takes the descriptor: its weights come that much later.
    """
    plan = runs[0][0]
    passes = (
        _WeightStationaryPasses()
        if isinstance(plan, WeightStationaryPlan)
        else _OutputStationaryPasses()
    )
    for plan, packing in runs:
        groups = [plan.config.group_tokens] * (plan.token_groups - 1) + [plan.last_tokens]
        before = (packing.packed_bytes(plan.pass_slices) - 1) * packing.trits_per_byte
        for index, tokens in enumerate(groups):
            # The pass's last group of beats moves on when the slice before it is taken; the next
            # pass's group comes in behind it.
            moved = passes.walk(plan, tokens, before)
            if index == plan.token_groups - 1:
                moved = passes.next_run(moved)
            passes.offered = max(moved + BEATS, passes.trits_end + 1)
    return passes.delivered(plan) + 1


class _OutputStationaryPasses:
    """Walks passes of the output-stationary core, in cycles from the first beat of weights.

    Attributes
    ----------
    offered : int
        Cycle from which the next pass's first slice is offered.
    trits_end : int
        Cycle that took the last slice so far.
    """

    def __init__(self):
        self.offered, self.trits_end = UNPACK, -1
        self._gap = self._tokens = 0

    def walk(self, plan, tokens, before):
        """Walk one pass; return the cycle from which its slice number `before` is offered."""
        offered, slices = self.offered, plan.slices
        last_group, beat = divmod(before, slices)
        self._tokens = tokens
        for group in range(plan.feature_groups):
            start = max(offered, self.trits_end + 1)
            if group == last_group and before:
                moved = start + beat
            self.trits_end = max(start + slices - 1, self.trits_end + self._gap)
            self._gap = drain_gap(plan.config, tokens=tokens)
        return moved if before else offered

    def next_run(self, moved):
        """Start the next run; return the cycle from which its weights may come.

        Parameters
        ----------
        moved : int
            Cycle in which the weights of the run before have moved on.
        """
        return moved + DESCRIPTOR

    def delivered(self, plan):
        """Cycle of the last row of psums."""
        return self.trits_end + drain_latency(plan.config) + self._tokens


class _WeightStationaryPasses:
    """Walks passes of the weight-stationary core; attributes as in `_OutputStationaryPasses`."""

    def __init__(self):
        self.offered, self.trits_end = UNPACK, -1
        self._swap = self._acts_end = self._started = -1

    def walk(self, plan, tokens, before):
        """Walk one pass; return the cycle from which its slice number `before` is offered."""
        rows, period = plan.config.rows, weight_stationary_period(plan.config, tokens=tokens)
        # A tile's load begins with the swap of the tile before, if the trits are there.
        load = max(self.offered, self._swap)
        # The sequencer's first beat reaches the array so much later than it took the run.
        first = max(load + rows, self._acts_end + 1, self._started + 1 + BUFFER)
        self._swap = first + (plan.group_tiles - 1) * period
        self._acts_end = self._swap + tokens - 1
        self.trits_end = (load if plan.group_tiles == 1 else self._swap - period) + rows - 1
        if not before:
            return self.offered
        tile, row = divmod(before - 1, rows)
        return (first + (tile - 1) * period if tile else load) + row + 1

    def next_run(self, moved):
        """Start the next run; return the cycle from which its weights may come.

        The sequencer takes one descriptor before the next moves up.
        """
        taken = max(moved, self._started + 2)
        # Trits first, then acts, when the last beat is on its way through the act buffer. Where
        # that is not what lies between the last beats, their tile waits for trits.
        walked = max(self.trits_end, taken + 1) + 1
        self._started = max(self._acts_end - BUFFER, self._started + 1, walked)
        return taken + DESCRIPTOR

    def delivered(self, plan):
        """Cycle of the last row of psums."""
        return self._acts_end + pass_latency(plan.config) + OUTPUT


def utilisation(plan: Plan) -> float:
    """Share of the array's multiply-accumulate slots that do useful work over `gemm_cycles`."""
    return plan.gemm.macs / (gemm_cycles(plan) * plan.config.macs_per_cycle)
