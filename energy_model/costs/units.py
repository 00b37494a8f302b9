"""Units of a report's figures: everything inside is SI, and prefixes exist in print only."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .range import Range

_PREFIXES = {-12: "p", -9: "n", -6: "u", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T", 15: "P"}


def si(value: float, symbol: str) -> str:
    """Three significant digits with an SI prefix.

    >>> si(16_900, "J"), si(0, "B")
    ('16.9 kJ', '0 B')
    """
    rounded = float(f"{value:.2e}")
    power = 3 * math.floor(math.log10(abs(rounded)) / 3) if rounded else 0
    power = min(max(power, min(_PREFIXES)), max(_PREFIXES))
    return f"{rounded / 10.0**power:.3g} {_PREFIXES[power]}{symbol}"


def si_range(amount: Range, symbol: str) -> str:
    """The nominal value, and the range where there is one."""
    nominal = si(amount.nominal, symbol)
    if amount.is_point:
        return nominal
    return f"{nominal} ({si(amount.low, symbol)} to {si(amount.high, symbol)})"


def times(ratio: Range | None) -> str:
    """A ratio such as 41.2x, and its range where there is one."""
    if ratio is None:
        return "-"
    low, nominal, high = (
        f"{value:.{2 if value < 10 else 1}f}x" for value in (ratio.low, ratio.nominal, ratio.high)
    )
    return nominal if low == high else f"{nominal} ({low} to {high})"


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A quantity's `symbol`, and its `name` and `scale` where no SI prefix can be printed."""

    name: str
    scale: float
    symbol: str


PICOJOULES = Unit(name="pj", scale=1e12, symbol="J")
JOULES = Unit(name="j", scale=1.0, symbol="J")
GIGABYTES = Unit(name="gb", scale=1e-9, symbol="B")
SECONDS = Unit(name="s", scale=1.0, symbol="s")
TOKENS_PER_S = Unit(name="tokens_per_s", scale=1.0, symbol="token/s")
