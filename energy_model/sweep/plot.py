"""Pareto fronts of a sweep as a picture.

Matplotlib is imported on use: it is slow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tritloom.arch.errors import InputError
from tritloom.energy_model.picture import (
    BITNET_COLOUR,
    LLAMA_COLOUR,
    picture_format,
    write_picture,
)

from .sheets import LARGEST, amount_text, task_text
from .sweep import Sweep


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

    picture_format(path)
    names = sweep.objectives
    pairs = [(names[0], other) for other in names[1:]]
    if not fronts or not pairs:
        raise InputError(f"cannot plot to {path}: it takes two objectives and a feasible point")
    if len(fronts) > LARGEST:
        raise InputError(f"cannot plot to {path}: {len(fronts)} tasks are more than {LARGEST}")
    size = (5.5 * len(pairs), 4.2 * len(fronts) + 0.6)
    picture = Picture(figsize=size, layout="constrained")
    axes = picture.subplots(len(fronts), len(pairs), squeeze=False)
    picture.suptitle(f"{sweep.title}: front of {', '.join(names)}", fontsize=13)
    for line, (task, front) in zip(axes, fronts.items(), strict=True):
        competitors = [
            row
            for row in rows
            if not row["infeasible"] and tuple(row[name] for name in sweep.per) == task
        ]
        for panel, (across, up) in zip(line, pairs, strict=True):
            _panel(panel, competitors, front, across, up)
        line[0].set_title(task_text(sweep, task), loc="left", fontsize=9)
    picture.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower right", ncols=2)
    write_picture(picture, path)


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
        axis.set_major_formatter(lambda value, _, name=name: amount_text(name, value))
        axis.set_minor_formatter(axis.get_major_formatter() if short else lambda value, _: "")
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.spines[["top", "right"]].set_visible(False)
