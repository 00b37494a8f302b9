"""Runs inside the simulator: stimulus for the bins of `sim.bench.crosses` that remain open.

Started like `sim.bench.core_bench`, with `wanted` in TRITLOOM_RUN too: the bins, as (cross, bin).
Each test draws one of those that are still to be hit, and makes it likely: operands, sizes,
packing, descriptors that wait, and how willing each stream is. What it leads to is sampled like all
else, and the psums and errors are checked.
"""

from __future__ import annotations

import json
import os

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles

from tritloom.arch import regmap
from tritloom.arch.config import ArrayConfig
from tritloom.arch.driver import Job, PsumsLast
from tritloom.arch.ternary import PACKINGS
from tritloom.arch.tiling import make_plan
from tritloom.arch.workload import Gemm
from tritloom.sim.bench import crosses
from tritloom.sim.bench.core_bench import ERRORS, HITS, CoreBench, damage
from tritloom.sim.bench.lockstep import VALUES, operands

# Draws after which a test gives up; what is missing then is named by the report.
DRAWS = 1_000


class Stimulus:
    """A bench, and the bins of some crosses that are still to be hit."""

    def __init__(self, dut, names, *, lockstep):
        run = json.loads(os.environ["TRITLOOM_RUN"])
        self.dut, self.config = dut, ArrayConfig(**run["config"])
        self.rng = np.random.default_rng([run["seed"], len(names)])
        shares = dict.fromkeys(crosses.STREAMS, 0.5)
        self.bench = CoreBench(dut, run, self.rng, shares, lockstep=lockstep)
        self.bench.limit = 2_000_000
        self.wanted = [tuple(key) for key in run["wanted"] if key[0] in names]

    def draws(self):
        """Values of a bin that is not hit yet, again and again until all are."""
        for _draw in range(DRAWS):
            self.wanted = [key for key in self.wanted if not HITS[key]]
            if not self.wanted:
                return
            yield crosses.values(self.wanted[int(self.rng.integers(len(self.wanted)))][1])

    def stall(self, stalls):
        """Make some streams unwilling from now on, and the others willing."""
        stalled = stalls.split("+")
        for stream in crosses.STREAMS:
            # A stream that does not stall may still do so now and then, or the state before lacks.
            shares = (0.05, 0.2, 0.5) if stream in stalled else (0.8, 1.0, 1.0)
            self.bench.shares[stream] = float(self.rng.choice(shares))

    def gemm(self, fits=lambda plan: True, groups=3):
        """A plan that fits, of so many groups of tokens, tiles of k and groups of features."""
        config = self.config
        sides = {
            "m": config.group_tokens,
            "k": config.slices_per_tile * config.lanes,
            "n": config.cols,
        }
        while True:
            sizes = {}
            for size, side in sides.items():
                whole = int(self.rng.integers(groups)) * side
                sizes[size] = whole + int(self.rng.choice((side, self.rng.integers(1, side + 1))))
            plan = make_plan(config, Gemm(**sizes))
            if fits(plan):
                return plan

    def job(self, plan, packing=None):
        """(job, acts, trits) with operands of any kind."""
        packing = packing or str(self.rng.choice(list(PACKINGS)))
        kind = str(self.rng.choice(VALUES))
        drawn = operands(kind, plan.gemm, self.config.act_bits, self.rng)
        last = list(PsumsLast)[int(self.rng.integers(3))]
        return Job(plan, PACKINGS[packing], last), *drawn


@cocotb.test()
async def every_tile_meets_every_stall(dut):
    """Runs of tiles of one kind, queued, in lockstep with the model."""
    stimulus = Stimulus(dut, ("tiles", "parts of k"), lockstep=True)
    bench, rng = stimulus.bench, stimulus.rng
    await bench.reset()
    for drawn in stimulus.draws():
        part = drawn.pop("part", None)
        packing, stalls = drawn.pop("packing"), drawn.pop("stalls")

        def fits(plan, drawn=drawn, part=part):
            return any(
                drawn.items() <= crosses.tile_values(plan, tile).items()
                and part in (None, crosses.part_of_k(tile))
                for tile in plan
            )

        jobs = [stimulus.job(stimulus.gemm(fits), packing) for _ in range(rng.integers(2, 5))]

        async def steer(stalls=stalls):
            while True:
                stimulus.stall(stalls)
                await ClockCycles(dut.clk, int(rng.integers(5, 40)))
                stimulus.stall(str(rng.choice(crosses.STALLS)))
                await ClockCycles(dut.clk, int(rng.integers(5, 40)))

        async def push(jobs=jobs):
            for job, *_ in jobs:
                await bench.push(job)

        tasks = [cocotb.start_soon(task()) for task in (steer, push)]
        # Operands that come before their descriptor are not missing when it begins.
        if rng.random() < 0.7:
            await tasks[1]
        for job in jobs:
            bench.send(*job)
        for job, acts, trits in jobs:
            assert (await bench.collect(job) == acts @ trits.T).all(), job.plan.gemm
        await tasks[1]
        tasks[0].cancel()
    await bench.idle()
    assert await bench.read("ERROR") == 0


async def _cause(stimulus, error, runs):
    """Cause `error` through the registers while `runs` are under way; return unfinished runs.

    Where the streams are damaged, wait until the core reports it instead. Damage may also lie where
    no beat comes before psums are taken.
    """
    bench, rng = stimulus.bench, stimulus.rng
    if error in ERRORS.values():
        for _read in range(100):
            if await bench.read("ERROR"):
                break
        return runs
    await ClockCycles(stimulus.dut.clk, int(rng.integers(60)))
    if error == crosses.RESET:
        await bench.write("CONTROL", SOFT_RESET=1)
        stimulus.stall("none")
        await bench.recover()
        assert not regmap.decode("STATUS", await bench.read("STATUS"))["BUSY"]
        return []
    if error == "BAD_DESCRIPTOR":
        size = str(rng.choice(("M", "K", "N")))
        await bench.registers.write_dword(regmap.offset(size), 0)
        await bench.write("PUSH", GO=1)
        return runs
    # The queue may have room by now, and then it is one more run.
    await bench.write("PUSH", GO=1)
    if not regmap.decode("ERROR", await bench.read("ERROR"))[error]:
        bench.send(*runs[-1])
        runs = [*runs, runs[-1]]
    return runs


@cocotb.test()
async def every_error_meets_every_stall(dut):
    """Errors come with the queue empty, full and in between, and leave the next run right.

    The first run of each is damaged; or the registers are, while it is under way.
    """
    stimulus = Stimulus(dut, ("errors", "errors by packing"), lockstep=False)
    bench, rng, config = stimulus.bench, stimulus.rng, stimulus.config
    await bench.reset()
    faults = {error: fault for fault, error in ERRORS.items()}
    for drawn in stimulus.draws():
        error, stalls = drawn["error"], drawn.get("stalls", "none")
        stimulus.stall(stalls)
        # More than a beat of acts and of weights to a packet, so that each can be damaged.
        first = stimulus.gemm(lambda plan: plan.slices > config.slices_per_tile)
        behind = {"none": 0, "some": int(rng.integers(1, 4)), "full": regmap.QUEUE_DEPTH}
        behind = behind[drawn.get("waiting", "some")]
        jobs = [stimulus.job(first, drawn.get("packing"))]
        jobs += [stimulus.job(stimulus.gemm(groups=2)) for _ in range(behind)]
        before = []
        if "psums" in stalls:
            # One row of another run is at the port until the error is told. There is place for one
            # more, so the array goes on.
            bench.shares["psums"] = 0
            before = [stimulus.job(make_plan(config, Gemm(1, 1, 1)))]
            bench.send(*before[0])
        for job, *_ in before + jobs:
            await bench.push(job)
        _, acts, trits = jobs[0]
        meant = acts @ trits.T
        if error in faults:
            packets, passes, meant = damage(faults[error], *jobs[0], rng)
            for stream, sent in ((bench.acts, packets), (bench.weights, passes)):
                for packet in sent:
                    stream.send_nowait(packet.tobytes())
        else:
            bench.send(*jobs[0])
        for job in jobs[1:]:
            bench.send(*job)
        left = await _cause(stimulus, error, before + jobs)
        stimulus.stall("none")
        for i, (job, acts, trits) in enumerate(left):
            wanted = meant if i == len(before) else acts @ trits.T
            assert (await bench.collect(job) == wanted).all(), f"{drawn} {job.plan.gemm}"
        await bench.idle()
        fields = regmap.decode("ERROR", await bench.read("ERROR"))
        shown = {name for name, bit in fields.items() if bit}
        # A full queue tells of a bad descriptor too; one that has room by then does not overflow.
        maybe = {"QUEUE_OVERFLOW"} if error in ("QUEUE_OVERFLOW", "BAD_DESCRIPTOR") else set()
        assert shown | maybe == ({error} - {crosses.RESET}) | maybe, f"{drawn}: {shown}"
        await bench.registers.write_dword(regmap.offset("ERROR"), 0xFF)
        assert bench.psums.empty()
