"""One model in one number format on one machine: energy, memory and time, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from tritloom.arch.counts import product_counts, scale_counts
from tritloom.arch.errors import InputError, require_int, require_one_of
from tritloom.arch.models.shape import ModelShape
from tritloom.arch.models.trace import MAX_CONTEXT, build_trace
from tritloom.arch.ternary import TRIT2, Packing
from tritloom.arch.workload import DTYPE_BITS, DTYPES, KV_DTYPES, PHASES, Layer, Trace
from tritloom.energy_model.costs.table import CostTable, Energy, price
from tritloom.energy_model.published import workspace_bytes

from .ledger import Pass, run_pass
from .machine import NO_RUN, LayerTime, Machine

FP16_BYTES = DTYPE_BITS["fp16"] // 8


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What a model is asked to do: phase, batch, context and number formats.

    Attributes
    ----------
    phase : "prefill" or "decode"
        The pass whose energy is counted.
    batch : int
        Sequences side by side.
    context : int
        Tokens of each sequence: run at once in prefill, cached in decode.
    kv : "fp16", "int8" or "int4"
        Dtype of the cached keys and values.
    head_weight : "fp16", "int8" or "ternary"
        Dtype of the output head.

    Raises
    ------
    InputError
        A text is unknown, or a number out of its range.
    """

    phase: str = "prefill"
    batch: int = 1
    context: int = 512
    kv: str = "fp16"
    head_weight: str = "fp16"

    def __post_init__(self):
        for name, known in (("phase", PHASES), ("kv", KV_DTYPES), ("head_weight", DTYPES)):
            require_one_of(name, getattr(self, name), known)
        require_int("batch", self.batch, high=1 << 20)
        require_int("context", self.context, high=MAX_CONTEXT)

    def trace(self, model: ModelShape, *, weight: str, phase: str, head: bool = True) -> Trace:
        """What a pass through `model` computes, with the output head or without."""
        return build_trace(
            model,
            weight=weight,
            phase=phase,
            batch=self.batch,
            context=self.context,
            kv=self.kv,
            head=head,
            head_weight=self.head_weight,
        )


class Placed(NamedTuple):
    """A layer of a pass on the roofline of its machine.

    Attributes
    ----------
    name : str
    ops : int
        Over all occurrences; a multiply-accumulate is two.
    ops_per_byte : float
        Operations for each byte that crosses the memory interface.
    ops_per_s : float
    """

    name: str
    ops: int
    ops_per_byte: float
    ops_per_s: float


@dataclass(frozen=True, kw_only=True)
class LayerResult:
    """What one layer of a trace costs, over all its occurrences.

    Attributes
    ----------
    layer : Layer
        The layer in the pass whose energy is counted; the output head, whose energy is not, in a
        decode step.
    product, scale : Energy
        Arithmetic of the matrix product and of its quantisation scales; nothing where the layer is
        outside figure 3's scope.
    memory_bytes : int
        Bytes of the layer's weights, or of its part of the key-value cache.
    time : LayerTime
        What the layer takes in one decode step.
    """

    layer: Layer
    product: Energy
    scale: Energy
    memory_bytes: int
    time: LayerTime

    @property
    def arithmetic(self) -> Energy:
        """Energy of the product with weights; nothing for attention."""
        return self.product if self.layer.trained else Energy()

    @property
    def energy(self) -> Energy:
        """Energy of all arithmetic of the layer."""
        return self.product + self.scale

    @property
    def latency_s(self) -> float:
        """Seconds of the layer in one decode step."""
        return self.time.latency_s

    @property
    def bound(self) -> str:
        """What binds the latency: "compute" or "dram"."""
        return self.time.bound

    @property
    def scope(self) -> tuple[str, ...]:
        """The totals that the layer belongs to."""
        if self.layer.name == "lm_head":
            return ("memory", "latency")
        every = ("energy", "memory", "latency")
        return ("arithmetic", *every) if self.layer.trained else every


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A model in one number format on one machine; its totals are sums over its layers.

    Attributes
    ----------
    model : ModelShape
    weight : "ternary" or "fp16"
        Dtype of the blocks' weights.
    workload : Workload
    machine : Machine
    tokens : int
        Tokens of the pass whose energy is counted, over all sequences.
    layers : tuple of LayerResult
        Results in the order of the trace.
    passes : mapping of phase to Pass
        The pass whose energy is counted, and a decode step; with the output head and with memory.
    prices : CostTable
        Costs of the passes: with the machine's own, and estimates of what has no price.
    """

    model: ModelShape
    weight: str
    workload: Workload
    machine: Machine
    tokens: int
    layers: tuple[LayerResult, ...]
    passes: Mapping[str, Pass]
    prices: CostTable

    @property
    def arithmetic(self) -> Energy:
        """Energy of the products with weights."""
        return sum((r.arithmetic for r in self.layers), start=Energy())

    @property
    def attention(self) -> Energy:
        """Energy of the arithmetic of attention's products."""
        return sum((r.product for r in self.layers if not r.layer.trained), start=Energy())

    @property
    def scale(self) -> Energy:
        """Energy of the multiplies by quantisation scales."""
        return sum((r.scale for r in self.layers), start=Energy())

    @property
    def energy(self) -> Energy:
        """Energy of the arithmetic of the decoder blocks: figure 3's end-to-end energy."""
        return sum((r.energy for r in self.layers), start=Energy())

    @property
    def block_bytes(self) -> int:
        """Bytes of the weights of the decoder blocks."""
        return sum(r.memory_bytes for r in self.layers if "arithmetic" in r.scope)

    @property
    def cache_bytes(self) -> int:
        """Bytes of the keys and values of all sequences."""
        return sum(r.memory_bytes for r in self.layers if not r.layer.trained)

    @property
    def head_bytes(self) -> int:
        """Bytes of the output head."""
        return sum(r.memory_bytes for r in self.layers if r.layer.name == "lm_head")

    @property
    def embedding_bytes(self) -> int:
        """Bytes of the input embedding; none where an FP16 head shares it."""
        shared = self.model.tied and self.workload.head_weight == "fp16"
        return 0 if shared else FP16_BYTES * self.model.vocab * self.model.hidden

    @property
    def workspace_bytes(self) -> float:
        """Bytes that the paper's memory figures hold beyond weights and key-value cache."""
        return workspace_bytes(self.model)

    @property
    def memory_bytes(self) -> float:
        """Bytes of everything that must be in memory."""
        layers = sum(r.memory_bytes for r in self.layers)
        return layers + self.embedding_bytes + self.workspace_bytes

    @property
    def latency_s(self) -> float:
        """Seconds of one decode step: its layers one after the other."""
        return sum(r.latency_s for r in self.layers)

    @property
    def compute_s(self) -> float:
        """Seconds of one decode step of the arrays alone, as if the DRAM were never awaited."""
        return sum(r.time.compute_s for r in self.layers)

    @property
    def dram_s(self) -> float:
        """Seconds of one decode step of the DRAM alone, as if the arrays were never awaited."""
        return sum(r.time.dram_s for r in self.layers)

    @property
    def bound(self) -> str:
        """What binds the larger part of the latency: "compute" or "dram"."""
        by_compute = sum(r.latency_s for r in self.layers if r.bound == "compute")
        return "compute" if by_compute >= self.latency_s / 2 else "dram"

    @property
    def tokens_per_s(self) -> float:
        """Tokens decoded a second, over all sequences."""
        return self.workload.batch / self.latency_s


def evaluate(
    model: ModelShape, *, weight: str, workload: Workload, machine: Machine, costs: CostTable
) -> Evaluation:
    """Evaluate a model in one number format on one machine.

    Raises
    ------
    InputError
        `costs` lacks an operation that the model needs, or a layer does not fit the machine.
    """
    priced = workload.trace(model, weight=weight, phase=workload.phase, head=False)
    whole = {
        phase: workload.trace(model, weight=weight, phase=phase)
        for phase in dict.fromkeys((workload.phase, "decode"))
    }
    decode = whole["decode"]
    resident = machine.holds(decode)
    passes = {layer.name: layer for layer in priced}
    steps = {layer.name: layer for layer in decode}
    results = []
    # The groups of tokens that experts take may differ between the passes.
    for name, either in (passes | steps).items():
        of_pass, step = passes.get(name), steps.get(name)
        results.append(
            LayerResult(
                layer=of_pass or either,
                product=price(product_counts(of_pass), costs) if of_pass else Energy(),
                scale=price(scale_counts(of_pass), costs) if of_pass else Energy(),
                memory_bytes=stored_bytes(step, machine.packing) if step else 0,
                time=machine.run(step, resident=resident) if step else NO_RUN,
            )
        )
    for result in results:
        for action in result.energy.unpriced:
            raise InputError(f"costs {costs.name!r} have no {action}, which {model.name} needs")
    return Evaluation(
        model=model,
        weight=weight,
        workload=workload,
        machine=machine,
        tokens=priced.tokens,
        layers=tuple(results),
        passes={phase: run_pass(model, trace, machine) for phase, trace in whole.items()},
        prices=machine.prices(costs),
    )


def roofline(evaluation: Evaluation, phase: str) -> tuple[Placed, ...]:
    """Layers that read or write the DRAM in one of the passes of an evaluation."""
    one, machine = evaluation.passes[phase], evaluation.machine
    trace = evaluation.workload.trace(evaluation.model, weight=evaluation.weight, phase=phase)
    placed = []
    for layer in trace:
        run, ops = machine.run(layer, resident=one.resident), 2 * layer.macs
        if run.dram_bytes:
            placed.append(Placed(layer.name, ops, ops / run.dram_bytes, ops / run.latency_s))
    return tuple(placed)


def stored_bytes(layer: Layer, packing: Packing = TRIT2) -> int:
    """Bytes in memory for a layer: its weights, or its keys or values without their scales."""
    if layer.weight == "ternary":
        return layer.stored * layer.gemm.n * packing.packed_bytes(layer.gemm.k)
    return layer.stored_elements * DTYPE_BITS[layer.weight] // 8
