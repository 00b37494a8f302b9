"""BitNet b1.58 next to FP16 LLaMA: every figure of the report, with its tier."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

from arch.workload import ModelShape

from .costs import CostTable, Energy, Range
from .evaluation import Evaluation, LayerResult, Workload, evaluate
from .machine import Machine
from .paper import BATCH, CONTEXT, Published, published_ratio, workspace_rule
from .tiers import Tier, weakest
from .units import GIGABYTES, JOULES, PICOJOULES, SECONDS, TOKENS_PER_S, Unit, si

Side = Evaluation | LayerResult

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
        What it is made of, or what explains it.
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

    @property
    def ratio(self) -> Range | None:
        """How far BitNet is ahead; None where one of the two is zero."""
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


@dataclass(frozen=True, kw_only=True)
class LayerRow:
    """One layer of the trace in both systems.

    Attributes
    ----------
    llama, bitnet : LayerResult
    figures : tuple of Figure
        What the layer contributes to the totals of the same keys; zero outside their scope.
    """

    llama: LayerResult
    bitnet: LayerResult
    figures: tuple[Figure, ...]


@dataclass(frozen=True, kw_only=True)
class Note:
    """A sentence on scope or on an assumption; figures refer to the latter by its `key`."""

    tier: Tier
    text: str
    key: str | None = None


@dataclass(frozen=True, kw_only=True)
class Report:
    """BitNet b1.58 next to FP16 LLaMA.

    Attributes
    ----------
    llama, bitnet : Evaluation
    costs : CostTable
    figures : tuple of Figure
    rows : tuple of LayerRow
    notes : tuple of Note
    """

    llama: Evaluation
    bitnet: Evaluation
    costs: CostTable
    figures: tuple[Figure, ...]
    rows: tuple[LayerRow, ...]
    notes: tuple[Note, ...]

    def figure(self, key: str) -> Figure:
        """The figure of that key."""
        return next(figure for figure in self.figures if figure.key == key)


def build_report(
    model: ModelShape, *, workload: Workload, machine: Machine, costs: CostTable
) -> Report:
    """Evaluate both systems and lay them side by side.

    Raises
    ------
    InputError
        `costs` lacks an operation that a model needs.
    """
    llama, bitnet = (
        evaluate(model, weight=weight, workload=workload, machine=machine, costs=costs)
        for weight in ("fp16", "ternary")
    )
    rows = tuple(
        LayerRow(llama=a, bitnet=b, figures=_layer_figures(a, b, model))
        for a, b in zip(llama.layers, bitnet.layers, strict=True)
    )
    figures = _figures(llama, bitnet, costs)
    return Report(
        llama=llama,
        bitnet=bitnet,
        costs=costs,
        figures=figures,
        rows=rows,
        notes=_notes(llama, costs, figures),
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
    """What `measure` finds in both systems; the tier is the weakest of what it found."""
    values = [measure(side) for side in (llama, bitnet)]
    tiers = [value.tier for value in values if isinstance(value, Energy)]
    first, second = (v.total_j if isinstance(v, Energy) else Range.point(v) for v in values)
    return Figure(
        key=key,
        label=label,
        unit=unit,
        llama=first,
        bitnet=second,
        tier=weakest([tier, *tiers]),
        inferred=inferred,
        **rest,
    )


def _dimensions(model: ModelShape) -> tuple[str, ...]:
    return (DIMENSIONS,) if model.inferred else ()


def _layer_figures(
    llama: LayerResult, bitnet: LayerResult, model: ModelShape
) -> tuple[Figure, ...]:
    figure = functools.partial(_figure, llama, bitnet)
    dims = _dimensions(model)
    blocks = dims if llama.layer.stationary else (*dims, PRECISION)
    bounds = (llama.bound, bitnet.bound)
    timed = (*blocks, ARRAY)
    return (
        figure("arithmetic", "arithmetic", PICOJOULES, lambda r: r.arithmetic, dims),
        figure("energy", "energy", JOULES, lambda r: r.energy, blocks),
        figure("memory", "memory", GIGABYTES, lambda r: r.memory_bytes, blocks),
        figure("latency", "latency", SECONDS, lambda r: r.latency_s, timed, bounds=bounds),
    )


def _figures(llama: Evaluation, bitnet: Evaluation, costs: CostTable) -> tuple[Figure, ...]:
    figure = functools.partial(_figure, llama, bitnet)
    model, workload = llama.model, llama.workload
    dims = _dimensions(model)
    blocks = (*dims, PRECISION)
    cached, timed = (*blocks, WORKSPACE), (*blocks, ARRAY)
    macs = sum(r.layer.macs for r in llama.layers if "arithmetic" in r.scope)

    def published(key: str) -> Published | None:
        """Under the paper's conditions only, save for the energy per operation, which has none."""
        same = (workload.batch, workload.context) == (BATCH, CONTEXT)
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
    tier = workspace_rule().tier
    memory = (
        figure("weights", "block weights", GIGABYTES, lambda e: e.block_bytes, dims),
        figure("embedding", "embedding, FP16", GIGABYTES, lambda e: e.embedding_bytes, dims),
        figure("head", "output head, FP16", GIGABYTES, lambda e: e.head_bytes, dims),
        figure("kv_cache", "key-value cache, FP16", GIGABYTES, lambda e: e.cache_bytes, blocks),
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


def _operations(prefix: str) -> Callable[[Evaluation], Energy]:
    return lambda e: e.arithmetic.only(lambda action: action.startswith(prefix))


def _notes(
    evaluation: Evaluation, costs: CostTable, figures: tuple[Figure, ...]
) -> tuple[Note, ...]:
    """The inferred assumptions first, in the order in which figures name them."""
    model, machine, batch = evaluation.model, evaluation.machine, evaluation.workload.batch
    array, workspace = machine.array, workspace_rule()
    published = [f"{f.key}: {f.published.source}" for f in figures if f.published]
    rates = [
        si(rate, "B/s")
        for rate in (
            machine.weight_bytes_per_s("ternary"),
            machine.weight_bytes_per_s("fp16"),
            machine.dram.bytes_per_s,
        )
    ]
    return (
        Note(
            key=DIMENSIONS if model.inferred else None,
            tier=Tier.INFERRED if model.inferred else Tier.PUBLISHED,
            text=f"dimensions: {model.source.removeprefix('INFERRED: ')}",
        ),
        Note(
            key=PRECISION,
            tier=Tier.INFERRED,
            text="precision: attention (full, not causal), key-value cache, embedding and output "
            "head are FP16 in both; BitNet adds one FP16 multiply by a scale for each input and "
            "output element of a ternary layer",
        ),
        Note(
            key=WORKSPACE,
            tier=workspace.tier,
            text="workspace: what the paper's memory figures hold beyond weights, embedding, head "
            f"and key-value cache; {workspace.source}",
        ),
        Note(
            key=ARRAY,
            tier=Tier.INFERRED,
            text="FP16 array: of the ternary array's shape, clock and pipeline, so that each "
            "product takes the same cycles; attention and output head of both run on it",
        ),
        Note(
            tier=Tier.DERIVED,
            text="energy has figure 3's scope, arithmetic of the decoder blocks: no embedding, no "
            "output head, no norms, no softmax, no memory traffic; every addition of a ternary "
            f"product is priced at 8 bits; costs `{costs.name}`",
        ),
        Note(
            tier=Tier.DERIVED,
            text="decode latency adds up, over the layers, the longer of array cycles "
            "(arch.timing) and bytes at DRAM bandwidth; nothing stays on chip between layers",
        ),
        Note(
            tier=Tier.DERIVED,
            text=f"weights enter the array at up to {rates[0]} (2 bit) or {rates[1]} (FP16), the "
            f"DRAM delivers {rates[2]}; at batch {batch}, {min(batch, array.rows)} of "
            f"{array.rows} rows hold a token",
        ),
        Note(
            tier=Tier.PUBLISHED,
            text=f"ratios: {'; '.join(published)}",
        ),
    )
