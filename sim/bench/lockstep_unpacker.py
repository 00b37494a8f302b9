"""Runs inside the simulator: the unpacker and its cycle model, port by port, every cycle.

Started by `sim.bench.runner`; what to run comes in the environment variable TRITLOOM_RUN as JSON:
`positions` and `seed`. Beside the model, whole passes are held to what `arch.layout` makes of the
same bytes, the errors to the faults that were planted, and without stalls the cycles to
`arch.layout.pass_cycles`.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

import cocotb
import numpy as np
from cocotb.triggers import Timer

from tritloom.arch import layout, streams
from tritloom.arch.ternary import TRIT2, TRIT5, Packing, to_codes
from tritloom.sim.golden.unpacker import UnpackerInputs, UnpackerModel

from .scenarios import UNPACKER_SCENARIOS

# Cycles from taking a group's fourth beat to offering its first slice.
LATENCY = 1


@dataclass(frozen=True, kw_only=True)
class Pass:
    """A pass as the stream sends it, and what must come of it.

    Attributes
    ----------
    packing : Packing
    beats : ndarray of uint8
        All up to the one with `weights_last`: fewer or more than the pass needs, where at fault.
    wanted : ndarray of uint8, shape (slices, positions)
        Codes.
    illegal : list of int
        Beats with an illegal byte, counted from the pass's first.
    early, late : bool
    """

    packing: Packing
    beats: np.ndarray
    wanted: np.ndarray
    illegal: list[int]
    early: bool
    late: bool


def make_pass(rng, positions: int, packing: Packing, slices: int, fault: str | None) -> Pass:
    """A random pass, sound or with a fault of those that the scenarios name."""
    trits = rng.integers(-1, 1, (slices, positions), endpoint=True)
    beats = layout.pack_pass(trits, packing, positions=positions)
    need = len(beats)
    if fault == "early":
        beats = beats[: rng.integers(1, need)]
    elif fault == "late":
        legal = np.flatnonzero(packing.legal).astype(np.uint8)
        beats = np.vstack([beats, rng.choice(legal, (rng.integers(1, 16), beats.shape[1]))])
    elif fault == "missing":
        # The mark is lost, so the next pass's beats are taken for this one's.
        beats = np.vstack([beats, beats[::-1]])
    elif fault == "illegal":
        wrong = np.flatnonzero(~packing.legal).astype(np.uint8)
        beats = np.where(rng.random(beats.shape) < 0.2, rng.choice(wrong, beats.shape), beats)

    # The stage, and the cycle that ends the pass, may still take four of the beats too many.
    # Beats after these are dropped unread, so they may be illegal.
    dropped = beats[need + layout.BEATS :]
    dropped[:] = rng.integers(0, 256, dropped.shape)

    groups = np.zeros((need, beats.shape[1]), np.uint8)
    groups[:] = packing.pack(np.zeros(1))
    groups[: len(beats)] = beats[:need]
    groups = groups.reshape(-1, layout.BEATS * beats.shape[1])
    wrong = ~packing.legal[groups]
    wrong[:, positions:] = False
    groups[~packing.legal[groups]] = packing.pack(np.zeros(1))[0]
    clean = groups.reshape(need, -1)
    wanted = layout.unpack_pass(clean, packing, slices=slices, positions=positions)
    return Pass(
        packing=packing,
        beats=beats,
        wanted=to_codes(wanted),
        illegal=np.flatnonzero(wrong.reshape(need, -1).any(axis=1)).tolist(),
        early=len(beats) < need,
        late=len(beats) > need,
    )


class UnpackerBench:
    """The device under test beside its model."""

    def __init__(self, dut, positions: int):
        self.dut, self.positions = dut, positions
        self.rng = None
        self.model = UnpackerModel(positions)
        self.cycle = 0

    async def cycle_ports(self, **ports):
        """One clock: drive the inputs, compare every output, return the outputs."""
        dut, rng = self.dut, self.rng
        # What no handshake covers may be anything.
        idle = {
            "weights": rng.integers(0, 256, layout.beat_bytes(self.positions), np.uint8),
            "weights_last": rng.random() < 0.5,
            "trit5": rng.random() < 0.5,
            "trits_last": rng.random() < 0.5,
        }
        inputs = UnpackerInputs(**(idle | ports))
        dut.clk.value = 0
        dut.rst.value = int(inputs.rst)
        dut.start.value = int(inputs.start)
        dut.packing.value = int(inputs.trit5)
        dut.weights_data.value = int.from_bytes(inputs.weights.tobytes(), "little")
        dut.weights_last.value = int(inputs.weights_last)
        dut.weights_valid.value = int(inputs.weights_valid)
        dut.trits_ready.value = int(inputs.trits_ready)
        dut.trits_last.value = int(inputs.trits_last)
        await Timer(1, "ns")
        outputs = self.model.step(inputs)
        wanted = {
            "weights_ready": int(outputs.weights_ready),
            "trits_valid": int(outputs.trits is not None),
            "illegal": int(outputs.illegal_beat is not None),
            "early_last": int(outputs.early_last),
            "late_last": int(outputs.late_last),
        }
        if outputs.trits is not None:
            wanted["trits_data"] = streams.field_word(outputs.trits, 2)
        if outputs.illegal_beat is not None:
            wanted["illegal_beat"] = outputs.illegal_beat
        for port, value in wanted.items():
            seen = int(getattr(dut, port).value)
            assert seen == value, f"cycle {self.cycle}: {port} is {seen}, the model says {value}"
        dut.clk.value = 1
        await Timer(1, "ns")
        self.cycle += 1
        return outputs

    async def reset(self):
        """Two cycles of reset; the model follows from the first."""
        for _ in range(2):
            await self.cycle_ports(rst=True)

    async def run(self, passes, *, weights: float, trits: float, stop_at: int | None = None):
        """Stream passes back to back, and check what came out.

        Parameters
        ----------
        passes : list of Pass
        weights, trits : float
            Probability that the side is willing in a cycle; an offered beat stays offered.
        stop_at : int, optional
            Leave in the middle, after so many cycles, with nothing checked but the model.

        Returns
        -------
        beats, slices : lists of int
            Cycles in which each beat and each slice was taken, from the run's first cycle.
        """
        beats = [
            (beat, i == len(p.beats) - 1, p.packing is TRIT5)
            for p in passes
            for i, beat in enumerate(p.beats)
        ]
        ends = [i == len(p.wanted) - 1 for p in passes for i in range(len(p.wanted))]
        beat_cycles, slice_cycles, collected, outputs = [], [], [], []
        offered, cycle = False, 0
        limit = 200 + 60 * (len(beats) + len(ends))
        await self.cycle_ports(start=True)
        while len(beat_cycles) < len(beats) or len(slice_cycles) < len(ends):
            ports = {}
            head, tail = len(beat_cycles), len(slice_cycles)
            offered = head < len(beats) and (offered or self.rng.random() < weights)
            if offered:
                data, last, trit5 = beats[head]
                ports |= {
                    "weights_valid": True,
                    "weights": data,
                    "weights_last": last,
                    "trit5": trit5,
                }
            ready = tail < len(ends) and self.rng.random() < trits
            if ready:
                ports |= {"trits_ready": True, "trits_last": ends[tail]}
            now = await self.cycle_ports(**ports)
            outputs.append(now)
            if offered and now.weights_ready:
                beat_cycles.append(cycle)
                offered = False
            if ready and now.trits is not None:
                slice_cycles.append(cycle)
                collected.append(now.trits)
            cycle += 1
            assert cycle < limit, f"{len(collected)} of {len(ends)} slices after {cycle} cycles"
            if cycle == stop_at:
                return beat_cycles, slice_cycles
        # The strobes of the last cycle.
        outputs += [await self.cycle_ports(), await self.cycle_ports()]

        assert (np.array(collected) == np.vstack([p.wanted for p in passes])).all()
        assert sum(o.early_last for o in outputs) == sum(p.early for p in passes)
        assert sum(o.late_last for o in outputs) == sum(p.late for p in passes)
        starts = np.cumsum([0, *(len(p.beats) for p in passes)]).tolist()
        wanted = [
            start + beat for start, p in zip(starts, passes, strict=False) for beat in p.illegal
        ]
        assert [o.illegal_beat for o in outputs if o.illegal_beat is not None] == wanted
        return beat_cycles, slice_cycles


# One for all scenarios: what a run leaves behind, the next one starts from, as in the device.
_bench: UnpackerBench | None = None


@cocotb.test()
@cocotb.parametrize(scenario=list(UNPACKER_SCENARIOS))
async def every_port_of_every_cycle_equals_the_model(dut, scenario):
    """Passes of both packings under one scenario; what comes out, the errors, the cycles."""
    global _bench
    run = json.loads(os.environ["TRITLOOM_RUN"])
    positions = run["positions"]
    rng = np.random.default_rng([run["seed"], list(UNPACKER_SCENARIOS).index(scenario)])
    shares = dict(UNPACKER_SCENARIOS[scenario])
    faults = shares.pop("faults")
    bench = _bench = _bench or UnpackerBench(dut, positions)
    bench.rng = rng
    await bench.reset()

    def random_passes(count):
        # Every other pass is sound, so that each fault is followed by one that must not suffer.
        return [
            make_pass(
                rng,
                positions,
                (TRIT2, TRIT5)[rng.integers(2)],
                int(rng.integers(1, 18)),
                faults[rng.integers(len(faults))] if faults and i % 2 else None,
            )
            for i in range(count)
        ]

    if scenario == "steady":
        for packing in (TRIT2, TRIT5):
            await full_rate(bench, packing)
    if scenario == "reset":
        # Leave a run in the middle, at several depths; what follows must not know of it.
        for stop_at in rng.integers(1, 80, 12):
            await bench.run(random_passes(8), stop_at=int(stop_at), **shares)
            await bench.reset()
    for _ in range(2):
        passes = random_passes(24)
        _, slices = await bench.run(passes, **shares)
        if scenario == "steady":
            check_periods(passes, slices)


async def full_rate(bench: UnpackerBench, packing: Packing):
    """Streams always willing: a slice every cycle, within passes and from one to the next."""
    # Whole groups in both packings, so the stream holds no padding.
    passes = [make_pass(bench.rng, bench.positions, packing, 20, None) for _ in range(6)]
    beats, slices = await bench.run(passes, weights=1, trits=1)
    assert slices == list(range(slices[0], slices[0] + 6 * 20))
    assert slices[0] == beats[layout.BEATS - 1] + LATENCY == layout.BEATS - 1 + LATENCY
    if packing is TRIT2:
        assert beats == list(range(6 * 20))
    else:
        # Once the first group is through, 4 beats in every 5 cycles.
        later = np.array(beats[2 * layout.BEATS :]).reshape(-1, layout.BEATS)
        assert (np.diff(later, axis=0) == 5).all()
    # Padding costs what the formula says, and no more.
    for slices_each in range(1, 12):
        passes = [make_pass(bench.rng, bench.positions, packing, slices_each, None)] * 3
        _, slices = await bench.run(passes, weights=1, trits=1)
        check_periods(passes, slices)


def check_periods(passes: list[Pass], slices: list[int]):
    """Cycles from each pass's first slice to the next pass's against `arch.layout.pass_cycles`."""
    counts = [len(p.wanted) for p in passes]
    firsts = np.array(slices)[np.cumsum([0, *counts[:-1]])]
    wanted = [layout.pass_cycles(len(p.wanted), p.packing) for p in passes[:-1]]
    assert np.diff(firsts).tolist() == wanted
