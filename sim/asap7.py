"""What a ternary PE takes at 7 nm, beside int8 and FP16 multiply-accumulates, from open RTL.

Designs are mapped to the user's library, sized for a clock and timed (hw/stdcell.py, hw/mapped.py),
then simulated on operands, with the RTL as a witness, and their toggles priced (sim/power.py). The
library is ASAP7's, which the project does not ship; only the figures are kept.

All are hops: act registers, and the PEs that read them with their weight, accumulator and drain
registers. Areas and energies are for one operation, a multiply-accumulate.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
from rich.console import Console
from rich.table import Table

from arch.config import ArrayConfig
from arch.counts import tree_adds
from hw import liberty, mapped, stdcell
from hw.baselines.pe import Mac, MacFp16, MacFp32, SelectAdd
from hw.files import write_files
from hw.verilog import generate_core, generate_hop

from . import blocks, glitches, power

# Nothing reads these in an array of one row and one hop.
UNREAD = ("trits_south", "acts_east")
TILES, SLICES = 4, 120
# Of the demo's layer: input and output features.
DEMO_FEATURES = 576, 1536
# Cycles that are simulated event by event, of a design with so many cells.
GLITCH_CYCLES = {3_000: 200, 100_000: 40}
SHARES = (0.0, 1 / 3, 2 / 3)


class MultiplyFp16(MacFp16):
    """A MacFp16 that adds nothing, which tells its multiplier from its adder."""

    def accumulate(self, m, psum, total):
        """The product alone."""
        return total


class MultiplyExactly(MacFp32):
    """The same of a MacFp32."""

    def accumulate(self, m, psum, total):
        """The product alone."""
        return total


BASELINES = {
    "select and add": (SelectAdd, {}),
    "int8 MAC": (Mac, {"max_k": 1 << 23}),
    "FP16 MAC": (MacFp16, {"act_bits": 16}),
    "FP16 multiply": (MultiplyFp16, {"act_bits": 16}),
    "FP16 MAC, FP32 sum": (MacFp32, {"act_bits": 16}),
    "FP16 multiply to FP32": (MultiplyExactly, {"act_bits": 16}),
}


# What a core is made of. Of the sequencer, the act buffer is left out, which is SRAM.
CORE_BLOCKS = ("array", "unpacker", "sequencer", "registers")


@dataclass(frozen=True, kw_only=True)
class Design:
    """A hop to be priced.

    Attributes
    ----------
    kind : str
        `ternary`, our PE in technology asic; one of `BASELINES`; or one of `CORE_BLOCKS`.
    config : ArrayConfig
        Of one row and one hop.
    clock_hz : float, optional
        What it is sized for; the smallest area otherwise.
    priced : bool
        Simulated too.
    """

    kind: str
    config: ArrayConfig
    clock_hz: float | None
    priced: bool = True

    @property
    def name(self) -> str:
        """What a table calls it."""
        if self.kind in BASELINES:
            return self.kind
        return f"{self.kind}, {self.config.lanes} lanes x {self.config.cols}"


def ternary(
    lanes: int,
    columns: int,
    *,
    clock_hz: float | None,
    carries: int,
    priced: bool = True,
    **parameters,
) -> Design:
    """Our PEs, as many as share their act registers."""
    config = ArrayConfig(
        rows=1,
        cols=columns,
        cols_per_hop=columns,
        lanes=lanes,
        technology="asic",
        carries_per_stage=carries,
        **parameters,
    )
    return Design(kind="ternary", config=config, clock_hz=clock_hz, priced=priced)


def baseline(kind: str, *, clock_hz: float | None, stages: int = 1) -> Design:
    """One of `BASELINES`, with `stages` registers behind its multiplier."""
    _, parameters = BASELINES[kind]
    config = ArrayConfig(rows=1, cols=1, lanes=1, select_stages=stages, **parameters)
    return Design(kind=kind, config=config, clock_hz=clock_hz)


def core_block(name: str, config: ArrayConfig) -> Design:
    """One of `CORE_BLOCKS`, as small as it gets."""
    return Design(kind=name, config=config, clock_hz=None, priced=False)


# Carry delays that fit a stage at that clock, found by trying.
CARRIES = {0.5e9: 42, 1.0e9: 19, 1.2e9: 15}
# The smallest at any clock, too large to be simulated; a quarter of it; and one for 1.2 GHz.
SMALLEST = ternary(256, 32, clock_hz=None, carries=1000, max_k=4095, priced=False)
QUARTER = ternary(256, 8, clock_hz=None, carries=1000, max_k=4095)
FAST = ternary(128, 8, clock_hz=1.2e9, carries=CARRIES[1.2e9])


def table_designs() -> list[Design]:
    """Ours by lanes, sharing and clock; and the baselines."""
    designs = []
    for clock_hz in (0.5e9, 1.0e9):
        designs += [baseline(kind, clock_hz=clock_hz) for kind in BASELINES]
        designs += [
            ternary(lanes, columns, clock_hz=clock_hz, carries=CARRIES[clock_hz])
            for lanes in (4, 16, 64)
            for columns in (1, 8)
        ]
    return designs


def search_designs() -> list[Design]:
    """Areas and clocks around the best."""
    return [
        *(
            ternary(lanes, columns, clock_hz=None, carries=1000, priced=False)
            for lanes, columns in ((16, 16), (64, 1), (64, 16), (128, 8), (128, 16))
        ),
        *(
            ternary(lanes, 8, clock_hz=1e12 / (90 + 44 * carries), carries=carries, priced=False)
            for lanes in (16, 64)
            for carries in (10, 13, 15, 19, 26)
        ),
        *(
            core_block(name, ternary(64, 8, clock_hz=None, carries=19).config)
            for name in CORE_BLOCKS
        ),
        ternary(128, 16, clock_hz=1.2e9, carries=CARRIES[1.2e9], priced=False),
        FAST,
        QUARTER,
        SMALLEST,
    ]


def quick_designs() -> list[Design]:
    """Few and small ones."""
    return [
        baseline("int8 MAC", clock_hz=1e9),
        baseline("FP16 MAC", clock_hz=0.5e9),
        ternary(16, 4, clock_hz=1e9, carries=CARRIES[1e9]),
    ]


@dataclass(frozen=True, kw_only=True)
class Energy:
    """Of an operation on one kind of operands.

    Attributes
    ----------
    operands : str
    zero_share : float, optional
        Of the trits.
    settled, glitching : power.PowerReport
        Toggles of settled nets; those of all events.
    """

    operands: str
    zero_share: float | None
    settled: power.PowerReport
    glitching: power.PowerReport

    @property
    def low_j(self) -> float:
        """Settled nets, without wires."""
        return self.settled.low.total_j

    @property
    def nominal_j(self) -> float:
        """Settled nets with wires: what cycle-based simulators see."""
        return self.settled.nominal.total_j

    @property
    def glitching_j(self) -> float:
        """With glitches."""
        return self.glitching.nominal.total_j

    @property
    def high_j(self) -> float:
        """With glitches, and the tables of ground added, as OpenSTA does."""
        return self.glitching.high.total_j


@dataclass(frozen=True, kw_only=True)
class Priced:
    """A design as standard cells. Areas are for one operation a cycle.

    Attributes
    ----------
    adders : stdcell.Adders
        Of a baseline: the smallest that meets the clock, or else the fastest.
    area_um2 : float
    logic_um2, register_um2, clock_um2 : float
        Parts of it: gates; flip-flops; clock gates.
    critical_ps : float
        From clock edge to clock edge, before placement.
    cells : dict of str to int
    energies : tuple of Energy
    """

    design: Design
    adders: str
    operations: int
    area_um2: float
    logic_um2: float
    register_um2: float
    clock_um2: float
    critical_ps: float
    cells: dict[str, int]
    energies: tuple[Energy, ...]
    seconds: float
    tier: str = "DERIVED"

    @property
    def flip_flops(self) -> float:
        """For one operation a cycle."""
        return sum(n for cell, n in self.cells.items() if cell.startswith("DFF")) / self.operations

    def energy(self, operands: str, zero_share: float | None = None) -> Energy | None:
        """That on those operands."""
        for each in self.energies:
            if (each.operands, each.zero_share) == (operands, zero_share):
                return each
        return None


@functools.lru_cache(maxsize=4)
def _library(files: tuple[Path, ...], without: tuple[str, ...]) -> liberty.Library:
    return liberty.read(files, without=without)


def price(
    design: Design,
    files: Sequence[Path],
    *,
    folder: Path,
    without: Sequence[str] = (),
    wire_ff: float = mapped.WIRE_FF,
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
    for adders in stdcell.Adders if kind else [stdcell.Adders.CHAINS]:
        netlist = stdcell.map_cells(rtl, library, clock_ps=clock_ps, adders=adders, **left_out)
        timer = mapped.Timer(netlist, wire_ff=wire_ff)
        netlist, timing = timer.size(clock_ps) if clock_ps else (netlist, timer.time())
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
        acts, weights = blocks.half_tiles(**shape)
        yield "normal", None, acts, weights[:, :, None], 16
    elif design.kind == "int8 MAC":
        rng = np.random.default_rng(0)
        acts, weights = rng.integers(-128, 128, (2, TILES, SLICES, 1))
        yield "uniform", None, acts, weights[:, :, None], 8
    else:
        for share in SHARES:
            acts, trits = blocks.random_tiles(**shape, cols=config.cols, zero_share=share)
            yield "uniform", share, acts, trits, None
        features, outputs = DEMO_FEATURES
        tiles = min(-(-TILES * SLICES * config.lanes // features), outputs // config.cols)
        acts, trits = blocks.demo_tiles(tiles=tiles, lanes=config.lanes, cols=config.cols)
        yield "demo layer", float((trits == 0).mean()), acts, trits, None


def _energies(design, rtl, netlist, timing, *, folder, wire_ff):
    clock_hz = design.clock_hz or 1e12 / timing.critical_ps
    cycles = next(c for most, c in GLITCH_CYCLES.items() if len(netlist.instances) <= most)
    fill = 3 + design.config.tree_stages
    for what, share, acts, weights, bits in _operands(design):
        words = blocks.hop_words(design.config, acts, weights, weight_bits=bits)
        recording = power.record(netlist, rtl, words, folder=folder).part(fill)
        part = recording.part(0, cycles)
        reports = [
            power.energy(
                netlist,
                timing,
                activity,
                clock_hz=clock_hz,
                operations=activity.cycles * design.config.macs_per_cycle,
                wire_ff=wire_ff,
            )
            for activity in (
                power.count(netlist, recording),
                glitches.count(netlist, timing, part),
            )
        ]
        yield Energy(operands=what, zero_share=share, settled=reports[0], glitching=reports[1])


def measure(
    designs: Sequence[Design],
    files: Sequence[Path],
    *,
    folder: Path,
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


def as_json(done: Sequence[Priced]) -> str:
    """Everything as JSON."""
    told = {
        "tool": stdcell.tool(),
        "wire_ff": mapped.WIRE_FF,
        "excluded": liberty.EXCLUDED,
        "designs": [dataclasses.asdict(made) for made in done],
    }
    return json.dumps(told, indent=1, default=str) + "\n"


COLUMNS = (
    *("design", "clock MHz", "met at MHz", "um2/op", "gates", "registers", "operands"),
    *("fJ/op", "low", "glitching", "high", "arithmetic", "registers", "clock", "leakage"),
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


def show(done: Sequence[Priced]) -> None:
    """Print the table."""
    table = Table(box=None, pad_edge=False)
    for index, heading in enumerate(COLUMNS):
        table.add_column(heading, justify="left" if index in (0, 6) else "right")
    for line in rows(done):
        table.add_row(*line)
    console = Console(width=None if Console().is_terminal else 200)
    console.print(table)


def markdown(done: Sequence[Priced]) -> str:
    """The table as Markdown."""
    rules = ["---" if index in (0, 6) else "---:" for index in range(len(COLUMNS))]
    lines = [list(COLUMNS), rules, *rows(done)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


# What the cost table takes: our PE with shared act registers, and the multiply-accumulates.
PRICED_AT = 1e9
PRICED_LANES, PRICED_COLUMNS = 64, 8


def _find(done, kind, *, lanes=1, columns=1) -> Priced:
    for made in done:
        config = made.design.config
        if (made.design.kind, made.design.clock_hz) != (kind, PRICED_AT):
            continue
        if (config.lanes, config.cols) == (lanes, columns):
            return made
    raise LookupError(f"{kind} was not priced at {PRICED_AT / 1e6:.0f} MHz")


def _arithmetic(made: Priced, operands: str, share: float | None = None) -> np.ndarray:
    """(low, nominal, high) of gates and their nets, in joules per operation."""
    each = made.energy(operands, share)
    splits = each.settled.low, each.settled.nominal, each.glitching.high
    return np.array([split.arithmetic_j for split in splits])


def costs(done: Sequence[Priced], *, library: str) -> dict:
    """A cost table for the energy model (`energy_model/costs.py`), of netlists as priced.

    An addition of our tree costs in proportion to its width, selects included, so that all of a
    PE's additions together cost what its gates do. What an FP16 MAC costs beyond its multiplier is
    its adder.
    """
    ours = _find(done, "ternary", lanes=PRICED_LANES, columns=PRICED_COLUMNS)
    gates = _arithmetic(ours, "uniform", 1 / 3)
    adds = tree_adds(PRICED_LANES, ours.design.config.act_bits)
    bits = sum(width * count for width, count in adds.items()) + ours.design.config.psum_bits
    bit = gates * PRICED_LANES / bits
    mac = _arithmetic(_find(done, "int8 MAC"), "uniform")
    half = _arithmetic(_find(done, "FP16 multiply"), "normal")
    exact = _arithmetic(_find(done, "FP16 multiply to FP32"), "normal")
    fp16 = _arithmetic(_find(done, "FP16 MAC"), "normal")
    fp32 = _arithmetic(_find(done, "FP16 MAC, FP32 sum"), "normal")
    each = ours.energy("uniform", 1 / 3)
    held = np.array(
        [
            split.registers_j + split.clock_j
            for split in (each.settled.low, each.settled.nominal, each.glitching.high)
        ]
    )
    where = f"netlists in {library}, python -m sim asap7"
    joules = {
        "select": (0 * bit, "in the additions behind it"),
        "add_int8": (8 * bit, "8 bits of the adder tree, selects and accumulator included"),
        "add_int32": (32 * bit, "32 of these bits"),
        "mul_int8": (mac - 32 * bit, "int8 multiply-accumulate less add_int32"),
        "mul_fp16": (half, "FP16 multiplier"),
        "add_fp16": (fp16 - half, "FP16 multiply-accumulate less its multiplier"),
        "add_fp32": (fp32 - exact, "the same with an FP32 sum"),
    }
    entries = {
        action: _entry(values, "pJ", f"{what}; {where}", "DERIVED")
        for action, (values, what) in joules.items()
    }
    entries["mul_fp32"] = _entry(
        half * (24 / 11) ** 2,
        "pJ",
        "mul_fp16 times (24 / 11)^2, the squares of the significands' widths",
        "PROJECTED",
    )
    entries["hop_bits"] = _entry(
        held / ours.flip_flops,
        "pJ/bit",
        f"flip-flops and clock of the PE for each of its bits; {where}",
        "DERIVED",
    )
    whole = _find(done, "FP16 MAC").energy("normal").nominal_j / each.nominal_j
    note = (
        f"the netlists: an FP16 multiply-accumulate's gates take {_of(fp16) * 1e15:.0f} fJ, a "
        f"ternary one's {_of(gates) * 1e15:.2f} fJ, {_of(fp16) / _of(gates):.1f} times less; with "
        f"registers and clock {whole:.1f} times less; not 71.4. The paper prices a ternary "
        f"operation as one 8-bit addition, 7 fJ; here that is {_of(8 * bit) * 1e15:.2f} fJ, but "
        f"an operation takes {bits / PRICED_LANES:.1f} bits of adders with its part of the "
        f"accumulator, and FP16 takes {_of(fp16) / 0.5e-12:.2f} of the paper's 0.50 pJ"
    )
    return {
        "name": "asap7",
        "node": "7 nm, netlists",
        "note": note,
        # Memory is not in these netlists.
        "otherwise": "paper",
        "costs": entries,
    }


def _of(levels) -> float:
    """The nominal one of three."""
    return float(levels[1])


def _entry(joules, unit, source, tier):
    low, nominal, high = (float(f"{value * 1e12:.4g}") for value in joules)
    low, high = min(low, nominal, high), max(low, nominal, high)
    return {
        **{"low": low, "nominal": nominal, "high": high},
        **{"unit": unit, "tier": tier, "source": source},
    }


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
    files: Sequence[Path], *, out: Path, folder: Path, quick: bool, half_drive: bool, jobs: int
) -> tuple[Path, ...]:
    """Price everything, print a table and write it to `out`."""
    without = () if half_drive else (liberty.HALF_DRIVE,)
    designs = quick_designs() if quick else [*table_designs(), *search_designs()]
    with Console(stderr=True).status("mapping") as status:

        def progress(made):
            status.update(f"{made.design.name} took {made.seconds:.0f} s")

        done = measure(designs, files, folder=folder, without=without, jobs=jobs, progress=progress)
    show(done)
    texts = {"asap7.json": as_json(done), "asap7.md": markdown(done)}
    if not quick and any(made.energies for made in done):
        import yaml

        (report,) = {each.settled.library for made in done for each in made.energies}
        text = yaml.safe_dump(costs(done, library=report), sort_keys=False, width=100)
        texts["costs_asap7.yaml"] = text
        with tempfile.TemporaryDirectory() as scratch:
            plot(done, Path(scratch, "asap7.svg"))
            texts["asap7.svg"] = Path(scratch, "asap7.svg").read_bytes()
    return write_files(out, texts)
