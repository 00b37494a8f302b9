"""The energy model as the simulations use it; no other module of theirs imports it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from tritloom.arch.counts import Counts
from tritloom.arch.models.huggingface import model_shape
from tritloom.arch.models.known import find_model
from tritloom.arch.models.trace import build_trace
from tritloom.console.sheet import show
from tritloom.energy_model.costs.table import CostTable, load_costs, price
from tritloom.energy_model.sweep.file import read_sweep
from tritloom.energy_model.sweep.run import Speed, benchmark
from tritloom.energy_model.trace.file import trace_yaml
from tritloom.energy_model.trace.sheets import energy_sheet
from tritloom.energy_model.validate.validate import Prediction, validate

# The cost table that commands of the energy model take by default.
COSTS = "paper"


def find_costs(name: str) -> CostTable:
    """The cost table of that name, or of a YAML file; `InputError` where there is none."""
    return load_costs(name)


def show_energy(what: str, counts: Counts, costs: CostTable | None = None) -> None:
    """Print the energy of action counts by category, under a line that says what they are of."""
    table = find_costs(COSTS) if costs is None else costs
    print(f"\nenergy of {what}:")
    show(energy_sheet(price(counts, table), table))


def predictions(model: str, hardware: str) -> tuple[Prediction, ...]:
    """Measured figures of a model on a machine, each beside what the energy model predicts."""
    return tuple(
        row
        for row in validate()
        if row.system.model.name == model and row.system.hardware == hardware
    )


def decode_trace(name: str, config: Mapping) -> str:
    """What decoding one token of a model computes, as the YAML of a trace file (docs/models.md).

    Parameters
    ----------
    name : str
        Name of the model.
    config : mapping
        Content of its config.json.

    Raises
    ------
    InputError
        The config does not describe a model.
    """
    shape = model_shape(name, config)
    return trace_yaml(build_trace(shape, weight=shape.weight, phase="decode"))


def report_command_s(size: str) -> float:
    """Seconds that `python -m energy_model report` takes, which a user waits: start included."""
    command = [sys.executable, "-m", "tritloom.energy_model", "report", "--size", size]
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def sweep_speeds(file: Path, *, jobs: int) -> list[Speed]:
    """Evaluations a second of a sweep, with processes that start and with those that have."""
    return benchmark(read_sweep(file, find_model=find_model), jobs=jobs)
