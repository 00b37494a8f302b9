"""How a Gemm of any shape is cut into tiles of an array: the Plan that every witness executes.

Each dataflow has a plan of its own; `Plan` is either.
"""

from __future__ import annotations

import abc
import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from .config import ArrayConfig, Dataflow
from .errors import InputError
from .workload import Gemm


@dataclass(frozen=True)
class Tile:
    """What is resident at once: `tokens` x `features` psums, or `slices` x `features` of trits.

    Attributes
    ----------
    m0, n0 : int
        First token and first output feature.
    tokens, features : int
        How many are valid: at a ragged edge fewer than a full group has.
    slices : int
        Slices of `lanes` input features; the last one may be ragged.
    first_slice : int
        0 where a tile holds the whole of k.
    last_k : bool
        Whether the last slice is that of k, so that its psums are complete.
    """

    m0: int
    n0: int
    tokens: int
    features: int
    slices: int
    first_slice: int = 0
    last_k: bool = True

    @property
    def first_k(self) -> bool:
        """Whether the first slice is that of k, so that its psums start from zero."""
        return self.first_slice == 0


def make_plan(config: ArrayConfig, gemm: Gemm) -> Plan:
    """The plan of a Gemm on an array, by the array's dataflow.

    Parameters
    ----------
    config : ArrayConfig
    gemm : Gemm
        Any shape: ragged edges are padded with zeros.

    Returns
    -------
    OutputStationaryPlan or WeightStationaryPlan
        The tiles in the order in which they stream, when it is iterated over.

    Raises
    ------
    InputError
        k exceeds `config.max_k`, so that a psum could overflow.
    """
    output = config.dataflow == Dataflow.OUTPUT_STATIONARY
    return (OutputStationaryPlan if output else WeightStationaryPlan)(config, gemm)


@dataclass(frozen=True)
class _Groups(abc.ABC):
    """Tokens and output features in groups, and k in slices: what both plans share.

    Attributes
    ----------
    config : ArrayConfig
        An array of the plan's own dataflow.
    gemm : Gemm
    token_groups : int
        Groups of up to `group_tokens` tokens; each streams all weights once, in a pass.
    feature_groups : int
        Groups of up to `cols` output features.
    slices : int
        Slices of `lanes` input features that hold the padded k.
    """

    DATAFLOW: ClassVar[Dataflow]

    config: ArrayConfig
    gemm: Gemm
    token_groups: int = field(init=False, repr=False, compare=False)
    feature_groups: int = field(init=False, repr=False, compare=False)
    slices: int = field(init=False, repr=False, compare=False)

    def __post_init__(self):
        config, gemm = self.config, self.gemm
        if config.dataflow != self.DATAFLOW:
            raise InputError(
                f"dataflow must be {self.DATAFLOW} for this plan, not {config.dataflow}"
            )
        if gemm.k > config.max_k:
            raise InputError(
                f"k must be at most max_k = {config.max_k}, not {gemm.k}: "
                f"a psum of {config.psum_bits} bits could overflow"
            )
        # Here and not as cached properties, whose lock (up to Python 3.11) a sweep would notice.
        whole = config.slices_per_tile
        set_once = functools.partial(object.__setattr__, self)
        set_once("token_groups", -(-gemm.m // config.group_tokens))
        set_once("feature_groups", -(-gemm.n // config.cols))
        set_once("slices", whole * -(-gemm.k // (whole * config.lanes)))

    @property
    def last_tokens(self) -> int:
        """Valid tokens of the last group, between 1 and `group_tokens`."""
        return self.gemm.m - (self.token_groups - 1) * self.config.group_tokens

    @property
    def pass_slices(self) -> int:
        """Slices of trits that one group of tokens streams."""
        return self.feature_groups * self.slices

    @property
    def padded_k(self) -> int:
        """Input features streamed, padding included."""
        return self.slices * self.config.lanes

    @property
    def padded_n(self) -> int:
        """Output features streamed, padding included."""
        return self.feature_groups * self.config.cols

    @property
    @abc.abstractmethod
    def beats(self) -> int:
        """Beats of the act stream of the array."""

    @property
    def executed_macs(self) -> int:
        """Multiply-accumulate slots that the beats occupy, padding included."""
        return self.beats * self.config.macs_per_cycle


@dataclass(frozen=True)
class OutputStationaryPlan(_Groups):
    """A Gemm on an output-stationary array.

    For each group of up to `rows` tokens, for each group of up to `cols` output features, the
    whole of k streams through in slices of `lanes`. Ragged edges are padded with zero trits and
    zero acts; ragged tokens are never drained.
    """

    DATAFLOW = Dataflow.OUTPUT_STATIONARY

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        return self.token_groups * self.feature_groups

    @property
    def beats(self) -> int:
        """Beats of each input stream of the array."""
        return self.tiles * self.slices

    @property
    def trit_beats(self) -> int:
        """Beats of the trit stream: as many as of the act stream."""
        return self.beats

    def __iter__(self) -> Iterator[Tile]:
        """The tiles in the order in which they stream."""
        rows, cols = self.config.rows, self.config.cols
        for m0 in range(0, self.gemm.m, rows):
            for n0 in range(0, self.gemm.n, cols):
                yield Tile(
                    m0, n0, min(rows, self.gemm.m - m0), min(cols, self.gemm.n - n0), self.slices
                )


@dataclass(frozen=True)
class WeightStationaryPlan(_Groups):
    """A Gemm on a weight-stationary array.

    For each group of up to `buffer_tokens` tokens, for each group of up to `cols` output features,
    for each group of `rows` slices of k: the trits are loaded and the tokens stream past, one a
    beat. Ragged edges of k and n are padded with zero trits and zero acts, tokens are not padded.
    """

    DATAFLOW = Dataflow.WEIGHT_STATIONARY

    @property
    def k_groups(self) -> int:
        """Groups of `rows` slices of k."""
        return self.slices // self.config.rows

    @property
    def group_tiles(self) -> int:
        """Tiles that each group of tokens streams past."""
        return self.feature_groups * self.k_groups

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        return self.token_groups * self.group_tiles

    @property
    def beats(self) -> int:
        """Beats of the act stream of the array."""
        return self.group_tiles * self.gemm.m

    @property
    def trit_beats(self) -> int:
        """Beats of the trit stream."""
        return self.tiles * self.config.rows

    def __iter__(self) -> Iterator[Tile]:
        """The tiles in the order in which they stream."""
        config, gemm = self.config, self.gemm
        slices = -(-gemm.k // config.lanes)
        for m0 in range(0, gemm.m, config.buffer_tokens):
            for n0 in range(0, gemm.n, config.cols):
                for first in range(0, slices, config.rows):
                    yield Tile(
                        m0,
                        n0,
                        min(config.buffer_tokens, gemm.m - m0),
                        min(config.cols, gemm.n - n0),
                        min(config.rows, slices - first),
                        first,
                        first + config.rows >= slices,
                    )


# What every witness executes.
Plan = OutputStationaryPlan | WeightStationaryPlan
