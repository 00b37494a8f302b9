"""Figures of a report: quantities of both systems side by side, each with its tier."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tritloom.arch.models.known import MODELS
from tritloom.arch.models.shape import ModelShape
from tritloom.energy_model.costs.range import Range
from tritloom.energy_model.costs.table import CostTable, Energy, shared_ratio
from tritloom.energy_model.costs.tiers import Tier, weakest
from tritloom.energy_model.costs.units import (
    GIGABYTES,
    JOULES,
    PICOJOULES,
    SECONDS,
    TOKENS_PER_S,
    Unit,
)
from tritloom.energy_model.machine.evaluation import Evaluation, LayerResult
from tritloom.energy_model.machine.line import Line
from tritloom.energy_model.published import (
    BATCH,
    CONTEXT,
    Published,
    published_ratio,
    workspace_rule,
)

# What a figure is measured on: evaluations, layers of them, or energies.
Side = TypeVar("Side")

# Assumptions that no source states; the notes explain each.
DIMENSIONS, PRECISION, WORKSPACE, ARRAY = "dimensions", "precision", "workspace", "FP16 array"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One quantity of both systems, in SI units.

    Attributes
    ----------
    key, label : str
        For machines and for people.
    unit : Unit
    llama, bitnet : Range
    tier : Tier
    inferred : tuple of str
        The INFERRED assumptions that it rests on.
    published : Published or None
        The published ratio.
    bounds : tuple of str, or None
        What binds a latency of LLaMA and of BitNet: "compute" or "dram".
    more_is_better : bool
        Whether the ratio is BitNet / LLaMA instead of LLaMA / BitNet; above 1, BitNet is ahead.
    parts : tuple of Figure
        Figures that it is made of, or that explain it.
    spread : Range or None
        The ratio, where both systems pay the same costs; else each is at its own end of its range.
    """

    key: str
    label: str
    unit: Unit
    llama: Range
    bitnet: Range
    tier: Tier
    inferred: tuple[str, ...] = ()
    published: Published | None = None
    bounds: tuple[str, str] | None = None
    more_is_better: bool = False
    parts: tuple[Figure, ...] = ()
    spread: Range | None = None

    @property
    def ratio(self) -> Range | None:
        """How far BitNet is ahead; None where one of the two is zero."""
        if self.spread:
            return self.spread
        over, under = self.llama, self.bitnet
        if self.more_is_better:
            over, under = under, over
        if not over.low or not under.low:
            return None
        return Range(
            low=over.low / under.high,
            nominal=over.nominal / under.nominal,
            high=over.high / under.low,
        )


def _figure(
    llama: Side,
    bitnet: Side,
    key: str,
    label: str,
    unit: Unit,
    measure: Callable[[Side], Energy | float],
    inferred: tuple[str, ...] = (),
    *,
    tier: Tier = Tier.DERIVED,
    **rest,
) -> Figure:
    """Measure both systems; the tier is the weakest of the values that `measure` finds."""
    over, under = measure(llama), measure(bitnet)
    first, second = (
        value.total_j if isinstance(value, Energy) else Range.point(value)
        for value in (over, under)
    )
    tiers, spread = [], None
    if isinstance(over, Energy) and isinstance(under, Energy):
        tiers, spread = [over.tier, under.tier], shared_ratio(over, under)
    return Figure(
        key=key,
        label=label,
        unit=unit,
        llama=first,
        bitnet=second,
        tier=weakest([tier, *tiers]),
        inferred=inferred,
        spread=spread,
        **rest,
    )


def _dimensions(model: ModelShape) -> tuple[str, ...]:
    return (DIMENSIONS,) if model.inferred else ()


def layer_figures(llama: LayerResult, bitnet: LayerResult, model: ModelShape) -> tuple[Figure, ...]:
    """Compute what a layer contributes to the figures of the same keys."""
    figure = functools.partial(_figure, llama, bitnet)
    dims = _dimensions(model)
    blocks = dims if llama.layer.trained else (*dims, PRECISION)
    bounds = (llama.bound, bitnet.bound)
    timed = (*blocks, ARRAY)
    return (
        figure("arithmetic", "arithmetic", PICOJOULES, lambda r: r.arithmetic, dims),
        figure("energy", "energy", JOULES, lambda r: r.energy, blocks),
        figure("memory", "memory", GIGABYTES, lambda r: r.memory_bytes, blocks),
        figure("latency", "latency", SECONDS, lambda r: r.latency_s, timed, bounds=bounds),
    )


def build_figures(llama: Evaluation, bitnet: Evaluation, costs: CostTable) -> tuple[Figure, ...]:
    """Compute every figure of the whole model, in the order of the report."""
    figure = functools.partial(_figure, llama, bitnet)
    model, workload = llama.model, llama.workload
    dims = _dimensions(model)
    blocks = (*dims, PRECISION)
    cached, timed = (*blocks, WORKSPACE), (*blocks, ARRAY)
    macs = sum(r.layer.macs for r in llama.layers if "arithmetic" in r.scope)

    def published(key: str) -> Published | None:
        """Return a published ratio where the workload is the paper's.

        The energy of an operation depends on no workload.
        """
        same = MODELS.get(model.name) == model and (
            (workload.batch, workload.context, workload.kv, workload.head_weight)
            == (BATCH, CONTEXT, "fp16", "fp16")
        )
        return published_ratio(key, model) if same or key == "arithmetic" else None

    arithmetic = (
        figure("mul", "multiplies", PICOJOULES, _operations("mul_"), dims),
        figure("add", "adds", PICOJOULES, _operations("add_"), dims),
        figure("per_mac", "one weight, one token", PICOJOULES, lambda e: 1 / macs * e.arithmetic),
    )
    energy = (
        figure("products", "weight products", JOULES, lambda e: e.arithmetic, dims),
        figure("attention", "attention, FP16", JOULES, lambda e: e.attention, blocks),
        figure("scales", "scales, FP16", JOULES, lambda e: e.scale, blocks),
    )
    tier, head, kv = workspace_rule().tier, *map(shown, (workload.head_weight, workload.kv))
    memory = (
        figure("weights", "block weights", GIGABYTES, lambda e: e.block_bytes, dims),
        figure("embedding", "embedding, FP16", GIGABYTES, lambda e: e.embedding_bytes, dims),
        figure("head", f"output head, {head}", GIGABYTES, lambda e: e.head_bytes, dims),
        figure("kv_cache", f"key-value cache, {kv}", GIGABYTES, lambda e: e.cache_bytes, blocks),
        figure("workspace", "workspace", GIGABYTES, lambda e: e.workspace_bytes, cached, tier=tier),
    )
    latency = (
        figure("compute", "array alone", SECONDS, lambda e: e.compute_s, timed),
        figure("dram", "DRAM alone", SECONDS, lambda e: e.dram_s, blocks),
    )
    return (
        figure(
            "arithmetic",
            f"Weight products, {costs.node}",
            PICOJOULES,
            lambda e: e.arithmetic,
            dims,
            published=published("arithmetic"),
            parts=arithmetic,
        ),
        figure(
            "energy",
            f"End-to-end energy, {llama.tokens} token{'s' * (llama.tokens > 1)}",
            JOULES,
            lambda e: e.energy,
            blocks,
            published=published("energy"),
            parts=energy,
        ),
        *(_system(llama, bitnet, phase, blocks) for phase in llama.passes),
        figure(
            "memory",
            "Memory",
            GIGABYTES,
            lambda e: e.memory_bytes,
            cached,
            published=published("memory"),
            parts=memory,
        ),
        figure(
            "latency",
            f"Decode latency, batch {workload.batch}",
            SECONDS,
            lambda e: e.latency_s,
            timed,
            published=published("latency"),
            bounds=(llama.bound, bitnet.bound),
            parts=latency,
        ),
        figure(
            "throughput",
            "Decode throughput",
            TOKENS_PER_S,
            lambda e: e.tokens_per_s,
            timed,
            more_is_better=True,
        ),
    )


def _system(llama: Evaluation, bitnet: Evaluation, phase: str, inferred: tuple[str, ...]) -> Figure:
    """Energy of a pass with everything that the machine does, line by line."""
    over, under = (side.passes[phase].energies(side.prices) for side in (llama, bitnet))
    inferred = (*inferred, ARRAY)
    parts = (
        _figure(over[line], under[line], line, line.label, JOULES, lambda energy: energy, inferred)
        for line in Line
        if over[line].by_action or under[line].by_action
    )
    tokens = llama.passes[phase].tokens
    return _figure(
        sum(over.values(), start=Energy()),
        sum(under.values(), start=Energy()),
        f"system_{phase}",
        f"With memory, {phase}, {tokens} token{'s' * (tokens > 1)}",
        JOULES,
        lambda energy: energy,
        inferred,
        parts=tuple(parts),
    )


def _operations(prefix: str) -> Callable[[Evaluation], Energy]:
    return lambda e: e.arithmetic.only(lambda action: action.startswith(prefix))


def shown(dtype: str) -> str:
    """Name of a number format in prose."""
    return "FP16" if dtype == "fp16" else dtype
