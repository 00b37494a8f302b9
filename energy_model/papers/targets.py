"""Targets: how near the model must come to the papers' figures, and how near it comes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from .gpu import decode_fits
from .reproduce import (
    B158,
    BATCH_SIZE,
    FIGURE2,
    FIGURE3_LEFT,
    FIGURE3_RIGHT,
    LATENCY,
    MEMORY,
    ONE_BIT,
    RATIO,
    TABLE1,
    TABLE3,
    THROUGHPUT,
    ReproducedValue,
)


@dataclass(frozen=True, kw_only=True)
class Target:
    """Target for how near the model must come to a figure.

    Attributes
    ----------
    name, limit, reached : str
        What is held to what, and what came out.
    met : bool
    """

    name: str
    limit: str
    reached: str
    met: bool


def targets(comparisons: Iterable[ReproducedValue]) -> tuple[Target, ...]:
    """Hold the reproduced values to every target."""
    rows = tuple(comparisons)

    def pick(figure: str, quantity: str | None = None, *, ratio: bool | None = None):
        return [
            row
            for row in rows
            if row.source == B158
            and row.figure == figure
            and quantity in (None, row.quantity)
            and ratio in (None, row.system == RATIO)
        ]

    labels = [*pick(FIGURE3_LEFT, ratio=True), *pick(FIGURE3_RIGHT, ratio=True)]
    joules = [*pick(FIGURE3_LEFT, ratio=False), *pick(FIGURE3_RIGHT, ratio=False)]
    memory = [*pick(TABLE1, MEMORY), *pick(FIGURE2, MEMORY)]
    latency = {
        row.size: row for figure in (TABLE1, FIGURE2) for row in pick(figure, LATENCY, ratio=True)
    }
    rms = _rms(row.residual for row in latency.values())
    left_out = _rms(row.left_out / row.published - 1 for row in latency.values())
    batches = pick(TABLE3, BATCH_SIZE, ratio=False)
    cells = [row for row in rows if row.source == ONE_BIT]
    others = [
        f"{row.label} {row.model:.4f} for {row.published:.2f}"
        for row in cells
        if not row.same_when_rounded
    ]
    same = len(cells) - len(others)
    constants = 2 * len(decode_fits())
    off = max(abs(row.difference) for row in labels)
    (speedup,) = pick(TABLE3, THROUGHPUT, ratio=True)
    wrong = [f"{row.model:g} for {row.published:g}" for row in batches if row.difference]
    return (
        Target(
            name="figure 3, ratio labels",
            limit="within 0.1",
            reached=f"{off:.2f} at most",
            met=off <= 0.1,
        ),
        _within("figure 3, joules", joules, 0.03),
        _within("table 1 and figure 2, memory and its ratios", memory, 0.08),
        Target(
            name=f"table 1 and figure 2, latency ratios of {len(latency)} sizes",
            limit="within 8 % rms with at most 4 constants",
            reached=f"{100 * rms:.1f} % rms with {constants}; "
            f"{100 * left_out:.1f} % rms where the fit leaves the size out",
            met=rms <= 0.08 and constants <= 4,
        ),
        Target(
            name="table 3, largest batches",
            limit="exact",
            reached=", ".join(wrong) or "exact",
            met=not wrong,
        ),
        _within(
            "table 3, throughput",
            pick(TABLE3, THROUGHPUT, ratio=False),
            0.06,
            f"; their ratio {100 * speedup.residual:+.1f} %",
        ),
        Target(
            name="table 1 of arXiv 2310.11453",
            limit="at least 34 of 36 cells to their two decimals",
            reached="; ".join([f"{same} of {len(cells)}", *others]),
            met=same >= 34 and len(cells) == 36,
        ),
    )


def _within(name: str, rows: list[ReproducedValue], limit: float, more: str = "") -> Target:
    worst = max(rows, key=lambda row: abs(row.residual))
    return Target(
        name=name,
        limit=f"within {100 * limit:.0f} %",
        reached=f"{100 * worst.residual:+.1f} % at most ({worst.label}){more}",
        met=abs(worst.residual) <= limit,
    )


def _rms(errors: Iterable[float]) -> float:
    squares = [error * error for error in errors]
    return math.sqrt(sum(squares) / len(squares))
