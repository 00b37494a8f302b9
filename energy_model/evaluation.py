"""One model in one number format on one machine: energy, memory and time, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass

from arch.counts import product_counts, scale_counts
from arch.errors import InputError, require_int
from arch.ternary import TRIT2
from arch.workload import PHASES, Layer, ModelShape, build_trace

from .costs import CostTable, Energy, price
from .machine import LayerTime, Machine
from .paper import workspace_bytes

FP16_BYTES = 2


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What the model is asked to do.

    Attributes
    ----------
    phase : "prefill" or "decode"
        Of the pass whose energy is counted.
    batch : int
        Sequences side by side.
    context : int
        Tokens of each sequence: run at once in prefill, cached in decode.
    """

    phase: str = "prefill"
    batch: int = 1
    context: int = 512

    def __post_init__(self):
        if self.phase not in PHASES:
            raise InputError(f"phase must be one of {', '.join(PHASES)}, not {self.phase!r}")
        require_int("batch", self.batch, high=1 << 20)
        require_int("context", self.context, high=1 << 24)


@dataclass(frozen=True, kw_only=True)
class LayerResult:
    """What one layer of a trace costs, over all its occurrences.

    Attributes
    ----------
    layer : Layer
        As in the pass whose energy is counted; the output head, whose energy is not, as in decode.
    product, scale : Energy
        Arithmetic of the matrix product and of its quantisation scales; nothing where the layer is
        outside figure 3's scope.
    memory_bytes : int
        Of its weights, or of its part of the key-value cache.
    time : LayerTime
        In one decode step.
    """

    layer: Layer
    product: Energy
    scale: Energy
    memory_bytes: int
    time: LayerTime

    @property
    def arithmetic(self) -> Energy:
        """Of the product with weights; nothing for attention."""
        return self.product if self.layer.stationary else Energy()

    @property
    def energy(self) -> Energy:
        """All arithmetic of the layer."""
        return self.product + self.scale

    @property
    def latency_s(self) -> float:
        """In one decode step."""
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
        return ("arithmetic", *every) if self.layer.stationary else every


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
        Of the pass whose energy is counted, over all sequences.
    layers : tuple of LayerResult
        In the order of the trace.
    """

    model: ModelShape
    weight: str
    workload: Workload
    machine: Machine
    tokens: int
    layers: tuple[LayerResult, ...]

    @property
    def arithmetic(self) -> Energy:
        """Of the products with weights."""
        return sum((r.arithmetic for r in self.layers), start=Energy())

    @property
    def attention(self) -> Energy:
        """Arithmetic of attention's products."""
        return sum((r.product for r in self.layers if not r.layer.stationary), start=Energy())

    @property
    def scale(self) -> Energy:
        """Arithmetic of the quantisation scales."""
        return sum((r.scale for r in self.layers), start=Energy())

    @property
    def energy(self) -> Energy:
        """Arithmetic of the decoder blocks: figure 3's end-to-end energy."""
        return sum((r.energy for r in self.layers), start=Energy())

    @property
    def block_bytes(self) -> int:
        """Of the weights of the decoder blocks."""
        return sum(r.memory_bytes for r in self.layers if "arithmetic" in r.scope)

    @property
    def cache_bytes(self) -> int:
        """Of the keys and values of all sequences."""
        return sum(r.memory_bytes for r in self.layers if not r.layer.stationary)

    @property
    def head_bytes(self) -> int:
        """Of the output head."""
        return sum(r.memory_bytes for r in self.layers if r.layer.name == "lm_head")

    @property
    def embedding_bytes(self) -> int:
        """Of the input embedding, which is no matrix product and so no layer."""
        return FP16_BYTES * self.model.embedding_weights - self.head_bytes

    @property
    def workspace_bytes(self) -> float:
        """Of what the paper's memory figures hold beyond weights and key-value cache."""
        return workspace_bytes(self.model)

    @property
    def memory_bytes(self) -> float:
        """Everything that must be in memory."""
        layers = sum(r.memory_bytes for r in self.layers)
        return layers + self.embedding_bytes + self.workspace_bytes

    @property
    def latency_s(self) -> float:
        """One decode step: its layers one after the other."""
        return sum(r.latency_s for r in self.layers)

    @property
    def compute_s(self) -> float:
        """One decode step of the arrays alone, as if the DRAM were never awaited."""
        return sum(r.time.compute_s for r in self.layers)

    @property
    def dram_s(self) -> float:
        """One decode step of the DRAM alone, as if the arrays were never awaited."""
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
    size = {"weight": weight, "batch": workload.batch, "context": workload.context}
    priced = build_trace(model, phase=workload.phase, head=False, **size)
    by_name = {layer.name: layer for layer in priced}
    results = []
    for layer in build_trace(model, phase="decode", head=True, **size):
        of_pass = by_name.get(layer.name)
        results.append(
            LayerResult(
                layer=of_pass or layer,
                product=price(product_counts(of_pass), costs) if of_pass else Energy(),
                scale=price(scale_counts(of_pass), costs) if of_pass else Energy(),
                memory_bytes=stored_bytes(layer, model, workload),
                time=machine.run(layer),
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
    )


def stored_bytes(layer: Layer, model: ModelShape, workload: Workload) -> int:
    """Bytes in memory for a layer of the decode trace: its weights, or its keys or values."""
    gemm = layer.gemm
    if not layer.stationary:
        cached = model.layers * workload.batch * workload.context * model.kv_features
        return FP16_BYTES * cached
    if layer.weight == "ternary":
        return layer.count * gemm.n * TRIT2.packed_bytes(gemm.k)
    return layer.count * gemm.n * gemm.k * FP16_BYTES
