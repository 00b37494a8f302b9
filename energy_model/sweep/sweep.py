"""A sweep over machines and workloads: its parameters, points, results and Pareto fronts.

`energy_model.sweep.file` reads one, `energy_model.sweep.point` evaluates a point of it, and
`energy_model.sweep.run` all of them. A point is one value of each parameter. Points are numbered
with the parameters of the array changing slowest and those of the DRAM fastest, so that what one
point has computed serves the next.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tritloom.arch.config import ArrayConfig
from tritloom.arch.models.shape import ModelShape
from tritloom.energy_model.costs.table import CostTable
from tritloom.energy_model.machine import area
from tritloom.energy_model.machine.machine import Dram, Machine
from tritloom.energy_model.machine.text import machine_parameters

# Fields of `ArrayConfig` that cycles, counts or area depend on.
ARRAY = tuple(
    field.name
    for field in dataclasses.fields(ArrayConfig)
    if field.name not in ("hosted_selects", "diagnostics")
)
# Parameters of the workload, and their names in `evaluation.Workload`.
WORKLOAD = {
    "phase": "phase",
    "batch": "batch",
    "context": "context",
    "kv_cache": "kv",
    "lm_head": "head_weight",
}
LEVELS = ("dram_bytes_per_s", "dram_bytes", "static_w")
# All parameters, in the order in which points are numbered, the slowest first.
PARAMETERS = (
    *("hardware", *ARRAY, "sram_bytes"),
    *("model", "weight", *WORKLOAD, "dram", *LEVELS),
)
# Figures of a point, and their units.
FIGURES = {
    "energy_j": "J",
    "energy_low_j": "J",
    "energy_high_j": "J",
    "energy_per_token_j": "J",
    "latency_s": "s",
    "compute_s": "s",
    "dram_s": "s",
    "tokens_per_s": "token/s",
    "dram_bytes_moved": "B",
    "memory_bytes": "B",
    "area_mm2": "mm2",
    "area_low_mm2": "mm2",
    "area_high_mm2": "mm2",
}
# Figures of which more is better; of all others, less is.
MAXIMISED = ("tokens_per_s",)
OBJECTIVES = ("energy_j", "latency_s", "area_mm2")
TASK = ("model", "phase", "batch", "context")
_TEXTS = ("hardware", "dataflow", "technology", "model", "weight", "phase", "kv_cache", "lm_head")
REALS = ("clock_hz", "sram_bytes", *LEVELS, *FIGURES)
# Name and type of each column of the results.
COLUMNS: Mapping[str, type] = {
    name: str if name in (*_TEXTS, "dram", "energy_tier", "infeasible") else kind
    for name, kind in (
        ("point", int),
        *((name, float if name in REALS else int) for name in PARAMETERS),
        *((name, float) for name in FIGURES),
        ("energy_tier", str),
        ("infeasible", str),
    )
}


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Sweep with all that its evaluation takes, so that it can be sent to another machine.

    Attributes
    ----------
    title : str
    parameters : mapping of str to tuple
        Values of each parameter that is stated or has a default, in the order of `PARAMETERS`.
    method : "grid" or "random"
        Every combination, or `samples` different ones.
    samples, seed : int
        Number of points and seed of a random sweep.
    objectives, per : tuple of str
        Figures of the Pareto front, and the parameters that say which points compete.
    machines, models, drams : mapping of name to what the parameters name
    costs : CostTable
    """

    title: str
    parameters: Mapping[str, tuple]
    method: str
    samples: int
    seed: int
    objectives: tuple[str, ...]
    per: tuple[str, ...]
    machines: Mapping[str, Machine]
    models: Mapping[str, ModelShape]
    drams: Mapping[str, Dram]
    costs: CostTable

    @property
    def combinations(self) -> int:
        """Number of points of the whole grid."""
        return math.prod(map(len, self.parameters.values()))

    def points(self) -> Sequence[int]:
        """Numbers of the points to evaluate, rising."""
        grid = range(self.combinations)
        if self.method == "grid":
            return grid
        return sorted(random.Random(self.seed).sample(grid, self.samples))

    @functools.cached_property
    def swept(self) -> tuple[str, ...]:
        """Parameters that have more than one value."""
        return tuple(name for name, values in self.parameters.items() if len(values) > 1)

    def values(self, point: int) -> dict:
        """Return the value of each parameter at a point."""
        found = {name: values[0] for name, values in self.parameters.items()}
        for name in reversed(self.swept):
            values = self.parameters[name]
            point, place = divmod(point, len(values))
            found[name] = values[place]
        return found

    def resolved(self) -> dict:
        """Return all that decides over the results, as JSON would hold it."""
        content = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name not in ("machines", "models", "drams", "costs")
        }
        for name in ("machines", "models", "drams"):
            entries = getattr(self, name).items()
            content[name] = {key: dataclasses.asdict(value) for key, value in entries}
        for key, machine in self.machines.items():
            content["machines"][key] = machine_parameters(machine)
        content["costs"] = dataclasses.asdict(self.costs)
        content["area"] = dataclasses.asdict(area.area_table())
        return json.loads(json.dumps(content))

    def key(self, version: str) -> str:
        """Return a digest that tells this sweep from any other, and this version from others.

        Titles, objectives and tasks do not change results.
        """
        content = self.resolved()
        for name in ("title", "objectives", "per"):
            del content[name]
        drawn = None if self.method == "grid" else self.points()
        text = json.dumps([version, content, drawn], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def fronts(sweep: Sweep, rows: Iterable[Mapping]) -> dict[tuple, list[Mapping]]:
    """Find the Pareto front of each task that occurs, in the order of the points.

    Parameters
    ----------
    rows : iterable of mapping of column to value
        Lines of the results; infeasible ones do not compete.

    Returns
    -------
    mapping of the values of `sweep.per` to rows
        Each front sorted by its first objective.
    """
    import numpy as np

    from .pareto import pareto_front

    tasks: dict[tuple, list[Mapping]] = {}
    for row in rows:
        if not row["infeasible"]:
            tasks.setdefault(tuple(row[name] for name in sweep.per), []).append(row)
    signs = [-1 if name in MAXIMISED else 1 for name in sweep.objectives]
    found = {}
    for task, competitors in tasks.items():
        costs = np.array([[row[name] for name in sweep.objectives] for row in competitors]) * signs
        best = pareto_front(costs)
        order = sorted(best, key=[tuple(line) for line in costs].__getitem__)
        found[task] = [competitors[index] for index in order]
    return found
