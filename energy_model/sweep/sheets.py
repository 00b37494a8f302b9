"""Pareto fronts of a sweep as tables, JSON, CSV and a picture."""

from __future__ import annotations

import collections
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.table import Table

from tritloom.arch.errors import InputError
from tritloom.console import terminal
from tritloom.energy_model.costs.units import si
from tritloom.energy_model.machine import area
from tritloom.energy_model.report.plot import BITNET_COLOUR, LLAMA_COLOUR, write_picture

from .run import Speed
from .sweep import COLUMNS, FIGURES, MAXIMISED, Sweep

# Rows of a table, evenly spaced over a front that has more.
_SHOWN = 20
_REASONS = 3
_NO_PREFIX = ("mm2",)


def print_fronts(
    sweep: Sweep, rows: Sequence[Mapping], fronts: Mapping[tuple, Sequence[Mapping]], out: Path
) -> None:
    """Print a table of each task's front, and how many points were infeasible and why."""
    console = terminal.Paper()
    reasons = collections.Counter(row["infeasible"] for row in rows if row["infeasible"])
    lines: list[str | Table] = [
        f"{sweep.title}: {len(rows)} points, {reasons.total()} infeasible; all in {out}"
    ]
    for reason, count in reasons.most_common(_REASONS):
        lines.append(f"  {count} x {reason}")
    if len(reasons) > _REASONS:
        lines.append(f"  and {len(reasons) - _REASONS} other reasons")
    shown = [name for name in sweep.swept if name not in sweep.per]
    tiers: set[str] = set()
    for task, front in fronts.items():
        best = _spaced(front)
        more = f", {len(best)} of them here" if len(best) < len(front) else ""
        lines += ["", f"{_task(sweep, task)}: {len(front)} on the front{more}"]
        headings = [f">{name}" for name in (*shown, *sweep.objectives)]
        table = terminal.table(console, *headings)
        for row in best:
            tiers.add(row["energy_tier"])
            figures = [_amount(name, row[name]) for name in sweep.objectives]
            table.add_row(*[_value(row[name]) for name in shown], *figures)
        lines.append(table)
    lines.append("")
    for name in sweep.objectives:
        if name.startswith("area"):
            lines.append(f"{name}: {area.TIER} {area.SCOPE}")
        elif name.startswith("energy") and tiers:
            lines.append(f"{name}: {' or '.join(sorted(tiers))}, the weakest of the costs in it")
        else:
            lines.append(f"{name}: DERIVED{', the more the better' * (name in MAXIMISED)}")
    terminal.print_lines(console, *lines)


def _spaced(front: Sequence[Mapping]) -> list[Mapping]:
    """At most `_SHOWN` of them, both ends included."""
    if len(front) <= _SHOWN:
        return list(front)
    return [front[place * (len(front) - 1) // (_SHOWN - 1)] for place in range(_SHOWN)]


def _task(sweep: Sweep, task: tuple) -> str:
    return ", ".join(f"{name} {value}" for name, value in zip(sweep.per, task, strict=True))


def _value(value: object) -> str:
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _amount(name: str, value: float) -> str:
    unit = FIGURES[name]
    return f"{value:.3g} {unit}" if unit in _NO_PREFIX else si(value, unit)


def fronts_json(sweep: Sweep, fronts: Mapping[tuple, Sequence[Mapping]]) -> str:
    """Fronts as one JSON object; amounts in the unit that ends their key."""
    content = {
        "title": sweep.title,
        "objectives": sweep.objectives,
        "tiers": {"latency": "DERIVED", "area": area.TIER},
        "fronts": [
            {"task": dict(zip(sweep.per, task, strict=True)), "points": front}
            for task, front in fronts.items()
        ],
    }
    return json.dumps(content, indent=2)


def fronts_csv(fronts: Mapping[tuple, Sequence[Mapping]]) -> str:
    """The lines of the results that are on a front."""
    return terminal.csv_text(COLUMNS, itertools.chain.from_iterable(fronts.values()))


def print_speeds(speeds: Sequence[Speed]) -> None:
    """Print evaluations a second."""
    console = terminal.Paper()
    headings = (">Jobs", ">Evaluations", ">Seconds", ">A second", ">A CPU second")
    table = terminal.table(console, "Start", *headings)
    for speed in speeds:
        counts = (str(speed.jobs), f"{speed.evaluations}", f"{speed.seconds:.2f}")
        table.add_row(speed.start, *counts, f"{speed.per_s:.0f}", f"{speed.per_cpu_s:.0f}")
    terminal.print_lines(console, table)


def speeds_json(speeds: Sequence[Speed]) -> str:
    """Speeds as a JSON list."""
    names = ("start", "jobs", "evaluations", "seconds", "cpu_s", "per_s", "per_cpu_s")
    return json.dumps([{name: getattr(speed, name) for name in names} for speed in speeds])


def check_plot(path: Path) -> str:
    """The format that a picture's name asks for: before a sweep, not after it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    suffix = path.suffix.removeprefix(".").lower()
    formats = FigureCanvasAgg.filetypes
    if suffix not in formats:
        raise InputError(f"cannot plot to {path}: its suffix must be one of {', '.join(formats)}")
    return suffix


def plot_fronts(
    sweep: Sweep, rows: Sequence[Mapping], fronts: Mapping[tuple, Sequence[Mapping]], path: Path
) -> None:
    """Draw all points, and the front, by pairs of objectives: a row of panels for each task.

    Raises
    ------
    InputError
        There is no front or no pair to draw, or the file cannot be written.
    """
    from matplotlib.figure import Figure as Picture

    suffix, names = check_plot(path), sweep.objectives
    pairs = [(names[0], other) for other in names[1:]]
    if not fronts or not pairs:
        raise InputError(f"cannot plot to {path}: it takes two objectives and a feasible point")
    if len(fronts) > _SHOWN:
        raise InputError(f"cannot plot to {path}: {len(fronts)} tasks are more than {_SHOWN}")
    size = (5.5 * len(pairs), 4.2 * len(fronts) + 0.6)
    picture = Picture(figsize=size, layout="constrained")
    axes = picture.subplots(len(fronts), len(pairs), squeeze=False)
    picture.suptitle(f"{sweep.title}: front of {', '.join(names)}", fontsize=13)
    for line, (task, front) in zip(axes, fronts.items(), strict=True):
        of_task = [
            row
            for row in rows
            if not row["infeasible"] and tuple(row[name] for name in sweep.per) == task
        ]
        for panel, (across, up) in zip(line, pairs, strict=True):
            _panel(panel, of_task, front, across, up)
        line[0].set_title(_task(sweep, task), loc="left", fontsize=9)
    picture.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower right", ncols=2)
    write_picture(picture, path, suffix)


def _panel(axes, points: Sequence[Mapping], front: Sequence[Mapping], across: str, up: str) -> None:
    """One pair of objectives on logarithmic axes."""
    for some, size, colour, label in (
        (points, 6, LLAMA_COLOUR, "feasible"),
        (front, 14, BITNET_COLOUR, "on the front"),
    ):
        places = [[row[name] for row in some] for name in (across, up)]
        axes.scatter(*places, s=size, color=colour, label=label, linewidths=0)
    for name, axis, scale in (
        (across, axes.xaxis, axes.set_xscale),
        (up, axes.yaxis, axes.set_yscale),
    ):
        scale("log")
        amounts = [row[name] for row in points]
        # Less than a decade may hold no power of ten: then the ticks between are labelled too.
        short = max(amounts) < 10 * min(amounts)
        axis.set_major_formatter(lambda value, _, name=name: _amount(name, value))
        axis.set_minor_formatter(axis.get_major_formatter() if short else lambda value, _: "")
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.spines[["top", "right"]].set_visible(False)
