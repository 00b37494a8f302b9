"""Sheets of a sweep: the Pareto front of each task, and how fast points are evaluated."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

from tritloom.console.sheet import Part, Sheet, Table
from tritloom.energy_model.costs.units import si
from tritloom.energy_model.machine import area

from .run import Speed
from .sweep import COLUMNS, FIGURES, MAXIMISED, Sweep

# Rows of a table at most, evenly spaced over a front that has more.
LARGEST = 20
_REASONS = 3
_NO_PREFIX = ("mm2",)


def fronts_sheet(
    sweep: Sweep, rows: Sequence[Mapping], fronts: Mapping[tuple, Sequence[Mapping]], out: Path
) -> Sheet:
    """Tables of each task's front, with how many points were infeasible and why.

    Amounts of the JSON are in the unit that ends their key; the CSV has the lines of the results
    that are on a front.

    Parameters
    ----------
    rows : sequence of mapping
        All results, which the file `out` holds.
    """
    reasons = collections.Counter(row["infeasible"] for row in rows if row["infeasible"])
    parts: list[Part] = [
        f"{sweep.title}: {len(rows)} points, {reasons.total()} infeasible; all in {out}",
        *(f"  {count} x {reason}" for reason, count in reasons.most_common(_REASONS)),
    ]
    if len(reasons) > _REASONS:
        parts.append(f"  and {len(reasons) - _REASONS} other reasons")
    tiers: set[str] = set()
    for task, front in fronts.items():
        best = _spaced(front)
        tiers.update(row["energy_tier"] for row in best)
        more = f", {len(best)} of them here" if len(best) < len(front) else ""
        parts += ["", f"{task_text(sweep, task)}: {len(front)} on the front{more}"]
        parts.append(_front_table(sweep, best))
    return Sheet(
        parts=[*parts, "", *(_origin(name, tiers) for name in sweep.objectives)],
        records=list(itertools.chain.from_iterable(fronts.values())),
        fields=list(COLUMNS),
        data={
            "title": sweep.title,
            "objectives": sweep.objectives,
            "tiers": {"latency": "DERIVED", "area": area.TIER},
            "fronts": [
                {"task": dict(zip(sweep.per, task, strict=True)), "points": front}
                for task, front in fronts.items()
            ],
        },
    )


def _front_table(sweep: Sweep, front: Sequence[Mapping]) -> Table:
    """Make a table of what was swept within a task, and of the objectives."""
    shown = [name for name in sweep.swept if name not in sweep.per]
    return Table(
        headers=[f">{name}" for name in (*shown, *sweep.objectives)],
        rows=[
            [
                *(_value(row[name]) for name in shown),
                *(amount_text(name, row[name]) for name in sweep.objectives),
            ]
            for row in front
        ],
    )


def _origin(objective: str, tiers: set[str]) -> str:
    """Say how far an objective can be trusted, and which way it is better."""
    if objective.startswith("area"):
        return f"{objective}: {area.TIER} {area.SCOPE}"
    if objective.startswith("energy") and tiers:
        return f"{objective}: {' or '.join(sorted(tiers))}, the weakest of the costs in it"
    return f"{objective}: DERIVED{', the more the better' * (objective in MAXIMISED)}"


def _spaced(front: Sequence[Mapping]) -> list[Mapping]:
    """Choose at most `LARGEST` rows of a front, both ends included."""
    if len(front) <= LARGEST:
        return list(front)
    return [front[place * (len(front) - 1) // (LARGEST - 1)] for place in range(LARGEST)]


def task_text(sweep: Sweep, task: tuple) -> str:
    """Name of the task that a front belongs to."""
    return ", ".join(f"{name} {value}" for name, value in zip(sweep.per, task, strict=True))


def _value(value: object) -> str:
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def amount_text(name: str, value: float) -> str:
    """Figure of a sweep with its unit."""
    unit = FIGURES[name]
    return f"{value:.3g} {unit}" if unit in _NO_PREFIX else si(value, unit)


def speeds_sheet(speeds: Sequence[Speed]) -> Sheet:
    """Table of evaluations a second, by the clock and by the processors' time."""
    names = ("start", "jobs", "evaluations", "seconds", "cpu_s", "per_s", "per_cpu_s")
    table = Table(
        headers=("Start", ">Jobs", ">Evaluations", ">Seconds", ">A second", ">A CPU second"),
        rows=[
            (
                speed.start,
                str(speed.jobs),
                str(speed.evaluations),
                f"{speed.seconds:.2f}",
                f"{speed.per_s:.0f}",
                f"{speed.per_cpu_s:.0f}",
            )
            for speed in speeds
        ],
    )
    records = [{name: getattr(speed, name) for name in names} for speed in speeds]
    return Sheet(parts=[table], records=records)
