"""Pictures of a report.

Matplotlib is imported on use: it would double the time of a report.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

from tritloom.energy_model.costs.range import Range
from tritloom.energy_model.costs.units import si, times
from tritloom.energy_model.machine.evaluation import roofline
from tritloom.energy_model.picture import (
    BITNET_COLOUR,
    LLAMA_COLOUR,
    picture_format,
    write_picture,
)

from .figures import Figure
from .report import Report, headlines_over
from .sheets import SYSTEMS

PAPER_COLOUR = "#3d85c6"
# Contexts and batches for which ratios are plotted, and markers of phases.
CONTEXTS = (128, 512, 2048, 8192, 32768, 131072)
BATCHES = (1, 4, 16, 64, 256)
_MARKERS = {"prefill": "o", "decode": "^"}
# Stands for the colour of a page's text, light or dark.
_INK = "#010203"


def plot_report(report: Report, path: Path) -> None:
    """Write energy by part, energy and decode latency by layer, and memory by part.

    The suffix of `path` chooses the format. Nothing is left behind when writing fails.

    Raises
    ------
    InputError
        The format is unknown, or the file cannot be written.
    """
    from matplotlib.figure import Figure as Picture

    picture_format(path)
    picture = Picture(figsize=(13, 9), layout="constrained")
    model, workload = report.llama.model, report.llama.workload
    picture.suptitle(
        f"{model.name}: BitNet b1.58 next to FP16 LLaMA "
        f"({workload.phase}, batch {workload.batch}, context {workload.context})",
        fontsize=14,
    )
    axes = picture.subplots(2, 2)
    energy, memory, latency = (report.figure(key) for key in ("energy", "memory", "latency"))
    _bars(axes[0, 0], energy.label, [*energy.parts, energy], [*_labels(energy), "total"])
    _bars(axes[0, 1], f"{energy.label}, by layer", *_layers(report, energy))
    _bars(axes[1, 0], memory.label, [*memory.parts, memory], [*_labels(memory), "total"])
    _bars(axes[1, 1], f"{latency.label}, by layer", *_layers(report, latency))
    picture.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    write_picture(picture, path)


def svg_plots(report: Report) -> dict[str, str]:
    """Draw SVG elements, by title, that stand in a page and take the colour of its text."""
    import matplotlib
    from matplotlib.figure import Figure as Picture

    phase = report.llama.workload.phase
    energy, latency, system = (
        report.figure(key) for key in ("energy", "latency", f"system_{phase}")
    )
    lines = [part for part in system.parts if part.llama.high or part.bitnet.high]
    categories = [*lines, system], [*(part.label for part in lines), "total"]
    by_category = f"Energy by category: {system.label.lower()}"
    by_layer = f"Arithmetic by layer: {energy.label.lower()}"
    plots: list[tuple[str, float, Callable[..., None], tuple]] = [
        (by_category, 5.5, _bars, ("", *categories)),
        (by_layer, 5.5, _bars, ("", *_layers(report, energy))),
        (f"{latency.label}, by layer", 5.5, _bars, ("", *_layers(report, latency))),
        ("Roofline", 4.5, _roofline, (report,)),
        ("Energy ratio against context", 4.5, _ratios, (report, "context", CONTEXTS)),
        ("Energy ratio against batch", 4.5, _ratios, (report, "batch", BATCHES)),
    ]
    colours = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
    style = dict.fromkeys(colours, _INK) | {"svg.fonttype": "none", "font.family": "sans-serif"}
    made = {}
    for title, height, draw, arguments in plots:
        # The salt makes ids differ between plots, and not between runs.
        with matplotlib.rc_context(style | {"svg.hashsalt": title}):
            picture = Picture(figsize=(7.5, height), layout="constrained")
            axes = picture.subplots()
            draw(axes, *arguments)
            handles = axes.get_legend_handles_labels()
            picture.legend(*handles, loc="outside upper left", ncols=3, frameon=False)
            made[title] = _svg(picture, title)
    return made


def _svg(picture, title: str) -> str:
    """Render an element without prologue, metadata and names that other plots of a page have."""
    out = io.StringIO()
    metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    picture.savefig(out, format="svg", transparent=True, metadata=metadata)
    text = out.getvalue()
    text = re.sub(r'<g id="[^"]*"', "<g", text[text.index("<svg") :]).replace(_INK, "currentColor")
    return text.replace("<svg", f'<svg role="img" aria-label="{title}"', 1)


def _roofline(axes, report: Report) -> None:
    """Draw the roofs of the machine, and the layers of both systems in each phase below them."""
    machine = report.llama.machine
    bytes_per_s = machine.dram.bytes_per_s * machine.dram.efficiency
    placed = {
        (system, phase): roofline(side, phase)
        for system, side in zip(SYSTEMS, (report.llama, report.bitnet), strict=True)
        for phase in side.passes
    }
    reach = [layer.ops_per_byte for layers in placed.values() for layer in layers]
    ridges = [rate / bytes_per_s for rate in machine.peak_ops_per_s.values()]
    low, high = min(reach + ridges) / 2, max(reach + ridges) * 2
    roofs = {rate: dtype for dtype, rate in reversed(machine.peak_ops_per_s.items())}
    for rate, dtype in roofs.items():
        axes.plot(
            [low, rate / bytes_per_s, high], [bytes_per_s * low, rate, rate], color=_INK, lw=1
        )
        label = f"{si(rate, 'op/s')}{f' {dtype}' * (len(roofs) > 1)}"
        axes.annotate(label, (high, rate), (0, 4), textcoords="offset points", ha="right")
    for (system, phase), layers in placed.items():
        axes.scatter(
            [layer.ops_per_byte for layer in layers],
            [layer.ops_per_s for layer in layers],
            color=LLAMA_COLOUR if system == SYSTEMS[0] else BITNET_COLOUR,
            marker=_MARKERS[phase],
            # Markers differ in size, so that both are seen where they fall together.
            s=90 if system == SYSTEMS[0] else 25,
            label=f"{system}, {phase}",
            zorder=3,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_major_formatter(lambda value, _: si(value, "op/s"))
    axes.set_xlabel(f"operations for each DRAM byte, at {si(bytes_per_s, 'B/s')}")
    axes.spines[["top", "right"]].set_visible(False)


def _ratios(axes, report: Report, name: str, values: tuple[int, ...]) -> None:
    """Draw the paper's ratio and those of the whole machine, with their ranges."""
    over = headlines_over(report, name, values)
    paper = [prefill.arithmetic.nominal for prefill, _ in over.values()]
    axes.plot(values, paper, color=PAPER_COLOUR, ls="--", label="arithmetic alone, prefill")
    for place, phase in enumerate(_MARKERS):
        ratios = [headlines[place].system for headlines in over.values()]
        axes.plot(
            values,
            [ratio.nominal for ratio in ratios],
            color=BITNET_COLOUR,
            marker=_MARKERS[phase],
            ls="-" if phase == "prefill" else ":",
            label=f"with memory, {phase}",
        )
        levels = ([ratio.low for ratio in ratios], [ratio.high for ratio in ratios])
        axes.fill_between(values, *levels, color=BITNET_COLOUR, alpha=0.2, lw=0)
    axes.axhline(1, color=_INK, lw=0.5)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(values, map(str, values))
    axes.set_xticks([], minor=True)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}x")
    axes.yaxis.set_minor_formatter(
        lambda value, _: f"{value:g}x" if f"{value:e}"[0] in "25" else ""
    )
    rest = "batch" if name == "context" else "context"
    axes.set_xlabel(f"{name}, at {rest} {getattr(report.llama.workload, rest)}")
    axes.set_ylabel("FP16 LLaMA / BitNet b1.58")
    axes.spines[["top", "right"]].set_visible(False)


def _labels(total: Figure) -> list[str]:
    return [part.label for part in total.parts]


def _layers(report: Report, total: Figure) -> tuple[list[Figure], list[str]]:
    """Figures of the layers that belong to a total, and the total itself, with their labels."""
    rows = [row for row in report.rows if total.key in row.bitnet.scope]
    figures = [figure for row in rows for figure in row.figures if figure.key == total.key]
    return [*figures, total], [*(row.bitnet.layer.name for row in rows), "total"]


def _bars(axes, title: str, figures: list[Figure], labels: list[str]) -> None:
    """Draw a pair of bars for each figure on a logarithmic axis, with the ratio at their end."""
    symbol = figures[0].unit.symbol
    for offset, colour, system, side in (
        (-0.2, LLAMA_COLOUR, SYSTEMS[0], "llama"),
        (0.2, BITNET_COLOUR, SYSTEMS[1], "bitnet"),
    ):
        amounts = [getattr(figure, side) for figure in figures]
        axes.barh(
            [place + offset for place in range(len(figures))],
            [amount.nominal for amount in amounts],
            xerr=[
                [amount.nominal - amount.low for amount in amounts],
                [amount.high - amount.nominal for amount in amounts],
            ],
            error_kw={"lw": 0.8, "alpha": 0.6, "ecolor": axes.xaxis.label.get_color()},
            height=0.38,
            color=colour,
            label=system,
        )
    for place, figure in enumerate(figures):
        if figure.ratio:
            end = max(figure.llama.high, figure.bitnet.high)
            axes.annotate(
                times(Range.point(figure.ratio.nominal)),
                (end, place),
                (4, 0),
                textcoords="offset points",
                va="center",
            )
    tier = ", ".join([figures[-1].tier, *(f"INFERRED {name}" for name in figures[-1].inferred)])
    axes.set_title(f"{title}\n" if title else "", loc="left", fontweight="bold")
    axes.text(0, 1.02, tier, transform=axes.transAxes, fontsize=8, alpha=0.7)
    axes.set_xscale("log")
    axes.margins(x=0.12)
    axes.xaxis.set_major_formatter(lambda value, _: si(value, symbol))
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
