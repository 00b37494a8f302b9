"""BitNet b1.58 next to FP16 LLaMA: figures, also by layer, notes, and what dominates."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tritloom.arch.errors import InputError
from tritloom.arch.models.shape import ModelShape
from tritloom.energy_model.costs.range import Range
from tritloom.energy_model.costs.table import CostTable
from tritloom.energy_model.machine.evaluation import Evaluation, LayerResult, Workload, evaluate
from tritloom.energy_model.machine.line import Line
from tritloom.energy_model.machine.machine import Machine

from .figures import Figure, build_figures, layer_figures
from .notes import Note, build_notes


@dataclass(frozen=True, kw_only=True)
class LayerRow:
    """One layer of the trace in both systems.

    Attributes
    ----------
    llama, bitnet : LayerResult
    figures : tuple of Figure
        What the layer contributes to the totals of the same keys; zero outside their scope.
    """

    llama: LayerResult
    bitnet: LayerResult
    figures: tuple[Figure, ...]


@dataclass(frozen=True, kw_only=True)
class Headline:
    """Energy that the paper counts next to what a machine burns, in one phase.

    Attributes
    ----------
    phase : str
    arithmetic, system : Range
        FP16 LLaMA / BitNet b1.58: arithmetic alone; with memory and accumulators at their width.
    largest : tuple of (str, float)
        Key and share of the largest line of LLaMA's energy, and of BitNet's.
    text : str
        What dominates the energy of the whole machine, in a line.
    """

    phase: str
    arithmetic: Range
    system: Range
    largest: tuple[tuple[str, float], tuple[str, float]]
    text: str


@dataclass(frozen=True, kw_only=True)
class Report:
    """BitNet b1.58 next to FP16 LLaMA.

    Attributes
    ----------
    llama, bitnet : Evaluation
    costs : CostTable
    figures : tuple of Figure
    rows : tuple of LayerRow
    notes : tuple of Note
    headlines : tuple of Headline
    """

    llama: Evaluation
    bitnet: Evaluation
    costs: CostTable
    figures: tuple[Figure, ...]
    rows: tuple[LayerRow, ...]
    notes: tuple[Note, ...]
    headlines: tuple[Headline, ...]

    def figure(self, key: str) -> Figure:
        """Return the figure of a key."""
        return next(figure for figure in self.figures if figure.key == key)


def build_report(
    model: ModelShape, *, workload: Workload, machine: Machine, costs: CostTable
) -> Report:
    """Evaluate FP16 LLaMA and BitNet b1.58 on one machine and lay them side by side.

    Parameters
    ----------
    model : ModelShape
        Dimensions of both.
    workload : Workload
    machine : Machine
    costs : CostTable

    Returns
    -------
    Report
        Joules, seconds and bytes of both systems, their ratios, and notes on what they rest on.

    Raises
    ------
    InputError
        `costs` lacks an operation that a model needs.
    """
    llama, bitnet = (
        evaluate(model, weight=weight, workload=workload, machine=machine, costs=costs)
        for weight in ("fp16", "ternary")
    )
    rows = tuple(
        LayerRow(llama=a, bitnet=b, figures=layer_figures(a, b, model))
        for a, b in zip(llama.layers, bitnet.layers, strict=True)
    )
    figures = build_figures(llama, bitnet, costs)
    return Report(
        llama=llama,
        bitnet=bitnet,
        costs=costs,
        figures=figures,
        rows=rows,
        notes=build_notes(llama, bitnet, costs, figures),
        headlines=tuple(_headline(phase, figures, machine) for phase in llama.passes),
    )


def headlines_over(
    report: Report, name: str, values: Iterable[int]
) -> dict[int, tuple[Headline, ...]]:
    """Compute the headlines of prefill and decode at other values of a field of the workload."""
    found = {}
    for value in values:
        changed: dict[str, Any] = {"phase": "prefill", name: value}
        workload = dataclasses.replace(report.llama.workload, **changed)
        found[value] = build_report(
            report.llama.model, workload=workload, machine=report.llama.machine, costs=report.costs
        ).headlines
    return found


def _headline(phase: str, figures: tuple[Figure, ...], machine: Machine) -> Headline:
    by_key = {figure.key: figure for figure in figures}
    paper, system = by_key["energy"], by_key[f"system_{phase}"]
    if paper.ratio is None or system.ratio is None:
        raise InputError(f"costs make the energy of {phase} 0 in one of both: there is no ratio")
    largest = []
    for side in ("llama", "bitnet"):
        joules = {part.key: getattr(part, side).nominal for part in system.parts}
        key = max(joules, key=joules.__getitem__)
        largest.append((key, joules[key] / getattr(system, side).nominal))
    (first, share), (second, other) = largest
    text = (
        f"{Line(first).label}: {share:.0%} of LLaMA's energy, {other:.0%} of BitNet's"
        if first == second
        else f"most is {Line(first).label} in LLaMA ({share:.0%}), {Line(second).label} in BitNet "
        f"({other:.0%})"
    )
    if first == second == "weights" and min(share, other) > 0.5:
        bits = machine.stored_bits("ternary")
        text += f"; at most {machine.stored_bits('fp16') / bits:.1f}x at {bits:g} bits a weight"
    return Headline(
        phase=phase,
        arithmetic=paper.ratio,
        system=system.ratio,
        largest=(largest[0], largest[1]),
        text=f"{phase}: {text}",
    )
