"""Gateware without state, evaluated on arrays: some ten million times in seconds."""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from amaranth.lib import wiring

from tritloom.hw.emit import emit
from tritloom.sim import verilator


def compile_function(
    component: wiring.Component, folder: Path
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """The component as a function of two arrays of uint32, built once for each RTL.

    Parameters
    ----------
    component : wiring.Component
        With inputs `a` and `b` and an output `result`, of at most 32 bits each.
    folder : Path
        Where builds are kept.
    """
    top = "tritloom_dut"
    rtl, _ = emit({top: component}, top=top)
    source = Path(__file__).with_suffix(".cpp")
    key = hashlib.sha256((rtl + source.read_text()).encode()).hexdigest()[:16]
    target = folder.resolve() / f"function-{key}"
    target.mkdir(parents=True, exist_ok=True)
    verilog = target / "dut.v"
    verilog.write_text(rtl)
    path = verilator.build(target, str(source), str(verilog), top=top, library=True)
    library = ctypes.CDLL(str(path))

    def function(a, b):
        a, b = (np.ascontiguousarray(operand, np.uint32) for operand in (a, b))
        result = np.empty_like(a)
        library.combinational_run(a.ctypes, b.ctypes, result.ctypes, ctypes.c_int64(a.size))
        return result

    return function
