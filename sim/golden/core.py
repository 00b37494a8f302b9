"""Cycle model of the core's streams: one call per clock, ready, valid and payload of each.

It joins the models of unpacker and array. It has no counters of what is left of a run: it lists the
beats of a run's plan and goes through them. Packets are whole; what the core does with damaged ones
is not in it. A soft reset may come at any time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tritloom.arch.config import ArrayConfig, Dataflow
from tritloom.arch.ternary import TRIT5, Packing
from tritloom.arch.tiling import OutputStationaryPlan, Plan, Tile, WeightStationaryPlan

from .output_stationary import OutputStationaryModel
from .unpacker import UnpackerInputs, UnpackerModel
from .weight_stationary import WeightStationaryModel


@dataclass(frozen=True, kw_only=True)
class CoreInputs:
    """What the other side of the streams does in one cycle.

    Attributes
    ----------
    acts : ndarray of int, shape (rows, lanes), or None
        The beat that is offered; likewise `weights`, bytes of shape (beat_bytes,).
    acts_last, weights_last : bool
    psums_ready : bool
    """

    acts: np.ndarray | None
    weights: np.ndarray | None
    acts_last: bool
    weights_last: bool
    psums_ready: bool


@dataclass(frozen=True, kw_only=True)
class CoreOutputs:
    """What the core does in one cycle; `psums` are those that it offers, shape (cols,), or None.

    Of these, `psums_last` tells whether TLAST is high.
    """

    acts_ready: bool
    weights_ready: bool
    psums: np.ndarray | None
    psums_last: bool


@dataclass
class _ActBeat:
    """One beat of acts of a run.

    Attributes
    ----------
    plan, packing, tile
        The run and the tile that the beat belongs to.
    kept : int
        Place of the beat among the acts of its group.
    fresh : bool
        Whether the beat comes from the stream; if not, the act buffer has kept it.
    ports : dict
        Inputs of the array's model that come with the beat.
    pass_last, run_last : bool
    """

    plan: Plan
    packing: Packing
    tile: Tile
    kept: int
    fresh: bool
    ports: dict
    pass_last: bool = False
    run_last: bool = False
    acts: np.ndarray | None = None


def beats_of(plan: Plan, packing: Packing) -> list[_ActBeat]:
    """The beats of acts of a run in their order."""
    beats = []
    ports: dict[str, object]
    for tile in plan:
        if isinstance(plan, WeightStationaryPlan):
            first = tile.first_slice // plan.config.rows * tile.tokens
            ports = {"acts_first_k": tile.first_k, "acts_last_k": tile.last_k}
            count = tile.tokens
        else:
            first, count, ports = 0, tile.slices, {"acts_tokens": tile.tokens}
        for i in range(count):
            last = {"acts_last": i == count - 1}
            beats.append(_ActBeat(plan, packing, tile, first + i, tile.n0 == 0, ports | last))
    each = len(beats) // plan.token_groups
    if isinstance(plan, OutputStationaryPlan):
        for beat in beats[each - 1 :: each]:
            beat.pass_last = True
    beats[-1].run_last = True
    return beats


def lasts_of(plan: Plan, psums_last: int) -> Iterator[bool]:
    """Whether TLAST comes with each beat of a run's psums, in their order."""
    config = plan.config
    for tile in plan:
        if isinstance(plan, WeightStationaryPlan) and not tile.last_k:
            continue
        pass_ends = tile.n0 + config.cols >= plan.gemm.n
        run_ends = pass_ends and tile.m0 + tile.tokens == plan.gemm.m
        for token in range(tile.tokens):
            tile_ends = token == tile.tokens - 1
            yield psums_last == 2 or (tile_ends and (pass_ends if psums_last == 1 else run_ends))


class CoreModel:
    """Golden model of the streams of `hw.core.core.Core`, from a reset on."""

    def __init__(self, config: ArrayConfig):
        self.config = config
        self._streamed = config.dataflow == Dataflow.OUTPUT_STATIONARY
        # Whether a soft reset is under way, now and a cycle ago; whether software has resumed.
        self._flushing = self._flushed = self._resumed = False
        # Streams that are inside a packet.
        self._open = {"acts": False, "weights": False}
        # The beat of psums that is offered, with its TLAST.
        self._front: tuple[np.ndarray, bool] | None = None
        self._clear()

    def _clear(self):
        """Forget all runs, and what they have brought along but for the beat that is offered."""
        config = self.config
        self._array = (OutputStationaryModel if self._streamed else WeightStationaryModel)(config)
        self._unpacker = UnpackerModel(config.cols * config.lanes)
        self._queue: deque[tuple[Plan, Packing, int]] = deque()
        # TLAST of the psums to come, run by run.
        self._lasts: deque[Iterator[bool]] = deque()
        # Whether the queue's first descriptor has reached the weights, and the loads.
        self._ahead = self._walked = False
        self._started = False  # a cycle ago, the first descriptor: it leaves the queue now
        self._passes = 0  # passes of the weight stream that are still to come
        self._trit5 = False
        self._loads: deque[int] = deque()  # slices still to be loaded, by pass
        self._run: Iterator[_ActBeat] = iter(())
        self._next: _ActBeat | None = None
        # Beats on their way through the act buffer: the address asked for, the word read, offered.
        self._asked: _ActBeat | None = None
        self._read: _ActBeat | None = None
        self._staged: _ActBeat | None = None
        self._kept: dict[int, np.ndarray] = {}
        self._back: tuple[np.ndarray, bool] | None = None

    def push(self, plan: Plan, packing: Packing, psums_last: int):
        """A descriptor that the queue offers from this cycle on; refused while flushing."""
        if not self._flushed:
            self._queue.append((plan, packing, psums_last))

    def soft_reset(self):
        """The core is flushing from this cycle on."""
        self._clear()
        self._flushing, self._resumed = True, False

    def resume(self):
        """Software lets the flushing end; no packet that begins from this cycle on is dropped."""
        self._resumed = self._flushed

    @property
    def flushing(self) -> bool:
        """Whether STATUS.FLUSHING is 1."""
        return self._flushing

    @property
    def under_way(self) -> tuple[Plan, Packing, Tile] | None:
        """Run and tile of the array's next beat of acts; None where no run has one left."""
        for beat in (self._staged, self._read, self._asked, self._next):
            if beat is not None:
                return beat.plan, beat.packing, beat.tile
        return None

    def step(self, inputs: CoreInputs) -> CoreOutputs:
        """Outputs of this cycle for its inputs; then the clock rises."""
        self._flushed = self._flushing
        outputs = self._flush(inputs) if self._flushing else self._work(inputs)
        for name, ready in (("acts", outputs.acts_ready), ("weights", outputs.weights_ready)):
            if ready and getattr(inputs, name) is not None:
                self._open[name] = not getattr(inputs, f"{name}_last")
        return outputs

    def _flush(self, inputs):
        """A cycle of flushing."""
        outputs = CoreOutputs(
            acts_ready=self._open["acts"] or not self._resumed,
            weights_ready=self._open["weights"] or not self._resumed,
            **self._offered(),
        )
        if self._resumed and self._front is None and not any(self._open.values()):
            self._flushing = False
        if inputs.psums_ready:
            self._front = None
        return outputs

    def _offered(self):
        psums, last = self._front or (None, False)
        return {"psums": psums, "psums_last": last}

    def _work(self, inputs):
        """A cycle of runs, or of none."""
        staged = self._staged
        taking = bool(self._queue) and not self._passes and not self._ahead
        if self._streamed:
            beats = (self._next, self._asked, self._read, staged)
            loading = any(beat is not None for beat in beats)
            last = staged is not None and staged.pass_last
        else:
            loading, last = bool(self._loads), bool(self._loads) and self._loads[0] == 1
        grid = self._step_array(loading)
        slice_taken = loading and self._unpacker.offered is not None and grid.trits_ready
        weights = self._unpacker.step(
            UnpackerInputs(
                weights=inputs.weights,
                weights_last=inputs.weights_last,
                weights_valid=inputs.weights is not None and self._passes > 0,
                trit5=self._trit5,
                trits_ready=loading and grid.trits_ready,
                trits_last=last,
                start=taking,
            )
        )
        takes_staged = staged is None or grid.acts_ready
        takes_read = self._read is None or takes_staged
        room = self._asked is None or takes_read
        wanted = self._next is not None and self._next.fresh and room
        outputs = CoreOutputs(
            acts_ready=wanted,
            weights_ready=weights.weights_ready and self._passes > 0,
            **self._offered(),
        )
        if takes_staged:
            self._staged = self._read
        if takes_read:
            self._read = self._asked
        ended = self._step_acts(inputs, room, wanted)
        self._step_psums(inputs, grid)
        self._step_queue(inputs, outputs, taking, ended, slice_taken)
        return outputs

    def _step_array(self, loading):
        config, staged, offered = self.config, self._staged, self._unpacker.offered
        idle = np.zeros((config.rows, config.lanes), np.int64)
        codes = np.zeros(config.cols * config.lanes, np.uint8) if offered is None else offered
        return self._array.step(
            self._array.inputs(
                acts=idle if staged is None else staged.acts,
                trits=codes.reshape(config.cols, config.lanes),
                acts_valid=staged is not None,
                trits_valid=loading and offered is not None,
                psums_ready=self._back is None,
                **({} if staged is None else staged.ports),
            )
        )

    def _step_acts(self, inputs, room, wanted):
        """Ask for the next beat, if there is one; returns whether no run is on then."""
        beat = self._next
        if beat is None or not room or (wanted and inputs.acts is None):
            if room:
                self._asked = None
            return beat is None
        if beat.fresh:
            self._kept[beat.kept] = inputs.acts
        beat.acts = self._kept[beat.kept]
        self._asked, self._next = beat, next(self._run, None)
        return beat.run_last

    def _step_psums(self, inputs, grid):
        # Taken from the array where the back one is free.
        psums = None
        if grid.psums_valid and self._back is None:
            psums = grid.psums, self._next_last()
        if self._front is None or inputs.psums_ready:
            self._front = psums if self._back is None else self._back
            self._back = None
        elif self._back is None:
            self._back = psums

    def _next_last(self):
        """TLAST of the next psums out of the array."""
        while True:
            last = next(self._lasts[0], None)
            if last is not None:
                return last
            self._lasts.popleft()

    def _step_queue(self, inputs, outputs, taking, ended, slice_taken):
        """Hand the first descriptor of the queue to weights, loads and acts."""
        first = self._queue[0] if self._queue else None
        walked = self._ahead if self._streamed else self._walked
        started = False
        if first is not None and walked and ended and not self._started:
            started = True
            self._run = iter(beats_of(*first[:2]))
            self._lasts.append(lasts_of(first[0], first[2]))
            self._next = next(self._run)
        if slice_taken and not self._streamed:
            self._loads[0] -= 1
            if not self._loads[0]:
                self._loads.popleft()
        if first is not None and self._ahead and not self._walked and not self._loads:
            self._loads.extend([first[0].pass_slices] * first[0].token_groups)
            self._walked = True
        elif self._started:
            self._walked = False
        if inputs.weights is not None and outputs.weights_ready and inputs.weights_last:
            self._passes -= 1
        if taking and first is not None:
            self._ahead, self._passes = True, first[0].token_groups
            self._trit5 = first[1] is TRIT5
        if self._started:
            self._ahead = False
            self._queue.popleft()
        self._started = started
