"""The generated core as a compiled simulator without an event queue, driven through ctypes."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tritloom.arch import regmap, timing
from tritloom.arch.config import ArrayConfig
from tritloom.arch.driver import Job, read_counters, resume, soft_reset
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
class GemmRun:
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


def compile_core(
    config: ArrayConfig, folder: Path | None = None, *, driver: str = "core.cpp"
) -> ctypes.CDLL:
    """The core as a loaded shared library, built once for each RTL.

    Parameters
    ----------
    folder : Path, optional
        Where builds are kept: `verilator.builds_folder` by default.
    driver : str
        C++ file in this folder that drives the core: core.cpp, or one that includes it.
    """
    rtl = generate_core(config, name="dut")
    here = Path(__file__).parent
    return verilator.library(
        rtl.verilog,
        here / driver,
        top=rtl.top,
        label=f"core-{config.shape}",
        folder=folder,
        includes=[] if driver == "core.cpp" else [here / "core.cpp"],
    )


class SimulatedCore:
    """One simulated core, reset and ready.

    Parameters
    ----------
    config : ArrayConfig
    folder : Path, optional
        Where builds are kept: `verilator.builds_folder` by default.
    library : ctypes.CDLL, optional
        What `compile_core` made of the config, where it is at hand.
    """

    def __init__(
        self,
        config: ArrayConfig,
        folder: Path | None = None,
        *,
        library: ctypes.CDLL | None = None,
    ):
        self.config = config
        self._library = library = compile_core(config, folder) if library is None else library
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

    def recover(self):
        """Reset the core softly, also in the middle of packets, and make it ready for a run."""
        soft_reset(self.write)
        # A beat a cycle, until no packet is open.
        while True:
            self._library.machine_flush(self._handle, ctypes.c_int64(STEP_CYCLES))
            status = regmap.decode("STATUS", self.read(regmap.offset("STATUS")))
            if not (status["ACTS_OPEN"] or status["WEIGHTS_OPEN"]):
                break
        resume(self.read, self.write)
        self.write(regmap.offset("ERROR"), self.read(regmap.offset("ERROR")))

    def run(
        self,
        job: Job,
        acts,
        weights: np.ndarray,
        *,
        progress: Callable[[int], None] = lambda rows: None,
    ) -> GemmRun:
        """Run a Gemm, all streams always ready.

        Parameters
        ----------
        job : Job
            Job for the core's config.
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
        return GemmRun(
            psums=job.psums(rows),
            cycles=cycles,
            counters={name: after[name] - before[name] for name in after},
            weight_bytes=passes * weights.size,
            seconds=seconds,
        )
