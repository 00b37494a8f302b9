"""Sheet of a reproduction: a table for each quantity of a figure, the targets, and notes."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from tritloom.console.sheet import Heading, Notes, Part, Sheet, Table
from tritloom.energy_model.costs.tiers import Tier

from .reproduce import ReproducedValue
from .targets import Target

_MARKS = (
    "~: read off the pixels of a figure, itself within 1 to 2 %. Left out: the model's value by a "
    "fit that has not seen the size."
)
_LEFT_OUT = ">Left out"
_HEADERS = (
    "",
    "Unit",
    ">PUBLISHED",
    ">Model",
    ">Difference",
    ">Residual",
    _LEFT_OUT,
    "Tier [notes]",
)


def reproduction_sheet(
    values: Sequence[ReproducedValue], targets: Sequence[Target], notes: Mapping[str, str]
) -> Sheet:
    """Tables of published values next to the model's; a residual is model / published - 1.

    Parameters
    ----------
    notes : mapping of key to text
        Assumptions that no paper states; values refer to them by key.
    """
    fields = [_fields(value) for value in values]
    numbers = {key: str(number) for number, key in enumerate(notes, 1)}
    parts: list[Part] = []
    for title, group in itertools.groupby(values, _title):
        parts += [Heading(title), _table(list(group), numbers), ""]
    lines = [f"[{number}] {Tier.INFERRED} {text}." for number, text in enumerate(notes.values(), 1)]
    parts += [Heading("Targets"), targets_table(targets), ""]
    parts += [Heading("What the papers do not state"), Notes([*lines, _MARKS])]
    return Sheet(
        parts=parts,
        records=[
            {**line, "inferred": "; ".join(value.inferred)}
            for value, line in zip(values, fields, strict=True)
        ],
        data=[
            {**line, "inferred": [notes[key] for key in value.inferred]}
            for value, line in zip(values, fields, strict=True)
        ],
    )


def targets_table(targets: Sequence[Target]) -> Table:
    """Table of how near the model must come, and how near it comes."""
    return Table(
        headers=("Target", "Limit", "Reached", ""),
        rows=[(t.name, t.limit, t.reached, "met" if t.met else "MISSED") for t in targets],
    )


def _fields(value: ReproducedValue) -> dict:
    return {
        "source": value.source,
        "figure": value.figure,
        "label": value.label,
        "quantity": value.quantity,
        "size": value.size,
        "system": value.system,
        "unit": value.unit,
        "published": value.published,
        "published_tier": Tier.PUBLISHED,
        "digitised": value.digitised,
        "model": value.model,
        "difference": value.difference,
        "residual": value.residual,
        "left_out": value.left_out,
        "tier": value.tier,
    }


def _title(value: ReproducedValue) -> str:
    return f"{value.source}, {value.figure}: {value.quantity}"


def _table(values: Sequence[ReproducedValue], numbers: Mapping[str, str]) -> Table:
    """Make the table of one quantity; a column that would be empty is left out."""
    headers: tuple[str, ...] = _HEADERS
    rows = [_cells(value, numbers) for value in values]
    if not any(value.left_out for value in values):
        column = headers.index(_LEFT_OUT)
        headers = headers[:column] + headers[column + 1 :]
        rows = [row[:column] + row[column + 1 :] for row in rows]
    return Table(headers=headers, rows=rows)


def _cells(value: ReproducedValue, numbers: Mapping[str, str]) -> tuple[str, ...]:
    references = ",".join(sorted(numbers[key] for key in value.inferred))
    return (
        value.name,
        value.unit,
        f"{'~' if value.digitised else ''}{value.published:g}",
        f"{value.model:.4g}",
        # Floating point leaves a little of what is zero.
        f"{round(value.difference, 9):+.2g}",
        f"{value.residual:+.1%}",
        "" if value.left_out is None else f"{value.left_out:.4g}",
        f"{value.tier} [{references}]" if references else str(value.tier),
    )
