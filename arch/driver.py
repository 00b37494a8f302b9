"""What software on the other side of AXI does: pack, tile, program, feed, collect, rescale.

Nothing here knows how the bus is driven: a `Job` says which registers to write and which bytes go
onto the streams, and makes a matrix of the bytes that come back.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from . import layout, regmap, streams
from .errors import InputError
from .ternary import PACKINGS, Packing
from .tiling import Plan, WeightStationaryPlan


class PsumsLast(enum.IntEnum):
    """Which beats of psums end a packet: OPTIONS.PSUMS_LAST."""

    RUN = 0  # the last one of the run
    PASS = 1  # the last one of each group of tokens
    BEAT = 2  # every one


@dataclass(frozen=True)
class Job:
    """One run of the core.

    Attributes
    ----------
    plan : Plan
    packing : Packing
        What the bytes of the weight stream hold.
    psums_last : PsumsLast
        How the psums are cut into packets.
    """

    plan: Plan
    packing: Packing
    psums_last: PsumsLast = PsumsLast.RUN

    def writes(self) -> list[tuple[int, int]]:
        """(offset, word) of the register writes that put the descriptor into the queue."""
        gemm = self.plan.gemm
        code = list(PACKINGS).index(self.packing.name)
        return [
            (regmap.offset("M"), gemm.m),
            (regmap.offset("K"), gemm.k),
            (regmap.offset("N"), gemm.n),
            (
                regmap.offset("OPTIONS"),
                regmap.encode("OPTIONS", PACKING=code, PSUMS_LAST=self.psums_last),
            ),
            (regmap.offset("PUSH"), regmap.encode("PUSH", GO=1)),
        ]

    def acts(self, acts) -> list[np.ndarray]:
        """Beats of the act stream: one packet for each group of tokens.

        Parameters
        ----------
        acts : array_like of int, shape (m, k)

        Returns
        -------
        list of ndarray of uint8, shape (beats, bytes of a beat)
            Only the last packet of a weight-stationary core is shorter than the others.
        """
        config = self.plan.config
        beats = streams.slice_acts(self.plan, acts)
        packets = list(beats)
        if isinstance(self.plan, WeightStationaryPlan):
            starts = range(0, self.plan.gemm.m, config.group_tokens)
            packets = [beats[:, start : start + config.group_tokens] for start in starts]
        fields = [packet.reshape(-1, config.rows * config.lanes) for packet in packets]
        size = -(-config.acts_bits // 8)
        return [
            np.ascontiguousarray(streams.pack_fields(packet, config.act_bits)[:, :size])
            for packet in fields
        ]

    def weights(self, trits) -> np.ndarray:
        """Beats of the weight stream: one packet, to be sent once for each group of tokens.

        Parameters
        ----------
        trits : array_like of int, shape (n, k)

        Returns
        -------
        ndarray of uint8, shape (beats of a pass, bytes of a beat)
        """
        config = self.plan.config
        slices = streams.slice_trits(self.plan, trits)
        return layout.pack_pass(slices, self.packing, positions=config.cols * config.lanes)

    def trits(self, beats) -> np.ndarray:
        """Trits (int8, shape (n, k)) of the beats of a pass; inverse of `weights`.

        Raises
        ------
        InputError
            The beats are not as many as a pass has, or hold an illegal byte.
        """
        config, slices = self.plan.config, self.plan.pass_slices
        positions = config.cols * config.lanes
        found = layout.unpack_pass(beats, self.packing, slices=slices, positions=positions)
        return streams.join_trits(self.plan, found)

    @property
    def rows_out(self) -> int:
        """Beats of psums: one for each token of each tile."""
        return self.plan.gemm.m * self.plan.feature_groups

    @property
    def psum_packets(self) -> list[int]:
        """Beats of each packet of psums."""
        if self.psums_last == PsumsLast.RUN:
            return [self.rows_out]
        if self.psums_last == PsumsLast.BEAT:
            return [1] * self.rows_out
        m, group = self.plan.gemm.m, self.plan.config.group_tokens
        return [min(group, m - at) * self.plan.feature_groups for at in range(0, m, group)]

    def psums(self, rows) -> np.ndarray:
        """The matrix (m, n) of psum beats.

        Parameters
        ----------
        rows : array_like of uint8, shape (rows_out, 4 * cols)
        """
        rows = np.asarray(rows, np.uint8)
        wanted = (self.rows_out, 4 * self.plan.config.cols)
        if rows.shape != wanted:
            raise InputError(f"psums must have shape {wanted}, not {rows.shape}")
        return streams.join_psums(self.plan, np.ascontiguousarray(rows).view("<i4"))


def soft_reset(write: Callable[[int, int], None]):
    """Drop all runs: from now on the core takes what the streams offer, and drops it.

    Software then stops its DMAs of acts and weights, or lets them finish, and takes psums; see
    `resume`. The parameter is that of `read_counters`.
    """
    write(regmap.offset("CONTROL"), regmap.encode("CONTROL", SOFT_RESET=1))


def resume(
    read: Callable[[int], int], write: Callable[[int, int], None], *, polls: int = 1000
) -> None:
    """Make a core that was reset softly ready for the next descriptor.

    No DMA may have a packet left that it has not begun: it would be the next run's.

    Parameters
    ----------
    read, write : callable
        As for `read_counters`.
    polls : int
        How often to read STATUS at most.

    Raises
    ------
    RuntimeError
        The core is still flushing: the error says which stream keeps it waiting.
    """
    write(regmap.offset("CONTROL"), regmap.encode("CONTROL", RESUME=1))
    status = {}
    for _poll in range(polls):
        status = regmap.decode("STATUS", read(regmap.offset("STATUS")))
        if not status["FLUSHING"]:
            return
    waits = {
        "ACTS_OPEN": "a packet of acts has not ended",
        "WEIGHTS_OPEN": "a packet of weights has not ended",
        "PSUM_OFFERED": "a beat of psums is not taken",
    }
    left = ", ".join(what for name, what in waits.items() if status.get(name))
    raise RuntimeError(f"the core is still flushing: {left or 'it has not resumed'}")


def read_counters(read: Callable[[int], int], write: Callable[[int, int], None]) -> dict[str, int]:
    """All counters at one moment, by their names in `arch.regmap.COUNTERS`.

    Parameters
    ----------
    read, write : callable
        Access to the core's registers, by byte offset.
    """
    write(regmap.offset("CONTROL"), regmap.encode("CONTROL", SNAPSHOT=1))
    return {
        name: read(regmap.offset(f"{name}_LO")) | read(regmap.offset(f"{name}_HI")) << 32
        for name, _ in regmap.COUNTERS
    }
