"""The generated array as a compiled simulator without an event queue, driven through ctypes."""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from arch.config import ArrayConfig
from arch.tiling import Plan
from hw.verilog import generate

from . import streams, verilator

PERF = ("beats", "wait_acts", "wait_trits", "wait_drain", "blocked", "illegal")


class _Tile(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in ("acts", "trits", "slices", "tokens")]


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a Gemm did on the RTL.

    Attributes
    ----------
    psums : ndarray of int64, shape (m, n)
    cycles : int
        From the first beat to the last psum.
    perf : dict of str to int
        The RTL's own counters.
    """

    psums: np.ndarray
    cycles: int
    perf: dict[str, int]


def compile_array(config: ArrayConfig, folder: Path) -> Path:
    """The array as a shared library, built once for each RTL; returns its path."""
    rtl = generate(config, name="dut")
    source = Path(__file__).with_name("harness.cpp")
    key = hashlib.sha256((rtl.verilog + source.read_text()).encode()).hexdigest()[:16]
    target = folder.resolve() / f"harness-{config.shape}-{key}"
    target.mkdir(parents=True, exist_ok=True)
    verilog = target / "dut.v"
    verilog.write_text(rtl.verilog)
    return verilator.build(target, str(source), str(verilog), top=rtl.top, library=True)


class Machine:
    """One simulated array, reset and ready.

    Parameters
    ----------
    config : ArrayConfig
    folder : Path
        Where builds are kept.
    """

    def __init__(self, config: ArrayConfig, folder: Path):
        self.config = config
        self._library = library = ctypes.CDLL(str(compile_array(config, folder)))
        library.machine_new.restype = ctypes.c_void_p
        library.machine_cycles.restype = ctypes.c_uint64
        library.machine_run.restype = ctypes.c_int64
        self._handle = ctypes.c_void_p(library.machine_new())

    def close(self):
        """Free the simulated array."""
        self._library.machine_delete(self._handle)
        self._handle = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def cycles(self) -> int:
        """Cycles simulated so far."""
        return self._library.machine_cycles(self._handle)

    def counters(self) -> dict[str, int]:
        """The RTL's performance counters and its sticky error."""
        values = (ctypes.c_uint32 * len(PERF))()
        self._library.machine_counters(self._handle, values)
        return dict(zip(PERF, values, strict=True))

    def run(
        self, plan: Plan, acts, trits, *, progress: Callable[[int], None] = lambda beats: None
    ) -> Run:
        """Stream a whole Gemm, all streams always ready.

        Parameters
        ----------
        plan : Plan
            Of this machine's config.
        acts : array_like of int, shape (m, k)
        trits : array_like of int, shape (n, k)
        progress : callable
            Called now and then with the beats streamed since the last call.

        Raises
        ------
        RuntimeError
            The RTL hangs: it takes more cycles than beats, drain and latency together allow.
        """
        config, gemm = self.config, plan.gemm
        acts_beats, codes = streams.slice_operands(plan, acts, trits)
        acts_bytes = streams.pack_beats(acts_beats, config.act_bits)
        trits_bytes = streams.pack_beats(codes, 2)
        tiles = [
            _Tile(
                tile.m0 // config.rows * plan.slices,
                tile.n0 // config.cols * plan.slices,
                plan.slices,
                tile.tokens,
            )
            for tile in plan
        ]
        beats_out = sum(tile.tokens for tile in tiles)
        psums = np.zeros((beats_out, config.cols), np.int32)
        before, start, done = self.counters(), self.cycles, 0
        # Whole tiles at a time, about a hundred calls.
        step = max(1, len(tiles) // 100)
        for first in range(0, len(tiles), step):
            part = tiles[first : first + step]
            last = first + step >= len(tiles)
            taken = self._library.machine_run(
                self._handle,
                acts_bytes.ctypes,
                ctypes.c_int64(acts_bytes.shape[1]),
                trits_bytes.ctypes,
                ctypes.c_int64(trits_bytes.shape[1]),
                (_Tile * len(part))(*part),
                ctypes.c_int64(len(part)),
                psums[done:].ctypes,
                config.cols,
                config.psum_bits,
                ctypes.c_int64(beats_out - done if last else 0),
                ctypes.c_int64(
                    1000 + 4 * (len(part) + 2) * (plan.slices + config.rows * 4 + config.hops * 2)
                ),
            )
            if taken < 0:
                raise RuntimeError(f"the RTL of {config.shape} hangs in tile {first} of {gemm}")
            done += taken
            progress(len(part) * plan.slices)
        after = self.counters()
        return Run(
            psums=streams.join_psums(plan, psums),
            cycles=self.cycles - start,
            perf={name: after[name] - before[name] for name in PERF},
        )
