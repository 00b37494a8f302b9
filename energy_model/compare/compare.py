"""Two models in any number formats on one machine, or the pairs of the paper's scaling law."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tritloom.arch.errors import InputError
from tritloom.arch.models.known import find_model
from tritloom.arch.models.shape import ModelShape
from tritloom.arch.workload import BLOCK_DTYPES
from tritloom.energy_model.costs.range import Range
from tritloom.energy_model.costs.table import CostTable, Energy, shared_ratio
from tritloom.energy_model.costs.tiers import Tier, weakest
from tritloom.energy_model.costs.units import GIGABYTES, JOULES, SECONDS, Unit
from tritloom.energy_model.machine.evaluation import Evaluation, Workload, evaluate
from tritloom.energy_model.machine.machine import Machine

# arXiv 2402.17764: the first of each pair is said to need less memory, time and energy.
SCALING_LAW = (
    ("13b:ternary", "3b:fp16"),
    ("30b:ternary", "7b:fp16"),
    ("70b:ternary", "13b:fp16"),
)
SCALING_SOURCE = "arXiv 2402.17764, scaling law: memory, latency and energy"
HOLDS, NOMINALLY, FAILS = "holds", "holds nominally", "fails"


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One quantity of both models, in SI units; less is better.

    Attributes
    ----------
    key, label : str
    unit : Unit
    first, second : Range
    ratio : Range
        Second / first: above 1, the first needs less. Costs that both pay move in both at once.
    tier : Tier
    """

    key: str
    label: str
    unit: Unit
    first: Range
    second: Range
    ratio: Range
    tier: Tier

    @property
    def verdict(self) -> str:
        """Whether the first needs less: over the whole range, at the nominal value, or not."""
        if self.ratio.low > 1:
            return HOLDS
        return NOMINALLY if self.ratio.nominal > 1 else FAILS


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A pair of models on one machine.

    Attributes
    ----------
    first, second : str
        Such as "13b:ternary".
    machine : Machine
    workload : Workload
    measures : tuple of Measure
    """

    first: str
    second: str
    machine: Machine
    workload: Workload
    measures: tuple[Measure, ...]


def compare(
    first: str,
    second: str,
    *,
    workload: Workload,
    machine: Machine,
    costs: CostTable,
    find: Callable[[str], ModelShape] = find_model,
) -> Comparison:
    """Compare two models in memory, decode latency and energy.

    Parameters
    ----------
    first, second : str
        Name of a model and format of its weights, such as "13b:ternary" and "3b:fp16".
    find : callable
        Returns the model of a name.

    Raises
    ------
    InputError
        There is no such model or format.
    """
    sides = []
    for name in (first, second):
        name, weight = _split(name)
        model = find(name)
        sides.append(
            evaluate(model, weight=weight, workload=workload, machine=machine, costs=costs)
        )
    return Comparison(
        first=first,
        second=second,
        machine=machine,
        workload=workload,
        measures=_measures(*sides),
    )


def _split(text: str) -> tuple[str, str]:
    name, colon, weight = text.rpartition(":")
    if not colon or weight not in BLOCK_DTYPES:
        known = " or ".join(f":{dtype}" for dtype in BLOCK_DTYPES)
        raise InputError(f"{text!r} must be the name of a model and {known}, such as 13b:ternary")
    return name, weight


def _measures(first: Evaluation, second: Evaluation) -> tuple[Measure, ...]:
    sides = (first, second)
    guess = [Tier.INFERRED] if any(side.model.inferred for side in sides) else []

    def point(key, label, unit, values, tier=Tier.DERIVED) -> Measure:
        one, two = map(Range.point, values)
        ratio = Range.point(two.nominal / one.nominal)
        return Measure(
            key=key,
            label=label,
            unit=unit,
            first=one,
            second=two,
            ratio=ratio,
            tier=weakest([tier, *guess]),
        )

    def joules(key, label, energies: list[Energy]) -> Measure:
        one, two = energies
        ratio = shared_ratio(two, one)
        if ratio is None:
            raise InputError(f"{label}: costs make it zero, so that there is no ratio")
        return Measure(
            key=key,
            label=label,
            unit=JOULES,
            first=one.total_j,
            second=two.total_j,
            ratio=ratio,
            tier=weakest([one.tier, two.tier, *guess]),
        )

    def system(phase: str) -> list[Energy]:
        return [
            sum(side.passes[phase].energies(side.prices).values(), start=Energy()) for side in sides
        ]

    return (
        point("memory", "memory", GIGABYTES, [side.memory_bytes for side in sides]),
        point("latency", "decode latency", SECONDS, [side.latency_s for side in sides]),
        joules(
            "energy", f"arithmetic energy, {first.workload.phase}", [side.energy for side in sides]
        ),
        *(
            joules(f"system_{phase}", f"energy with memory, {phase}", system(phase))
            for phase in first.passes
        ),
    )
