"""Ternary products of whole models through the RTL: a table by matrix, and blocks of random trits.

Cycles are those of the products alone. What happens between them (norms, attention, quantisation)
is not the core's, and its time is in no figure here.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed

from tritloom.arch.config import PRESETS, ArrayConfig
from tritloom.arch.driver import Job
from tritloom.arch.errors import require_int
from tritloom.arch.models.shape import ModelShape
from tritloom.arch.ternary import Packing
from tritloom.arch.tiling import make_plan
from tritloom.arch.workload import Gemm
from tritloom.console.progress import bar
from tritloom.sim.energy import predictions

from .core import SimulatedCore, compile_core
from .layer import run_checked
from .totals import RunTotals, core_lines, run_totals, show_lines, show_totals


def run_blocks(
    model: ModelShape,
    config: ArrayConfig,
    packing: Packing,
    *,
    blocks: int,
    tokens: int,
    seed: int,
    jobs: int,
    folder: Path | None = None,
    progress: Callable[[], None] = lambda: None,
) -> dict[str, RunTotals]:
    """Run the ternary products of decoder blocks, every psum checked; totals by kind of matrix.

    Each matrix has trits of its own, a third of them zero, and acts over all of int8 but -128.
    No more than one matrix is in the memory of each process.

    Parameters
    ----------
    blocks : int
        From 1 to the model's.
    jobs : int
        Processes; each takes a block at a time.
    folder : Path, optional
        Where builds are kept: `verilator.builds_folder` by default.
    progress : callable
        Called after each block.

    Raises
    ------
    InputError
        A number is out of its range, or a product does not fit the configuration.
    MismatchError
        A product is wrong: see `layer.run_checked`.
    """
    require_int("blocks", blocks, high=model.layers)
    require_int("jobs", jobs)
    require_int("seed", seed, low=0)
    for _, k, n in model.linears():
        make_plan(config, Gemm(tokens, k, n))
    # The core is compiled here once, before several processes want it.
    compile_core(config, folder)
    calls = (
        delayed(_run_block)(model, config, packing, tokens, (seed, block), folder)
        for block in range(blocks)
    )
    by_kind: dict[str, RunTotals] = {}
    for block in Parallel(n_jobs=jobs, return_as="generator_unordered")(calls):
        for name, kind in block.items():
            by_kind[name] = by_kind.get(name, RunTotals()) + kind
        progress()
    return by_kind


def _run_block(model, config, packing, tokens, seed, folder):
    rng = np.random.default_rng(seed)
    found = {}
    with SimulatedCore(config, folder) as core:
        for name, k, n in model.linears():
            job = Job(make_plan(config, Gemm(tokens, k, n)), packing)
            trits = rng.integers(-1, 1, (n, k), np.int8, endpoint=True)
            acts = rng.integers(-127, 127, (tokens, k), np.int8, endpoint=True)
            found[name] = run_totals(job, run_checked(core, job, acts, trits))
    return found


def show_blocks(
    model: ModelShape, config: ArrayConfig, packing: Packing, *, tokens: int, blocks: int, **options
) -> None:
    """Run blocks and print what they took, beside a measured machine where one is like it."""
    start = time.perf_counter()
    with bar("streaming", blocks, "blocks") as progress:
        by_kind = run_blocks(
            model, config, packing, tokens=tokens, blocks=blocks, progress=progress, **options
        )
    wall_s, every = time.perf_counter() - start, sum(by_kind.values(), RunTotals())
    show_lines(
        [
            ("model", f"{model.name}, {blocks} of {model.layers} blocks, random trits"),
            ("tokens", f"{tokens}"),
            *core_lines(config),
            ("weights", f"{packing.name}, {every.weight_bytes:,} bytes streamed"),
            ("psums", f"{every.psums:,} equal to the golden model and to a plain product"),
        ]
    )
    show_totals(by_kind)
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


def _measured_machine(model: str) -> Iterator[tuple[str, str]]:
    """(quantity, what is predicted and was measured) of the machine of preset kv260."""
    for row in predictions(model, "kv260-bitnet"):
        predicted = row.predicted
        yield (
            row.quantity,
            f"{predicted.nominal:.4g} ({predicted.low:.4g} to {predicted.high:.4g}) predicted "
            "with these cycles, the head's, the attention's and the DRAM's  "
            f"{row.tier}; {row.measured:g}  PUBLISHED",
        )


def peak_bytes() -> int:
    """Most bytes of memory that this process, or one that it started and that ended, has had."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return 1024 * max(resource.getrusage(kind).ru_maxrss for kind in kinds)
