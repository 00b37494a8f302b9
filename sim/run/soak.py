"""A soak of the generated core: random descriptors, operands and stalls, every psum checked.

Each run starts from a reset and depends on the seed and its own number alone, so any one of them
can be repeated. `soak.cpp` drives it and holds every row of psums against a plain product.
"""

from __future__ import annotations

import ctypes
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tritloom.arch import regmap, timing
from tritloom.arch.config import PRESETS, ArrayConfig, Dataflow
from tritloom.arch.counts import core_counters
from tritloom.arch.driver import Job, PsumsLast, read_counters
from tritloom.arch.errors import MismatchError, require_int
from tritloom.arch.ternary import PACKINGS
from tritloom.arch.tiling import make_plan
from tritloom.arch.workload import Gemm
from tritloom.console.progress import bar

from .core import SimulatedCore, compile_core
from .totals import show_lines

_WEIGHT_STATIONARY = {"dataflow": Dataflow.WEIGHT_STATIONARY, "buffer_tokens": 5}
# Small, so that queues, edges and stalls come often. max_k is where a psum of extremes still fits.
CONFIGS = (
    PRESETS["tiny"].replace(max_k=128),
    PRESETS["tiny"].replace(max_k=128, **_WEIGHT_STATIONARY),
    ArrayConfig(rows=3, cols=4, lanes=5, max_k=64, cols_per_hop=2, input_stages=0),
    ArrayConfig(rows=3, cols=2, lanes=3, max_k=100, act_bits=5, **_WEIGHT_STATIONARY),
    ArrayConfig(rows=1, cols=1, lanes=1, max_k=32),
)
SIDES = ("acts", "weights", "psums")
# Chances in a cycle that a pause begins and that it ends.
PAUSES = ((0.0, 1.0), (0.1, 0.9), (0.5, 0.5), (0.9, 0.3), (0.05, 0.02), (0.002, 0.004))
CHATS = (0.0, 0.02, 0.3)
# What a run's answer other than 0 means, in the order of `soak.cpp`.
_WRONG = (
    "product {product}, token {token}, feature {feature}: {seen}, not {wanted}",
    "a row of psums without TLAST",
    "a row of psums more than there are",
    "register {feature:#x} reads {seen:#x}, not {wanted:#x}",
    "a register access is refused",
    "nothing moves any more in product {product}",
    "beats are left over when all psums are out",
)


class _Side(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("beats", "last")),
        *((name, ctypes.c_int64) for name in ("stride", "total")),
        *((name, ctypes.c_double) for name in ("pause", "resume")),
        *((name, ctypes.c_int64) for name in ("moved", "held")),
    ]


class _Product(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("acts", "trits")),
        *((name, ctypes.c_int64) for name in ("m", "k", "n")),
    ]


class _Access(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint32) for name in ("address", "word")]


class _Soak(ctypes.Structure):
    _fields_ = [
        *((name, _Side) for name in SIDES),
        ("products", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("product_count", "group_tokens", "cols")),
        ("writes", ctypes.c_void_p),
        ("write_count", ctypes.c_int64),
        ("constants", ctypes.c_void_p),
        ("constant_count", ctypes.c_int64),
        *(
            (name, ctypes.c_uint32)
            for name in ("push_address", "status_address", "full_mask", "preloaded")
        ),
        ("chat", ctypes.c_double),
        ("seed", ctypes.c_uint64),
        *(
            (name, ctypes.c_int64)
            for name in ("span", "product", "token", "feature", "seen", "wanted")
        ),
    ]


@dataclass
class SoakTotals:
    """What the runs of a soak were so far.

    Attributes
    ----------
    exact : int
        Runs without stalls, whose cycles are exactly those of `arch.timing`.
    stalls : Counter
        Cycles in which a stream was held up, by side.
    """

    runs: int = 0
    cycles: int = 0
    descriptors: int = 0
    psums: int = 0
    exact: int = 0
    stalls: Counter = field(default_factory=Counter)


def soak(
    cycles: int,
    *,
    seed: int,
    folder: Path | None = None,
    run: int | None = None,
    configs: Sequence[ArrayConfig] = CONFIGS,
    progress: Callable[[int], None] = lambda cycles: None,
) -> SoakTotals:
    """Run until so many cycles have been simulated, or one run alone.

    Parameters
    ----------
    run : int, optional
        Number of the only run; `cycles` does not count then.
    progress : callable
        Called after each run with its cycles.

    Raises
    ------
    InputError
        A number is out of its range.
    MismatchError
        A psum, a flag, a counter or a count of cycles is wrong; it names seed and run.
    """
    require_int("cycles", cycles)
    require_int("seed", seed, low=0)
    if run is not None:
        require_int("run", run, low=0)
    libraries: dict[int, ctypes.CDLL] = {}
    totals = SoakTotals()
    number = 0 if run is None else run
    while totals.cycles < cycles:
        which = number % len(configs)
        if which not in libraries:
            libraries[which] = compile_core(configs[which], folder, driver="soak.cpp")
        before = totals.cycles
        try:
            with _SoakedCore(configs[which], library=libraries[which]) as core:
                core.soak(np.random.default_rng([seed, number]), totals)
        except (MismatchError, RuntimeError) as error:
            raise MismatchError(
                f"run {number} of seed {seed}: {error}; repeat it with "
                f"`python -m sim soak --seed {seed} --run {number}`"
            ) from error
        progress(totals.cycles - before)
        if run is not None:
            break
        number += 1
    return totals


class _SoakedCore(SimulatedCore):
    """A core for one run."""

    def soak(self, rng, totals):
        """One run, checked; adds it to the totals."""
        config, library = self.config, self._library
        preloaded = bool(rng.integers(2))
        most = regmap.QUEUE_DEPTH + 1 if preloaded else 24
        jobs = [draw(config, rng) for _ in range(rng.integers(1, most, endpoint=True))]
        # In every fourth run no stream stalls.
        calm = rng.integers(4) == 0
        pauses = {side: PAUSES[0 if calm else rng.integers(len(PAUSES))] for side in SIDES}
        acts = [packet for job, values, _ in jobs for packet in job.acts(values)]
        weights = [
            packet
            for job, _, trits in jobs
            for packet in [job.weights(trits)] * job.plan.token_groups
        ]
        writes = [write for job, *_ in jobs for write in job.writes()]
        names = ("ID", "VERSION", "QUEUE", *regmap.constants(config))
        constants = [(regmap.offset(name), regmap.reset_word(name, config)) for name in names]
        kept = {}
        run = _Soak(
            product_count=len(jobs),
            group_tokens=config.group_tokens,
            cols=config.cols,
            write_count=len(writes),
            constant_count=len(constants),
            push_address=regmap.offset("PUSH"),
            status_address=regmap.offset("STATUS"),
            full_mask=regmap.encode("STATUS", FULL=1),
            preloaded=preloaded,
            chat=CHATS[rng.integers(len(CHATS))],
            seed=int(rng.integers(1 << 63)),
        )
        for name, packets in (("acts", acts), ("weights", weights)):
            beats = np.concatenate(packets)
            last = np.concatenate([np.arange(len(packet)) == len(packet) - 1 for packet in packets])
            kept[name] = beats, last
            setattr(
                run,
                name,
                _Side(beats.ctypes.data, last.ctypes.data, beats.shape[1], len(beats)),
            )
        for side, (pause, resume) in pauses.items():
            getattr(run, side).pause, getattr(run, side).resume = pause, resume
        products = (_Product * len(jobs))(
            *(
                _Product(values.ctypes.data, trits.ctypes.data, gemm.m, gemm.k, gemm.n)
                for job, values, trits in jobs
                for gemm in [job.plan.gemm]
            )
        )
        run.products = ctypes.addressof(products)
        tables = {}
        for name, pairs in (("writes", writes), ("constants", constants)):
            tables[name] = (_Access * len(pairs))(*(_Access(*pair) for pair in pairs))
            setattr(run, name, ctypes.addressof(tables[name]))
        library.machine_cycles.restype = ctypes.c_int64
        answer = library.soak_run(self._handle, ctypes.byref(run))
        if answer:
            found = {name: getattr(run, name) for name, _ in _Soak._fields_[-5:]}
            raise MismatchError(f"{_WRONG[answer - 1].format(**found)} ({self._what(jobs)})")
        held = {side: getattr(run, side).held for side in SIDES}
        self._check(jobs, run, held, preloaded, calm)
        totals.runs += 1
        totals.cycles += self._cycles()
        totals.descriptors += len(jobs)
        totals.psums += sum(job.plan.gemm.m * job.plan.gemm.n for job, *_ in jobs)
        totals.exact += preloaded and calm
        totals.stalls.update(held)

    def _cycles(self):
        return self._library.machine_cycles(self._handle)

    def _what(self, jobs):
        shapes = ", ".join(f"{job.plan.gemm} {job.packing.name}" for job, *_ in jobs[:3])
        return f"{self.config.shape}, {self.config.dataflow}: {shapes}, {len(jobs)} in all"

    def _check(self, jobs, run, held, preloaded, calm):
        earliest = self._cycles()
        counters = read_counters(self.read, self.write)
        wanted = Counter()
        for job, _, trits in jobs:
            wanted.update(core_counters(job.plan, nonzero=int(np.count_nonzero(trits))))
        status = regmap.decode("STATUS", self.read(regmap.offset("STATUS")))
        pairs = [(name, counters[name], value) for name, value in wanted.items()]
        pairs += [
            ("ERROR", self.read(regmap.offset("ERROR")), 0),
            ("STATUS.BUSY", status["BUSY"], 0),
            ("STATUS.RUNS_DONE", status["RUNS_DONE"], len(jobs)),
        ]
        formula = timing.queue_cycles([(job.plan, job.packing) for job, *_ in jobs])
        stalls = sum(held.values())
        # Descriptors that come while streams flow may come late.
        latest = formula + stalls if preloaded else run.span
        pairs += [("cycles", run.span, min(max(run.span, formula), latest))]
        if calm:
            pairs.append(("stalls", stalls, 0))
        blocked = counters["STALL_OUTPUT"]
        pairs.append(("STALL_OUTPUT", blocked, min(blocked, held["psums"])))
        counted = counters["CYCLES"]
        pairs.append(("CYCLES", counted, min(max(counted, earliest), self._cycles())))
        for name, seen, value in pairs:
            if seen != value:
                raise MismatchError(f"{name} is {seen}, not {value} ({self._what(jobs)})")


def draw(config: ArrayConfig, rng: np.random.Generator) -> tuple[Job, np.ndarray, np.ndarray]:
    """A random job for a core, with acts (int8, shape (m, k)) and trits (int8, shape (n, k))."""
    m, k, n = (
        int(rng.choice([1, side, side + 1, rng.integers(1, most, endpoint=True)]))
        for side, most in (
            (config.group_tokens, 6 * config.group_tokens),
            (config.lanes * config.slices_per_tile, config.max_k),
            (config.cols, 24 * config.cols),
        )
    )
    k = config.max_k if rng.integers(4) == 0 else min(k, config.max_k)
    packing = list(PACKINGS.values())[rng.integers(len(PACKINGS))]
    high = (1 << (config.act_bits - 1)) - 1
    acts = _values(rng, (m, k), -high - 1, high)
    # Its loop holds TLAST of each beat to what is never 0 then.
    job = Job(make_plan(config, Gemm(m, k, n)), packing, PsumsLast.BEAT)
    return job, acts, _values(rng, (n, k), -1, 1)


def _values(rng, shape, low, high):
    """Integers: all alike, or random and now and then in runs of one extreme."""
    kind = rng.integers(6)
    if kind < 2:
        return np.full(shape, (low, high)[kind], np.int8)
    if kind == 2 and high == 1:
        return np.zeros(shape, np.int8)
    values = rng.integers(low, high, shape, np.int8, endpoint=True)
    if kind == 3:
        flat = values.reshape(-1)
        for start in rng.integers(flat.size, size=4):
            flat[start : start + rng.integers(1, 40)] = (low, 0, high)[rng.integers(3)]
    return values


def show_soak(
    cycles: int, *, seed: int, folder: Path | None = None, run: int | None = None
) -> None:
    """Soak, and print what was run."""
    start = time.perf_counter()
    with bar("soaking", cycles, "cycles") as progress:
        totals = soak(cycles, seed=seed, folder=folder, run=run, progress=progress)
    seconds = time.perf_counter() - start
    show_lines(
        [
            ("cores", f"{len(CONFIGS)}: " + ", ".join(config.shape for config in CONFIGS)),
            ("runs", f"{totals.runs:,}, seed {seed}, each from a reset"),
            ("cycles", f"{totals.cycles:,}"),
            ("descriptors", f"{totals.descriptors:,}"),
            ("psums", f"{totals.psums:,} equal to a plain product, none lost or added"),
            *(
                (f"{side} held", f"{totals.stalls[side]:,} cycles, counted by the harness")
                for side in SIDES
            ),
            ("counters", f"right after each run; cycles exact in {totals.exact:,} without stalls"),
            (
                "simulation",
                f"{seconds:,.1f} s, {totals.cycles / seconds:,.0f} cycles/s, compilation and "
                "checks included  MEASURED",
            ),
        ]
    )
