"""Runs inside the simulator: the RTL and the cycle model, port by port, every cycle.

Started by `sim.bench.runner`; what to run comes in the environment variable TRITLOOM_RUN as JSON:
`config`, `seed` and `gemms`.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections import Counter

import cocotb
import numpy as np
from cocotb.triggers import Timer

from tritloom.arch import streams, ternary, timing
from tritloom.arch.config import ArrayConfig, Dataflow
from tritloom.arch.tiling import make_plan
from tritloom.arch.workload import Gemm
from tritloom.sim.golden.output_stationary import OutputStationaryModel
from tritloom.sim.golden.weight_stationary import WeightStationaryModel

from .scenarios import SCENARIOS

# What operands look like; each Gemm takes one of them in turn.
VALUES = ("random", "lowest", "plus", "minus", "zero")


def operands(kind: str, gemm: Gemm, act_bits: int, rng) -> tuple[np.ndarray, np.ndarray]:
    """(acts, trits) of a Gemm, random or extreme."""
    low, high = -(1 << (act_bits - 1)), (1 << (act_bits - 1)) - 1
    acts = rng.integers(low, high, (gemm.m, gemm.k), endpoint=True)
    trits = rng.integers(-1, 1, (gemm.n, gemm.k), endpoint=True)
    if kind != "random":
        acts = np.where(rng.random(acts.shape) < 0.9, low, high)
        trits[:] = {"lowest": trits, "plus": 1, "minus": -1, "zero": 0}[kind]
    return acts, trits


class ArrayBench:
    """The device under test beside its model."""

    def __init__(self, dut, config: ArrayConfig):
        self.dut, self.config = dut, config
        self.rng = None
        if config.dataflow == Dataflow.OUTPUT_STATIONARY:
            self.model = OutputStationaryModel(config)
            self.beats, self.latency = streams.output_stationary_beats, timing.drain_latency(config)
        else:
            self.model = WeightStationaryModel(config)
            self.beats, self.latency = streams.weight_stationary_beats, timing.pass_latency(config)
        self.cycle = 0
        self.perf = Counter()
        self.idle = {
            "acts": np.zeros((config.rows, config.lanes), np.int64),
            "trits": np.zeros((config.cols, config.lanes), np.int64),
        }

    async def cycle_ports(self, **ports):
        """One clock: drive the inputs, compare every output, return the outputs."""
        dut, config = self.dut, self.config
        inputs = self.model.inputs(**(self.idle | ports))
        dut.clk.value = 0
        for field in dataclasses.fields(inputs):
            value = getattr(inputs, field.name)
            if field.name in self.idle:
                bits = config.act_bits if field.name == "acts" else 2
                getattr(dut, f"{field.name}_data").value = streams.field_word(value, bits)
            else:
                getattr(dut, field.name).value = int(value)
        await Timer(1, "ns")
        outputs = self.model.step(inputs)
        psums = streams.unpack_fields(
            int(dut.psums_data.value), config.cols, config.psum_bits
        ).tolist()
        wanted = {
            "acts_ready": int(outputs.acts_ready),
            "trits_ready": int(outputs.trits_ready),
            "psums_data": outputs.psums.tolist(),
            "psums_valid": int(outputs.psums_valid),
            "psums_last": int(outputs.psums_last),
            "illegal": int(outputs.illegal),
        } | {f"perf_{name}": int(counts) for name, counts in outputs.perf.items()}
        if not config.diagnostics:
            counted = {f"perf_{name}": 0 for name in outputs.perf}
            wanted |= {"illegal": 0, **counted}
        for port, value in wanted.items():
            seen = psums if port == "psums_data" else int(getattr(dut, port).value)
            assert seen == value, f"cycle {self.cycle}: {port} is {seen}, the model says {value}"
        for name in outputs.perf:
            self.perf[name] += int(getattr(dut, f"perf_{name}").value)
        dut.clk.value = 1
        await Timer(1, "ns")
        self.cycle += 1
        return outputs

    async def reset(self):
        """Two cycles of reset with idle inputs; the model follows from the first."""
        for _ in range(2):
            await self.cycle_ports(rst=True)

    async def run(self, plans, *, acts: float, trits: float, psums: float, stop_at=None):
        """Stream the operands of several Gemms back to back.

        Parameters
        ----------
        plans : list of (Plan, acts, trits) cut into beats, trits as codes
        acts, trits, psums : float
            Probability that the side is willing in a cycle; an offered beat stays offered.
        stop_at : int, optional
            Leave in the middle, after so many cycles.

        Returns
        -------
        list of psum beats, cycles from the first beat to the last psum
        """
        jobs = [self.beats(*plan) for plan in plans]
        beats = {side: [beat for job in jobs for beat in job[side]] for side in ("acts", "trits")}
        expected = sum(tile.tokens for plan, _, _ in plans for tile in plan if tile.last_k)
        offered, head = dict.fromkeys(beats, False), dict.fromkeys(beats, 0)
        willing = {"acts": acts, "trits": trits}
        collected, first, cycles = [], None, 0
        limit = 1000 + 40 * (
            sum(map(len, beats.values())) + expected * (self.config.rows + self.config.cols)
        )
        while len(collected) < expected:
            for side, share in willing.items():
                if head[side] < len(beats[side]):
                    offered[side] = offered[side] or self.rng.random() < share
            ports = {"psums_ready": self.rng.random() < psums}
            for side in beats:
                if offered[side]:
                    ports |= {f"{side}_valid": True} | beats[side][head[side]]
            outputs = await self.cycle_ports(**ports)
            ready = {"acts": outputs.acts_ready, "trits": outputs.trits_ready}
            for side in beats:
                if ready[side] and offered[side]:
                    offered[side] = False
                    head[side] += 1
                    first = self.cycle - 1 if first is None else first
            if outputs.psums_valid and ports["psums_ready"]:
                collected.append(outputs.psums)
            cycles += 1
            assert cycles < limit, (
                f"{len(collected)} of {expected} psum beats after {cycles} cycles"
            )
            if stop_at is not None and cycles == stop_at:
                break
        started = self.cycle if first is None else first
        return np.array(collected).reshape(-1, self.config.cols), self.cycle - started


# One for all scenarios: what a run leaves behind, the next one starts from, as in the device.
_bench: ArrayBench | None = None


@cocotb.test()
@cocotb.parametrize(scenario=list(SCENARIOS))
async def every_port_of_every_cycle_equals_the_model(dut, scenario):
    """All Gemms of the run under one scenario, and their results against a plain product."""
    global _bench
    run = json.loads(os.environ["TRITLOOM_RUN"])
    config = ArrayConfig(**run["config"])
    rng = np.random.default_rng([run["seed"], list(SCENARIOS).index(scenario)])
    shares = SCENARIOS[scenario]
    bench = _bench = _bench or ArrayBench(dut, config)
    bench.rng = rng
    await bench.reset()

    jobs = []
    for i, shape in enumerate(run["gemms"]):
        plan = make_plan(config, Gemm(*shape))
        acts, trits = operands(VALUES[i % len(VALUES)], plan.gemm, config.act_bits, rng)
        acts_beats = streams.slice_acts(plan, acts)
        codes = ternary.to_codes(streams.slice_trits(plan, trits))
        jobs.append((plan, acts_beats, codes, acts @ trits.T))

    if scenario == "reset":
        # Leave a run in the middle, at several depths; what follows must not know of it.
        for stop_at in rng.integers(1, 60, 5):
            await bench.run([job[:3] for job in jobs], stop_at=stop_at, **shares)
            await bench.reset()
    if scenario == "illegal":
        codes = jobs[0][2].copy()
        # In the lane that has an act in every slice.
        codes[-1, -1, -1, 0] = 0b10
        await bench.run([(jobs[0][0], jobs[0][1], codes)], **shares)
        assert int(dut.illegal.value) == config.diagnostics

    if scenario == "steady" and config.diagnostics:
        for plan, acts_beats, codes, wanted in jobs:
            bench.perf.clear()
            psums, cycles = await bench.run([(plan, acts_beats, codes)], **shares)
            taken = bench.perf
            assert taken["beats"] == plan.beats
            assert taken.get("loads", taken["beats"]) == plan.trit_beats
            assert taken["blocked"] == 0
            assert cycles == timing.gemm_cycles(plan), f"{plan.gemm} took {cycles} cycles"
            assert (streams.join_psums(plan, psums) == wanted).all()
    psums, _ = await bench.run([job[:3] for job in jobs], **shares)
    start = 0
    for plan, _, _, wanted in jobs:
        count = sum(tile.tokens for tile in plan if tile.last_k)
        assert (streams.join_psums(plan, psums[start : start + count]) == wanted).all()
        start += count
    # Nothing more comes out, and the ports stay equal.
    for _ in range(bench.latency + config.rows):
        outputs = await bench.cycle_ports()
        assert not outputs.psums_valid
