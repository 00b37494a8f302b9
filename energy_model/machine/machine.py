"""Machines that a model runs on: what they are made of, and what a layer takes on them."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from tritloom.arch.config import ArrayConfig
from tritloom.arch.counts import (
    access_counts,
    mac_counts,
    operand_counts,
    operation_counts,
    traffic_counts,
)
from tritloom.arch.errors import InputError
from tritloom.arch.ternary import TRIT2, Packing
from tritloom.arch.tiling import make_plan
from tritloom.arch.timing import gemm_cycles
from tritloom.arch.workload import DTYPE_BITS, Gemm, Layer
from tritloom.energy_model.costs.range import Range
from tritloom.energy_model.costs.table import Cost, CostTable, estimates
from tritloom.energy_model.costs.tiers import Tier

from .line import Line

# The number format of the array that computes a product, by that of its trained weights.
COMPUTE = {"ternary": "ternary", "int8": "int8", "fp16": "fp16"}
# Bits of a weight in memory, ternary ones as trit2.
WEIGHT_BITS = {"ternary": TRIT2.bits_per_trit, **DTYPE_BITS}
# Lines of a product and its operand: where that is a trained weight, and where not.
_LINES = {
    True: (Line.PRODUCTS, Line.ACCUMULATORS, Line.WEIGHTS),
    False: (Line.ATTENTION, Line.ATTENTION, Line.KV_CACHE),
}


@dataclass(frozen=True, kw_only=True)
class Dram:
    """External memory.

    Attributes
    ----------
    name, title : str
    bytes_per_s : float
        Peak bandwidth.
    source : str
        Where bandwidth and capacity are from.
    tier : Tier
    bytes : float or None
        Capacity.
    energy : Cost or None
        Energy of a bit; the cost table's where there is none.
    efficiency : float
        Share of the peak that is reached: 1 unless a file states another, INFERRED.
    """

    name: str
    title: str
    bytes_per_s: float
    source: str
    tier: Tier
    bytes: float | None = None
    energy: Cost | None = None
    efficiency: float = 1.0

    def __post_init__(self):
        if not self.bytes_per_s > 0:
            raise InputError(f"bytes_per_s of {self.name} must be above 0, not {self.bytes_per_s}")

    @property
    def capacity_bytes(self) -> float:
        """The stated capacity; `InputError` where none is."""
        if self.bytes is None:
            raise InputError(f"{self.name} states no capacity")
        return self.bytes


@dataclass(frozen=True, kw_only=True)
class Peaks:
    """Operations a second of a machine without cycles, by number format.

    Attributes
    ----------
    ops_per_s : mapping of "fp16" and "int8" to float
        Dense; a multiply-accumulate is two.
    efficiency : float
        Share of the peak that is reached: 1 unless a file states another, INFERRED.
    tier : Tier
    source : str

    Raises
    ------
    InputError
        A rate or the efficiency is out of range, or a number format has no rate.
    """

    ops_per_s: Mapping[str, float]
    efficiency: float
    tier: Tier
    source: str

    def __post_init__(self):
        if set(self.ops_per_s) != {"fp16", "int8"}:
            formats = ", ".join(self.ops_per_s) or "none"
            raise InputError(f"peaks must be those of fp16 and int8, not of {formats}")
        for dtype, rate in self.ops_per_s.items():
            if not rate > 0:
                raise InputError(f"peak of {dtype} must be above 0, not {rate}")
        if not 0 < self.efficiency <= 1:
            raise InputError(f"efficiency must be above 0 and at most 1, not {self.efficiency}")


@dataclass(frozen=True, kw_only=True)
class Static:
    """Power that is drawn whatever is computed: leakage, or a board's idle power, in watts."""

    watts: Range
    tier: Tier
    source: str

    @classmethod
    def given(cls, watts: float) -> Static:
        """Static power as a user states it."""
        return cls(watts=Range.point(watts), tier=Tier.INFERRED, source="as given")


NO_LEAKAGE = Static(
    watts=Range(),
    tier=Tier.INFERRED,
    source="a free parameter: there is no reliable published figure for SRAM at 7 nm",
)


@dataclass(frozen=True, kw_only=True)
class Sram:
    """On-chip memory besides the buffers of the array."""

    bytes: float
    tier: Tier
    source: str


NO_SRAM = Sram(bytes=0.0, tier=Tier.INFERRED, source="none besides the array's buffers")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A machine: what computes, and the memories beside it.

    Attributes
    ----------
    name, title : str
    dram : Dram
    engine : ArrayConfig or Peaks
        The ternary array, beside which stand arrays of the other number formats, of the same
        shape, clock and pipeline; or the peaks of a roofline, which has no array.
    packing : Packing
        How ternary weights lie in memory.
    compute : mapping of str to str
        The format whose array computes products of int8 acts with weights of that dtype. Products
        of FP16 acts are computed in FP16.
    sram : Sram
    costs : mapping of action to Cost
        Costs that differ from the cost table's.
    static : Static

    Raises
    ------
    TypeError
        The engine is neither of the two.
    """

    name: str
    title: str = ""
    dram: Dram
    engine: ArrayConfig | Peaks
    packing: Packing = TRIT2
    compute: Mapping[str, str] = field(default_factory=lambda: COMPUTE)
    sram: Sram = NO_SRAM
    costs: Mapping[str, Cost] = field(default_factory=dict)
    static: Static = NO_LEAKAGE

    def __post_init__(self):
        if not isinstance(self.engine, ArrayConfig | Peaks):
            kind = type(self.engine).__name__
            raise TypeError(f"engine of {self.name} must be an ArrayConfig or Peaks, not {kind}")

    @property
    def is_roofline(self) -> bool:
        """Whether peaks stand in for an array."""
        return isinstance(self.engine, Peaks)

    @property
    def array(self) -> ArrayConfig:
        """The ternary array; `InputError` for a roofline."""
        if not isinstance(self.engine, ArrayConfig):
            raise InputError(f"{self.name} is a roofline, which has no array")
        return self.engine

    @property
    def peaks(self) -> Peaks:
        """The peaks of a roofline; `InputError` for arrays."""
        if not isinstance(self.engine, Peaks):
            raise InputError(f"{self.name} has arrays, which have cycles instead of peaks")
        return self.engine

    @functools.cached_property
    def arrays(self) -> Mapping[str, ArrayConfig]:
        """The array of each number format.

        An FP16 accumulator has no reduction length at which it must overflow.
        """
        fp16 = self.array.replace(act_bits=16, max_k=1 << 30)
        return {"ternary": self.array, "int8": self.array, "fp16": fp16}

    @property
    def peak_ops_per_s(self) -> dict[str, float]:
        """Peak rate of each number format; a multiply-accumulate is two operations."""
        if isinstance(self.engine, Peaks):
            peaks = self.engine
            return {dtype: peaks.efficiency * rate for dtype, rate in peaks.ops_per_s.items()}
        array = self.engine
        rate = 2 * array.rows * array.cols * array.lanes * array.clock_hz
        return dict.fromkeys((self.compute["ternary"], "fp16"), rate)

    def prices(self, costs: CostTable) -> CostTable:
        """What actions cost here: this machine's own costs, the table's, or estimates.

        They do not depend on the array: a sweep over shapes asks product.
        """
        own = {**self.costs, **({"dram_bits": self.dram.energy} if self.dram.energy else {})}
        entries = {**estimates().entries, **costs.entries, **own}
        return CostTable(name=costs.name, node=costs.node, entries=entries)

    def stored_bits(self, dtype: str) -> float:
        """Bits of an operand of that format in memory; of ternary ones, those of the packing."""
        return self.packing.bits_per_trit if dtype == "ternary" else WEIGHT_BITS[dtype]

    def weight_bytes_per_s(self, weight: str) -> float:
        """Bandwidth at which the array of that dtype takes weights."""
        per_cycle = self.array.cols * self.array.lanes * self.stored_bits(weight) / 8
        return per_cycle * self.array.clock_hz

    def holds(self, layers) -> bool:
        """Whether all trained weights of some layers fit into the on-chip memory."""
        if not self.sram.bytes:
            return False
        bits = sum(
            layer.stored_elements * self.stored_bits(layer.weight)
            for layer in layers
            if layer.trained
        )
        return bits / 8 <= self.sram.bytes

    def run(self, layer: Layer, *, resident: bool = False) -> LayerTime:
        """What all occurrences of a layer take, one after the other.

        Parameters
        ----------
        resident : bool
            Whether trained weights are in the on-chip memory beforehand.

        Notes
        -----
        Acts and psums cross the DRAM interface at every layer unless both fit on chip: psums of
        integers at full width, since scales are applied after the array, FP16 ones at 16 bits.
        Weights cross once for each group of tokens, or once where the layer's matrix fits beside
        acts and psums, or never where they are resident. A roofline reads them product.
        """
        product = self._product(layer, resident and layer.trained)
        count = layer.count
        # Query heads that share keys and values read them product.
        shared = layer.touched
        dram_bytes = (count * product.dram_bits + shared * product.operand_bits) / 8
        return LayerTime(
            product=product,
            occurrences=count,
            shared=shared,
            cycles=count * product.cycles,
            dram_bytes=dram_bytes,
            compute_s=count * product.compute_s,
            dram_s=dram_bytes / (self.dram.bytes_per_s * self.dram.efficiency),
        )

    def computes(self, layer: Layer) -> str:
        """The number format whose array computes a layer."""
        return "fp16" if layer.act == "fp16" else self.compute[layer.weight]

    def _product(self, layer: Layer, resident: bool) -> ProductRun:
        dtype = self.computes(layer)
        if isinstance(self.engine, Peaks):
            if dtype not in self.engine.ops_per_s:
                raise InputError(
                    f"{self.name} has no peak of {dtype}: compute must say what "
                    f"{layer.weight} weights are multiplied as"
                )
            return _on_roofline(
                self.engine.ops_per_s[dtype] * self.engine.efficiency,
                layer.gemm,
                dtype,
                0 if resident else self.stored_bits(layer.weight),
                DTYPE_BITS["fp16" if layer.act == "fp16" else "int8"],
                layer.trained,
            )
        config = self.arrays[dtype]
        return _on_array(
            config,
            layer.gemm,
            dtype,
            self.stored_bits(layer.weight),
            DTYPE_BITS["fp16"] if layer.act == "fp16" else self.engine.act_bits,
            layer.trained,
            self.sram.bytes,
            resident,
        )


class ProductRun(NamedTuple):
    """What one occurrence of a layer's matrix product takes on a machine.

    Attributes
    ----------
    dtype : str
        The format that computes it.
    cycles : int
        Cycles of the array, `arch.timing.gemm_cycles`; 0 for a roofline.
    compute_s : float
    actions : tuple of ((line of the ledger, action), count)
    operand : tuple of ((line of the ledger, action), count)
        Actions of the memories for the operand that enters as weights.
    dram_bits, operand_bits : int
        Bits of acts and psums, and of that operand, across the memory interface.
    """

    dtype: str
    cycles: int
    compute_s: float
    actions: tuple[tuple[tuple[Line, str], int], ...]
    operand: tuple[tuple[tuple[Line, str], int], ...]
    dram_bits: int
    operand_bits: int


def accumulator_bits(config: ArrayConfig, dtype: str) -> int:
    """Width of a sum of products in the array for that number format."""
    return {"int8": 32, "fp16": 16}.get(dtype, config.psum_bits)


@functools.lru_cache(maxsize=1 << 15)
def _on_array(
    config: ArrayConfig,
    gemm: Gemm,
    dtype: str,
    weight_bits: float,
    act_bits: int,
    trained: bool,
    sram_bytes: float,
    resident: bool,
) -> ProductRun:
    plan = make_plan(config, gemm)
    psum_bits = accumulator_bits(config, dtype)
    trees, accumulators = operation_counts(plan, dtype, padded=False)
    accesses = access_counts(
        plan, weight_bits=int(WEIGHT_BITS[dtype]), act_bits=config.act_bits, psum_bits=psum_bits
    )
    bits = traffic_counts(
        plan,
        weight_bits=weight_bits,
        act_bits=act_bits,
        psum_bits=psum_bits,
        padded=trained,
        passes=1,
    )
    acts, psums, matrix = (bits[f"{what}_dram_bits"] for what in ("act", "psum", "weight"))
    room, groups = 8 * sram_bytes, plan.token_groups
    inside = acts + psums <= room
    held = resident or matrix <= room - inside * (acts + psums)
    from_dram = (0 if resident else 1) if held else groups
    products, adders, weights = _LINES[trained]
    actions = [((products, action), count) for action, count in trees.items()]
    actions += [((adders, action), count) for action, count in accumulators.items()]
    actions += [
        ((Line.REGISTERS if action.endswith("_hop_bits") else Line.SRAM, action), count)
        for action, count in accesses.items()
    ]
    if inside:
        actions += [((Line.SRAM, "act_sram_bits"), acts), ((Line.SRAM, "psum_sram_bits"), psums)]
    else:
        actions += [((Line.ACTS, "act_dram_bits"), acts), ((Line.PSUMS, "psum_dram_bits"), psums)]
    operand = [((weights, "weight_dram_bits"), from_dram * matrix)]
    if held:
        # Written once, unless it is there beforehand, and read by every group of tokens.
        operand.append(((Line.SRAM, "weight_sram_bits"), (from_dram + groups) * matrix))
    cycles = gemm_cycles(plan)
    return ProductRun(
        dtype=dtype,
        cycles=cycles,
        compute_s=cycles / config.clock_hz,
        actions=tuple(actions),
        operand=tuple(operand),
        dram_bits=0 if inside else acts + psums,
        operand_bits=from_dram * matrix,
    )


@functools.lru_cache(maxsize=1 << 15)
def _on_roofline(
    rate: float, gemm: Gemm, dtype: str, weight_bits: float, act_bits: int, trained: bool
) -> ProductRun:
    weights = gemm.k * gemm.n
    bits = operand_counts(
        gemm, weights=weights, weight_bits=weight_bits, act_bits=act_bits, psum_bits=16
    )
    acts, psums, matrix = (bits[f"{what}_dram_bits"] for what in ("act", "psum", "weight"))
    products, _, weights_line = _LINES[trained]
    return ProductRun(
        dtype=dtype,
        cycles=0,
        compute_s=2 * gemm.macs / rate,
        actions=(
            *(((products, action), n) for action, n in mac_counts(dtype, gemm.macs).items()),
            ((Line.ACTS, "act_dram_bits"), acts),
            ((Line.PSUMS, "psum_dram_bits"), psums),
            ((Line.SRAM, "act_buffer_bits"), acts),
            ((Line.SRAM, "psum_buffer_bits"), psums),
        ),
        operand=(
            ((weights_line, "weight_dram_bits"), matrix),
            ((Line.SRAM, "weight_buffer_bits"), matrix),
        ),
        dram_bits=acts + psums,
        operand_bits=matrix,
    )


class LayerTime(NamedTuple):
    """A layer on a machine: compute and memory traffic overlap, so the longer one counts.

    Attributes
    ----------
    product : ProductRun
        One occurrence.
    occurrences, shared : int
        How often the product occurs, and how often with an operand of its own as weights.
    cycles : int
        Cycles of all occurrences together.
    dram_bytes : float
    compute_s, dram_s : float
        Seconds of computing alone, and of memory traffic alone.
    """

    product: ProductRun
    occurrences: int
    shared: int
    cycles: int
    dram_bytes: float
    compute_s: float
    dram_s: float

    @property
    def latency_s(self) -> float:
        """Seconds of the layer: the longer of compute and memory traffic."""
        return max(self.compute_s, self.dram_s)

    @property
    def bound(self) -> str:
        """What binds the latency: "compute" or "dram"."""
        return "compute" if self.compute_s >= self.dram_s else "dram"


# The time of a layer that a pass has not.
_NOTHING = ProductRun("fp16", 0, 0.0, (), (), 0, 0)
NO_RUN = LayerTime(_NOTHING, 0, 0, 0, 0.0, 0.0, 0.0)
