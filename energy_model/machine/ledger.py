"""Energy of one pass on one machine, line by line: the lines add up to the total.

`run_pass` is the lean path that a sweep takes: counts of actions by line, no object for a layer.
Prices come later, so that a range of costs need not be counted twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tritloom.arch.counts import Counts, scale_counts, vector_counts
from tritloom.arch.models.shape import ModelShape
from tritloom.arch.workload import DTYPE_BITS, Trace
from tritloom.energy_model.costs.range import Range, add_up
from tritloom.energy_model.costs.table import CostTable, Energy, price

from .line import Line
from .machine import Machine


@dataclass(frozen=True, kw_only=True, slots=True)
class Pass:
    """One pass through a model on a machine.

    Attributes
    ----------
    machine : Machine
    tokens : int
        Tokens of all sequences.
    resident : bool
        Whether all weights stay in the on-chip memory, so that the DRAM is never read for them.
    counts : mapping of (line, action) to int
        Counts of all lines but `Line.STATIC`.
    latency_s, compute_s, dram_s : float
        Seconds of the layers one after the other; of the arrays alone; of the DRAM alone.
    dram_bytes : float
    """

    machine: Machine
    tokens: int
    resident: bool
    counts: Mapping[tuple[Line, str], int]
    latency_s: float
    compute_s: float
    dram_s: float
    dram_bytes: float

    def joules(self, prices: CostTable) -> dict[Line, Range]:
        """Energy by line, in the order of `Line`; their sum is the total.

        Parameters
        ----------
        prices : CostTable
            `Machine.prices` of a cost table. An action that it cannot price is in no line.
        """
        sums = {line: [0.0, 0.0, 0.0] for line in Line}
        for (line, action), count in self.counts.items():
            if each := prices.joules(action):
                total = sums[line]
                total[0] += count * each.low
                total[1] += count * each.nominal
                total[2] += count * each.high
        lines = {line: Range(low=a, nominal=b, high=c) for line, (a, b, c) in sums.items()}
        lines[Line.STATIC] = self.latency_s * self.machine.static.watts
        return lines

    def total_j(self, prices: CostTable) -> Range:
        """Energy of all lines together."""
        return add_up(self.joules(prices).values())

    def energies(self, prices: CostTable) -> dict[Line, Energy]:
        """Energy by line and action, with tiers and what has no price: for reports."""
        by_line: dict[Line, dict[str, int]] = {line: {} for line in Line}
        for (line, action), count in self.counts.items():
            by_line[line][action] = count
        lines = {line: price(Counts(**counts), prices) for line, counts in by_line.items()}
        static = self.machine.static
        lines[Line.STATIC] = Energy(
            by_action={Line.STATIC: self.latency_s * static.watts},
            tiers={Line.STATIC: static.tier},
        )
        return lines


def run_pass(
    model: ModelShape | None,
    trace: Trace,
    machine: Machine,
    *,
    common: Mapping[tuple[Line, str], int] | None = None,
) -> Pass:
    """Count a pass through `model` on a machine.

    Parameters
    ----------
    model : ModelShape or None
        None where only the trace is known: what the pass adds to the cache is then not counted.
    trace : Trace
        With the output head where its energy is to be counted.
    common : mapping of (line, action) to int, optional
        `common_counts` of the two, where they are at hand.

    Raises
    ------
    InputError
        A layer does not fit the machine.
    """
    counts = dict(common_counts(model, trace) if common is None else common)
    resident = machine.holds(trace)
    latency_s = compute_s = dram_s = dram_bytes = 0.0
    for layer in trace:
        run = machine.run(layer, resident=resident)
        for times, actions in (
            (run.occurrences, run.product.actions),
            (run.shared, run.product.operand),
        ):
            for key, count in actions:
                counts[key] = counts.get(key, 0) + times * count
        latency_s += run.latency_s
        compute_s += run.compute_s
        dram_s += run.dram_s
        dram_bytes += run.dram_bytes
    return Pass(
        machine=machine,
        tokens=trace.tokens,
        resident=resident,
        counts=counts,
        latency_s=latency_s,
        compute_s=compute_s,
        dram_s=dram_s,
        dram_bytes=dram_bytes,
    )


def common_counts(model: ModelShape | None, trace: Trace) -> dict[tuple[Line, str], int]:
    """What a pass takes on every machine: scales, vector work, and what goes to the cache."""
    counts: dict[tuple[Line, str], int] = {}
    scales = sum(map(scale_counts, trace), start=Counts())
    vectors = sum(map(vector_counts, trace.vectors), start=Counts())
    for line, work in ((Line.SCALES, scales), (Line.VECTORS, vectors)):
        counts |= {(line, action): count for action, count in work.items()}
    if model is None:
        return counts
    cached = [layer.weight for layer in trace if not layer.trained]
    # Keys and values that the pass makes go to the cache, besides those that it reads.
    made = 2 * trace.tokens * model.layers * model.kv_features
    counts[Line.KV_CACHE, "kv_dram_bits"] = made * DTYPE_BITS[cached[-1] if cached else "fp16"]
    return counts
