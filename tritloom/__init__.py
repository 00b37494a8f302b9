"""RTL generator, simulator and energy model for ternary LLM accelerators.

The names that a notebook needs first are at hand as `tritloom.NAME`; docs/api.md shows each in use.
A name is imported from its home module when it is first used, so that `import tritloom` loads
neither NumPy nor Amaranth.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

# The one list of public names, by the module that holds them. A type checker reads the imports
# below, which tests/test_public_face.py holds equal to it.
_HOMES = {
    "arch.config": ("PRESETS", "ArrayConfig", "preset"),
    "arch.counts": ("array_counts",),
    "arch.models.known": ("find_model",),
    "arch.models.trace": ("build_trace",),
    "arch.ternary": ("TRIT2", "TRIT5"),
    "arch.tiling": ("make_plan",),
    "arch.timing": ("gemm_cycles",),
    "arch.workload": ("Gemm",),
    "energy_model.costs.table": ("load_costs", "price"),
    "energy_model.machine.evaluation": ("Workload",),
    "energy_model.machine.file": ("load_machine",),
    "energy_model.report.report": ("build_report",),
    "hw.verilog": ("generate", "generate_core"),
    "sim.checkpoints.folder": ("open_folder",),
    "sim.checkpoints.importer": ("import_model",),
    "sim.golden.linear": ("bit_linear", "ternary_gemm"),
    "sim.golden.quantise": ("absmax_acts", "absmean_trits"),
    "sim.run.layer": ("run_layer",),
}
_HOME = {name: f"{__name__}.{module}" for module, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME)

if TYPE_CHECKING:
    from tritloom.arch.config import PRESETS as PRESETS
    from tritloom.arch.config import ArrayConfig as ArrayConfig
    from tritloom.arch.config import preset as preset
    from tritloom.arch.counts import array_counts as array_counts
    from tritloom.arch.models.known import find_model as find_model
    from tritloom.arch.models.trace import build_trace as build_trace
    from tritloom.arch.ternary import TRIT2 as TRIT2
    from tritloom.arch.ternary import TRIT5 as TRIT5
    from tritloom.arch.tiling import make_plan as make_plan
    from tritloom.arch.timing import gemm_cycles as gemm_cycles
    from tritloom.arch.workload import Gemm as Gemm
    from tritloom.energy_model.costs.table import load_costs as load_costs
    from tritloom.energy_model.costs.table import price as price
    from tritloom.energy_model.machine.evaluation import Workload as Workload
    from tritloom.energy_model.machine.file import load_machine as load_machine
    from tritloom.energy_model.report.report import build_report as build_report
    from tritloom.hw.verilog import generate as generate
    from tritloom.hw.verilog import generate_core as generate_core
    from tritloom.sim.checkpoints.folder import open_folder as open_folder
    from tritloom.sim.checkpoints.importer import import_model as import_model
    from tritloom.sim.golden.linear import bit_linear as bit_linear
    from tritloom.sim.golden.linear import ternary_gemm as ternary_gemm
    from tritloom.sim.golden.quantise import absmax_acts as absmax_acts
    from tritloom.sim.golden.quantise import absmean_trits as absmean_trits
    from tritloom.sim.run.layer import run_layer as run_layer


def __getattr__(name: str) -> object:
    """Import a public name from its home when it is first used."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names too, also those that nobody has used yet."""
    return sorted({*globals(), *__all__})
