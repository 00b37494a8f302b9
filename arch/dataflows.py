"""Which dataflow wins when, from the formulas of `arch.timing` and `arch.counts`.

`python -m tritloom.arch.dataflows` prints the table.
The table is the one of docs/dataflows.md; a test holds that page up to date.
"""

from __future__ import annotations

from dataclasses import dataclass

from .config import ArrayConfig, Dataflow, preset
from .counts import array_counts
from .ternary import TRIT5
from .tiling import make_plan
from .timing import gemm_cycles, utilisation
from .workload import Gemm

LAYERS = ((2560, 6912), (4096, 11008))  # k, n
TOKENS = (1, 8, 64, 512)
# The array of the page. Its output buffer holds the largest of `TOKENS`.
ARRAY = preset("base").replace(buffer_tokens=512)
# Two dataflows this close are a draw: fill and drain differ by less on any layer of interest.
DRAW = 0.01


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a Gemm takes under one dataflow.

    Attributes
    ----------
    cycles : int
    utilisation : float
        Useful share of the multiply-accumulate slots.
    weight_bytes : float
        Across the memory interface, packed as trit5.
    buffer_bytes, register_bytes : float
        Bytes that the buffers deliver or take; that the array's registers take.
    held_bytes : float
        Capacity of the act buffer (acts cross the memory interface once) and of the output buffer.
    """

    cycles: int
    utilisation: float
    weight_bytes: float
    buffer_bytes: float
    register_bytes: float
    held_bytes: float


def cost(config: ArrayConfig, gemm: Gemm) -> Cost:
    """Cost of a Gemm under the dataflow of `config`."""
    plan = make_plan(config, gemm)
    counts = array_counts(plan, bits_per_trit=TRIT5.bits_per_trit)

    def total(level):
        return sum(bits for action, bits in counts.items() if action.endswith(level)) / 8

    weight_stationary = config.dataflow == Dataflow.WEIGHT_STATIONARY
    tokens = config.buffer_tokens if weight_stationary else config.rows
    held_bits = tokens * gemm.k * config.act_bits + weight_stationary * tokens * config.psums_bits
    return Cost(
        cycles=gemm_cycles(plan),
        utilisation=utilisation(plan),
        weight_bytes=counts["weight_dram_bits"] / 8,
        buffer_bytes=total("_buffer_bits"),
        register_bytes=total("_hop_bits"),
        held_bytes=held_bits / 8,
    )


def winner(costs: dict[Dataflow, Cost]) -> tuple[Dataflow, str]:
    """The dataflow to take and by what: cycles, then weight bytes, then capacity on chip."""
    reasons = {
        "cycles": "cycles",
        "weight_bytes": "weight traffic",
        "held_bytes": "memory on chip",
    }
    for what, reason in reasons.items():
        by_dataflow = {dataflow: getattr(cost, what) for dataflow, cost in costs.items()}
        low, high = sorted(by_dataflow, key=by_dataflow.__getitem__)
        if by_dataflow[high] > (1 + DRAW) * by_dataflow[low]:
            return low, reason
    return Dataflow.OUTPUT_STATIONARY, "nothing"


def table(config: ArrayConfig) -> str:
    """Both dataflows on every layer and number of tokens, as Markdown."""
    lines = [
        "| k x n | m | dataflow | cycles | utilisation | weights in, MB | byte/cycle "
        "| buffers, MB | registers, MB | held on chip, kB | wins by |",
        "|---|--:|---|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    for k, n in LAYERS:
        for m in TOKENS:
            gemm = Gemm(m, k, n)
            costs = {d: cost(config.replace(dataflow=d), gemm) for d in Dataflow}
            best, reason = winner(costs)
            for dataflow, c in costs.items():
                lines.append(
                    f"| {k} x {n} | {m} | {dataflow} | {c.cycles:,} | {c.utilisation:.2%} "
                    f"| {c.weight_bytes / 1e6:,.1f} | {c.weight_bytes / c.cycles:.1f} "
                    f"| {c.buffer_bytes / 1e6:,.1f} | {c.register_bytes / 1e6:,.1f} "
                    f"| {c.held_bytes / 1e3:,.0f} "
                    f"| {reason if dataflow == best else ''} |"
                )
    return "\n".join(line.replace("|  |", "| |") for line in lines)


if __name__ == "__main__":
    print(table(ARRAY))
