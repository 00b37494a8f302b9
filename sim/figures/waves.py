"""Both dataflows cycle by cycle, as WaveDrom's JSON: `python -m sim waves` writes docs/waves.

The drawings show the ports of the cycle models, which the co-simulation holds to the RTL on every
port of every cycle (`sim/bench/lockstep.py`), with one small Gemm streaming through at full speed.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from tritloom.arch import streams, ternary
from tritloom.arch.config import ArrayConfig, Dataflow, preset
from tritloom.arch.errors import InputError
from tritloom.arch.files import write_files
from tritloom.arch.tiling import make_plan
from tritloom.arch.workload import Gemm
from tritloom.sim.golden.output_stationary import OutputStationaryModel
from tritloom.sim.golden.weight_stationary import WeightStationaryModel

# Two tiles of output-stationary, six of weight-stationary, in a width that a page has.
CONFIG = preset("tiny").replace(buffer_tokens=16)
GEMM = Gemm(2, 20, 4)
# Psums of such acts have few digits.
LARGEST_ACT = 2
SEED = 1
# WaveDrom's letters: of a level, of a bus's next beat, of what goes on as it was, of an idle bus.
HIGH, LOW, BUS, HOLD, IDLE = "1", "0", "=", ".", "x"


def operands(gemm: Gemm) -> tuple[np.ndarray, np.ndarray]:
    """(acts (m, k), trits (n, k)) of the run that is drawn."""
    rng = np.random.default_rng(SEED)
    acts = rng.integers(-LARGEST_ACT, LARGEST_ACT, (gemm.m, gemm.k), endpoint=True)
    return acts, rng.integers(-1, 1, (gemm.n, gemm.k), endpoint=True)


def simulate(config: ArrayConfig, gemm: Gemm) -> list[dict[str, tuple[bool, bool, str]]]:
    """What the three streams show in each cycle: (valid, ready, what the beat holds).

    All sides are willing in every cycle. The first cycle is that in which the first beat is
    offered, the last one that after the last psums.
    """
    plan = make_plan(config, gemm)
    acts, trits = operands(gemm)
    cut = streams.slice_acts(plan, acts), ternary.to_codes(streams.slice_trits(plan, trits))
    if config.dataflow == Dataflow.OUTPUT_STATIONARY:
        make, model = streams.output_stationary_beats, OutputStationaryModel
        act_names = [f"s{s}" for tile in plan for s in range(tile.slices)]
        trit_names = [f"n{tile.n0} s{s}" for tile in plan for s in range(tile.slices)]
    else:
        make, model = streams.weight_stationary_beats, WeightStationaryModel
        act_names = [
            f"m{token} s{tile.first_slice}" for tile in plan for token in range(tile.tokens)
        ]
        trit_names = [
            f"n{tile.n0} s{tile.first_slice + row}" for tile in plan for row in range(config.rows)
        ]
    beats, names = make(plan, *cut), {"acts": act_names, "trits": trit_names}
    device, head, left = model(config), dict.fromkeys(names, 0), plan.feature_groups * gemm.m
    idle = {side: np.zeros_like(beats[side][0][side]) for side in names}
    cycles = []
    while left:
        offered = {side: head[side] < len(beats[side]) for side in names}
        ports = dict(idle)
        for side in names:
            if offered[side]:
                ports |= {f"{side}_valid": True} | beats[side][head[side]]
        outputs = device.step(device.inputs(**ports))
        ready = {"acts": bool(outputs.acts_ready), "trits": bool(outputs.trits_ready)}
        shown = {
            side: (offered[side], ready[side], names[side][head[side]] if offered[side] else "")
            for side in names
        }
        psums = " ".join(map(str, outputs.psums.tolist()))
        shown["psums"] = (outputs.psums_valid, True, psums if outputs.psums_valid else "")
        cycles.append(shown)
        left -= outputs.psums_valid
        for side in names:
            head[side] += offered[side] and ready[side]
    return cycles


def wave(dataflow: Dataflow) -> dict:
    """Signals of the run on an array of that dataflow, in WaveDrom's terms."""
    config = CONFIG.replace(dataflow=dataflow)
    cycles = simulate(config, GEMM)
    groups = []
    for side in ("trits", "acts", "psums"):
        valid, ready, held = zip(*(cycle[side] for cycle in cycles), strict=True)
        # A beat that is not taken stays on the bus.
        fresh = [i == 0 or ready[i - 1] or not valid[i - 1] for i in range(len(cycles))]
        bus = [(BUS if new else HOLD) if on else IDLE for on, new in zip(valid, fresh, strict=True)]
        data = [name for name, on, new in zip(held, valid, fresh, strict=True) if on and new]
        lines = [{"name": side, "wave": _compact(bus), "data": data}]
        for name, levels in (("valid", valid), ("ready", ready)):
            lines.append({"name": name, "wave": _compact([HIGH if v else LOW for v in levels])})
        groups.append([side, *lines])
    return {
        "signal": [{"name": "clk", "wave": "p" + HOLD * (len(cycles) - 1)}, *groups],
        "head": {"text": f"{config.shape}, {dataflow}, {GEMM}", "tick": 0},
    }


def _compact(levels):
    """WaveDrom's text of a line: a level that goes on is a point, a bus's new beat is not."""
    return "".join(
        HOLD if i and level == levels[i - 1] and level != BUS else level
        for i, level in enumerate(levels)
    )


def text(dataflow: Dataflow) -> str:
    """Content of the JSON file of a dataflow."""
    drawn = wave(dataflow)
    return json.dumps(drawn, indent=1) + "\n"


def svg(source: str) -> str:
    """WaveDrom's drawing of such JSON, one element a line, on white also where a page is dark.

    Raises
    ------
    InputError
        WaveDrom is not installed.
    """
    if find_spec("wavedrom") is None:
        raise InputError("WaveDrom is missing: install the package's `docs` extra")
    import wavedrom

    drawing = wavedrom.render(source).tostring().replace("><", ">\n<")
    return drawing.replace("<svg ", '<svg style="background:#fff" ', 1) + "\n"


def write_waves(folder: Path) -> tuple[Path, ...]:
    """Write JSON and SVG of both dataflows; returns their paths."""
    texts = {}
    for dataflow in Dataflow:
        source = text(dataflow)
        texts |= {f"{dataflow}.json": source, f"{dataflow}.svg": svg(source)}
    return write_files(folder, texts)
