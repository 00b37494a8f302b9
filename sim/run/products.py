"""Ternary products of whole models through the RTL: a table by matrix, and blocks of random trits.

Cycles are those of the products alone. What happens between them (norms, attention, quantisation)
is not the core's, and its time is in no figure here.
"""

from __future__ import annotations

import contextlib
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from tritloom.arch import timing
from tritloom.arch.config import PRESETS, ArrayConfig
from tritloom.arch.driver import Job
from tritloom.arch.errors import require_int
from tritloom.arch.models.shape import ModelShape
from tritloom.arch.ternary import Packing
from tritloom.arch.tiling import make_plan
from tritloom.arch.workload import Gemm

from .core import Machine, Run, compile_core
from .layer import run_checked


@dataclass(frozen=True, kw_only=True)
class Totals:
    """What runs of the core took together; they add.

    Attributes
    ----------
    runs, psums, macs, weight_bytes : int
    cycles : int
        Of the RTL.
    formula : int
        The same by `arch.timing.core_cycles`.
    beats : int
        By the core's counter: cycles in which the array took one.
    zero_trits, trits : int
        By the core's counters, padding included.
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

    def __add__(self, other: Totals) -> Totals:
        names = [field.name for field in fields(self)]
        return Totals(**{name: getattr(self, name) + getattr(other, name) for name in names})

    @property
    def busy(self) -> float:
        """Share of cycles in which the array took a beat."""
        return self.beats / self.cycles

    @property
    def utilisation(self) -> float:
        """Share of multiply-accumulate slots that did useful work."""
        return self.macs / self.slots


def totals(job: Job, run: Run) -> Totals:
    """Of one run."""
    gemm = job.plan.gemm
    return Totals(
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


def show_table(by_kind: dict[str, Totals]):
    """Print a row for each kind of matrix, and one for all."""
    shown = Table(box=None, pad_edge=False)
    headings = ("products", "runs", "cycles, RTL", "cycles, formula", "busy", "slots used", "zeros")
    for heading in headings:
        shown.add_column(heading, justify="left" if heading == "products" else "right")
    for name, kind in (*by_kind.items(), ("all", sum(by_kind.values(), Totals()))):
        shown.add_row(
            name,
            f"{kind.runs:,}",
            f"{kind.cycles:,}",
            f"{kind.formula:,}",
            f"{kind.busy:.2%}",
            f"{kind.utilisation:.2%}",
            f"{kind.zero_trits / kind.trits:.1%}",
        )
    Console(width=None if sys.stdout.isatty() else 120).print(shown)


def run_blocks(
    model: ModelShape,
    config: ArrayConfig,
    packing: Packing,
    *,
    blocks: int,
    tokens: int,
    seed: int,
    jobs: int,
    folder: Path,
    progress: Callable[[], None] = lambda: None,
) -> dict[str, Totals]:
    """Run the ternary products of decoder blocks, every psum checked; totals by kind of matrix.

    Each matrix has trits of its own, a third of them zero, and acts over all of int8 but -128.
    No more than one matrix is in the memory of each process.

    Parameters
    ----------
    blocks : int
        From 1 to the model's.
    jobs : int
        Processes; each takes a block at a time.
    progress : callable
        Called after each block.

    Raises
    ------
    InputError
    MismatchError
        As `layer.run_checked`.
    """
    require_int("blocks", blocks, high=model.layers)
    require_int("jobs", jobs)
    require_int("seed", seed, low=0)
    for _, k, n in model.linears():
        make_plan(config, Gemm(tokens, k, n))
    # Before several processes want it.
    compile_core(config, folder)
    calls = (
        delayed(_run_block)(model, config, packing, tokens, (seed, block), folder)
        for block in range(blocks)
    )
    by_kind: dict[str, Totals] = {}
    for block in Parallel(n_jobs=jobs, return_as="generator_unordered")(calls):
        for name, kind in block.items():
            by_kind[name] = by_kind.get(name, Totals()) + kind
        progress()
    return by_kind


def _run_block(model, config, packing, tokens, seed, folder):
    rng = np.random.default_rng(seed)
    found = {}
    with Machine(config, folder) as machine:
        for name, k, n in model.linears():
            job = Job(make_plan(config, Gemm(tokens, k, n)), packing)
            trits = rng.integers(-1, 1, (n, k), np.int8, endpoint=True)
            acts = rng.integers(-127, 127, (tokens, k), np.int8, endpoint=True)
            found[name] = totals(job, run_checked(machine, job, acts, trits))
    return found


@contextlib.contextmanager
def bar(what: str, total: int, unit: str) -> Iterator[Callable[..., None]]:
    """A progress bar on standard error where that is a terminal; call it after each step.

    Or with the number of steps.
    """
    console = Console(stderr=True)
    with Progress(
        TextColumn(what),
        BarColumn(),
        TextColumn(f"{{task.completed:,}} of {{task.total:,}} {unit}"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as shown:
        task = shown.add_task("", total=total)
        yield lambda steps=1: shown.advance(task, steps)


def show_blocks(
    model: ModelShape, config: ArrayConfig, packing: Packing, *, tokens: int, blocks: int, **options
):
    """Run blocks and print what they took; beside a measured machine, where one is like it."""
    start = time.perf_counter()
    with bar("streaming", blocks, "blocks") as progress:
        by_kind = run_blocks(
            model, config, packing, tokens=tokens, blocks=blocks, progress=progress, **options
        )
    wall_s, every = time.perf_counter() - start, sum(by_kind.values(), Totals())
    show_lines(
        [
            ("model", f"{model.name}, {blocks} of {model.layers} blocks, random trits"),
            ("tokens", f"{tokens}"),
            *core_lines(config),
            ("weights", f"{packing.name}, {every.weight_bytes:,} bytes streamed"),
            ("psums", f"{every.psums:,} equal to the golden model and to a plain product"),
        ]
    )
    show_table(by_kind)
    rate, operations = every.cycles / every.seconds, every.slots / every.seconds / 1e6
    time_ms, clock_mhz = every.cycles / config.clock_hz * 1e3, config.clock_hz / 1e6
    show_lines(
        [
            ("time", f"{time_ms:,.3f} ms at {clock_mhz:g} MHz, products alone  DERIVED"),
            (
                "simulation",
                f"{every.seconds:,.1f} s, {rate:,.0f} cycles/s, {operations:,.1f} M "
                "ternary operations/s  MEASURED",
            ),
            ("wall time", f"{wall_s:,.1f} s, compilation and checks included  MEASURED"),
            ("memory", f"{peak_bytes() / 1e9:.2f} GB in the largest process  MEASURED"),
        ]
    )
    if config == PRESETS["kv260"] and (tokens, blocks) == (1, model.layers):
        show_lines(_measured_machine(model.name))


def _measured_machine(model):
    """What `energy_model` predicts of the machine of preset kv260, beside what was measured."""
    # As a command: the simulation must not depend on the cost tables, nor they on it.
    done = subprocess.run(
        [sys.executable, "-m", "energy_model", "validate", "--format", "json"],
        capture_output=True,
        text=True,
        check=True,
    )
    for row in json.loads(done.stdout):
        if row["model"] == model and row["hardware"] == "kv260-bitnet":
            yield (
                row["quantity"],
                f"{row['predicted']:.4g} ({row['predicted_low']:.4g} to "
                f"{row['predicted_high']:.4g}) predicted with these cycles, the head's, the "
                f"attention's and the DRAM's  {row['tier']}; {row['measured']:g}  PUBLISHED",
            )


def core_lines(config: ArrayConfig) -> list[tuple[str, str]]:
    """The line of a report that describes the core."""
    macs = f"{config.macs_per_cycle:,} multiply-accumulates a cycle"
    return [("core", f"{config.shape}, {config.dataflow}, {macs}, AXI")]


def show_lines(lines: Iterable[tuple[str, str]]):
    """Print (what, figure) in two columns."""
    for what, figure in lines:
        print(f"{what:<14}{figure}")


def peak_bytes() -> int:
    """Most memory that this process, or one that it started and that has ended, has had."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return 1024 * max(resource.getrusage(kind).ru_maxrss for kind in kinds)
