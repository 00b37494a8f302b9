"""Area, timing and energies of a design as standard cells.

It is mapped to the user's library, sized for a clock and timed (hw/cells/mapping.py,
hw/cells/timer.py), then simulated on operands, with the RTL as a witness, and its toggles priced
(sim/power/energy.py). Areas and energies are for one operation, a multiply-accumulate.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np

from tritloom.hw.cells import liberty, mapping, timer
from tritloom.hw.verilog import generate_core, generate_hop

from . import energy, glitches, words
from .designs import BASELINES, CORE_BLOCKS, PricedDesign

# Nothing reads these in an array of one row and one hop.
UNREAD = ("trits_south", "acts_east")
TILES, SLICES = 4, 120
# Input and output features of the demo's layer.
DEMO_FEATURES = 576, 1536
# Cycles that are simulated event by event, of a design with so many cells.
GLITCH_CYCLES = {3_000: 200, 100_000: 40}
SHARES = (0.0, 1 / 3, 2 / 3)


@dataclass(frozen=True, kw_only=True)
class OperandEnergy:
    """Energy of an operation on one kind of operands.

    Attributes
    ----------
    operands : str
    zero_share : float, optional
        Share of the trits that are zero.
    settled, glitching : energy.PowerReport
        Energy of the toggles of settled nets, and of those of all events.
    """

    operands: str
    zero_share: float | None
    settled: energy.PowerReport
    glitching: energy.PowerReport

    @property
    def low_j(self) -> float:
        """Energy of settled nets, without wires."""
        return self.settled.low.total_j

    @property
    def nominal_j(self) -> float:
        """Energy of settled nets with wires: what cycle-based simulators see."""
        return self.settled.nominal.total_j

    @property
    def glitching_j(self) -> float:
        """Energy with glitches."""
        return self.glitching.nominal.total_j

    @property
    def high_j(self) -> float:
        """Energy with glitches, and the tables of ground added, as OpenSTA does."""
        return self.glitching.high.total_j


@dataclass(frozen=True, kw_only=True)
class Priced:
    """A design as standard cells, with areas for one operation a cycle.

    Attributes
    ----------
    adders : mapping.Adders
        Of a baseline: the smallest that meets the clock, or else the fastest.
    area_um2 : float
    logic_um2, register_um2, clock_um2 : float
        Parts of it: gates; flip-flops; clock gates.
    critical_ps : float
        From clock edge to clock edge, before placement.
    cells : dict of str to int
    energies : tuple of OperandEnergy
    """

    design: PricedDesign
    adders: str
    operations: int
    area_um2: float
    logic_um2: float
    register_um2: float
    clock_um2: float
    critical_ps: float
    cells: dict[str, int]
    energies: tuple[OperandEnergy, ...]
    seconds: float
    tier: str = "DERIVED"

    @property
    def flip_flops(self) -> float:
        """Flip-flops for one operation a cycle."""
        return sum(n for cell, n in self.cells.items() if cell.startswith("DFF")) / self.operations

    def energy(self, operands: str, zero_share: float | None = None) -> OperandEnergy | None:
        """Energy on those operands, where it was measured."""
        for each in self.energies:
            if (each.operands, each.zero_share) == (operands, zero_share):
                return each
        return None


@functools.lru_cache(maxsize=4)
def _library(files: tuple[Path, ...], without: tuple[str, ...]) -> liberty.Library:
    return liberty.read(files, without=without)


def price(
    design: PricedDesign,
    files: Sequence[Path],
    *,
    folder: Path | None = None,
    without: Sequence[str] = (),
    wire_ff: float = timer.WIRE_FF,
) -> Priced:
    """Map a design, size it, time it; simulate it and price its toggles.

    Raises
    ------
    InputError
        The files are no library, or lack a cell that is needed.
    MismatchError
        The netlist does not do what its RTL does.
    """
    start = time.perf_counter()
    library = _library(tuple(files), tuple(without))
    kind, _ = BASELINES.get(design.kind, (None, None))
    left_out = {"without": UNREAD}
    if design.kind in CORE_BLOCKS:
        core = generate_core(design.config, name="priced")
        rtl = dataclasses.replace(core, top=f"{core.top}_{design.kind}")
        left_out = {"absent": [f"{core.top}_act_buffer"]}
    else:
        rtl = generate_hop(design.config, name="priced", kind=kind)
    clock_ps = 1e12 / design.clock_hz if design.clock_hz else None
    tried = []
    for adders in mapping.Adders if kind else [mapping.Adders.CHAINS]:
        netlist = mapping.map_cells(rtl, library, clock_ps=clock_ps, adders=adders, **left_out)
        clocked = timer.Timer(netlist, wire_ff=wire_ff)
        netlist, timing = clocked.size(clock_ps) if clock_ps else (netlist, clocked.time())
        late = max(0.0, timing.critical_ps - clock_ps) if clock_ps else 0.0
        tried.append((late, netlist.area_um2, adders, netlist, timing))
    *_, adders, netlist, timing = min(tried, key=lambda each: each[:2])
    operations = design.config.macs_per_cycle
    energies = ()
    if design.priced and library.has_power:
        energies = tuple(_energies(design, rtl, netlist, timing, folder=folder, wire_ff=wire_ff))
    return Priced(
        design=design,
        adders=str(adders),
        operations=operations,
        area_um2=netlist.area_um2 / operations,
        logic_um2=netlist.area_of("logic") / operations,
        register_um2=netlist.area_of("flip-flop") / operations,
        clock_um2=netlist.area_of("clock gate") / operations,
        critical_ps=timing.critical_ps,
        cells=dict(sorted(netlist.cells.items())),
        energies=energies,
        seconds=time.perf_counter() - start,
    )


def _operands(design):
    """(what, share of zero trits, acts, weights, bits of a weight or None) to be played."""
    config = design.config
    shape = {"tiles": TILES, "slices": SLICES, "lanes": config.lanes}
    if design.kind.startswith("FP16"):
        acts, weights = words.half_tiles(**shape)
        yield "normal", None, acts, weights[:, :, None], 16
    elif design.kind == "int8 MAC":
        rng = np.random.default_rng(0)
        acts, weights = rng.integers(-128, 128, (2, TILES, SLICES, 1))
        yield "uniform", None, acts, weights[:, :, None], 8
    else:
        for share in SHARES:
            acts, trits = words.random_tiles(**shape, cols=config.cols, zero_share=share)
            yield "uniform", share, acts, trits, None
        features, outputs = DEMO_FEATURES
        tiles = min(-(-TILES * SLICES * config.lanes // features), outputs // config.cols)
        acts, trits = words.demo_tiles(tiles=tiles, lanes=config.lanes, cols=config.cols)
        yield "demo layer", float((trits == 0).mean()), acts, trits, None


def _energies(design, rtl, netlist, timing, *, folder, wire_ff):
    clock_hz = design.clock_hz or 1e12 / timing.critical_ps
    cycles = next(c for most, c in GLITCH_CYCLES.items() if len(netlist.instances) <= most)
    fill = 3 + design.config.tree_stages
    for what, share, acts, weights, bits in _operands(design):
        played = words.hop_words(design.config, acts, weights, weight_bits=bits)
        recording = energy.record(netlist, rtl, played, folder=folder).part(fill)
        part = recording.part(0, cycles)
        reports = [
            energy.energy(
                netlist,
                timing,
                activity,
                clock_hz=clock_hz,
                operations=activity.cycles * design.config.macs_per_cycle,
                wire_ff=wire_ff,
            )
            for activity in (
                energy.count(netlist, recording),
                glitches.count(netlist, timing, part),
            )
        ]
        yield OperandEnergy(
            operands=what, zero_share=share, settled=reports[0], glitching=reports[1]
        )


def measure(
    designs: Sequence[PricedDesign],
    files: Sequence[Path],
    *,
    folder: Path | None = None,
    without: Sequence[str] = (),
    jobs: int = 1,
    progress: Callable[[Priced], None] = lambda _: None,
) -> list[Priced]:
    """Figures of designs, `jobs` at a time; `progress` is told each as it is done."""
    work = joblib.delayed(functools.partial(price, folder=folder, without=without))
    done = []
    for made in joblib.Parallel(n_jobs=jobs, return_as="generator")(
        work(design, files) for design in designs
    ):
        progress(made)
        done.append(made)
    return done
