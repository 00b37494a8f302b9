"""A cost table for the energy model (`energy_model/costs/table.py`), of netlists as priced."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tritloom.arch.counts import tree_adds

from .price import Priced

# What the cost table takes: our PE with shared act registers, and the multiply-accumulates.
PRICED_AT = 1e9
PRICED_LANES, PRICED_COLUMNS = 64, 8


def _find(done, kind, *, lanes=1, columns=1) -> Priced:
    for made in done:
        config = made.design.config
        if (made.design.kind, made.design.clock_hz) != (kind, PRICED_AT):
            continue
        if (config.lanes, config.cols) == (lanes, columns):
            return made
    raise LookupError(f"{kind} was not priced at {PRICED_AT / 1e6:.0f} MHz")


def _arithmetic(made: Priced, operands: str, share: float | None = None) -> np.ndarray:
    """(low, nominal, high) of gates and their nets, in joules per operation."""
    each = made.energy(operands, share)
    splits = each.settled.low, each.settled.nominal, each.glitching.high
    return np.array([split.arithmetic_j for split in splits])


def costs(done: Sequence[Priced], *, library: str) -> dict:
    """A cost table for the energy model (`energy_model/costs/table.py`), of netlists as priced.

    An addition of our tree costs in proportion to its width, selects included, so that all of a
    PE's additions together cost what its gates do. What an FP16 MAC costs beyond its multiplier is
    its adder.
    """
    ours = _find(done, "ternary", lanes=PRICED_LANES, columns=PRICED_COLUMNS)
    gates = _arithmetic(ours, "uniform", 1 / 3)
    adds = tree_adds(PRICED_LANES, ours.design.config.act_bits)
    bits = sum(width * count for width, count in adds.items()) + ours.design.config.psum_bits
    bit = gates * PRICED_LANES / bits
    mac = _arithmetic(_find(done, "int8 MAC"), "uniform")
    half = _arithmetic(_find(done, "FP16 multiply"), "normal")
    exact = _arithmetic(_find(done, "FP16 multiply to FP32"), "normal")
    fp16 = _arithmetic(_find(done, "FP16 MAC"), "normal")
    fp32 = _arithmetic(_find(done, "FP16 MAC, FP32 sum"), "normal")
    each = ours.energy("uniform", 1 / 3)
    held = np.array(
        [
            split.registers_j + split.clock_j
            for split in (each.settled.low, each.settled.nominal, each.glitching.high)
        ]
    )
    where = f"netlists in {library}, python -m sim asap7"
    joules = {
        "select": (0 * bit, "in the additions behind it"),
        "add_int8": (8 * bit, "8 bits of the adder tree, selects and accumulator included"),
        "add_int32": (32 * bit, "32 of these bits"),
        "mul_int8": (mac - 32 * bit, "int8 multiply-accumulate less add_int32"),
        "mul_fp16": (half, "FP16 multiplier"),
        "add_fp16": (fp16 - half, "FP16 multiply-accumulate less its multiplier"),
        "add_fp32": (fp32 - exact, "the same with an FP32 sum"),
    }
    entries = {
        action: _entry(values, "pJ", f"{what}; {where}", "DERIVED")
        for action, (values, what) in joules.items()
    }
    entries["mul_fp32"] = _entry(
        half * (24 / 11) ** 2,
        "pJ",
        "mul_fp16 times (24 / 11)^2, the squares of the significands' widths",
        "PROJECTED",
    )
    entries["hop_bits"] = _entry(
        held / ours.flip_flops,
        "pJ/bit",
        f"flip-flops and clock of the PE for each of its bits; {where}",
        "DERIVED",
    )
    whole = _find(done, "FP16 MAC").energy("normal").nominal_j / each.nominal_j
    note = (
        f"the netlists: an FP16 multiply-accumulate's gates take {_of(fp16) * 1e15:.0f} fJ, a "
        f"ternary one's {_of(gates) * 1e15:.2f} fJ, {_of(fp16) / _of(gates):.1f} times less; with "
        f"registers and clock {whole:.1f} times less; not 71.4. The paper prices a ternary "
        f"operation as one 8-bit addition, 7 fJ; here that is {_of(8 * bit) * 1e15:.2f} fJ, but "
        f"an operation takes {bits / PRICED_LANES:.1f} bits of adders with its part of the "
        f"accumulator, and FP16 takes {_of(fp16) / 0.5e-12:.2f} of the paper's 0.50 pJ"
    )
    return {
        "name": "asap7",
        "node": "7 nm, netlists",
        "note": note,
        # Memory is not in these netlists.
        "otherwise": "paper",
        "costs": entries,
    }


def _of(levels) -> float:
    """The nominal one of three."""
    return float(levels[1])


def _entry(joules, unit, source, tier):
    low, nominal, high = (float(f"{value * 1e12:.4g}") for value in joules)
    low, high = min(low, nominal, high), max(low, nominal, high)
    return {
        **{"low": low, "nominal": nominal, "high": high},
        **{"unit": unit, "tier": tier, "source": source},
    }
