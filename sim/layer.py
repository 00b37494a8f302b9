"""A whole linear layer through the RTL, every output checked, with its cycles and its joules."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from arch import timing
from arch.config import ArrayConfig
from arch.counts import array_counts
from arch.errors import MismatchError
from arch.ternary import TRIT2
from arch.tiling import Plan
from arch.workload import Gemm

from .golden.linear import ternary_gemm
from .golden.quantise import absmax_acts, to_trits
from .harness import Machine, Run

BUILDS = Path("build/sim")


@dataclass(frozen=True, kw_only=True)
class LayerRun:
    """A layer that ran through the RTL and was found equal to every other witness.

    Attributes
    ----------
    plan : Plan
    zero_share : float
        Of the trits.
    weight_scale : float
        What a psum's weight was divided by.
    rtl : Run
    build_s, simulate_s : float
        Wall time, MEASURED on this machine.
    """

    plan: Plan
    zero_share: float
    weight_scale: float
    rtl: Run
    build_s: float
    simulate_s: float

    @property
    def busy(self) -> float:
        """Share of cycles that took a beat, from the RTL's counters."""
        return self.rtl.perf["beats"] / self.rtl.cycles

    @property
    def utilisation(self) -> float:
        """Share of multiply-accumulate slots with a trit of the layer, fill and drain included."""
        return self.plan.gemm.macs / (self.rtl.cycles * self.plan.config.macs_per_cycle)


def run_layer(
    weights: np.ndarray,
    config: ArrayConfig,
    *,
    tokens: int | None = None,
    seed: int = 0,
    builds: Path = BUILDS,
) -> LayerRun:
    """Quantise a layer as BitNet b1.58 does, stream it through the RTL and check every output.

    Parameters
    ----------
    weights : ndarray of float, shape (n, k)
        Trits are taken as they are, anything else is quantised by absmean.
    tokens : int, optional
        Rows of acts; as many as the array has by default. They are standard normal (what a norm in
        front of the layer gives), quantised by absmax per token.

    Raises
    ------
    InputError
        The layer does not fit the configuration, or `tokens` is below 1.
    MismatchError
        The RTL, the golden model, a plain product, `arch.timing` and the plan are not all equal.
    """
    quantised = to_trits(weights)
    trits = quantised.values
    n, k = trits.shape
    plan = Plan(config, Gemm(config.rows if tokens is None else tokens, k, n))
    normal = np.random.default_rng(seed).standard_normal((plan.gemm.m, k), np.float32)
    acts = absmax_acts(normal, bits=config.act_bits).values

    start = time.perf_counter()
    with Machine(config, builds) as machine, _progress(plan.beats) as progress:
        built = time.perf_counter()
        run = machine.run(plan, acts, trits, progress=progress)
    done = time.perf_counter()

    for name, wanted in (
        ("the golden model", ternary_gemm(acts, trits)),
        ("a plain integer product", acts.astype(np.int64) @ trits.astype(np.int64).T),
    ):
        wrong = np.argwhere(run.psums != wanted)
        if wrong.size:
            m, n = wrong[0]
            raise MismatchError(
                f"{len(wrong)} of {wanted.size} outputs differ from {name}: "
                f"token {m}, feature {n} is {run.psums[m, n]}, not {wanted[m, n]}"
            )
    for name, found, wanted in (
        ("cycles", run.cycles, timing.gemm_cycles(plan)),
        ("beats", run.perf["beats"], plan.beats),
    ):
        if found != wanted:
            raise MismatchError(f"the RTL took {found} {name}, arch.timing says {wanted}")
    return LayerRun(
        plan=plan,
        zero_share=float((trits == 0).mean()),
        weight_scale=float(quantised.scale),
        rtl=run,
        build_s=built - start,
        simulate_s=done - built,
    )


def report(run: LayerRun, name: str) -> list[tuple[str, str]]:
    """(what, figure) of a run, each figure with its tier."""
    plan, config = run.plan, run.plan.config
    gemm, perf = plan.gemm, run.rtl.perf
    simulated = run.rtl.cycles / run.simulate_s
    return [
        ("layer", f"{name}: {gemm.k} to {gemm.n} features, {gemm.m} tokens"),
        ("array", f"{config.shape}, {config.macs_per_cycle:,} multiply-accumulates a cycle"),
        ("zero trits", f"{run.zero_share:.1%}, weight scale {run.weight_scale:.5g}  MEASURED"),
        ("outputs", f"{gemm.m * gemm.n:,} equal to the golden model and to a plain product"),
        ("cycles", f"{run.rtl.cycles:,} from the RTL, {timing.gemm_cycles(plan):,} by the formula"),
        ("beats", f"{perf['beats']:,} from the RTL's counter, {plan.beats:,} by the plan"),
        ("busy", f"{run.busy:.2%} of cycles, {run.utilisation:.2%} of multiply-accumulate slots"),
        ("time", f"{run.rtl.cycles / config.clock_hz * 1e6:.2f} us at "
                    f"{config.clock_hz / 1e6:g} MHz  DERIVED (cycles x preset clock)"),
        ("simulation", f"{simulated:,.0f} cycles/s, {simulated * config.macs_per_cycle / 1e6:,.1f} "
                       f"M ternary operations/s, {run.simulate_s:.1f} s  MEASURED; "
                       f"build {run.build_s:.1f} s"),
    ]  # fmt: skip


def show(run: LayerRun, name: str):
    """Print the report and, by way of `energy_model`, the joules by category."""
    rows = report(run, name)
    width = max(len(what) for what, _ in rows)
    for what, figure in rows:
        print(f"{what:<{width}}  {figure}")
    counts = array_counts(run.plan, bits_per_trit=TRIT2.bits_per_trit)
    print(f"\nenergy of the layer, {run.plan.gemm.m} tokens, weights as trit2:", flush=True)
    # As a command: the simulation must not depend on the cost tables, nor they on it.
    subprocess.run(
        [sys.executable, "-m", "energy_model", "counts", "-"],
        input=json.dumps(dict(counts)),
        text=True,
        check=True,
    )


@contextlib.contextmanager
def _progress(beats: int) -> Iterator[Callable[[int], None]]:
    """A bar on standard error where that is a terminal; call it with the beats done since."""
    console = Console(stderr=True)
    with Progress(
        TextColumn("streaming"),
        BarColumn(),
        TextColumn("{task.completed:,} of {task.total:,} beats"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task("", total=beats)
        yield lambda done: bar.advance(task, done)
