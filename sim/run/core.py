"""The generated core as a compiled simulator without an event queue, driven through ctypes."""

from __future__ import annotations

import ctypes
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tritloom.arch import regmap, timing
from tritloom.arch.config import ArrayConfig
from tritloom.arch.driver import Job, read_counters
from tritloom.hw.verilog import generate_core
from tritloom.sim import verilator

# Cycles between two reports of progress.
STEP_CYCLES = 2000


class _Stream(ctypes.Structure):
    _fields_ = [
        ("beats", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("stride", "packet", "total", "period")),
    ]


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a Gemm did on the RTL.

    Attributes
    ----------
    psums : ndarray of int64, shape (m, n)
    cycles : int
        From the first beat taken to the last row of psums delivered, both included.
    counters : dict of str to int
        What the core's own counters counted meanwhile.
    weight_bytes : int
        That the weight stream carried.
    seconds : float
        Wall time of the simulation, MEASURED on this machine.
    """

    psums: np.ndarray
    cycles: int
    counters: dict[str, int]
    weight_bytes: int
    seconds: float


def compile_core(config: ArrayConfig, folder: Path, *, name: str = "core.cpp") -> Path:
    """The core as a shared library, built once for each RTL; returns its path.

    Parameters
    ----------
    name : str
        Of the C++ file in this folder that drives it: core.cpp, or one that includes it.
    """
    rtl = generate_core(config, name="dut")
    source = Path(__file__).with_name(name)
    texts = {file.read_text() for file in (source, source.with_name("core.cpp"))}
    key = hashlib.sha256("".join([rtl.verilog, *sorted(texts)]).encode()).hexdigest()[:16]
    target = folder.resolve() / f"core-{config.shape}-{key}"
    target.mkdir(parents=True, exist_ok=True)
    verilog = target / "dut.v"
    verilog.write_text(rtl.verilog)
    return verilator.build(target, str(source), str(verilog), top=rtl.top, library=True)


class Machine:
    """One simulated core, reset and ready.

    Parameters
    ----------
    config : ArrayConfig
    folder : Path
        Where builds are kept.
    library : Path, optional
        What `compile_core` made of the config, where it is at hand.
    """

    def __init__(self, config: ArrayConfig, folder: Path, *, library: Path | None = None):
        self.config = config
        path = compile_core(config, folder) if library is None else library
        self._library = library = ctypes.CDLL(str(path))
        library.machine_new.restype = ctypes.c_void_p
        for name in ("machine_read", "machine_step", "machine_span"):
            getattr(library, name).restype = ctypes.c_int64
        self._handle = ctypes.c_void_p(library.machine_new())

    def close(self):
        """Free the simulated core."""
        self._library.machine_delete(self._handle)
        self._handle = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def write(self, offset: int, word: int):
        """Write a register; RuntimeError where the core does not accept it."""
        answer = self._library.machine_write(self._handle, offset, ctypes.c_uint32(word))
        if answer != 0:
            raise RuntimeError(f"the core answers {answer} to a write to {offset:#x}")

    def read(self, offset: int) -> int:
        """A register's word; RuntimeError where the core does not answer."""
        word = self._library.machine_read(self._handle, offset)
        if word < 0:
            raise RuntimeError(f"the core does not answer a read of {offset:#x}")
        return word

    def run(
        self,
        job: Job,
        acts,
        weights: np.ndarray,
        *,
        progress: Callable[[int], None] = lambda rows: None,
    ) -> Run:
        """Run a Gemm, all streams always ready.

        Parameters
        ----------
        job : Job
            Of this machine's config.
        acts : array_like of int, shape (m, k)
        weights : ndarray of uint8
            The matrix as `job.weights(trits)` packs it.
        progress : callable
            Called now and then with the rows of psums delivered since the last call.

        Raises
        ------
        RuntimeError
            The core hangs: it takes far more cycles than `arch.timing` says. Or it reports an
            error.
        """
        packets, weights = job.acts(acts), np.ascontiguousarray(weights)
        acts = np.concatenate(packets)
        rows = np.zeros((job.rows_out, 4 * self.config.cols), np.uint8)
        before = read_counters(self.read, self.write)
        for offset, word in job.writes():
            self.write(offset, word)
        passes = len(packets)
        streams = (
            _Stream(acts.ctypes.data, acts.shape[1], len(packets[0]), len(acts), len(acts)),
            _Stream(
                weights.ctypes.data,
                weights.shape[1],
                len(weights),
                passes * len(weights),
                len(weights),
            ),
        )
        self._library.machine_start(
            self._handle,
            *(ctypes.byref(stream) for stream in streams),
            rows.ctypes,
            ctypes.c_int64(rows.shape[1]),
            ctypes.c_int64(len(rows)),
        )
        start = time.perf_counter()
        done, left = 0, 2 * timing.core_cycles(job.plan, job.packing) + 1000
        while done < len(rows):
            if left <= 0:
                raise RuntimeError(f"{done} of {len(rows)} rows of {job.plan.gemm}, then no more")
            step = min(STEP_CYCLES, left)
            delivered = self._library.machine_step(self._handle, ctypes.c_int64(step))
            progress(delivered - done)
            done, left = delivered, left - step
        seconds = time.perf_counter() - start
        cycles = self._library.machine_span(self._handle)
        error = self.read(regmap.offset("ERROR"))
        if error:
            raise RuntimeError(f"the core reports {regmap.decode('ERROR', error)}")
        after = read_counters(self.read, self.write)
        return Run(
            psums=job.psums(rows),
            cycles=cycles,
            counters={name: after[name] - before[name] for name in after},
            weight_bytes=passes * weights.size,
            seconds=seconds,
        )
