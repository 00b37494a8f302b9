"""The machine that a model runs on, and how long it takes for a layer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from arch.config import PRESETS, ArrayConfig
from arch.counts import traffic_counts
from arch.errors import InputError
from arch.ternary import TRIT2
from arch.tiling import Plan
from arch.timing import gemm_cycles
from arch.workload import Layer

from . import datafile
from .tiers import Tier

DEFAULT_DRAM = "hbm2e_a100"
_WEIGHT_BITS = {"ternary": TRIT2.bits_per_trit, "int8": 8, "fp16": 16}


def parse_array(name: str) -> ArrayConfig:
    """The array of a preset's name, or of ROWSxCOLSxLANES with an optional /COLS_PER_HOP.

    >>> parse_array("4x1024x16/64").hops
    16
    """
    if name in PRESETS:
        return PRESETS[name]
    shape, _, hop = name.partition("/")
    sides = shape.split("x")
    if len(sides) != 3 or not all(side.isdecimal() for side in [*sides, hop or "1"]):
        raise InputError(
            f"unknown hardware {name!r}; known: {', '.join(PRESETS)}, or ROWSxCOLSxLANES with an "
            "optional /COLS_PER_HOP"
        )
    rows, cols, lanes = map(int, sides)
    return ArrayConfig(rows=rows, cols=cols, lanes=lanes, cols_per_hop=int(hop or 1))


def load_dram(name: str = DEFAULT_DRAM) -> Dram:
    """The memory of that name."""
    path = datafile.DATA / "dram.yaml"
    content = datafile.read_yaml(path)
    if name not in content:
        raise InputError(f"unknown DRAM {name!r}; known: {', '.join(content)}")
    where = f"{path}: {name}"
    fields = datafile.record(
        where, content[name], required=("title", "bytes_per_s", "tier", "source")
    )
    return Dram(
        name=name,
        title=datafile.text(f"{where}.title", fields["title"]),
        bytes_per_s=datafile.number(f"{where}.bytes_per_s", fields["bytes_per_s"]),
        source=datafile.text(f"{where}.source", fields["source"]),
        tier=datafile.tier(f"{where}.tier", fields["tier"]),
    )


@dataclass(frozen=True, kw_only=True)
class Dram:
    """External memory.

    Attributes
    ----------
    name, title : str
    bytes_per_s : float
        Peak bandwidth.
    source : str
    tier : Tier
    """

    name: str
    title: str
    bytes_per_s: float
    source: str
    tier: Tier

    def __post_init__(self):
        if not self.bytes_per_s > 0:
            raise InputError(f"bytes_per_s of {self.name} must be above 0, not {self.bytes_per_s}")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A ternary array and an FP16 array of one shape and clock, and their DRAM.

    Ternary layers run on the one, all others on the other.

    Attributes
    ----------
    name : str
    array : ArrayConfig
        Of the ternary array.
    dram : Dram
    """

    name: str
    array: ArrayConfig
    dram: Dram

    @cached_property
    def fp16_array(self) -> ArrayConfig:
        """The array of FP16 multiply-adds: the ternary array's shape, clock and pipeline.

        An FP16 accumulator has no reduction length at which it must overflow.
        """
        return self.array.replace(act_bits=16, max_k=1 << 30)

    def weight_bytes_per_s(self, weight: str) -> float:
        """Bandwidth at which the array of that dtype takes weights."""
        per_cycle = self.array.cols * self.array.lanes * _WEIGHT_BITS[weight] / 8
        return per_cycle * self.array.clock_hz

    def run(self, layer: Layer) -> LayerTime:
        """Time of all occurrences of a layer, one after the other.

        Notes
        -----
        Acts and psums cross the DRAM interface at every layer: psums of the ternary array at full
        width, since scales are applied after it, those of the FP16 array at 16 bits.
        """
        ternary = layer.weight == "ternary"
        plan = Plan(self.array if ternary else self.fp16_array, layer.gemm)
        traffic = traffic_counts(
            plan,
            weight_bits=_WEIGHT_BITS[layer.weight],
            act_bits=plan.config.act_bits,
            psum_bits=plan.config.psum_bits if ternary else 16,
            padded=layer.stationary,
        )
        cycles, dram_bytes = gemm_cycles(plan), sum(traffic.values()) / 8
        return LayerTime(
            cycles=layer.count * cycles,
            dram_bytes=layer.count * dram_bytes,
            compute_s=layer.count * cycles / plan.config.clock_hz,
            dram_s=layer.count * dram_bytes / self.dram.bytes_per_s,
        )


@dataclass(frozen=True, kw_only=True)
class LayerTime:
    """Time of a layer: compute and memory traffic overlap, so the longer one counts.

    Attributes
    ----------
    cycles : int
        Of the array, `arch.timing.gemm_cycles` for each occurrence.
    dram_bytes : float
    compute_s, dram_s : float
        What each would take alone.
    """

    cycles: int
    dram_bytes: float
    compute_s: float
    dram_s: float

    @property
    def latency_s(self) -> float:
        """The longer of the two."""
        return max(self.compute_s, self.dram_s)

    @property
    def bound(self) -> str:
        """Which of the two it is: "compute" or "dram"."""
        return "compute" if self.compute_s >= self.dram_s else "dram"
