"""How a Gemm of any shape is cut into tiles of an array: the Plan that every witness executes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .config import ArrayConfig
from .errors import InputError
from .workload import Gemm


@dataclass(frozen=True)
class Tile:
    """`tokens` x `features` psums that stay in the array for `slices` beats.

    Attributes
    ----------
    m0, n0 : int
        First token and first output feature.
    tokens, features : int
        Valid ones; at a ragged edge fewer than the array's rows or cols.
    slices : int
        Beats of `lanes` input features; the last one may be ragged.
    """

    m0: int
    n0: int
    tokens: int
    features: int
    slices: int


@dataclass(frozen=True)
class Plan:
    """A Gemm on an array, output-stationary.

    For each group of up to `rows` tokens, for each group of up to `cols` output features, the
    whole of k streams through in slices of `lanes`. Ragged edges are padded with zero trits and
    zero acts; ragged tokens are never drained.
    """

    config: ArrayConfig
    gemm: Gemm

    def __post_init__(self):
        if self.gemm.k > self.config.max_k:
            raise InputError(
                f"k must be at most max_k = {self.config.max_k}, not {self.gemm.k}: "
                f"a psum of {self.config.psum_bits} bits could overflow"
            )

    @property
    def token_groups(self) -> int:
        """Groups of up to `rows` tokens; each streams all weights once."""
        return -(-self.gemm.m // self.config.rows)

    @property
    def feature_groups(self) -> int:
        """Groups of up to `cols` output features."""
        return -(-self.gemm.n // self.config.cols)

    @property
    def slices(self) -> int:
        """Beats of one tile."""
        return -(-self.gemm.k // self.config.lanes)

    @property
    def last_tokens(self) -> int:
        """Valid tokens of the last group, between 1 and `rows`."""
        return self.gemm.m - (self.token_groups - 1) * self.config.rows

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        return self.token_groups * self.feature_groups

    @property
    def beats(self) -> int:
        """Beats of each input stream."""
        return self.tiles * self.slices

    @property
    def padded_k(self) -> int:
        """Input features streamed, padding included."""
        return self.slices * self.config.lanes

    @property
    def padded_n(self) -> int:
        """Output features streamed, padding included."""
        return self.feature_groups * self.config.cols

    @property
    def executed_macs(self) -> int:
        """Multiply-accumulate slots that the beats occupy, padding included."""
        return self.beats * self.config.macs_per_cycle

    def __iter__(self) -> Iterator[Tile]:
        """The tiles in the order in which they stream."""
        rows, cols = self.config.rows, self.config.cols
        for m0 in range(0, self.gemm.m, rows):
            for n0 in range(0, self.gemm.n, cols):
                yield Tile(
                    m0, n0, min(rows, self.gemm.m - m0), min(cols, self.gemm.n - n0), self.slices
                )
