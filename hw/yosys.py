"""Yosys, which PyPI carries as a Python module without a command."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

# In a process of its own: Yosys ends the process on an error, keeps its design in globals, and
# prints to the C library's standard output.
# Models of the cells of Lattice ECP5, in Yosys' own folder.
ECP5_CELLS = "+/ecp5/cells_sim.v"

_RUNNER = """
import sys
from pyosys import libyosys
design = libyosys.Design()
for line in sys.stdin.read().splitlines():
    libyosys.run_pass(line, design)
"""


class YosysError(RuntimeError):
    """Yosys refused a script; the message holds the end of what it printed."""


def path(name: str) -> Path:
    """Of a file in Yosys' own folder, from what its scripts call it."""
    return Path(find_spec("pyosys").origin).parent / "share" / name.removeprefix("+/")


def library(text: str) -> str:
    """The command that makes the FPGA cells of a design known, which has none as a rule."""
    return f"read_verilog -lib {ECP5_CELLS}\n" if "CCU2C" in text else ""


def run(script: str) -> str:
    """Run a Yosys script, one command a line, and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", _RUNNER], input=script, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise YosysError((done.stdout + done.stderr)[-2000:])
    return done.stdout
