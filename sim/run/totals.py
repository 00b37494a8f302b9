"""What several runs of the core add up to, and how commands print it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

from tritloom.arch import timing
from tritloom.arch.config import ArrayConfig
from tritloom.arch.driver import Job
from tritloom.console.sheet import RULE, Bold, Sheet, Table, show

from .core import GemmRun


@dataclass(frozen=True, kw_only=True)
class RunTotals:
    """What runs of the core took together; totals add.

    Attributes
    ----------
    runs, psums, macs, weight_bytes : int
    cycles : int
        Cycles of the RTL.
    formula : int
        Cycles by `arch.timing.core_cycles`.
    beats : int
        Cycles in which the array took a beat, by the core's counter.
    zero_trits, trits : int
        Trits that entered the array, padding included, by the core's counters.
    slots : int
        Multiply-accumulates that the array could have done in these cycles.
    seconds : float
        Wall time of the simulation.
    """

    runs: int = 0
    psums: int = 0
    macs: int = 0
    weight_bytes: int = 0
    cycles: int = 0
    formula: int = 0
    beats: int = 0
    zero_trits: int = 0
    trits: int = 0
    slots: int = 0
    seconds: float = 0.0

    def __add__(self, other: RunTotals) -> RunTotals:
        names = [field.name for field in fields(self)]
        return RunTotals(**{name: getattr(self, name) + getattr(other, name) for name in names})

    @property
    def busy(self) -> float:
        """Share of cycles in which the array took a beat."""
        return self.beats / self.cycles

    @property
    def utilisation(self) -> float:
        """Share of multiply-accumulate slots that did useful work."""
        return self.macs / self.slots


def run_totals(job: Job, run: GemmRun) -> RunTotals:
    """Totals of one run."""
    gemm = job.plan.gemm
    return RunTotals(
        runs=1,
        psums=gemm.m * gemm.n,
        macs=gemm.macs,
        weight_bytes=run.weight_bytes,
        cycles=run.cycles,
        formula=timing.core_cycles(job.plan, job.packing),
        beats=run.counters["BUSY"],
        zero_trits=run.counters["ZERO_TRITS"],
        trits=run.counters["TRITS"],
        slots=run.cycles * job.plan.config.macs_per_cycle,
        seconds=run.seconds,
    )


def totals_sheet(by_kind: Mapping[str, RunTotals]) -> Sheet:
    """A table with a row for each kind of matrix, and one for all."""
    headers = ("products", ">runs", ">cycles, RTL", ">cycles, formula")
    rows: list[tuple[str, ...]] = [_row(name, kind) for name, kind in by_kind.items()]
    every = Bold(_row("all", sum(by_kind.values(), RunTotals())))
    table = Table(headers=(*headers, ">busy", ">slots used", ">zeros"), rows=[*rows, RULE, every])
    return Sheet(parts=[table])


def _row(name: str, kind: RunTotals) -> tuple[str, ...]:
    return (
        name,
        f"{kind.runs:,}",
        f"{kind.cycles:,}",
        f"{kind.formula:,}",
        f"{kind.busy:.2%}",
        f"{kind.utilisation:.2%}",
        f"{kind.zero_trits / kind.trits:.1%}",
    )


def show_totals(by_kind: Mapping[str, RunTotals]) -> None:
    """Print the table of `totals_sheet`."""
    show(totals_sheet(by_kind))


def core_lines(config: ArrayConfig) -> list[tuple[str, str]]:
    """The line of a report that describes the core."""
    macs = f"{config.macs_per_cycle:,} multiply-accumulates a cycle"
    return [("core", f"{config.shape}, {config.dataflow}, {macs}, AXI")]


def show_lines(lines: Iterable[tuple[str, str]]) -> None:
    """Print (what, figure) pairs in two columns."""
    pairs = list(lines)
    width = 2 + max(len(what) for what, _ in pairs)
    for what, figure in pairs:
        print(f"{what:<{width}}{figure}")
