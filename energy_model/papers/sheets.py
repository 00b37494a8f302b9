"""`reproduce` as tables, Markdown, JSON and CSV."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence

from tritloom.console import terminal
from tritloom.energy_model.costs.tiers import Tier

from .reproduce import Comparison
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
_TARGETS = ("Target", "Limit", "Reached", "")


def print_tables(
    rows: Sequence[Comparison], targets: Sequence[Target], notes: Mapping[str, str]
) -> None:
    """Print a table for each quantity of a figure, the targets, and every INFERRED assumption."""
    console = terminal.Paper()
    for title, headers, cells in _tables(rows, notes):
        table = terminal.table(console, *headers)
        for line in cells:
            table.add_row(*line)
        terminal.print_lines(console, title, table, "")
    table = terminal.table(console, *_TARGETS)
    for line in _target_cells(targets):
        table.add_row(*line)
    terminal.print_lines(console, table, "", *_notes(notes))


def markdown(
    rows: Sequence[Comparison], targets: Sequence[Target], notes: Mapping[str, str]
) -> str:
    """The same as GitHub's Markdown."""
    parts = [
        f"## {title}\n\n{terminal.markdown_table(headers, cells)}"
        for title, headers, cells in _tables(rows, notes)
    ]
    parts.append(f"## Targets\n\n{markdown_targets(targets)}")
    parts.append("## What the papers do not state\n\n" + "\n".join(f"- {n}" for n in _notes(notes)))
    return "\n\n".join(parts)


def markdown_targets(targets: Sequence[Target]) -> str:
    """The targets alone, as a table."""
    return terminal.markdown_table(_TARGETS, _target_cells(targets))


def to_json(rows: Sequence[Comparison], notes: Mapping[str, str]) -> str:
    """A list with an object for each published value; `residual` is model / published - 1."""
    content = [{**_fields(row), "inferred": [notes[key] for key in row.inferred]} for row in rows]
    return json.dumps(content, indent=2, allow_nan=False)


def to_csv(rows: Sequence[Comparison]) -> str:
    """A line for each published value."""
    lines = [{**_fields(row), "inferred": "; ".join(row.inferred)} for row in rows]
    return terminal.csv_text(lines[0], lines)


def _fields(row: Comparison) -> dict:
    return {
        "source": row.source,
        "figure": row.figure,
        "label": row.label,
        "quantity": row.quantity,
        "size": row.size,
        "system": row.system,
        "unit": row.unit,
        "published": row.published,
        "published_tier": Tier.PUBLISHED,
        "digitised": row.digitised,
        "model": row.model,
        "difference": row.difference,
        "residual": row.residual,
        "left_out": row.left_out,
        "tier": row.tier,
    }


def _tables(
    rows: Sequence[Comparison], notes: Mapping[str, str]
) -> Iterator[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
    """Title, headers and cells for each quantity of each figure."""
    numbers = {key: str(number) for number, key in enumerate(notes, 1)}

    def title(row: Comparison) -> str:
        return f"{row.source}, {row.figure}: {row.quantity}"

    for heading, group in itertools.groupby(rows, title):
        members = list(group)
        cells = [_cells(row, numbers) for row in members]
        headers = _HEADERS
        if not any(row.left_out for row in members):
            column = headers.index(_LEFT_OUT)
            headers = headers[:column] + headers[column + 1 :]
            cells = [line[:column] + line[column + 1 :] for line in cells]
        yield heading, headers, cells


def _cells(row: Comparison, numbers: Mapping[str, str]) -> tuple[str, ...]:
    references = ",".join(sorted(numbers[key] for key in row.inferred))
    return (
        row.name,
        row.unit,
        f"{'~' if row.digitised else ''}{row.published:g}",
        f"{row.model:.4g}",
        f"{round(row.difference, 9):+.2g}",  # without what floating point leaves of zero
        f"{row.residual:+.1%}",
        "" if row.left_out is None else f"{row.left_out:.4g}",
        f"{row.tier} [{references}]" if references else str(row.tier),
    )


def _target_cells(targets: Sequence[Target]) -> list[tuple[str, ...]]:
    return [(t.name, t.limit, t.reached, "met" if t.met else "MISSED") for t in targets]


def _notes(notes: Mapping[str, str]) -> list[str]:
    lines = [f"[{number}] {Tier.INFERRED} {text}." for number, text in enumerate(notes.values(), 1)]
    return [*lines, _MARKS]
