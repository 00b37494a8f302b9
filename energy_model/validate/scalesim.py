"""Cycles of SCALE-Sim next to those of `arch.timing`, with every cycle between them explained.

SCALE-Sim (3.0.0) runs one tile after the other: load, stream and skew of a tile end before the next
one starts. Its counts are closed formulas; `cycles` has them, data/scalesim.csv what it printed.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tritloom.arch.config import ArrayConfig, Dataflow
from tritloom.arch.errors import InputError
from tritloom.arch.files import read_text
from tritloom.arch.tiling import Plan, WeightStationaryPlan, make_plan
from tritloom.arch.timing import (
    drain_latency,
    gemm_cycles,
    pass_latency,
    preload,
    skew,
    tile_period,
    weight_stationary_period,
)
from tritloom.arch.workload import Gemm
from tritloom.energy_model.costs import datafile

DATAFLOWS = ("ws", "os", "is")
# Terms that separate our cycles from SCALE-Sim's, in the order in which they are added.
TERMS = {
    "preload": "tiles whose weights it loads before they stream; ours loads them during the tile "
    "before (arch.timing.preload)",
    "skew": "tiles whose skew it waits for; ours starts the next one meanwhile (arch.timing.skew)",
    "wait": "cycles that ours waits where a tile is shorter than its neighbour's drain or load "
    "(arch.timing.tile_period, weight_stationary_period)",
    "registers": "input, tree, accumulator and output registers of ours that it does not have "
    "(arch.timing.drain_latency, pass_latency)",
    "drain": "rows of psums after the last tile's first, which it leaves out",
    "zero": "its last cycle counts from zero",
}
_PATH = datafile.DATA / "scalesim.csv"
_FIELDS = ("model", "phase", "layer", "M", "N", "K", "array", "dataflow", "cycles", "source")


@dataclass(frozen=True, kw_only=True)
class Product:
    """Product in one dataflow, with its cycles.

    Attributes
    ----------
    model, phase, layer : str
    gemm : Gemm
    dataflow : "ws", "os" or "is"
    scalesim : int
        Cycles that SCALE-Sim counts.
    source : str
        Whether they come from a run of it or from its formula.
    ours : int
        `arch.timing.gemm_cycles` of the FP16 array.
    terms : mapping of str to int
        Cycles to be added to ours, by key of `TERMS`.
    """

    model: str
    phase: str
    layer: str
    gemm: Gemm
    dataflow: str
    scalesim: int
    source: str
    ours: int
    terms: Mapping[str, int]

    @property
    def unexplained(self) -> int:
        """Cycles that no term explains."""
        return self.scalesim - self.ours - sum(self.terms.values())


def cycles(gemm: Gemm, dataflow: str, *, rows: int = 32, cols: int = 32) -> int:
    """Compute cycles of SCALE-Sim, by its closed formulas."""
    m, k, n = gemm.m, gemm.k, gemm.n
    if dataflow == "os":
        return -(-m // rows) * -(-n // cols) * (k + rows + cols - 2) - 1
    if dataflow == "is":
        m, n = n, m
    return -(-k // rows) * -(-n // cols) * (2 * rows + cols + m - 2) - 1


def baseline_plan(gemm: Gemm, dataflow: str, *, rows: int = 32, cols: int = 32):
    """Plan a product on an FP16 array that has one lane in each PE.

    Input-stationary is weight-stationary for Y^T = W X^T. All tokens share the stationary operand,
    as in SCALE-Sim.
    """
    array = ArrayConfig(rows=rows, cols=cols, lanes=1, act_bits=16, max_k=1 << 30)
    if dataflow == "os":
        return make_plan(array, gemm)
    if dataflow == "is":
        gemm = Gemm(gemm.n, gemm.k, gemm.m)
    return make_plan(array.replace(dataflow=Dataflow.WEIGHT_STATIONARY, buffer_tokens=gemm.m), gemm)


def explain(plan: Plan) -> dict[str, int]:
    """Return the terms that lead from `gemm_cycles` of a baseline plan to SCALE-Sim's cycles."""
    config, later = plan.config, plan.tiles - 1
    per_group = plan.tiles // plan.token_groups
    # A period follows every tile but the last.
    waits = (plan.token_groups - 1) * per_group * _wait(plan, config.group_tokens)
    waits += (per_group - 1) * _wait(plan, plan.last_tokens)
    stationary = isinstance(plan, WeightStationaryPlan)
    latency = pass_latency(config) if stationary else drain_latency(config)
    return {
        "preload": later * preload(config) if stationary else 0,
        "skew": later * skew(config),
        "wait": -waits,
        "registers": skew(config) - latency,
        "drain": 0 if stationary else 1 - plan.last_tokens,
        "zero": -1,
    }


def _wait(plan: Plan, tokens: int) -> int:
    """Cycles in which nothing streams between a tile of so many tokens and the next one."""
    if isinstance(plan, WeightStationaryPlan):
        return weight_stationary_period(plan.config, tokens=tokens) - tokens
    return tile_period(plan.config, slices=plan.slices, tokens=tokens) - plan.slices


def crosscheck(path: Path = _PATH) -> tuple[Product, ...]:
    """Read a table of SCALE-Sim's cycles, and explain every product of it."""
    lines = read_text(path).splitlines()
    reader = csv.DictReader(lines)
    if tuple(reader.fieldnames or ()) != _FIELDS:
        raise InputError(f"{path}, line 1 must be {','.join(_FIELDS)}")
    return tuple(
        _product(f"{path}, line {number}", entry) for number, entry in enumerate(reader, 2)
    )


def _product(where: str, entry: Mapping[str, str]) -> Product:
    try:
        m, n, k, stated = (int(entry[key]) for key in ("M", "N", "K", "cycles"))
        rows, cols = map(int, entry["array"].split("x"))
        dataflow = DATAFLOWS[DATAFLOWS.index(entry["dataflow"])]
    except (ValueError, TypeError, AttributeError):
        raise InputError(f"{where} is no product with its cycles: {dict(entry)}") from None
    gemm = Gemm(m, k, n)
    plan = baseline_plan(gemm, dataflow, rows=rows, cols=cols)
    return Product(
        **{key: entry[key] for key in ("model", "phase", "layer", "source")},
        gemm=gemm,
        dataflow=dataflow,
        scalesim=stated,
        ours=gemm_cycles(plan),
        terms=explain(plan),
    )
