"""How far a figure can be trusted."""

from __future__ import annotations

import enum
from collections.abc import Iterable


class Tier(enum.StrEnum):
    """Where a figure comes from, the firmest first."""

    MEASURED = "MEASURED"  # on the thing itself: this RTL, this machine
    PUBLISHED = "PUBLISHED"  # in a source that is named
    DERIVED = "DERIVED"  # computed from measured or published figures
    PROJECTED = "PROJECTED"  # outside the range that the figures behind it cover
    INFERRED = "INFERRED"  # an assumption that no source states


def weakest(tiers: Iterable[Tier]) -> Tier:
    """The least firm of some tiers: what a figure computed from all of them can claim."""
    return max(tiers, key=list(Tier).index)
