"""Area, clock and energy of a ternary PE at 7 nm, beside int8 and FP16 multiply-accumulates.

`sim.power.designs` says what is priced, `sim.power.price` how, `sim.power.costs` what the energy
model takes of it; here it becomes tables and a plot. The library is ASAP7's, which the project does
not ship; only the figures are kept.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tritloom.arch.errors import InputError
from tritloom.arch.files import write_files
from tritloom.console.progress import status
from tritloom.console.sheet import Sheet, Table, render, show
from tritloom.hw.cells import liberty, mapping, timer

from .costs import costs_yaml, figures
from .designs import quick_designs, search_designs, table_designs
from .price import Priced, measure


def as_json(done: Sequence[Priced]) -> str:
    """All figures as JSON."""
    told = {
        "tool": mapping.tool(),
        "wire_ff": timer.WIRE_FF,
        "excluded": liberty.EXCLUDED,
        "designs": [dataclasses.asdict(made) for made in done],
    }
    return json.dumps(told, indent=1, default=str) + "\n"


# Where a checkout keeps what the cost table is made of, and the table itself.
ROOT = Path(__file__).parents[2]
FIGURES, COSTS = Path("docs/asap7.json"), Path("energy_model/data/costs_asap7.yaml")
PLOT = Path("docs/asap7.svg")
HEADERS = (
    *("design", ">clock MHz", ">met at MHz", ">um2/op", ">gates", ">registers", "operands"),
    *(">fJ/op", ">low", ">glitching", ">high", ">arithmetic", ">registers", ">clock", ">leakage"),
)


def rows(done: Sequence[Priced]) -> list[list[str]]:
    """A row for each design and kind of operands, as text."""
    lines = []
    for made in done:
        clock = made.design.clock_hz
        head = [
            made.design.name,
            f"{clock / 1e6:.0f}" if clock else "any",
            f"{1e6 / made.critical_ps:.0f}",
            f"{made.area_um2:.2f}",
            f"{made.logic_um2:.2f}",
            f"{made.register_um2 + made.clock_um2:.2f}",
        ]
        for each in made.energies or (None,):
            if each is None:
                lines.append([*head, *[""] * 9])
                continue
            split = each.settled.nominal
            parts = (split.arithmetic_j, split.registers_j, split.clock_j, split.leakage_j)
            share = "" if each.zero_share is None else f", {each.zero_share:.0%} zeros"
            numbers = (each.nominal_j, each.low_j, each.glitching_j, each.high_j, *parts)
            texts = [f"{joules * 1e15:.3g}" for joules in numbers]
            lines.append([*head, f"{each.operands}{share}", *texts])
    return lines


def priced_sheet(done: Sequence[Priced]) -> Sheet:
    """A table with a row for each design and kind of operands."""
    return Sheet(parts=[Table(headers=HEADERS, rows=rows(done))])


def plot(done: Sequence[Priced], path: Path) -> None:
    """Area against clock, energy as colour where it is known; the Pareto front joined."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    points = [made for made in done if made.design.kind == "ternary"]
    clocks = [1e3 / made.critical_ps for made in points]
    areas = [made.area_um2 for made in points]
    front, best = [], np.inf
    for clock, area in sorted(zip(clocks, areas, strict=True), reverse=True):
        if area < best:
            best = area
            front.append((clock, area))
    axes.step(*zip(*front, strict=True), where="post", color="0.7", zorder=0)
    shares = [made.energy("uniform", 1 / 3) for made in points]
    known = [index for index, share in enumerate(shares) if share]
    axes.scatter(clocks, areas, s=30, color="0.6")
    coloured = axes.scatter(
        [clocks[index] for index in known],
        [areas[index] for index in known],
        c=[shares[index].nominal_j * 1e15 for index in known],
        s=60,
    )
    figure.colorbar(coloured, label="fJ per operation, a third of the trits zero")
    for made, clock, area in zip(points, clocks, areas, strict=True):
        shape = f"{made.design.config.lanes}x{made.design.config.cols}"
        axes.annotate(shape, (clock, area), textcoords="offset points", xytext=(5, 3), size=7)
    axes.set_xlabel("clock before placement, GHz")
    axes.set_ylabel("area per ternary multiply-accumulate, um$^2$")
    axes.set_yscale("log")
    axes.set_yticks([3, 4, 6, 8, 12, 20], labels=["3", "4", "6", "8", "12", "20"])
    axes.set_title("Ternary PEs in ASAP7, lanes x columns that share act registers")
    figure.savefig(path, metadata={"Date": None})


def run(
    files: Sequence[Path],
    *,
    out: Path,
    folder: Path | None = None,
    quick: bool,
    half_drive: bool,
    jobs: int,
    update: bool = False,
) -> tuple[Path, ...]:
    """Price everything, print a table and write it to `out`.

    Parameters
    ----------
    update : bool
        Write `FIGURES`, `COSTS` and `PLOT` of the checkout too.

    Raises
    ------
    InputError
        The files are no library, or `update` is asked for where there is no checkout, or of a run
        that prices too little for a table of costs.
    """
    if update and quick:
        raise InputError("three designs are too few for a table of costs: --update without --quick")
    if update and not (ROOT / FIGURES.parent).is_dir():
        raise InputError(f"no checkout to update: there is no folder {ROOT / FIGURES.parent}")
    without = () if half_drive else (liberty.HALF_DRIVE,)
    designs = quick_designs() if quick else [*table_designs(), *search_designs()]
    with status("mapping") as tell:

        def progress(made):
            tell(f"{made.design.name} took {made.seconds:.0f} s")

        done = measure(designs, files, folder=folder, without=without, jobs=jobs, progress=progress)
    sheet = priced_sheet(done)
    show(sheet)
    texts = {"asap7.json": as_json(done), "asap7.md": render(sheet, "markdown") + "\n"}
    kept = {}
    if not quick and any(made.energies for made in done):
        found = figures(done)
        kept = {FIGURES: json.dumps(found, indent=1) + "\n", COSTS: costs_yaml(found)}
        texts[COSTS.name] = kept[COSTS]
        with tempfile.TemporaryDirectory() as scratch:
            plot(done, Path(scratch, PLOT.name))
            texts[PLOT.name] = kept[PLOT] = Path(scratch, PLOT.name).read_bytes()
    written = write_files(out, texts)
    if update:
        for file, text in kept.items():
            written += write_files(ROOT / file.parent, {file.name: text})
    return written
