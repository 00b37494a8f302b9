"""Switching activity of the array: toggles of its nets per ternary operation, by category.

The generated RTL runs in Verilator, which counts for every net how often it differs from one clock
cycle to the next (its SAIF file). That is a zero-delay count: glitches inside a cycle are not in
it. An adder counts with its sum; the carries within it are the mapped netlist's.
"""

from __future__ import annotations

import ctypes
import dataclasses
import re
import tempfile
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from tritloom.arch import streams, ternary, timing
from tritloom.arch.config import ArrayConfig, Dataflow
from tritloom.arch.errors import InputError, MismatchError, require_int
from tritloom.arch.tiling import OutputStationaryPlan
from tritloom.arch.workload import Gemm
from tritloom.console.sheet import RULE, Bold, Sheet, Table
from tritloom.hw.verilog import generate
from tritloom.sim import verilator
from tritloom.sim.golden.quantise import absmax_acts

# What `measure` streams: so many tiles of so many beats. Another seed changes the third figure.
SLICES, TILES = 128, 4

# Category -> (instance, net): registers and nets of the generated Verilog that belong to it. Each
# is counted in the module that drives it, so none counts twice.
CATEGORIES = {
    "selects": (r"pe_\d+", r"gated_\d+|operand_\d+"),
    "adders": (r"pe_\d+", r"added_\d+_\d+|accumulated"),
    "tree and accumulator registers": (r"pe_\d+", r"sum_\d+_\d+|carry_\d+_\d+|accumulator"),
    "act hops": (r"hop_\d+", r"acts_east"),
    "trit hops": (r"pe_\d+", r"trits_south"),
    "drain": (r"pe_\d+", r"psum_south"),
    "control": (r"hop_\d+", r"control_east|control_\d+|load"),
    # A line of one register has the name of its output.
    "skew": (r"delay_\w+", "line|after"),
}


@dataclass(frozen=True, kw_only=True)
class ArrayActivity:
    """Toggles of the array's nets while Gemms ran through it.

    Attributes
    ----------
    operations : int
        Ternary operations: slots of rows x cols x lanes in every beat, zero trits included.
    nets : Counter
        Toggles of each net, by (instance path, name); bits of a net are added up.
    """

    operations: int
    nets: Counter

    def toggles(self, category: str) -> int:
        """Toggles of all nets of a category, over all instances."""
        instance, net = (re.compile(part) for part in CATEGORIES[category])
        return sum(
            count
            for (path, name), count in self.nets.items()
            if instance.fullmatch(path.rpartition("/")[2])
            and net.fullmatch(name)
            # This is the end of a longer line, which has been counted.
            and not (name == "after" and (path, "line") in self.nets)
        )

    @property
    def per_operation(self) -> dict[str, float]:
        """Toggles per ternary operation of every category."""
        return {name: self.toggles(name) / self.operations for name in CATEGORIES}


def measure(
    config: ArrayConfig,
    *,
    zero_shares: list[Fraction],
    folder: Path | None = None,
    bubbles: float = 0.0,
    seed: int = 0,
) -> dict[Fraction, ArrayActivity]:
    """Activity of random operands, by their share of zero trits.

    Parameters
    ----------
    folder : Path, optional
        Where builds are kept: `verilator.builds_folder` by default.
    bubbles : float
        Share of cycles without a beat, below 1.

    Raises
    ------
    InputError
        A share is out of its range, or `run` refuses the array.
    """
    require_int("seed", seed, low=0)
    for share in zero_shares:
        if not 0 <= share <= 1:
            raise InputError(f"a share of zero trits must be 0 to 1, not {share}")
    if not 0 <= bubbles < 1:
        raise InputError(f"bubbles must be a share of cycles, 0 or more and below 1, not {bubbles}")
    offers = np.random.default_rng(seed).random(1000) >= bubbles
    k = min(SLICES * config.lanes, config.max_k)
    activities = {}
    for share in zero_shares:
        acts, trits = random_operands(
            Gemm(config.rows, k, TILES * config.cols),
            zero_share=float(share),
            act_bits=config.act_bits,
            seed=seed,
        )
        activities[share] = run(config, acts, trits, folder=folder, offers=offers)
    return activities


def random_operands(
    gemm: Gemm, *, zero_share: float, act_bits: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """(acts, trits) of a Gemm: normal acts quantised by absmax; trits as many +1 as -1.

    Exactly `zero_share` of the trits, rounded, are zero.
    """
    rng = np.random.default_rng(seed)
    acts = absmax_acts(rng.standard_normal((gemm.m, gemm.k), np.float32), bits=act_bits).values
    trits = rng.choice(np.array([-1, 1], np.int8), gemm.n * gemm.k)
    trits[: round(zero_share * trits.size)] = 0
    return acts, rng.permutation(trits).reshape(gemm.n, gemm.k)


def run(
    config: ArrayConfig,
    acts,
    trits,
    *,
    folder: Path | None = None,
    offers=(1,),
    verilog: str | None = None,
) -> ArrayActivity:
    """Stream a Gemm through the output-stationary array and count what toggles meanwhile.

    From reset, in which every counted net is 0, to the last psum.

    Parameters
    ----------
    acts : array_like of int, shape (m, k); m a multiple of the array's rows
    trits : array_like of int, shape (n, k)
    folder : Path, optional
        Where builds are kept: `verilator.builds_folder` by default.
    offers : sequence of bool
        Whether a cycle offers a beat, repeated; a bubble otherwise.
    verilog : str, optional
        RTL to measure instead of what `generate` gives.

    Raises
    ------
    InputError
        The array is not output-stationary, or m no multiple of its rows.
    MismatchError
        The psums are not the product.
    """
    if config.dataflow != Dataflow.OUTPUT_STATIONARY:
        raise InputError(f"toggles are measured of {Dataflow.OUTPUT_STATIONARY} arrays only")
    (m, k), n = acts.shape, len(trits)
    if m % config.rows:
        raise InputError(f"tokens must be a multiple of rows = {config.rows}, not {m}")
    plan = OutputStationaryPlan(config, Gemm(m, k, n))
    acts_beats, trit_beats = streams.slice_acts(plan, acts), streams.slice_trits(plan, trits)
    codes = ternary.to_codes(trit_beats)
    tiles = [(tile.m0 // config.rows, tile.n0 // config.cols) for tile in plan]
    act_words, trit_words = (
        streams.pack_fields(np.concatenate(beats).reshape(plan.beats, -1), bits)
        for beats, bits in (
            ([acts_beats[group] for group, _ in tiles], config.act_bits),
            ([codes[group] for _, group in tiles], 2),
        )
    )
    last = np.tile(np.arange(plan.slices) == plan.slices - 1, plan.tiles).astype(np.uint8)
    offers = np.array(offers, np.uint8)
    rows = plan.tiles * config.rows
    # A row of psums as Verilator keeps it: words of up to 8 bytes.
    psums = np.zeros((rows, -(-config.psums_bits // 64) * 8), np.uint8)
    limit = 2 * timing.gemm_cycles(plan) * len(offers) + 1000
    library = compile_array(config, folder, verilog)
    library.activity_run.restype = ctypes.c_int64
    with tempfile.TemporaryDirectory() as scratch:
        saif = Path(scratch, "array.saif")
        done = library.activity_run(
            str(saif).encode(),
            *(act_words.ctypes, ctypes.c_int64(act_words.shape[1])),
            *(trit_words.ctypes, ctypes.c_int64(trit_words.shape[1])),
            last.ctypes,
            *map(ctypes.c_int64, (config.rows, plan.beats)),
            *(offers.ctypes, ctypes.c_int64(len(offers))),
            *(psums.ctypes, ctypes.c_int64(psums.shape[1])),
            *map(ctypes.c_int64, (rows, limit)),
        )
        text = saif.read_text()
    if done != rows:
        raise MismatchError(f"{done} of {rows} rows of psums came out of {limit} cycles")
    words = (int.from_bytes(row.tobytes(), "little") for row in psums)
    found = np.array([streams.unpack_fields(word, config.cols, config.psum_bits) for word in words])
    wanted = np.asarray(acts, np.int64) @ np.asarray(trits, np.int64).T
    if (streams.join_psums(plan, found) != wanted).any():
        raise MismatchError("psums differ from the product")
    return ArrayActivity(operations=plan.beats * config.macs_per_cycle, nets=read_saif(text))


def toggles_sheet(config: ArrayConfig, activities: dict[Fraction, ArrayActivity]) -> Sheet:
    """Toggles per operation: shares of zero trits across, categories down."""
    figures = {share: activity.per_operation for share, activity in activities.items()}
    rows: list[tuple[str, ...]] = [
        (category, *(f"{figure[category]:.3f}" for figure in figures.values()))
        for category in CATEGORIES
    ]
    total = Bold(("total", *(f"{sum(figure.values()):.3f}" for figure in figures.values())))
    operations = next(iter(activities.values())).operations
    return Sheet(
        parts=[
            Table(
                headers=("toggles per ternary operation", *(f">{share} zero" for share in figures)),
                rows=[*rows, RULE, total],
            ),
            f"{config.shape}, {operations:,} operations each; skew and drain depend on the shape",
            "tier MEASURED: simulation of the generated RTL, one sample a cycle, no glitches",
        ],
        records=[
            {"category": category, "zero_share": str(share), "toggles": figure[category]}
            for category in CATEGORIES
            for share, figure in figures.items()
        ],
        data={
            "configuration": dataclasses.asdict(config),
            "tier": "MEASURED",
            "what": "toggles per ternary operation of the generated RTL, zero-delay",
            "operations": {str(share): a.operations for share, a in activities.items()},
            "toggles_per_operation": {
                category: {str(share): figure[category] for share, figure in figures.items()}
                for category in CATEGORIES
            },
        },
    )


def compile_array(
    config: ArrayConfig, folder: Path | None = None, verilog: str | None = None
) -> ctypes.CDLL:
    """The array as a loaded shared library that records activity, built once for each RTL."""
    return verilator.library(
        verilog or generate(config, name="dut").verilog,
        Path(__file__).with_suffix(".cpp"),
        top="tritloom_dut",
        # Apart from other builds: the runtime that neighbours share is compiled for a trace here.
        label=f"activity/{config.shape}",
        folder=folder,
        options=["--trace-saif"],
    )


def read_saif(text: str) -> Counter:
    """Toggles of each net of a SAIF file, by (instance path, name); a net's bits are added up."""
    path, counts = [], Counter()
    for line in text.splitlines():
        if opened := re.match(r" *\(INSTANCE (\S+)", line):
            path.append(opened[1])
        elif re.fullmatch(r" *\(NET", line):
            path.append("NET")
        elif net := re.match(r" *\((\S+?)(?:\\\[\d+\\\])? \(T0 .*\(TC (\d+)\)", line):
            counts["/".join(path[:-1]), net[1]] += int(net[2])
        elif path and re.fullmatch(r" *\)", line):
            path.pop()
    return counts
