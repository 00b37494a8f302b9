"""Benchmark of products through the PyPI package `scalesim`, and through closed formulas.

`make scalesim` runs it as `python -m tritloom.energy_model.validate.scalesim_bench PYTHON`, where
PYTHON is that of an environment with scalesim 3.0.0 and NumPy 2.3: scalesim breaks with later ones.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tritloom.arch.errors import InputError
from tritloom.arch.timing import gemm_cycles
from tritloom.arch.workload import Gemm, Layer, Trace
from tritloom.console.sheet import Notes, Sheet, Table, show
from tritloom.energy_model.trace.file import trace_scalesim

from .scalesim import baseline_plan, cycles, explain

# A block of LLaMA-7B at an eighth of its width, one token and 64: the whole block would take hours.
GEMMS = {
    f"{name}-m{m}": Gemm(m, k, n)
    for m in (1, 64)
    for name, k, n in (("q", 512, 512), ("gate", 512, 1376), ("down", 1376, 512))
}
DATAFLOWS = ("ws", "os")
_REPEATS = 1000
_CONFIG = """\
[general]
run_name = run
[architecture_presets]
ArrayHeight: 32
ArrayWidth: 32
IfmapSramSzkB: 1024
FilterSramSzkB: 1024
OfmapSramSzkB: 1024
IfmapOffset: 0
FilterOffset: 10000000
OfmapOffset: 20000000
Bandwidth: 10
Dataflow: {dataflow}
MemoryBanks: 1
ReadRequestBuffer: 32
WriteRequestBuffer: 32
[layout]
IfmapCustomLayout: False
IfmapSRAMBankBandwidth: 10
IfmapSRAMBankNum: 10
IfmapSRAMBankPort: 2
FilterCustomLayout: False
FilterSRAMBankBandwidth: 10
FilterSRAMBankNum: 10
FilterSRAMBankPort: 2
[sparsity]
SparsitySupport: false
SparseRep: ellpack_block
OptimizedMapping: false
BlockSize: 8
RandomNumberGeneratorSeed: 40
[run_presets]
InterfaceBandwidth: CALC
UseRamulatorTrace: False
"""
# SCALE-Sim reads a layout of 20 numbers for each layer, though no custom layout is used.
_LAYOUT_COLUMNS = 20


def read_report(text: str) -> list[int]:
    r"""Read the compute cycles by layer from SCALE-Sim's COMPUTE_REPORT.csv.

    >>> read_report("LayerID, Total Cycles (incl. prefetch), Total Cycles,\n0, 51835, 24319,\n")
    [24319]
    """
    lines = [[cell.strip() for cell in line.split(",")] for line in text.splitlines() if line]
    if not lines or "Total Cycles" not in lines[0]:
        raise InputError("SCALE-Sim's COMPUTE_REPORT.csv has no column Total Cycles")
    column = lines[0].index("Total Cycles")
    try:
        return [int(float(line[column])) for line in lines[1:]]
    except (ValueError, IndexError):
        raise InputError("SCALE-Sim's COMPUTE_REPORT.csv has a line without cycles") from None


def run_scalesim(python: str, dataflow: str) -> tuple[list[int], float]:
    """Run SCALE-Sim, and return the cycles of `GEMMS` and the seconds that it took."""
    layers = tuple(
        Layer(name=name, gemm=gemm, count=1, weight="fp16", act="fp16")
        for name, gemm in GEMMS.items()
    )
    topology = trace_scalesim(Trace(name="bench", phase="prefill", tokens=64, layers=layers))
    layout = [f"{name}," + "1," * _LAYOUT_COLUMNS for name in ("Layer", *GEMMS)]
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        for name, text in (
            ("scale.cfg", _CONFIG.format(dataflow=dataflow)),
            ("topology.csv", topology),
            ("layout.csv", "\n".join(layout) + "\n"),
        ):
            (here / name).write_text(text, encoding="utf-8")
        files = ("-c", "scale.cfg", "-t", "topology.csv", "-l", "layout.csv", "-p", "out")
        command = [python, "-m", "scalesim.scale", *files, "-i", "gemm"]
        start = time.perf_counter()
        try:
            done = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)
        except OSError as error:
            raise InputError(f"cannot run {python}: {error.strerror}") from None
        spent = time.perf_counter() - start
        report = here / "out" / "run" / "COMPUTE_REPORT.csv"
        if done.returncode or not report.exists():
            last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no output"]
            raise InputError(f"scalesim failed: {last[0]}")
        return read_report(report.read_text(encoding="utf-8")), spent


def bench(python: str) -> int:
    """Print both cycles and both times, and return 0 where all cycles are equal."""
    headers = (
        "Product",
        "m x k x n",
        "Dataflow",
        ">Ours",
        ">Terms",
        ">Ours + terms",
        ">scalesim",
        "",
    )
    rows, equal, spent = [], True, 0.0
    for dataflow in DATAFLOWS:
        print(f"running scalesim, {dataflow}, {len(GEMMS)} products ...", file=sys.stderr)
        found, seconds = run_scalesim(python, dataflow)
        spent += seconds
        for (name, gemm), theirs in zip(GEMMS.items(), found, strict=True):
            plan = baseline_plan(gemm, dataflow)
            ours, terms = gemm_cycles(plan), sum(explain(plan).values())
            same = ours + terms == theirs == cycles(gemm, dataflow)
            equal &= same
            shape = f"{gemm.m} x {gemm.k} x {gemm.n}"
            counts = (f"{value:,}" for value in (ours, terms, ours + terms, theirs))
            rows.append((name, shape, dataflow, *counts, "equal" if same else "DIFFERS"))
    formulas = _formula_seconds()
    products = len(DATAFLOWS) * len(GEMMS)
    notes = Notes(
        [
            f"{products} products: scalesim {spent:.1f} s, formulas {1e6 * formulas:.0f} us, "
            f"{spent / formulas:,.0f} times as fast; tier MEASURED, wall time",
            "formulas: plan, gemm_cycles and the terms, of all products",
        ]
    )
    show(Sheet(parts=[Table(headers=headers, rows=rows), "", notes]))
    return 0 if equal else 1


def _formula_seconds() -> float:
    start = time.perf_counter()
    for _ in range(_REPEATS):
        for dataflow in DATAFLOWS:
            for gemm in GEMMS.values():
                plan = baseline_plan(gemm, dataflow)
                gemm_cycles(plan)
                explain(plan)
    return (time.perf_counter() - start) / _REPEATS


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark with the Python of an environment that has scalesim."""
    if len(arguments) != 1:
        print(
            "usage: python -m tritloom.energy_model.validate.scalesim_bench PYTHON", file=sys.stderr
        )
        return 2
    try:
        # The path is not resolved: an environment's python is a link, and is known by its place.
        return bench(str(Path(arguments[0]).absolute()))
    except InputError as error:
        print(f"scalesim_bench: error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
