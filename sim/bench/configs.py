"""Random configurations: each is refused in one line, or made, linted and run through its benches.

    python -m sim fuzz-configs --seconds 3600 --seed 1

A configuration depends on the seed and its own number alone, and has a process of its own, so that
whatever ends that process is a failure of this configuration and of no other.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tritloom.arch import timing
from tritloom.arch.config import PRESETS, ArrayConfig, Dataflow, Technology
from tritloom.arch.errors import InputError, MismatchError, require_int
from tritloom.arch.ports import PSUM_STREAM_BITS
from tritloom.arch.ternary import PACKINGS
from tritloom.arch.tiling import make_plan
from tritloom.arch.workload import Gemm
from tritloom.console.command import Interrupted
from tritloom.console.progress import bar
from tritloom.hw import lint, yosys
from tritloom.hw.emit import Rtl
from tritloom.hw.verilog import MOST_ACT_BEATS, generate, generate_core
from tritloom.sim import verilator

from .runner import run_array_bench
from .scenarios import CORE_SCENARIOS, CORE_TESTS

# What a configuration has at most, so that it takes seconds: multiply-accumulates a cycle, where
# each is compiled and where each is a heap of cells; bits of its buffers; cycles of its Gemms.
MOST_MACS, MOST_CELLS, MOST_BUFFER_BITS, MOST_CYCLES = 384, 96, 1 << 22, 600
# A configuration that takes longer hangs.
HANG_S = 900
BUILDS = Path("build/fuzz-configs")

# Sizes as they are drawn: the least, primes, powers of two and their neighbours.
_SIZES = (1, 1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 17, 31, 32, 33, 61, 64, 65, 128)
_COUNTS = (1, 1, 2, 3, 5, 8, 64, 1 << 40)
_MOST_K = (1 << 15, (1 << 15) - 1, 1 << 30)


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of a configuration.

    Attributes
    ----------
    parameters : dict
        As they were drawn.
    ran : tuple of str
        What it went through, of "refused", "array", "core", "core's scenarios" and "core's lint".
    failure : str
        One line; "" where all is well.
    """

    parameters: dict
    ran: tuple[str, ...] = ()
    failure: str = ""


def _pick(rng, values):
    return values[int(rng.integers(len(values)))]


def draw_parameters(rng: np.random.Generator) -> dict:
    """Parameters of `ArrayConfig` at random, extremes among them; a tenth does not go together."""
    odd = rng.random() < 0.1
    while True:
        sizes = {name: _pick(rng, _SIZES) for name in ("rows", "cols", "lanes")}
        technology = _pick(rng, (*[Technology.GENERIC] * 3, Technology.ECP5, Technology.ASIC))
        generic = technology == Technology.GENERIC
        macs = sizes["rows"] * sizes["cols"] * sizes["lanes"]
        if macs <= (MOST_MACS if generic else MOST_CELLS):
            break
    if not (generic or odd):
        sizes["lanes"] = 1 << (sizes["lanes"].bit_length() - 1)
    stationary = _pick(rng, list(Dataflow)) if generic or odd else Dataflow.OUTPUT_STATIONARY
    step = sizes["lanes"] * (1 if stationary == Dataflow.OUTPUT_STATIONARY else sizes["rows"])
    divisors = [cols for cols in range(1, sizes["cols"] + 1) if sizes["cols"] % cols == 0]
    around = (1, 2, 3, step - 1, step, step + 1, 2 * step - 1, 2 * step + 1, 4 * step, 5 * step + 3)
    parameters = sizes | {
        "act_bits": _pick(rng, (2, 3, 4, 5, 7, 8, 8, 8, 9, 12, 15, 16)),
        "max_k": max(1, _pick(rng, (*around, int(rng.integers(1, 8 * step + 2)), *_MOST_K))),
        "cols_per_hop": _pick(rng, _COUNTS if odd else divisors),
        "input_stages": _pick(rng, (1, 1, 0)),
        "levels_per_stage": _pick(rng, _COUNTS),
        "select_stages": _pick(rng, (0, 0, 1)),
        "dataflow": str(stationary),
        "technology": str(technology),
        "diagnostics": bool(rng.integers(8)),
    }
    if stationary == Dataflow.WEIGHT_STATIONARY:
        parameters["buffer_tokens"] = _pick(
            rng, (1, 1, 2, 3, 4, 5, 7, 8, 13, 16, 31, 64, 512, 1 << 16)
        )
    if technology == Technology.ECP5:
        parameters["lanes_per_chain"] = 1 << int(rng.integers(6)) if not odd else _pick(rng, _SIZES)
        parameters["lanes_per_stage"] = _pick(rng, _COUNTS)
        parameters["hosted_selects"] = _pick(rng, (0, *_COUNTS))
    if technology == Technology.ASIC:
        parameters["carries_per_stage"] = _pick(rng, (2, 3, 4, 5, 9, 16, 17, 100, 1 << 40))
        if not odd:
            parameters["select_stages"] = 0
    if stationary == Dataflow.WEIGHT_STATIONARY and not odd:
        parameters["input_stages"] = 1
    if technology == Technology.ECP5 and sizes["lanes"] == 1 and not odd:
        parameters["input_stages"] = 1
    return parameters


def draw(seed: int, number: int) -> tuple[dict, np.random.Generator]:
    """Parameters of the configuration of this number, and the generator that its Gemms come of."""
    rng = np.random.default_rng([seed, number])
    return draw_parameters(rng), rng


def draw_gemms(config: ArrayConfig, rng: np.random.Generator) -> list[tuple[int, int, int]]:
    """The least Gemm, then others of a few cycles together: less than a tile, whole ones, more."""
    sides = config.group_tokens, config.slices_per_tile * config.lanes, config.cols
    gemms, left = [], MOST_CYCLES
    for trial in range(60):
        m, k, n = (
            _pick(rng, (1, 1, max(side - 1, 1), side, side + 1, int(rng.integers(1, 3 * side + 1))))
            for side in sides
        )
        k = config.max_k if rng.integers(4) == 0 else min(k, config.max_k)
        gemm = Gemm(m, k, n) if trial else Gemm(1, 1, 1)
        plan = make_plan(config, gemm)
        cycles = max(timing.core_cycles(plan, packing) for packing in PACKINGS.values())
        if not trial or (cycles <= left and gemm.macs < 1 << 20):
            gemms.append((gemm.m, gemm.k, gemm.n))
            left -= cycles
        if len(gemms) == 7:
            break
    return gemms


def lint_warnings(
    rtl: Rtl, folder: Path, waivers: tuple[lint.Waiver, ...] = lint.WAIVERS
) -> list[str]:
    """Warnings of Verilator's lint about our Verilog, without those that are waived.

    All rules are on. What it says about the cells of a vendor is left out.
    """
    source, waived = folder / "dut.v", folder / "dut.vlt"
    source.write_text(rtl.verilog)
    waived.write_text(lint.configuration(waivers))
    cells = yosys.path(yosys.ECP5_CELLS)
    library = [Path(f"-I{cells.parent}"), cells] if yosys.library(rtl.verilog) else []
    found = verilator.lint(*library, waived, source, top=rtl.top)
    return [line for line in found if str(cells.parent) not in line]


def check(parameters: dict, rng: np.random.Generator, folder: Path, *, seed: int = 0) -> Result:
    """Run a configuration through all that it can be run through.

    Parameters
    ----------
    folder : Path
        Where builds are kept.
    seed : int
        Of the benches.
    """
    ran: list[str] = []
    try:
        failure = _failure(parameters, rng, folder, seed, ran)
    except Exception as error:
        # Whatever it is, it is this configuration's failure.
        lines = str(error).splitlines()
        what = f"{type(error).__name__}: {lines[0] if lines else ''}"
        failure = f"{_next(ran)}: {what}"
    return Result(parameters=parameters, ran=tuple(ran), failure=failure)


def _next(ran):
    return f"after {ran[-1]}" if ran else "at first"


def _failure(parameters, rng, folder, seed, ran):
    """What is wrong, or ""; adds to `ran` what it went through."""
    try:
        config = ArrayConfig(**parameters)
    except InputError as error:
        ran.append("refused")
        return "" if len(str(error).splitlines()) == 1 else "the refusal is not one line"
    gemms = draw_gemms(config, rng)
    tops, failures = {"array": generate}, []
    bench = functools.partial(run_array_bench, seed=seed, simulator="verilator", folder=folder)
    why = _no_core(config)
    if not why:
        tops["core"] = generate_core
    else:
        try:
            generate_core(config)
        except InputError as error:
            if why not in str(error):
                return f"core: refused by {error}"
        else:
            return f"core: made, though {why}"
    for top, make in tops.items():
        rtl = make(config, name="dut")
        with tempfile.TemporaryDirectory() as scratch:
            found = lint_warnings(rtl, Path(scratch))
        if found:
            message = found[0].partition("dut.v:")[2] or found[0]
            failures.append(f"{top}: lint, {len(found)} warnings, {message}")
        if top == "array":
            through = top
            failure = bench(config, gemms, verilog=rtl.verilog)
        elif config.act_buffer_beats * config.acts_bits > MOST_BUFFER_BITS:
            through, failure = "core's lint", ""
        else:
            through, tests, only = _core_tests(config)
            failure = bench(
                config,
                gemms,
                verilog=rtl.verilog,
                module="tritloom.sim.bench.core_bench",
                tests=tests,
                only=only,
            )
        if failure:
            failures.append(f"{top}: {failure.splitlines()[0][:300]}, Gemms {gemms}")
        ran.append(through)
    return "; ".join(failures)


def _no_core(config):
    """Why there is no core; "" where there is one."""
    if not config.diagnostics:
        return "diagnostics must be on"
    if config.psum_bits > PSUM_STREAM_BITS:
        return f"and the stream carries {PSUM_STREAM_BITS}"
    return "words, and a core has" if config.act_buffer_beats > MOST_ACT_BEATS else ""


def _core_tests(config):
    """(name, number, regular expression) of the tests of the core's bench that take seconds.

    They are all tests where runs of a few tiles and groups of everything take few cycles.
    """
    features = min(4 * config.slices_per_tile * config.lanes + 1, config.max_k)
    plan = make_plan(config, Gemm(2 * config.group_tokens + 1, features, 2 * config.cols + 1))
    if max(timing.core_cycles(plan, packing) for packing in PACKINGS.values()) < MOST_CYCLES:
        return "core", len(CORE_SCENARIOS) + CORE_TESTS, None
    return "core's scenarios", len(CORE_SCENARIOS), "runs_are_right"


def options(parameters: dict) -> str:
    """The parameters as options of `python -m hw verilog`."""
    preset = dataclasses.asdict(PRESETS["tiny"])
    words = []
    for name, value in parameters.items():
        if name == "diagnostics":
            words += [] if value else ["--no-diagnostics --top array"]
        elif value != preset[name]:
            words.append(f"--{name.replace('_', '-')} {value}")
    return " ".join(["--preset tiny", *words])


def check_number(seed: int, number: int, *, folder: Path = BUILDS) -> Result:
    """Check one configuration of a seed; of what fails the builds are kept."""
    parameters, rng = draw(seed, number)
    builds = folder / f"{seed}-{number}"
    builds.mkdir(parents=True, exist_ok=True)
    shared = folder / "runtime"
    if shared.exists():
        shutil.copytree(shared, builds / "runtime", dirs_exist_ok=True)
    result = check(parameters, rng, builds, seed=number)
    if not shared.exists() and (builds / "runtime").exists():
        shutil.copytree(builds / "runtime", shared, dirs_exist_ok=True)
    if not result.failure:
        shutil.rmtree(builds, ignore_errors=True)
    return result


def _in_process(seed, number):
    """The result of a configuration that is checked by a process of its own."""
    parameters, _ = draw(seed, number)
    try:
        ArrayConfig(**parameters)
    except InputError:
        return check_number(seed, number)
    except Exception:
        # The process tells.
        pass
    arguments = ("fuzz-configs", "--seed", str(seed), "--number", str(number))
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tritloom.sim", *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=HANG_S,
        )
    except subprocess.TimeoutExpired:
        return Result(parameters=parameters, failure=f"still running after {HANG_S} s")
    said = (done.stdout + done.stderr).strip().splitlines() or ["nothing said"]
    if done.returncode == 0 and said[-1].startswith(_PASSED):
        return Result(
            parameters=parameters, ran=tuple(said[-1].removeprefix(_PASSED).split(" and "))
        )
    told = said[-1].partition("fuzz-configs: failed: ")[2] if done.returncode == 1 else ""
    failure = told or f"status {done.returncode}: {said[-1]}"
    return Result(parameters=parameters, failure=failure)


_PASSED = "passed: "


def fuzz(
    seconds: float,
    *,
    seed: int,
    first: int = 0,
    jobs: int = 1,
    run: Callable[[int, int], Result] = _in_process,
) -> Iterator[tuple[int, Result]]:
    """(number, `Result`) of configurations from `first` on, until so many seconds are over.

    Parameters
    ----------
    run : callable
        Checks the configuration of a seed and a number.
    """
    until = time.monotonic() + seconds
    numbers = itertools.count(first)
    pool = ThreadPoolExecutor(jobs)
    waiting: dict[Future, int] = {}
    try:
        while waiting or time.monotonic() < until:
            while len(waiting) < jobs and time.monotonic() < until:
                number = next(numbers)
                waiting[pool.submit(run, seed, number)] = number
            done, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                yield waiting.pop(future), future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def show_number(seed: int, number: int) -> None:
    """Check one configuration, and print what it went through.

    Raises
    ------
    MismatchError
        It fails.
    """
    result = check_number(seed, number)
    print(options(result.parameters))
    if result.failure:
        raise MismatchError(result.failure)
    print(f"{_PASSED}{' and '.join(result.ran)}")


def show_configs(seconds: float, *, seed: int, first: int = 0, jobs: int = 1) -> None:
    """Check configurations, print each failure as it comes, and what was run.

    Raises
    ------
    InputError
        A number is out of its range.
    MismatchError
        A configuration fails.
    """
    for name, value, low in (("seconds", seconds, 1), ("first", first, 0), ("jobs", jobs, 1)):
        require_int(name, value, low=low)
    require_int("seed", seed, low=0)
    start, ran, failed, number = time.monotonic(), Counter[str](), 0, first - 1
    try:
        with bar("fuzzing", int(seconds), "seconds") as progress:
            shown = 0
            for number, result in fuzz(seconds, seed=seed, first=first, jobs=jobs):
                ran.update(result.ran)
                if result.failure:
                    failed += 1
                    again = f"python -m sim fuzz-configs --seed {seed} --number {number}"
                    print(
                        f"failed: {again}: {options(result.parameters)}: {result.failure}",
                        flush=True,
                    )
                now = min(int(time.monotonic() - start), int(seconds))
                progress(now - shown)
                shown = now
    except KeyboardInterrupt:
        _show_counts(number - first + 1, ran, failed)
        raise Interrupted(f"--first {number + 1} continues") from None
    _show_counts(number - first + 1, ran, failed)
    if failed:
        raise MismatchError(f"{failed} configurations of seed {seed} fail")


def _show_counts(count, ran, failed):
    through = ", ".join(f"{what} {times}" for what, times in sorted(ran.items()))
    print(f"{count} configurations: {through or 'none'}; {failed} failed", flush=True)
