"""Cycle model of the output-stationary array: one call per clock, the ports of the RTL.

It has no PEs and no registers between them. A tile is an integer sum that grows with each beat;
when it ends, its psums are put on the calendar at the cycles that `arch.timing` states. Equality
with the RTL on every port of every cycle therefore ties the gateware's structure to the formulas.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np

from tritloom.arch import timing
from tritloom.arch.config import ArrayConfig
from tritloom.arch.ternary import ILLEGAL


@dataclass(frozen=True, kw_only=True)
class OutputStationaryInputs:
    """Input ports of one cycle.

    Attributes
    ----------
    acts : ndarray of int, shape (rows, lanes)
        One row for each token.
    trits : ndarray of int, shape (cols, lanes)
        Two-bit codes, the illegal one included.
    acts_valid, acts_last, trits_valid, psums_ready, rst : bool
    acts_tokens : int
        1 to rows where `acts_last` is set.
    """

    acts: np.ndarray
    trits: np.ndarray
    acts_valid: bool = False
    acts_last: bool = False
    acts_tokens: int = 1
    trits_valid: bool = False
    psums_ready: bool = True
    rst: bool = False


@dataclass(kw_only=True)
class ArrayOutputs:
    """Output ports of one cycle, `psums` with shape (cols,)."""

    acts_ready: bool
    trits_ready: bool
    psums: np.ndarray
    psums_valid: bool
    psums_last: bool
    illegal: bool
    perf: dict[str, bool]


@dataclass
class _OutputStationaryState:
    """State that a reset clears."""

    sums: np.ndarray  # psums so far of the tile that is streaming, by token and feature
    ended: bool = False  # whether a tile has ended whose psums are not all taken
    draining: list = field(default_factory=list)  # psums still to be offered, by token
    # What happens at the end of a cycle, by cycle.
    loads: dict = field(default_factory=lambda: defaultdict(list))
    starts: dict = field(default_factory=dict)
    illegal: bool = False


class OutputStationaryModel:
    """Golden model of the array of `hw.array.output_stationary`."""

    inputs: type = OutputStationaryInputs

    def __init__(self, config: ArrayConfig):
        self.config = config
        self._time = 0
        self._south = np.zeros(config.cols, np.int64)  # what the psum port shows
        self._control = self._reset()

    def step(self, inputs: OutputStationaryInputs) -> ArrayOutputs:
        """Outputs of this cycle for its inputs; then the clock rises."""
        control = self._control
        valid = bool(control.draining)
        ready = not (inputs.acts_last and control.ended)
        both = inputs.acts_valid and inputs.trits_valid
        beat = ready and both
        held = valid and not inputs.psums_ready
        outputs = ArrayOutputs(
            acts_ready=ready and inputs.trits_valid,
            trits_ready=ready and inputs.acts_valid,
            psums=self._south,
            psums_valid=valid,
            psums_last=len(control.draining) == 1,
            illegal=control.illegal,
            perf={
                "blocked": both and not ready and held,
                "beats": beat,
                "wait_drain": both and not ready and not held,
                "wait_acts": inputs.trits_valid and not inputs.acts_valid,
                "wait_trits": inputs.acts_valid and not inputs.trits_valid,
            },
        )
        if beat:
            self._take(inputs)
        self._end(taken=valid and inputs.psums_ready)
        if inputs.rst:
            self._control = self._reset()
        return outputs

    def _reset(self):
        return _OutputStationaryState(np.zeros((self.config.rows, self.config.cols), np.int64))

    def _take(self, inputs):
        config, control = self.config, self._control
        control.illegal |= bool((inputs.trits == ILLEGAL).any())
        trits = np.array([0, 1, 0, -1])[inputs.trits]
        control.sums += inputs.acts.astype(np.int64) @ trits.T
        if not inputs.acts_last:
            return
        tile, tokens = control.sums, inputs.acts_tokens
        control.sums = np.zeros_like(tile)
        control.ended = True
        # The drain starts when the last hop's PE has loaded; each hop before it loads one cycle
        # earlier, and its psum of token 0 shows at the port at once.
        start = self._time + timing.drain_latency(config) - 1
        control.starts[start] = tile[:tokens]
        for hop in range(config.hops):
            control.loads[start - (config.hops - 1 - hop)].append((hop, tile[0]))

    def _end(self, *, taken):
        """Move the psum port on at the end of a cycle."""
        control, width = self._control, self.config.cols_per_hop
        south = self._south.copy()
        if taken:
            control.draining.pop(0)
            if control.draining:
                south[:] = control.draining[0]
            else:
                control.ended = False
        for hop, psums in control.loads.pop(self._time, ()):
            columns = slice(hop * width, (hop + 1) * width)
            south[columns] = psums[columns]
        if self._time in control.starts:
            assert not control.draining
            control.draining = list(control.starts.pop(self._time))
        self._time += 1
        self._south = south
