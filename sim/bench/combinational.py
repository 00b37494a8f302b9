"""Gateware without state, evaluated on arrays: some ten million times in seconds."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

import numpy as np
from amaranth.lib import wiring

from tritloom.hw.emit import emit
from tritloom.sim import verilator


def compile_function(
    component: wiring.Component, folder: Path | None = None
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """The component as a function of two arrays of uint32, built once for each RTL.

    Parameters
    ----------
    component : wiring.Component
        With inputs `a` and `b` and an output `result`, of at most 32 bits each.
    folder : Path, optional
        Where builds are kept: `verilator.builds_folder` by default.
    """
    top = "tritloom_dut"
    rtl, _ = emit({top: component}, top=top)
    driver = Path(__file__).with_suffix(".cpp")
    library = verilator.library(rtl, driver, top=top, label="function", folder=folder)

    def function(a, b):
        a, b = (np.ascontiguousarray(operand, np.uint32) for operand in (a, b))
        result = np.empty_like(a)
        library.combinational_run(a.ctypes, b.ctypes, result.ctypes, ctypes.c_int64(a.size))
        return result

    return function
