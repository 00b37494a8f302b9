"""BitNet b1.58 next to FP16 LLaMA: every figure of the report, with its tier."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from arch.config import Dataflow
from arch.model_shape import ModelShape
from arch.models import MODELS

from .costs import CostTable, Energy, Range, shared_ratio
from .evaluation import Evaluation, LayerResult, Workload, evaluate
from .ledger import LINES
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
    """A sentence on scope or on an assumption; figures refer to the latter by its `key`.

    A `caution` says what the totals leave out, or what they take from the user.
    """

    tier: Tier
    text: str
    key: str | None = None
    caution: bool = False


@dataclass(frozen=True, kw_only=True)
class Headline:
    """What the paper counts beside what a machine burns, in one phase.

    Attributes
    ----------
    phase : str
    arithmetic, system : Range
        FP16 LLaMA / BitNet b1.58: arithmetic alone; with memory and accumulators at their width.
    largest : tuple of (str, float)
        Key and share of the largest line of LLaMA's energy, and of BitNet's.
    text : str
        What dominates the energy of the whole machine, in a line.
    """

    phase: str
    arithmetic: Range
    system: Range
    largest: tuple[tuple[str, float], tuple[str, float]]
    text: str


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
    headlines : tuple of Headline
    """

    llama: Evaluation
    bitnet: Evaluation
    costs: CostTable
    figures: tuple[Figure, ...]
    rows: tuple[LayerRow, ...]
    notes: tuple[Note, ...]
    headlines: tuple[Headline, ...]

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
        notes=_notes(llama, bitnet, costs, figures),
        headlines=tuple(_headline(phase, figures, machine) for phase in llama.passes),
    )


def headlines_over(
    report: Report, name: str, values: Iterable[int]
) -> dict[int, tuple[Headline, ...]]:
    """The headlines of prefill and decode at other values of a field of the workload."""
    found = {}
    for value in values:
        workload = dataclasses.replace(
            report.llama.workload, **({"phase": "prefill"} | {name: value})
        )
        found[value] = build_report(
            report.llama.model, workload=workload, machine=report.llama.machine, costs=report.costs
        ).headlines
    return found


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
    spread = shared_ratio(*values) if tiers else None
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
    tier, head, kv = workspace_rule().tier, *map(_shown, (workload.head_weight, workload.kv))
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
    sides = [side.passes[phase].energies(side.prices) for side in (llama, bitnet)]
    inferred = (*inferred, ARRAY)
    parts = (
        _figure(*lines, line, label, JOULES, lambda energy: energy, inferred)
        for line, label in LINES.items()
        if (lines := [side[line] for side in sides]) and any(e.by_action for e in lines)
    )
    total = [sum(side.values(), start=Energy()) for side in sides]
    tokens = llama.passes[phase].tokens
    return _figure(
        *total,
        f"system_{phase}",
        f"With memory, {phase}, {tokens} token{'s' * (tokens > 1)}",
        JOULES,
        lambda energy: energy,
        inferred,
        parts=tuple(parts),
    )


def _headline(phase: str, figures: tuple[Figure, ...], machine: Machine) -> Headline:
    by_key = {figure.key: figure for figure in figures}
    paper, system = by_key["energy"], by_key[f"system_{phase}"]
    largest = []
    for side in ("llama", "bitnet"):
        part = max(system.parts, key=lambda part, side=side: getattr(part, side).nominal)
        share = getattr(part, side).nominal / getattr(system, side).nominal
        largest.append((part.key, share))
    (first, share), (second, other) = largest
    text = (
        f"{LINES[first]}: {share:.0%} of LLaMA's energy, {other:.0%} of BitNet's"
        if first == second
        else f"most is {LINES[first]} in LLaMA ({share:.0%}), {LINES[second]} in BitNet "
        f"({other:.0%})"
    )
    if first == second == "weights" and min(share, other) > 0.5:
        bits = machine.stored_bits("ternary")
        text += f"; at most {machine.stored_bits('fp16') / bits:.1f}x at {bits:g} bits a weight"
    return Headline(
        phase=phase,
        arithmetic=paper.ratio,
        system=system.ratio,
        largest=tuple(largest),
        text=f"{phase}: {text}",
    )


def times(ratio: Range | None) -> str:
    """A ratio such as 41.2x, and its range where there is one."""
    if ratio is None:
        return "-"
    low, nominal, high = (
        f"{value:.{2 if value < 10 else 1}f}x" for value in (ratio.low, ratio.nominal, ratio.high)
    )
    return nominal if low == high else f"{nominal} ({low} to {high})"


def _shown(dtype: str) -> str:
    return "FP16" if dtype == "fp16" else dtype


def _operations(prefix: str) -> Callable[[Evaluation], Energy]:
    return lambda e: e.arithmetic.only(lambda action: action.startswith(prefix))


def _notes(
    llama: Evaluation, bitnet: Evaluation, costs: CostTable, figures: tuple[Figure, ...]
) -> tuple[Note, ...]:
    """The inferred assumptions first, in the order in which figures name them."""
    model, machine, workload = llama.model, llama.machine, llama.workload
    workspace = workspace_rule()
    published = [f"{f.key}: {f.published.source}" for f in figures if f.published]
    return (
        Note(
            key=DIMENSIONS if model.inferred else None,
            tier=Tier.INFERRED if model.inferred else Tier.PUBLISHED,
            text=f"dimensions: {model.source.removeprefix('INFERRED: ')}",
        ),
        Note(
            key=PRECISION,
            tier=Tier.INFERRED,
            text="precision, in both: attention (full, not causal) and embedding FP16, key-value "
            f"cache {_shown(workload.kv)}, output head {_shown(workload.head_weight)}; BitNet adds "
            "one FP16 multiply by a scale for each input and output element of a ternary layer",
        ),
        Note(
            key=WORKSPACE,
            tier=workspace.tier,
            text="workspace: what the paper's memory figures hold beyond weights, embedding, head "
            f"and key-value cache; {workspace.source}",
        ),
        Note(key=ARRAY, tier=Tier.INFERRED, text=_array_note(machine)),
        Note(
            tier=Tier.DERIVED,
            text="energy has figure 3's scope, arithmetic of the decoder blocks: no embedding, no "
            "output head, no norms, no softmax, no memory traffic; every addition of a ternary "
            f"product is priced at 8 bits; costs `{costs.name}`",
        ),
        *([Note(tier=Tier.DERIVED, caution=True, text=costs.note)] if costs.note else []),
        *_system_notes(llama, bitnet),
        *_time_notes(llama),
        Note(tier=Tier.PUBLISHED, text=f"ratios: {'; '.join(published)}"),
    )


def _array_note(machine: Machine) -> str:
    if machine.array is None:
        return (
            f"roofline: peaks at {machine.peaks.efficiency:.0%}, bandwidth at "
            f"{machine.dram.efficiency:.0%} of what is published; ternary weights are multiplied "
            f"as {machine.compute['ternary']}"
        )
    other = machine.compute["ternary"]
    as_other = f"; ternary weights are multiplied as {other}" * (other != "ternary")
    return (
        "FP16 array: of the ternary array's shape, clock and pipeline, so that each product takes "
        f"the same cycles; it adds in FP16; attention and output head of both run on it{as_other}"
    )


def _system_notes(llama: Evaluation, bitnet: Evaluation) -> list[Note]:
    """On energy with memory: costs, what stays on chip, static power, what has no price."""
    machine, prices = llama.machine, bitnet.prices
    energies = [
        energy
        for side in (llama, bitnet)
        for one in side.passes.values()
        for energy in one.energies(side.prices).values()
    ]
    levels = {
        level: prices.cost(level)
        for level in ("hop_bits", "buffer_bits", "sram_bits", "dram_bits")
        if any(action.endswith(level) for e in energies for action in e.by_action)
    }
    if any("select" in e.by_action for e in energies):
        levels["select"] = prices.cost("select")
    notes = [
        Note(
            tier=weakest([Tier.DERIVED, *(cost.tier for cost in levels.values())]),
            text="with memory: every line of the machine, with the output head; a ternary sum at "
            "the width it has in the array; slots without a token hold still and cost registers "
            "only; ratios move each cost in both systems at once; "
            + "; ".join(f"{level}: {cost.source} ({cost.tier})" for level, cost in levels.items()),
        ),
        Note(
            tier=machine.static.tier,
            caution=True,
            text=f"static power: {si(machine.static.watts.nominal, 'W')}, {machine.static.source}; "
            "--leakage sets it",
        ),
    ]
    resident = [
        name
        for name, side in (("LLaMA", llama), ("BitNet", bitnet))
        if side.passes["decode"].resident
    ]
    if machine.sram.bytes:
        never = f"; all weights of {' and '.join(resident)} do, and cross never" * bool(resident)
        notes.append(
            Note(
                tier=machine.sram.tier,
                text=f"on-chip memory of {si(machine.sram.bytes, 'B')} ({machine.sram.source}): "
                "acts and psums that fit stay there, a layer's weights that fit cross the DRAM "
                f"interface once{never}",
            )
        )
    if unpriced := sorted({action for e in energies for action in e.unpriced}):
        notes.append(
            Note(
                tier=Tier.INFERRED,
                caution=True,
                text=f"unpriced: costs have no {', '.join(unpriced)}: unknown, not zero",
            )
        )
    return notes


def _time_notes(llama: Evaluation) -> list[Note]:
    machine, batch = llama.machine, llama.workload.batch
    what = "array cycles (arch.timing)" if machine.array else "operations at peak rate"
    stays = "" if machine.sram.bytes else "; nothing stays on chip between layers"
    notes = [
        Note(
            tier=Tier.DERIVED,
            text=f"decode latency adds up, over the layers, the longer of {what} and bytes at DRAM "
            f"bandwidth{stays}",
        )
    ]
    if machine.array:
        rates = [
            si(rate, "B/s")
            for rate in (
                machine.weight_bytes_per_s("ternary"),
                machine.weight_bytes_per_s("fp16"),
                machine.dram.bytes_per_s,
            )
        ]
        array = machine.array
        output = array.dataflow == Dataflow.OUTPUT_STATIONARY
        held = f"; at batch {batch}, {min(batch, array.rows)} of {array.rows} rows hold a token"
        notes.append(
            Note(
                tier=Tier.DERIVED,
                text=f"weights enter the array at up to {rates[0]} "
                f"({machine.stored_bits('ternary'):g} bit) or {rates[1]} (FP16), the DRAM delivers "
                f"{rates[2]}{held * output}",
            )
        )
    if machine.dram.bytes and llama.memory_bytes > machine.dram.bytes:
        notes.append(
            Note(
                tier=Tier.DERIVED,
                caution=True,
                text=f"FP16 LLaMA needs more than the {si(machine.dram.bytes, 'B')} of one such "
                "memory: take it as several, side by side in capacity but not in bandwidth",
            )
        )
    return notes
