"""A cost table for the energy model (`energy_model/costs/table.py`), out of netlists as priced.

`figures` takes from a whole run the few numbers that the table rests on, and `costs_yaml` makes the
table's file of them. The repository keeps both, so that one can be held to the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tritloom.arch.counts import tree_adds

from .price import Priced

# What the cost table takes: our PE with shared act registers, and the multiply-accumulates.
PRICED_AT = 1e9
PRICED_LANES, PRICED_COLUMNS = 64, 8
# Kind of each design and the operands on which it was simulated.
OPERANDS = {
    "ternary": "uniform",
    "int8 MAC": "uniform",
    "FP16 multiply": "normal",
    "FP16 multiply to FP32": "normal",
    "FP16 MAC": "normal",
    "FP16 MAC, FP32 sum": "normal",
}
ZERO_SHARE = 1 / 3
HEADER = (
    "# Energies of this project's own netlists in ASAP7 (docs/asap7.md): written by `make asap7`.\n"
)


def _find(done: Sequence[Priced], kind: str) -> Priced:
    ours = kind == "ternary"
    lanes, columns = (PRICED_LANES, PRICED_COLUMNS) if ours else (1, 1)
    for made in done:
        config = made.design.config
        if (made.design.kind, made.design.clock_hz) != (kind, PRICED_AT):
            continue
        if (config.lanes, config.cols) == (lanes, columns):
            return made
    raise LookupError(f"{kind} was not priced at {PRICED_AT / 1e6:.0f} MHz")


def figures(done: Sequence[Priced]) -> dict:
    """Figures of netlists on which the cost table rests, for JSON.

    Of each kind in `OPERANDS`, per operation: joules of gates and their nets (`arithmetic_j`), of
    registers and clock (`held_j`), each low, nominal and high; all joules, nominal; flip-flops; and
    bits of the adders of a whole PE.

    Raises
    ------
    LookupError
        A design is missing.
    """
    designs, libraries = {}, set()
    for kind, operands in OPERANDS.items():
        made = _find(done, kind)
        one = made.energy(operands, ZERO_SHARE if kind == "ternary" else None)
        if one is None:
            raise LookupError(f"{kind} was not simulated on {operands} operands")
        libraries.add(one.settled.library)
        splits = one.settled.low, one.settled.nominal, one.glitching.high
        config = made.design.config
        adds = tree_adds(config.lanes, config.act_bits)
        designs[kind] = {
            "lanes": config.lanes,
            "columns": config.cols,
            "adder_bits": sum(width * count for width, count in adds.items()) + config.psum_bits,
            "flip_flops": made.flip_flops,
            "arithmetic_j": [split.arithmetic_j for split in splits],
            "held_j": [split.registers_j + split.clock_j for split in splits],
            "nominal_j": one.nominal_j,
        }
    (library,) = libraries
    return {
        "library": library,
        "clock_hz": PRICED_AT,
        "zero_share": ZERO_SHARE,
        "tier": "DERIVED",
        "designs": designs,
    }


def costs(found: Mapping) -> dict:
    """Content of a cost table, out of `figures`.

    An addition of our tree costs in proportion to its width, selects included, so that all of a
    PE's additions together cost what its gates do. What an FP16 MAC costs beyond its multiplier is
    its adder.
    """
    designs = found["designs"]
    ours = designs["ternary"]
    lanes, bits = ours["lanes"], ours["adder_bits"]
    gates, mac, half, exact, fp16, fp32 = (
        np.array(designs[kind]["arithmetic_j"])
        for kind in (
            *("ternary", "int8 MAC", "FP16 multiply", "FP16 multiply to FP32"),
            *("FP16 MAC", "FP16 MAC, FP32 sum"),
        )
    )
    bit = gates * lanes / bits
    held = np.array(ours["held_j"])
    # A library comes in several files, of which one gives it its name.
    where = f"netlists in {found['library']} and its companions, python -m sim asap7"
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
        held / ours["flip_flops"],
        "pJ/bit",
        f"flip-flops and clock of the PE for each of its bits; {where}",
        "DERIVED",
    )
    whole = designs["FP16 MAC"]["nominal_j"] / ours["nominal_j"]
    note = (
        f"the netlists: an FP16 multiply-accumulate's gates take {_nominal(fp16) * 1e15:.0f} fJ, a "
        f"ternary one's {_nominal(gates) * 1e15:.2f} fJ, {_nominal(fp16) / _nominal(gates):.1f} "
        f"times less; with registers and clock {whole:.1f} times less; not 71.4. The paper prices "
        f"a ternary operation as one 8-bit addition, 7 fJ; here that is "
        f"{_nominal(8 * bit) * 1e15:.2f} fJ, but an operation takes {bits / lanes:.1f} bits of "
        f"adders with its part of the accumulator, and FP16 takes {_nominal(fp16) / 0.5e-12:.2f} "
        "of the paper's 0.50 pJ"
    )
    return {
        "name": "asap7",
        "node": "7 nm, netlists",
        "note": note,
        # Memory is not in these netlists.
        "otherwise": "paper",
        "costs": entries,
    }


def costs_yaml(found: Mapping) -> str:
    """Text of the cost table's file, out of `figures`."""
    import yaml

    return HEADER + yaml.safe_dump(costs(found), sort_keys=False, width=100)


def _nominal(levels: np.ndarray) -> float:
    """The middle one of low, nominal and high."""
    return float(levels[1])


def _entry(joules, unit, source, tier):
    low, nominal, high = (float(f"{value * 1e12:.4g}") for value in joules)
    low, high = min(low, nominal, high), max(low, nominal, high)
    return {
        **{"low": low, "nominal": nominal, "high": high},
        **{"unit": unit, "tier": tier, "source": source},
    }
