"""Runs inside the simulator: a Gemm in lockstep, with every PE's registers written down.

`sim.figures.film` starts it, with a run like that of `sim.bench.lockstep`. It writes FILM into the
simulation's folder.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import cocotb
import numpy as np

from tritloom.arch import streams, ternary
from tritloom.arch.config import ArrayConfig
from tritloom.arch.tiling import make_plan
from tritloom.arch.workload import Gemm
from tritloom.hw.parts.popcount import halves
from tritloom.sim.bench.lockstep import ArrayBench

FILM = "film.json"
# What of a PE is written down, where its dataflow has it, by the name in the film.
REGISTERS = {
    "trits": "trits_south",
    "active": "active",
    "sum": "accumulator",
    "psum": "psum_south",
}


def row_of(stack, rows: int, index: int):
    """The handle of a row in a stack of `rows`; stacks are two of half the rows each."""
    if rows == 1:
        return stack
    north, south = halves(rows)
    if index < north:
        return row_of(stack.north, north, index)
    return row_of(stack.south, south, index - north)


class Recorder(ArrayBench):
    """A bench that writes down what each cycle begins with, and what its streams show."""

    def __init__(self, dut, config: ArrayConfig):
        super().__init__(dut, config)
        self.frames = []
        rows = [row_of(dut.rows, config.rows, index) for index in range(config.rows)]
        self.hops = [[getattr(row, f"hop_{h}") for h in range(config.hops)] for row in rows]

    async def cycle_ports(self, **ports):
        """Drive and compare one clock like the bench, and write it down."""
        frame = {"acts": [[self._acts(hop) for hop in row] for row in self.hops]}
        for name, register in REGISTERS.items():
            if hasattr(self.hops[0][0].pe_0, register):
                frame[name] = [[self._pe(hop, name, register) for hop in row] for row in self.hops]
        outputs = await super().cycle_ports(**ports)
        ready = {"acts": outputs.acts_ready, "trits": outputs.trits_ready}
        for side, taken in ready.items():
            beat = ports[side] if ports.get(f"{side}_valid") else None
            if beat is not None and side == "trits":
                # Codes, of which none is illegal here.
                beat = ternary.from_codes(beat)
            frame[f"{side}_in"] = {
                "beat": None if beat is None else np.asarray(beat).tolist(),
                "taken": bool(taken and beat is not None),
            }
        frame["psums_out"] = outputs.psums.tolist() if outputs.psums_valid else None
        self.frames.append(frame)
        return outputs

    def _acts(self, hop):
        config = self.config
        word = int(hop.acts_east.value)
        return streams.unpack_fields(word, config.lanes, config.act_bits).tolist()

    def _pe(self, hop, name, register):
        config, word = self.config, int(getattr(hop.pe_0, register).value)
        if name in ("trits", "active"):
            return streams.unpack_fields(word, config.lanes, 2).tolist()
        return int(streams.unpack_fields(word, 1, config.psum_bits)[0])


@cocotb.test()
async def every_register_of_a_run_is_written_down(dut):
    """One Gemm, all sides willing; its psums are those of a plain product."""
    run = json.loads(os.environ["TRITLOOM_RUN"])
    config, rng = ArrayConfig(**run["config"]), np.random.default_rng(run["seed"])
    (gemm,) = [Gemm(*shape) for shape in run["gemms"]]
    plan = make_plan(config, gemm)
    acts = rng.integers(-9, 9, (gemm.m, gemm.k), endpoint=True)
    trits = rng.integers(-1, 1, (gemm.n, gemm.k), endpoint=True)
    bench = Recorder(dut, config)
    bench.rng = rng
    await bench.reset()
    bench.frames.clear()
    cut = streams.slice_acts(plan, acts), ternary.to_codes(streams.slice_trits(plan, trits))
    psums, _ = await bench.run([(plan, *cut)], acts=1.0, trits=1.0, psums=1.0)
    product = acts @ trits.T
    assert (streams.join_psums(plan, psums) == product).all()
    film = {
        "config": {name: run["config"][name] for name in ("rows", "cols", "lanes", "dataflow")},
        "gemm": [gemm.m, gemm.k, gemm.n],
        "acts": acts.tolist(),
        "trits": trits.tolist(),
        "product": product.tolist(),
        "frames": bench.frames,
    }
    Path(FILM).write_text(json.dumps(film, separators=(",", ":")))
