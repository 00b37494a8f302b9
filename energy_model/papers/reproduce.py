"""Figures of the BitNet papers: each published value next to what the model says.

Figure 3 and all memory are `evaluate`'s, as in a report; latency and throughput on the papers' GPU
are `energy_model.papers.gpu`'s; table 1 of arXiv 2310.11453 is that paper's formulas on a trace.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tritloom.arch.counts import Counts, scale_counts
from tritloom.arch.models.known import find_model
from tritloom.arch.models.shape import ModelShape
from tritloom.arch.models.trace import build_trace
from tritloom.arch.workload import Layer
from tritloom.energy_model.costs.table import load_costs, price
from tritloom.energy_model.costs.tiers import Tier
from tritloom.energy_model.machine.evaluation import Evaluation, Workload, evaluate
from tritloom.energy_model.machine.file import load_dram, parse_array
from tritloom.energy_model.machine.machine import Machine
from tritloom.energy_model.published import (
    BATCH,
    CONTEXT,
    OneBit,
    Series,
    published_one_bit,
    published_series,
    stated_ratio,
    workspace_rule,
)

from .fit import DTYPES, predicted_ratios
from .gpu import decode_s, load_a100, load_pipeline

SYSTEMS = {"llama": "FP16 LLaMA", "bitnet": "BitNet b1.58"}
RATIO = "ratio"
FIGURE3_LEFT, FIGURE3_RIGHT = "figure 3 (left)", "figure 3 (right)"
TABLE1, FIGURE2, TABLE3 = "table 1", "figure 2", "table 3"
MEMORY, LATENCY = "memory", "latency"
BATCH_SIZE, THROUGHPUT = "pipeline batch", "pipeline throughput"
B158, ONE_BIT = "arXiv 2402.17764", "arXiv 2310.11453"
# Table 1 of arXiv 2310.11453: the columns of a row, and the costs of each.
ONE_BIT_COLUMNS = (
    ("multiply", "7 nm", "paper"),
    ("add", "7 nm", "paper"),
    ("multiply", "45 nm", "paper45"),
    ("add", "45 nm", "paper45"),
)


@dataclass(frozen=True, kw_only=True)
class ReproducedValue:
    """Published value next to the model's.

    Attributes
    ----------
    source, figure, quantity, name : str
        Such as "arXiv 2402.17764", "figure 2", "memory" and "70B FP16 LLaMA".
    size, system : str
        Such as "70b" and "llama"; the system of a ratio is "ratio".
    unit : str
        Of both values; "x" for a ratio.
    published, model : float
    tier : Tier
        Of the model's value.
    digitised : bool
        Whether the published value is read off a figure's pixels, within 1 to 2 %.
    inferred : tuple of str
        Keys of `assumptions()` that the model's value rests on.
    left_out : float or None
        The model's value by a fit that has not seen this size.
    """

    source: str
    figure: str
    quantity: str
    name: str
    size: str
    system: str
    unit: str
    published: float
    model: float
    tier: Tier
    digitised: bool = False
    inferred: tuple[str, ...] = ()
    left_out: float | None = None

    @property
    def label(self) -> str:
        """Name of the value, such as "70B FP16 LLaMA, memory"."""
        return f"{self.name}, {self.quantity}"

    @property
    def difference(self) -> float:
        """Model minus published, in `unit`."""
        return self.model - self.published

    @property
    def residual(self) -> float:
        """Model / published - 1."""
        return self.model / self.published - 1

    @property
    def same_when_rounded(self) -> bool:
        """Whether both print the same with two decimals, as table 1 of arXiv 2310.11453 does."""
        return f"{self.model:.2f}" == f"{self.published:.2f}"


@functools.cache
def reproduce() -> tuple[ReproducedValue, ...]:
    """Reproduce every published value, in the papers' order."""
    return (
        *_latency_or_memory(TABLE1),
        *_latency_or_memory(FIGURE2),
        *_figure3_left(),
        *_figure3_right(),
        *_table3(),
        *_one_bit_table(),
    )


@functools.cache
def _evaluated(name: str) -> dict[str, Evaluation]:
    """Evaluate both systems under the papers' conditions; no figure here depends on the machine."""
    machine = Machine(name="any", engine=parse_array("4x256x64"), dram=load_dram())
    return {
        system: evaluate(
            find_model(name),
            weight=weight,
            workload=Workload(phase="prefill", batch=BATCH, context=CONTEXT),
            machine=machine,
            costs=load_costs("paper"),
        )
        for system, weight in DTYPES.items()
    }


def _series(figure: str) -> Iterator[Series]:
    return (series for series in published_series() if series.figure == figure)


def _compare(
    series: Series,
    predict: Callable[[str, ModelShape], float],
    *,
    tier: Tier,
    inferred: tuple[str, ...],
    prefix: str = "",
) -> Iterator[ReproducedValue]:
    """Reproduce each value of a series, then each ratio label.

    Parameters
    ----------
    predict : callable
        From a system and a model to a value in the unit of the series.
    prefix : str
        What the names of the models have before the size.
    """

    def row(size: str, system: str, **values) -> ReproducedValue:
        shape = ("shapes" if prefix else "dimensions",) * find_model(prefix + size).inferred
        return ReproducedValue(
            source=series.source,
            figure=series.figure,
            quantity=series.quantity,
            name=f"{size.upper()} {SYSTEMS.get(system, system)}",
            size=size,
            system=system,
            tier=tier,
            inferred=(*shape, *inferred),
            **values,
        )

    for system in SYSTEMS:
        for size, value in getattr(series, system).items():
            yield row(
                size,
                system,
                unit=series.unit,
                published=value,
                model=predict(system, find_model(prefix + size)),
                digitised=series.digitised,
            )
    for size in series.llama:
        model = find_model(prefix + size)
        llama, bitnet = (predict(system, model) for system in SYSTEMS)
        # Table 3's batch and throughput are better when larger, all else when smaller.
        ratio = bitnet / llama if series.figure == TABLE3 else llama / bitnet
        published = stated_ratio(series.quantity, model).value
        yield row(size, RATIO, unit="x", published=published, model=ratio)


def _latency_or_memory(figure: str) -> Iterator[ReproducedValue]:
    """Reproduce table 1 or figure 2 of arXiv 2402.17764."""
    for series in _series(figure):
        if series.quantity == MEMORY:
            yield from _compare(
                series,
                lambda system, model: _evaluated(model.name)[system].memory_bytes / 1e9,
                tier=workspace_rule().tier,
                inferred=("workspace",),
            )
        else:
            left_out = predicted_ratios(series.llama, leave_out=True)
            for row in _compare(
                series,
                lambda system, model: 1e3 * decode_s(model, DTYPES[system], load_a100()),
                tier=Tier.INFERRED,
                inferred=("roofline",),
            ):
                seen = left_out[row.size] if row.system == RATIO else None
                yield dataclasses.replace(row, left_out=seen)


def _figure3_left() -> Iterator[ReproducedValue]:
    """Reproduce the energy of one weight and one token, out of a whole model's products."""
    evaluated = _evaluated("figure3-70b")
    energies = {
        system: {
            operation: _per_product(evaluation, prefix)
            for operation, prefix in (("multiply", "mul_"), ("add", "add_"))
        }
        for system, evaluation in evaluated.items()
    }
    (series,) = _series(FIGURE3_LEFT)
    common: dict[str, Any] = {
        "source": B158,
        "figure": FIGURE3_LEFT,
        "quantity": series.quantity,
        "size": "",
        "tier": Tier.DERIVED,
    }
    for system in SYSTEMS:
        for operation, value in getattr(series, system).items():
            yield ReproducedValue(
                **common,
                name=f"{operation}, {SYSTEMS[system]}",
                system=system,
                unit=series.unit,
                published=value,
                model=energies[system][operation.split()[-1]],
            )
    yield ReproducedValue(
        **common,
        name=RATIO,
        system=RATIO,
        unit="x",
        published=stated_ratio("arithmetic", evaluated["llama"].model).value,
        model=sum(energies["llama"].values()) / sum(energies["bitnet"].values()),
    )


def _starts_with(prefix: str) -> Callable[[str], bool]:
    return lambda action: action.startswith(prefix)


def _per_product(evaluation: Evaluation, prefix: str) -> float:
    """Picojoules of the operations with that prefix for one weight and one token."""
    macs = sum(r.layer.macs for r in evaluation.layers if "arithmetic" in r.scope)
    spent = evaluation.arithmetic.only(lambda action: action.startswith(prefix))
    return 1e12 * spent.total_j.nominal / macs


def _figure3_right() -> Iterator[ReproducedValue]:
    (series,) = _series(FIGURE3_RIGHT)
    return _compare(
        series,
        lambda system, model: _evaluated(model.name)[system].energy.total_j.nominal,
        tier=Tier.DERIVED,
        inferred=("scope",),
        prefix="figure3-",
    )


def _table3() -> Iterator[ReproducedValue]:
    """Reproduce table 3 of arXiv 2402.17764: 70B on two GPUs."""
    pipeline = load_pipeline()

    def batch(system: str, model: ModelShape) -> int:
        return pipeline.max_batch(model, DTYPES[system])

    def throughput(system: str, model: ModelShape) -> float:
        return pipeline.tokens_per_s(model, DTYPES[system], batch(system, model))

    for series in _series(TABLE3):
        fits = ("cache", "fitting")
        if series.quantity == BATCH_SIZE:
            yield from _compare(series, batch, tier=Tier.INFERRED, inferred=fits)
        else:
            timed = (*fits, "roofline", "stages")
            yield from _compare(series, throughput, tier=Tier.INFERRED, inferred=timed)


def _one_bit_table() -> Iterator[ReproducedValue]:
    """Reproduce table 1 of arXiv 2310.11453, cell by cell."""
    for column, (operation, node, costs) in enumerate(ONE_BIT_COLUMNS):
        prefix = {"multiply": "mul_", "add": "add_"}[operation]
        for published in published_one_bit():
            for name, joules in published.joules.items():
                energy = price(_one_bit_counts(published, name), load_costs(costs))
                yield ReproducedValue(
                    source=ONE_BIT,
                    figure=TABLE1,
                    quantity=f"{operation}, {node}",
                    name=f"{published.size.upper()} {name}",
                    size=published.size,
                    system=name,
                    unit="J",
                    published=joules[column],
                    model=energy.only(_starts_with(prefix)).total_j.nominal,
                    tier=energy.tier,
                    inferred=("formulas",),
                )


def _one_bit_counts(published: OneBit, name: str) -> Counts:
    """Count the operations of arXiv 2310.11453's formulas, in a number format of its table."""
    model = ModelShape(
        name=f"bitnet-{published.size}",
        hidden=published.hidden,
        ffn=4 * published.hidden,
        layers=published.layers,
        heads=published.heads,
        vocab=16000,
        gated=False,
        source=ONE_BIT,
    )
    weight = "ternary" if name == "1-bit" else "fp16"
    layers = build_trace(model, weight=weight, batch=BATCH, context=CONTEXT, head=False)
    return sum((_formula_counts(layer, name) for layer in layers), start=Counts())


def _formula_counts(layer: Layer, name: str) -> Counts:
    """Count a layer's operations: a product of k terms has k - 1 additions, not k as elsewhere."""
    adds = layer.macs - layer.count * layer.gemm.m * layer.gemm.n
    if layer.weight == "ternary":
        return Counts(add_int8=adds) + scale_counts(layer)
    dtype = "fp32" if name == "fp32" else "fp16"
    return Counts(**{f"mul_{dtype}": layer.macs, f"add_{dtype}": adds})
