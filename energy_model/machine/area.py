"""Area of a machine at 7 nm: a proxy, PROJECTED, until a layout of a PE gives a figure.

In it: operators and registers of the arrays, their act and psum buffers, and other on-chip memory.
Not in it: pipeline registers of the trees, vector units, unpackers, control, wires, pads, DRAM.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tritloom.arch.config import ArrayConfig, Dataflow
from tritloom.arch.counts import access_counts, operation_counts
from tritloom.arch.tiling import make_plan
from tritloom.arch.workload import DTYPE_BITS, Gemm
from tritloom.energy_model.costs import datafile
from tritloom.energy_model.costs.range import Range
from tritloom.energy_model.costs.tiers import Tier

from .machine import WEIGHT_BITS, accumulator_bits

TIER = Tier.PROJECTED
SCOPE = (
    "operators and registers of the arrays, act and psum buffers (buffer_tokens and max_k decide "
    "over weight-stationary ones), other on-chip memory; at 7 nm"
)
_MM2_PER_UM2 = 1e-6


@dataclass(frozen=True, kw_only=True)
class AreaTable:
    """Areas that `data/area.yaml` states.

    Attributes
    ----------
    um2 : mapping of str to float
        Areas of operators, and of a register's bit, at 45 nm.
    shrink : Range
        Area at 7 nm over that at 45 nm.
    sram_mm2_per_byte : Range
        Area of a byte of on-chip memory at 7 nm.
    sources : tuple of str
    """

    um2: Mapping[str, float]
    shrink: Range
    sram_mm2_per_byte: Range
    sources: tuple[str, ...]

    def operator_um2(self, action: str) -> float:
        """Area of what computes that action, at 45 nm."""
        if action in self.um2:
            return self.um2[action]
        narrow, wide = self.um2["add_int8"], self.um2["add_int32"]
        return narrow + (int(action.removeprefix("add_int")) - 8) * (wide - narrow) / (32 - 8)


@functools.cache
def area_table() -> AreaTable:
    """The areas of `data/area.yaml`."""
    content = datafile.read_yaml(datafile.DATA / "area.yaml")
    um2, shrink, sram = (content.record(k) for k in ("um2_at_45nm", "shrink", "sram_mb_per_mm2"))
    sparse, dense = (1e-6 / sram.positive(level) for level in ("low", "high"))
    return AreaTable(
        um2={name: um2.positive(name) for name in um2},
        shrink=Range(**{level: shrink.positive(level) for level in shrink}),
        sram_mm2_per_byte=Range(low=dense, nominal=math.sqrt(sparse * dense), high=sparse),
        sources=tuple(content.text(f"{name}_source") for name in ("um2", "shrink", "sram")),
    )


@functools.lru_cache(maxsize=1 << 12)
def array_area(config: ArrayConfig, sram_bytes: float, formats: frozenset[str]) -> Range:
    """Square millimetres of an array for each of some number formats, and of on-chip memory.

    Parameters
    ----------
    config : ArrayConfig
        The ternary array; those of other formats have its shape.
    sram_bytes : float
        Bytes of on-chip memory besides the buffers.
    formats : frozenset of "ternary", "int8" and "fp16"
    """
    table, logic = area_table(), sum(_array_um2(config, dtype) for dtype in sorted(formats))
    held = sram_bytes + _buffer_bits(config, formats) / 8
    return _MM2_PER_UM2 * logic * table.shrink + held * table.sram_mm2_per_byte


@functools.lru_cache(maxsize=1 << 12)
def _array_um2(config: ArrayConfig, dtype: str) -> float:
    """Area of operators and registers of an array of that format, at 45 nm."""
    if dtype == "fp16":
        config = config.replace(act_bits=16, max_k=1 << 30)
    output = config.dataflow == Dataflow.OUTPUT_STATIONARY
    # One beat uses every operator once, and clocks every register of acts and of weights: a whole
    # tile streams also where its Gemm fills less.
    features = min(config.slices_per_tile * config.lanes, config.max_k)
    plan = make_plan(config, Gemm(config.rows if output else 1, features, config.cols))
    psum_bits = accumulator_bits(config, dtype)
    hops = access_counts(
        plan, weight_bits=int(WEIGHT_BITS[dtype]), act_bits=config.act_bits, psum_bits=psum_bits
    )
    pes = config.rows * config.cols
    held = pes * config.lanes * int(WEIGHT_BITS[dtype])
    # A psum's accumulator and drain register, or trits in shadow and active registers.
    bits = hops["act_hop_bits"] + (held + 2 * pes * psum_bits if output else 2 * held)
    if not output:
        bits += pes * psum_bits
    table = area_table()
    trees, accumulators = operation_counts(plan, dtype)
    operators = (*trees.items(), *accumulators.items())
    um2 = sum(count * table.operator_um2(action) for action, count in operators)
    return um2 + bits * table.um2["register_bit"]


def _buffer_bits(config: ArrayConfig, formats: Iterable[str]) -> int:
    """Bits of act buffer and psum buffer, which the arrays of all formats share."""
    act_bits = DTYPE_BITS["fp16"] if "fp16" in formats else config.act_bits
    acts = config.act_buffer_beats * config.rows * config.lanes * act_bits
    if config.dataflow == Dataflow.OUTPUT_STATIONARY:
        return acts
    widest = max(accumulator_bits(config, dtype) for dtype in formats)
    return acts + config.buffer_tokens * config.cols * widest
