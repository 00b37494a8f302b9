"""Pictures of `reproduce` laid out as in arXiv 2402.17764: bars are the model, dots the paper.

Matplotlib is imported on use.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tritloom.arch.errors import InputError
from tritloom.energy_model.picture import BITNET_COLOUR, LLAMA_COLOUR, write_picture

from .reproduce import (
    B158,
    BATCH_SIZE,
    FIGURE2,
    FIGURE3_LEFT,
    FIGURE3_RIGHT,
    LATENCY,
    MEMORY,
    RATIO,
    SYSTEMS,
    TABLE3,
    THROUGHPUT,
    ReproducedValue,
)

_COLOURS = {"llama": LLAMA_COLOUR, "bitnet": BITNET_COLOUR}
# The order of the paper.
_ORDER = ("bitnet", "llama")
_ADD_SHADE = 0.55


def plot_figures(rows: Sequence[ReproducedValue], folder: Path) -> None:
    """Write figure2.png, figure3.png and table3.png into a folder, which is made if need be.

    Raises
    ------
    InputError
        The folder cannot be made, or a file cannot be written.
    """
    from matplotlib.figure import Figure as Picture

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}") from None
    own = [row for row in rows if row.source == B158]
    for name, size, draw in (
        ("figure2", (11, 4.5), _figure2),
        ("figure3", (11, 4.5), _figure3),
        ("table3", (8, 2), _table3),
    ):
        picture = Picture(figsize=size, layout="constrained")
        draw(picture, own)
        write_picture(picture, folder / f"{name}.png")


def _figure2(picture, rows: Sequence[ReproducedValue]) -> None:
    """Draw latency (left) and memory (right) by size."""
    left, right = picture.subplots(1, 2)
    for axes, quantity, title in (
        (left, LATENCY, "Latency of one token (ms)"),
        (right, MEMORY, "Memory (GB)"),
    ):
        own = [r for r in rows if r.figure == FIGURE2 and r.quantity == quantity]
        _pairs(axes, own, title)
    picture.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4)


def _figure3(picture, rows: Sequence[ReproducedValue]) -> None:
    """Draw the energy of one operation (left, adds on multiplies) and end to end (right)."""
    left, right = picture.subplots(1, 2, width_ratios=(1, 2))
    parts = [row for row in rows if row.figure == FIGURE3_LEFT]
    (ratio,) = (row for row in parts if row.system == RATIO)
    for place, system in enumerate(_ORDER):
        bottom = published = 0.0
        # Multiplies below adds.
        for row in (r for r in parts if r.system == system):
            alpha = 1 if "multiply" in row.name else _ADD_SHADE
            left.bar(place, row.model, 0.6, bottom, color=_COLOURS[system], alpha=alpha)
            middle = bottom + row.model / 2
            if row.model > 0.05:
                left.annotate(row.name.split(",")[0], (place, middle), ha="center", va="center")
            bottom += row.model
            published += row.published
        left.plot(place, published, "k_", markersize=18)
        text = f"INT8 add {bottom:g}" if system == "bitnet" else _ratio(ratio)
        left.annotate(text, (place, bottom), (0, 6), textcoords="offset points", ha="center")
    left.set_xticks(range(len(_ORDER)), [SYSTEMS[system] for system in _ORDER])
    left.set_title("Energy of one operation, 7 nm (pJ)", loc="left", fontsize=10)
    left.margins(y=0.15)
    left.spines[["top", "right"]].set_visible(False)
    _pairs(right, [row for row in rows if row.figure == FIGURE3_RIGHT], "End-to-end energy (J)")
    picture.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=4)


def _table3(picture, rows: Sequence[ReproducedValue]) -> None:
    """Draw a table of the largest batch and the throughput of 70B, the model's and the paper's."""
    axes = picture.subplots()
    axes.set_axis_off()
    cells = []
    for system in ("llama", "bitnet", RATIO):
        line = [SYSTEMS.get(system, "BitNet / LLaMA"), "70B"]
        for quantity in (BATCH_SIZE, THROUGHPUT):
            (row,) = (
                r for r in rows if (r.figure, r.quantity, r.system) == (TABLE3, quantity, system)
            )
            unit = "x" if system == RATIO else ""
            digits = 1 if system == RATIO else 0
            line += [f"{value:.{digits}f}{unit}" for value in (row.model, row.published)]
        cells.append(line)
    headers = ["", "Size", "Max batch", "published", "Token/s", "published"]
    table = axes.table(cells, colLabels=headers, loc="center", cellLoc="center")
    table.scale(1, 1.6)
    axes.set_title("Two A100-80GB, pipeline parallel, 512 tokens", loc="left", fontsize=10)


def _pairs(axes, rows: Sequence[ReproducedValue], title: str) -> None:
    """Draw a pair of bars for each size, with the ratio above and dots for the paper."""
    sizes = list(dict.fromkeys(row.size for row in rows))
    found = {(row.system, row.size): row for row in rows}
    for offset, system in zip((-0.2, 0.2), _ORDER, strict=True):
        places = [place + offset for place in range(len(sizes))]
        own = [found[system, size] for size in sizes]
        label = SYSTEMS[system]
        axes.bar(places, [r.model for r in own], 0.38, color=_COLOURS[system], label=label)
        paper = {"label": "published"} if system == _ORDER[-1] else {}
        axes.plot(places, [row.published for row in own], "k.", **paper)
    for place, size in enumerate(sizes):
        top = max(max(found[s, size].model, found[s, size].published) for s in _ORDER)
        axes.annotate(
            _ratio(found[RATIO, size]),
            (place, top),
            (0, 6),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xticks(range(len(sizes)), [size.upper() for size in sizes])
    axes.set_title(title, loc="left", fontsize=10)
    axes.margins(y=0.12)
    axes.spines[["top", "right"]].set_visible(False)


def _ratio(row: ReproducedValue) -> str:
    """Text of the model's ratio, with the published one below it."""
    digits = 1 if row.published >= 10 else 2
    return f"{row.model:.{digits}f}x\n(published {row.published:.{digits}f}x)"
