"""Measured ternary accelerators, next to what the model predicts of them.

A prediction is the ledger's: bytes, cycles of `arch.timing` and counts times costs, on a machine of
data/hardware made from public parameters. Nothing is fitted to what it is compared with.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

from tritloom.arch.errors import InputError, require_one_of
from tritloom.arch.models.known import find_model
from tritloom.arch.models.shape import ModelShape
from tritloom.arch.models.trace import build_trace
from tritloom.energy_model.costs import datafile
from tritloom.energy_model.costs.range import Range, add_up
from tritloom.energy_model.costs.table import load_costs
from tritloom.energy_model.costs.tiers import Tier
from tritloom.energy_model.machine.file import load_machine
from tritloom.energy_model.machine.ledger import run_pass
from tritloom.energy_model.machine.line import Line
from tritloom.energy_model.machine.machine import Machine

# Lines of the ledger that a measured figure includes.
SCOPES = {
    "all": tuple(Line),
    "core": tuple(
        line for line in Line if line not in (Line.WEIGHTS, Line.ACTS, Line.PSUMS, Line.KV_CACHE)
    ),
    "static": (Line.STATIC,),
}
QUANTITIES = {
    "tokens_per_s": "token/s",
    "mj_per_token": "mJ/token",
    "power_w": "W",
    "mb_per_token": "MB/token",
}
CLOSE, NEAR = 1.25, 2.0
_PATH = datafile.DATA / "measured.yaml"


@dataclass(frozen=True, kw_only=True)
class System:
    """Measured accelerator, with what it is predicted from.

    Attributes
    ----------
    name, title, source : str
    measured : mapping of str to float
        Measured values by key of `QUANTITIES`, in its unit; PUBLISHED.
    model : ModelShape
    hardware : str
        Name of the machine that stands for it.
    context : int
        Tokens that a decode step looks back on.
    head : str
        Number format of the output head.
    scope : str
        Key of `SCOPES`. "core" has no DRAM in its time either.
    rate : bool
        Whether enough is published to predict a time.
    published, inferred, miss : str
        Inputs that are published; those that are not; why the prediction misses.
    """

    name: str
    title: str
    source: str
    measured: Mapping[str, float]
    model: ModelShape
    hardware: str
    context: int
    head: str
    scope: str
    rate: bool
    published: str
    inferred: str
    miss: str


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Prediction of one quantity of one system, next to what was measured.

    Attributes
    ----------
    system : System
    quantity : str
        Key of `QUANTITIES`.
    measured : float or None
    predicted : Range or None
        None where it cannot be predicted.
    """

    system: System
    quantity: str
    measured: float | None
    predicted: Range | None
    tier: Tier = Tier.INFERRED

    @property
    def ratio(self) -> float | None:
        """Ratio predicted / measured, where there are both."""
        if self.measured is None or self.predicted is None:
            return None
        return self.predicted.nominal / self.measured

    @property
    def factor(self) -> float | None:
        """Factor between predicted and measured: the larger over the smaller."""
        return self.ratio and max(self.ratio, 1 / self.ratio)

    @property
    def missed(self) -> bool:
        """Whether the prediction is not within `CLOSE`, or there is none."""
        return self.predicted is None or (self.factor or 1) > CLOSE

    @property
    def verdict(self) -> str:
        """Verdict on the prediction: a factor's limit, "misses", or nothing without a ratio."""
        if self.factor is None:
            return ""
        near = (limit for limit in (CLOSE, NEAR) if self.factor <= limit)
        return next((f"within {limit:g}x" for limit in near), "misses")


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Summary of how near all predictions of one quantity are.

    Attributes
    ----------
    quantity : str
    count, close, near : int
        Number of predictions with a ratio; of those within `CLOSE`; of those within `NEAR`.
    mean_ratio : float
        Geometric mean of predicted / measured: 1 where errors cancel.
    mean_factor : float
        Geometric mean of the larger over the smaller: 1 where there are none.
    """

    quantity: str
    count: int
    close: int
    near: int
    mean_ratio: float
    mean_factor: float


@functools.cache
def systems() -> tuple[System, ...]:
    """Load every measured system."""
    content = datafile.read_yaml(_PATH).only("models", "systems")
    models = content.record("models")
    shapes = {name: _shape(name, models.record(name)) for name in models}
    entries = content.record("systems")
    return tuple(_system(name, entries.record(name), shapes) for name in entries)


def _shape(name: str, record: datafile.Record) -> ModelShape:
    known = tuple(field.name for field in fields(ModelShape) if field.name != "name")
    try:
        return ModelShape(name=name, **record.only("hidden", "source", optional=known))
    except (InputError, TypeError) as error:
        raise InputError(f"{record.place()}: {error}") from None


def _system(name: str, record: datafile.Record, shapes: Mapping[str, ModelShape]) -> System:
    texts = ("title", "source", "model", "hardware", "head", "scope", "published", "inferred")
    record.only(*texts, "context", "miss", optional=("rate", *QUANTITIES))
    text = {key: record.text(key) for key in (*texts, "miss")}
    require_one_of(record.at("scope"), text["scope"], SCOPES)
    model = text.pop("model")
    return System(
        name=name,
        model=shapes.get(model) or find_model(model),
        measured={key: record.positive(key) for key in QUANTITIES if key in record},
        context=record["context"],
        rate=record.get("rate", True),
        **text,
    )


def predict(system: System, machine: Machine | None = None) -> dict[str, Range | None]:
    """Predict a system's quantities, by key of `QUANTITIES`.

    Parameters
    ----------
    machine : Machine, optional
        In place of the system's own.
    """
    machine = machine or load_machine(system.hardware)
    trace = build_trace(
        system.model,
        weight="ternary",
        phase="decode",
        context=system.context,
        head_weight=system.head,
    )
    step = run_pass(system.model, trace, machine)
    seconds = step.compute_s if system.scope == "core" else step.latency_s
    lines = step.joules(machine.prices(load_costs("paper")))
    joules = add_up(lines[line] for line in SCOPES[system.scope])
    return {
        "tokens_per_s": Range.point(1 / seconds) if system.rate else None,
        "mj_per_token": 1e3 * joules,
        "power_w": 1 / seconds * joules if system.rate else None,
        "mb_per_token": None if system.scope == "core" else Range.point(step.dram_bytes / 1e6),
    }


@functools.cache
def validate() -> tuple[Prediction, ...]:
    """Predict each quantity of each system; watts only where they are measured."""
    rows = []
    for system in systems():
        predicted = predict(system)
        rows += [
            Prediction(
                system=system,
                quantity=quantity,
                measured=system.measured.get(quantity),
                predicted=predicted[quantity],
            )
            for quantity in QUANTITIES
            if quantity in system.measured or (predicted[quantity] and quantity != "power_w")
        ]
    return tuple(rows)


def summaries(rows: Iterable[Prediction]) -> tuple[Summary, ...]:
    """Summarise rates and energies; watts are their product."""
    rows = tuple(rows)
    return tuple(
        _summary(quantity, [row for row in rows if row.quantity == quantity and row.ratio])
        for quantity in ("tokens_per_s", "mj_per_token")
    )


def _summary(quantity: str, rows: list[Prediction]) -> Summary:
    ratios = [row.ratio for row in rows if row.ratio is not None]
    factors = [row.factor for row in rows if row.factor is not None]
    return Summary(
        quantity=quantity,
        count=len(rows),
        close=sum(factor <= CLOSE for factor in factors),
        near=sum(factor <= NEAR for factor in factors),
        mean_ratio=_geometric_mean(ratios),
        mean_factor=_geometric_mean(factors),
    )


def _geometric_mean(values: list[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))
