"""Yosys, which PyPI carries as a Python module without a command."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

# In a process of its own: Yosys ends the process on an error, keeps its design in globals, and
# prints to the C library's standard output.
_RUNNER = """
import sys
from pyosys import libyosys
design = libyosys.Design()
for line in sys.stdin.read().splitlines():
    libyosys.run_pass(line, design)
"""


class YosysError(RuntimeError):
    """Yosys refused a script; the message holds the end of what it printed."""


def share() -> Path:
    """Folder of what comes with Yosys: models of the cells of FPGA families among it."""
    return Path(find_spec("pyosys").origin).parent / "share"


def run(script: str) -> str:
    """Run a Yosys script, one command a line, and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", _RUNNER], input=script, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise YosysError((done.stdout + done.stderr)[-2000:])
    return done.stdout
