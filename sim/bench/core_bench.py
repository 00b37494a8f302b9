"""Runs inside the simulator: the core from AXI to AXI, driven by cocotbext-axi, beside its model.

Started by `sim.bench.runner`; what to run comes in the environment variable TRITLOOM_RUN as JSON:
`config`, `seed` and `gemms`. Where `crosses` is set, crosses.json then tells what was hit of
`sim.bench.crosses`; the RTL has to be compiled with `sim.bench.runner.COVERAGE`, which shows the
registers.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections import Counter
from pathlib import Path

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiStreamBus, AxiStreamSink, AxiStreamSource

from tritloom.arch import layout, regmap, streams, timing
from tritloom.arch.config import ArrayConfig, Dataflow
from tritloom.arch.counts import core_counters
from tritloom.arch.driver import Job, PsumsLast
from tritloom.arch.ternary import PACKINGS
from tritloom.arch.tiling import make_plan
from tritloom.arch.workload import Gemm
from tritloom.sim.golden.core import CoreInputs, CoreModel

from . import crosses
from .lockstep import VALUES, operands
from .scenarios import CORE_SCENARIOS

PERIOD_NS = 2
# Bins that all tests of a simulation have hit.
HITS = Counter()


class BusWatch:
    """Finds what the model has to know of among the writes to the registers."""

    def __init__(self, dut, config: ArrayConfig):
        self.dut, self.config = dut, config
        self.writes = {"aw": [], "w": []}
        self.values = {}
        self.answering = False

    def tell(self, model: CoreModel):
        """Called once a cycle: tell the model what was written at the last edge."""
        dut = self.dut
        # A write is answered in the cycle after it was carried out.
        answering = bool(dut.s_axil_bvalid.value)
        if answering and not self.answering:
            address, word = (self.writes[channel].pop(0) for channel in ("aw", "w"))
            self.values[address] = word
            if address == regmap.offset("PUSH"):
                m, k, n, options = (
                    self.values[regmap.offset(name)] for name in ("M", "K", "N", "OPTIONS")
                )
                fields = regmap.decode("OPTIONS", options)
                packing = list(PACKINGS.values())[fields["PACKING"]]
                plan = make_plan(self.config, Gemm(m, k, n))
                model.push(plan, packing, fields["PSUMS_LAST"])
            elif address == regmap.offset("CONTROL"):
                actions = regmap.decode("CONTROL", word)
                if actions["SOFT_RESET"]:
                    model.soft_reset()
                elif actions["RESUME"]:
                    model.resume()
        self.answering = answering
        for channel, payload in (("aw", "awaddr"), ("w", "wdata")):
            port = f"s_axil_{channel}"
            if getattr(dut, f"{port}valid").value and getattr(dut, f"{port}ready").value:
                self.writes[channel].append(int(getattr(dut, f"s_axil_{payload}").value))


class CoreBench:
    """The core, and AXI on all its sides."""

    def __init__(self, dut, run, rng, shares, *, lockstep=False):
        self.dut, self.config, self.rng = dut, ArrayConfig(**run["config"]), rng
        self.shares = dict(shares)
        # No test goes on for ever: a few times what the slowest one takes.
        self.limit = 10_000 + 2_500 * len(run["gemms"])
        cocotb.start_soon(Clock(dut.clk, PERIOD_NS, "ns").start())
        bus = {"clock": dut.clk, "reset": dut.rst}
        self.registers = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), **bus)
        self.acts = AxiStreamSource(AxiStreamBus.from_prefix(dut, "s_axis_acts"), **bus)
        self.weights = AxiStreamSource(AxiStreamBus.from_prefix(dut, "s_axis_weights"), **bus)
        self.psums = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_axis_psums"), **bus)
        for side, share in shares.items():
            if share < 1:
                getattr(self, side).set_pause_generator(self._pauses(side))
        # From the reset on, and only where packets are whole.
        self.model = CoreModel(self.config) if lockstep else None
        self.bus = BusWatch(dut, self.config)
        self.sampler = crosses.Sampler(self.config, HITS) if run.get("crosses") else None
        self.cycle = self.first = self.last = self.held = 0
        # Whether acts and weights are inside a packet; the psums that were offered and not taken.
        self.inside = [False, False]
        self.offered: tuple | None = None
        # Beats of acts and of weights taken since the last hard reset.
        self.taken = [0, 0]
        cocotb.start_soon(self._watch_to_the_end())

    def _pauses(self, side):
        while True:
            yield bool(self.rng.random() >= self.shares[side])

    async def _watch_to_the_end(self):
        try:
            await self._watch()
        finally:
            # The test is over.
            if self.sampler:
                Path("crosses.json").write_text(json.dumps([[*key, n] for key, n in HITS.items()]))

    async def _watch(self):
        """Cycle numbers of the first beat in since `first` was cleared, and of the last row out.

        And how many cycles, each counted once for each stream, a stream's other side held up:
        had something to send and did not offer it, or did not take what was offered.
        """
        dut = self.dut
        while True:
            await RisingEdge(dut.clk)
            self.cycle += 1
            assert self.cycle < self.limit, f"still running after {self.cycle} cycles"
            valid, ready = (
                [
                    int(getattr(dut, f"{port}_t{signal}").value)
                    for port in ("s_axis_acts", "s_axis_weights", "m_axis_psums")
                ]
                for signal in ("valid", "ready")
            )
            if self.sampler:
                self._sample(valid, ready)
            if self.model:
                self._compare(valid, ready)
            taken = [offered and accepted for offered, accepted in zip(valid, ready, strict=True)]
            self._check_streams(valid, taken)
            if (taken[0] or taken[1]) and not self.first:
                self.first, self.held = self.cycle, 0
            if taken[2]:
                self.last = self.cycle
            self.held += ready[0] > valid[0] and not self.acts.idle()
            self.held += ready[1] > valid[1] and not self.weights.idle()
            self.held += valid[2] > ready[2]

    def _check_streams(self, valid, taken):
        """What is offered stays as it is until it is taken, also where a soft reset comes."""
        dut = self.dut
        if dut.rst.value:
            self.inside, self.offered, self.taken = [False, False], None, [0, 0]
            return
        for side, port in enumerate(("s_axis_acts", "s_axis_weights")):
            if taken[side]:
                self.taken[side] += 1
                self.inside[side] = not getattr(dut, f"{port}_tlast").value
        psums = None
        if valid[2]:
            psums = int(dut.m_axis_psums_tdata.value), int(dut.m_axis_psums_tlast.value)
        assert self.offered in (None, psums), f"cycle {self.cycle}: psums changed while offered"
        self.offered = None if taken[2] else psums

    def _sample(self, valid, ready):
        dut, registers = self.dut, self.dut.registers
        waiting = int(registers.level.value)
        errors = {
            name
            for name in crosses.ERRORS
            if getattr(registers, f"field_error_{name.lower()}").value
        }
        if dut.registers_soft_reset.value:
            errors.add(crosses.RESET)
        self.sampler.cycle(
            valid=valid,
            ready=ready,
            busy=bool(dut.registers_busy.value) or waiting > 0,
            waiting=waiting,
            packing=list(PACKINGS)[int(dut.unpacker_packing.value)],
            errors=frozenset(errors),
            under_way=self.model and self.model.under_way,
        )

    def _compare(self, valid, ready):
        """Every output of the streams in this cycle is the model's."""
        dut, config = self.dut, self.config
        if dut.rst.value:
            self.model, self.bus = CoreModel(config), BusWatch(dut, config)
            return
        self.bus.tell(self.model)
        acts = weights = None
        if valid[0]:
            fields = streams.unpack_fields(
                int(dut.s_axis_acts_tdata.value), config.rows * config.lanes, config.act_bits
            )
            acts = fields.reshape(config.rows, config.lanes)
        if valid[1]:
            size = layout.beat_bytes(config.cols * config.lanes)
            word = int(dut.s_axis_weights_tdata.value)
            weights = np.frombuffer(word.to_bytes(size, "little"), np.uint8)
        outputs = self.model.step(
            CoreInputs(
                acts=acts,
                weights=weights,
                acts_last=bool(dut.s_axis_acts_tlast.value),
                weights_last=bool(dut.s_axis_weights_tlast.value),
                psums_ready=bool(ready[2]),
            )
        )
        seen = {"acts_tready": ready[0], "weights_tready": ready[1], "psums_tvalid": valid[2]}
        wanted = {
            "acts_tready": outputs.acts_ready,
            "weights_tready": outputs.weights_ready,
            "psums_tvalid": outputs.psums is not None,
        }
        if valid[2] and outputs.psums is not None:
            word = int(dut.m_axis_psums_tdata.value)
            seen["psums_tdata"] = streams.unpack_fields(word, config.cols, 32).tolist()
            wanted["psums_tdata"] = outputs.psums.tolist()
            seen["psums_tlast"] = int(dut.m_axis_psums_tlast.value)
            wanted["psums_tlast"] = outputs.psums_last
        assert seen == wanted, f"cycle {self.cycle}: {seen}, the model says {wanted}"

    async def reset(self):
        """A hard reset; what AXI held is dropped."""
        self.dut.rst.value = 1
        await ClockCycles(self.dut.clk, 3)
        for stream in (self.acts, self.weights, self.psums):
            stream.clear()
        self.dut.rst.value = 0
        await ClockCycles(self.dut.clk, 2)

    async def stop(self):
        """Drop all packets that have not begun, as software stops its DMAs."""
        for side, source in enumerate((self.acts, self.weights)):
            source.clear()
            # A packet that is not on the bus yet cannot be taken back.
            while not (source.current_frame is None or self.inside[side]):
                await RisingEdge(self.dut.clk)
        await ClockCycles(self.dut.clk, 2)

    async def flushed(self):
        """Wait until the core is not flushing any more; psums that came meanwhile are dropped."""
        while regmap.decode("STATUS", await self.read("STATUS"))["FLUSHING"]:
            pass
        # Also the packet that the last of them left without an end.
        self.psums.clear()
        self.psums.assert_reset()

    async def recover(self):
        """What software does where a run is not to go on: no packet is taken for another one."""
        await self.write("CONTROL", SOFT_RESET=1)
        await self.stop()
        await self.write("CONTROL", RESUME=1)
        await self.flushed()

    async def read(self, name: str) -> int:
        """The named register."""
        return await self.registers.read_dword(regmap.offset(name))

    async def write(self, name: str, **fields: int):
        """Write the named register."""
        await self.registers.write_dword(regmap.offset(name), regmap.encode(name, **fields))

    async def push(self, job: Job):
        """Wait for room in the queue, then push a descriptor."""
        while regmap.decode("STATUS", await self.read("STATUS"))["FULL"]:
            pass
        for offset, word in job.writes():
            await self.registers.write_dword(offset, word)

    async def counters(self) -> dict[str, int]:
        """All counters at one moment."""
        await self.write("CONTROL", SNAPSHOT=1)
        return {
            name: await self.read(f"{name}_LO") | await self.read(f"{name}_HI") << 32
            for name, _ in regmap.COUNTERS
        }

    def send(self, job: Job, acts, trits):
        """Queue the operands of a run on both streams."""
        for packet in job.acts(acts):
            self.acts.send_nowait(packet.tobytes())
        for _group in range(job.plan.token_groups):
            self.weights.send_nowait(job.weights(trits).tobytes())

    async def collect(self, job: Job) -> np.ndarray:
        """The matrix of a run, whose packets are as long as its job says."""
        data = b""
        for beats in job.psum_packets:
            packet = await self.psums.recv()
            assert len(packet.tdata) == beats * 4 * self.config.cols
            data += bytes(packet.tdata)
        return job.psums(np.frombuffer(data, np.uint8).reshape(job.rows_out, -1))

    async def idle(self):
        """Wait until nothing is under way."""
        while regmap.decode("STATUS", await self.read("STATUS"))["BUSY"]:
            pass


def random_jobs(run, config, rng):
    """(Job, acts, trits) of each Gemm of the run, packings in turn, values random or extreme."""
    for i, shape in enumerate(run["gemms"]):
        plan = make_plan(config, Gemm(*shape))
        packing = list(PACKINGS.values())[int(rng.integers(2))]
        job = Job(plan, packing, list(PsumsLast)[int(rng.integers(3))])
        yield job, *operands(VALUES[i % len(VALUES)], plan.gemm, config.act_bits, rng)


@cocotb.test()
@cocotb.parametrize(scenario=list(CORE_SCENARIOS))
async def runs_are_right_and_counted(dut, scenario):
    """All Gemms of the run, queued back to back, then each alone where nothing stalls."""
    run = json.loads(os.environ["TRITLOOM_RUN"])
    config = ArrayConfig(**run["config"])
    rng = np.random.default_rng([run["seed"], list(CORE_SCENARIOS).index(scenario)])
    bench = CoreBench(dut, run, rng, CORE_SCENARIOS[scenario], lockstep=True)
    await bench.reset()
    jobs = list(random_jobs(run, config, rng))

    for job, acts, trits in jobs:
        bench.send(job, acts, trits)

    async def push_all():
        for job, *_ in jobs:
            await bench.push(job)

    async def disturb():
        # Register traffic while runs are under way: reads, and writes that change no run.
        names = [register.name for register in regmap.REGISTERS]
        while True:
            await bench.read(str(rng.choice(names)))
            await bench.registers.write_dword(regmap.offset("IRQ_ENABLE"), int(rng.integers(4)))

    pushing = cocotb.start_soon(push_all())
    disturbing = cocotb.start_soon(disturb())
    for job, acts, trits in jobs:
        psums = await bench.collect(job)
        assert (psums == acts @ trits.T).all(), f"{job.plan.gemm} {job.packing.name}"
    await pushing
    disturbing.cancel()
    await ClockCycles(dut.clk, 20)
    await bench.idle()
    counters = await bench.counters()
    wanted = [core_counters(job.plan, nonzero=int((trits != 0).sum())) for job, _, trits in jobs]
    for name in wanted[0]:
        assert counters[name] == sum(of_run[name] for of_run in wanted), name
    assert await bench.read("ERROR") == 0
    assert regmap.decode("STATUS", await bench.read("STATUS"))["RUNS_DONE"] == len(jobs)
    assert bench.psums.empty()

    for job, acts, trits in jobs:
        bench.first = 0
        bench.send(job, acts, trits)
        await bench.push(job)
        assert (await bench.collect(job) == acts @ trits.T).all()
        cycles = bench.last - bench.first + 1
        wanted = timing.core_cycles(job.plan, job.packing)
        if scenario == "steady":
            assert cycles == wanted, f"{job.plan.gemm} {job.packing.name}: {cycles}, not {wanted}"
        else:
            assert wanted <= cycles <= wanted + bench.held, f"{job.plan.gemm} {job.packing.name}"

    # The queue holds so many beside the one that is under way.
    for start in range(0, len(jobs), regmap.QUEUE_DEPTH + 1):
        batch = jobs[start : start + regmap.QUEUE_DEPTH + 1]
        await bench.idle()
        for job, *_ in batch:
            await bench.push(job)
        await ClockCycles(dut.clk, 10)
        bench.first = 0
        for job, acts, trits in batch:
            bench.send(job, acts, trits)
        for job, acts, trits in batch:
            assert (await bench.collect(job) == acts @ trits.T).all()
        cycles = bench.last - bench.first + 1
        wanted = timing.queue_cycles([(job.plan, job.packing) for job, *_ in batch])
        shapes = [f"{job.plan.gemm} {job.packing.name}" for job, *_ in batch]
        if scenario == "steady":
            assert cycles == wanted, f"{shapes}: {cycles}, not {wanted}"
        else:
            assert wanted <= cycles <= wanted + bench.held, f"{shapes}"


# When a soft reset comes: inside a packet, while psums wait, between packets, with a full queue,
# whenever.
LEFT = {"acts": "ACTS_OPEN", "weights": "WEIGHTS_OPEN", "psums": "PSUM_OFFERED"}
MOMENTS = ("acts", "weights", "psums", "between", "full", "any")


def blank(job, beats):
    """Beats of a pass that hold zero trits alone, as many as `beats`."""
    zeros = np.zeros((job.packing.trits_per_byte, 1), np.int8)
    return np.full_like(beats, layout.pack_pass(zeros, job.packing, positions=1)[0, 0])


def damage(fault, job, acts, trits, rng):
    """What goes onto the streams, the psums that it stands for, and the error that it raises.

    The damage is in the first packet of one stream; all others are whole.
    """
    config, plan = job.plan.config, job.plan
    first_group = min(config.group_tokens, plan.gemm.m)
    act_packets, beats = job.acts(acts), job.weights(trits)
    damaged, meant, acts_meant = beats, beats.copy(), acts.copy()
    if fault == "illegal":
        # The first byte of a group belongs to a position; the last one may be spare.
        beat, byte = int(rng.integers(len(beats))) // 4 * 4, 0
        damaged = beats.copy()
        damaged[beat, byte] = rng.choice(np.flatnonzero(~job.packing.legal))
        meant[beat, byte] = blank(job, beats)[0, 0]
    elif fault == "weights_early":
        kept = int(rng.integers(1, len(beats)))
        damaged = beats[:kept]
        meant[kept:] = blank(job, beats)[kept:]
    elif fault == "weights_late":
        damaged = np.concatenate([beats, beats[: rng.integers(1, len(beats), endpoint=True)]])
    elif fault == "acts_early":
        kept = int(rng.integers(1, len(act_packets[0])))
        act_packets[0] = act_packets[0][:kept]
        if config.dataflow == Dataflow.OUTPUT_STATIONARY:
            acts_meant[:first_group, kept * config.lanes :] = 0
        else:
            tile, token = divmod(kept, first_group)
            features = config.rows * config.lanes
            acts_meant[:first_group, (tile + 1) * features :] = 0
            acts_meant[token:first_group, tile * features : (tile + 1) * features] = 0
    elif fault == "acts_late":
        act_packets[0] = np.concatenate([act_packets[0], act_packets[0][:2]])
    first = acts_meant[:first_group] @ job.trits(meant).T.astype(np.int64)
    rest = acts_meant[first_group:] @ trits.T
    passes = [damaged, *[beats] * (plan.token_groups - 1)]
    return act_packets, passes, np.concatenate([first, rest])


ERRORS = {
    "illegal": "ILLEGAL_CODE",
    "weights_early": "WEIGHTS_EARLY",
    "weights_late": "WEIGHTS_LATE",
    "acts_early": "ACTS_EARLY",
    "acts_late": "ACTS_LATE",
}


def two_runs(run, config, rng):
    """Two jobs with operands, each of several tiles and groups of tokens, and as many slices."""
    slices = 4 * config.slices_per_tile
    features = min(slices * config.lanes + 1, config.max_k)
    shape = (2 * config.group_tokens + 1, features, 2 * config.cols + 1)
    return list(random_jobs(run | {"gemms": [shape, shape]}, config, rng))


def start(dut):
    """(run, config, rng, bench) of a test, one stream now and then pausing."""
    run = json.loads(os.environ["TRITLOOM_RUN"])
    config = ArrayConfig(**run["config"])
    rng = np.random.default_rng(run["seed"])
    shares = {"acts": 0.8, "weights": 0.8, "psums": 0.8}
    return run, config, rng, CoreBench(dut, run, rng, shares)


@cocotb.test()
@cocotb.parametrize(fault=list(ERRORS))
async def a_damaged_stream_is_reported_and_the_next_run_is_right(dut, fault):
    """The damaged run has the psums of the zeros that took the place of what was damaged."""
    run, config, rng, bench = start(dut)
    await bench.reset()
    (job, acts, trits), (after, acts_after, trits_after) = two_runs(run, config, rng)
    if fault == "acts_early" and len(job.acts(acts)[0]) == 1:
        # What is one beat long ends with it.
        return
    act_packets, passes, wanted = damage(fault, job, acts, trits, rng)
    for packet in act_packets:
        bench.acts.send_nowait(packet.tobytes())
    for packet in passes:
        bench.weights.send_nowait(packet.tobytes())
    bench.send(after, acts_after, trits_after)
    await bench.push(job)
    await bench.push(after)
    assert (await bench.collect(job) == wanted).all()
    psums = await bench.collect(after)
    assert (psums == acts_after @ trits_after.T).all()
    await bench.idle()
    assert await bench.read("ERROR") == regmap.encode("ERROR", **{ERRORS[fault]: 1})
    if fault == "illegal":
        counters = await bench.counters()
        assert counters["ILLEGAL_BEATS"] == 1
        changed = (passes[0] != job.weights(trits)).any(axis=1)
        assert await bench.read("FIRST_ILLEGAL") == int(np.flatnonzero(changed)[0])
    await bench.write("ERROR", **{ERRORS[fault]: 1})
    assert await bench.read("ERROR") == 0


@cocotb.test()
@cocotb.parametrize(reset=["soft", "hard"])
async def a_run_cut_short_by_a_reset_leaves_no_trace(dut, reset):
    """A soft reset ends a run whose operands never come, a hard one any run at any moment."""
    run, config, rng, bench = start(dut)
    await bench.reset()
    for _again in range(3):
        (job, acts, trits), (after, acts_after, trits_after) = two_runs(run, config, rng)
        await bench.push(job)
        await bench.push(job)
        if reset == "hard":
            bench.send(job, acts, trits)
            await ClockCycles(dut.clk, int(rng.integers(1, 120)))
            await bench.reset()
        else:
            # The first group of tokens and the first pass alone.
            bench.acts.send_nowait(job.acts(acts)[0].tobytes())
            bench.weights.send_nowait(job.weights(trits).tobytes())
            await bench.acts.wait()
            await bench.weights.wait()
            await ClockCycles(dut.clk, 400)
            assert regmap.decode("STATUS", await bench.read("STATUS"))["BUSY"]
            await bench.recover()
        assert not regmap.decode("STATUS", await bench.read("STATUS"))["BUSY"]
        bench.send(after, acts_after, trits_after)
        await bench.push(after)
        psums = await bench.collect(after)
        assert (psums == acts_after @ trits_after.T).all()
        await bench.idle()
        assert (await bench.counters())["BUSY"] == after.plan.beats
        assert await bench.read("ERROR") == 0


@cocotb.test()
async def a_soft_reset_takes_what_waits_to_be_taken(dut):
    """Psums of a whole tile wait in the array; where weights stay they would stop the operands."""
    run, config, rng, bench = start(dut)
    await bench.reset()
    if config.dataflow == Dataflow.WEIGHT_STATIONARY:
        return
    # Two rows of psums leave the array for the registers at the output, and no tile's last beat
    # enters while another's psums are in the array.
    tiles = 2 // config.rows + 1
    shape = (config.rows, min(2 * config.lanes, config.max_k), tiles * config.cols)
    jobs = random_jobs(run | {"gemms": [shape, shape]}, config, rng)
    (job, acts, trits), (after, acts_after, trits_after) = jobs
    bench.psums.clear_pause_generator()
    bench.psums.pause = True
    await bench.push(job)
    bench.send(job, acts, trits)
    await bench.acts.wait()
    await bench.weights.wait()
    await ClockCycles(dut.clk, 100)
    await bench.write("CONTROL", SOFT_RESET=1)
    assert not regmap.decode("STATUS", await bench.read("STATUS"))["BUSY"]
    bench.psums.pause = False
    await bench.recover()
    bench.send(after, acts_after, trits_after)
    await bench.push(after)
    assert (await bench.collect(after) == acts_after @ trits_after.T).all()
    await bench.idle()


async def _reach(bench, moment, rng, packets):
    """Let the run that has been pushed go on up to such a moment; `packets` are its first ones."""
    streams = {"acts": (0, bench.acts), "weights": (1, bench.weights)}
    if moment in streams:
        side, source = streams[moment]
        beats = bench.taken[side] + int(rng.integers(3 * len(packets[side]) // 2))
        while True:
            while not (bench.taken[side] >= beats and bench.inside[side] and source.current_frame):
                await RisingEdge(bench.dut.clk)
            # The sender pauses in the middle of its packet, if it is not over already.
            bench.shares[moment] = 0
            await ClockCycles(bench.dut.clk, 5)
            if bench.inside[side] and source.current_frame:
                break
            bench.shares[moment] = 0.7
    elif moment == "psums":
        bench.shares["psums"] = 0
        while not bench.offered:
            await RisingEdge(bench.dut.clk)
        await ClockCycles(bench.dut.clk, int(rng.integers(100)))
    elif moment == "between":
        # The first packet of either stream is whole, and no other one has begun.
        await bench.acts.wait()
        await bench.weights.wait()
        await ClockCycles(bench.dut.clk, int(rng.integers(50, 200)))
    else:
        await ClockCycles(bench.dut.clk, int(rng.integers(300)))


@cocotb.test()
@cocotb.parametrize(packing=list(PACKINGS))
async def a_stream_runs_ahead_of_the_other_as_far_as_the_page_says(dut, packing):
    """Either is sent alone until the core takes no more of it, then the other one."""
    _run, config, rng, bench = start(dut)
    features = min(config.max_k, 4 * config.slices_per_tile * config.lanes)
    plan = make_plan(config, Gemm(config.group_tokens, features, 40 * config.cols))
    job = Job(plan, PACKINGS[packing])
    acts, trits = operands(VALUES[0], plan.gemm, config.act_bits, rng)
    most = timing.acts_ahead(config), timing.weights_ahead(config, job.packing)
    packets = [packet.tobytes() for packet in job.acts(acts)], [job.weights(trits).tobytes()]
    for side in (0, 1):
        await bench.reset()
        sources = bench.acts, bench.weights
        sources[side].send_nowait(packets[side][0])
        await bench.push(job)
        await ClockCycles(dut.clk, 300)
        beats = len(job.acts(acts)[0]) if side == 0 else len(job.weights(trits))
        assert bench.taken[side] == min(most[side], beats)
        sources[1 - side].send_nowait(packets[1 - side][0])
        assert (await bench.collect(job) == acts @ trits.T).all()
        await bench.idle()


@cocotb.test()
@cocotb.parametrize(moment=list(MOMENTS))
async def runs_after_a_soft_reset_are_right_whatever_it_cut_short(dut, moment):
    """Software stops its senders, resumes at once or later, and goes on; the model beside it."""
    run = json.loads(os.environ["TRITLOOM_RUN"])
    config = ArrayConfig(**run["config"])
    rng = np.random.default_rng([run["seed"], MOMENTS.index(moment)])
    bench = CoreBench(
        dut, run, rng, dict.fromkeys(("acts", "weights", "psums"), 0.7), lockstep=True
    )
    await bench.reset()
    for turn in range(6):
        bench.limit = bench.cycle + 6_000
        (job, acts, trits), (after, acts_after, trits_after) = two_runs(run, config, rng)
        if moment == "acts" and len(job.acts(acts)[0]) == 1:
            # A packet of one beat has no middle.
            return
        for _ in range(regmap.QUEUE_DEPTH + 1 if moment == "full" else 1):
            await bench.push(job)
        if moment == "between":
            bench.acts.send_nowait(job.acts(acts)[0].tobytes())
            bench.weights.send_nowait(job.weights(trits).tobytes())
        else:
            bench.send(job, acts, trits)
            bench.send(job, acts, trits)
        await _reach(bench, moment, rng, (job.acts(acts)[0], job.weights(trits)))
        await bench.write("CONTROL", SOFT_RESET=1)
        status = regmap.decode("STATUS", await bench.read("STATUS"))
        assert (status["FLUSHING"], status["FULL"], status["LEVEL"], status["BUSY"]) == (1, 1, 0, 0)
        # Psums that are held are offered all the time; a sender goes on now, or once resumed.
        if moment in LEFT and turn % 2:
            if moment != "psums":
                bench.shares[moment] = 0.7
            await ClockCycles(dut.clk, int(rng.integers(200)))
            status = regmap.decode("STATUS", await bench.read("STATUS"))
            assert status[LEFT[moment]] or moment != "psums"
        # Nothing begins, also where it was pushed.
        for offset, word in after.writes():
            await bench.registers.write_dword(offset, word)
        assert await bench.read("ERROR") == regmap.encode("ERROR", PUSHED_FLUSHING=1)
        await bench.write("ERROR", PUSHED_FLUSHING=1)
        await bench.stop()
        await bench.write("CONTROL", RESUME=1)
        # The next packets need not wait for the end of the last one.
        bench.send(after, acts_after, trits_after)
        if bench.shares.get(moment) == 0:
            await ClockCycles(dut.clk, int(rng.integers(100)))
            status = regmap.decode("STATUS", await bench.read("STATUS"))
            assert (status["FLUSHING"], status[LEFT[moment]]) == (1, 1)
            bench.shares[moment] = 0.7
        await bench.flushed()
        # The run and one more, of which some packets may be on their way already.
        bench.send(job, acts, trits)
        await bench.push(after)
        await bench.push(job)
        assert (await bench.collect(after) == acts_after @ trits_after.T).all(), f"turn {turn}"
        assert (await bench.collect(job) == acts @ trits.T).all(), f"turn {turn}"
        await bench.idle()
        assert await bench.read("ERROR") == 0
        status = regmap.decode("STATUS", await bench.read("STATUS"))
        assert (status["RUNS_DONE"], status["FLUSHING"]) == (2, 0)
        assert (status["ACTS_OPEN"], status["WEIGHTS_OPEN"], status["PSUM_OFFERED"]) == (0, 0, 0)
        beats = after.plan.beats + job.plan.beats
        assert (await bench.counters())["BUSY"] == beats


@cocotb.test()
async def a_packet_without_an_end_is_reported_and_a_soft_reset_recovers(dut):
    """The next run's operands went the way of what never ended; after the reset all is well."""
    run, config, rng, bench = start(dut)
    await bench.reset()
    (job, acts, trits), (after, acts_after, trits_after) = two_runs(run, config, rng)
    bench.acts.send_nowait(job.acts(acts)[0].tobytes())
    passes = [job.weights(trits)] * (job.plan.token_groups + 1)
    bench.weights.send_nowait(np.concatenate(passes).tobytes())
    await bench.push(job)
    await bench.weights.wait()
    await ClockCycles(dut.clk, 50)
    assert regmap.decode("ERROR", await bench.read("ERROR"))["WEIGHTS_LATE"]
    await bench.recover()
    bench.send(after, acts_after, trits_after)
    await bench.push(after)
    psums = await bench.collect(after)
    assert (psums == acts_after @ trits_after.T).all()


@cocotb.test()
@cocotb.parametrize(side=["m", "n"])
async def every_bit_of_a_size_counts(dut, side):
    """Runs too large to end: after what one bit less would leave of them they still go on.

    Four bits, or as many as the run's `bits`.
    """
    run, config, rng, bench = start(dut)
    await bench.reset()
    group = {"m": config.group_tokens, "n": config.cols}[side]
    # Without its bit the size would be three groups, and the fourth would not come.
    shape = {"m": config.group_tokens, "k": 4 * config.lanes, "n": config.cols, side: 4 * group}
    gemm = shape["m"], min(shape["k"], config.max_k), shape["n"]
    ((job, acts, trits),) = random_jobs(run | {"gemms": [gemm]}, config, rng)
    # Neither the run nor, with a large n, its pass ever ends, so every beat is a packet.
    job = dataclasses.replace(job, psums_last=PsumsLast.BEAT)
    bits = rng.permutation(range((2 * group).bit_length(), 32))[: run.get("bits", 4)]
    for bit in bits.tolist():
        bench.limit = bench.cycle + 10_000
        bench.send(job, acts, trits)
        for offset, word in job.writes():
            large = (1 << bit) + 3 * group if offset == regmap.offset(side.upper()) else word
            await bench.registers.write_dword(offset, large)
        assert (await bench.collect(job) == acts @ trits.T).all(), f"{side}: bit {bit}"
        await bench.recover()


@cocotb.test()
async def a_descriptor_of_any_size_is_taken_and_a_soft_reset_ends_its_run(dut):
    """The largest sizes, smaller ones behind them; then an address without a register."""
    run, config, rng, bench = start(dut)
    await bench.reset()
    (_, _, _), (after, acts_after, trits_after) = two_runs(run, config, rng)
    most = (1 << 32) - 1
    for m, k, n in ((most, config.max_k, most), (1, max(config.max_k - 1, 1), 1), (most, 1, most)):
        for name, size in (("M", m), ("K", k), ("N", n)):
            await bench.registers.write_dword(regmap.offset(name), size)
            assert await bench.read(name) == size
        await bench.write("PUSH", GO=1)
        assert await bench.read("ERROR") == 0
        assert regmap.decode("STATUS", await bench.read("STATUS"))["BUSY"]
        await bench.recover()
        assert not regmap.decode("STATUS", await bench.read("STATUS"))["BUSY"]
    assert int((await bench.registers.write(0xFC, b"\xff" * 4)).resp) == 2
    bench.send(after, acts_after, trits_after)
    await bench.push(after)
    assert (await bench.collect(after) == acts_after @ trits_after.T).all()
    await bench.idle()
