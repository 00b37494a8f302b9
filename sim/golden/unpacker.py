"""Cycle model of the unpacker: one call per clock, the ports of the RTL.

It keeps whole groups: the bytes of the one that arrives, and an iterator over the slices of the
one that leaves. Bytes become trits when their group is complete, by the tables of `arch.ternary`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from tritloom.arch.layout import BEATS, beat_bytes
from tritloom.arch.ternary import TRIT2, TRIT5, to_codes


@dataclass(frozen=True, kw_only=True)
class UnpackerInputs:
    """Input ports of one cycle; `weights` are a beat's bytes, shape (beat_bytes,), or None."""

    weights: np.ndarray | None
    weights_last: bool = False
    weights_valid: bool = False
    trit5: bool = False
    trits_ready: bool = False
    trits_last: bool = False
    start: bool = False
    rst: bool = False


@dataclass(frozen=True, kw_only=True)
class UnpackerOutputs:
    """Output ports of one cycle.

    Attributes
    ----------
    weights_ready : bool
    trits : ndarray of uint8, shape (positions,), or None
        Codes of the slice that is offered, None where there is none.
    illegal_beat : int or None
        Number of the beat whose illegal byte is reported.
    early_last, late_last : bool
    """

    weights_ready: bool
    trits: np.ndarray | None
    illegal_beat: int | None
    early_last: bool
    late_last: bool


@dataclass
class _Leaving:
    """The group whose slices are offered."""

    slices: Iterator[np.ndarray]  # endless where the stream's pass ended in this group
    offered: np.ndarray  # the slice that is offered next
    count: int  # slices that the group has, without those that stand in after its end
    ended: bool
    taken: int = 0


@dataclass
class _UnpackerState:
    """State that a reset clears."""

    arriving: list = field(default_factory=list)  # beats of the group that arrives
    cut: bool = False  # whether the stream's pass ended within that group
    trit5: bool = False  # packing of that group
    leaving: _Leaving | None = None
    dropping: bool = False
    beats: int = 0  # beats taken since `start`
    # Damage that is reported in the cycle after the next one.
    found_illegal: int | None = None
    # Damage that is reported in the next cycle.
    illegal_beat: int | None = None
    early_last: bool = False
    late_last: bool = False


class UnpackerModel:
    """Golden model of `hw.core.unpacker.Unpacker`."""

    def __init__(self, positions: int):
        self.positions = positions
        self._state = _UnpackerState()

    @property
    def offered(self) -> np.ndarray | None:
        """Codes of the slice that this cycle offers."""
        return self._state.leaving.offered if self._state.leaving else None

    def step(self, inputs: UnpackerInputs) -> UnpackerOutputs:
        """Outputs of this cycle for its inputs; then the clock rises."""
        state, group = self._state, self._state.leaving
        giving = group if inputs.trits_ready else None
        over = giving is not None and inputs.trits_last
        leaves = over or (
            giving is not None and not giving.ended and giving.taken + 1 == giving.count
        )
        # A group is completed only where it can be offered in the next cycle.
        room = len(state.arriving) < BEATS - 1 or group is None or leaves
        outputs = UnpackerOutputs(
            weights_ready=room and not state.cut,
            trits=self.offered,
            illegal_beat=state.illegal_beat,
            early_last=state.early_last,
            late_last=state.late_last,
        )

        late = giving is not None and over and not giving.ended
        state.late_last = late
        state.early_last = (
            giving is not None and over and giving.ended and giving.taken >= giving.count
        )
        if leaves:
            state.leaving = None
        elif giving is not None:
            giving.taken += 1
            giving.offered = next(giving.slices)

        accepted = inputs.weights_valid and outputs.weights_ready
        ends = state.cut or (accepted and inputs.weights_last)
        if inputs.start:
            state.beats = 0
        state.illegal_beat, state.found_illegal = state.found_illegal, None
        if accepted:
            if not state.dropping and self._is_illegal(inputs):
                state.found_illegal = state.beats
            state.beats += 1
        if late:
            state.arriving, state.cut, state.dropping = [], False, not ends
        elif state.dropping:
            state.dropping = not ends
        elif (state.cut and room) or accepted:
            self._arrive(inputs, ends)
        if inputs.rst:
            self._state = _UnpackerState()
        return outputs

    def _is_illegal(self, inputs):
        packing = TRIT5 if inputs.trit5 else TRIT2
        before = len(self._state.arriving) * beat_bytes(self.positions)
        counted = inputs.weights[: max(0, self.positions - before)]
        return not packing.legal[counted].all()

    def _arrive(self, inputs, ends):
        """Add a beat to the arriving group: a missing one where the stream's pass was cut."""
        state = self._state
        if not state.arriving:
            state.trit5 = inputs.trit5
        state.arriving.append(None if state.cut else inputs.weights)
        if len(state.arriving) < BEATS:
            state.cut = ends
            return
        packing = TRIT5 if state.trit5 else TRIT2
        codes = np.zeros((BEATS, beat_bytes(self.positions), packing.trits_per_byte), np.uint8)
        for beat, data in zip(codes, state.arriving, strict=True):
            if data is not None:
                beat[:] = to_codes(packing.table[data])
        slices = iter(codes.reshape(-1, packing.trits_per_byte)[: self.positions].T)
        if ends:
            slices = itertools.chain(slices, itertools.repeat(np.zeros(self.positions, np.uint8)))
        state.leaving = _Leaving(
            slices=slices,
            offered=next(slices),
            # A group that was cut is incomplete from its first slice on.
            count=0 if state.cut else packing.trits_per_byte,
            ended=ends,
        )
        state.arriving, state.cut = [], False
