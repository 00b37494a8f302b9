"""A sweep over machines and workloads: read from YAML, evaluated point by point.

A point is one value of each parameter. Points are numbered with the parameters of the array
changing slowest and those of the DRAM fastest, so that what one point has computed serves the next.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from arch.config import ArrayConfig
from arch.errors import InputError, require_int
from arch.model_shape import ModelShape
from arch.trace import build_trace
from arch.workload import BLOCK_DTYPES, Layer, Trace

from . import area, datafile
from .costs import CostTable, load_costs
from .evaluation import FP16_BYTES, Workload, stored_bytes
from .ledger import common_counts, run_pass
from .machine import Dram, Machine, Static
from .machinefile import load_dram, load_machine
from .tiers import Tier, weakest
from .units import si

METHODS = ("grid", "random")
# Those of `ArrayConfig` that cycles, counts or area depend on.
_ARRAY = tuple(
    field.name
    for field in dataclasses.fields(ArrayConfig)
    if field.name not in ("hosted_selects", "diagnostics")
)
# As `evaluation.Workload` calls them.
_WORKLOAD = {
    "phase": "phase",
    "batch": "batch",
    "context": "context",
    "kv_cache": "kv",
    "lm_head": "head_weight",
}
_LEVELS = ("dram_bytes_per_s", "dram_bytes", "static_w")
# In the order in which points are numbered, the slowest first.
PARAMETERS = (
    *("hardware", *_ARRAY, "sram_bytes"),
    *("model", "weight", *_WORKLOAD, "dram", *_LEVELS),
)
_DEFAULTS = {
    "hardware": "large",
    "weight": None,
    "phase": "decode",
    "batch": 1,
    "context": 512,
    "kv_cache": "fp16",
    "lm_head": "fp16",
}
# What a point gives, and its unit.
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
# The more the better; of all other figures the less.
MAXIMISED = ("tokens_per_s",)
OBJECTIVES = ("energy_j", "latency_s", "area_mm2")
TASK = ("model", "phase", "batch", "context")
_TEXTS = ("hardware", "dataflow", "technology", "model", "weight", "phase", "kv_cache", "lm_head")
_REALS = ("clock_hz", "sram_bytes", *_LEVELS, *FIGURES)
# Name and type of each column of the results.
COLUMNS: Mapping[str, type] = {
    name: str if name in (*_TEXTS, "dram", "energy_tier", "infeasible") else kind
    for name, kind in (
        ("point", int),
        *((name, float if name in _REALS else int) for name in PARAMETERS),
        *((name, float) for name in FIGURES),
        ("energy_tier", str),
        ("infeasible", str),
    )
}


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What is to be evaluated, with all that it takes: it can be sent to another machine.

    Attributes
    ----------
    title : str
    parameters : mapping of str to tuple
        Values of each parameter that is stated or has a default, in the order of `PARAMETERS`.
    method : "grid" or "random"
        Every combination, or `samples` different ones.
    samples, seed : int
        Of a random sweep.
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
        """Points of the whole grid."""
        return math.prod(map(len, self.parameters.values()))

    def points(self) -> Sequence[int]:
        """Numbers of the points to evaluate, rising."""
        grid = range(self.combinations)
        if self.method == "grid":
            return grid
        return sorted(random.Random(self.seed).sample(grid, self.samples))

    @functools.cached_property
    def swept(self) -> tuple[str, ...]:
        """The parameters of more than one value."""
        return tuple(name for name, values in self.parameters.items() if len(values) > 1)

    def values(self, point: int) -> dict:
        """The value of each parameter at a point."""
        found = {name: values[0] for name, values in self.parameters.items()}
        for name in reversed(self.swept):
            values = self.parameters[name]
            point, place = divmod(point, len(values))
            found[name] = values[place]
        return found

    def resolved(self) -> dict:
        """All that decides over the results, as JSON would have it."""
        content = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name not in ("machines", "models", "drams", "costs")
        }
        for name in ("machines", "models", "drams"):
            entries = getattr(self, name).items()
            content[name] = {key: dataclasses.asdict(value) for key, value in entries}
        for key, machine in self.machines.items():
            content["machines"][key]["packing"] = machine.packing.name
        content["costs"] = dataclasses.asdict(self.costs)
        content["area"] = dataclasses.asdict(area.area_table())
        return json.loads(json.dumps(content))

    def key(self, version: str) -> str:
        """What tells this sweep from any other, and these results from those of another version.

        Titles, objectives and tasks do not change results.
        """
        content = self.resolved()
        for name in ("title", "objectives", "per"):
            del content[name]
        drawn = None if self.method == "grid" else self.points()
        text = json.dumps([version, content, drawn], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def read_sweep(path: Path, *, find_model: Callable[[str], ModelShape]) -> Sweep:
    """The sweep of a YAML file.

    Parameters
    ----------
    find_model : function
        The model of a name or of a path.

    Raises
    ------
    InputError
        A value is not what it must be; the message names file, line and key.
    """
    content = datafile.read_yaml(path).only(
        "parameters",
        optional=("title", "method", "samples", "seed", "costs", "objectives", "per"),
    )
    fields = content.record("parameters").only("model", optional=PARAMETERS)
    method = content.get("method", "grid")
    _among(content, "method", [method], METHODS)
    given = {name: _listed(fields, name) for name in fields}
    hardware = given.get("hardware", (_DEFAULTS["hardware"],))
    machines = _named(fields, "hardware", hardware, load_machine)
    _check(fields, given, machines)
    for name in {*_REALS} & {*given}:
        given[name] = tuple(map(float, given[name]))
    parameters = {
        name: given.get(name, (_DEFAULTS.get(name),))
        for name in PARAMETERS
        if name in given or name in _DEFAULTS
    }
    samples, seed = _random(content, method, math.prod(map(len, parameters.values())))
    return Sweep(
        title=content.text("title") if "title" in content else path.stem,
        parameters=parameters,
        method=method,
        samples=samples,
        seed=seed,
        objectives=_objectives(content, machines),
        per=_among(content, "per", _listed(content, "per", TASK), tuple(parameters)),
        machines=machines,
        models=_named(fields, "model", given["model"], find_model),
        drams=_named(fields, "dram", given.get("dram", ()), load_dram),
        costs=_costs(content),
    )


def _listed(fields: datafile.Record, key: str, default: tuple = ()) -> tuple:
    """The values of a key: a list, or one value."""
    if key not in fields:
        return default
    values = fields[key] if isinstance(fields[key], list) else [fields[key]]
    if not values:
        raise InputError(f"{fields.at(key)} is an empty list")
    for place, value in enumerate(values):
        if isinstance(value, list | dict) or value is None:
            raise InputError(f"{fields.at(key)}[{place}] must be a number or text, not {value!r}")
        if value in values[:place]:
            raise InputError(f"{fields.at(key)} has {value!r} twice")
    return tuple(values)


def _among(fields: datafile.Record, key: str, values: Iterable, known: Sequence[str]) -> tuple:
    for value in values:
        if value not in known:
            raise InputError(f"{fields.at(key)} must be among {', '.join(known)}, not {value!r}")
    return tuple(values)


def _named(fields: datafile.Record, key: str, names: tuple, find: Callable) -> dict:
    found = {}
    for name in names:
        try:
            found[name] = find(datafile.text(key, name))
        except InputError as error:
            place = fields.at(key) if key in fields else fields.place()
            raise InputError(f"{place}: {error}") from None
    return found


def _check(fields: datafile.Record, given: Mapping, machines: Mapping[str, Machine]) -> None:
    """Each value must be possible by itself; combinations that are not are infeasible points."""
    for name, values in given.items():
        for place, value in enumerate(values):
            try:
                _check_value(name, value, machines)
            except InputError as error:
                raise InputError(f"{fields.at(name)}[{place}]: {error}") from None


def _check_value(name: str, value: object, machines: Mapping[str, Machine]) -> None:
    if name in _ARRAY:
        for machine in machines.values():
            if machine.array is None:
                raise InputError(f"{name} is of an array, which {machine.name} has not")
        if name == "cols_per_hop":
            require_int(name, value, high=1024)
        else:
            ArrayConfig(**{"rows": 1, "cols": 1, "lanes": 1, name: value})
    elif name in _WORKLOAD:
        Workload(**{_WORKLOAD[name]: value})
    elif name in (*_LEVELS, "sram_bytes"):
        if not datafile.number(name, value) and name.startswith("dram"):
            raise InputError(f"{name} must be above 0, not {value}")
    elif name == "weight" and value not in BLOCK_DTYPES:
        raise InputError(f"weight must be {' or '.join(BLOCK_DTYPES)}, not {value!r}")


def _random(content: datafile.Record, method: str, combinations: int) -> tuple[int, int]:
    """Samples and seed; 0 of a grid, which has none."""
    if method == "grid":
        for name in ("samples", "seed"):
            if name in content:
                raise InputError(f"{content.at(name)} is of a random sweep: say method: random")
        return 0, 0
    content.only("samples", optional=tuple(content))
    if combinations >= 1 << 62:
        raise InputError(f"{content.at('parameters')} have {combinations} combinations: too many")
    return (
        require_int(content.at("samples"), content["samples"], high=combinations),
        require_int(content.at("seed"), content.get("seed", 0), low=0),
    )


def _objectives(content: datafile.Record, machines: Mapping[str, Machine]) -> tuple[str, ...]:
    names = _listed(content, "objectives", OBJECTIVES)
    _among(content, "objectives", names, tuple(FIGURES))
    if any(name.startswith("area") for name in names):
        for machine in machines.values():
            if machine.array is None:
                place = content.at("objectives") if "objectives" in content else content.path
                raise InputError(f"{place}: area is of an array, which {machine.name} has not")
    return names


def _costs(content: datafile.Record) -> CostTable:
    if "costs" not in content:
        return load_costs("paper")
    try:
        return load_costs(content.text("costs"))
    except InputError as error:
        raise InputError(f"{content.at('costs')}: {error}") from None


class Evaluator:
    """Evaluates points of one sweep; it keeps machines and prices from point to point."""

    def __init__(self, sweep: Sweep):
        self.sweep = sweep
        self._machines: dict[tuple, Machine] = {}
        self._prices: dict[tuple, CostTable] = {}
        self._tiers: dict[tuple, Tier] = {}
        self._of_machine = [
            name
            for name in ("hardware", *_ARRAY, "sram_bytes", "dram", *_LEVELS)
            if name in sweep.parameters
        ]

    def row(self, point: int) -> tuple:
        """A line of the results, as `COLUMNS` has it; None where there is no value.

        What keeps a point from being evaluated is in its last column.
        """
        values = self.sweep.values(point)
        model = self.sweep.models[values["model"]]
        values["weight"] = values["weight"] or model.weight
        try:
            machine = self._machine(values)
            figures, tier = self._figures(model, machine, values)
            reason = None
        except InputError as error:
            machine, figures, tier = None, (None,) * len(FIGURES), None
            reason = str(error)
        stated = _stated(machine or self.sweep.machines[values["hardware"]]) | values
        return (point, *[stated.get(name) for name in PARAMETERS], *figures, tier, reason)

    def _machine(self, values: Mapping) -> Machine:
        key = tuple([values[name] for name in self._of_machine])
        if key not in self._machines:
            self._machines[key] = _build_machine(self.sweep, values)
        return self._machines[key]

    def _figures(self, model: ModelShape, machine: Machine, values: Mapping) -> tuple:
        names = ("weight", *_WORKLOAD)
        work = _work(model, *[values[name] for name in names])
        resident = machine.holds(work.trace) if machine.sram.bytes else False
        needed = work.other_bytes + (0 if resident else work.weight_bytes)
        if machine.dram.bytes is not None and needed > machine.dram.bytes:
            raise InputError(
                f"{model.name} needs {si(needed, 'B')} of DRAM; {machine.dram.name} has "
                f"{si(machine.dram.bytes, 'B')}"
            )
        run = run_pass(model, work.trace, machine, common=work.common)
        prices = self._price(machine, values)
        energy = run.total_j(prices)
        tier = self._tier(machine, prices, frozenset([action for _, action in run.counts]))
        sizes = (None,) * 3
        if machine.array:
            size = area.array_area(machine.array, machine.sram.bytes, work.formats(machine))
            sizes = (size.nominal, size.low, size.high)
        figures = (
            energy.nominal,
            energy.low,
            energy.high,
            energy.nominal / run.tokens,
            run.latency_s,
            run.compute_s,
            run.dram_s,
            run.tokens / run.latency_s,
            run.dram_bytes,
            float(work.weight_bytes + work.other_bytes),
            *sizes,
        )
        return figures, tier

    def _price(self, machine: Machine, values: Mapping) -> CostTable:
        key = values["hardware"], values.get("dram")
        if key not in self._prices:
            self._prices[key] = machine.prices(self.sweep.costs)
        return self._prices[key]

    def _tier(self, machine: Machine, prices: CostTable, actions: frozenset) -> Tier:
        """Of the energy: the weakest of all costs in it, and of static power."""
        key = id(prices), machine.static.tier, actions
        if key not in self._tiers:
            costs = {action: prices.cost(action) for action in sorted(actions)}
            for action, cost in costs.items():
                if cost is None:
                    raise InputError(f"costs {prices.name!r} have no {action}")
            tiers = [cost.tier for cost in costs.values()]
            self._tiers[key] = weakest([Tier.DERIVED, machine.static.tier, *tiers])
        return self._tiers[key]


def _build_machine(sweep: Sweep, values: Mapping) -> Machine:
    machine = sweep.machines[values["hardware"]]
    changes = {}
    if array := {name: values[name] for name in _ARRAY if name in values}:
        changes["array"] = machine.array.replace(**array)
    dram = sweep.drams[values["dram"]] if "dram" in values else machine.dram
    levels = {name.removeprefix("dram_"): values[name] for name in _LEVELS[:2] if name in values}
    changes["dram"] = dataclasses.replace(dram, **levels) if levels else dram
    if "sram_bytes" in values:
        changes["sram"] = dataclasses.replace(
            machine.sram, bytes=values["sram_bytes"], tier=Tier.INFERRED, source="as swept"
        )
    if "static_w" in values:
        changes["static"] = Static.given(values["static_w"])
    return dataclasses.replace(machine, **changes)


def _stated(machine: Machine) -> dict:
    """The parameters of a machine, as far as it has them."""
    # Not dataclasses.asdict, which copies: this is on the path of every point.
    array = vars(machine.array) if machine.array else {}
    return {
        **array,
        "sram_bytes": machine.sram.bytes,
        "dram": machine.dram.name,
        "dram_bytes_per_s": machine.dram.bytes_per_s,
        "dram_bytes": machine.dram.bytes,
        "static_w": machine.static.watts.nominal,
    }


@dataclass(frozen=True, kw_only=True)
class _Work:
    """A pass and the memory that it needs.

    Attributes
    ----------
    trace : Trace
    common : mapping of (line, action) to int
        `ledger.common_counts`.
    weight_bytes, other_bytes : int
        Of matrices; of the key-value cache, the embedding and the norms.
    kinds : tuple of Layer
        One layer for each pair of dtypes of its operands.
    """

    trace: Trace
    common: Mapping[tuple[str, str], int]
    weight_bytes: int
    other_bytes: int
    kinds: tuple[Layer, ...]

    def formats(self, machine: Machine) -> frozenset[str]:
        """Number formats of the arrays that it takes."""
        return frozenset([machine.computes(layer) for layer in self.kinds])


@functools.lru_cache(maxsize=1 << 12)
def _work(
    model: ModelShape, weight: str, phase: str, batch: int, context: int, kv: str, head: str
) -> _Work:
    trace = build_trace(
        model, weight=weight, phase=phase, batch=batch, context=context, kv=kv, head_weight=head
    )
    kinds = {(layer.weight, layer.act): layer for layer in trace}
    stored = {True: 0, False: FP16_BYTES * sum(vector.stored for vector in trace.vectors)}
    for layer in trace:
        stored[layer.stationary] += stored_bytes(layer)
    return _Work(
        trace=trace,
        common=common_counts(model, trace),
        weight_bytes=stored[True],
        other_bytes=stored[False],
        kinds=tuple(kinds.values()),
    )


def fronts(sweep: Sweep, rows: Iterable[Mapping]) -> dict[tuple, list[Mapping]]:
    """The Pareto front of each task that occurs, in the order of the points.

    Parameters
    ----------
    rows : iterable of mapping of column to value
        Of the results; infeasible ones are no competitors.

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
        order = sorted(best, key=lambda index, costs=costs: tuple(costs[index]))
        found[task] = [competitors[index] for index in order]
    return found
