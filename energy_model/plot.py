"""The report as a picture. Matplotlib is imported on use: it would double the time of a report."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from arch.errors import InputError

from .render import SYSTEMS, times
from .report import Figure, Report
from .units import si

_LLAMA_COLOUR, _BITNET_COLOUR = "#9aa5b1", "#d1495b"


def plot_report(report: Report, path: Path) -> None:
    """Write energy by part, energy and decode latency by layer, and memory by part.

    The suffix of `path` chooses the format. Nothing is left behind when writing fails.

    Raises
    ------
    InputError
        The format is unknown, or the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(13, 9), layout="constrained")
    formats = FigureCanvasAgg(picture).get_supported_filetypes()
    suffix = path.suffix.removeprefix(".").lower()
    if suffix not in formats:
        raise InputError(f"cannot plot to {path}: its suffix must be one of {', '.join(formats)}")

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
    _write(picture, path, suffix)


def _labels(total: Figure) -> list[str]:
    return [part.label for part in total.parts]


def _layers(report: Report, total: Figure) -> tuple[list[Figure], list[str]]:
    """The layers that belong to a total, and the total itself."""
    rows = [row for row in report.rows if total.key in row.bitnet.scope]
    figures = [figure for row in rows for figure in row.figures if figure.key == total.key]
    return [*figures, total], [*(row.bitnet.layer.name for row in rows), "total"]


def _bars(axes, title: str, figures: list[Figure], labels: list[str]) -> None:
    """A pair of horizontal bars for each figure on a logarithmic axis, the ratio at their end."""
    symbol = figures[0].unit.symbol
    for offset, colour, system, side in (
        (-0.2, _LLAMA_COLOUR, SYSTEMS[0], "llama"),
        (0.2, _BITNET_COLOUR, SYSTEMS[1], "bitnet"),
    ):
        amounts = [getattr(figure, side) for figure in figures]
        axes.barh(
            [place + offset for place in range(len(figures))],
            [amount.nominal for amount in amounts],
            height=0.38,
            color=colour,
            label=system,
        )
    for place, figure in enumerate(figures):
        if figure.ratio:
            end = max(figure.llama.nominal, figure.bitnet.nominal)
            axes.annotate(
                times(figure.ratio), (end, place), (4, 0), textcoords="offset points", va="center"
            )
    tier = ", ".join([figures[-1].tier, *(f"INFERRED {name}" for name in figures[-1].inferred)])
    axes.set_title(f"{title}\n", loc="left", fontweight="bold")
    axes.text(0, 1.02, tier, transform=axes.transAxes, fontsize=8, color="#555555")
    axes.set_xscale("log")
    axes.margins(x=0.12)
    axes.xaxis.set_major_formatter(lambda value, _: si(value, symbol))
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)


def _write(picture, path: Path, suffix: str) -> None:
    """Write to a temporary name in the same folder, then move it into place."""
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".plot-", suffix=path.suffix)
        os.close(handle)
        try:
            picture.savefig(temporary, format=suffix, dpi=120)
            Path(temporary).chmod(0o666 & ~_umask())
            os.replace(temporary, path)
        finally:
            Path(temporary).unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
