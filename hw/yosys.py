"""Yosys, which PyPI carries as a Python module without a command."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from tritloom.arch.errors import ToolError

# Models of the cells of Lattice ECP5, in Yosys' own folder.
ECP5_CELLS = "+/ecp5/cells_sim.v"

# In a process of its own: Yosys ends the process on an error, keeps its design in globals, and
# prints to the C library's standard output.
_RUNNER = """
import sys
from pyosys import libyosys
design = libyosys.Design()
for line in sys.stdin.read().splitlines():
    libyosys.run_pass(line, design)
"""


class YosysError(ToolError):
    """Yosys failed on a script; the lines below the first are the end of what it printed."""


def path(name: str) -> Path:
    """Path of a file in Yosys' own folder, of which scripts write `+/` and then the name."""
    spec = find_spec("pyosys")
    if spec is None or spec.origin is None:
        raise YosysError("Yosys is missing: the package pyosys is not installed")
    return Path(spec.origin).parent / "share" / name.removeprefix("+/")


def library(text: str) -> str:
    """The command that declares the ECP5 cells of a design; empty where the text has none."""
    return f"read_verilog -lib {ECP5_CELLS}\n" if "CCU2C" in text else ""


def run(script: str) -> str:
    """Run a Yosys script, one command a line, and return what it printed.

    Raises
    ------
    YosysError
        A command failed, or Yosys was killed.
    """
    done = subprocess.run(
        [sys.executable, "-c", _RUNNER], input=script, capture_output=True, text=True, check=False
    )
    if done.returncode:
        printed = done.stdout + done.stderr
        errors = [line for line in printed.splitlines() if line.startswith("ERROR: ")]
        why = errors[-1] if errors else f"exit status {done.returncode}"
        raise YosysError(f"Yosys gives up: {why}\n{printed[-2000:]}")
    return done.stdout
