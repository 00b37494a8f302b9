"""Functional coverage of the core: what came together in a cycle, in bins that a run hits.

A bin is hit by what was seen, never by what was asked for. In each cycle `sim.bench.core_bench`
hands over the handshakes of the streams, what the registers report, and which tile the golden model
has under way. That is the tile whose beat of acts the array takes next; after the last one, that
tile. A stream stalls where its other side does: acts or weights that are wanted and not offered,
psums that are offered and not taken. Cycles in which the core is not busy count for nothing.

An error counts in the cycle before the register shows it, in which it was reported.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable

from tritloom.arch import regmap
from tritloom.arch.config import ArrayConfig
from tritloom.arch.ternary import PACKINGS, Packing
from tritloom.arch.tiling import Plan, Tile

STREAMS = ("acts", "weights", "psums")


def stall_name(stalled: Iterable[int]) -> str:
    """Which of the streams stall, as a value of a bin."""
    return "+".join(itertools.compress(STREAMS, stalled)) or "none"


STALLS = tuple(map(stall_name, itertools.product((0, 1), repeat=3)))
RESET = "SOFT_RESET"
# Those that a run can have: while the core is flushing there is none, and the queue is empty.
ERRORS = tuple(
    field.name for field in regmap.register("ERROR").fields if field.name != "PUSHED_FLUSHING"
)
WHOLE = ("whole", "short")

# Cross -> dimension -> values. A tile is short where the array has place for more tokens, input
# features or output features.
CROSSES = {
    "tiles": {
        "packing": tuple(PACKINGS),
        "stalls": STALLS,
        "tokens": WHOLE,
        "k": WHOLE,
        "features": WHOLE,
        "slices": ("one", "several"),
        "product": ("one-tile", "several"),
    },
    "parts of k": {
        "packing": tuple(PACKINGS),
        "stalls": STALLS,
        "part": ("all", "first", "middle", "last"),
    },
    "errors": {
        "error": (*ERRORS, RESET),
        "stalls": STALLS,
        "waiting": ("none", "some", "full"),
    },
    "errors by packing": {"error": (*ERRORS, RESET), "packing": tuple(PACKINGS)},
}


def bin_name(**values: str) -> str:
    """A bin as text, of which `sim.coverage.excluded` has regular expressions."""
    return " ".join(f"{dimension}={value}" for dimension, value in values.items())


def bins(cross: str) -> list[str]:
    """All bins of a cross."""
    dimensions = CROSSES[cross]
    return [
        bin_name(**dict(zip(dimensions, values, strict=True)))
        for values in itertools.product(*dimensions.values())
    ]


def values(name: str) -> dict[str, str]:
    """Dimension -> value of a bin."""
    return dict(part.split("=") for part in name.split(" "))


def tile_values(plan: Plan, tile: Tile) -> dict[str, str]:
    """Values of the dimensions that a tile has in the cross of tiles."""
    config, gemm = plan.config, plan.gemm
    place = max(config.slices_per_tile, tile.slices) * config.lanes
    return {
        "tokens": WHOLE[tile.tokens < config.group_tokens],
        "k": WHOLE[gemm.k - tile.first_slice * config.lanes < place],
        "features": WHOLE[tile.features < config.cols],
        "slices": "one" if tile.slices == 1 else "several",
        "product": "one-tile" if plan.tiles == 1 else "several",
    }


def part_of_k(tile: Tile) -> str:
    """Where in k a tile is."""
    return (("middle", "last"), ("first", "all"))[tile.first_k][tile.last_k]


class Sampler:
    """Counts the bins that are hit, cycle by cycle.

    Attributes
    ----------
    hits : Counter
        Of (cross, bin); more than one sampler may add to it.
    """

    def __init__(self, config: ArrayConfig, hits: Counter):
        self.config, self.hits = config, hits
        self._tile = self._before = None
        self._errors: frozenset[str] = frozenset()

    def cycle(
        self,
        *,
        valid: list[int],
        ready: list[int],
        busy: bool,
        waiting: int,
        packing: str,
        errors: frozenset[str],
        under_way: tuple[Plan, Packing, Tile] | None = None,
    ):
        """One cycle.

        Parameters
        ----------
        valid, ready : list of int
            Of acts, weights and psums.
        busy : bool
        waiting : int
            Descriptors in the queue.
        packing : str
            Of the weights that come in.
        errors : frozenset of str
            Bits of ERROR that are set, and `SOFT_RESET` while one is carried out.
        under_way : tuple, optional
            As the golden model has it.
        """
        # What happened in the cycle before shows now.
        for error in errors - self._errors if self._before else ():
            stalls, level, packed = self._before
            self._hit("errors", error=error, stalls=stalls, waiting=level)
            self._hit("errors by packing", error=error, packing=packed)
        self._errors = errors
        self._tile = under_way or (self._tile if busy else None)
        if not busy:
            self._before = None
            return
        acts, weights = (ready[i] and not valid[i] for i in (0, 1))
        stalls = stall_name((acts, weights, valid[2] and not ready[2]))
        level = "none" if not waiting else "full" if waiting == regmap.QUEUE_DEPTH else "some"
        self._before = stalls, level, packing
        if self._tile:
            plan, packed, tile = self._tile
            where = {"packing": packed.name, "stalls": stalls}
            self._hit("tiles", **where, **tile_values(plan, tile))
            self._hit("parts of k", **where, part=part_of_k(tile))

    def _hit(self, cross, **values):
        self.hits[cross, bin_name(**{name: values[name] for name in CROSSES[cross]})] += 1
