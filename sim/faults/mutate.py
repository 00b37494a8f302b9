"""Mutation testing: random faults in a core's Verilog, which the co-simulation has to notice.

    python -m sim mutate --faults 200 --seed 1

All faults are in one netlist (`sim.faults.netlist_faults`), compiled once for each bench, and every
one is a run of the benches until the first fails. A bench that hangs fails: each has a limit of
cycles.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import joblib

from tritloom.arch.config import ArrayConfig, Dataflow
from tritloom.arch.errors import MismatchError, require_int
from tritloom.arch.files import write_files
from tritloom.console.progress import track
from tritloom.console.sheet import Sheet, Table, render, show
from tritloom.hw.verilog import generate_core
from tritloom.sim.bench.runner import TOP, compile_rtl, run_bench
from tritloom.sim.bench.scenarios import (
    BUS_SCENARIOS,
    CORE_SCENARIOS,
    CORE_TESTS,
    SCENARIOS,
    UNPACKER_SCENARIOS,
)

from . import netlist_faults
from .netlist_faults import Fault

# Share of faults that must be killed, among those that are not proved to change nothing.
REQUIRED = 0.98
_SHAPE = ArrayConfig(rows=2, cols=3, lanes=4, max_k=64, buffer_tokens=5)
CONFIGS = {dataflow: _SHAPE.replace(dataflow=dataflow) for dataflow in Dataflow}
# One slice, several of everything with ragged edges, and none of it whole.
_GEMMS = [(1, 1, 1), (9, 3, 4), (12, 30, 7), (3, 9, 9)]
_CORE_TESTS = len(CORE_SCENARIOS) + CORE_TESTS

# Faults of one kind in lines of one form, by dataflow, with which a property of sim/prove/proofs.py
# holds as it does without: sim/prove/test_proofs.py. A hop's control after a reset is anything.
_PROVED = {
    (Dataflow.OUTPUT_STATIONARY, "off by one"): re.compile(r"if \(rst\) control_(0|east) <= ")
}


@dataclass(frozen=True, kw_only=True)
class FaultBench:
    """A bench that faults run through, or some of its tests.

    Attributes
    ----------
    top : str
        Module that the bench drives.
    module : str
        Module of the cocotb tests.
    covers : callable
        Whether a module, by its name, is in what it drives.
    tests : int
    only : str, optional
        Regular expression of the tests.
    """

    top: str
    module: str
    covers: Callable[[str], bool]
    tests: int
    only: str | None = None


def _among(*parts):
    names = tuple(f"{TOP}_{part}" for part in parts)
    return lambda module: module.startswith(names)


# In the order in which they are run: what takes least first.
BENCHES = {
    "core, steady": FaultBench(
        top=TOP,
        module="tritloom.sim.bench.core_bench",
        covers=lambda _: True,
        tests=1,
        only=r"runs_are_right.*steady",
    ),
    "array": FaultBench(
        top=f"{TOP}_array",
        module="tritloom.sim.bench.lockstep",
        covers=_among("array"),
        tests=len(SCENARIOS),
    ),
    "unpacker": FaultBench(
        top=f"{TOP}_unpacker",
        module="tritloom.sim.bench.lockstep_unpacker",
        covers=_among("unpacker", "byte"),
        tests=len(UNPACKER_SCENARIOS),
    ),
    "core": FaultBench(
        top=TOP, module="tritloom.sim.bench.core_bench", covers=lambda _: True, tests=_CORE_TESTS
    ),
    "registers": FaultBench(
        top=f"{TOP}_registers",
        module="tritloom.sim.bench.registers_bench",
        covers=_among("registers", "counters", "queue", "totals"),
        tests=9 * len(BUS_SCENARIOS) + 1,
    ),
}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a fault.

    Attributes
    ----------
    dataflow : str
    fault : Fault or None
        None is the netlist as it is.
    bench, test : str
        What noticed it; "" where nothing did.
    seconds : float
        Until then.
    equivalent : str
        Module from outside of which it is proved to change nothing, or the test that proves a
        property with it; "" where neither does.
    """

    dataflow: str
    fault: Fault | None
    bench: str = ""
    test: str = ""
    seconds: float
    equivalent: str = ""

    @property
    def verdict(self) -> str:
        """Verdict in one word."""
        return "killed" if self.bench else "equivalent" if self.equivalent else "survived"


@dataclass(frozen=True, kw_only=True)
class FaultyNetlist:
    """A core with faults."""

    config: ArrayConfig
    sound: dict
    verilog: str
    faults: list[Fault]

    @classmethod
    @functools.cache
    def make(cls, dataflow: Dataflow, count: int, seed: int) -> FaultyNetlist:
        """Make a core of a dataflow with so many random faults."""
        config = CONFIGS[dataflow]
        verilog = generate_core(config, name="dut").verilog
        sound = netlist_faults.read_netlist(verilog)
        faults = netlist_faults.list_faults(verilog, sound, count, seed)
        return cls.of(config, sound, faults)

    @classmethod
    def of(cls, config: ArrayConfig, sound: dict, faults: list[Fault]) -> FaultyNetlist:
        """Make a core with these faults."""
        verilog = netlist_faults.write_verilog(netlist_faults.plant_faults(sound, faults))
        return cls(config=config, sound=sound, verilog=verilog, faults=faults)

    def run(
        self, fault: Fault | None, folder: Path | None, benches: dict[str, FaultBench]
    ) -> Outcome:
        """Run the benches that drive the fault's module, all without a fault, until one fails."""
        start, dataflow = time.perf_counter(), str(self.config.dataflow)
        for name, bench in benches.items():
            if fault is not None and not bench.covers(fault.module):
                continue
            target = compile_rtl(
                self.verilog,
                top=bench.top,
                label=f"{bench.top}-faults",
                simulator="verilator",
                folder=folder,
            )
            run = {
                "config": dataclasses.asdict(self.config),
                "positions": self.config.cols * self.config.lanes,
                "gemms": _GEMMS,
                "seed": 3,
                "bits": 32,
            }
            failure = run_bench(
                target,
                top=bench.top,
                bench=bench.module,
                run=run,
                tests=bench.tests,
                simulator="verilator",
                only=bench.only,
                plusargs=[f"+mutant={fault.number if fault else 0}"],
                failures=1,
            )
            if failure:
                test = failure.splitlines()[0][:200]
                seconds = time.perf_counter() - start
                return Outcome(
                    dataflow=dataflow, fault=fault, bench=name, test=test, seconds=seconds
                )
        seconds = time.perf_counter() - start
        proved = ""
        if fault:
            known = _PROVED.get((self.config.dataflow, fault.kind))
            if known and known.match(fault.line) and fault.module == f"{TOP}_array_hop":
                proved = "sim/prove/test_proofs.py"
            else:
                proved = netlist_faults.prove_equivalent(self.sound, fault)
        return Outcome(dataflow=dataflow, fault=fault, seconds=seconds, equivalent=proved)


def mutate(faults: int, seed: int, *, jobs: int, folder: Path | None = None) -> list[Outcome]:
    """Run so many random faults, half of them in the core of either dataflow.

    Raises
    ------
    InputError
        A number is below 1, or there are fewer places for faults.
    MismatchError
        A bench fails without a fault.
    """
    require_int("faults", faults)
    require_int("jobs", jobs)
    require_int("seed", seed, low=0)
    counts = {Dataflow.OUTPUT_STATIONARY: -(-faults // 2), Dataflow.WEIGHT_STATIONARY: faults // 2}
    netlists = [
        FaultyNetlist.make(dataflow, count, seed) for dataflow, count in counts.items() if count
    ]
    for netlist in netlists:
        sound = netlist.run(None, folder, BENCHES)
        if sound.bench:
            raise MismatchError(f"{sound.dataflow}: {sound.bench} fails without a fault")
    tasks = [
        joblib.delayed(netlist.run)(fault, folder, BENCHES)
        for netlist in netlists
        for fault in netlist.faults
    ]
    done = joblib.Parallel(n_jobs=jobs, return_as="generator")(tasks)
    return list(track(done, "running", len(tasks), "faults"))


def tally(outcomes: list[Outcome], key: Callable[[Fault], str]) -> dict[str, tuple[int, int]]:
    """(killed, all that are not proved equivalent) by a property of the fault."""
    found: dict[str, tuple[int, int]] = {}
    for outcome in outcomes:
        killed, total = found.get(key(outcome.fault), (0, 0))
        counts = outcome.verdict != "equivalent"
        found[key(outcome.fault)] = killed + bool(outcome.bench), total + counts
    return dict(sorted(found.items()))


def share_killed(outcomes: list[Outcome]) -> float:
    """Killed among those that are not proved equivalent; 1 of none."""
    killed = sum(outcome.verdict == "killed" for outcome in outcomes)
    total = sum(outcome.verdict != "equivalent" for outcome in outcomes)
    return killed / total if total else 1.0


def _row(outcome: Outcome) -> tuple[str, ...]:
    fault = outcome.fault
    why = outcome.test or outcome.equivalent
    return (
        *(outcome.dataflow.split("-")[0], str(fault.number), fault.kind, fault.module),
        *(f"{fault.type} {fault.port}[{fault.bit}]", f"`{fault.line}`", outcome.verdict),
        *(outcome.bench, f"`{why}`" if why else "", f"{outcome.seconds:.1f}"),
    )


def report(outcomes: list[Outcome]) -> dict[str, str]:
    """Text of the report's files by name: every fault, and what became of it."""
    heads = ("core", "number", "kind", "module", "port", "line", "verdict", "bench", "why", "s")
    table = Table(headers=heads, rows=[_row(outcome) for outcome in outcomes])
    items = [dataclasses.asdict(outcome) | {"verdict": outcome.verdict} for outcome in outcomes]
    return {
        "mutate.json": json.dumps(items, indent=1) + "\n",
        "mutate.md": render(Sheet(parts=[table]), "markdown") + "\n",
    }


def outcome_sheet(outcomes: list[Outcome]) -> Sheet:
    """What was killed, by kind of fault and by module, and each fault that was not."""
    tables = [
        Table(
            headers=(heading, ">killed"),
            rows=[
                (name, f"{killed}/{total}")
                for name, (killed, total) in tally(outcomes, key).items()
            ],
        )
        for heading, key in (
            ("kind", lambda fault: fault.kind),
            ("module", lambda fault: fault.module.removeprefix(f"{TOP}_")),
        )
    ]
    lines = []
    for outcome in outcomes:
        if not outcome.bench:
            where = f", by {outcome.equivalent}" if outcome.equivalent else ""
            lines.append(f"{outcome.verdict}{where}: {outcome.dataflow}, {outcome.fault}")
    return Sheet(parts=[tables[0], "", tables[1], "", *lines])


def show_faults(faults: int, seed: int, *, jobs: int, out: Path) -> None:
    """Run faults, write the report, print tables and what survived.

    Raises
    ------
    InputError
        A number is out of its range.
    MismatchError
        Fewer were killed than are required, or a bench fails without a fault.
    """
    outcomes = mutate(faults, seed, jobs=jobs)
    write_files(out, report(outcomes))
    show(outcome_sheet(outcomes))
    share = share_killed(outcomes)
    seconds = sum(outcome.seconds for outcome in outcomes)
    print(f"{share:.1%} killed, {REQUIRED:.0%} required; {seconds:.0f} s; {out}/mutate.md")
    if share < REQUIRED:
        raise MismatchError(f"{share:.1%} of the faults were killed, {REQUIRED:.0%} are required")
