"""Counts of actions: what happens how often.

Counts know no joules, and `energy_model.costs.table` knows no dataflow. An action is a string that
a cost table can price:

- `add_int<w>`, `add_fp16`, `mul_fp16`, ...: one arithmetic operation of that width.
- `select`: one trit chooses +act, -act or 0.
- `<what>_hop_bits`, `<what>_buffer_bits`, `<what>_dram_bits`: bits that a register of the array
  takes, that the on-chip buffer delivers or takes, that cross the memory interface.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .tiling import Plan, WeightStationaryPlan
from .workload import Gemm, Layer, Vector


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

    def items(self):
        """View of actions and counts; a Mapping's own takes several times as long."""
        return self._counts.items()

    def __add__(self, other: Counts) -> Counts:
        keys = self._counts | other._counts
        return Counts(**{key: self.get(key, 0) + other.get(key, 0) for key in keys})

    def __rmul__(self, factor: int) -> Counts:
        return Counts(**{key: factor * value for key, value in self.items()})

    def __repr__(self) -> str:
        return f"Counts({', '.join(f'{k}={v}' for k, v in self.items())})"


def product_counts(layer: Layer) -> Counts:
    """Arithmetic of a layer's matrix product alone, one addition per multiply-accumulate.

    A ternary product adds int8 acts (the papers price each of those additions at 8 bits), or FP16
    acts; one of int8 by int8 multiplies and adds integers. All others multiply and add in FP16,
    after `scale_counts` has turned cached integers into FP16.
    """
    if layer.weight == "ternary" and layer.act == "fp16":
        return Counts(add_fp16=layer.macs)
    return mac_counts("fp16" if layer.dequantised else layer.weight, layer.macs)


def mac_counts(dtype: str, macs: int) -> Counts:
    """Arithmetic of multiply-accumulates in that number format, whatever computes them."""
    if dtype == "ternary":
        return Counts(add_int8=macs)
    if dtype == "int8":
        return Counts(mul_int8=macs, add_int32=macs)
    return Counts(mul_fp16=macs, add_fp16=macs)


def scale_counts(layer: Layer) -> Counts:
    """Multiplies by quantisation scales.

    One per input element and one per output element of a product of integers. A dequantised
    operand (an int8 or int4 cache) takes one per element, once in a pass, however many query heads
    read it.
    """
    gemm = layer.gemm
    if layer.dequantised:
        return Counts(mul_fp16=layer.touched * gemm.k * gemm.n)
    if not layer.scaled:
        return Counts()
    return Counts(mul_fp16=layer.count * (gemm.m * gemm.k + gemm.m * gemm.n))


# (FP32 multiplies, FP32 additions) of functions that no adder has, by textbook methods.
_RECIPROCAL = (4, 2)  # two Newton steps x (2 - a x) from a table's seed
_RSQRT = (6, 2)  # two Newton steps x (1.5 - a/2 x x); halves are exponents
_EXP = (6, 6)  # times log2(e), minus its integer part, a polynomial of degree 5
_SIGMOID = (_EXP[0] + _RECIPROCAL[0], _EXP[1] + _RECIPROCAL[1] + 1)  # 1 / (1 + exp(-x))
_TANH = (_SIGMOID[0], _SIGMOID[1] + 1)  # 1 - 2 / (exp(2 x) + 1)

# (FP32 multiplies, FP32 additions) of one element, and of one row. A comparison is an addition.
_FP32 = {
    # x x, their sum, times 1 / rms, times the gain; a row's mean, epsilon and root.
    "norm": ((3, 1), (_RSQRT[0] + 1, _RSQRT[1] + 1)),
    # The maximum, x - maximum, exp, their sum, times 1 / sum. The scale of the scores is one with
    # exp's first factor.
    "softmax": ((_EXP[0] + 1, _EXP[1] + 3), _RECIPROCAL),
    "sigmoid": (_SIGMOID, (0, 0)),
    "silu": ((_SIGMOID[0] + 1, _SIGMOID[1]), (0, 0)),
    # x / 2 (1 + tanh(x (c + d x x)))
    "gelu": ((_TANH[0] + 4, _TANH[1] + 2), (0, 0)),
    "relu": ((0, 1), (0, 0)),
    "relu2": ((1, 1), (0, 0)),
    # c tanh(x / c)
    "softcap": ((_TANH[0] + 2, _TANH[1]), (0, 0)),
    # A row's 127 / absmax; its elements below, in FP16.
    "quantise": ((0, 0), (_RECIPROCAL[0] + 1, _RECIPROCAL[1])),
}
# (FP16 multiplies, FP16 additions) of one element.
_FP16 = {
    "rotary": (2, 1),
    # |x| against the maximum, and rounding. The multiply by the scale is one of `scale_counts`.
    "quantise": (0, 2),
    "compare": (0, 1),
    "add": (0, 1),
    "multiply": (1, 0),
}


def vector_counts(vector: Vector) -> Counts:
    """Arithmetic of all occurrences of a vector's work.

    Norms, softmax and the non-linear functions in FP32, as reference implementations have them, all
    else in FP16. A lookup has none.

    Notes
    -----
    INFERRED: how many multiplies and additions exp, reciprocal and square root take. No paper on
    ternary models states it; units that look them up in tables take fewer.
    """
    per_element, per_row = _FP32.get(vector.kind, ((0, 0), (0, 0)))
    mul_fp32, add_fp32 = (
        vector.count * vector.rows * (vector.width * element + row)
        for element, row in zip(per_element, per_row, strict=True)
    )
    mul_fp16, add_fp16 = (
        vector.count * vector.elements * times for times in _FP16.get(vector.kind, (0, 0))
    )
    counts = {
        "mul_fp32": mul_fp32,
        "add_fp32": add_fp32,
        "mul_fp16": mul_fp16,
        "add_fp16": add_fp16,
    }
    return Counts(**{action: count for action, count in counts.items() if count})


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
    plan: Plan,
    *,
    weight_bits: float,
    act_bits: int,
    psum_bits: int,
    padded: bool = True,
    passes: int | None = None,
) -> Counts:
    """Bits that cross the memory interface for one Gemm, by operand width.

    Acts cross once, weights once per group of tokens, psums once.

    Parameters
    ----------
    padded : bool
        Whether the weights lie in memory with their ragged edges filled up, as packed trits do.
        Operands made at run time (keys and values) do not.
    passes : int, optional
        How often the weights cross instead, as where a buffer holds them.
    """
    gemm = plan.gemm
    weights = plan.padded_k * plan.padded_n if padded else gemm.k * gemm.n
    passes = plan.token_groups if passes is None else passes
    return operand_counts(
        gemm,
        weights=passes * weights,
        weight_bits=weight_bits,
        act_bits=act_bits,
        psum_bits=psum_bits,
    )


def operand_counts(
    gemm: Gemm, *, weights: int, weight_bits: float, act_bits: int, psum_bits: int
) -> Counts:
    """Bits that cross the memory interface: acts and psums once, and that many weights."""
    return Counts(
        act_dram_bits=gemm.m * gemm.k * act_bits,
        weight_dram_bits=round(weights * weight_bits),
        psum_dram_bits=gemm.m * gemm.n * psum_bits,
    )


def array_counts(plan: Plan, *, bits_per_trit: float) -> Counts:
    """Actions of the array and of its memories for one Gemm, padding included.

    The memory interface is that of `traffic_counts`. The act buffer is read once per beat. Skew
    registers at the edges are not counted.

    Output-stationary: a drain register takes a psum when the tile ends, and again for every psum
    that passes it on the way south.

    Weight-stationary: the trits of row p pass p + 1 shadow registers and enter one active one; a
    psum passes a register in every row. The output buffer (`psum_buffer_bits`) takes the psums of
    every group of slices but the last, and gives them to every one but the first; each beat adds
    once for each column there.

    Parameters
    ----------
    plan : Plan
    bits_per_trit : float
        Bits of memory for a weight, as `Packing.bits_per_trit` says.

    Returns
    -------
    Counts
        Occurrences by action; actions that end in `_bits` count bits.

    Notes
    -----
    `tests/arch/test_counts.py` holds the formulas equal to a walk that performs each action.
    """
    config = plan.config
    trees, accumulators = operation_counts(plan, "ternary")
    return (
        trees
        + accumulators
        + access_counts(plan, weight_bits=2, act_bits=config.act_bits, psum_bits=config.psum_bits)
        + traffic_counts(
            plan, weight_bits=bits_per_trit, act_bits=config.act_bits, psum_bits=config.psum_bits
        )
    )


def operation_counts(plan: Plan, dtype: str, *, padded: bool = True) -> tuple[Counts, Counts]:
    """Arithmetic of an array for one Gemm: that of the trees with their inputs, and accumulators.

    Parameters
    ----------
    dtype : "ternary", "int8" or "fp16"
        A lane selects, or multiplies to 16 bits. An int8 array accumulates in 32 bits, an FP16 one
        adds in FP16 everywhere.
    padded : bool
        Whether slots without a token or at a ragged edge count too. Their operands rest at zero.
    """
    config = plan.config
    pe_beats = plan.beats * config.rows * config.cols
    accumulations = pe_beats
    if isinstance(plan, WeightStationaryPlan):
        accumulations += plan.beats * config.cols
    if dtype == "fp16":
        trees = {"mul_fp16": pe_beats * config.lanes, "add_fp16": pe_beats * (config.lanes - 1)}
        accumulators = {"add_fp16": accumulations}
    else:
        ternary = dtype == "ternary"
        trees = {"select" if ternary else "mul_int8": pe_beats * config.lanes}
        for width, adds in tree_adds(config.lanes, config.act_bits if ternary else 16).items():
            trees[f"add_int{width}"] = pe_beats * adds
        accumulators = {f"add_int{config.psum_bits if ternary else 32}": accumulations}
    if not padded:
        done, slots = plan.gemm.macs, plan.executed_macs
        trees, accumulators = (
            {action: -(-count * done // slots) for action, count in counts.items()}
            for counts in (trees, accumulators)
        )
    return Counts(**trees), Counts(**accumulators)


def access_counts(plan: Plan, *, weight_bits: int, act_bits: int, psum_bits: int) -> Counts:
    """Bits that registers and buffers of an array take and give for one Gemm, by operand width.

    As `array_counts`, whose array holds a trit in two bits.
    """
    config = plan.config
    pe_beats = plan.beats * config.rows * config.cols
    beat_weights = config.cols * config.lanes
    counts = {
        "act_hop_bits": plan.beats * config.rows * config.hops * config.lanes * act_bits,
        "act_buffer_bits": plan.beats * config.rows * config.lanes * act_bits,
    }
    if isinstance(plan, WeightStationaryPlan):
        shifts = config.rows * (config.rows + 1) // 2
        counts["trit_hop_bits"] = plan.tiles * beat_weights * weight_bits * (shifts + config.rows)
        counts["weight_buffer_bits"] = plan.trit_beats * beat_weights * weight_bits
        counts["psum_hop_bits"] = pe_beats * psum_bits
        kept = plan.gemm.m * plan.feature_groups * (plan.k_groups - 1)
        counts["psum_buffer_bits"] = 2 * kept * config.cols * psum_bits
    else:
        counts["trit_hop_bits"] = pe_beats * config.lanes * weight_bits
        counts["weight_buffer_bits"] = plan.beats * beat_weights * weight_bits
        # Token i of a tile passes i registers below its own; every PE's register loads once.
        full, ragged = config.rows, plan.last_tokens
        passes = (plan.token_groups - 1) * full * (full - 1) // 2 + ragged * (ragged - 1) // 2
        moves = plan.tiles * config.rows * config.cols + plan.feature_groups * config.cols * passes
        counts["psum_hop_bits"] = moves * psum_bits
    return Counts(**counts)


def core_counters(plan: Plan, *, nonzero: int) -> dict[str, int]:
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
        "ILLEGAL_BEATS": 0,
    }
