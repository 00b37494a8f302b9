"""Cycle model of the weight-stationary array: one call per clock, the ports of the RTL.

It has no PEs, no shadow registers and no chain of psums. A load is a list of slices; a beat of acts
is one product with the tile that the last swap took; what it sends is put on the calendar at the
cycle that `arch.timing` states. Equality with the RTL on every port of every cycle therefore ties
the gateware's structure to the formulas.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tritloom.arch import timing
from tritloom.arch.config import ArrayConfig
from tritloom.arch.ternary import ILLEGAL

from .output_stationary import ArrayOutputs


@dataclass(frozen=True, kw_only=True)
class WeightStationaryInputs:
    """Input ports of one cycle.

    Attributes
    ----------
    acts : ndarray of int, shape (rows, lanes)
        One token, with a slice of k in each row.
    trits : ndarray of int, shape (cols, lanes)
        Two-bit codes of one slice, the illegal one included.
    acts_valid, acts_last, acts_first_k, acts_last_k, trits_valid, psums_ready, rst : bool
    """

    acts: np.ndarray
    trits: np.ndarray
    acts_valid: bool = False
    acts_last: bool = False
    acts_first_k: bool = False
    acts_last_k: bool = False
    trits_valid: bool = False
    psums_ready: bool = True
    rst: bool = False


@dataclass
class _WeightStationaryState:
    """State that a reset clears."""

    slices: list = field(default_factory=list)  # loaded slices of the next tile
    tile: np.ndarray | None = None  # (rows, cols, lanes) that acts meet; None between tiles
    sums: list = field(default_factory=list)  # content of the output buffer, by token
    token: int = 0
    sent: dict = field(default_factory=dict)  # (psums, last) by advancing cycle
    offered: bool = False
    last: bool = False
    illegal: bool = False


class WeightStationaryModel:
    """Golden model of the array of `hw.array.weight_stationary`."""

    inputs: type = WeightStationaryInputs

    def __init__(self, config: ArrayConfig):
        self.config = config
        self._time = 0  # counts advancing cycles only
        self._psums = np.zeros(config.cols, np.int64)  # what the psum port shows
        self._control = _WeightStationaryState()

    def step(self, inputs: WeightStationaryInputs) -> ArrayOutputs:
        """Outputs of this cycle for its inputs; then the clock rises."""
        control = self._control
        advance = not control.offered or inputs.psums_ready
        complete = len(control.slices) == self.config.rows
        starting = control.tile is None
        acts_ready = advance and (complete or not starting)
        beat = acts_ready and inputs.acts_valid
        trits_ready = advance and (not complete or (beat and starting))
        load = trits_ready and inputs.trits_valid
        waiting = advance and inputs.acts_valid and starting and not complete
        outputs = ArrayOutputs(
            acts_ready=acts_ready,
            trits_ready=trits_ready,
            psums=self._psums,
            psums_valid=control.offered,
            psums_last=control.last,
            illegal=control.illegal,
            perf={
                "blocked": not advance,
                "beats": beat,
                "loads": load,
                "wait_acts": acts_ready and not inputs.acts_valid,
                "wait_trits": waiting and not inputs.trits_valid,
                "wait_load": waiting and inputs.trits_valid,
            },
        )
        if beat:
            self._take(inputs)
        if load:
            control.illegal |= bool((inputs.trits == ILLEGAL).any())
            control.slices.append(np.array([0, 1, 0, -1])[inputs.trits])
        if advance:
            self._time += 1
            psums, control.last = control.sent.pop(self._time, (None, False))
            control.offered = psums is not None
            if control.offered:
                self._psums = psums
        if inputs.rst:
            self._control = _WeightStationaryState()
        return outputs

    def _take(self, inputs):
        control = self._control
        if control.tile is None:
            control.tile, control.slices, control.token = np.array(control.slices), [], 0
        psums = np.einsum("rl,rcl->c", inputs.acts.astype(np.int64), control.tile)
        if inputs.acts_first_k:
            control.sums[control.token :] = [psums]
        else:
            control.sums[control.token] = control.sums[control.token] + psums
        if inputs.acts_last_k:
            sums = control.sums[control.token]
            control.sent[self._time + timing.pass_latency(self.config)] = (sums, inputs.acts_last)
        control.token += 1
        if inputs.acts_last:
            control.tile = None
