"""Runs inside the simulator: the RTL and the cycle model, port by port, every cycle.

Started by `sim.runner`; what to run comes in the environment variable TRITLOOM_RUN as JSON:
`config`, `seed` and `gemms`.
"""

from __future__ import annotations

import json
import os

import cocotb
import numpy as np
from cocotb.triggers import Timer

from arch import ternary, timing
from arch.config import ArrayConfig
from arch.tiling import Plan
from arch.workload import Gemm
from sim import streams
from sim.golden.array import ArrayModel, Inputs
from sim.scenarios import SCENARIOS

PERF = ("beats", "wait_acts", "wait_trits", "wait_drain", "blocked")

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


class Bench:
    """The device under test beside its model."""

    def __init__(self, dut, config: ArrayConfig):
        self.dut, self.config = dut, config
        self.rng = None
        self.model = ArrayModel(config)
        self.cycle = 0
        self.idle_acts = np.zeros((config.rows, config.lanes), np.int64)
        self.idle_trits = np.zeros((config.cols, config.lanes), np.int64)

    async def cycle_ports(self, **ports):
        """One clock: drive the inputs, compare every output, return the outputs."""
        dut, config = self.dut, self.config
        inputs = Inputs(**({"acts": self.idle_acts, "trits": self.idle_trits} | ports))
        dut.clk.value = 0
        dut.rst.value = int(inputs.rst)
        dut.acts_data.value = streams.field_word(inputs.acts, config.act_bits)
        dut.acts_last.value = int(inputs.acts_last)
        dut.acts_tokens.value = inputs.acts_tokens
        dut.acts_valid.value = int(inputs.acts_valid)
        dut.trits_data.value = streams.field_word(inputs.trits, 2)
        dut.trits_valid.value = int(inputs.trits_valid)
        dut.psums_ready.value = int(inputs.psums_ready)
        await Timer(1, "ns")
        outputs = self.model.step(inputs)
        psums = streams.unpack_fields(
            int(dut.psums_data.value), config.cols, config.psum_bits
        ).tolist()
        seen = {
            "acts_ready": int(dut.acts_ready.value),
            "trits_ready": int(dut.trits_ready.value),
            "psums_data": psums,
            "psums_valid": int(dut.psums_valid.value),
            "psums_last": int(dut.psums_last.value),
            "illegal": int(dut.illegal.value),
        } | {name: int(getattr(dut, f"perf_{name}").value) for name in PERF}
        wanted = {
            "acts_ready": int(outputs.acts_ready),
            "trits_ready": int(outputs.trits_ready),
            "psums_data": outputs.psums.tolist(),
            "psums_valid": int(outputs.psums_valid),
            "psums_last": int(outputs.psums_last),
            "illegal": int(outputs.illegal),
        } | outputs.perf
        for port, value in wanted.items():
            assert seen[port] == value, (
                f"cycle {self.cycle}: {port} is {seen[port]}, the model says {value}"
            )
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
        beats = [
            (acts_beats[group, s], trits_beats[feature, s], s == plan.slices - 1, tokens)
            for plan, acts_beats, trits_beats in plans
            for group in range(plan.token_groups)
            for tokens in [plan.config.rows if group < plan.token_groups - 1 else plan.last_tokens]
            for feature in range(plan.feature_groups)
            for s in range(plan.slices)
        ]
        expected = sum(tile.tokens for plan, _, _ in plans for tile in plan)
        offered = {"acts": False, "trits": False}
        willing = {"acts": acts, "trits": trits}
        collected, head, first, cycles = [], 0, self.cycle, 0
        limit = 1000 + 40 * (len(beats) + expected * (self.config.rows + self.config.cols))
        while len(collected) < expected:
            for side, share in willing.items():
                if head < len(beats):
                    offered[side] = offered[side] or self.rng.random() < share
            ports = {"psums_ready": self.rng.random() < psums}
            if offered["acts"]:
                data, _, last, tokens = beats[head]
                ports |= {
                    "acts_valid": True,
                    "acts": data,
                    "acts_last": last,
                    "acts_tokens": tokens,
                }
            if offered["trits"]:
                ports |= {"trits_valid": True, "trits": beats[head][1]}
            outputs = await self.cycle_ports(**ports)
            if outputs.acts_ready and offered["acts"]:
                # The array takes both streams together.
                assert outputs.trits_ready
                assert offered["trits"]
                offered = dict.fromkeys(offered, False)
                first = self.cycle - 1 if head == 0 else first
                head += 1
            if outputs.psums_valid and ports["psums_ready"]:
                collected.append(outputs.psums)
            cycles += 1
            assert cycles < limit, (
                f"{len(collected)} of {expected} psum beats after {cycles} cycles"
            )
            if stop_at is not None and cycles == stop_at:
                break
        return np.array(collected).reshape(-1, self.config.cols), self.cycle - first


# One for all scenarios: what a run leaves behind, the next one starts from, as in the device.
_bench: Bench | None = None


@cocotb.test()
@cocotb.parametrize(scenario=list(SCENARIOS))
async def every_port_of_every_cycle_equals_the_model(dut, scenario):
    """All Gemms of the run under one scenario, and their results against a plain product."""
    global _bench
    run = json.loads(os.environ["TRITLOOM_RUN"])
    config = ArrayConfig(**run["config"])
    rng = np.random.default_rng([run["seed"], list(SCENARIOS).index(scenario)])
    shares = SCENARIOS[scenario]
    bench = _bench = _bench or Bench(dut, config)
    bench.rng = rng
    await bench.reset()

    jobs = []
    for i, shape in enumerate(run["gemms"]):
        plan = Plan(config, Gemm(*shape))
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
        codes[-1, -1, -1, -1] = 0b10
        await bench.run([(jobs[0][0], jobs[0][1], codes)], **shares)
        assert int(dut.illegal.value) == 1

    if scenario == "steady":
        for plan, acts_beats, codes, wanted in jobs:
            psums, cycles = await bench.run([(plan, acts_beats, codes)], **shares)
            assert cycles == timing.gemm_cycles(plan), f"{plan.gemm} took {cycles} cycles"
            assert (streams.join_psums(plan, psums) == wanted).all()
    psums, _ = await bench.run([job[:3] for job in jobs], **shares)
    start = 0
    for plan, _, _, wanted in jobs:
        count = sum(tile.tokens for tile in plan)
        assert (streams.join_psums(plan, psums[start : start + count]) == wanted).all()
        start += count
    # Nothing more comes out, and the ports stay equal.
    for _ in range(timing.drain_latency(config) + config.rows):
        outputs = await bench.cycle_ports()
        assert not outputs.psums_valid
