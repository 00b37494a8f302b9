"""Notes of a report: its scope, and the assumptions that its figures rest on."""

from __future__ import annotations

from dataclasses import dataclass

from tritloom.arch.config import Dataflow
from tritloom.energy_model.costs.table import CostTable
from tritloom.energy_model.costs.tiers import Tier, weakest
from tritloom.energy_model.costs.units import si
from tritloom.energy_model.machine.evaluation import Evaluation
from tritloom.energy_model.machine.machine import Machine
from tritloom.energy_model.published import workspace_rule

from .figures import ARRAY, DIMENSIONS, PRECISION, WORKSPACE, Figure, shown


@dataclass(frozen=True, kw_only=True)
class Note:
    """A sentence on scope or on an assumption; figures refer to the latter by its `key`.

    A `caution` says what the totals leave out, or what they take from the user.
    """

    tier: Tier
    text: str
    key: str | None = None
    caution: bool = False


def build_notes(
    llama: Evaluation, bitnet: Evaluation, costs: CostTable, figures: tuple[Figure, ...]
) -> tuple[Note, ...]:
    """Write the notes, inferred assumptions first, in the order in which figures name them."""
    model, machine, workload = llama.model, llama.machine, llama.workload
    workspace = workspace_rule()
    published = [f"{f.key}: {f.published.source}" for f in figures if f.published]
    return (
        Note(
            key=DIMENSIONS if model.inferred else None,
            tier=Tier.INFERRED if model.inferred else Tier.PUBLISHED,
            text=f"dimensions: {model.source.removeprefix('INFERRED: ')}",
        ),
        Note(
            key=PRECISION,
            tier=Tier.INFERRED,
            text="precision, in both: attention (full, not causal) and embedding FP16, key-value "
            f"cache {shown(workload.kv)}, output head {shown(workload.head_weight)}; BitNet adds "
            "one FP16 multiply by a scale for each input and output element of a ternary layer",
        ),
        Note(
            key=WORKSPACE,
            tier=workspace.tier,
            text="workspace: what the paper's memory figures hold beyond weights, embedding, head "
            f"and key-value cache; {workspace.source}",
        ),
        Note(key=ARRAY, tier=Tier.INFERRED, text=_array_note(machine)),
        Note(
            tier=Tier.DERIVED,
            text="energy has figure 3's scope, arithmetic of the decoder blocks: no embedding, no "
            "output head, no norms, no softmax, no memory traffic; every addition of a ternary "
            f"product is priced at 8 bits; costs `{costs.name}`",
        ),
        *([Note(tier=Tier.DERIVED, caution=True, text=costs.note)] if costs.note else []),
        *_system_notes(llama, bitnet),
        *_time_notes(llama),
        Note(tier=Tier.PUBLISHED, text=f"ratios: {'; '.join(published)}"),
    )


def _array_note(machine: Machine) -> str:
    if machine.is_roofline:
        return (
            f"roofline: peaks at {machine.peaks.efficiency:.0%}, bandwidth at "
            f"{machine.dram.efficiency:.0%} of what is published; ternary weights are multiplied "
            f"as {machine.compute['ternary']}"
        )
    other = machine.compute["ternary"]
    as_other = f"; ternary weights are multiplied as {other}" * (other != "ternary")
    return (
        "FP16 array: of the ternary array's shape, clock and pipeline, so that each product takes "
        f"the same cycles; it adds in FP16; attention and output head of both run on it{as_other}"
    )


def _system_notes(llama: Evaluation, bitnet: Evaluation) -> list[Note]:
    """Write notes on energy with memory: costs, on-chip memory, static power, missing prices."""
    machine, prices = llama.machine, bitnet.prices
    energies = [
        energy
        for side in (llama, bitnet)
        for one in side.passes.values()
        for energy in one.energies(side.prices).values()
    ]
    levels = {
        level: prices.priced(level)
        for level in ("hop_bits", "buffer_bits", "sram_bits", "dram_bits")
        if any(action.endswith(level) for e in energies for action in e.by_action)
    }
    if any("select" in e.by_action for e in energies):
        levels["select"] = prices.priced("select")
    notes = [
        Note(
            tier=weakest([Tier.DERIVED, *(cost.tier for cost in levels.values())]),
            text="with memory: every line of the machine, with the output head; a ternary sum at "
            "the width it has in the array; slots without a token hold still and cost registers "
            "only; ratios move each cost in both systems at once; "
            + "; ".join(f"{level}: {cost.source} ({cost.tier})" for level, cost in levels.items()),
        ),
        Note(
            tier=machine.static.tier,
            caution=True,
            text=f"static power: {si(machine.static.watts.nominal, 'W')}, {machine.static.source}; "
            "--leakage sets it",
        ),
    ]
    resident = [
        name
        for name, side in (("LLaMA", llama), ("BitNet", bitnet))
        if side.passes["decode"].resident
    ]
    if machine.sram.bytes:
        never = f"; all weights of {' and '.join(resident)} do, and cross never" * bool(resident)
        notes.append(
            Note(
                tier=machine.sram.tier,
                text=f"on-chip memory of {si(machine.sram.bytes, 'B')} ({machine.sram.source}): "
                "acts and psums that fit stay there, a layer's weights that fit cross the DRAM "
                f"interface once{never}",
            )
        )
    if unpriced := sorted({action for e in energies for action in e.unpriced}):
        notes.append(
            Note(
                tier=Tier.INFERRED,
                caution=True,
                text=f"unpriced: costs have no {', '.join(unpriced)}: unknown, not zero",
            )
        )
    return notes


def _time_notes(llama: Evaluation) -> list[Note]:
    machine, batch = llama.machine, llama.workload.batch
    what = "operations at peak rate" if machine.is_roofline else "array cycles (arch.timing)"
    stays = "" if machine.sram.bytes else "; nothing stays on chip between layers"
    notes = [
        Note(
            tier=Tier.DERIVED,
            text=f"decode latency adds up, over the layers, the longer of {what} and bytes at DRAM "
            f"bandwidth{stays}",
        )
    ]
    if not machine.is_roofline:
        rates = [
            si(rate, "B/s")
            for rate in (
                machine.weight_bytes_per_s("ternary"),
                machine.weight_bytes_per_s("fp16"),
                machine.dram.bytes_per_s,
            )
        ]
        array = machine.array
        output = array.dataflow == Dataflow.OUTPUT_STATIONARY
        held = f"; at batch {batch}, {min(batch, array.rows)} of {array.rows} rows hold a token"
        notes.append(
            Note(
                tier=Tier.DERIVED,
                text=f"weights enter the array at up to {rates[0]} "
                f"({machine.stored_bits('ternary'):g} bit) or {rates[1]} (FP16), the DRAM delivers "
                f"{rates[2]}{held * output}",
            )
        )
    if machine.dram.bytes and llama.memory_bytes > machine.dram.bytes:
        notes.append(
            Note(
                tier=Tier.DERIVED,
                caution=True,
                text=f"FP16 LLaMA needs more than the {si(machine.dram.bytes, 'B')} of one such "
                "memory: take it as several, side by side in capacity but not in bandwidth",
            )
        )
    return notes
