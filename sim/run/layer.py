"""A whole linear layer through the RTL: every output is checked, cycles and joules are printed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tritloom.arch import timing
from tritloom.arch.config import ArrayConfig
from tritloom.arch.counts import array_counts, core_counters
from tritloom.arch.driver import Job
from tritloom.arch.errors import MismatchError
from tritloom.arch.ternary import TRIT5, Packing
from tritloom.arch.tiling import make_plan
from tritloom.arch.workload import Gemm
from tritloom.console.progress import bar
from tritloom.sim.energy import show_energy
from tritloom.sim.golden.linear import ternary_gemm
from tritloom.sim.golden.quantise import absmax_acts, to_trits

from .core import GemmRun, SimulatedCore
from .totals import core_lines, show_lines


@dataclass(frozen=True, kw_only=True)
class LayerRun:
    """A layer that ran through the RTL and was found equal to every other witness.

    Attributes
    ----------
    job : Job
    zero_share : float
        Share of the trits that are zero.
    weight_scale : float
        What each weight was divided by.
    rtl : GemmRun
    build_s : float
        Wall time, MEASURED on this machine.
    """

    job: Job
    zero_share: float
    weight_scale: float
    rtl: GemmRun
    build_s: float

    @property
    def busy(self) -> float:
        """Share of cycles in which the array took a beat, from the core's counters."""
        return self.rtl.counters["BUSY"] / self.rtl.cycles

    @property
    def bits_per_trit(self) -> float:
        """Bits of weight stream for each weight of the layer, padding included."""
        passes = self.job.plan.token_groups
        return 8 * self.rtl.weight_bytes / passes / (self.job.plan.gemm.k * self.job.plan.gemm.n)

    @property
    def utilisation(self) -> float:
        """Share of multiply-accumulate slots with a trit of the layer, fill and drain included."""
        return self.job.plan.gemm.macs / (self.rtl.cycles * self.job.plan.config.macs_per_cycle)


def run_layer(
    weights: np.ndarray,
    config: ArrayConfig,
    *,
    packing: Packing = TRIT5,
    tokens: int | None = None,
    seed: int = 0,
    builds: Path | None = None,
) -> LayerRun:
    """Quantise a layer as BitNet b1.58 does, stream it through the RTL and check every output.

    Parameters
    ----------
    weights : ndarray of float, shape (n, k)
        Trits are taken as they are, anything else is quantised by absmean.
    config : ArrayConfig
        The array of the core.
    packing : Packing
        Packing of the weight stream.
    tokens : int, optional
        Rows of acts; as many as share a pass of the weights by default. They are standard normal
        (what a norm in front of the layer gives), quantised by absmax per token.
    seed : int
        Seed of the acts.
    builds : Path, optional
        Where builds are kept: `tritloom.sim.verilator.builds_folder()` by default.

    Returns
    -------
    LayerRun
        Psums, cycles and counters of the RTL, with wall times.

    Raises
    ------
    InputError
        The layer does not fit the configuration, or `tokens` is below 1.
    MismatchError
        The RTL, the golden model, a plain product, the formulas of `tritloom.arch.timing` and the
        plan are not all equal.
    """
    quantised = to_trits(weights)
    trits = quantised.values
    n, k = trits.shape
    plan = make_plan(config, Gemm(config.group_tokens if tokens is None else tokens, k, n))
    normal = np.random.default_rng(seed).standard_normal((plan.gemm.m, k), np.float32)
    acts = absmax_acts(normal, bits=config.act_bits).values

    start = time.perf_counter()
    job = Job(plan, packing)
    with (
        SimulatedCore(config, builds) as core,
        bar("streaming", job.rows_out, "rows of psums") as progress,
    ):
        built = time.perf_counter()
        run = run_checked(core, job, acts, trits, progress=progress)
    return LayerRun(
        job=job,
        zero_share=float((trits == 0).mean()),
        weight_scale=float(quantised.scale),
        rtl=run,
        build_s=built - start,
    )


def run_checked(
    core: SimulatedCore, job: Job, acts, trits, *, weights: np.ndarray | None = None, **options
) -> GemmRun:
    """Run a Gemm on the RTL and hold it against every other witness.

    Parameters
    ----------
    weights : ndarray of uint8, optional
        `job.weights(trits)`, where it is at hand.
    **options
        Options of `SimulatedCore.run`.

    Raises
    ------
    MismatchError
        The RTL, the golden model, a plain product, `arch.timing` and `arch.counts` are not all
        equal.
    """
    weights = job.weights(trits) if weights is None else weights
    run = core.run(job, acts, weights, **options)
    check(job, acts, trits, psums=run.psums, counters=run.counters)
    formula = timing.core_cycles(job.plan, job.packing)
    if run.cycles != formula:
        raise MismatchError(f"cycles: the RTL says {run.cycles}, the formulas {formula}")
    return run


def check(job: Job, acts, trits, *, psums: np.ndarray, counters: dict[str, int]) -> None:
    """`MismatchError` where a run's psums or its counters differ from what they must be."""
    for name, wanted in (
        ("the golden model", ternary_gemm(acts, trits)),
        ("a plain integer product", acts.astype(np.int64) @ trits.astype(np.int64).T),
    ):
        wrong = np.argwhere(psums != wanted)
        if wrong.size:
            m, n = wrong[0]
            raise MismatchError(
                f"{len(wrong)} of {wanted.size} outputs differ from {name}: "
                f"token {m}, feature {n} is {psums[m, n]}, not {wanted[m, n]}"
            )
    for name, wanted in core_counters(job.plan, nonzero=int(np.count_nonzero(trits))).items():
        if counters[name] != wanted:
            raise MismatchError(f"{name}: the RTL says {counters[name]}, the formulas {wanted}")


def report(run: LayerRun, name: str) -> list[tuple[str, str]]:
    """(what, figure) of a run, each figure with its tier."""
    plan, config, packing = run.job.plan, run.job.plan.config, run.job.packing
    gemm, counters = plan.gemm, run.rtl.counters
    rate, formula = run.rtl.cycles / run.rtl.seconds, timing.core_cycles(plan, packing)
    time_us = run.rtl.cycles / config.clock_hz * 1e6
    return [
        ("layer", f"{name}: {gemm.k} to {gemm.n} features, {gemm.m} tokens"),
        *core_lines(config),
        ("zero trits", f"{run.zero_share:.1%}, weight scale {run.weight_scale:.5g}  MEASURED"),
        ("weights", f"{packing.name}, {run.bits_per_trit:.4f} bit a trit, padding included"),
        ("outputs", f"{gemm.m * gemm.n:,} equal to the golden model and to a plain product"),
        ("cycles", f"{run.rtl.cycles:,} from the RTL, {formula:,} by the formula"),
        ("beats", f"{counters['BUSY']:,} from the core's counter, {plan.beats:,} by the plan"),
        ("busy", f"{run.busy:.2%} of cycles, {run.utilisation:.2%} of multiply-accumulate slots"),
        ("time", f"{time_us:.2f} us at {config.clock_hz / 1e6:g} MHz  DERIVED (cycles x clock)"),
        (
            "simulation",
            f"{rate:,.0f} cycles/s, {rate * config.macs_per_cycle / 1e6:,.1f} M ternary "
            f"operations/s, {run.rtl.seconds:.1f} s  MEASURED; build {run.build_s:.1f} s",
        ),
    ]


def show_layer(run: LayerRun, name: str) -> None:
    """Print the report and the joules by category."""
    show_lines(report(run, name))
    job = run.job
    counts = array_counts(job.plan, bits_per_trit=job.packing.bits_per_trit)
    tokens = job.plan.gemm.m
    show_energy(f"the layer, {tokens} tokens, weights as {job.packing.name}", counts)
