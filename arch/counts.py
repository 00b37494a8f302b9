"""What happens how often. Counts know no joules; `energy_model.costs` knows no dataflow.

An action is a string that a cost table can price:

- `add_int<w>`, `add_fp16`, `mul_fp16`, ...: one arithmetic operation of that width.
- `select`: one trit chooses +act, -act or 0.
- `<what>_hop_bits`, `<what>_buffer_bits`, `<what>_dram_bits`: bits that a register of the array
  takes, that the on-chip buffer delivers or takes, that cross the memory interface.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .tiling import Plan, StationaryPlan
from .workload import Layer, Trace


class Counts(Mapping):
    """Immutable action counts that add and scale.

    >>> Counts(select=3) + 2 * Counts(select=1, add_int8=4)
    Counts(add_int8=8, select=5)
    """

    def __init__(self, **counts: int):
        self._counts = dict(sorted(counts.items()))

    def __getitem__(self, action: str) -> int:
        return self._counts[action]

    def __iter__(self) -> Iterator[str]:
        return iter(self._counts)

    def __len__(self) -> int:
        return len(self._counts)

    def __add__(self, other: Counts) -> Counts:
        keys = self._counts | other._counts
        return Counts(**{key: self.get(key, 0) + other.get(key, 0) for key in keys})

    def __rmul__(self, factor: int) -> Counts:
        return Counts(**{key: factor * value for key, value in self.items()})

    def __repr__(self) -> str:
        return f"Counts({', '.join(f'{k}={v}' for k, v in self.items())})"


def product_counts(layer: Layer) -> Counts:
    """Arithmetic of a layer's matrix product alone, one addition per multiply-accumulate.

    A ternary product adds int8 acts (the papers price each of those additions at 8 bits);
    an FP16 one multiplies and adds.
    """
    if layer.weight == "ternary":
        return Counts(add_int8=layer.macs)
    if layer.weight == "int8":
        return Counts(mul_int8=layer.macs, add_int32=layer.macs)
    return Counts(mul_fp16=layer.macs, add_fp16=layer.macs)


def scale_counts(layer: Layer) -> Counts:
    """Multiplies by quantisation scales: one per input element, one per output element."""
    if not layer.scaled:
        return Counts()
    gemm = layer.gemm
    return Counts(mul_fp16=layer.count * (gemm.m * gemm.k + gemm.m * gemm.n))


def arithmetic_counts(trace: Trace) -> Counts:
    """Arithmetic of a trace: every product and every scale."""
    total = Counts()
    for layer in trace:
        total = total + product_counts(layer) + scale_counts(layer)
    return total


def tree_adds(lanes: int, act_bits: int) -> dict[int, int]:
    """Two-input additions of one adder tree, by the width of their result.

    Operands are paired level by level, an odd one passes on; each level is a bit wider. A negated
    act enters as its complement, as wide as the act: see `config.ArrayConfig.tree_bits`.
    """
    adds: dict[int, int] = {}
    operands, width = lanes, act_bits
    while operands > 1:
        width += 1
        adds[width] = operands // 2
        operands = -(-operands // 2)
    return adds


def traffic_counts(
    plan: Plan | StationaryPlan,
    *,
    weight_bits: float,
    act_bits: int,
    psum_bits: int,
    padded: bool = True,
) -> Counts:
    """Bits that cross the memory interface for one Gemm, by operand width.

    Acts cross once, weights once per group of tokens, psums once.

    Parameters
    ----------
    padded : bool
        Whether the weights lie in memory with their ragged edges filled up, as packed trits do.
        Operands made at run time (keys and values) do not.
    """
    gemm = plan.gemm
    weights = plan.padded_k * plan.padded_n if padded else gemm.k * gemm.n
    return Counts(
        act_dram_bits=gemm.m * gemm.k * act_bits,
        weight_dram_bits=round(plan.token_groups * weights * weight_bits),
        psum_dram_bits=gemm.m * gemm.n * psum_bits,
    )


def array_counts(plan: Plan | StationaryPlan, *, bits_per_trit: float) -> Counts:
    """Actions of the array and of its memories for one Gemm, padding included.

    The memory interface is that of `traffic_counts`. The act buffer is read once per beat. Skew
    registers at the edges are not counted.

    Output-stationary: a drain register takes a psum when the tile ends, and again for every psum
    that passes it on the way south.

    Weight-stationary: the trits of row p pass p + 1 shadow registers and enter one active one; a
    psum passes a register in every row. The output buffer (`psum_buffer_bits`) takes the psums of
    every group of slices but the last, and gives them to every one but the first; each beat adds
    once for each column there.
    """
    config = plan.config
    pe_beats = plan.beats * config.rows * config.cols
    counts = {
        "select": pe_beats * config.lanes,
        f"add_int{config.psum_bits}": pe_beats,
        "act_hop_bits": plan.beats * config.rows * config.hops * config.lanes * config.act_bits,
        "act_buffer_bits": plan.beats * config.acts_bits,
        **traffic_counts(
            plan,
            weight_bits=bits_per_trit,
            act_bits=config.act_bits,
            psum_bits=config.psum_bits,
        ),
    }
    for width, adds in tree_adds(config.lanes, config.act_bits).items():
        counts[f"add_int{width}"] = counts.get(f"add_int{width}", 0) + pe_beats * adds
    if isinstance(plan, StationaryPlan):
        shifts = config.rows * (config.rows + 1) // 2
        counts[f"add_int{config.psum_bits}"] += plan.beats * config.cols
        counts["trit_hop_bits"] = plan.tiles * config.trits_bits * (shifts + config.rows)
        counts["weight_buffer_bits"] = plan.trit_beats * config.trits_bits
        counts["psum_hop_bits"] = pe_beats * config.psum_bits
        kept = plan.gemm.m * plan.feature_groups * (plan.k_groups - 1)
        counts["psum_buffer_bits"] = 2 * kept * config.psums_bits
    else:
        counts["trit_hop_bits"] = pe_beats * config.lanes * 2
        counts["weight_buffer_bits"] = plan.beats * config.trits_bits
        # Token i of a tile passes i registers below its own; every PE's register loads once.
        full, ragged = config.rows, plan.last_tokens
        passes = (plan.token_groups - 1) * full * (full - 1) // 2 + ragged * (ragged - 1) // 2
        moves = plan.tiles * config.rows * config.cols + plan.feature_groups * config.cols * passes
        counts["psum_hop_bits"] = moves * config.psum_bits
    return Counts(**counts)


def core_counters(plan: Plan | StationaryPlan, *, nonzero: int) -> dict[str, int]:
    """What one run adds to those counters of the core that no stall changes (`arch.regmap`).

    Parameters
    ----------
    nonzero : int
        Trits of the matrix that are not zero; all padding is.
    """
    trits = plan.trit_beats * plan.config.cols * plan.config.lanes
    return {
        "BUSY": plan.beats,
        "TRITS": trits,
        "ZERO_TRITS": trits - plan.token_groups * nonzero,
        "ILLEGAL_CODES": 0,
    }
