"""Evaluation of one point of a sweep: its machine, and its line of the results."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tritloom.arch.errors import InputError
from tritloom.arch.models.shape import ModelShape
from tritloom.arch.models.trace import build_trace
from tritloom.arch.workload import Layer, Trace
from tritloom.energy_model.costs.table import CostTable
from tritloom.energy_model.costs.tiers import Tier, weakest
from tritloom.energy_model.costs.units import si
from tritloom.energy_model.machine import area
from tritloom.energy_model.machine.evaluation import FP16_BYTES, stored_bytes
from tritloom.energy_model.machine.ledger import common_counts, run_pass
from tritloom.energy_model.machine.line import Line
from tritloom.energy_model.machine.machine import Machine, Static

from .sweep import ARRAY, FIGURES, LEVELS, PARAMETERS, WORKLOAD, Sweep


class Evaluator:
    """Evaluator of one sweep's points, which keeps machines and prices from point to point."""

    def __init__(self, sweep: Sweep):
        self.sweep = sweep
        self._machines: dict[tuple, Machine] = {}
        self._prices: dict[tuple, CostTable] = {}
        self._tiers: dict[tuple, Tier] = {}
        self._of_machine = [
            name
            for name in ("hardware", *ARRAY, "sram_bytes", "dram", *LEVELS)
            if name in sweep.parameters
        ]

    def row(self, point: int) -> tuple:
        """Evaluate a point to a line of the results: values of `COLUMNS`, None where there is none.

        The last column says what keeps a point from being evaluated.
        """
        values = self.sweep.values(point)
        model = self.sweep.models[values["model"]]
        values["weight"] = values["weight"] or model.weight
        try:
            machine = self._machine(values)
            figures, tier = self._figures(model, machine, values)
            reason = None
        except InputError as error:
            machine, figures, tier = None, (None,) * len(FIGURES), None
            reason = str(error)
        stated = _stated(machine or self.sweep.machines[values["hardware"]]) | values
        return (point, *[stated.get(name) for name in PARAMETERS], *figures, tier, reason)

    def _machine(self, values: Mapping) -> Machine:
        key = tuple([values[name] for name in self._of_machine])
        if key not in self._machines:
            self._machines[key] = _build_machine(self.sweep, values)
        return self._machines[key]

    def _figures(self, model: ModelShape, machine: Machine, values: Mapping) -> tuple:
        names = ("weight", *WORKLOAD)
        work = _work(model, *[values[name] for name in names])
        resident = machine.holds(work.trace) if machine.sram.bytes else False
        needed = work.other_bytes + (0 if resident else work.weight_bytes)
        if machine.dram.bytes is not None and needed > machine.dram.bytes:
            raise InputError(
                f"{model.name} needs {si(needed, 'B')} of DRAM; {machine.dram.name} has "
                f"{si(machine.dram.bytes, 'B')}"
            )
        run = run_pass(model, work.trace, machine, common=work.common)
        prices = self._price(machine, values)
        energy = run.total_j(prices)
        tier = self._tier(machine, prices, frozenset([action for _, action in run.counts]))
        sizes: tuple[float | None, ...] = (None,) * 3
        if not machine.is_roofline:
            size = area.array_area(machine.array, machine.sram.bytes, work.formats(machine))
            sizes = (size.nominal, size.low, size.high)
        figures = (
            energy.nominal,
            energy.low,
            energy.high,
            energy.nominal / run.tokens,
            run.latency_s,
            run.compute_s,
            run.dram_s,
            run.tokens / run.latency_s,
            run.dram_bytes,
            float(work.weight_bytes + work.other_bytes),
            *sizes,
        )
        return figures, tier

    def _price(self, machine: Machine, values: Mapping) -> CostTable:
        key = values["hardware"], values.get("dram")
        if key not in self._prices:
            self._prices[key] = machine.prices(self.sweep.costs)
        return self._prices[key]

    def _tier(self, machine: Machine, prices: CostTable, actions: frozenset) -> Tier:
        """Return the tier of the energy: the weakest of all costs in it and of static power."""
        key = id(prices), machine.static.tier, actions
        if key not in self._tiers:
            tiers = [prices.priced(action).tier for action in sorted(actions)]
            self._tiers[key] = weakest([Tier.DERIVED, machine.static.tier, *tiers])
        return self._tiers[key]


def _build_machine(sweep: Sweep, values: Mapping) -> Machine:
    machine = sweep.machines[values["hardware"]]
    changes: dict[str, Any] = {}
    if array := {name: values[name] for name in ARRAY if name in values}:
        changes["engine"] = machine.array.replace(**array)
    dram = sweep.drams[values["dram"]] if "dram" in values else machine.dram
    levels = {name.removeprefix("dram_"): values[name] for name in LEVELS[:2] if name in values}
    changes["dram"] = dataclasses.replace(dram, **levels) if levels else dram
    if "sram_bytes" in values:
        changes["sram"] = dataclasses.replace(
            machine.sram, bytes=values["sram_bytes"], tier=Tier.INFERRED, source="as swept"
        )
    if "static_w" in values:
        changes["static"] = Static.given(values["static_w"])
    return dataclasses.replace(machine, **changes)


def _stated(machine: Machine) -> dict:
    """Return the parameters of a machine, as far as it has them."""
    # dataclasses.asdict would copy, and this is on the path of every point.
    array = {} if machine.is_roofline else vars(machine.array)
    return {
        **array,
        "sram_bytes": machine.sram.bytes,
        "dram": machine.dram.name,
        "dram_bytes_per_s": machine.dram.bytes_per_s,
        "dram_bytes": machine.dram.bytes,
        "static_w": machine.static.watts.nominal,
    }


@dataclass(frozen=True, kw_only=True)
class _Work:
    """A pass and the memory that it needs.

    Attributes
    ----------
    trace : Trace
    common : mapping of (line, action) to int
        `ledger.common_counts`.
    weight_bytes, other_bytes : int
        Bytes of matrices; bytes of the key-value cache, the embedding and the norms.
    kinds : tuple of Layer
        One layer for each pair of dtypes of its operands.
    """

    trace: Trace
    common: Mapping[tuple[Line, str], int]
    weight_bytes: int
    other_bytes: int
    kinds: tuple[Layer, ...]

    def formats(self, machine: Machine) -> frozenset[str]:
        """Number formats of the arrays that it takes."""
        return frozenset([machine.computes(layer) for layer in self.kinds])


@functools.lru_cache(maxsize=1 << 12)
def _work(
    model: ModelShape, weight: str, phase: str, batch: int, context: int, kv: str, head: str
) -> _Work:
    trace = build_trace(
        model, weight=weight, phase=phase, batch=batch, context=context, kv=kv, head_weight=head
    )
    kinds = {(layer.weight, layer.act): layer for layer in trace}
    stored = {True: 0, False: FP16_BYTES * sum(vector.stored for vector in trace.vectors)}
    for layer in trace:
        stored[layer.trained] += stored_bytes(layer)
    return _Work(
        trace=trace,
        common=common_counts(model, trace),
        weight_bytes=stored[True],
        other_bytes=stored[False],
        kinds=tuple(kinds.values()),
    )
