"""Quantities with a low, a nominal and a high value."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Range:
    """A low, a nominal and a high value of one quantity; ranges add and scale."""

    low: float = 0.0
    nominal: float = 0.0
    high: float = 0.0

    @classmethod
    def point(cls, value: float) -> Range:
        """A quantity whose spread is not known."""
        return cls(low=value, nominal=value, high=value)

    @property
    def is_point(self) -> bool:
        """Whether there is no spread."""
        return self.low == self.high

    def __add__(self, other: Range) -> Range:
        return Range(
            low=self.low + other.low,
            nominal=self.nominal + other.nominal,
            high=self.high + other.high,
        )

    def __rmul__(self, factor: float) -> Range:
        return Range(low=factor * self.low, nominal=factor * self.nominal, high=factor * self.high)


def add_up(ranges: Iterable[Range]) -> Range:
    """The sum of some ranges; that of none is zero."""
    return functools.reduce(Range.__add__, ranges, Range())
